/* Vectors of eight single-precision numbers, which the compiler maps to what the processor has. */
#ifndef ACIE_VECTOR_H
#define ACIE_VECTOR_H

#include <stdint.h>

#define LANES 8

typedef float v8 __attribute__((vector_size(32)));
typedef int32_t i8 __attribute__((vector_size(32)));
/* The same at any address. */
typedef float v8u __attribute__((vector_size(32), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE v8 load(const float *from) { return *(const v8u *)from; }

INLINE void store(float *to, v8 value) { *(v8u *)to = value; }

INLINE v8 all(float value) { return (v8){value, value, value, value, value, value, value, value}; }

INLINE float sum(v8 value)
{
    return ((value[0] + value[4]) + (value[2] + value[6])) + ((value[1] + value[5]) + (value[3] + value[7]));
}

/* exp(x) = p * 2^power, of which p is returned, about one. */
INLINE v8 exp_parts(v8 x, i8 *power)
{
    /* Adding 1.5 * 2^23 leaves the nearest whole number in the last bits. It is taken away from the bits:
     * from the number, that would be optimised away. */
    const v8 large = all(12582912.0f);
    *power = (i8)(x * all(1.44269504f) + large) - (i8)large;
    v8 n = __builtin_convertvector(*power, v8);
    v8 r = x - n * all(0.693147181f);
    v8 p = all(1.9875691500e-4f);
    p = p * r + all(1.3981999507e-3f);
    p = p * r + all(8.3334519073e-3f);
    p = p * r + all(4.1665795894e-2f);
    p = p * r + all(1.6666665459e-1f);
    p = p * r + all(5.0000001201e-1f);
    return p * r * r + r + all(1.0f);
}

/* exp(x) to 3e-7 of it, or to 4e-6 near the ends where no multiplication is fused; 0 below -87, infinite
 * above 88, NaN of NaN. */
INLINE v8 vexp(v8 x)
{
    const v8 low = all(-87.3f), high = all(88.7f);
    i8 power;
    v8 p = exp_parts(x, &power);
    v8 found = (v8)((i8)p + (power << 23));
    found = (v8)((i8)found & (x >= low));
    i8 over = x > high;
    i8 nan = x != x;
    found = (v8)(((i8)found & ~over) | ((i8)all(__builtin_inff()) & over));
    return (v8)(((i8)found & ~nan) | ((i8)x & nan));
}

/* exp(x) for x from -87 to 87, in half the time; NaN of NaN. */
INLINE v8 vexp_within(v8 x)
{
    i8 power;
    v8 p = exp_parts(x, &power);
    return p * (v8)((power + 127) << 23);
}

/* `yes` where the mask is set, else `no`. */
INLINE v8 choose(i8 mask, v8 yes, v8 no) { return (v8)(((i8)yes & mask) | ((i8)no & ~mask)); }

/* Between two limits; NaN of NaN. */
INLINE v8 clamped(v8 x, float low, float high)
{
    x = choose(x > all(high), all(high), x);
    return choose(x < all(low), all(low), x);
}

INLINE v8 vsqrt(v8 x)
{
    v8 root;
    for (int lane = 0; lane < LANES; lane++)
        root[lane] = __builtin_sqrtf(x[lane]);
    return root;
}

/* log(x) to 2 units in the last place, of normal positive numbers; NaN of NaN. */
INLINE v8 vlog(v8 x)
{
    /* x is a power of two times a number from the root of a half to that of two. */
    const i8 root_half = (i8)all(0.707106781f);
    i8 power = ((i8)x - root_half) >> 23;
    v8 n = __builtin_convertvector(power, v8);
    v8 r = (v8)((i8)x - (power << 23)) - all(1.0f);
    v8 p = all(7.0376836292e-2f);
    p = p * r - all(1.1514610310e-1f);
    p = p * r + all(1.1676998740e-1f);
    p = p * r - all(1.2420140846e-1f);
    p = p * r + all(1.4249322787e-1f);
    p = p * r - all(1.6668057665e-1f);
    p = p * r + all(2.0000714765e-1f);
    p = p * r - all(2.4999993993e-1f);
    p = p * r + all(3.3333331174e-1f);
    v8 square = r * r;
    v8 small = p * r * square - n * all(2.12194440e-4f) - all(0.5f) * square;
    return choose(x != x, x, r + small + n * all(0.693359375f));
}

#endif

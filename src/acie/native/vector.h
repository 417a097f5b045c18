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

/* exp(x) to 2 units in the last place; 0 below -87, infinite above 88, NaN of NaN. */
INLINE v8 vexp(v8 x)
{
    const v8 low = all(-87.3f), high = all(88.7f);
    v8 t = x * all(1.44269504f);
    /* The nearest whole number: adding and taking away a large one would be optimised away. */
    i8 below = t < all(0.0f);
    v8 half = (v8)(((i8)all(-0.5f) & below) | ((i8)all(0.5f) & ~below));
    i8 whole = __builtin_convertvector(t + half, i8);
    i8 power = whole << 23;
    v8 n = __builtin_convertvector(whole, v8);
    v8 r = x - n * all(0.693359375f);
    r = r + n * all(2.12194440e-4f);
    v8 p = all(1.9875691500e-4f);
    p = p * r + all(1.3981999507e-3f);
    p = p * r + all(8.3334519073e-3f);
    p = p * r + all(4.1665795894e-2f);
    p = p * r + all(1.6666665459e-1f);
    p = p * r + all(5.0000001201e-1f);
    p = p * r * r + r + all(1.0f);
    v8 found = (v8)((i8)p + power);
    found = (v8)((i8)found & (x >= low));
    i8 over = x > high;
    i8 nan = x != x;
    found = (v8)(((i8)found & ~over) | ((i8)all(__builtin_inff()) & over));
    return (v8)(((i8)found & ~nan) | ((i8)x & nan));
}

#endif

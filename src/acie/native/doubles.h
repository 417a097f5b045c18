/* Vectors of four double-precision numbers, and functions of them to a few units in the last place. */
#ifndef ACIE_DOUBLES_H
#define ACIE_DOUBLES_H

#include <math.h>

#include "vector.h"

#define WIDE_LANES 4

typedef double w4 __attribute__((vector_size(32)));
/* The same at any address. */
typedef double w4u __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t l4 __attribute__((vector_size(32)));
typedef uint64_t u4 __attribute__((vector_size(32)));
typedef int32_t i4 __attribute__((vector_size(16)));

/* A value that sums around it may not be reordered through. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_assoc_barrier)
#define KEPT(value) __builtin_assoc_barrier(value)
#endif
#endif
#ifndef KEPT
#define KEPT(value) (value)
#endif

INLINE w4 wide(double value) { return (w4){value, value, value, value}; }

/* One where the condition is all ones, the other where it is zero. */
INLINE w4 where(l4 condition, w4 one, w4 other)
{
    return (w4)(((l4)one & condition) | ((l4)other & ~condition));
}

/* Of the numbers from `from` on, `count` of which there are; the last one stands for those behind. */
INLINE w4 few(const double *from, int count)
{
    w4 found;
    if (count == WIDE_LANES)
        return *(const w4u *)from;
    for (int k = 0; k < WIDE_LANES; k++)
        found[k] = from[k < count ? k : count - 1];
    return found;
}

INLINE void put_doubles(double *to, w4 value, int count)
{
    if (count == WIDE_LANES)
        *(w4u *)to = value;
    else
        for (int k = 0; k < count; k++)
            to[k] = value[k];
}

INLINE int any(l4 condition)
{
    return ((condition[0] | condition[1]) | (condition[2] | condition[3])) != 0;
}

/* What is not a number stays one. */
INLINE w4 between(w4 value, double low, double high)
{
    value = where(value < wide(low), wide(low), value);
    return where(value > wide(high), wide(high), value);
}

/* exp(x); arguments beyond -708 and 709 are taken there. */
INLINE w4 wexp(w4 x)
{
    x = between(x, -708.0, 709.0);
    w4 t = x * wide(1.4426950408889634);
    i4 whole = __builtin_convertvector(t + where(t < wide(0.0), wide(-0.5), wide(0.5)), i4);
    w4 n = __builtin_convertvector(whole, w4);
    w4 r = KEPT(x - n * wide(0x1.62e42fefa3800p-1));
    r = r - n * wide(0x1.ef35793c76730p-45);
    /* The series of Taylor, even and odd terms apart. */
    w4 s = r * r;
    w4 even = wide(1.0 / 479001600.0), odd = wide(1.0 / 6227020800.0);
    even = even * s + wide(1.0 / 3628800.0), odd = odd * s + wide(1.0 / 39916800.0);
    even = even * s + wide(1.0 / 40320.0), odd = odd * s + wide(1.0 / 362880.0);
    even = even * s + wide(1.0 / 720.0), odd = odd * s + wide(1.0 / 5040.0);
    even = even * s + wide(1.0 / 24.0), odd = odd * s + wide(1.0 / 120.0);
    even = even * s + wide(0.5), odd = odd * s + wide(1.0 / 6.0);
    w4 p = s * even + (r + r * s * odd);
    l4 power = (__builtin_convertvector(whole, l4) + 1023) << 52;
    return (p + wide(1.0)) * (w4)power;
}

/* log(x). */
INLINE w4 wlog(w4 x)
{
    /* The mantissa is taken between the square roots of 1/2 and 2. */
    u4 shifted = (u4)x - 0x3fe6a09e667f3bcdULL;
    w4 mantissa = (w4)((u4)x - (shifted & 0xfff0000000000000ULL));
    /* As the last bits of 2^52, the exponent becomes a number. */
    u4 exponent = (shifted + 0x3ff0000000000000ULL) >> 52;
    w4 n = (w4)(exponent | 0x4330000000000000ULL) - wide(0x1p52 + 1023.0);
    w4 f = mantissa - wide(1.0);
    w4 s = f / (wide(2.0) + f), z = s * s, q = z * z;
    w4 even = wide(1.531383769920937332e-01), odd = wide(1.479819860511658591e-01);
    even = even * q + wide(2.222219843214978396e-01), odd = odd * q + wide(1.818357216161805012e-01);
    even = even * q + wide(3.999999999940941908e-01), odd = odd * q + wide(2.857142874366239149e-01);
    odd = odd * q + wide(6.666666666666735130e-01);
    w4 rest = q * even + z * odd, half = wide(0.5) * f * f;
    w4 small = KEPT(half - KEPT(s * (half + rest) + n * wide(0x1.ef35793c76730p-45)));
    w4 found = n * wide(0x1.62e42fefa3800p-1) - KEPT(small - f);
    /* Zeros, infinities and what is less than every normal number are rare. */
    if (any(~((x >= wide(0x1p-1022)) & (x < wide((double)__builtin_inff())))))
        for (int k = 0; k < WIDE_LANES; k++)
            if (!(x[k] >= 0x1p-1022 && x[k] < (double)__builtin_inff()))
                found[k] = log(x[k]);
    return found;
}

#endif

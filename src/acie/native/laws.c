/* Laws on a natural scale, between bounds: see acie/scm/unconstrained.py and bounded_mechanisms.py.
 *
 * Included by kernels.c. */

#include "doubles.h"

#define LN_10 2.302585092994046
#define LN_LN_10 0.834032445247956
#define ROOT_HALF 0.70710678118654752
/* Beyond this many standard deviations nothing is left of a normal law that is cut off above -5. */
#define FAR 10.0
/* Intervals that end before it are computed from logarithms: see truncated_normal.py. */
#define DEEP -5.0

/* A parameter of a row: the same in all where `step` is zero. */
INLINE w4 of_rows(const double *from, int64_t step, int64_t row, int width)
{
    return step ? few(from + row, width) : wide(*from);
}

INLINE w4 absolute(w4 x) { return (w4)((u4)x & 0x7fffffffffffffffULL); }

/* log(exp(z^2) erfc(z) / t) at z = 2 / t - 2: a sum of Chebyshev polynomials of 2 t - 1. */
INLINE w4 tail(w4 t)
{
    static const double terms[] = {
        -0.6513268598908547, 0.64196979235649021, 0.019476473204185836, -0.0095615147868086323,
        -0.00094659534448203692, 0.00036683949785276145, 4.2523324806907769e-05, -2.0278578112534242e-05,
        -1.6242900046470256e-06, 1.3036558355805232e-06, 1.5626441722066142e-08, -8.5238095914926541e-08,
        6.5290544390988515e-09, 5.0593434955514693e-09, -9.9136415649303307e-10, -2.273651222931836e-10,
        9.646791102015527e-11, 2.3940380830391146e-12, -6.8860275264975532e-12, 8.9448792730907253e-13,
        3.1309213993429581e-13, -1.1270822361367252e-13, 3.8109052551892321e-16, 7.1060976136092371e-15,
        -1.5230282014571043e-15, -9.4574945712912334e-17, 1.210237189224279e-16,
    };
    w4 twice = wide(4.0) * t - wide(2.0), last = wide(0.0), now = wide(0.0);
    for (int k = (int)(sizeof terms / sizeof *terms) - 1; k > 0; k--) {
        w4 next = twice * now - last + wide(terms[k]);
        last = now, now = next;
    }
    return wide(0.5) * twice * now - last + wide(terms[0]);
}

/* The normal distribution function, with all its digits in the left tail. */
INLINE w4 ndtr(w4 x)
{
    w4 t = wide(2.0) / (wide(2.0) + absolute(x) * wide(ROOT_HALF));
    w4 beyond = wide(0.5) * t * wexp(tail(t) - wide(0.5) * x * x);
    return where(x < wide(0.0), beyond, wide(1.0) - beyond);
}

/* log(exp(z^2) erfc(z)) of z that is not negative. */
INLINE w4 log_erfcx(w4 z)
{
    w4 t = wide(2.0) / (wide(2.0) + z);
    return wlog(t) + tail(t);
}

/* Log of the normal mass between bounds far out on the left, of which b is the inner one. */
static __attribute__((noinline)) w4 deep_log_mass(w4 a, w4 b)
{
    w4 depth = -b, width = b - a, inner = log_erfcx(depth * wide(ROOT_HALF));
    w4 outer = log_erfcx((depth + width) * wide(ROOT_HALF));
    w4 ratio = outer - inner - width * (depth + wide(0.5) * width), rest;
    for (int k = 0; k < WIDE_LANES; k++)
        rest[k] = log(-expm1(ratio[k]));
    return inner - wide(0.5) * b * b - wide(0.69314718055994531) + rest;
}

/* Log of the normal mass between two bounds; not a number where they leave no room. */
INLINE w4 log_mass(w4 lower, w4 upper)
{
    /* The interval is reflected so that it leans to the left. */
    l4 flip = lower + upper > wide(0.0);
    w4 a = where(flip, -upper, lower), b = where(flip, -lower, upper), found = wide(0.0);
    if (any(~((a < wide(-FAR)) & (b > wide(FAR))))) {
        w4 mass = any(~(b > wide(FAR))) ? ndtr(b) : wide(1.0);
        if (any(~(a < wide(-FAR))))
            mass -= ndtr(a);
        found = wlog(mass);
        if (any(b < wide(DEEP)))
            found = where(b < wide(DEEP), deep_log_mass(a, b), found);
    }
    return where(a < b, found, wide((double)__builtin_nanf("")));
}

/* Log densities of values whose natural scale has a normal law, cut off at bounds if `bounded`.
 *
 * value, location, scale, lower, upper: numbers of the rows, or one number where the step is zero, all
 * but the value on the natural scale, which is the decimal logarithm if `logarithmic`; out (rows). */
static void normal_density(int64_t rows, const double *const parts[5], const int64_t steps[5], int logarithmic,
                           int bounded, double *out)
{
    const w4 nothing = wide(-(double)__builtin_inff());
    for (int64_t row = 0; row < rows; row += WIDE_LANES) {
        int width = rows - row < WIDE_LANES ? (int)(rows - row) : WIDE_LANES;
        w4 value = of_rows(parts[0], steps[0], row, width), location = of_rows(parts[1], steps[1], row, width);
        w4 scale = of_rows(parts[2], steps[2], row, width), natural = value;
        w4 density = -wlog(bounded ? scale : absolute(scale));
        if (logarithmic) {
            w4 logarithm = wlog(value);
            natural = logarithm * wide(1.0 / LN_10);
            density -= logarithm + wide(LN_LN_10);
        }
        w4 x = (natural - location) / scale;
        density -= wide(0.5) * x * x + wide(0.91893853320467274);
        l4 possible = ~(value <= wide(logarithmic ? 0.0 : -(double)__builtin_inff()));
        if (bounded) {
            w4 lower = of_rows(parts[3], steps[3], row, width), upper = of_rows(parts[4], steps[4], row, width);
            density -= log_mass((lower - location) / scale, (upper - location) / scale);
            /* Going to the natural scale and back costs a few units in the last place. */
            const w4 one = wide(1.0), slack = wide(1e3 * 0x1p-52);
            possible = (absolute(natural) < wide((double)__builtin_inff()))
                & ~(natural < lower - slack * (one + absolute(lower)))
                & ~(natural > upper + slack * (one + absolute(upper))) & (lower < upper);
        }
        put_doubles(out + row, where(possible, density, nothing), width);
    }
}

/* Real numbers to values, between bounds if `bounded`, and the log of |d real / d value|: from_real.
 *
 * bounds: lower and upper one on the natural scale, then as they are, each with `stride` numbers, one or
 * as many as rows; real, value, derivative (rows). */
static void from_real(int64_t rows, const double *real, const double *bounds, int64_t stride, int logarithmic,
                      int bounded, double *value, double *derivative)
{
    int64_t step = stride > 1;
    for (int64_t row = 0; row < rows; row += WIDE_LANES) {
        int width = rows - row < WIDE_LANES ? (int)(rows - row) : WIDE_LANES;
        w4 own = few(real + row, width), natural = own, log = wide(0.0);
        if (bounded) {
            w4 lower = of_rows(bounds, step, row, width), upper = of_rows(bounds + stride, step, row, width);
            w4 size = absolute(own), small = wexp(-size), room = upper - lower;
            small = where(size > wide(708.0), wide(0.0), small);
            /* Counted from the nearer end, so that a saturated sigmoid stays inside. */
            w4 share = small / (wide(1.0) + small) * room;
            natural = where(own < wide(0.0), lower + share, upper - share);
            log = size + wide(2.0) * wlog(wide(1.0) + small) - wlog(room);
        }
        w4 found = natural;
        if (logarithmic) {
            found = wexp(natural * wide(LN_10));
            log -= natural * wide(LN_10) + wide(LN_LN_10);
        }
        w4 low = of_rows(bounds + 2 * stride, step, row, width);
        w4 high = of_rows(bounds + 3 * stride, step, row, width);
        found = where(found < low, low, found);
        put_doubles(value + row, where(found > high, high, found), width);
        put_doubles(derivative + row, log, width);
    }
}

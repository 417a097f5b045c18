/* Residuals of spectra: in bins, in standard errors, and their medians.
 *
 * Included by kernels.c. */

#include <math.h>

#include "vector.h"

/* Pixels of the finest bins; LANES of them are made side by side. */
#define BIN 5
#define GROUP (BIN * LANES)
/* Terms of a calibration polynomial at most. */
#define MOST_TERMS 8

typedef int32_t i8u __attribute__((vector_size(32), aligned(4), may_alias));

/* Number 5 k + j of 40 is in lane (5 k + j) % 8 of the vector of eight (5 k + j) / 8, so that every
 * number of one j has a lane of its own: which k has lane l, and from which vector it comes. */
#define WHICH(j, l) ((5 * ((l) - (j) + LANES)) % LANES)
#define TAKEN(j, l, v) ((l) + ((5 * WHICH(j, l) + (j)) / LANES == (v) ? LANES : 0))
#define OF_VECTOR(j, v)                                                                              \
    (i8){TAKEN(j, 0, v), TAKEN(j, 1, v), TAKEN(j, 2, v), TAKEN(j, 3, v),                             \
         TAKEN(j, 4, v), TAKEN(j, 5, v), TAKEN(j, 6, v), TAKEN(j, 7, v)}
#define ORDER(j)                                                                                     \
    (i8){(j) % 8, (5 + (j)) % 8, (10 + (j)) % 8, (15 + (j)) % 8,                                     \
         (20 + (j)) % 8, (25 + (j)) % 8, (30 + (j)) % 8, (35 + (j)) % 8}
#define SPACED(j)                                                                                    \
    do {                                                                                             \
        v8 mixed = __builtin_shuffle(load(from), load(from + LANES), OF_VECTOR(j, 1));               \
        mixed = __builtin_shuffle(mixed, load(from + 2 * LANES), OF_VECTOR(j, 2));                   \
        mixed = __builtin_shuffle(mixed, load(from + 3 * LANES), OF_VECTOR(j, 3));                   \
        mixed = __builtin_shuffle(mixed, load(from + 4 * LANES), OF_VECTOR(j, 4));                   \
        found[j] = __builtin_shuffle(mixed, ORDER(j));                                               \
    } while (0)

/* The pixels of LANES neighbouring bins, one of each bin side by side. */
INLINE void spaced(const float *from, v8 found[BIN])
{
    SPACED(0);
    SPACED(1);
    SPACED(2);
    SPACED(3);
    SPACED(4);
}

/* Sums over bins of BIN pixels of calibrated draws of one galaxy.
 *
 * place (draws): where the draws lie in model, whose rows have as many pixels as flux, ivar and
 * relative, a multiple of GROUP; basis (terms, pixels) and coefficients (draws, terms) of the
 * calibration, whose constant 1 is apart; out (draws, 4, bins): weights, how many are positive,
 * weighted residuals and models; mean (3, bins): of the mean weights over the draws, how many are
 * positive, and their products with the mean residuals. */
static void bins(int64_t draws, int64_t pixels, const int64_t *place, const float *model, const float *flux,
                 const float *ivar, const float *relative, int64_t terms, const float *basis,
                 const float *coefficients, float *out, float *mean)
{
    int64_t count = pixels / BIN;
    v8 share = all(1.0f / (float)draws), none = all(0.0f), one = all(1.0f);
    for (int64_t start = 0; start < pixels; start += GROUP) {
        v8 y[BIN], information[BIN], rate[BIN], t[MOST_TERMS][BIN], f[BIN], weights[BIN], residuals[BIN];
        spaced(flux + start, y);
        spaced(ivar + start, information);
        spaced(relative + start, rate);
        for (int64_t term = 0; term < terms; term++)
            spaced(basis + term * pixels + start, t[term]);
        for (int k = 0; k < BIN; k++)
            weights[k] = residuals[k] = none;
        for (int64_t draw = 0; draw < draws; draw++) {
            const float *own = coefficients + draw * terms;
            v8 sums[4] = {none, none, none, none}, curve[BIN] = {one, one, one, one, one};
            for (int64_t term = 0; term < terms; term++)
                for (int k = 0; k < BIN; k++)
                    curve[k] += all(own[term]) * t[term][k];
            spaced(model + place[draw] + start, f);
            for (int k = 0; k < BIN; k++) {
                f[k] *= curve[k];
                v8 w = information[k] / (one + rate[k] * f[k] * f[k]), r = y[k] - f[k];
                sums[0] += w;
                sums[1] += (v8)((i8)one & (w > none));
                sums[2] += w * r;
                sums[3] += w * f[k];
                weights[k] += w;
                residuals[k] += r;
            }
            for (int k = 0; k < 4; k++)
                store(out + (draw * 4 + k) * count + start / BIN, sums[k]);
        }
        v8 sums[3] = {none, none, none};
        for (int k = 0; k < BIN; k++) {
            v8 w = weights[k] * share;
            sums[0] += w;
            sums[1] += (v8)((i8)one & (w > none));
            sums[2] += w * (residuals[k] * share);
        }
        for (int k = 0; k < 3; k++)
            store(mean + k * count + start / BIN, sums[k]);
    }
}

/* Numbers at a place of a line, and zeros beyond its end. */
INLINE v8 upto(const float *line, int64_t place, int64_t size)
{
    if (place + LANES <= size)
        return load(line + place);
    v8 found = all(0.0f);
    for (int64_t x = place; x < size; x++)
        found[x - place] = line[x];
    return found;
}

/* Sums of `factor` neighbours, in place. */
INLINE void merge(float *line, int64_t size, int64_t factor)
{
    for (int64_t bin = 0; bin < size; bin++) {
        float total = line[bin * factor];
        for (int64_t k = 1; k < factor; k++)
            total += line[bin * factor + k];
        line[bin] = total;
    }
}

/* Sums of squares of the residuals of bins in their standard errors, on several scales.
 *
 * sums (draws, 4, count), see above, which are overwritten; factors (levels): how many bins of the
 * scale before make one; variance: of the noise, in stated ones, and common: relative error of a
 * whole bin; out (draws, levels, 2): how many bins have one, and the sum. */
static void squares(int64_t draws, int64_t count, int64_t levels, const int64_t *factors, double variance,
                    double common, float *sums, double *out)
{
    const v8 most = all(3.4028234663852886e38f), coherent = all((float)(common * common));
    for (int64_t draw = 0; draw < draws; draw++) {
        float *line = sums + draw * 4 * count;
        int64_t size = count, width = BIN;
        for (int64_t level = 0; level < levels; level++) {
            int64_t factor = factors[level];
            size /= factor;
            width *= factor;
            for (int part = 0; part < 4 && factor > 1; part++) {
                if (factor == 4)
                    merge(line + part * count, size, 4);
                else if (factor == 5)
                    merge(line + part * count, size, 5);
                else
                    merge(line + part * count, size, factor);
            }
            v8 half = all(0.5f * (float)width), number = all(0.0f), total = all(0.0f);
            for (int64_t bin = 0; bin < size; bin += LANES) {
                v8 w = upto(line, bin, size), good = upto(line + count, bin, size);
                v8 r = upto(line + 2 * count, bin, size), f = upto(line + 3 * count, bin, size);
                i8 weak = w < all(1e-30f);
                w = (v8)(((i8)all(1e-30f) & weak) | ((i8)w & ~weak));
                v8 square = r * r / (all((float)variance) * w + coherent * f * f);
                i8 defined = (good >= half) & (square == square), finite = square <= most;
                square = (v8)(((i8)square & finite) | ((i8)most & ~finite));
                number += (v8)((i8)all(1.0f) & defined & finite);
                total += (v8)((i8)square & defined);
            }
            out[(draw * levels + level) * 2] = sum(number);
            out[(draw * levels + level) * 2 + 1] = sum(total);
        }
    }
}

/* Residuals in standard errors: of single pixels, and of bins of BIN pixels; NaN without a weight.
 *
 * For one galaxy, see bins, except that the weights are those of the model before calibration;
 * single (pixels), binned (pixels / BIN). */
static void deviates(int64_t pixels, const float *model, const float *flux, const float *ivar,
                     const float *relative, int64_t terms, const float *basis, const float *coefficients,
                     float *single, float *binned)
{
    const float nan = __builtin_nanf("");
    float weights[GROUP], weighted[GROUP];
    for (int64_t start = 0; start < pixels; start += GROUP) {
        for (int x = 0; x < GROUP; x += LANES) {
            int64_t at = start + x;
            v8 f = load(model + at), curve = all(1.0f);
            for (int64_t term = 0; term < terms; term++)
                curve += all(coefficients[term]) * load(basis + term * pixels + at);
            v8 w = load(ivar + at) / (all(1.0f) + load(relative + at) * f * f);
            store(weights + x, w);
            store(weighted + x, (load(flux + at) - f * curve) * w);
        }
        for (int x = 0; x < GROUP; x++)
            single[start + x] = weights[x] > 0.0f ? weighted[x] / sqrtf(weights[x]) : nan;
        for (int bin = 0; bin < LANES; bin++) {
            float w = 0.0f, r = 0.0f;
            for (int k = 0; k < BIN; k++) {
                w += weights[bin * BIN + k];
                r += weighted[bin * BIN + k];
            }
            binned[start / BIN + bin] = w > 0.0f ? r / sqrtf(w) : nan;
        }
    }
}

/* The lower median of each row without its NaN; NaN where there is nothing else.
 *
 * values (rows, size); keys: room for size + LANES whole numbers; out (rows). */
static void medians(int64_t rows, int64_t size, const float *values, int32_t *keys, float *out)
{
    for (int64_t row = 0; row < rows; row++) {
        int64_t valid = 0;
        /* Whole numbers in the order of the values, NaN last. */
        for (int64_t x = 0; x < size; x++) {
            float value = values[row * size + x];
            int32_t bits;
            __builtin_memcpy(&bits, &value, sizeof bits);
            keys[x] = value == value ? bits ^ ((bits >> 31) & INT32_MAX) : INT32_MAX;
            valid += value == value;
        }
        for (int64_t x = size; x < size + LANES; x++)
            keys[x] = INT32_MAX;
        int64_t wanted = (valid + 1) / 2, low = INT32_MIN, high = INT32_MAX;
        /* The least number that as many keys do not exceed: halving takes 32 fast passes. */
        while (low < high) {
            int32_t middle = (int32_t)(low + (high - low) / 2);
            i8 limit = (i8){} + middle, found = (i8){};
            for (int64_t x = 0; x < size; x += LANES)
                found -= *(const i8u *)(keys + x) <= limit;
            int64_t below = 0;
            for (int lane = 0; lane < LANES; lane++)
                below += found[lane];
            if (below >= wanted)
                high = middle;
            else
                low = (int64_t)middle + 1;
        }
        int32_t bits = (int32_t)low;
        bits ^= (bits >> 31) & INT32_MAX;
        float value;
        __builtin_memcpy(&value, &bits, sizeof value);
        out[row] = valid ? value : __builtin_nanf("");
    }
}

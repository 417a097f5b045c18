/* Spectra of a few states of one galaxy, and their sums over the pixels.
 *
 * Included by kernels.c. */

#include <math.h>

#include "vector.h"

/* Pixels of a block of the dust screen, and Chebyshev points in it: see physics/screen.py. */
#define BLOCK 64
#define POINTS 6
/* Pixels of a strip of templates, and rows that share what is read of them. */
#define STRIP 16
#define TILE 4
/* Pixels of a window that are looked at together, which bounds the taps, and frequencies of `widen`. */
#define REACH 512
#define FREQUENCIES 256
/* Pixels over which single-precision sums are kept apart. */
#define STRETCH 240

/* Light of TILE rows on one strip, of the templates from `first` to `last`. */
INLINE void product(int64_t first, int64_t last, const float *strip, const float *const rows[TILE],
                    v8 found[TILE][2])
{
    v8 sums[TILE][2];
    for (int row = 0; row < TILE; row++)
        sums[row][0] = sums[row][1] = all(0.0f);
    for (int64_t k = first; k < last; k++) {
        v8 left = load(strip + k * STRIP), right = load(strip + k * STRIP + LANES);
        for (int row = 0; row < TILE; row++) {
            v8 c = all(rows[row][k]);
            sums[row][0] += c * left;
            sums[row][1] += c * right;
        }
    }
    for (int row = 0; row < TILE; row++)
        for (int half = 0; half < 2; half++)
            found[row][half] = sums[row][half];
}

/* Fractions of the light of old stars, and of young stars and gas, that pass at the points. */
INLINE void passed(const struct screen *screen, int64_t block, int64_t row, v8 *old, v8 *young)
{
    const float optical = -0.921034037f, birth_cloud = 1.0f / 0.44f;
    v8 curve = vexp(load(screen->log_curve + block * LANES)
                    + all(screen->slope[row]) * load(screen->log_wave + block * LANES));
    v8 depth = curve * all(optical * screen->a_v[row]);
    *old = vexp(depth);
    *young = vexp(all(birth_cloud) * depth);
}

/* Attenuated light on the window of a galaxy, brought to zero at both ends.
 *
 * coefficients (rows, templates), those of old light first, up to `split`; strips (strip, templates,
 * STRIP), the templates on a grid whose strips begin where blocks of the screen do; start: of the
 * window on that grid; ramp (ramp_size); out (rows, pixels). */
static void light(int64_t rows, int64_t pixels, int64_t start, int64_t split, int64_t templates,
                  const float *coefficients, const float *strips, const struct screen *screen,
                  int64_t ramp_size, const float *ramp, float *out)
{
    for (int64_t block = start / BLOCK; block * BLOCK < start + pixels; block++)
        for (int64_t row = 0; row < rows; row += TILE) {
            const float *lines[TILE];
            v8 pass[TILE][2];
            for (int k = 0; k < TILE; k++) {
                int64_t at = row + k < rows ? row + k : rows - 1;
                lines[k] = coefficients + at * templates;
                passed(screen, block, at, &pass[k][0], &pass[k][1]);
            }
            for (int64_t at = 0; at < BLOCK; at += STRIP) {
                /* In the window; at its ends, some pixels of a strip are outside. */
                int64_t begin = block * BLOCK + at - start;
                int inside = begin >= 0 && begin + STRIP <= pixels;
                if (begin + STRIP <= 0 || begin >= pixels)
                    continue;
                const float *own = strips + (block * BLOCK + at) * templates;
                v8 old[TILE][2], young[TILE][2];
                product(0, split, own, lines, old);
                product(split, templates, own, lines, young);
                for (int k = 0; k < TILE && row + k < rows; k++) {
                    float edge[STRIP], *to = out + (row + k) * pixels + begin, *line = inside ? to : edge;
                    for (int half = 0; half < 2; half++) {
                        v8 a = all(0.0f), b = all(0.0f);
                        for (int point = 0; point < POINTS; point++) {
                            v8 f = load(screen->fill + point * BLOCK + at + half * LANES);
                            a += all(pass[k][0][point]) * f;
                            b += all(pass[k][1][point]) * f;
                        }
                        store(line + half * LANES, old[k][half] * a + young[k][half] * b);
                    }
                    for (int x = 0; !inside && x < STRIP; x++)
                        if (begin + x >= 0 && begin + x < pixels)
                            to[x] = edge[x];
                }
            }
        }
    for (int64_t row = 0; row < rows; row++) {
        float *line = out + row * pixels;
        for (int64_t x = 0; x < ramp_size; x++) {
            line[x] *= ramp[x];
            line[pixels - 1 - x] *= ramp[x];
        }
    }
}

/* Multiplies transforms with a phase and a Gaussian of each row, in place.
 *
 * spectrum (rows, frequencies) and phase (frequencies), complex; variance (rows); the Gaussian is
 * exp(-unit * variance * k^2) at frequency k. */
static void turn(int64_t rows, int64_t frequencies, const float *phase, const float *variance,
               double unit, float *spectrum)
{
    enum { FEW = 64 };
    for (int64_t row = 0; row < rows; row++) {
        double rate = unit * variance[row];
        /* exp(-c (64 a + b)^2) is a product of one number of a, one of b, and a power of another. */
        float low[FEW], ratio[FEW];
        for (int b = 0; b < FEW; b++) {
            low[b] = (float)exp(-rate * b * b);
            ratio[b] = (float)exp(-rate * 2.0 * FEW * b);
        }
        float *line = spectrum + row * 2 * frequencies;
        for (int64_t first = 0; first < frequencies; first += FEW) {
            float lead = (float)exp(-rate * (double)first * (double)first);
            int count = first + FEW <= frequencies ? FEW : (int)(frequencies - first);
            for (int b = 0; b < count; b++) {
                int64_t at = 2 * (first + b);
                float g = lead * low[b];
                float re = line[at], im = line[at + 1];
                float turn_re = phase[at] * g, turn_im = phase[at + 1] * g;
                line[at] = re * turn_re - im * turn_im;
                line[at + 1] = re * turn_im + im * turn_re;
            }
            for (int b = 0; b < FEW; b++)
                low[b] *= ratio[b];
        }
    }
}

/* Rows side by side, from `start` on: every tap is then one product of a number and a vector. */
INLINE void interleave(const float *const lines[LANES], int64_t start, int64_t count, float *to)
{
    for (int64_t x = 0; x < count; x++) {
        v8 column;
        for (int row = 0; row < LANES; row++)
            column[row] = lines[row][start + x];
        store(to + x * LANES, column);
    }
}

/* Means over the pixels from coefficients side by side, those from `start` on. Of `count` rows, the
 * pixels from `first` to `last` are written to out (count, pixels). */
INLINE void read_pixels(const float *near, int64_t start, int64_t first, int64_t last, int count,
                        int64_t pixels, int64_t taps, const int64_t *index, const float *weights, float *out)
{
    v8 found[LANES];
    for (int64_t p = first; p < last; p++) {
        const float *place = near + (index[p] - start) * LANES, *weight = weights + p * taps;
        v8 a = all(0.0f), b = all(0.0f), c = all(0.0f), d = all(0.0f);
        for (int64_t tap = 0; tap < taps; tap += 4) {
            a += all(weight[tap]) * load(place + tap * LANES);
            b += all(weight[tap + 1]) * load(place + (tap + 1) * LANES);
            c += all(weight[tap + 2]) * load(place + (tap + 2) * LANES);
            d += all(weight[tap + 3]) * load(place + (tap + 3) * LANES);
        }
        found[p - first] = (a + b) + (c + d);
    }
    for (int row = 0; row < count; row++)
        for (int64_t p = first; p < last; p++)
            out[row * pixels + p] = found[p - first][row];
}

/* Means over the pixels of the instrument, from the coefficients of a spline.
 *
 * coefficients (rows, window); pixel p reads `taps` of them, a multiple of four and at most REACH, from
 * index[p] on, which ascends; weights (pixels, taps); out (rows, pixels). */
static void sample(int64_t rows, int64_t window, int64_t pixels, int64_t taps, const float *coefficients,
                   const int64_t *index, const float *weights, float *out)
{
    float near[REACH * LANES] __attribute__((aligned(32)));
    for (int64_t row = 0; row < rows; row += LANES) {
        const float *lines[LANES];
        for (int k = 0; k < LANES; k++)
            lines[k] = coefficients + (row + k < rows ? row + k : rows - 1) * window;
        int count = rows - row < LANES ? (int)(rows - row) : LANES;
        int64_t start = 0, stop = 0;
        for (int64_t first = 0; first < pixels; first += LANES) {
            int64_t last = first + LANES < pixels ? first + LANES : pixels;
            if (index[last - 1] + taps > stop) {
                start = index[first];
                stop = start + REACH < window ? start + REACH : window;
                interleave(lines, start, stop - start, near);
            }
            read_pixels(near, start, first, last, count, pixels, taps, index, weights, out + row * pixels);
        }
    }
}

/* The same of some rows, mixed of two kinds of weights: (1 - share) of `weights` and share of `others`.
 *
 * chosen (count), the rows of coefficients (rows, window) and out (rows, pixels); share (count). */
static void mix(int64_t count, int64_t window, int64_t pixels, int64_t taps, const float *coefficients,
                const int64_t *chosen, const int64_t *index, const float *weights, const float *others,
                const float *share, float *out)
{
    float near[REACH * LANES] __attribute__((aligned(32)));
    for (int64_t row = 0; row < count; row += LANES) {
        const float *lines[LANES];
        v8 part = all(0.0f);
        for (int k = 0; k < LANES; k++) {
            int64_t at = row + k < count ? row + k : count - 1;
            lines[k] = coefficients + chosen[at] * window;
            part[k] = share[at];
        }
        int64_t start = 0, stop = 0;
        for (int64_t p = 0; p < pixels; p++) {
            if (index[p] + taps > stop) {
                start = index[p];
                stop = start + REACH < window ? start + REACH : window;
                interleave(lines, start, stop - start, near);
            }
            const float *place = near + (index[p] - start) * LANES;
            const float *own = weights + p * taps, *other = others + p * taps;
            v8 a = all(0.0f), b = all(0.0f), c = all(0.0f), d = all(0.0f);
            for (int64_t tap = 0; tap < taps; tap += 2) {
                v8 first = load(place + tap * LANES), second = load(place + (tap + 1) * LANES);
                a += all(own[tap]) * first;
                b += all(own[tap + 1]) * second;
                c += all(other[tap]) * first;
                d += all(other[tap + 1]) * second;
            }
            v8 low = a + b, found = low + part * ((c + d) - low);
            for (int k = 0; k < LANES && row + k < count; k++)
                out[chosen[row + k] * pixels + p] = found[k];
        }
    }
}

/* Filters rows that lie side by side: to[x] = sum over t of filter[t] from[x + t].
 *
 * from (size + taps - 1, LANES), filter (taps, LANES), to (size, LANES); size a multiple of four. */
static void convolve(int64_t size, int64_t taps, const float *from, const float *filter, float *to)
{
    for (int64_t x = 0; x < size; x += 4) {
        v8 a = all(0.0f), b = all(0.0f), c = all(0.0f), d = all(0.0f);
        for (int64_t tap = 0; tap < taps; tap++) {
            v8 f = load(filter + tap * LANES);
            const float *place = from + (x + tap) * LANES;
            a += f * load(place);
            b += f * load(place + LANES);
            c += f * load(place + 2 * LANES);
            d += f * load(place + 3 * LANES);
        }
        store(to + x * LANES, a);
        store(to + (x + 1) * LANES, b);
        store(to + (x + 2) * LANES, c);
        store(to + (x + 3) * LANES, d);
    }
}

/* Spectra of one galaxy, whole: light, broadening by filters of 2 half + 1 taps for each row, and the
 * pixels of the instrument.
 *
 * The first arguments are those of `light`; filters (rows, 2 half + 1); then those of `sample`; out
 * (rows, pixels). The memory that it needs is `scratch`, LIT_TOGETHER window and LANES times twice the
 * window, 4 half + 1 and taps numbers. */
static void spectra(int64_t rows, int64_t window, int64_t start, int64_t split, int64_t templates,
                    const float *coefficients, const float *strips, const struct screen *screen,
                    int64_t ramp_size, const float *ramp, int64_t half, const float *filters, int64_t pixels,
                    int64_t taps, const int64_t *index, const float *weights, float *out, float *scratch)
{
    int64_t length = 2 * half + 1;
    float *of_rows = scratch, *beside = of_rows + LIT_TOGETHER * window;
    float *filter = beside + LANES * (window + 2 * half), *broadened = filter + LANES * length;
    for (int64_t row = 0; row < rows; row += LANES) {
        int count = rows - row < LANES ? (int)(rows - row) : LANES;
        const float *lit = of_rows + row % LIT_TOGETHER * window;
        if (row % LIT_TOGETHER == 0) {
            const struct screen own = {screen->log_curve, screen->log_wave, screen->a_v + row,
                                       screen->slope + row, screen->fill};
            light(rows - row < LIT_TOGETHER ? rows - row : LIT_TOGETHER, window, start, split, templates,
                  coefficients + row * templates, strips, &own, ramp_size, ramp, of_rows);
        }
        const float *lines[LANES], *shapes[LANES];
        for (int k = 0; k < LANES; k++) {
            lines[k] = lit + (k < count ? k : count - 1) * window;
            shapes[k] = filters + (row + (k < count ? k : count - 1)) * length;
        }
        for (int64_t x = 0; x < half * LANES; x++)
            beside[x] = beside[(window + half) * LANES + x] = 0.0f;
        interleave(lines, 0, window, beside + half * LANES);
        interleave(shapes, 0, length, filter);
        convolve(window, length, beside, filter, broadened);
        for (int64_t x = window * LANES; x < (window + taps) * LANES; x++)
            broadened[x] = 0.0f;
        for (int64_t first = 0; first < pixels; first += LANES)
            read_pixels(broadened, 0, first, first + LANES < pixels ? first + LANES : pixels, count, pixels, taps,
                        index, weights, out + row * pixels);
    }
}

/* Taps of pixels that read a spectrum broadened by a Gaussian of their own: see physics/pixels.py.
 *
 * plain (8, pixels), the taps without it; variance (pixels); exponent (frequencies), what the transfer
 * is two to the power of, per variance; fit (half + 1, frequencies), coefficients from the middle
 * outwards; out (pixels, taps), of which the first 8 + 2 half of each are written. */
static void widen(int64_t pixels, int64_t half, int64_t frequencies, int64_t taps, const float *plain,
                  const float *variance, const float *exponent, const float *fit, float *out)
{
    enum { PLAIN = 8 };
    v8 transfer[FREQUENCIES], gaussian[FREQUENCIES];
    for (int64_t first = 0; first < pixels; first += LANES) {
        int count = pixels - first < LANES ? (int)(pixels - first) : LANES;
        v8 own = all(0.0f), wide[PLAIN];
        for (int p = 0; p < count; p++)
            own[p] = variance[first + p];
        for (int tap = 0; tap < PLAIN; tap++) {
            wide[tap] = all(0.0f);
            for (int p = 0; p < count; p++)
                wide[tap][p] = plain[tap * pixels + first + p];
        }
        for (int64_t f = 0; f < frequencies; f++)
            transfer[f] = vexp(all(exponent[f] * 0.69314718056f) * own);
        for (int64_t place = 0; place <= half; place++) {
            v8 value = all(0.0f);
            for (int64_t f = 0; f < frequencies; f++)
                value += all(fit[place * frequencies + f]) * transfer[f];
            gaussian[place] = value;
        }
        for (int64_t tap = 0; tap < PLAIN + 2 * half; tap++) {
            v8 value = all(0.0f);
            for (int k = 0; k < PLAIN; k++) {
                int64_t away = tap - k - half;
                away = away < 0 ? -away : away;
                if (away <= half)
                    value += gaussian[away] * wide[k];
            }
            for (int p = 0; p < count; p++)
                out[(first + p) * taps + tap] = value[p];
        }
    }
}

/* out[i] = found[place[i]] - other[i], of rows of `pixels` numbers; those of other and out lie `step`
 * numbers apart. */
static void difference(int64_t rows, int64_t pixels, const int64_t *place, const float *found,
                       const float *other, int64_t step, float *out)
{
    for (int64_t row = 0; row < rows; row++) {
        const float *own = found + place[row] * pixels, *less = other + row * step;
        float *to = out + row * step;
        for (int64_t x = 0; x < pixels; x++)
            to[x] = own[x] - less[x];
    }
}

/* Sums over the pixels that the likelihood of a spectrum needs: see SpectrumLikelihood.sums.
 *
 * model (rows, pixels); flux, ivar, relative (pixels); polynomials (7, pixels), the first one 1; out
 * (rows, 13): w r^2, minus log w up to a constant, four of T w f r, seven of T w f^2. */
static void sums(int64_t rows, int64_t pixels, const float *model, const float *flux, const float *ivar,
               const float *relative, const float *polynomials, double *out)
{
    enum { SUMS = 13, OF_RESIDUAL = 2, OF_SQUARE = 6 };
    for (int64_t row = 0; row < rows; row++) {
        const float *line = model + row * pixels;
        double *total = out + row * SUMS;
        for (int k = 0; k < SUMS; k++)
            total[k] = 0.0;
        for (int64_t start = 0; start < pixels; start += STRETCH) {
            int64_t stop = start + STRETCH < pixels ? start + STRETCH : pixels;
            v8 sums[SUMS];
            for (int k = 0; k < SUMS; k++)
                sums[k] = all(0.0f);
            /* The logarithm of a product of many: as long as double precision holds it. */
            double growth = 1.0;
            for (int64_t x = start; x < stop; x += LANES) {
                v8 f = load(line + x);
                v8 more = all(1.0f) + load(relative + x) * f * f;
                v8 w = load(ivar + x) / more;
                v8 r = load(flux + x) - f;
                v8 of_residual = w * f * r, of_square = w * f * f;
                sums[0] += w * r * r;
                sums[OF_RESIDUAL] += of_residual;
                sums[OF_SQUARE] += of_square;
                for (int k = 1; k < 4; k++)
                    sums[OF_RESIDUAL + k] += of_residual * load(polynomials + k * pixels + x);
                for (int k = 1; k < 7; k++)
                    sums[OF_SQUARE + k] += of_square * load(polynomials + k * pixels + x);
                double left = (double)more[0] * more[1] * ((double)more[2] * more[3]);
                growth *= left * ((double)more[4] * more[5] * ((double)more[6] * more[7]));
                if (growth > 1e200 || x + LANES >= stop) {
                    total[1] += log(growth);
                    growth = 1.0;
                }
            }
            for (int k = 0; k < SUMS; k++)
                if (k != 1)
                    total[k] += sum(sums[k]);
        }
    }
}

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

/* Attenuated light of old stars, and of young stars and gas, on the window of a galaxy.
 *
 * coefficients (rows, templates), those of old light first, up to `split`; strips (strip, templates,
 * STRIP), the templates on a grid whose strips begin where blocks of the screen do; start: of the
 * window on that grid; points (2, rows, blocks, POINTS), transmissions of either light at the points
 * of each block that the window touches; fill (POINTS, BLOCK); ramp (ramp_size), which brings both
 * ends to zero; out (rows, pixels). */
static void light(int64_t rows, int64_t pixels, int64_t start, int64_t split, int64_t templates,
                  const float *coefficients, const float *strips, int64_t blocks, const float *points,
                  const float *fill, int64_t ramp_size, const float *ramp, float *out)
{
    int64_t first_block = start / BLOCK;
    for (int64_t strip = start / STRIP; strip * STRIP < start + pixels; strip++) {
        const float *own = strips + strip * templates * STRIP;
        int64_t block = strip * STRIP / BLOCK;
        const float *place = fill + (strip * STRIP - block * BLOCK);
        /* In the window; at its ends, some pixels of a strip are outside. */
        int64_t begin = strip * STRIP - start;
        int inside = begin >= 0 && begin + STRIP <= pixels;
        for (int64_t row = 0; row < rows; row += TILE) {
            const float *lines[TILE];
            for (int k = 0; k < TILE; k++)
                lines[k] = coefficients + (row + k < rows ? row + k : rows - 1) * templates;
            v8 old[TILE][2], young[TILE][2];
            product(0, split, own, lines, old);
            product(split, templates, own, lines, young);
            for (int k = 0; k < TILE && row + k < rows; k++) {
                const float *passed = points + ((row + k) * blocks + block - first_block) * POINTS;
                const float *passed_young = passed + rows * blocks * POINTS;
                float edge[STRIP], *to = out + (row + k) * pixels + begin, *line = inside ? to : edge;
                for (int half = 0; half < 2; half++) {
                    v8 a = all(0.0f), b = all(0.0f);
                    for (int point = 0; point < POINTS; point++) {
                        v8 f = load(place + point * BLOCK + half * LANES);
                        a += all(passed[point]) * f;
                        b += all(passed_young[point]) * f;
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

/* Means over the pixels of the instrument, from the coefficients of a spline.
 *
 * coefficients (rows, window); pixel p reads `taps` of them, a multiple of four, from index[p] on,
 * with weights (pixels, taps); buffer (window + taps) * LANES numbers; out (rows, pixels). */
static void sample(int64_t rows, int64_t window, int64_t pixels, int64_t taps, const float *coefficients,
                 const int64_t *index, const float *weights, float *buffer, float *out)
{
    for (int64_t row = 0; row < rows; row += LANES) {
        const float *line[LANES];
        for (int k = 0; k < LANES; k++)
            line[k] = coefficients + (row + k < rows ? row + k : rows - 1) * window;
        /* Rows side by side: every tap is then one product of a number and a vector. */
        for (int64_t x = 0; x < window; x++) {
            v8 column;
            for (int k = 0; k < LANES; k++)
                column[k] = line[k][x];
            store(buffer + x * LANES, column);
        }
        for (int64_t x = window * LANES; x < (window + taps) * LANES; x++)
            buffer[x] = 0.0f;
        for (int64_t first = 0; first < pixels; first += LANES) {
            v8 found[LANES];
            int count = pixels - first < LANES ? (int)(pixels - first) : LANES;
            for (int p = 0; p < count; p++) {
                const float *place = buffer + index[first + p] * LANES;
                const float *weight = weights + (first + p) * taps;
                v8 a = all(0.0f), b = all(0.0f), c = all(0.0f), d = all(0.0f);
                for (int64_t tap = 0; tap < taps; tap += 4) {
                    a += all(weight[tap]) * load(place + tap * LANES);
                    b += all(weight[tap + 1]) * load(place + (tap + 1) * LANES);
                    c += all(weight[tap + 2]) * load(place + (tap + 2) * LANES);
                    d += all(weight[tap + 3]) * load(place + (tap + 3) * LANES);
                }
                found[p] = (a + b) + (c + d);
            }
            for (int k = 0; k < LANES && row + k < rows; k++) {
                float *to = out + (row + k) * pixels + first;
                if (count == LANES) {
                    v8 across;
                    for (int p = 0; p < LANES; p++)
                        across[p] = found[p][k];
                    store(to, across);
                } else {
                    for (int p = 0; p < count; p++)
                        to[p] = found[p][k];
                }
            }
        }
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
            /* Logarithms of products of few: each is far from the ends of double precision. */
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
                double half = (double)(more[0] * more[1]) * (double)(more[2] * more[3]);
                growth *= half * ((double)(more[4] * more[5]) * (double)(more[6] * more[7]));
                if (growth > 1e100 || x + LANES >= stop) {
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

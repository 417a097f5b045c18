/* A small basis of the spectra of one galaxy, and the sums over the pixels that it needs.
 *
 * Included by kernels.c. */

#include <math.h>
#include <string.h>

#include "vector.h"

typedef double d4 __attribute__((vector_size(32)));
typedef double d4u __attribute__((vector_size(32), aligned(8), may_alias));

/* Numbers of a vector in double precision. */
#define PAIR 4
/* Pixels of a stretch whose rows stay in the cache; BLOCKED of them share a polynomial's value. */
#define BLOCKED 12
/* Components and polynomials at most. */
#define MOST_ROWS 24
#define MOST_POLYNOMIALS 12

INLINE d4 quad(const double *from) { return *(const d4u *)from; }

/* Residuals of the draws on a stretch of pixels, in standard errors; rows of STRETCH numbers. */
INLINE void residuals(int64_t draws, int64_t first, int64_t count, const int64_t *place, const float *spectra,
                      const float *centre, const float *root, double *out)
{
    for (int64_t draw = 0; draw < draws; draw++) {
        const float *line = spectra + place[draw] + first;
        double *to = out + draw * STRETCH;
        for (int64_t x = 0; x < count; x++)
            to[x] = (line[x] - centre[first + x]) * root[first + x];
        for (int64_t x = count; x < STRETCH; x++)
            to[x] = 0.0;
    }
}

/* The mean of the draws of one galaxy, standard errors around it, and products of the draws.
 *
 * place (draws): where the rows of spectra begin; share (draws): weights of the mean; ivar, relative
 * (pixels); centre and root (pixels): mean, and root of the inverse variances; products (draws,
 * draws): of the differences from the mean in standard errors; buffer (draws * STRETCH). */
static void centred(int64_t draws, int64_t pixels, const int64_t *place, const float *spectra,
                    const float *share, const float *ivar, const float *relative, float *centre, float *root,
                    double *buffer, double *products)
{
    enum { TALL_PAIRS = 4, WIDE_PAIRS = 3 };
    memset(products, 0, draws * draws * sizeof *products);
    for (int64_t first = 0; first < pixels; first += STRETCH) {
        int64_t count = pixels - first < STRETCH ? pixels - first : STRETCH;
        memset(centre + first, 0, count * sizeof *centre);
        for (int64_t draw = 0; draw < draws; draw++)
            for (int64_t x = first; x < first + count; x++)
                centre[x] += share[draw] * spectra[place[draw] + x];
        for (int64_t x = first; x < first + count; x++)
            root[x] = sqrtf(ivar[x] / (1.0f + relative[x] * centre[x] * centre[x]));
        residuals(draws, first, count, place, spectra, centre, root, buffer);
        for (int64_t row = 0; row < draws; row += TALL_PAIRS)
            for (int64_t column = 0; column < draws && column < row + TALL_PAIRS; column += WIDE_PAIRS) {
                const double *left[TALL_PAIRS], *right[WIDE_PAIRS];
                d4 sums[TALL_PAIRS][WIDE_PAIRS] = {};
                for (int k = 0; k < TALL_PAIRS; k++)
                    left[k] = buffer + (row + k < draws ? row + k : row) * STRETCH;
                for (int k = 0; k < WIDE_PAIRS; k++)
                    right[k] = buffer + (column + k < draws ? column + k : column) * STRETCH;
                for (int64_t x = 0; x < STRETCH; x += PAIR) {
                    d4 a = quad(right[0] + x), b = quad(right[1] + x), c = quad(right[2] + x);
                    for (int k = 0; k < TALL_PAIRS; k++) {
                        d4 own = quad(left[k] + x);
                        sums[k][0] += own * a;
                        sums[k][1] += own * b;
                        sums[k][2] += own * c;
                    }
                }
                double found[TALL_PAIRS][WIDE_PAIRS];
                for (int k = 0; k < TALL_PAIRS; k++)
                    for (int l = 0; l < WIDE_PAIRS; l++)
                        found[k][l] = (sums[k][l][0] + sums[k][l][2]) + (sums[k][l][1] + sums[k][l][3]);
                for (int k = 0; k < TALL_PAIRS && row + k < draws; k++)
                    for (int l = 0; l < WIDE_PAIRS && column + l < draws; l++)
                        products[(row + k) * draws + column + l] += found[k][l];
            }
    }
    for (int64_t row = 0; row < draws; row++)
        for (int64_t column = row + 1; column < draws; column++)
            products[row * draws + column] = products[column * draws + row];
}

/* Combinations of the differences of the draws from their mean, in standard errors.
 *
 * See centred; coefficients (rank, draws); white (rank, pixels): the combinations; basis (rank,
 * pixels): the same in units of flux; leverage (pixels): sums of the squares of the first. */
static void combined(int64_t draws, int64_t rank, int64_t pixels, const int64_t *place, const float *spectra,
                     const float *centre, const float *root, const double *coefficients, double *buffer,
                     float *white, float *basis, double *leverage)
{
    enum { ROWS = 4, VECTORS = 3 };
    for (int64_t first = 0; first < pixels; first += STRETCH) {
        int64_t count = pixels - first < STRETCH ? pixels - first : STRETCH;
        residuals(draws, first, count, place, spectra, centre, root, buffer);
        for (int64_t row = 0; row < rank; row += ROWS) {
            const double *own[ROWS];
            for (int k = 0; k < ROWS; k++)
                own[k] = coefficients + (row + k < rank ? row + k : row) * draws;
            for (int64_t x = 0; x < count; x += VECTORS * PAIR) {
                d4 sums[ROWS][VECTORS] = {};
                for (int64_t draw = 0; draw < draws; draw++) {
                    const double *from = buffer + draw * STRETCH + x;
                    d4 a = quad(from), b = quad(from + PAIR), c = quad(from + 2 * PAIR);
                    for (int k = 0; k < ROWS; k++) {
                        double factor = own[k][draw];
                        d4 every = {factor, factor, factor, factor};
                        sums[k][0] += every * a;
                        sums[k][1] += every * b;
                        sums[k][2] += every * c;
                    }
                }
                double found[ROWS][VECTORS * PAIR];
                for (int k = 0; k < ROWS; k++)
                    for (int vector = 0; vector < VECTORS; vector++)
                        *(d4u *)(found[k] + vector * PAIR) = sums[k][vector];
                for (int k = 0; k < ROWS && row + k < rank; k++)
                    for (int64_t at = 0; at < VECTORS * PAIR && x + at < count; at++)
                        white[(row + k) * pixels + first + x + at] = (float)found[k][at];
            }
        }
        float inverse[STRETCH], squares[STRETCH] = {0.0f};
        for (int64_t x = 0; x < count; x++)
            inverse[x] = root[first + x] > 0.0f ? 1.0f / root[first + x] : 0.0f;
        for (int64_t row = 0; row < rank; row++) {
            const float *line = white + row * pixels + first;
            float *to = basis + row * pixels + first;
            for (int64_t x = 0; x < count; x++) {
                squares[x] += line[x] * line[x];
                to[x] = line[x] * inverse[x];
            }
        }
        for (int64_t x = 0; x < count; x++)
            leverage[first + x] = squares[x];
    }
}

/* Pixels in strata of equal share, and the weight of each.
 *
 * leverage (pixels); root (pixels), positive where a pixel is good; even: the share that is spread
 * evenly over the good ones; chosen and weights (count). */
static void strata(int64_t pixels, int64_t count, double even, const double *leverage, const float *root,
                   int64_t *chosen, float *weights)
{
    double whole = 0.0, good = 0.0, total = 0.0, reached = 0.0;
    for (int64_t x = 0; x < pixels; x++) {
        whole += leverage[x];
        good += root[x] > 0.0f;
    }
    double of_leverage = (1.0 - even) / whole, of_good = even / (good > 1.0 ? good : 1.0);
    for (int64_t x = 0; x < pixels; x++)
        total += root[x] > 0.0f ? of_leverage * leverage[x] + of_good : 0.0;
    int64_t pixel = 0;
    double own = root[0] > 0.0f ? of_leverage * leverage[0] + of_good : 0.0;
    reached = own;
    for (int64_t k = 0; k < count; k++) {
        double wanted = ((double)k + 0.5) / (double)count * total;
        while (pixel < pixels - 1 && reached < wanted) {
            pixel++;
            own = root[pixel] > 0.0f ? of_leverage * leverage[pixel] + of_good : 0.0;
            reached += own;
        }
        double share = (double)count * own;
        chosen[k] = pixel;
        weights[k] = (float)(1.0 / sqrt(share > 1e-12 ? share : 1e-12));
    }
}

/* Products of all pairs of components, weighted, in blocks of pixels; of a stretch.
 *
 * lines (pixel, MOST_ROWS), components side by side, and scaled, the same times the weights; out
 * (block, vector, row, LANES), the lower triangle and what is in its vectors. */
INLINE void blocks_of(int64_t blocks, int64_t rank, const float *lines, const float *scaled, float *out)
{
    for (int64_t block = 0; block < blocks; block++) {
        const float *own = lines + block * BLOCKED * MOST_ROWS, *other = scaled + block * BLOCKED * MOST_ROWS;
        for (int64_t column = 0; column < rank; column += LANES)
            for (int64_t row = column; row < rank; row += TILE) {
                v8 sums[TILE];
                for (int k = 0; k < TILE; k++)
                    sums[k] = all(0.0f);
                for (int pixel = 0; pixel < BLOCKED; pixel++) {
                    v8 right = load(own + pixel * MOST_ROWS + column);
                    for (int k = 0; k < TILE; k++)
                        sums[k] += all(other[pixel * MOST_ROWS + row + k]) * right;
                }
                for (int k = 0; k < TILE; k++) {
                    store(out, sums[k]);
                    out += LANES;
                }
            }
    }
}

/* Adds the products of the components with curves on a stretch: sums (rank, count), in vectors. */
INLINE void against(int64_t rank, int64_t count, int64_t pixels, const float *basis, const float *curves,
                    v8 *sums)
{
    enum { ROWS = 4, COLUMNS = 3 };
    for (int64_t row = 0; row < rank; row += ROWS)
        for (int64_t column = 0; column < count; column += COLUMNS) {
            const float *left[ROWS], *right[COLUMNS];
            v8 found[ROWS][COLUMNS];
            for (int k = 0; k < ROWS; k++)
                left[k] = basis + (row + k < rank ? row + k : row) * pixels;
            for (int l = 0; l < COLUMNS; l++)
                right[l] = curves + (column + l < count ? column + l : column) * STRETCH;
            for (int k = 0; k < ROWS; k++)
                for (int l = 0; l < COLUMNS; l++)
                    found[k][l] = all(0.0f);
            for (int64_t x = 0; x < STRETCH; x += LANES) {
                v8 a = load(right[0] + x), b = load(right[1] + x), c = load(right[2] + x);
                for (int k = 0; k < ROWS; k++) {
                    v8 own = load(left[k] + x);
                    found[k][0] += own * a;
                    found[k][1] += own * b;
                    found[k][2] += own * c;
                }
            }
            v8 kept[ROWS * COLUMNS];
            for (int k = 0; k < ROWS; k++)
                for (int l = 0; l < COLUMNS; l++)
                    kept[k * COLUMNS + l] = found[k][l];
            for (int k = 0; k < ROWS && row + k < rank; k++)
                for (int l = 0; l < COLUMNS && column + l < count; l++)
                    sums[(row + k) * count + column + l] += kept[k * COLUMNS + l];
        }
}

/* On a stretch of one galaxy, polynomials times the weight and what they are to be summed against.
 *
 * weight, centre, residual and polynomials: see expanded, from the stretch on; curves (2, terms,
 * STRETCH): times residual and centre; constant (3, terms): of products of the two, added to. */
INLINE void curved(int64_t pixels, int64_t terms, const float *weight, const float *centre,
                   const float *residual, const float *polynomials, float *curves, double *constant)
{
    for (int64_t term = 0; term < terms; term++) {
        float *of_residual = curves + term * STRETCH, *of_centre = of_residual + terms * STRETCH;
        v8 own[3] = {all(0.0f), all(0.0f), all(0.0f)};
        for (int64_t x = 0; x < STRETCH; x += LANES) {
            v8 f = load(centre + x), r = load(residual + x);
            v8 t = load(weight + x) * load(polynomials + term * pixels + x), a = t * r, b = t * f;
            store(of_residual + x, a);
            store(of_centre + x, b);
            own[0] += a * r;
            own[1] += a * f;
            own[2] += b * f;
        }
        for (int k = 0; k < 3; k++)
            constant[k * terms + term] += sum(own[k]);
    }
}

/* Adds blocks of numbers, each times a mean of every polynomial: sums (terms + 1, size), of which the
 * last row is for nothing; numbers (blocks, size); means (terms, step). */
INLINE void averaged(int64_t blocks, int64_t size, int64_t terms, int64_t step, const float *means,
                     const float *numbers, float *sums)
{
    for (int64_t term = 0; term < terms; term += 3) {
        const float *own[3];
        float *to[3];
        for (int k = 0; k < 3; k++) {
            own[k] = means + (term + k < terms ? term + k : term) * step;
            to[k] = sums + (term + k < terms ? term + k : terms) * size;
        }
        for (int64_t place = 0; place < size; place += LANES) {
            v8 found[3] = {all(0.0f), all(0.0f), all(0.0f)};
            for (int64_t block = 0; block < blocks; block++) {
                v8 number = load(numbers + block * size + place);
                for (int k = 0; k < 3; k++)
                    found[k] += all(own[k][block]) * number;
            }
            for (int k = 0; k < 3; k++)
                store(to[k] + place, load(to[k] + place) + found[k]);
        }
    }
}

/* Puts what blocks_of leaves, summed, in square matrices: sums (terms, size), square (rank, terms, rank). */
INLINE void unpacked(int64_t rank, int64_t terms, int64_t size, const float *sums, float *square)
{
    int64_t place = 0;
    for (int64_t column = 0; column < rank; column += LANES)
        for (int64_t row = column; row < rank; row += TILE)
            for (int k = 0; k < TILE; k++, place += LANES)
                for (int lane = 0; lane < LANES && row + k < rank && column + lane <= row + k; lane++)
                    for (int64_t term = 0; term < terms; term++) {
                        float value = sums[term * size + place + lane];
                        square[((row + k) * terms + term) * rank + column + lane] = value;
                        square[((column + lane) * terms + term) * rank + row + k] = value;
                    }
}

/* What a quadratic likelihood needs of a basis: see ReducedExpansion.
 *
 * weight, centre, residual (pixels); basis (rank, pixels); polynomials (terms, pixels), and their
 * means over blocks, flat (terms, pixels / BLOCKED); constant (3, terms); linear (rank, 2, terms),
 * against residual and centre; square (rank, terms, rank). pixels: a multiple of STRETCH; rank: at
 * most MOST_ROWS; terms: at most MOST_POLYNOMIALS. */
static void expanded(int64_t rank, int64_t pixels, int64_t terms, const float *weight, const float *centre,
                     const float *residual, const float *basis, const float *polynomials, const float *flat,
                     double *constant, double *linear, float *square)
{
    enum { BLOCKS = STRETCH / BLOCKED, SIZE = MOST_ROWS / LANES * MOST_ROWS * LANES };
    float lines[STRETCH * MOST_ROWS] = {0.0f}, scaled[STRETCH * MOST_ROWS];
    float curves[2 * MOST_POLYNOMIALS * STRETCH], products[BLOCKS * SIZE];
    float sums[(MOST_POLYNOMIALS + 1) * SIZE] = {0.0f};
    v8 straight[MOST_ROWS * 2 * MOST_POLYNOMIALS] = {};
    int64_t size = 0;
    for (int64_t column = 0; column < rank; column += LANES)
        size += (rank - column + TILE - 1) / TILE * TILE * LANES;
    memset(constant, 0, 3 * terms * sizeof *constant);
    for (int64_t first = 0; first < pixels; first += STRETCH) {
        const float *own = basis + first;
        curved(pixels, terms, weight + first, centre + first, residual + first, polynomials + first, curves,
               constant);
        against(rank, 2 * terms, pixels, own, curves, straight);
        for (int64_t row = 0; row < rank; row++)
            for (int64_t x = 0; x < STRETCH; x++)
                lines[x * MOST_ROWS + row] = own[row * pixels + x];
        for (int64_t x = 0; x < STRETCH; x++)
            for (int64_t k = 0; k < MOST_ROWS; k += LANES)
                store(scaled + x * MOST_ROWS + k, all(weight[first + x]) * load(lines + x * MOST_ROWS + k));
        blocks_of(BLOCKS, rank, lines, scaled, products);
        averaged(BLOCKS, size, terms, pixels / BLOCKED, flat + first / BLOCKED, products, sums);
    }
    for (int64_t k = 0; k < 2 * terms * rank; k++)
        linear[k] = sum(straight[k]);
    unpacked(rank, terms, size, sums, square);
}

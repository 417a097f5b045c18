/* Projection of spectra onto components on a grid of their own.
 *
 * Included by kernels.c. The components lie as (rest pixels, width) in memory, their number rounded
 * up to `width`, a multiple of BROAD, with zeros. */

#include <string.h>

#include "vector.h"

/* Components on either side of a tile of products, and rest pixels that stay in the first cache. */
#define TALL 6
#define BROAD 16
#define NEAR 64
/* Components at most. */
#define MOST_WIDE 256

/* Adds the products of TALL numbers of each pixel with BROAD others, over the pixels. */
INLINE void products(int64_t pixels, const float *left, int64_t left_step, const float *right,
                     int64_t right_step, float *out, int64_t out_step)
{
    v8 sums[TALL][2];
    for (int k = 0; k < TALL; k++)
        sums[k][0] = sums[k][1] = all(0.0f);
    for (int64_t pixel = 0; pixel < pixels; pixel++) {
        v8 a = load(right + pixel * right_step), b = load(right + pixel * right_step + LANES);
        for (int k = 0; k < TALL; k++) {
            v8 c = all(left[pixel * left_step + k]);
            sums[k][0] += c * a;
            sums[k][1] += c * b;
        }
    }
    for (int k = 0; k < TALL; k++)
        for (int half = 0; half < 2; half++) {
            float *to = out + k * out_step + half * LANES;
            store(to, load(to) + sums[k][half]);
        }
}

/* Shares observed pixels of one galaxy between their two neighbours on the rest grid.
 *
 * position (pixels), on that grid; weights and values (pixels); out (2, rest), of the weights and
 * of their products with the values. */
static void share(int64_t pixels, int64_t rest, const double *position, const float *weights,
                  const float *values, float *out)
{
    float *to = out + rest;
    memset(out, 0, 2 * rest * sizeof *out);
    for (int64_t x = 0; x < pixels; x++) {
        if (!(position[x] >= 0.0 && position[x] < (double)(rest - 1)))
            continue;
        int64_t left = (int64_t)position[x];
        float right = (float)(position[x] - (double)left), other = 1.0f - right;
        float weighted = weights[x] * values[x];
        out[left] += weights[x] * other;
        out[left + 1] += weights[x] * right;
        to[left] += weighted * other;
        to[left + 1] += weighted * right;
    }
}

/* Weighted products of all pairs of components of one galaxy, and of components with its flux.
 *
 * basis (rest, width); shared (2, rest), from share; out (components + 1, components), the products
 * with the flux last; buffer (NEAR + width + TALL) * (width + TALL) numbers. */
static void gram(int64_t rest, int64_t components, int64_t width, const float *basis, const float *shared,
                 float *buffer, float *out)
{
    int64_t step = width + TALL, rows = components + 1;
    float *scaled = buffer, *sums = buffer + NEAR * step;
    memset(buffer, 0, (NEAR + step) * step * sizeof *buffer);
    for (int64_t first = 0; first < rest; first += NEAR) {
        int64_t count = rest - first < NEAR ? rest - first : NEAR, used = 0;
        const float *weights = shared + first, *flux = shared + rest + first, *own = basis + first * width;
        for (int64_t pixel = 0; pixel < count; pixel++)
            used |= weights[pixel] != 0.0f || flux[pixel] != 0.0f;
        if (!used)
            continue;
        for (int64_t pixel = 0; pixel < count; pixel++) {
            float *line = scaled + pixel * step;
            for (int64_t k = 0; k < width; k += LANES)
                store(line + k, all(weights[pixel]) * load(own + pixel * width + k));
            line[components] = flux[pixel];
        }
        /* The lower triangle, in tiles. */
        for (int64_t column = 0; column < components; column += BROAD)
            for (int64_t row = column; row < rows; row += TALL)
                products(count, scaled + row, step, own + column, width, sums + row * width + column, width);
    }
    for (int64_t row = 0; row < rows; row++)
        for (int64_t column = 0; column < components && column <= row; column++) {
            float value = sums[row * width + column];
            out[row * components + column] = value;
            if (row < components)
                out[column * components + row] = value;
        }
}

/* Misfit of a sum of components to one galaxy, and its projection onto them.
 *
 * position (pixels) must not fall; mean (width), their coefficients; pulled (width): weighted
 * residuals against the components; returns nothing but fills misfit (2): the weighted sum of
 * squares, and how many pixels have a weight. */
static void pull(int64_t pixels, int64_t rest, int64_t width, const float *basis, const double *position,
                 const float *weights, const float *values, const float *mean, float *pulled, double *misfit)
{
    /* Light at the pixels of the rest grid that are at hand, and what is owed to them. */
    float light[NEAR + 1], owed[NEAR + 1] = {0.0f};
    v8 sums[MOST_WIDE / LANES];
    int64_t x = 0;
    for (int64_t k = 0; k < width / LANES; k++)
        sums[k] = all(0.0f);
    misfit[0] = misfit[1] = 0.0;
    while (x < pixels && position[x] < 0.0)
        x++;
    for (int64_t first = 0; first < rest - 1; first += NEAR) {
        int64_t count = rest - 1 - first < NEAR ? rest - 1 - first : NEAR;
        if (x == pixels || position[x] >= (double)(first + count)) {
            /* The last pixel of the stretch before may have been owed something. */
            for (int64_t k = 0; owed[0] != 0.0f && k < width / LANES; k++)
                sums[k] += all(owed[0]) * load(basis + first * width + k * LANES);
            owed[0] = 0.0f;
            continue;
        }
        for (int64_t pixel = 0; pixel <= count; pixel++) {
            const float *line = basis + (first + pixel) * width;
            v8 a = all(0.0f), b = all(0.0f);
            for (int64_t k = 0; k < width; k += 2 * LANES) {
                a += load(mean + k) * load(line + k);
                b += load(mean + k + LANES) * load(line + k + LANES);
            }
            light[pixel] = sum(a + b);
        }
        float squares = 0.0f;
        for (; x < pixels && position[x] < (double)(first + count); x++) {
            int64_t left = (int64_t)position[x], place = left - first;
            float right = (float)(position[x] - (double)left);
            float residual = values[x] - (light[place] + right * (light[place + 1] - light[place]));
            float weighted = weights[x] * residual;
            owed[place] += weighted * (1.0f - right);
            owed[place + 1] += weighted * right;
            squares += weighted * residual;
            misfit[1] += weights[x] > 0.0f;
        }
        misfit[0] += squares;
        for (int64_t k = 0; k < width / LANES; k += 2) {
            v8 even[2] = {all(0.0f), all(0.0f)}, odd[2] = {all(0.0f), all(0.0f)};
            const float *line = basis + first * width + k * LANES;
            /* There is a pixel beyond these, which has its turn in the next stretch. */
            for (int64_t pixel = 0; pixel < count; pixel += 2) {
                v8 own = all(owed[pixel]), next = all(pixel + 1 < count ? owed[pixel + 1] : 0.0f);
                for (int half = 0; half < 2; half++) {
                    even[half] += own * load(line + pixel * width + half * LANES);
                    odd[half] += next * load(line + (pixel + 1) * width + half * LANES);
                }
            }
            sums[k] += even[0] + odd[0];
            sums[k + 1] += even[1] + odd[1];
        }
        owed[0] = owed[count];
        memset(owed + 1, 0, sizeof owed - sizeof *owed);
    }
    /* What is owed to the last pixel of the grid. */
    for (int64_t k = 0; k < width / LANES; k++)
        store(pulled + k * LANES, sums[k] + all(owed[0]) * load(basis + (rest - 1) * width + k * LANES));
}

/* Small networks of many rows at once: rows are the lanes, so a weight is one number for all of them.
 *
 * Included by kernels.c. */

#include "vector.h"

/* Rows that are taken together, and outputs that share what is read of them. */
#define WIDE 16
#define HALVES (WIDE / LANES)
#define OUTPUTS 4

/* As nn.LayerNorm has it. */
#define TINY_VARIANCE 1e-5f

/* A bias or another number of each unit, the same for all lanes or one for each. */
INLINE v8 unit(const float *of, int64_t index, int half, int each)
{
    return each ? load(of + index * WIDE + half * LANES) : all(of[index]);
}

/* y = weights x + bias; weights (out / OUTPUTS, in, OUTPUTS); x (in, WIDE); y (out, WIDE); bias (out), or
 * (out, WIDE) where `each` lane has its own. `out` is a multiple of OUTPUTS. */
INLINE void product_of_units(int64_t in, int64_t out, const float *weights, const float *bias, int each,
                             const float *x, float *y)
{
    for (int64_t first = 0; first < out; first += OUTPUTS) {
        v8 sums[OUTPUTS][HALVES];
        for (int k = 0; k < OUTPUTS; k++)
            for (int half = 0; half < HALVES; half++)
                sums[k][half] = unit(bias, first + k, half, each);
        const float *own = weights + first * in;
        for (int64_t at = 0; at < in; at++) {
            v8 left = load(x + at * WIDE), right = load(x + at * WIDE + LANES);
            for (int k = 0; k < OUTPUTS; k++) {
                v8 weight = all(own[at * OUTPUTS + k]);
                sums[k][0] += weight * left;
                sums[k][1] += weight * right;
            }
        }
        for (int k = 0; k < OUTPUTS; k++)
            for (int half = 0; half < HALVES; half++)
                store(y + (first + k) * WIDE + half * LANES, sums[k][half]);
    }
}

static void dense(int64_t in, int64_t out, const float *weights, const float *bias, const float *x, float *y)
{
    product_of_units(in, out, weights, bias, 0, x, y);
}

static void dense_each(int64_t in, int64_t out, const float *weights, const float *bias, const float *x,
                       float *y)
{
    product_of_units(in, out, weights, bias, 1, x, y);
}

/* x / (1 + exp(-x)), in place. */
static void silu(int64_t units, float *values)
{
    for (int64_t at = 0; at < units * WIDE; at += LANES) {
        v8 x = load(values + at);
        store(values + at, x / (all(1.0f) + vexp_within(clamped(-x, -87.0f, 87.0f))));
    }
}

/* Mean zero and variance one over the units of each lane, then a factor and a shift for each unit. */
static void normalise(int64_t units, const float *factors, const float *shifts, const float *x, float *y)
{
    for (int half = 0; half < HALVES; half++) {
        v8 mean = all(0.0f), variance = all(0.0f), scale;
        for (int64_t k = 0; k < units; k++)
            mean += load(x + k * WIDE + half * LANES);
        mean /= all((float)units);
        for (int64_t k = 0; k < units; k++) {
            v8 centred = load(x + k * WIDE + half * LANES) - mean;
            variance += centred * centred;
        }
        scale = all(1.0f) / vsqrt(variance / all((float)units) + all(TINY_VARIANCE));
        for (int64_t k = 0; k < units; k++) {
            v8 centred = load(x + k * WIDE + half * LANES) - mean;
            store(y + k * WIDE + half * LANES, centred * scale * all(factors[k]) + all(shifts[k]));
        }
    }
}

/* Columns of up to WIDE rows side by side: x (rows, columns) to y (columns, WIDE). A missing row is a
 * copy of the last one. */
static void side_by_side(int64_t rows, int64_t columns, int64_t stride, const float *x, float *y)
{
    for (int lane = 0; lane < WIDE; lane++) {
        const float *row = x + (lane < rows ? lane : rows - 1) * stride;
        for (int64_t k = 0; k < columns; k++)
            y[k * WIDE + lane] = row[k];
    }
}

/* Embeddings of contexts by a pre-normalised residual network: see _ResidualMLP of inference/flow.py.
 *
 * context (rows, in), which is standardised with mean and scale (in) and not let beyond `limit`; weights,
 * in this order: weights and biases of the first product; of each block, factors and shifts (width), then
 * weights and biases of two products; of the last one, factors and shifts, weights and biases. `width` is
 * a multiple of OUTPUTS, and the last product is padded to one. buffer ((in + 3 width + out + OUTPUTS) *
 * WIDE); found (rows, out). */
static void embed(int64_t rows, int64_t in, int64_t width, int64_t blocks, int64_t out, double limit,
                  const float *mean, const float *scale, const float *weights, const float *context,
                  float *buffer, float *found)
{
    int64_t padded = (out + OUTPUTS - 1) / OUTPUTS * OUTPUTS;
    float *given = buffer, *hidden = given + in * WIDE, *inner = hidden + width * WIDE;
    float *more = inner + width * WIDE, *last = more + width * WIDE;
    for (int64_t row = 0; row < rows; row += WIDE) {
        const float *w = weights;
        int count = rows - row < WIDE ? (int)(rows - row) : WIDE;
        side_by_side(count, in, in, context + row * in, given);
        for (int64_t at = 0; at < in * WIDE; at += LANES) {
            v8 scaled = (load(given + at) - all(mean[at / WIDE])) / all(scale[at / WIDE]);
            store(given + at, clamped(scaled, (float)-limit, (float)limit));
        }
        dense(in, width, w, w + in * width, given, hidden);
        w += (in + 1) * width;
        for (int64_t block = 0; block < blocks; block++) {
            normalise(width, w, w + width, hidden, inner);
            w += 2 * width;
            dense(width, width, w, w + width * width, inner, more);
            w += (width + 1) * width;
            silu(width, more);
            dense(width, width, w, w + width * width, more, inner);
            w += (width + 1) * width;
            for (int64_t at = 0; at < width * WIDE; at += LANES)
                store(hidden + at, load(hidden + at) + load(inner + at));
        }
        normalise(width, w, w + width, hidden, inner);
        w += 2 * width;
        silu(width, inner);
        dense(width, padded, w, w + width * padded, inner, last);
        for (int lane = 0; lane < count; lane++)
            for (int64_t k = 0; k < out; k++)
                found[(row + lane) * out + k] = last[k * WIDE + lane];
    }
}

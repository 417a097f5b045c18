/* Draws of a neural spline flow of two halves: see PosteriorFlow of inference/flow.py.
 *
 * Half of the hidden units of each layer do not depend on the variables. They are computed once for each
 * context, with what they add to the others, and the splines of the first half. A draw takes the rest.
 *
 * Included by kernels.c, after network.c. */

#include <math.h>

#include "vector.h"

/* The only number of bins, what a network says about one spline, and how far splines reach. */
#define BINS 8
#define PARAMETERS (3 * BINS - 1)
#define BOUND 5.0f

/* As PosteriorFlow._law has it. */
#define LOG_DIAGONAL_LOW -6.0f
#define LOG_DIAGONAL_HIGH 9.0f

/* A spline as a table: left knots of both axes, widths and heights of the bins, slopes at all knots. */
enum { LEFT = 0, BOTTOM = BINS, WIDTH = 2 * BINS, HEIGHT = 3 * BINS, SLOPE = 4 * BINS, TABLE = 5 * BINS + 1 };

struct flow {
    /* Variables, those of the first half, numbers of a context, layers, products in each network. */
    int64_t dim, first, context, layers, steps;
    /* Of each product: outputs that depend on the context alone, then the others; all padded. */
    const int64_t *outputs;
    /* Of each layer (dim): where the layer before left the variables of its halves; and in the end. */
    const int64_t *order;
    /* Of each layer and product: weights and biases of what follows from the context alone. */
    const float *of_context;
    /* Of each layer and product: weights of the rest. */
    const float *of_draws;
    /* Mean and standard deviation of each variable, (2, dim). */
    const float *scaling;
    /* How fast sizes and slopes of a spline saturate. */
    float rate;
};

/* What is computed of a context: numbers, in units of one lane. */
static int64_t kept_of_layer(const struct flow *flow)
{
    int64_t count = flow->first * TABLE;
    for (int64_t step = 0; step < flow->steps; step++)
        count += flow->outputs[2 * step + 1];
    return count;
}

/* Numbers that place and widen a law: its centre, logarithms of the diagonal of the root of the precision,
 * and of each row of that root what is before the diagonal over the diagonal. */
static int64_t affine_of(const struct flow *flow) { return 2 * flow->dim + flow->dim * (flow->dim - 1) / 2; }

static int64_t most_outputs(const struct flow *flow)
{
    int64_t most = 0;
    for (int64_t k = 0; k < 2 * flow->steps; k++)
        most = flow->outputs[k] > most ? flow->outputs[k] : most;
    return most;
}

/* exp(x / (1 + rate |x|)) */
INLINE v8 saturated(v8 x, v8 rate)
{
    v8 size = (v8)((i8)x & 0x7fffffff);
    return vexp_within(x / (all(1.0f) + rate * size));
}

/* The table of a spline, of one half of the lanes: parameters (PARAMETERS, WIDE), table (TABLE, WIDE). */
INLINE void tabulate(const float *parameters, float rate, float *table)
{
    for (int axis = 0; axis < 2; axis++) {
        v8 sizes[BINS], total = all(0.0f), edge = all(-BOUND);
        for (int bin = 0; bin < BINS; bin++) {
            sizes[bin] = saturated(load(parameters + (axis * BINS + bin) * WIDE), all(2.0f * rate));
            total += sizes[bin];
        }
        v8 factor = all(2.0f * BOUND) / total;
        for (int bin = 0; bin < BINS; bin++) {
            v8 size = sizes[bin] * factor;
            store(table + ((axis ? BOTTOM : LEFT) + bin) * WIDE, edge);
            store(table + ((axis ? HEIGHT : WIDTH) + bin) * WIDE, size);
            edge += size;
        }
    }
    store(table + SLOPE * WIDE, all(1.0f));
    for (int knot = 1; knot < BINS; knot++)
        store(table + (SLOPE + knot) * WIDE,
              saturated(load(parameters + (2 * BINS + knot - 1) * WIDE), all(rate)));
    store(table + (SLOPE + BINS) * WIDE, all(1.0f));
}

/* The inverse of a spline; its log derivative is added to `log_det`. The equations are those of
 * _InverseSpline of inference/flow.py. */
INLINE v8 invert(v8 value, const float *table, int half, int each, v8 *log_det)
{
    v8 inside = clamped(value, -BOUND, BOUND);
    v8 left = unit(table, LEFT, half, each), bottom = unit(table, BOTTOM, half, each);
    v8 width = unit(table, WIDTH, half, each), height = unit(table, HEIGHT, half, each);
    v8 start = unit(table, SLOPE, half, each), end = unit(table, SLOPE + 1, half, each);
    for (int bin = 1; bin < BINS; bin++) {
        v8 knot = unit(table, BOTTOM + bin, half, each);
        i8 above = inside > knot;
        left = choose(above, unit(table, LEFT + bin, half, each), left);
        bottom = choose(above, knot, bottom);
        width = choose(above, unit(table, WIDTH + bin, half, each), width);
        height = choose(above, unit(table, HEIGHT + bin, half, each), height);
        start = choose(above, unit(table, SLOPE + bin, half, each), start);
        end = choose(above, unit(table, SLOPE + bin + 1, half, each), end);
    }
    const v8 one = all(1.0f), two = all(2.0f), zero = all(0.0f);
    v8 per_slope = width / height, above = (inside - bottom) / height;
    start *= per_slope;
    v8 bend = start - two + end * per_slope;
    v8 b = start - above * bend, c = b - two * above;
    v8 root = c * c + all(4.0f) * above * (one - above);
    v8 share = two * above / (b + vsqrt(choose(root < zero, zero, root)));
    v8 rest = share - share * share;
    v8 slope = start + share * (two - two * start + share * bend);
    v8 change = one + bend * rest;
    *log_det += vlog(change * change * per_slope / slope);
    return left + share * width + (value - inside);
}

/* In place of the logarithms of a diagonal, (affine_of(), WIDE), the reciprocals; log |d draw / d white|
 * after them all. */
static void prepare_place(const struct flow *flow, float *affine)
{
    int64_t dim = flow->dim;
    float *log_det = affine + affine_of(flow) * WIDE;
    double log_scale = 0.0;
    for (int64_t k = 0; k < dim; k++)
        log_scale += log(flow->scaling[dim + k]);
    for (int half = 0; half < HALVES; half++) {
        v8 total = all((float)log_scale);
        for (int64_t k = dim; k < 2 * dim; k++) {
            float *own = affine + k * WIDE + half * LANES;
            v8 bounded = clamped(load(own), LOG_DIAGONAL_LOW, LOG_DIAGONAL_HIGH);
            total -= bounded;
            store(own, vexp_within(-bounded));
        }
        store(log_det + half * LANES, total);
    }
}

/* What the draws of up to WIDE contexts need, side by side. */
static void prepare(const struct flow *flow, int count, const float *context, const float *affine,
                    float *kept, float *buffer)
{
    float *given = buffer, *odd = given + flow->context * WIDE;
    float *pair[2] = {odd, odd + most_outputs(flow) * WIDE};
    const float *w = flow->of_context;
    side_by_side(count, flow->context, flow->context, context, given);
    for (int64_t layer = 0; layer < flow->layers; layer++) {
        const float *x = given;
        int64_t in = flow->context;
        for (int64_t step = 0; step < flow->steps; step++) {
            int64_t own = flow->outputs[2 * step], others = flow->outputs[2 * step + 1];
            float *y = pair[step % 2];
            dense(in, own, w, w + in * own, x, y);
            w += (in + 1) * own;
            dense(in, others, w, w + in * others, x, kept);
            w += (in + 1) * others;
            kept += others * WIDE;
            if (step + 1 < flow->steps)
                silu(own, y);
            x = y;
            in = own;
        }
        for (int64_t k = 0; k < flow->first; k++, kept += TABLE * WIDE)
            for (int half = 0; half < HALVES; half++)
                tabulate(x + k * PARAMETERS * WIDE + half * LANES, flow->rate, kept + half * LANES);
    }
    side_by_side(count, affine_of(flow), affine_of(flow), affine, kept);
    prepare_place(flow, kept);
}

/* All layers for WIDE draws: value (dim, WIDE), of which the last layer's are returned; log_det (WIDE);
 * kept from prepare(), of one context or of `each` lane. */
INLINE const float *through_layers(const struct flow *flow, int each, const float *kept, float *value,
                                   v8 log_det[HALVES], float *buffer)
{
    int64_t dim = flow->dim, first = flow->first, most = most_outputs(flow);
    int64_t width = each ? WIDE : 1;
    float *next = buffer, *pair[2] = {next + dim * WIDE, next + (dim + most) * WIDE};
    float *table = pair[1] + most * WIDE;
    const float *w = flow->of_draws;
    for (int64_t layer = 0; layer < flow->layers; layer++) {
        const int64_t *from = flow->order + layer * dim;
        const float *tables = kept + (kept_of_layer(flow) - first * TABLE) * width;
        for (int64_t k = 0; k < first; k++)
            for (int half = 0; half < HALVES; half++) {
                v8 given = load(value + from[k] * WIDE + half * LANES);
                v8 found = invert(given, tables + k * TABLE * width, half, each, log_det + half);
                store(next + k * WIDE + half * LANES, found);
            }
        const float *x = next;
        int64_t in = first;
        for (int64_t step = 0; step < flow->steps; step++) {
            int64_t out = flow->outputs[2 * step + 1];
            float *y = pair[step % 2];
            (each ? dense_each : dense)(in, out, w, kept, x, y);
            w += in * out;
            kept += out * width;
            if (step + 1 < flow->steps)
                silu(out, y);
            x = y;
            in = out;
        }
        kept += first * TABLE * width;
        for (int64_t k = first; k < dim; k++)
            for (int half = 0; half < HALVES; half++) {
                const float *own = x + (k - first) * PARAMETERS * WIDE + half * LANES;
                tabulate(own, flow->rate, table + half * LANES);
                v8 given = load(value + from[k] * WIDE + half * LANES);
                v8 found = invert(given, table, half, 1, log_det + half);
                store(next + k * WIDE + half * LANES, found);
            }
        float *old = value;
        value = next;
        next = old;
    }
    return value;
}

/* Whitened variables in the order of the last layer to draws, (dim, WIDE); place from prepare_place(). */
INLINE void put(const struct flow *flow, int each, const float *place, const float *white, float *solved,
                float *placed)
{
    int64_t dim = flow->dim, width = each ? WIDE : 1;
    const int64_t *from = flow->order + flow->layers * dim;
    for (int half = 0; half < HALVES; half++) {
        const float *before = place + 2 * dim * width;
        for (int64_t k = 0; k < dim; k++) {
            v8 z = load(white + from[k] * WIDE + half * LANES) * unit(place, dim + k, half, each);
            for (int64_t j = 0; j < k; j++, before += width)
                z -= unit(before, 0, half, each) * load(solved + j * WIDE + half * LANES);
            store(solved + k * WIDE + half * LANES, z);
            v8 found = (z + unit(place, k, half, each)) * all(flow->scaling[dim + k]) + all(flow->scaling[k]);
            store(placed + k * WIDE + half * LANES, found);
        }
    }
}

/* Up to WIDE draws, whose rows are `stride` rows apart. */
INLINE void some_draws(const struct flow *flow, int each, int count, int64_t stride, const float *kept,
                       const float *noise, float *buffer, float *x, float *log_det)
{
    int64_t dim = flow->dim, width = each ? WIDE : 1;
    float *given = buffer, *work = given + dim * WIDE;
    const float *place = kept + flow->layers * kept_of_layer(flow) * width;
    v8 logs[HALVES];
    for (int half = 0; half < HALVES; half++)
        logs[half] = unit(place, affine_of(flow), half, each);
    side_by_side(count, dim, stride * dim, noise, given);
    const float *white = through_layers(flow, each, kept, given, logs, work);
    /* Whichever of the first two holds the result, the rest is free. */
    float *solved = work + dim * WIDE, *placed = solved + dim * WIDE;
    put(flow, each, place, white, solved, placed);
    for (int lane = 0; lane < count; lane++) {
        for (int64_t k = 0; k < dim; k++)
            x[lane * stride * dim + k] = placed[k * WIDE + lane];
        log_det[lane * stride] = logs[lane / LANES][lane % LANES];
    }
}

static void draws_of_each(const struct flow *flow, int count, const float *kept, const float *noise,
                          float *buffer, float *x, float *log_det)
{
    some_draws(flow, 1, count, 1, kept, noise, buffer, x, log_det);
}

static void draws_of_one(const struct flow *flow, int count, int64_t stride, const float *kept,
                         const float *noise, float *buffer, float *x, float *log_det)
{
    some_draws(flow, 0, count, stride, kept, noise, buffer, x, log_det);
}

/* Draws from standard normal noise, and log |d draw / d noise|.
 *
 * sizes: the first five numbers of struct flow, then its outputs; the other parts of a flow as there;
 * context (batch, context); affine (batch, affine_of()); noise and x (samples, batch, dim); log_det
 * (samples, batch); buffer: room for (WIDE + 1) times what is kept of a context, and for WIDE times
 * (context + 4 dim + TABLE + 2 most_outputs()). */
static void draws(int64_t samples, int64_t batch, const int64_t *sizes, const int64_t *order, double rate,
                  const float *of_context, const float *of_draws, const float *scaling, const float *context,
                  const float *affine, const float *noise, float *buffer, float *x, float *log_det)
{
    const struct flow flow = {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes + 5,
                              order, of_context, of_draws, scaling, (float)rate};
    int64_t dim = flow.dim, size = flow.layers * kept_of_layer(&flow) + affine_of(&flow) + 1;
    float *kept = buffer, *own = kept + size * WIDE, *work = own + size;
    /* Lanes are draws of one context or of one sample, whichever leaves fewer lanes empty. */
    int64_t full_samples = (samples + WIDE - 1) / WIDE * WIDE, full_batch = (batch + WIDE - 1) / WIDE * WIDE;
    int one = full_samples * batch <= full_batch * samples;
    for (int64_t first = 0; first < batch && samples; first += WIDE) {
        int count = batch - first < WIDE ? (int)(batch - first) : WIDE;
        prepare(&flow, count, context + first * flow.context, affine + first * affine_of(&flow), kept, work);
        for (int64_t sample = 0; sample < samples && !one; sample++) {
            int64_t row = sample * batch + first;
            draws_of_each(&flow, count, kept, noise + row * dim, work, x + row * dim, log_det + row);
        }
        for (int lane = 0; lane < count && one; lane++) {
            for (int64_t k = 0; k < size; k++)
                own[k] = kept[k * WIDE + lane];
            for (int64_t sample = 0; sample < samples; sample += WIDE) {
                int left = samples - sample < WIDE ? (int)(samples - sample) : WIDE;
                int64_t row = sample * batch + first + lane;
                draws_of_one(&flow, left, batch, own, noise + row * dim, work, x + row * dim, log_det + row);
            }
        }
    }
}

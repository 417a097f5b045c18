/* Student laws of each galaxy, fitted to weighted draws, drawn from and evaluated; regressions on draws.
 *
 * Included by kernels.c, after weights.c. Draws are (draws, batch, dim); matrices have rows of their
 * own size; of a symmetric matrix the sums are made below the diagonal. */

#include "doubles.h"

/* Dimensions at most, of draws or of values that go with them. */
#define MOST_DIM 32
/* Draws whose products are summed at once. */
#define AT_ONCE 64

typedef double stretch[AT_ONCE];

/* Numbers of some draws around their centre, transposed, with zeros up to a whole vector. */
INLINE void transposed(int64_t count, int64_t width, const double *from, int64_t step, const double *centre,
                       stretch *out)
{
    for (int64_t k = 0; k < count; k++)
        for (int64_t d = 0; d < width; d++)
            out[d][k] = from[k * step + d] - centre[d];
    for (int64_t k = count; k % WIDE_LANES; k++)
        for (int64_t d = 0; d < width; d++)
            out[d][k] = 0.0;
}

/* Adds products of the numbers on the left with those on the right, up to the diagonal if `lower`. */
INLINE void add_products(int64_t count, int64_t rows, int64_t columns, int lower, const stretch *left,
                         const stretch *right, double *sums)
{
    for (int64_t d = 0; d < rows; d++)
        for (int64_t e = 0; e < (lower ? d + 1 : columns); e++) {
            w4 sum = wide(0.0);
            for (int64_t k = 0; k < count; k += WIDE_LANES)
                sum += *(const w4u *)(left[d] + k) * *(const w4u *)(right[e] + k);
            sums[d * columns + e] += total_of(sum);
        }
}

INLINE void weighted(int64_t count, int64_t width, const double *weights, int64_t step, const stretch *from,
                     stretch *out)
{
    for (int64_t d = 0; d < width; d++) {
        for (int64_t k = 0; k < count; k++)
            out[d][k] = from[d][k] * weights[k * step];
        for (int64_t k = count; k % WIDE_LANES; k++)
            out[d][k] = 0.0;
    }
}

INLINE void mirror(int64_t dim, double *matrix)
{
    for (int64_t d = 0; d < dim; d++)
        for (int64_t e = 0; e < d; e++)
            matrix[e * dim + d] = matrix[d * dim + e];
}

/* Sum of the weights, whose means over the draws `mean` becomes, before they are divided by it. */
static double weighted_sums(int64_t draws, int64_t width, const double *from, int64_t step,
                            const double *weights, int64_t stride, double *mean)
{
    double total = 0.0;
    for (int64_t d = 0; d < width; d++)
        mean[d] = 0.0;
    for (int64_t k = 0; k < draws; k++) {
        double weight = weights[k * stride];
        total += weight;
        for (int64_t d = 0; d < width; d++)
            mean[d] += weight * from[k * step + d];
    }
    return total;
}

/* Means (batch, components, dim) and covariances (batch, components, dim, dim) of draws under weights
 * (draws, batch, components). */
static void moments(int64_t draws, int64_t batch, int64_t components, int64_t dim, const double *x,
                    const double *weights, double *mean, double *covariance)
{
    stretch centred[MOST_DIM], left[MOST_DIM];
    for (int64_t row = 0; row < batch * components; row++, mean += dim, covariance += dim * dim) {
        const double *own = x + row / components * dim, *share = weights + row;
        int64_t step = batch * dim, stride = batch * components;
        double total = weighted_sums(draws, dim, own, step, share, stride, mean);
        total = total < 1e-300 ? 1e-300 : total;
        for (int64_t d = 0; d < dim; d++)
            mean[d] /= total;
        for (int64_t k = 0; k < dim * dim; k++)
            covariance[k] = 0.0;
        for (int64_t k = 0; k < draws; k += AT_ONCE) {
            int64_t count = draws - k < AT_ONCE ? draws - k : AT_ONCE;
            transposed(count, dim, own + k * step, step, mean, centred);
            weighted(count, dim, share + k * stride, stride, centred, left);
            add_products(count, dim, dim, 1, left, centred, covariance);
        }
        for (int64_t k = 0; k < dim * dim; k++)
            covariance[k] /= total;
        mirror(dim, covariance);
    }
}

INLINE int all_finite(int64_t count, const double *values)
{
    int finite = 1;
    for (int64_t d = 0; d < count; d++)
        finite &= __builtin_isfinite(values[d]) != 0;
    return finite;
}

/* Covariances (batch, dim, dim) of the draws that are finite, with a little more on the diagonal. */
static void scatter(int64_t draws, int64_t batch, int64_t dim, const double *x, double *covariance)
{
    stretch centred[MOST_DIM];
    double mean[MOST_DIM];
    for (int64_t galaxy = 0; galaxy < batch; galaxy++, covariance += dim * dim) {
        const double *own = x + galaxy * dim;
        int64_t step = batch * dim, good = 0;
        for (int64_t d = 0; d < dim; d++)
            mean[d] = 0.0;
        for (int64_t k = 0; k < draws; k++) {
            int finite = all_finite(dim, own + k * step);
            good += finite;
            for (int64_t d = 0; d < dim && finite; d++)
                mean[d] += own[k * step + d];
        }
        double size = good < 2 ? 2.0 : (double)good;
        for (int64_t d = 0; d < dim; d++)
            mean[d] /= size;
        for (int64_t k = 0; k < dim * dim; k++)
            covariance[k] = 0.0;
        for (int64_t k = 0; k < draws; k += AT_ONCE) {
            int64_t count = draws - k < AT_ONCE ? draws - k : AT_ONCE;
            transposed(count, dim, own + k * step, step, mean, centred);
            for (int64_t one = 0; one < count && good < draws; one++)
                if (!all_finite(dim, own + (k + one) * step))
                    for (int64_t d = 0; d < dim; d++)
                        centred[d][one] = 0.0;
            add_products(count, dim, dim, 1, centred, centred, covariance);
        }
        for (int64_t k = 0; k < dim * dim; k++)
            covariance[k] = covariance[k] / size + (k % (dim + 1) ? 0.0 : 1e-10);
        mirror(dim, covariance);
    }
}

/* Covariances (batch, components, dim, dim) shrunk towards other correlations, the more the fewer draws,
 * size (batch, components), they are from: reference and pooled (batch, dim, dim). */
static void shrink(int64_t batch, int64_t components, int64_t dim, const double *covariance,
                   const double *reference, const double *pooled, const double *sizes, double *out)
{
    double scale[MOST_DIM], deviation[MOST_DIM];
    for (int64_t row = 0; row < batch * components; row++) {
        const double *own = covariance + row * dim * dim;
        const double *goal = reference + row / components * dim * dim;
        const double *wide_one = pooled + row / components * dim * dim;
        double size = sizes[row], lean = 1.0 / (size < 1.0 ? 1.0 : size), amount = dim / (dim + size);
        for (int64_t d = 0; d < dim; d++) {
            double whole = wide_one[d * dim + d], floor = 1e-6 * whole + 1e-12, known = goal[d * dim + d];
            /* Few draws also underestimate variances. */
            double variance = (1.0 - lean) * own[d * dim + d] + lean * whole;
            deviation[d] = sqrt(variance < floor ? floor : variance);
            scale[d] = sqrt(known < 1e-300 ? 1e-300 : known);
        }
        for (int64_t d = 0; d < dim; d++)
            for (int64_t e = 0; e < dim; e++) {
                double correlation = goal[d * dim + e] / scale[d] / scale[e];
                out[row * dim * dim + d * dim + e] = (1.0 - amount) * own[d * dim + e]
                    + amount * (correlation * deviation[d] * deviation[e]);
            }
    }
}

/* The triangular factor of a symmetric matrix, with something added to the diagonal; whether there is one. */
static int factor(int64_t dim, const double *matrix, const double *added, double *root)
{
    for (int64_t d = 0; d < dim; d++) {
        for (int64_t e = 0; e <= d; e++) {
            double rest = matrix[d * dim + e] + (e == d ? added[d] : 0.0);
            for (int64_t k = 0; k < e; k++)
                rest -= root[d * dim + k] * root[e * dim + k];
            if (e == d && !(rest > 0.0))
                return 0;
            root[d * dim + e] = e == d ? sqrt(rest) : rest / root[e * dim + e];
        }
        for (int64_t e = d + 1; e < dim; e++)
            root[d * dim + e] = 0.0;
    }
    return 1;
}

/* Triangular factors (count, dim, dim) of covariances, all with as little more on the diagonal as the
 * worst of them needs, or the diagonal alone of those for which nothing is enough. */
static void cholesky(int64_t count, int64_t dim, const double *covariance, double *root)
{
    double added[MOST_DIM], jitter = 1e-10;
    for (int attempt = 0; attempt < 4; attempt++, jitter *= 1e3) {
        int64_t failed = 0;
        for (int64_t row = 0; row < count; row++) {
            const double *own = covariance + row * dim * dim;
            double *to = root + row * dim * dim;
            for (int64_t d = 0; d < dim; d++)
                added[d] = jitter * (own[d * dim + d] < 1e-300 ? 1e-300 : own[d * dim + d]);
            if (factor(dim, own, added, to))
                continue;
            failed++;
            for (int64_t k = 0; k < dim * dim; k++) {
                double variance = own[k] < 1e-300 ? 1e-300 : own[k];
                to[k] = k % (dim + 1) ? 0.0 : sqrt(variance);
            }
        }
        if (!failed)
            return;
    }
}

/* Log densities of Student laws at the draws, each (draws, batch, components) in `terms`, or where that
 * is null of their mixture, (draws, batch) in `out`: see StudentMixture. */
static void student_density(int64_t draws, int64_t batch, int64_t components, int64_t dim, double dof,
                            double constant, const double *x, const double *mean, const double *root,
                            const double *log_fraction, double *terms, double *out)
{
    for (int64_t galaxy = 0; galaxy < batch; galaxy++) {
        double shift[MOST_PARTS];
        for (int64_t c = 0; c < components; c++) {
            const double *own = root + (galaxy * components + c) * dim * dim;
            shift[c] = constant;
            for (int64_t d = 0; d < dim; d++)
                shift[c] -= log(own[d * dim + d]);
        }
        for (int64_t k = 0; k < draws; k += WIDE_LANES) {
            int width = draws - k < WIDE_LANES ? (int)(draws - k) : WIDE_LANES;
            w4 values[MOST_DIM], white[MOST_DIM], found[MOST_PARTS];
            for (int lane = 0; lane < WIDE_LANES; lane++) {
                int64_t draw = k + (lane < width ? lane : width - 1);
                for (int64_t d = 0; d < dim; d++)
                    values[d][lane] = x[(draw * batch + galaxy) * dim + d];
            }
            for (int64_t c = 0; c < components; c++) {
                int64_t row = galaxy * components + c;
                const double *own = root + row * dim * dim, *centre = mean + row * dim;
                w4 squares = wide(0.0);
                for (int64_t d = 0; d < dim; d++) {
                    w4 rest = values[d] - wide(centre[d]);
                    for (int64_t e = 0; e < d; e++)
                        rest -= wide(own[d * dim + e]) * white[e];
                    white[d] = rest / wide(own[d * dim + d]);
                    squares += white[d] * white[d];
                }
                found[c] = wide(shift[c])
                    - wide(0.5 * (dof + (double)dim)) * wlog(wide(1.0) + squares / wide(dof));
                for (int lane = 0; lane < width && terms; lane++)
                    terms[((k + lane) * batch + galaxy) * components + c] = found[c][lane];
                found[c] += wide(terms ? 0.0 : log_fraction[row]);
            }
            if (terms)
                continue;
            w4 all_parts = log_of_sum((int)components, found);
            for (int lane = 0; lane < width; lane++)
                out[(k + lane) * batch + galaxy] = all_parts[lane];
        }
    }
}

/* Draws of mixtures, stratified over the components by a comb that is moved by an offset (batch), from
 * normal numbers (draws, batch, dim) and (draws, batch, dof). */
static void student_draws(int64_t draws, int64_t batch, int64_t components, int64_t dim, int64_t dof,
                          const double *offset, const double *normal, const double *stretching,
                          const double *log_fraction, const double *mean, const double *root, double *out)
{
    for (int64_t galaxy = 0; galaxy < batch; galaxy++)
        for (int64_t k = 0; k < draws; k++) {
            int64_t row = k * batch + galaxy, component = 0;
            double tooth = ((double)k + offset[galaxy]) / (double)draws, edge = 0.0, squares = 0.0;
            for (int64_t c = 0; c < components - 1; c++) {
                edge += exp(log_fraction[galaxy * components + c]);
                component += tooth > edge;
            }
            for (int64_t one = 0; one < dof; one++)
                squares += stretching[row * dof + one] * stretching[row * dof + one];
            double widening = sqrt((double)dof / squares);
            const double *own = root + (galaxy * components + component) * dim * dim;
            for (int64_t d = 0; d < dim; d++) {
                double moved = 0.0;
                for (int64_t e = 0; e <= d; e++)
                    moved += own[d * dim + e] * normal[row * dim + e];
                out[row * dim + d] = mean[(galaxy * components + component) * dim + d] + moved * widening;
            }
        }
}

/* Replaces right-hand sides (dim, width) by the solutions for the matrix of a triangular factor. */
static void solve_with(int64_t dim, int64_t width, const double *root, double *sides)
{
    for (int64_t d = 0; d < dim; d++)
        for (int64_t e = 0; e <= d; e++)
            for (int64_t j = 0; j < width; j++)
                if (e < d)
                    sides[d * width + j] -= root[d * dim + e] * sides[e * width + j];
                else
                    sides[d * width + j] /= root[d * dim + d];
    for (int64_t d = dim - 1; d >= 0; d--)
        for (int64_t e = dim - 1; e >= d; e--)
            for (int64_t j = 0; j < width; j++)
                if (e > d)
                    sides[d * width + j] -= root[e * dim + d] * sides[e * width + j];
                else
                    sides[d * width + j] /= root[d * dim + d];
}

/* Weighted regression of values (draws, batch, width) on draws: weights (draws, batch) that sum to one;
 * centre and scale of the draws (batch, dim), means of the values (batch, width), slopes (batch, dim, width). */
static void regression(int64_t draws, int64_t batch, int64_t dim, int64_t width, const double *weights,
                       const double *x, const double *values, double *centre, double *scale, double *middle,
                       double *slopes)
{
    stretch design[MOST_DIM], left[MOST_DIM], right[MOST_DIM];
    double gram[MOST_DIM * MOST_DIM], root[MOST_DIM * MOST_DIM], added[MOST_DIM];
    for (int64_t galaxy = 0; galaxy < batch; galaxy++) {
        const double *own = x + galaxy * dim, *seen = values + galaxy * width, *share = weights + galaxy;
        double *mean = centre + galaxy * dim, *of_values = middle + galaxy * width;
        double *unit = scale + galaxy * dim, *to = slopes + galaxy * dim * width;
        weighted_sums(draws, dim, own, batch * dim, share, batch, mean);
        weighted_sums(draws, width, seen, batch * width, share, batch, of_values);
        for (int64_t k = 0; k < dim * dim; k++)
            gram[k] = 0.0;
        for (int64_t k = 0; k < dim * width; k++)
            to[k] = 0.0;
        for (int64_t k = 0; k < draws; k += AT_ONCE) {
            int64_t count = draws - k < AT_ONCE ? draws - k : AT_ONCE;
            transposed(count, dim, own + k * batch * dim, batch * dim, mean, design);
            transposed(count, width, seen + k * batch * width, batch * width, of_values, right);
            weighted(count, dim, share + k * batch, batch, design, left);
            add_products(count, dim, dim, 1, left, design, gram);
            add_products(count, dim, width, 0, left, right, to);
        }
        for (int64_t d = 0; d < dim; d++)
            unit[d] = sqrt(gram[d * dim + d] < 1e-12 ? 1e-12 : gram[d * dim + d]), added[d] = 1e-6;
        for (int64_t d = 0; d < dim; d++) {
            for (int64_t e = 0; e <= d; e++)
                gram[d * dim + e] = gram[d * dim + e] / unit[d] / unit[e];
            for (int64_t j = 0; j < width; j++)
                to[d * width + j] /= unit[d];
        }
        if (factor(dim, gram, added, root))
            solve_with(dim, width, root, to);
        else
            for (int64_t k = 0; k < dim * width; k++)
                to[k] = (double)__builtin_nanf("");
        for (int64_t d = 0; d < dim; d++)
            for (int64_t j = 0; j < width; j++)
                to[d * width + j] /= unit[d];
    }
}

/* The likelihood of draws of several galaxies in a small basis of each: see ReducedExpansion.
 *
 * Draws are the lanes, WIDE of them at a time. Included by kernels.c after network.c and basis.c. */

#include "doubles.h"

/* Polynomials of the sums over the pixels: those that the calibration's MARGINAL terms need in the end,
 * and FITTED - 1 more, because the weights change by a polynomial of FITTED terms. */
#define MARGINAL 4
#define FITTED 3
#define OF_PROJECTED (MARGINAL + FITTED - 1)
#define OF_SQUARES (2 * MARGINAL + FITTED - 2)

typedef float f4u __attribute__((vector_size(16), aligned(4), may_alias));

/* Four of the lanes in double precision. */
INLINE w4 widened(const float *from) { return __builtin_convertvector(*(const f4u *)from, w4); }

/* Sums over the pixels that depend on the draws, each for all lanes. */
struct lane_sums {
    float square[OF_SQUARES * WIDE], of_residual[OF_SQUARES * WIDE], of_centre[OF_SQUARES * WIDE];
    float factor[FITTED * WIDE], logarithm[FITTED * WIDE];
};

/* Quadratic forms of the coordinates, a (rank, WIDE), and their products with the linear sums.
 *
 * linear (rank, 2, OF_SQUARES); square (rank, OF_SQUARES, rank), symmetric in its components. */
INLINE void forms(int64_t rank, const float *linear, const float *square, const float *a,
                  struct lane_sums *sums)
{
    enum { TOGETHER = 3 };
    for (int first = 0; first < OF_SQUARES; first += TOGETHER) {
        v8 whole[TOGETHER][HALVES], residual[TOGETHER][HALVES], centre[TOGETHER][HALVES];
        for (int k = 0; k < TOGETHER; k++)
            for (int half = 0; half < HALVES; half++)
                whole[k][half] = residual[k][half] = centre[k][half] = all(0.0f);
        for (int64_t i = 0; i < rank; i++) {
            const float *row = square + (i * OF_SQUARES + first) * rank;
            const float *line = linear + i * 2 * OF_SQUARES + first;
            v8 own[HALVES], inner[TOGETHER][HALVES];
            for (int half = 0; half < HALVES; half++)
                own[half] = load(a + i * WIDE + half * LANES);
            for (int k = 0; k < TOGETHER; k++)
                for (int half = 0; half < HALVES; half++)
                    inner[k][half] = all(0.0f);
            for (int64_t j = 0; j < i; j++)
                for (int half = 0; half < HALVES; half++) {
                    v8 other = load(a + j * WIDE + half * LANES);
                    for (int k = 0; k < TOGETHER; k++)
                        inner[k][half] += all(row[k * rank + j]) * other;
                }
            for (int k = 0; k < TOGETHER; k++)
                for (int half = 0; half < HALVES; half++) {
                    v8 form = inner[k][half] + inner[k][half] + all(row[k * rank + i]) * own[half];
                    whole[k][half] += form * own[half];
                    residual[k][half] += all(line[k]) * own[half];
                    centre[k][half] += all(line[OF_SQUARES + k]) * own[half];
                }
        }
        for (int k = 0; k < TOGETHER; k++)
            for (int half = 0; half < HALVES; half++) {
                int at = (first + k) * WIDE + half * LANES;
                store(sums->square + at, whole[k][half]);
                store(sums->of_residual + at, residual[k][half]);
                store(sums->of_centre + at, centre[k][half]);
            }
    }
}

/* Fits of polynomials to the change of the weights, and to its logarithm, at the pixels.
 *
 * lines: flux of each lane (pixels); fit (pixels, FITTED). */
INLINE void changes(int64_t pixels, const float *const lines[WIDE], const float *relative, const float *growth,
                    const float *fit, struct lane_sums *sums)
{
    v8 factor[FITTED][HALVES], logarithm[FITTED][HALVES];
    for (int k = 0; k < FITTED; k++)
        for (int half = 0; half < HALVES; half++)
            factor[k][half] = logarithm[k][half] = all(0.0f);
    for (int64_t pixel = 0; pixel < pixels; pixel++) {
        float column[WIDE];
        for (int lane = 0; lane < WIDE; lane++)
            column[lane] = lines[lane][pixel];
        for (int half = 0; half < HALVES; half++) {
            v8 flux = load(column + half * LANES);
            v8 change = all(growth[pixel]) / (all(1.0f) + all(relative[pixel]) * (flux * flux));
            v8 log_change = vlog(change);
            for (int k = 0; k < FITTED; k++) {
                factor[k][half] += all(fit[pixel * FITTED + k]) * change;
                logarithm[k][half] += all(fit[pixel * FITTED + k]) * log_change;
            }
        }
    }
    for (int k = 0; k < FITTED; k++)
        for (int half = 0; half < HALVES; half++) {
            store(sums->factor + k * WIDE + half * LANES, factor[k][half]);
            store(sums->logarithm + k * WIDE + half * LANES, logarithm[k][half]);
        }
}

/* Sum of T_degree times the polynomial of `factor`, from sums of each T_k: T_i T_k is the mean of T_(i+k)
 * and T_|i-k|. */
INLINE w4 shifted(const w4 *factor, const w4 *sums, int degree)
{
    w4 found = wide(0.0);
    for (int order = 0; order < FITTED; order++)
        found += factor[order] * (sums[order + degree] + sums[order > degree ? order - degree : degree - order]);
    return wide(0.5) * found;
}

/* Log likelihood from its sums over the pixels: SpectrumLikelihood.marginal. */
INLINE w4 marginal(w4 chi2, w4 log_damping, const w4 projected[MARGINAL], const w4 squares[2 * MARGINAL - 1],
                   double count, double power, double dof, double precision)
{
    /* M = L D L^T, of which `scaled` has L D below the diagonal, and `solved` is D L^T M^-1 b. */
    w4 lower[MARGINAL][MARGINAL], scaled[MARGINAL][MARGINAL], solved[MARGINAL], determinant = wide(1.0);
    l4 right = {-1, -1, -1, -1};
    for (int j = 0; j < MARGINAL; j++) {
        for (int i = j; i < MARGINAL; i++) {
            scaled[i][j] = wide(0.5) * (squares[i + j] + squares[i - j]) + wide(i == j ? precision : 0.0);
            for (int k = 0; k < j; k++)
                scaled[i][j] -= scaled[i][k] * lower[j][k];
        }
        w4 pivot = scaled[j][j], inverse = wide(1.0) / pivot;
        right &= pivot > wide(0.0);
        determinant *= pivot;
        for (int i = j + 1; i < MARGINAL; i++)
            lower[i][j] = scaled[i][j] * inverse;
        solved[j] = projected[j];
        for (int k = 0; k < j; k++)
            solved[j] -= lower[j][k] * solved[k];
        chi2 -= solved[j] * solved[j] * inverse;
    }
    chi2 = where(chi2 < wide(0.0), wide(0.0), chi2);
    w4 log_det = wlog(determinant) + log_damping;
    w4 found = wide(-0.5 * (dof + count)) * wlog(wide(dof) + chi2) - wide(0.5) * log_det;
    return where(right, wide(power) * found, wide(-(double)__builtin_inff()));
}

/* Log likelihood of four lanes, from `lane` on; constant (3, OF_SQUARES) and numbers of one galaxy. */
INLINE w4 of_lanes(int lane, const struct lane_sums *sums, const double *constant, const double *numbers,
                   double dof, double precision)
{
    w4 chi2[FITTED], projected[OF_PROJECTED], squares[OF_SQUARES], factor[FITTED];
    w4 whole = wide(0.0), log_damping = wide(numbers[FITTED]);
    for (int k = 0; k < OF_SQUARES; k++) {
        w4 square = widened(sums->square + k * WIDE + lane);
        w4 of_residual = widened(sums->of_residual + k * WIDE + lane);
        w4 of_centre = widened(sums->of_centre + k * WIDE + lane);
        if (k < FITTED)
            chi2[k] = wide(constant[k]) - wide(2.0) * of_residual + square;
        if (k < OF_PROJECTED)
            projected[k] = wide(constant[OF_SQUARES + k]) + of_residual - of_centre - square;
        squares[k] = wide(constant[2 * OF_SQUARES + k]) + wide(2.0) * of_centre + square;
    }
    for (int k = 0; k < FITTED; k++) {
        factor[k] = widened(sums->factor + k * WIDE + lane);
        whole += factor[k] * chi2[k];
        log_damping -= widened(sums->logarithm + k * WIDE + lane) * wide(numbers[k]);
    }
    w4 of_projected[MARGINAL], of_squares[2 * MARGINAL - 1];
    for (int degree = 0; degree < MARGINAL; degree++)
        of_projected[degree] = shifted(factor, projected, degree);
    for (int degree = 0; degree < 2 * MARGINAL - 1; degree++)
        of_squares[degree] = shifted(factor, squares, degree);
    return marginal(whole, log_damping, of_projected, of_squares, numbers[FITTED + 1], numbers[FITTED + 2], dof,
                    precision);
}

/* Log likelihoods of draws: coordinates (batch, samples, rank), flux (batch, samples, pixels), out
 * (samples, batch); rank is at most MOST_ROWS. */
static void reduced(int64_t batch, int64_t samples, int64_t rank, int64_t pixels,
                    const struct expansion *expansion, const float *coordinates, const float *flux, double *out)
{
    for (int64_t galaxy = 0; galaxy < batch; galaxy++)
        for (int64_t first = 0; first < samples; first += WIDE) {
            int count = samples - first < WIDE ? (int)(samples - first) : WIDE;
            const float *lines[WIDE];
            float a[MOST_ROWS * WIDE];
            struct lane_sums sums;
            for (int lane = 0; lane < WIDE; lane++) {
                int64_t row = galaxy * samples + first + (lane < count ? lane : count - 1);
                lines[lane] = flux + row * pixels;
                for (int64_t k = 0; k < rank; k++)
                    a[k * WIDE + lane] = coordinates[row * rank + k];
            }
            forms(rank, expansion->linear + galaxy * rank * 2 * OF_SQUARES,
                  expansion->square + galaxy * rank * OF_SQUARES * rank, a, &sums);
            changes(pixels, lines, expansion->relative + galaxy * pixels, expansion->growth + galaxy * pixels,
                    expansion->fit + galaxy * pixels * FITTED, &sums);
            for (int lane = 0; lane < count; lane += WIDE_LANES) {
                w4 found = of_lanes(lane, &sums, expansion->constant + galaxy * 3 * OF_SQUARES,
                                    expansion->numbers + galaxy * (FITTED + 3), expansion->dof,
                                    expansion->precision);
                for (int k = 0; k < WIDE_LANES && lane + k < count; k++)
                    out[(first + lane + k) * batch + galaxy] = found[k];
            }
        }
}

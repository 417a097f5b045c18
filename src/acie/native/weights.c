/* Importance weights of the draws of each galaxy: normalised, tempered, resampled, of mixtures.
 *
 * Included by kernels.c. Arrays of weights are (draws, batch); a buffer has room for one galaxy's and
 * three more. */

#include "doubles.h"

/* Densities of a mixture at most. */
#define MOST_PARTS 16
/* Logarithms that stand for a draw without weight are not above this one. */
#define NO_WEIGHT -1e300
/* Powers that weights may be raised to: 2^(k STEP - 20), of k from 0 to 255, or 1. */
#define STEPS 256
#define STEP (20.0 / STEPS)

static const double infinite = (double)__builtin_inff();

/* exp(power * x) of four numbers that are not positive; zero where nothing of it is left. */
INLINE w4 weight_of(const double *from, double power)
{
    w4 x = wide(power) * *(const w4u *)from;
    return where(x < wide(-708.0), wide(0.0), wexp(x));
}

INLINE double total_of(w4 parts) { return (parts[0] + parts[2]) + (parts[1] + parts[3]); }

/* Fills a buffer behind the draws, up to a whole vector, with what has no weight. */
INLINE void end_with_nothing(int64_t draws, double *buffer)
{
    for (int64_t k = draws; k % WIDE_LANES; k++)
        buffer[k] = -infinite;
}

/* One over the effective size at a power, of logarithms whose largest is zero. */
static double concentration(int64_t draws, const double *logs, double power)
{
    w4 sum = wide(0.0), squares = wide(0.0);
    for (int64_t k = 0; k < draws; k += WIDE_LANES) {
        w4 weight = weight_of(logs + k, power);
        sum += weight, squares += weight * weight;
    }
    double total = total_of(sum);
    return total_of(squares) / (total * total);
}

/* Weights raised to the largest of the powers that keeps the effective size at `target`.
 *
 * log_weights, weights (draws, batch); sizes (batch), effective. */
static void temper(int64_t draws, int64_t batch, double target, const double *log_weights, double *buffer,
                   double *weights, double *sizes)
{
    for (int64_t galaxy = 0; galaxy < batch; galaxy++) {
        double peak = -infinite, power = 1.0, most = 1.0 / target;
        for (int64_t k = 0; k < draws; k++) {
            double value = log_weights[k * batch + galaxy];
            buffer[k] = __builtin_isfinite(value) ? value : NO_WEIGHT;
            peak = buffer[k] > peak ? buffer[k] : peak;
        }
        /* A galaxy without weight counts all alike. */
        for (int64_t k = 0; k < draws; k++)
            buffer[k] = peak <= NO_WEIGHT ? 0.0 : buffer[k] - peak;
        end_with_nothing(draws, buffer);
        if (!(concentration(draws, buffer, power) <= most)) {
            /* The effective size falls with the power. */
            int found = 0;
            for (int half = STEPS / 2; half; half /= 2)
                if (concentration(draws, buffer, exp2((found + half) * STEP - 20.0)) <= most)
                    found += half;
            power = exp2(found * STEP - 20.0);
        }
        w4 sum = wide(0.0);
        for (int64_t k = 0; k < draws; k += WIDE_LANES) {
            w4 weight = weight_of(buffer + k, power);
            *(w4u *)(buffer + k) = weight;
            sum += weight;
        }
        double total = total_of(sum), squares = 0.0;
        for (int64_t k = 0; k < draws; k++) {
            double weight = buffer[k] / total;
            weights[k * batch + galaxy] = weight;
            squares += weight * weight;
        }
        sizes[galaxy] = 1.0 / squares;
    }
}

/* One galaxy's weights, which sum to one, in the buffer; their effective size, or zero without weight. */
static double normalised(int64_t draws, int64_t batch, const double *log_weights, double *buffer)
{
    double peak = -infinite;
    for (int64_t k = 0; k < draws; k++) {
        double value = log_weights[k * batch];
        /* What is not a number or infinite is an error of the target, and must not hide the others. */
        buffer[k] = value > NO_WEIGHT && value < infinite ? value : -infinite;
        peak = buffer[k] > peak ? buffer[k] : peak;
    }
    end_with_nothing(draws, buffer);
    peak = peak == -infinite ? 0.0 : peak;
    w4 sum = wide(0.0);
    for (int64_t k = 0; k < draws; k += WIDE_LANES) {
        w4 value = *(const w4u *)(buffer + k) - wide(peak);
        w4 weight = where(value < wide(-708.0), wide(0.0), wexp(value));
        *(w4u *)(buffer + k) = weight;
        sum += weight;
    }
    double total = total_of(sum), squares = 0.0;
    total = total < 1e-300 ? 1e-300 : total;
    for (int64_t k = 0; k < draws; k++) {
        buffer[k] /= total;
        squares += buffer[k] * buffer[k];
    }
    return squares > 0.0 ? 1.0 / squares : 0.0;
}

/* Weights that sum to one, unless `weights` is null, and their effective sizes (batch). */
static void to_weights(int64_t draws, int64_t batch, const double *log_weights, double *buffer, double *weights,
                      double *sizes)
{
    for (int64_t galaxy = 0; galaxy < batch; galaxy++) {
        sizes[galaxy] = normalised(draws, batch, log_weights + galaxy, buffer);
        if (weights)
            for (int64_t k = 0; k < draws; k++)
                weights[k * batch + galaxy] = buffer[k];
    }
}

/* Draws that a comb of `count` teeth, moved by an offset (batch) in [0, 1), meets in the cumulative
 * weights: index (count, batch). */
static void resample(int64_t draws, int64_t batch, int64_t count, const double *log_weights,
                     const double *offset, double *buffer, int64_t *index)
{
    for (int64_t galaxy = 0; galaxy < batch; galaxy++) {
        int some = normalised(draws, batch, log_weights + galaxy, buffer) > 0.0;
        double total = 0.0;
        for (int64_t k = 0; k < draws; k++) {
            total += some ? buffer[k] : 1.0 / draws;
            buffer[k] = total;
        }
        int64_t at = 0;
        for (int64_t tooth = 0; tooth < count; tooth++) {
            double place = ((double)tooth + offset[galaxy]) / (double)count * total;
            while (at < draws - 1 && buffer[at] <= place)
                at++;
            index[tooth * batch + galaxy] = at;
        }
    }
}

/* log(sum(exp(terms))); infinite where a term is, not a number where one is not. */
INLINE w4 log_of_sum(int count, const w4 *terms)
{
    w4 peak = terms[0], sum = wide(0.0);
    for (int k = 1; k < count; k++)
        peak = where((terms[k] > peak) | (terms[k] != terms[k]), terms[k], peak);
    for (int k = 0; k < count; k++)
        sum += wexp(terms[k] - peak);
    w4 found = peak + wlog(sum);
    return where((peak == wide(infinite)) | (peak == wide(-infinite)), peak, found);
}

/* Log of a target over a mixture: densities (parts, count) are logarithms, as are the shares (parts);
 * minus infinity where the quotient has no finite logarithm. */
static void over_mixture(int64_t parts, int64_t count, const double *shares, const double *densities,
                         const double *target, double *out)
{
    for (int64_t k = 0; k < count; k += WIDE_LANES) {
        int width = count - k < WIDE_LANES ? (int)(count - k) : WIDE_LANES;
        w4 terms[MOST_PARTS];
        for (int64_t part = 0; part < parts; part++)
            terms[part] = few(densities + part * count + k, width) + wide(shares[part]);
        w4 found = few(target + k, width) - log_of_sum((int)parts, terms);
        l4 finite = (found > wide(-infinite)) & (found < wide(infinite));
        put_doubles(out + k, where(finite, found, wide(-infinite)), width);
    }
}

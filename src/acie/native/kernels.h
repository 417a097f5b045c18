/* The kernels, which are compiled once for each generation of processors; each is described where it
 * is defined. */
#ifndef ACIE_KERNELS_H
#define ACIE_KERNELS_H

#include <stdint.h>

/* What light passes through: tables (blocks, 8) of the curve and the wavelength at six points of each
 * block of the screen, logarithms; A_V and the slope of each row; values of the polynomials of the
 * points at the pixels of a block, (6, 64). */
struct screen {
    const float *log_curve, *log_wave, *a_v, *slope, *fill;
};

/* The likelihood of each galaxy of a batch in a small basis: see reduced.c and ReducedExpansion.
 *
 * Sums over the pixels against nine polynomials: constant (batch, 3, 9), of squares of the residual, its
 * products with the centre and squares of the centre; linear (batch, rank, 2, 9), components against
 * residual and centre; square (batch, rank, 9, rank). At the few pixels: relative and growth (batch,
 * pixels), the template error and what it does to the variance of the centre; fit (batch, pixels, 3), to
 * three polynomials. numbers (batch, 6): sums of the three over the pixels, of the logarithms of the
 * variances, how many pixels there are, and what the log likelihood is multiplied with; degrees of freedom
 * of the scale of the noise, and inverse variance of the calibration. */
struct expansion {
    const double *constant;
    const float *linear, *square, *relative, *growth, *fit;
    const double *numbers;
    double dof, precision;
};

/* Rows whose light `spectra` makes together: what is read of the templates is more than what is written. */
#define LIT_TOGETHER 32

struct kernels {
    void (*light)(int64_t rows, int64_t pixels, int64_t start, int64_t split, int64_t templates,
                  const float *coefficients, const float *strips, const struct screen *screen,
                  int64_t ramp_size, const float *ramp, float *out);
    void (*spectra)(int64_t rows, int64_t window, int64_t start, int64_t split, int64_t templates,
                    const float *coefficients, const float *strips, const struct screen *screen,
                    int64_t ramp_size, const float *ramp, int64_t half, const float *filters, int64_t pixels,
                    int64_t taps, const int64_t *index, const float *weights, float *out, float *scratch);
    void (*turn)(int64_t rows, int64_t frequencies, const float *phase, const float *variance, double unit,
                 float *spectrum);
    void (*sample)(int64_t rows, int64_t window, int64_t pixels, int64_t taps, const float *coefficients,
                   const int64_t *index, const float *weights, float *out);
    void (*mix)(int64_t count, int64_t window, int64_t pixels, int64_t taps, const float *coefficients,
                const int64_t *chosen, const int64_t *index, const float *weights, const float *others,
                const float *share, float *out);
    void (*widen)(int64_t pixels, int64_t half, int64_t frequencies, int64_t taps, const float *plain,
                  const float *variance, const float *exponent, const float *fit, float *out);
    void (*difference)(int64_t rows, int64_t pixels, const int64_t *place, const float *found,
                       const float *other, int64_t step, float *out);
    void (*sums)(int64_t rows, int64_t pixels, const float *model, const float *flux, const float *ivar,
                 const float *relative, const float *polynomials, double *out);
    void (*embed)(int64_t rows, int64_t in, int64_t width, int64_t blocks, int64_t out, double limit,
                  const float *mean, const float *scale, const float *weights, const float *context,
                  float *buffer, float *found);
    void (*draws)(int64_t samples, int64_t batch, const int64_t *sizes, const int64_t *order, double rate,
                  const float *of_context, const float *of_draws, const float *scaling, const float *context,
                  const float *affine, const float *noise, float *buffer, float *x, float *log_det);
    void (*bins)(int64_t draws, int64_t pixels, const int64_t *place, const float *model, const float *flux,
                 const float *ivar, const float *relative, int64_t terms, const float *basis,
                 const float *coefficients, float *out, float *mean);
    void (*squares)(int64_t draws, int64_t count, int64_t levels, const int64_t *factors, double variance,
                    double common, float *sums, double *out);
    void (*deviates)(int64_t pixels, const float *model, const float *flux, const float *ivar,
                     const float *relative, int64_t terms, const float *basis, const float *coefficients,
                     float *single, float *binned);
    void (*medians)(int64_t rows, int64_t size, const float *values, int32_t *keys, float *out);
    void (*share)(int64_t pixels, int64_t rest, const double *position, const float *weights,
                  const float *values, float *out);
    void (*gram)(int64_t rest, int64_t components, int64_t width, const float *basis, const float *shared,
                 float *buffer, float *out);
    void (*pull)(int64_t pixels, int64_t rest, int64_t width, const float *basis, const double *position,
                 const float *weights, const float *values, const float *mean, float *pulled, double *misfit);
    void (*centred)(int64_t draws, int64_t pixels, const int64_t *place, const float *spectra,
                    const float *share, const float *ivar, const float *relative, float *centre, float *root,
                    double *buffer, double *products);
    void (*combined)(int64_t draws, int64_t rank, int64_t pixels, const int64_t *place, const float *spectra,
                     const float *centre, const float *root, const double *coefficients, double *buffer,
                     float *white, float *basis, double *leverage);
    void (*strata)(int64_t pixels, int64_t count, double even, const double *leverage, const float *root,
                   int64_t *chosen, float *weights);
    void (*expanded)(int64_t rank, int64_t pixels, int64_t terms, const float *weight, const float *centre,
                     const float *residual, const float *basis, const float *polynomials, const float *flat,
                     double *constant, double *linear, float *square);
    void (*table)(int64_t pixels, int64_t half, int64_t step, int64_t templates, const float *even,
                  const float *odd, const float *fade, const int64_t *middle, const float *basis,
                  float *buffer, float *out);
    void (*surviving)(int64_t rows, const double *age, const double *tau, int64_t count, const double *edges,
                      const double *steps, double *out);
    void (*solve_tau)(int64_t rows, const double *age, const double *specific, const double *grid, int64_t ages,
                      int64_t nodes, const double *table, int64_t count, const double *edges,
                      const double *steps, double *out);
    void (*coefficients)(int64_t rows, const double *const state[6], int per_survivor, int64_t bins,
                         int64_t young_bins, const double *edges, const double *survival, const float *share,
                         int64_t metals, const float *metallicity, int64_t ions, const float *log_u,
                         const int64_t sizes[3], const float *const tables[3], float *old_out, float *young_out);
    void (*normal_density)(int64_t rows, const double *const parts[5], const int64_t steps[5], int logarithmic,
                           int bounded, double *out);
    void (*from_real)(int64_t rows, const double *real, const double *bounds, int64_t stride, int logarithmic,
                      int bounded, double *value, double *derivative);
    void (*temper)(int64_t draws, int64_t batch, double target, const double *log_weights, double *buffer,
                   double *weights, double *sizes);
    void (*to_weights)(int64_t draws, int64_t batch, const double *log_weights, double *buffer, double *weights,
                      double *sizes);
    void (*resample)(int64_t draws, int64_t batch, int64_t count, const double *log_weights,
                     const double *offset, double *buffer, int64_t *index);
    void (*over_mixture)(int64_t parts, int64_t count, const double *shares, const double *densities,
                         const double *target, double *out);
    void (*moments)(int64_t draws, int64_t batch, int64_t components, int64_t dim, const double *x,
                    const double *weights, double *mean, double *covariance);
    void (*scatter)(int64_t draws, int64_t batch, int64_t dim, const double *x, double *covariance);
    void (*shrink)(int64_t batch, int64_t components, int64_t dim, const double *covariance,
                   const double *reference, const double *pooled, const double *sizes, double *out);
    void (*cholesky)(int64_t count, int64_t dim, const double *covariance, double *root);
    void (*student_density)(int64_t draws, int64_t batch, int64_t components, int64_t dim, double dof,
                            double constant, const double *x, const double *mean, const double *root,
                            const double *log_fraction, double *terms, double *out);
    void (*student_draws)(int64_t draws, int64_t batch, int64_t components, int64_t dim, int64_t dof,
                          const double *offset, const double *normal, const double *stretching,
                          const double *log_fraction, const double *mean, const double *root, double *out);
    void (*regression)(int64_t draws, int64_t batch, int64_t dim, int64_t width, const double *weights,
                       const double *x, const double *values, double *centre, double *scale, double *middle,
                       double *slopes);
    void (*at_pixels)(int64_t batch, int64_t samples, int64_t pixels, int64_t templates, int64_t split,
                      const float *old, const float *young, const double *const state[3], const double *range,
                      const double *nodes, const float *table, const float *log_curve, const float *log_wave,
                      float *buffer, float *out);
    void (*reduced)(int64_t batch, int64_t samples, int64_t rank, int64_t pixels,
                    const struct expansion *expansion, const float *coordinates, const float *flux, double *out);
};

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define GENERATIONS 1
extern const struct kernels kernels_v3, kernels_v4;
#endif
extern const struct kernels kernels_any;

#endif

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
};

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define GENERATIONS 1
extern const struct kernels kernels_v3, kernels_v4;
#endif
extern const struct kernels kernels_any;

#endif

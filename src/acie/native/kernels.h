/* The kernels, which are compiled once for each generation of processors; each is described where it
 * is defined. */
#ifndef ACIE_KERNELS_H
#define ACIE_KERNELS_H

#include <stdint.h>

struct kernels {
    void (*light)(int64_t rows, int64_t pixels, int64_t start, int64_t split, int64_t templates,
                  const float *coefficients, const float *strips, int64_t blocks, const float *points,
                  const float *fill, int64_t ramp_size, const float *ramp, float *out);
    void (*turn)(int64_t rows, int64_t frequencies, const float *phase, const float *variance, double unit,
                 float *spectrum);
    void (*sample)(int64_t rows, int64_t window, int64_t pixels, int64_t taps, const float *coefficients,
                   const int64_t *index, const float *weights, float *buffer, float *out);
    void (*sums)(int64_t rows, int64_t pixels, const float *model, const float *flux, const float *ivar,
                 const float *relative, const float *polynomials, double *out);
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
    void (*mix_nodes)(int64_t rows, int64_t nodes, int64_t size, const float *weights, const float *values,
                      float *out);
};

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define GENERATIONS 1
extern const struct kernels kernels_v3, kernels_v4;
#endif
extern const struct kernels kernels_any;

#endif

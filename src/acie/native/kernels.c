/* All kernels for one generation of processors. baseline.c, x86_64_v3.c and x86_64_v4.c say which. */

#include "kernels.h"

#include "spectra.c"
#include "history.c"
#include "coefficients.c"
#include "laws.c"

const struct kernels KERNELS = {light, turn, sample, sums, surviving, solve_tau, coefficients,
                                normal_density, from_real, mix_nodes};

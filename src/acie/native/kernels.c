/* All kernels for one generation of processors. baseline.c, x86_64_v3.c and x86_64_v4.c say which. */

#include "kernels.h"

#include "spectra.c"
#include "network.c"
#include "flow.c"
#include "checks.c"
#include "projection.c"
#include "basis.c"
#include "subset.c"
#include "reduced.c"
#include "history.c"
#include "coefficients.c"
#include "laws.c"
#include "weights.c"
#include "student.c"

const struct kernels KERNELS = {
    .light = light, .spectra = spectra, .turn = turn, .sample = sample, .mix = mix, .widen = widen,
    .difference = difference, .sums = sums,
    .embed = embed, .draws = draws,
    .bins = bins, .squares = squares, .deviates = deviates, .medians = medians,
    .share = share, .gram = gram, .pull = pull,
    .centred = centred, .combined = combined, .strata = strata, .expanded = expanded,
    .table = table,
    .surviving = surviving, .solve_tau = solve_tau, .coefficients = coefficients,
    .normal_density = normal_density, .from_real = from_real,
    .temper = temper, .to_weights = to_weights, .resample = resample, .over_mixture = over_mixture,
    .moments = moments, .scatter = scatter, .shrink = shrink, .cholesky = cholesky,
    .student_density = student_density, .student_draws = student_draws,
    .regression = regression,
    .at_pixels = at_pixels, .reduced = reduced,
};

/* All kernels for one generation of processors. baseline.c, x86_64_v3.c and x86_64_v4.c say which. */

#include "kernels.h"

#include "spectra.c"
#include "checks.c"
#include "projection.c"
#include "basis.c"
#include "subset.c"

const struct kernels KERNELS = {
    light, spectra, turn, sample, mix, widen, difference, sums,
    bins, squares, deviates, medians,
    share, gram, pull,
    centred, combined, strata, expanded,
    table,
};

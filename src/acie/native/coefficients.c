/* Coefficients of the light of galaxies in the basis spectra: see StellarPopulationModel.coefficients.
 *
 * Included by kernels.c after history.c. */

/* Bins of age at most. */
#define MOST_BINS 64

/* Place of a value among rising nodes, and the weight of the node behind it: linear_weights. */
INLINE int64_t between_nodes(float value, int64_t count, const float *nodes, float *share)
{
    int64_t place = 0;
    while (place < count - 2 && value >= nodes[place + 1])
        place++;
    float rise = (value - nodes[place]) / (nodes[place + 1] - nodes[place]);
    *share = rise < 0.0f ? 0.0f : rise > 1.0f ? 1.0f : rise;
    return place;
}

/* Adds templates of bins of age, at the two nodes of each of `cells` pairs, to a row of coefficients.
 *
 * masses (bins); places and weights (cells): rows of the table at which the bins of a node begin;
 * table (row, size), with a size that is a multiple of LANES; out (size). */
INLINE void add_templates(int64_t bins, const float *masses, int64_t cells, const int64_t *places,
                          const float *weights, int64_t size, const float *table, float *out)
{
    enum { TOGETHER = 4 };
    for (int64_t column = 0; column < size; column += TOGETHER * LANES) {
        int64_t left = (size - column) / LANES;
        int count = left < TOGETHER ? (int)left : TOGETHER;
        v8 found[TOGETHER] = {all(0.0f), all(0.0f), all(0.0f), all(0.0f)};
        for (int64_t cell = 0; cell < cells; cell++) {
            const float *own = table + places[cell] * size + column;
            v8 sums[TOGETHER] = {all(0.0f), all(0.0f), all(0.0f), all(0.0f)};
            if (count == TOGETHER)
                for (int64_t bin = 0; bin < bins; bin++)
                    for (int k = 0; k < TOGETHER; k++)
                        sums[k] += all(masses[bin]) * load(own + bin * size + k * LANES);
            else
                for (int64_t bin = 0; bin < bins; bin++)
                    for (int k = 0; k < count; k++)
                        sums[k] += all(masses[bin]) * load(own + bin * size + k * LANES);
            for (int k = 0; k < TOGETHER; k++)
                found[k] += all(weights[cell]) * sums[k];
        }
        for (int k = 0; k < count; k++)
            store(out + column + k * LANES, found[k]);
    }
}

/* Masses formed in bins of age, as fractions of all, and the survivors of all; the bins that are not empty.
 *
 * edges (count + 1), and room for numbers of whole vectors behind them; survival (count). */
INLINE int64_t masses_formed(double age, double tau, int64_t count, const double *edges, const double *survival,
                             double *masses, double *survivors)
{
    double formed[MOST_BINS + 2 * WIDE_LANES], rate = 1.0 / tau, x = age * rate;
    int early = x < EARLY;
    int64_t bins = 0;
    /* An age that is not a number is in every bin. */
    while (bins < count && !(age <= edges[bins]))
        bins++;
    for (int64_t edge = 0; edge <= bins; edge += WIDE_LANES) {
        w4 time = wide(age) - *(const w4u *)(edges + edge);
        w4 place = where(time < wide(0.0), wide(0.0), time) * wide(rate);
        *(w4u *)(formed + edge) = early ? formed_early(place) : -to_form(place);
    }
    double whole = early ? formed[0] : 1.0 + formed[0], sum = 0.0;
    for (int64_t bin = 0; bin < bins; bin++) {
        masses[bin] = (formed[bin] - formed[bin + 1]) / whole;
        sum += masses[bin] * survival[bin];
    }
    *survivors = sum;
    return bins;
}

/* Coefficients of old light, and of young stars and gas.
 *
 * age, tau, metallicity, gas metallicity (both as mass fractions), log U, and mass (rows): a factor on
 * all, and per solar mass that survives if `per_survivor`; edges (bins + 1) with WIDE_LANES more behind
 * them; survival (bins); share (bins), of the light inside birth clouds; grids of metallicity and
 * log U; tables (metallicity, bin, old), (metallicity, young_bin, young) and
 * (metallicity, log U, young_bin, gas); old_out (rows, old), young_out (rows, young + gas). */
static void coefficients(int64_t rows, const double *const state[6], int per_survivor, int64_t bins,
                         int64_t young_bins, const double *edges, const double *survival, const float *share,
                         int64_t metals, const float *metallicity, int64_t ions, const float *log_u,
                         const int64_t sizes[3], const float *const tables[3], float *old_out, float *young_out)
{
    for (int64_t row = 0; row < rows; row++) {
        double masses[MOST_BINS], survivors;
        float old[MOST_BINS], young[MOST_BINS];
        int64_t used = masses_formed(state[0][row], state[1][row], bins, edges, survival, masses, &survivors);
        double factor = per_survivor ? state[5][row] / survivors : state[5][row];
        for (int64_t bin = 0; bin < used; bin++) {
            float mass = (float)(masses[bin] * factor);
            old[bin] = mass * (1.0f - share[bin]), young[bin] = mass * share[bin];
        }
        float metal_share, gas_share, ion_share;
        int64_t metal = between_nodes((float)state[2][row], metals, metallicity, &metal_share);
        int64_t gas = between_nodes((float)state[3][row], metals, metallicity, &gas_share);
        int64_t ion = between_nodes((float)state[4][row], ions, log_u, &ion_share);
        int64_t few_bins = used < young_bins ? used : young_bins;
        float of_metal[2] = {1.0f - metal_share, metal_share};
        int64_t in_old[2] = {metal * bins, (metal + 1) * bins};
        int64_t in_young[2] = {metal * young_bins, (metal + 1) * young_bins};
        float of_gas[4] = {(1.0f - gas_share) * (1.0f - ion_share), (1.0f - gas_share) * ion_share,
                           gas_share * (1.0f - ion_share), gas_share * ion_share};
        int64_t in_gas[4];
        for (int corner = 0; corner < 4; corner++)
            in_gas[corner] = ((gas + corner / 2) * ions + ion + corner % 2) * young_bins;
        float *to = young_out + row * (sizes[1] + sizes[2]);
        add_templates(used, old, 2, in_old, of_metal, sizes[0], tables[0], old_out + row * sizes[0]);
        add_templates(few_bins, young, 2, in_young, of_metal, sizes[1], tables[1], to);
        add_templates(few_bins, young, 4, in_gas, of_gas, sizes[2], tables[2], to + sizes[1]);
    }
}

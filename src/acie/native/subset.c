/* The forward model at chosen pixels of each galaxy: templates as these see them, and light of draws.
 *
 * Included by kernels.c after network.c. */

#include "doubles.h"

/* Velocity dispersions of the table. */
#define NODES 5

/* Values of `vectors` times LANES templates at one pixel: rows (NODES, reach), near (reach, templates)
 * from the first of these on; out (NODES, templates) likewise. */
INLINE void seen(const int vectors, int64_t reach, int64_t templates, const float *rows, const float *near,
                 float *out)
{
    v8 sums[NODES][2];
    for (int node = 0; node < NODES; node++)
        sums[node][0] = sums[node][1] = all(0.0f);
    for (int64_t k = 0; k < reach; k++)
        for (int vector = 0; vector < vectors; vector++) {
            v8 light = load(near + k * templates + vector * LANES);
            for (int node = 0; node < NODES; node++)
                sums[node][vector] += all(rows[node * reach + k]) * light;
        }
    for (int node = 0; node < NODES; node++)
        for (int vector = 0; vector < vectors; vector++)
            store(out + node * templates + vector * LANES, sums[node][vector]);
}

/* Values of all templates at each pixel, for every velocity dispersion.
 *
 * A row is what one pixel reads of the rest grid, from pixel middle - half to middle + half, with
 * the sum of its even and odd parts on one side and their difference on the other: even and odd
 * (pixels, NODES, step), of which half + 1 count; fade (half + 1) brings both ends to zero; middle
 * (pixels); basis (rest, templates), a multiple of LANES; buffer (NODES * (2 half + 1)); out
 * (pixels, NODES, templates). */
static void table(int64_t pixels, int64_t half, int64_t step, int64_t templates, const float *even,
                  const float *odd, const float *fade, const int64_t *middle, const float *basis,
                  float *buffer, float *out)
{
    int64_t reach = 2 * half + 1;
    for (int64_t pixel = 0; pixel < pixels; pixel++) {
        for (int node = 0; node < NODES; node++) {
            const float *a = even + (pixel * NODES + node) * step, *b = odd + (pixel * NODES + node) * step;
            float *line = buffer + node * reach + half;
            for (int64_t k = 0; k <= half; k++) {
                line[k] = (a[k] + b[k]) * fade[k];
                line[-k] = (a[k] - b[k]) * fade[k];
            }
        }
        const float *near = basis + (middle[pixel] - half) * templates;
        float *to = out + pixel * NODES * templates;
        int64_t first = 0;
        for (; first + 2 * LANES <= templates; first += 2 * LANES)
            seen(2, reach, templates, buffer, near + first, to + first);
        if (first < templates)
            seen(1, reach, templates, buffer, near + first, to + first);
    }
}

/* Weights of the nodes for the velocity dispersions of `count` draws of one galaxy, share (NODES, WIDE).
 *
 * Draws are `step` numbers apart; range: middle and half width of the logarithms; nodes (2, NODES): places
 * on them and barycentric weights. The last draw stands for those behind it. */
INLINE void node_shares(int count, int64_t step, const double *dispersion, const double *range,
                        const double *nodes, float *share)
{
    for (int first = 0; first < WIDE; first += WIDE_LANES) {
        w4 sigma, weights[NODES], whole = wide(0.0);
        for (int k = 0; k < WIDE_LANES; k++)
            sigma[k] = dispersion[(first + k < count ? first + k : count - 1) * step];
        w4 place = between((wlog(sigma) - wide(range[0])) / wide(range[1]), -1.0, 1.0);
        for (int node = 0; node < NODES; node++) {
            w4 distance = place - wide(nodes[node]);
            l4 there = (distance < wide(1e-12)) & (distance > wide(-1e-12));
            weights[node] = wide(nodes[NODES + node]) / where(there, wide(1e-12), distance);
            whole += weights[node];
        }
        for (int node = 0; node < NODES; node++) {
            w4 found = weights[node] / whole;
            for (int k = 0; k < WIDE_LANES; k++)
                share[node * WIDE + first + k] = (float)found[k];
        }
    }
}

/* Light at one pixel of the templates from `first` to `last`, mixed over the nodes; draws are the lanes:
 * table (NODES, templates); light (templates, WIDE); share (NODES, WIDE). */
INLINE void mixed(const int halves, int64_t first, int64_t last, int64_t templates, const float *table,
                  const float *light, const float *share, v8 found[HALVES])
{
    v8 sums[NODES][HALVES];
    for (int node = 0; node < NODES; node++)
        for (int half = 0; half < halves; half++)
            sums[node][half] = all(0.0f);
    for (int64_t k = first; k < last; k++) {
        v8 own[HALVES];
        for (int half = 0; half < halves; half++)
            own[half] = load(light + k * WIDE + half * LANES);
        for (int node = 0; node < NODES; node++) {
            v8 value = all(table[node * templates + k]);
            for (int half = 0; half < halves; half++)
                sums[node][half] += value * own[half];
        }
    }
    for (int half = 0; half < halves; half++) {
        found[half] = all(0.0f);
        for (int node = 0; node < NODES; node++)
            found[half] += load(share + node * WIDE + half * LANES) * sums[node][half];
    }
}

/* Flux at the pixels of `count` draws of one galaxy, at most `halves` vectors of them.
 *
 * light (templates, WIDE); a_v and slope (WIDE); the rest as in at_pixels, of this galaxy. */
INLINE void fluxes(const int halves, int count, int64_t pixels, int64_t templates, int64_t split,
                   const float *light, const float *share, const float *a_v, const float *slope,
                   const float *table, const float *log_curve, const float *log_wave, float *out)
{
    const float optical = -0.921034037f, birth_cloud = 1.0f / 0.44f;
    for (int64_t pixel = 0; pixel < pixels; pixel++) {
        const float *own = table + pixel * NODES * templates;
        v8 old[HALVES], young[HALVES];
        float line[WIDE];
        /* The next pixel's, which the first draws of a galaxy read from far away. */
        for (int64_t x = 0; x < NODES * templates; x += 2 * LANES)
            __builtin_prefetch(own + NODES * templates + x);
        mixed(halves, 0, split, templates, own, light, share, old);
        mixed(halves, split, templates, templates, own, light, share, young);
        for (int half = 0; half < halves; half++) {
            v8 tilt = load(slope + half * LANES) * all(log_wave[pixel]);
            v8 depth = vexp(all(log_curve[pixel]) + tilt) * (all(optical) * load(a_v + half * LANES));
            store(line + half * LANES, old[half] * vexp(depth) + young[half] * vexp(all(birth_cloud) * depth));
        }
        for (int draw = 0; draw < count; draw++)
            out[draw * pixels + pixel] = line[draw];
    }
}

/* Flux of draws of several galaxies at the pixels of each: SubsetModel.
 *
 * old and young (samples, batch, split and the other templates): coefficients of their light; state: A_V,
 * slope of the dust and velocity dispersion, each (samples, batch); range (batch, 2) and nodes: see
 * node_shares; table (batch, pixels, NODES, templates); log_curve and log_wave (batch, pixels), of the
 * dust; buffer (templates * WIDE); out (batch, samples, pixels). */
static void at_pixels(int64_t batch, int64_t samples, int64_t pixels, int64_t templates, int64_t split,
                      const float *old, const float *young, const double *const state[3],
                      const double *range, const double *nodes, const float *table, const float *log_curve,
                      const float *log_wave, float *buffer, float *out)
{
    float share[NODES * WIDE], a_v[WIDE], slope[WIDE];
    for (int64_t galaxy = 0; galaxy < batch; galaxy++)
        for (int64_t first = 0; first < samples; first += WIDE) {
            int count = samples - first < WIDE ? (int)(samples - first) : WIDE;
            int64_t start = first * batch + galaxy;
            for (int lane = 0; lane < WIDE; lane++) {
                int64_t row = start + (lane < count ? lane : count - 1) * batch;
                const float *of_old = old + row * split, *of_young = young + row * (templates - split);
                for (int64_t k = 0; k < split; k++)
                    buffer[k * WIDE + lane] = of_old[k];
                for (int64_t k = split; k < templates; k++)
                    buffer[k * WIDE + lane] = of_young[k - split];
                a_v[lane] = (float)state[0][row], slope[lane] = (float)state[1][row];
            }
            node_shares(count, batch, state[2] + start, range + 2 * galaxy, nodes, share);
            const float *own = table + galaxy * pixels * NODES * templates;
            const float *curve = log_curve + galaxy * pixels, *wave = log_wave + galaxy * pixels;
            float *to = out + (galaxy * samples + first) * pixels;
            if (count > LANES)
                fluxes(2, count, pixels, templates, split, buffer, share, a_v, slope, own, curve, wave, to);
            else
                fluxes(1, count, pixels, templates, split, buffer, share, a_v, slope, own, curve, wave, to);
        }
}

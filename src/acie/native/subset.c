/* Templates as chosen pixels of one galaxy see them.
 *
 * Included by kernels.c. */

#include "vector.h"

/* Velocity dispersions of the table. */
#define NODES 5

/* Values of `vectors` times LANES templates at one pixel: rows (NODES, reach), near (reach, templates)
 * from the first of these on; out (templates, NODES, pixels) likewise. */
INLINE void seen(const int vectors, int64_t pixels, int64_t reach, int64_t templates, const float *rows,
                 const float *near, float *out)
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
    float found[NODES][2 * LANES];
    for (int node = 0; node < NODES; node++)
        for (int vector = 0; vector < vectors; vector++)
            store(found[node] + vector * LANES, sums[node][vector]);
    for (int k = 0; k < vectors * LANES; k++)
        for (int node = 0; node < NODES; node++)
            out[(k * NODES + node) * pixels] = found[node][k];
}

/* Values of all templates at each pixel, for every velocity dispersion.
 *
 * A row is what one pixel reads of the rest grid, from pixel middle - half to middle + half, with
 * the sum of its even and odd parts on one side and their difference on the other: even and odd
 * (pixels, NODES, step), of which half + 1 count; fade (half + 1) brings both ends to zero; middle
 * (pixels); basis (rest, templates), a multiple of LANES; buffer (NODES * (2 half + 1)); out
 * (templates, NODES, pixels). */
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
        int64_t first = 0;
        for (; first + 2 * LANES <= templates; first += 2 * LANES)
            seen(2, pixels, reach, templates, buffer, near + first, out + first * NODES * pixels + pixel);
        if (first < templates)
            seen(1, pixels, reach, templates, buffer, near + first, out + first * NODES * pixels + pixel);
    }
}

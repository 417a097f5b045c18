/* Delayed-exponential star-formation histories: see physics/sfh.py.
 *
 * Included by kernels.c. */

#include "doubles.h"

/* Below this age over tau the mass formed is taken from its series, in which nothing cancels. */
#define EARLY 0.25

/* P(x) = 1 - (1 + x) exp(-x) of small x. */
INLINE w4 formed_early(w4 x)
{
    w4 p = wide(-12.0 / 6227020800.0);
    p = p * x + wide(11.0 / 479001600.0);
    p = p * x + wide(-10.0 / 39916800.0);
    p = p * x + wide(9.0 / 3628800.0);
    p = p * x + wide(-8.0 / 362880.0);
    p = p * x + wide(7.0 / 40320.0);
    p = p * x + wide(-6.0 / 5040.0);
    p = p * x + wide(5.0 / 720.0);
    p = p * x + wide(-4.0 / 120.0);
    p = p * x + wide(3.0 / 24.0);
    p = p * x + wide(-2.0 / 6.0);
    p = p * x + wide(0.5);
    return p * x * x;
}

/* 1 - P(x), without cancellation where little is still to be formed. */
INLINE w4 to_form(w4 x) { return (wide(1.0) + x) * wexp(-x); }

/* Survivors of the mass formed: the sum of P(time / tau) over edges of bins of age, times `steps`.
 *
 * edges and steps (count): the survivors of a bin minus those of the one before it. */
INLINE w4 survivors(w4 age, w4 rate, int64_t count, const double *edges, const double *steps)
{
    w4 whole = age * rate, early = wide(0.0), late = wide(0.0);
    l4 is_early = whole < wide(EARLY);
    int some_early = any(is_early), some_late = any(~is_early);
    double oldest = 0.0;
    for (int k = 0; k < WIDE_LANES; k++)
        oldest = age[k] > oldest ? age[k] : oldest;
    /* Nothing was formed before the onset; the first edge also carries what is not a number. */
    for (int64_t edge = 0; edge < count && (edge == 0 || edges[edge] < oldest); edge++) {
        w4 time = age - wide(edges[edge]);
        w4 x = where(time < wide(0.0), wide(0.0), time) * rate;
        if (some_early)
            early += wide(steps[edge]) * formed_early(x);
        if (some_late)
            late += wide(steps[edge]) * (wide(1.0) - to_form(x));
    }
    return where(is_early, early, late);
}

/* Mass in stars and remnants over mass formed.
 *
 * age, tau, out (rows); edges, steps (count): see above. */
static void surviving(int64_t rows, const double *age, const double *tau, int64_t count, const double *edges,
                      const double *steps, double *out)
{
    for (int64_t row = 0; row < rows; row += WIDE_LANES) {
        int width = rows - row < WIDE_LANES ? (int)(rows - row) : WIDE_LANES;
        w4 own = few(age + row, width), rate = wide(1.0) / few(tau + row, width);
        w4 x = own * rate;
        w4 formed = where(x < wide(EARLY), formed_early(x), wide(1.0) - to_form(x));
        w4 found = survivors(own, rate, count, edges, steps) / formed;
        put_doubles(out + row, found, width);
    }
}

/* Of `count` rising numbers, every `stride` apart in two rows of a table, those that are less than `goal`.
 *
 * The numbers are minus the mean of both rows, with weight `share` for the second one. */
INLINE int64_t less(const double *row, const double *next, double share, int64_t count, int64_t stride, double goal)
{
    int64_t low = 0;
    while (low < count) {
        int64_t middle = (low + count) / 2, at = middle * stride;
        if (-(row[at] + share * (next[at] - row[at])) >= goal)
            count = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Root of the tabulated function, linear between nodes, and its slope there: DelayedTauSolver._lookup.
 *
 * position: log age in rows of the table, from 0 to `ages` - 1; table (ages, nodes). */
INLINE void look_up(double position, double log_q, int64_t ages, int64_t nodes, const double *table,
                    double first, double spacing, double flattest, double *root, double *slope)
{
    int64_t place = position > 0.0 ? (int64_t)position : 0;
    place = place < ages - 2 ? place : ages - 2;
    double share = position - (double)place;
    const double *row = table + place * nodes, *next = row + nodes;
    int64_t right = less(row, next, share, nodes, 1, -log_q);
    right = right < 1 ? 1 : right > nodes - 1 ? nodes - 1 : right;
    double low = row[right - 1] + share * (next[right - 1] - row[right - 1]);
    double high = row[right] + share * (next[right] - row[right]);
    double width = low - high > 1e-12 ? low - high : 1e-12;
    double part = (low - log_q) / width;
    part = part < 0.0 ? 0.0 : part > 1.0 ? 1.0 : part;
    *root = first + spacing * ((double)(right - 1) + part);
    *slope = -(low - high) / spacing;
    *slope = *slope > flattest ? flattest : *slope;
}

/* Log of the specific rate of stars formed that a history has, minus the one that is asked for. */
INLINE w4 excess(w4 log_x, w4 age, w4 log_q, int64_t count, const double *edges, const double *steps)
{
    w4 x = wexp(log_x);
    return (log_x + log_x) - x - log_q - wlog(survivors(age, x / age, count, edges, steps));
}

/* Tau whose history has a specific rate of stars formed: DelayedTauSolver.
 *
 * age, specific, out (rows); grid: first log age, its spacing, first and last log of age over tau, its
 * spacing, and the flattest slope; table (ages, nodes); edges, steps (count): see above. */
static void solve_tau(int64_t rows, const double *age, const double *specific, const double *grid, int64_t ages,
                      int64_t nodes, const double *table, int64_t count, const double *edges,
                      const double *steps, double *out)
{
    double low = grid[2], high = grid[3], flattest = grid[5];
    for (int64_t row = 0; row < rows; row += WIDE_LANES) {
        int width = rows - row < WIDE_LANES ? (int)(rows - row) : WIDE_LANES;
        w4 own = few(age + row, width), log_q = wlog(few(specific + row, width));
        w4 position = between((wlog(own) - wide(grid[0])) / wide(grid[1]), 0.0, (double)ages - 1.001);
        w4 start, slope;
        for (int k = 0; k < WIDE_LANES; k++) {
            double root, steepness;
            look_up(position[k], log_q[k], ages, nodes, table, low, grid[4], flattest, &root, &steepness);
            start[k] = root, slope[k] = steepness;
        }
        w4 first = excess(start, own, log_q, count, edges, steps);
        w4 root = between(start - first / slope, low, high), moved = root - start;
        w4 last = excess(root, own, log_q, count, edges, steps), secant = (last - first) / moved;
        secant = where(secant > wide(flattest), wide(flattest), secant);
        /* Where nothing moved, rounding is all that differs. */
        l4 far = (moved > wide(1e-9)) | (moved < wide(-1e-9));
        w4 log_x = between(root - last / where(far, secant, slope), low, high);
        w4 found = own / wexp(log_x);
        put_doubles(out + row, found, width);
    }
}

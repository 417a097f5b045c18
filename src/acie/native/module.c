/* The Python module: functions of addresses and sizes, which let other threads of Python run.
 *
 * What an argument must be is checked by the Python functions of acie.native, which know tensors. */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

typedef unsigned long long address;

/* Those of the latest generation that this processor belongs to. */
static const struct kernels *best = &kernels_any;

#define WITHOUT_LOCK(call) \
    do {                   \
        Py_BEGIN_ALLOW_THREADS call; \
        Py_END_ALLOW_THREADS \
        Py_RETURN_NONE;    \
    } while (0)

static PyObject *light(PyObject *self, PyObject *arguments)
{
    long long rows, pixels, start, split, templates, ramp_size;
    address coefficients, strips, log_curve, log_wave, a_v, slope, fill, ramp, out;
    if (!PyArg_ParseTuple(arguments, "LLLLLKKKKKKKLKK", &rows, &pixels, &start, &split, &templates, &coefficients,
                          &strips, &log_curve, &log_wave, &a_v, &slope, &fill, &ramp_size, &ramp, &out))
        return NULL;
    const struct screen screen = {(const float *)log_curve, (const float *)log_wave, (const float *)a_v,
                                  (const float *)slope, (const float *)fill};
    WITHOUT_LOCK(best->light(rows, pixels, start, split, templates, (const float *)coefficients,
                             (const float *)strips, &screen, ramp_size, (const float *)ramp, (float *)out));
}

static PyObject *spectra(PyObject *self, PyObject *arguments)
{
    long long rows, window, start, split, templates, ramp_size, half, pixels, taps;
    address coefficients, strips, log_curve, log_wave, a_v, slope, fill, ramp, filters, index, weights, out;
    if (!PyArg_ParseTuple(arguments, "LLLLLKKKKKKKLKLKLLKKK", &rows, &window, &start, &split, &templates,
                          &coefficients, &strips, &log_curve, &log_wave, &a_v, &slope, &fill, &ramp_size, &ramp,
                          &half, &filters, &pixels, &taps, &index, &weights, &out))
        return NULL;
    float *scratch = malloc(sizeof(float) * (LIT_TOGETHER * window + 8 * (2 * window + 4 * half + 1 + taps)));
    if (scratch == NULL)
        return PyErr_NoMemory();
    const struct screen screen = {(const float *)log_curve, (const float *)log_wave, (const float *)a_v,
                                  (const float *)slope, (const float *)fill};
    Py_BEGIN_ALLOW_THREADS;
    best->spectra(rows, window, start, split, templates, (const float *)coefficients, (const float *)strips,
                  &screen, ramp_size, (const float *)ramp, half, (const float *)filters, pixels, taps,
                  (const int64_t *)index, (const float *)weights, (float *)out, scratch);
    Py_END_ALLOW_THREADS;
    free(scratch);
    Py_RETURN_NONE;
}

static PyObject *turn(PyObject *self, PyObject *arguments)
{
    long long rows, frequencies;
    address phase, variance, spectrum;
    double unit;
    if (!PyArg_ParseTuple(arguments, "LLKKdK", &rows, &frequencies, &phase, &variance, &unit, &spectrum))
        return NULL;
    WITHOUT_LOCK(best->turn(rows, frequencies, (const float *)phase, (const float *)variance, unit,
                           (float *)spectrum));
}

static PyObject *sample(PyObject *self, PyObject *arguments)
{
    long long rows, window, pixels, taps;
    address coefficients, index, weights, out;
    if (!PyArg_ParseTuple(arguments, "LLLLKKKK", &rows, &window, &pixels, &taps, &coefficients, &index, &weights,
                          &out))
        return NULL;
    WITHOUT_LOCK(best->sample(rows, window, pixels, taps, (const float *)coefficients, (const int64_t *)index,
                              (const float *)weights, (float *)out));
}

static PyObject *mix(PyObject *self, PyObject *arguments)
{
    long long count, window, pixels, taps;
    address coefficients, chosen, index, weights, others, share, out;
    if (!PyArg_ParseTuple(arguments, "LLLLKKKKKKK", &count, &window, &pixels, &taps, &coefficients, &chosen,
                          &index, &weights, &others, &share, &out))
        return NULL;
    WITHOUT_LOCK(best->mix(count, window, pixels, taps, (const float *)coefficients, (const int64_t *)chosen,
                           (const int64_t *)index, (const float *)weights, (const float *)others,
                           (const float *)share, (float *)out));
}

static PyObject *widen(PyObject *self, PyObject *arguments)
{
    long long pixels, half, frequencies, taps;
    address plain, variance, exponent, fit, out;
    if (!PyArg_ParseTuple(arguments, "LLLLKKKKK", &pixels, &half, &frequencies, &taps, &plain, &variance,
                          &exponent, &fit, &out))
        return NULL;
    WITHOUT_LOCK(best->widen(pixels, half, frequencies, taps, (const float *)plain, (const float *)variance,
                             (const float *)exponent, (const float *)fit, (float *)out));
}

static PyObject *difference(PyObject *self, PyObject *arguments)
{
    long long rows, pixels, step;
    address place, found, other, out;
    if (!PyArg_ParseTuple(arguments, "LLKKKLK", &rows, &pixels, &place, &found, &other, &step, &out))
        return NULL;
    WITHOUT_LOCK(best->difference(rows, pixels, (const int64_t *)place, (const float *)found,
                                  (const float *)other, step, (float *)out));
}

static PyObject *sums(PyObject *self, PyObject *arguments)
{
    long long rows, pixels;
    address model, flux, ivar, relative, polynomials, out;
    if (!PyArg_ParseTuple(arguments, "LLKKKKKK", &rows, &pixels, &model, &flux, &ivar, &relative,
                          &polynomials, &out))
        return NULL;
    WITHOUT_LOCK(best->sums(rows, pixels, (const float *)model, (const float *)flux, (const float *)ivar,
                           (const float *)relative, (const float *)polynomials, (double *)out));
}

static PyObject *embed(PyObject *self, PyObject *arguments)
{
    long long rows, in, width, blocks, out;
    double limit;
    address mean, scale, weights, context, buffer, found;
    if (!PyArg_ParseTuple(arguments, "LLLLLdKKKKKK", &rows, &in, &width, &blocks, &out, &limit, &mean, &scale,
                          &weights, &context, &buffer, &found))
        return NULL;
    WITHOUT_LOCK(best->embed(rows, in, width, blocks, out, limit, (const float *)mean, (const float *)scale,
                             (const float *)weights, (const float *)context, (float *)buffer,
                             (float *)found));
}

static PyObject *draws(PyObject *self, PyObject *arguments)
{
    long long samples, batch;
    double rate;
    address sizes, order, of_context, of_draws, scaling, context, affine, noise, buffer, x, log_det;
    if (!PyArg_ParseTuple(arguments, "LLKKdKKKKKKKKK", &samples, &batch, &sizes, &order, &rate, &of_context,
                          &of_draws, &scaling, &context, &affine, &noise, &buffer, &x, &log_det))
        return NULL;
    WITHOUT_LOCK(best->draws(samples, batch, (const int64_t *)sizes, (const int64_t *)order, rate,
                             (const float *)of_context, (const float *)of_draws, (const float *)scaling,
                             (const float *)context, (const float *)affine, (const float *)noise,
                             (float *)buffer, (float *)x, (float *)log_det));
}

static PyObject *bins(PyObject *self, PyObject *arguments)
{
    long long draws, pixels, terms;
    address place, model, flux, ivar, relative, basis, coefficients, out, mean;
    if (!PyArg_ParseTuple(arguments, "LLKKKKKLKKKK", &draws, &pixels, &place, &model, &flux, &ivar, &relative,
                          &terms, &basis, &coefficients, &out, &mean))
        return NULL;
    WITHOUT_LOCK(best->bins(draws, pixels, (const int64_t *)place, (const float *)model, (const float *)flux,
                            (const float *)ivar, (const float *)relative, terms, (const float *)basis,
                            (const float *)coefficients, (float *)out, (float *)mean));
}

static PyObject *squares(PyObject *self, PyObject *arguments)
{
    long long draws, count, levels;
    address factors, sums, out;
    double variance, common;
    if (!PyArg_ParseTuple(arguments, "LLLKddKK", &draws, &count, &levels, &factors, &variance, &common, &sums,
                          &out))
        return NULL;
    WITHOUT_LOCK(best->squares(draws, count, levels, (const int64_t *)factors, variance, common, (float *)sums,
                               (double *)out));
}

static PyObject *deviates(PyObject *self, PyObject *arguments)
{
    long long pixels, terms;
    address model, flux, ivar, relative, basis, coefficients, single, binned;
    if (!PyArg_ParseTuple(arguments, "LKKKKLKKKK", &pixels, &model, &flux, &ivar, &relative, &terms, &basis,
                          &coefficients, &single, &binned))
        return NULL;
    WITHOUT_LOCK(best->deviates(pixels, (const float *)model, (const float *)flux, (const float *)ivar,
                                (const float *)relative, terms, (const float *)basis,
                                (const float *)coefficients, (float *)single, (float *)binned));
}

static PyObject *medians(PyObject *self, PyObject *arguments)
{
    long long rows, size;
    address values, keys, out;
    if (!PyArg_ParseTuple(arguments, "LLKKK", &rows, &size, &values, &keys, &out))
        return NULL;
    WITHOUT_LOCK(best->medians(rows, size, (const float *)values, (int32_t *)keys, (float *)out));
}

static PyObject *share(PyObject *self, PyObject *arguments)
{
    long long pixels, rest;
    address position, weights, values, out;
    if (!PyArg_ParseTuple(arguments, "LLKKKK", &pixels, &rest, &position, &weights, &values, &out))
        return NULL;
    WITHOUT_LOCK(best->share(pixels, rest, (const double *)position, (const float *)weights,
                             (const float *)values, (float *)out));
}

static PyObject *gram(PyObject *self, PyObject *arguments)
{
    long long rest, components, width;
    address basis, shared, buffer, out;
    if (!PyArg_ParseTuple(arguments, "LLLKKKK", &rest, &components, &width, &basis, &shared, &buffer, &out))
        return NULL;
    WITHOUT_LOCK(best->gram(rest, components, width, (const float *)basis, (const float *)shared,
                            (float *)buffer, (float *)out));
}

static PyObject *pull(PyObject *self, PyObject *arguments)
{
    long long pixels, rest, width;
    address basis, position, weights, values, mean, pulled, misfit;
    if (!PyArg_ParseTuple(arguments, "LLLKKKKKKK", &pixels, &rest, &width, &basis, &position, &weights, &values,
                          &mean, &pulled, &misfit))
        return NULL;
    WITHOUT_LOCK(best->pull(pixels, rest, width, (const float *)basis, (const double *)position,
                            (const float *)weights, (const float *)values, (const float *)mean,
                            (float *)pulled, (double *)misfit));
}

static PyObject *centred(PyObject *self, PyObject *arguments)
{
    long long draws, pixels;
    address place, spectra, share, ivar, relative, centre, root, buffer, products;
    if (!PyArg_ParseTuple(arguments, "LLKKKKKKKKK", &draws, &pixels, &place, &spectra, &share, &ivar, &relative,
                          &centre, &root, &buffer, &products))
        return NULL;
    WITHOUT_LOCK(best->centred(draws, pixels, (const int64_t *)place, (const float *)spectra,
                               (const float *)share, (const float *)ivar, (const float *)relative,
                               (float *)centre, (float *)root, (double *)buffer, (double *)products));
}

static PyObject *combined(PyObject *self, PyObject *arguments)
{
    long long draws, rank, pixels;
    address place, spectra, centre, root, coefficients, buffer, white, basis, leverage;
    if (!PyArg_ParseTuple(arguments, "LLLKKKKKKKKK", &draws, &rank, &pixels, &place, &spectra, &centre, &root,
                          &coefficients, &buffer, &white, &basis, &leverage))
        return NULL;
    WITHOUT_LOCK(best->combined(draws, rank, pixels, (const int64_t *)place, (const float *)spectra,
                                (const float *)centre, (const float *)root, (const double *)coefficients,
                                (double *)buffer, (float *)white, (float *)basis, (double *)leverage));
}

static PyObject *strata(PyObject *self, PyObject *arguments)
{
    long long pixels, count;
    double even;
    address leverage, root, chosen, weights;
    if (!PyArg_ParseTuple(arguments, "LLdKKKK", &pixels, &count, &even, &leverage, &root, &chosen, &weights))
        return NULL;
    WITHOUT_LOCK(best->strata(pixels, count, even, (const double *)leverage, (const float *)root,
                              (int64_t *)chosen, (float *)weights));
}

static PyObject *expanded(PyObject *self, PyObject *arguments)
{
    long long rank, pixels, terms;
    address weight, centre, residual, basis, polynomials, flat, constant, linear, square;
    if (!PyArg_ParseTuple(arguments, "LLLKKKKKKKKK", &rank, &pixels, &terms, &weight, &centre, &residual, &basis,
                          &polynomials, &flat, &constant, &linear, &square))
        return NULL;
    WITHOUT_LOCK(best->expanded(rank, pixels, terms, (const float *)weight, (const float *)centre,
                                (const float *)residual, (const float *)basis, (const float *)polynomials,
                                (const float *)flat, (double *)constant, (double *)linear, (float *)square));
}

static PyObject *table(PyObject *self, PyObject *arguments)
{
    long long pixels, half, step, templates;
    address even, odd, fade, middle, basis, buffer, out;
    if (!PyArg_ParseTuple(arguments, "LLLLKKKKKKK", &pixels, &half, &step, &templates, &even, &odd, &fade,
                          &middle, &basis, &buffer, &out))
        return NULL;
    WITHOUT_LOCK(best->table(pixels, half, step, templates, (const float *)even, (const float *)odd,
                             (const float *)fade, (const int64_t *)middle, (const float *)basis,
                             (float *)buffer, (float *)out));
}

static PyObject *surviving(PyObject *self, PyObject *arguments)
{
    long long rows, count;
    address age, tau, edges, steps, out;
    if (!PyArg_ParseTuple(arguments, "LKKLKKK", &rows, &age, &tau, &count, &edges, &steps, &out))
        return NULL;
    WITHOUT_LOCK(best->surviving(rows, (const double *)age, (const double *)tau, count, (const double *)edges,
                                (const double *)steps, (double *)out));
}

static PyObject *solve_tau(PyObject *self, PyObject *arguments)
{
    long long rows, ages, nodes, count;
    address age, specific, grid, table, edges, steps, out;
    if (!PyArg_ParseTuple(arguments, "LKKKLLKLKKK", &rows, &age, &specific, &grid, &ages, &nodes, &table,
                          &count, &edges, &steps, &out))
        return NULL;
    WITHOUT_LOCK(best->solve_tau(rows, (const double *)age, (const double *)specific, (const double *)grid, ages,
                                nodes, (const double *)table, count, (const double *)edges,
                                (const double *)steps, (double *)out));
}

static PyObject *coefficients(PyObject *self, PyObject *arguments)
{
    long long rows, bins, young_bins, metals, ions;
    int per_survivor;
    address state[6], edges, survival, share, metallicity, log_u, tables[3], old, young;
    long long sizes[3];
    if (!PyArg_ParseTuple(arguments, "L(KKKKKK)pLLKKKLKLK(LLL)(KKK)KK", &rows, &state[0], &state[1], &state[2],
                          &state[3], &state[4], &state[5], &per_survivor, &bins, &young_bins, &edges,
                          &survival, &share, &metals, &metallicity, &ions, &log_u, &sizes[0], &sizes[1],
                          &sizes[2], &tables[0], &tables[1], &tables[2], &old, &young))
        return NULL;
    const double *states[6];
    const float *of_kinds[3];
    int64_t columns[3];
    for (int k = 0; k < 6; k++)
        states[k] = (const double *)state[k];
    for (int k = 0; k < 3; k++)
        of_kinds[k] = (const float *)tables[k], columns[k] = sizes[k];
    WITHOUT_LOCK(best->coefficients(rows, states, per_survivor, bins, young_bins, (const double *)edges,
                                   (const double *)survival, (const float *)share, metals,
                                   (const float *)metallicity, ions, (const float *)log_u, columns, of_kinds,
                                   (float *)old, (float *)young));
}

static PyObject *normal_density(PyObject *self, PyObject *arguments)
{
    long long rows, step[5];
    address part[5], out;
    int logarithmic, bounded;
    if (!PyArg_ParseTuple(arguments, "L(KKKKK)(LLLLL)ppK", &rows, &part[0], &part[1], &part[2], &part[3],
                          &part[4], &step[0], &step[1], &step[2], &step[3], &step[4], &logarithmic, &bounded,
                          &out))
        return NULL;
    const double *parts[5];
    int64_t steps[5];
    for (int k = 0; k < 5; k++)
        parts[k] = (const double *)part[k], steps[k] = step[k];
    WITHOUT_LOCK(best->normal_density(rows, parts, steps, logarithmic, bounded, (double *)out));
}

static PyObject *from_real(PyObject *self, PyObject *arguments)
{
    long long rows, stride;
    address real, bounds, value, derivative;
    int logarithmic, bounded;
    if (!PyArg_ParseTuple(arguments, "LKKLppKK", &rows, &real, &bounds, &stride, &logarithmic, &bounded, &value,
                          &derivative))
        return NULL;
    WITHOUT_LOCK(best->from_real(rows, (const double *)real, (const double *)bounds, stride, logarithmic,
                                bounded, (double *)value, (double *)derivative));
}

static PyObject *at_pixels(PyObject *self, PyObject *arguments)
{
    long long batch, samples, pixels, templates, split;
    address old, young, state[3], range, nodes, table, log_curve, log_wave, buffer, out;
    if (!PyArg_ParseTuple(arguments, "LLLLLKK(KKK)KKKKKKK", &batch, &samples, &pixels, &templates, &split, &old,
                          &young, &state[0], &state[1], &state[2], &range, &nodes, &table, &log_curve, &log_wave,
                          &buffer, &out))
        return NULL;
    const double *states[3];
    for (int k = 0; k < 3; k++)
        states[k] = (const double *)state[k];
    WITHOUT_LOCK(best->at_pixels(batch, samples, pixels, templates, split, (const float *)old,
                                (const float *)young, states, (const double *)range, (const double *)nodes,
                                (const float *)table, (const float *)log_curve, (const float *)log_wave,
                                (float *)buffer, (float *)out));
}

static PyObject *reduced(PyObject *self, PyObject *arguments)
{
    long long batch, samples, rank, pixels;
    address constant, linear, square, relative, growth, fit, numbers, coordinates, flux, out;
    double dof, precision;
    if (!PyArg_ParseTuple(arguments, "LLLL(KKKKKKK)ddKKK", &batch, &samples, &rank, &pixels, &constant, &linear,
                          &square, &relative, &growth, &fit, &numbers, &dof, &precision, &coordinates, &flux,
                          &out))
        return NULL;
    const struct expansion expansion = {(const double *)constant, (const float *)linear, (const float *)square,
                                        (const float *)relative, (const float *)growth, (const float *)fit,
                                        (const double *)numbers, dof, precision};
    WITHOUT_LOCK(best->reduced(batch, samples, rank, pixels, &expansion, (const float *)coordinates,
                              (const float *)flux, (double *)out));
}

#include "module_draws.c"

/* Takes the kernels of a generation, "any", "v3" or "v4"; whether this processor has it. */
static PyObject *choose(PyObject *self, PyObject *arguments)
{
    const char *name;
    if (!PyArg_ParseTuple(arguments, "s", &name))
        return NULL;
    const struct kernels *found = NULL;
    if (strcmp(name, "any") == 0)
        found = &kernels_any;
#ifdef GENERATIONS
    else if (strcmp(name, "v3") == 0 && __builtin_cpu_supports("x86-64-v3"))
        found = &kernels_v3;
    else if (strcmp(name, "v4") == 0 && __builtin_cpu_supports("x86-64-v4"))
        found = &kernels_v4;
#endif
    if (found == NULL)
        Py_RETURN_FALSE;
    best = found;
    Py_RETURN_TRUE;
}

static PyMethodDef methods[] = {
    {"choose", choose, METH_VARARGS, NULL},
    {"light", light, METH_VARARGS, NULL},
    {"spectra", spectra, METH_VARARGS, NULL},
    {"turn", turn, METH_VARARGS, NULL},
    {"sample", sample, METH_VARARGS, NULL},
    {"mix", mix, METH_VARARGS, NULL},
    {"widen", widen, METH_VARARGS, NULL},
    {"difference", difference, METH_VARARGS, NULL},
    {"sums", sums, METH_VARARGS, NULL},
    {"embed", embed, METH_VARARGS, NULL},
    {"draws", draws, METH_VARARGS, NULL},
    {"bins", bins, METH_VARARGS, NULL},
    {"squares", squares, METH_VARARGS, NULL},
    {"deviates", deviates, METH_VARARGS, NULL},
    {"medians", medians, METH_VARARGS, NULL},
    {"share", share, METH_VARARGS, NULL},
    {"gram", gram, METH_VARARGS, NULL},
    {"pull", pull, METH_VARARGS, NULL},
    {"centred", centred, METH_VARARGS, NULL},
    {"combined", combined, METH_VARARGS, NULL},
    {"strata", strata, METH_VARARGS, NULL},
    {"expanded", expanded, METH_VARARGS, NULL},
    {"table", table, METH_VARARGS, NULL},
    {"surviving", surviving, METH_VARARGS, NULL},
    {"solve_tau", solve_tau, METH_VARARGS, NULL},
    {"coefficients", coefficients, METH_VARARGS, NULL},
    {"normal_density", normal_density, METH_VARARGS, NULL},
    {"from_real", from_real, METH_VARARGS, NULL},
    {"temper", temper, METH_VARARGS, NULL},
    {"to_weights", to_weights, METH_VARARGS, NULL},
    {"resample", resample, METH_VARARGS, NULL},
    {"over_mixture", over_mixture, METH_VARARGS, NULL},
    {"moments", moments, METH_VARARGS, NULL},
    {"scatter", scatter, METH_VARARGS, NULL},
    {"shrink", shrink, METH_VARARGS, NULL},
    {"cholesky", cholesky, METH_VARARGS, NULL},
    {"student_density", student_density, METH_VARARGS, NULL},
    {"student_draws", student_draws, METH_VARARGS, NULL},
    {"regression", regression, METH_VARARGS, NULL},
    {"at_pixels", at_pixels, METH_VARARGS, NULL},
    {"reduced", reduced, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void)
{
#ifdef GENERATIONS
    if (__builtin_cpu_supports("x86-64-v4"))
        best = &kernels_v4;
    else if (__builtin_cpu_supports("x86-64-v3"))
        best = &kernels_v3;
#endif
    return PyModule_Create(&definition);
}

/* The Python module: functions of addresses and sizes, which let other threads of Python run.
 *
 * What an argument must be is checked by the Python functions of acie.native, which know tensors. */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

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
    long long rows, pixels, start, split, templates, blocks, ramp_size;
    address coefficients, strips, points, fill, ramp, out;
    if (!PyArg_ParseTuple(arguments, "LLLLLKKLKKLKK", &rows, &pixels, &start, &split, &templates,
                          &coefficients, &strips, &blocks, &points, &fill, &ramp_size, &ramp, &out))
        return NULL;
    WITHOUT_LOCK(best->light(rows, pixels, start, split, templates, (const float *)coefficients,
                             (const float *)strips, blocks, (const float *)points, (const float *)fill,
                             ramp_size, (const float *)ramp, (float *)out));
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
    address coefficients, index, weights, buffer, out;
    if (!PyArg_ParseTuple(arguments, "LLLLKKKKK", &rows, &window, &pixels, &taps, &coefficients, &index,
                          &weights, &buffer, &out))
        return NULL;
    WITHOUT_LOCK(best->sample(rows, window, pixels, taps, (const float *)coefficients, (const int64_t *)index,
                             (const float *)weights, (float *)buffer, (float *)out));
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

static PyObject *mix_nodes(PyObject *self, PyObject *arguments)
{
    long long rows, nodes, size;
    address weights, values, out;
    if (!PyArg_ParseTuple(arguments, "LLLKKK", &rows, &nodes, &size, &weights, &values, &out))
        return NULL;
    WITHOUT_LOCK(best->mix_nodes(rows, nodes, size, (const float *)weights, (const float *)values, (float *)out));
}

static PyMethodDef methods[] = {
    {"light", light, METH_VARARGS, NULL},
    {"turn", turn, METH_VARARGS, NULL},
    {"sample", sample, METH_VARARGS, NULL},
    {"sums", sums, METH_VARARGS, NULL},
    {"surviving", surviving, METH_VARARGS, NULL},
    {"solve_tau", solve_tau, METH_VARARGS, NULL},
    {"coefficients", coefficients, METH_VARARGS, NULL},
    {"normal_density", normal_density, METH_VARARGS, NULL},
    {"from_real", from_real, METH_VARARGS, NULL},
    {"mix_nodes", mix_nodes, METH_VARARGS, NULL},
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

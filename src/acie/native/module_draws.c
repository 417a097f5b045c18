/* Functions of the Python module for the weights and laws of draws.
 *
 * Included by module.c. */

/* What the kernels of weights.c ask for. */
static double *room_for(long long draws) { return malloc(sizeof(double) * (draws + 3)); }

static PyObject *temper(PyObject *self, PyObject *arguments)
{
    long long draws, batch;
    double target;
    address log_weights, weights, sizes;
    if (!PyArg_ParseTuple(arguments, "LLdKKK", &draws, &batch, &target, &log_weights, &weights, &sizes))
        return NULL;
    double *room = room_for(draws);
    if (room == NULL)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS;
    best->temper(draws, batch, target, (const double *)log_weights, room, (double *)weights, (double *)sizes);
    Py_END_ALLOW_THREADS;
    free(room);
    Py_RETURN_NONE;
}

static PyObject *to_weights(PyObject *self, PyObject *arguments)
{
    long long draws, batch;
    address log_weights, weights, sizes;
    if (!PyArg_ParseTuple(arguments, "LLKKK", &draws, &batch, &log_weights, &weights, &sizes))
        return NULL;
    double *room = room_for(draws);
    if (room == NULL)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS;
    best->to_weights(draws, batch, (const double *)log_weights, room, (double *)weights, (double *)sizes);
    Py_END_ALLOW_THREADS;
    free(room);
    Py_RETURN_NONE;
}

static PyObject *resample(PyObject *self, PyObject *arguments)
{
    long long draws, batch, count;
    address log_weights, offset, index;
    if (!PyArg_ParseTuple(arguments, "LLLKKK", &draws, &batch, &count, &log_weights, &offset, &index))
        return NULL;
    double *room = room_for(draws);
    if (room == NULL)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS;
    best->resample(draws, batch, count, (const double *)log_weights, (const double *)offset, room,
                   (int64_t *)index);
    Py_END_ALLOW_THREADS;
    free(room);
    Py_RETURN_NONE;
}

static PyObject *over_mixture(PyObject *self, PyObject *arguments)
{
    long long parts, count;
    address shares, densities, target, out;
    if (!PyArg_ParseTuple(arguments, "LLKKKK", &parts, &count, &shares, &densities, &target, &out))
        return NULL;
    WITHOUT_LOCK(best->over_mixture(parts, count, (const double *)shares, (const double *)densities,
                                    (const double *)target, (double *)out));
}

static PyObject *moments(PyObject *self, PyObject *arguments)
{
    long long draws, batch, components, dim;
    address x, weights, mean, covariance;
    if (!PyArg_ParseTuple(arguments, "LLLLKKKK", &draws, &batch, &components, &dim, &x, &weights, &mean,
                          &covariance))
        return NULL;
    WITHOUT_LOCK(best->moments(draws, batch, components, dim, (const double *)x, (const double *)weights,
                               (double *)mean, (double *)covariance));
}

static PyObject *scatter(PyObject *self, PyObject *arguments)
{
    long long draws, batch, dim;
    address x, covariance;
    if (!PyArg_ParseTuple(arguments, "LLLKK", &draws, &batch, &dim, &x, &covariance))
        return NULL;
    WITHOUT_LOCK(best->scatter(draws, batch, dim, (const double *)x, (double *)covariance));
}

static PyObject *shrink(PyObject *self, PyObject *arguments)
{
    long long batch, components, dim;
    address covariance, reference, pooled, sizes, out;
    if (!PyArg_ParseTuple(arguments, "LLLKKKKK", &batch, &components, &dim, &covariance, &reference, &pooled,
                          &sizes, &out))
        return NULL;
    WITHOUT_LOCK(best->shrink(batch, components, dim, (const double *)covariance, (const double *)reference,
                              (const double *)pooled, (const double *)sizes, (double *)out));
}

static PyObject *cholesky(PyObject *self, PyObject *arguments)
{
    long long count, dim;
    address covariance, root;
    if (!PyArg_ParseTuple(arguments, "LLKK", &count, &dim, &covariance, &root))
        return NULL;
    WITHOUT_LOCK(best->cholesky(count, dim, (const double *)covariance, (double *)root));
}

static PyObject *student_density(PyObject *self, PyObject *arguments)
{
    long long draws, batch, components, dim;
    double dof, constant;
    address x, mean, root, log_fraction, terms, out;
    if (!PyArg_ParseTuple(arguments, "LLLLddKKKKKK", &draws, &batch, &components, &dim, &dof, &constant, &x,
                          &mean, &root, &log_fraction, &terms, &out))
        return NULL;
    WITHOUT_LOCK(best->student_density(draws, batch, components, dim, dof, constant, (const double *)x,
                                       (const double *)mean, (const double *)root, (const double *)log_fraction,
                                       (double *)terms, (double *)out));
}

static PyObject *student_draws(PyObject *self, PyObject *arguments)
{
    long long draws, batch, components, dim, dof;
    address offset, normal, stretching, log_fraction, mean, root, out;
    if (!PyArg_ParseTuple(arguments, "LLLLLKKKKKKK", &draws, &batch, &components, &dim, &dof, &offset, &normal,
                          &stretching, &log_fraction, &mean, &root, &out))
        return NULL;
    WITHOUT_LOCK(best->student_draws(draws, batch, components, dim, dof, (const double *)offset,
                                     (const double *)normal, (const double *)stretching,
                                     (const double *)log_fraction, (const double *)mean, (const double *)root,
                                     (double *)out));
}

static PyObject *regression(PyObject *self, PyObject *arguments)
{
    long long draws, batch, dim, width;
    address weights, x, values, centre, scale, middle, slopes;
    if (!PyArg_ParseTuple(arguments, "LLLLKKKKKKK", &draws, &batch, &dim, &width, &weights, &x, &values,
                          &centre, &scale, &middle, &slopes))
        return NULL;
    WITHOUT_LOCK(best->regression(draws, batch, dim, width, (const double *)weights, (const double *)x,
                                  (const double *)values, (double *)centre, (double *)scale, (double *)middle,
                                  (double *)slopes));
}

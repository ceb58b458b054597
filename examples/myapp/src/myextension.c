/* A small real C extension: the 64-bit FNV-1a hash of a bytes-like object. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

static uint64_t fnv1a(const unsigned char *bytes, Py_ssize_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (Py_ssize_t i = 0; i < length; i++) {
        hash ^= bytes[i];
        hash *= UINT64_C(0x100000001b3);
    }
    return hash;
}

static PyObject *myextension_fnv1a(PyObject *self, PyObject *argument)
{
    Py_buffer view;
    (void)self;
    if (PyObject_GetBuffer(argument, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    uint64_t hash = fnv1a(view.buf, view.len);
    PyBuffer_Release(&view);
    return PyLong_FromUnsignedLongLong(hash);
}

static PyMethodDef methods[] = {
    {"fnv1a", myextension_fnv1a, METH_O, "fnv1a(data, /)\n--\n\nThe 64-bit FNV-1a hash of a bytes-like object."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "myextension", "A C extension of the app's own.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_myextension(void)
{
    return PyModuleDef_Init(&definition);
}

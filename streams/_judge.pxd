from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    NEW = 0
    DUPLICATE = 1
    CONFLICT = 2

cdef int admit(PyObject* recent, uint64_t id_hash, uint32_t content) except -1

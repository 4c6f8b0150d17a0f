from libc.stdint cimport int64_t, uint64_t

cdef enum:
    MAX_IDS = 8


cdef class ActionRow:
    cdef bytes _block
    cdef Py_ssize_t _start, _stop
    cdef readonly str id
    cdef readonly str source
    cdef readonly str agent_id
    cdef readonly str action
    cdef readonly object object
    cdef readonly object decision_id
    cdef readonly int64_t time_ms
    cdef readonly uint64_t id_hash
    cdef readonly uint64_t content_hash
    cdef readonly int64_t records
    cdef readonly bint is_external
    cdef readonly int ids
    cdef uint64_t _digests[MAX_IDS]
    cdef object _event


cpdef ActionRow row_of(event)

from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum:
    MAX_IDS = 8
    MAX_CELLS = 8
    LEFT = -1


cdef struct Cell:
    uint64_t field
    int64_t form, value, step
    bint is_date            # then ``value`` is a day since 1970



cdef inline int64_t days_code(int64_t count) noexcept nogil:
    """The size of a number of days, in powers of two, and its sign."""
    cdef int64_t left = -count if count < 0 else count, size = 0
    while left:
        size += 1
        left >>= 1
    return (32 if count < 0 else 0) + size


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
    cdef readonly uint64_t owner
    cdef readonly bint has_owner
    cdef readonly int cells     # LEFT: Python has to look at the changes
    cdef uint64_t _digests[MAX_IDS]
    cdef Cell _cells[MAX_CELLS]
    cdef object _event


cdef class DealRow:
    cdef bytes _block
    cdef Py_ssize_t _start, _stop
    cdef readonly str id
    cdef readonly str source
    cdef readonly str time
    cdef readonly object data           # a CrmChange or CrmActivity
    cdef readonly bint is_activity
    cdef readonly bint is_by_agent      # a change that an agent made
    cdef readonly int64_t time_ms
    cdef readonly uint64_t id_hash
    cdef readonly uint64_t content_hash
    cdef object _event


cpdef ActionRow row_of(event)
cdef int usual_ms(const uint8_t* text, Py_ssize_t size, int64_t* at_ms) noexcept nogil

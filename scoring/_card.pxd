from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t

cdef enum:
    AGES = 11
    COUNTS = 3
    FACTS = 9
    TIMED = 14          # ages and counts: what time moves
    FEATURES = 23
    MOST_CUTS = 34
    MOST_TOUCHES = 16
    MOST_PEOPLE = 8

# The places of scoring.state.DealState's fields.
cdef struct StateAt:
    Py_ssize_t status, opened_ms, name, account, segment, owner_id, manager_id, stage, currency, close_date
    Py_ssize_t amount_minor, first_minor, peak_minor, origins, has_buyer, touches, longest_gap_ms, people_ids
    Py_ssize_t people_ms, people, meetings, cancelled_ms, pushes, pushed_days, regressions, competitor, owner_points
    Py_ssize_t segment_points, rates_day, is_proven, closed_ms, counted_offset, counted_as, told_manager, points
    Py_ssize_t fact_points, has_new_facts, bins, due_ms, next_ms, judged_ms, is_changed, model

cdef StateAt STATE

cdef class PlanTables:
    cdef readonly object plan
    cdef dict scores
    cdef int64_t cuts[AGES][MOST_CUTS]
    cdef int sizes[AGES]
    cdef int64_t count_cuts[COUNTS][MOST_CUTS]
    cdef int count_sizes[COUNTS]
    cdef double fact_cuts[FACTS][MOST_CUTS]
    cdef int fact_sizes[FACTS]
    cdef int64_t points[FEATURES][MOST_CUTS]
    cdef bint matters[FEATURES][MOST_CUTS]
    cdef int64_t fresh[AGES]
    cdef double place
    cdef bint is_known      # the process has such a stage
    cdef bint ends          # deals in it are won or lost

cdef class Figures:
    cdef readonly bint is_ahead     # of the state, which is told by ``settle``
    cdef bint is_written            # the state has the same figures
    cdef bint is_touched            # contacts came since the state was read
    cdef bint has_bins
    cdef int touch_count, people_count
    cdef int64_t longest_gap_ms, points, fact_points, next_ms, judged_ms
    cdef uint8_t bins[FEATURES]
    cdef int64_t origins[AGES]
    cdef int64_t due_ms[TIMED]
    cdef int64_t people_ms[MOST_PEOPLE]
    cdef Py_hash_t people[MOST_PEOPLE]
    cdef uint8_t standing[MOST_PEOPLE]
    cdef int64_t touches[MOST_TOUCHES]
    cdef int take_up(self, PyObject* state) except -1
    cdef int put_down(self, PyObject* state) except -1
    cdef int keep(self, PyObject* state) except -1
    cdef int keep_origins(self, PyObject* state) except -1
    cdef int read_origins(self, PyObject* state) except -1

cdef class Card:
    cdef object card
    cdef public object explainer
    cdef Figures scratch
    cdef dict by_stage
    cdef dict by_plan
    cdef PlanTables tables(self, PyObject* state)
    cdef PlanTables tables_of(self, object stage)
    cdef int judge_all(self, PlanTables tables, PyObject* state, Figures it, int64_t now_ms) except -1
    cdef bint refresh_state(self, PyObject* state, Figures it, int64_t now_ms, int64_t fresh) except -1
    cdef object scores_of(self, PyObject* state, Figures it)
    cdef list reasons_of(self, PyObject* state, Figures it, int64_t now_ms, object facts)
    cdef list facts_of(self, PyObject* state, Figures it)
    cdef object rows(self, PyObject* state)
    cdef object made(
        self, PyObject* state, Figures it, int at, int64_t bin_, int64_t figure, PyObject* known, object key
    )

cdef int64_t take_activity(PyObject* state, Figures it, PyObject* data, object event_time, int64_t at_ms) except? -9
cdef int take_change(
    Card card, PyObject* state, Figures it, PyObject* data, object event_time, int64_t at_ms, object terms
) except -1
cdef object about_of(PyObject* data)
cdef object stage_moved_to(PyObject* data)
cdef PyObject* best_of(PyObject* people, const uint8_t* standing, const int64_t* times, int count) except? NULL

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A model of deals at work, compiled: what ``scoring.scorecard``, ``scoring.reasons`` and, for plain contacts,
``scoring.features.apply_activity`` do, on the same ``DealState``.

Sums are of whole numbers and figures are compared as Python compares them, so both ways give the same states and the
same scores, bit for bit; the tests compare them. Whatever is rare is left to the Python functions.
"""

cimport cython
from cpython.dict cimport PyDict_GetItem
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.object cimport PyObject, PyObject_Hash
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp, memmove

from events._rows cimport usual_ms
from events._slots cimport is_plain, like, offset_of, peek, put

from msgspec import UNSET

from events.times import DAY_MS
from events.types import CrmActivity, CrmChange, Participant
from scoring import features, scorecard
from scoring.features import (
    _PEOPLE_WINDOW_MS, BACKLOG_MS, COUNTED, PEOPLE, _meet, apply_activity, effect_ms
)
from scoring.people import ANYBODY as _ANYBODY
from scoring.people import EXECUTIVE as _EXECUTIVE
from scoring.people import STANDING
from scoring.people import best_person as _best_person
from scoring.plan import NEVER_MS
from scoring.scorecard import fact_values
from scoring.state import FAR_FUTURE, FAR_PAST, MAX_COUNT, MAX_PEOPLE, MAX_TOUCHES, Age, DealState, Person, Status
from scoring.tables import AGES as _AGES
from scoring.tables import COUNTS as _COUNTS
from scoring.tables import FACTS as _FACTS


cdef extern from "Python.h":
    PyObject* at_of "PyList_GET_ITEM"(PyObject* of, Py_ssize_t at) noexcept
    Py_ssize_t size_of "PyList_GET_SIZE"(PyObject* of) noexcept
    int PyList_SetItem(PyObject* of, Py_ssize_t at, PyObject* stolen) except -1
    PyObject* PyLong_FromLongLong(long long value) except NULL
    int PyUnicode_CheckExact(PyObject* of) noexcept
    int PyUnicode_IS_COMPACT_ASCII(PyObject* of) noexcept
    void* PyUnicode_DATA(PyObject* of) noexcept
    Py_ssize_t length_of "PyUnicode_GET_LENGTH"(PyObject* of) noexcept
    int PyUnicode_Compare(PyObject* left, PyObject* right) except? -1
    int PyObject_IsTrue(PyObject* of) except -1


cdef extern from *:
    """
    #ifndef TRIPLINE_SOURCE
    #define TRIPLINE_SOURCE ""
    #endif
    """
    const char* TRIPLINE_SOURCE


SOURCE = TRIPLINE_SOURCE.decode()
"""Digest of the source this module was built from."""

assert (len(_AGES), len(_COUNTS), len(_FACTS)) == (AGES, COUNTS, FACTS)
assert (AGES + COUNTS, AGES + COUNTS + FACTS) == (TIMED, FEATURES)
assert (Age.SILENCE, Age.BUYER, Age.STAGE, Age.EXECUTIVE) == (0, 1, 2, 4)
assert (Age.MEETING, Age.CLOSE, Age.COMPETITOR) == (5, 7, 9)

cdef int64_t DAY = DAY_MS, NEVER = NEVER_MS, BACKLOG = BACKLOG_MS, PEOPLE_WINDOW = _PEOPLE_WINDOW_MS
cdef int64_t COUNTED_BIT = COUNTED, PEOPLE_BIT = PEOPLE, AGE_BITS = (1 << AGES) - 1, LONG_GAP = DAY_MS
cdef int64_t EXACT = 1 << 53
assert (MOST_TOUCHES, MOST_PEOPLE) == (MAX_TOUCHES, MAX_PEOPLE)
cdef int64_t NOTHING_AHEAD = FAR_PAST
cdef int64_t EXECUTIVE_STANDING = _EXECUTIVE, ANYBODY = _ANYBODY
cdef int64_t WINDOWS[COUNTS]
for _at in range(COUNTS):
    WINDOWS[_at] = scorecard._COUNT_WINDOWS_MS[_at]
cdef int MEETING = 5, CLOSE = 7, COMPETITOR = 9, BUYERS = 13
cdef object EMAIL = "email", CALL = "call", MEET = "meeting", INTERNAL = "internal", INBOUND = "inbound"
cdef PyObject* UNSET_ = <PyObject*>UNSET
cdef PyObject* NONE = <PyObject*>None

cdef struct ActivityAt:
    Py_ssize_t kind, direction, participants, occurred_at, scheduled_for, mentions, status

cdef struct PersonAt:
    Py_ssize_t contact_id, role, executive, name

cdef struct KnownAt:
    Py_ssize_t contact_id, role, executive, name

cdef ActivityAt ACTIVITY
cdef PersonAt PARTICIPANT
cdef KnownAt PERSON

STATE.status, STATE.opened_ms = offset_of(DealState, "status"), offset_of(DealState, "opened_ms")
STATE.name, STATE.account = offset_of(DealState, "name"), offset_of(DealState, "account")
STATE.segment, STATE.owner_id = offset_of(DealState, "segment"), offset_of(DealState, "owner_id")
STATE.manager_id, STATE.stage = offset_of(DealState, "manager_id"), offset_of(DealState, "stage")
STATE.currency, STATE.close_date = offset_of(DealState, "currency"), offset_of(DealState, "close_date")
STATE.amount_minor, STATE.first_minor = offset_of(DealState, "amount_minor"), offset_of(DealState, "first_minor")
STATE.peak_minor, STATE.origins = offset_of(DealState, "peak_minor"), offset_of(DealState, "origins")
STATE.has_buyer, STATE.touches = offset_of(DealState, "has_buyer"), offset_of(DealState, "touches")
STATE.longest_gap_ms, STATE.people_ids = offset_of(DealState, "longest_gap_ms"), offset_of(DealState, "people_ids")
STATE.people_ms, STATE.people = offset_of(DealState, "people_ms"), offset_of(DealState, "people")
STATE.meetings, STATE.cancelled_ms = offset_of(DealState, "meetings"), offset_of(DealState, "cancelled_ms")
STATE.pushes, STATE.pushed_days = offset_of(DealState, "pushes"), offset_of(DealState, "pushed_days")
STATE.regressions, STATE.competitor = offset_of(DealState, "regressions"), offset_of(DealState, "competitor")
STATE.owner_points, STATE.segment_points = offset_of(DealState, "owner_points"), offset_of(DealState, "segment_points")
STATE.rates_day, STATE.is_proven = offset_of(DealState, "rates_day"), offset_of(DealState, "is_proven")
STATE.told_manager, STATE.points = offset_of(DealState, "told_manager"), offset_of(DealState, "points")
STATE.fact_points, STATE.has_new_facts = offset_of(DealState, "fact_points"), offset_of(DealState, "has_new_facts")
STATE.bins, STATE.due_ms = offset_of(DealState, "bins"), offset_of(DealState, "due_ms")
STATE.next_ms, STATE.judged_ms = offset_of(DealState, "next_ms"), offset_of(DealState, "judged_ms")
STATE.is_changed, STATE.model = offset_of(DealState, "is_changed"), offset_of(DealState, "model")
ACTIVITY.kind, ACTIVITY.direction = offset_of(CrmActivity, "kind"), offset_of(CrmActivity, "direction")
ACTIVITY.participants, ACTIVITY.mentions = offset_of(CrmActivity, "participants"), offset_of(CrmActivity, "mentions")
ACTIVITY.occurred_at, ACTIVITY.status = offset_of(CrmActivity, "occurred_at"), offset_of(CrmActivity, "status")
ACTIVITY.scheduled_for = offset_of(CrmActivity, "scheduled_for")
PARTICIPANT.contact_id, PARTICIPANT.role = offset_of(Participant, "contact_id"), offset_of(Participant, "role")
PARTICIPANT.executive, PARTICIPANT.name = offset_of(Participant, "executive"), offset_of(Participant, "name")
PERSON.contact_id, PERSON.role = offset_of(Person, "contact_id"), offset_of(Person, "role")
PERSON.executive, PERSON.name = offset_of(Person, "executive"), offset_of(Person, "name")
if not is_plain(Person, len(Person.__struct_fields__)):
    raise TypeError("Person is not laid out as expected")
cdef object A_PERSON = Person("")


cdef inline int64_t int_at(PyObject* of, Py_ssize_t at) except? -9:
    return <int64_t><object>at_of(of, at)


cdef inline int set_at(PyObject* of, Py_ssize_t at, int64_t value) except -1:
    return PyList_SetItem(of, at, PyLong_FromLongLong(value))


cdef inline int64_t int_in(PyObject* of, Py_ssize_t at) except? -9:
    return <int64_t><object>peek(of, at)


cdef extern from *:
    """
    /* Take one out of a full list and put another behind the others. */
    static inline void tripline_push_out(PyObject* list, Py_ssize_t at, PyObject* last) {
        PyObject** items = ((PyListObject*)list)->ob_item;
        Py_ssize_t size = PyList_GET_SIZE(list);
        PyObject* before = items[at];
        for (; at < size - 1; at++) items[at] = items[at + 1];
        Py_INCREF(last);
        items[size - 1] = last;
        Py_DECREF(before);
    }
    """
    void push_out "tripline_push_out"(list of, Py_ssize_t at, object last) noexcept


cdef inline bint is_text(PyObject* of, object wanted) except -1:
    """Whether it is this text; most texts that are not are of another length."""
    if of == <PyObject*>wanted:
        return True
    if not PyUnicode_CheckExact(of) or length_of(of) != length_of(<PyObject*>wanted):
        return False
    if PyUnicode_IS_COMPACT_ASCII(of) and PyUnicode_IS_COMPACT_ASCII(<PyObject*>wanted):
        return memcmp(PyUnicode_DATA(of), PyUnicode_DATA(<PyObject*>wanted), length_of(of)) == 0
    return PyUnicode_Compare(of, <PyObject*>wanted) == 0


cdef inline int64_t days(int64_t ms) noexcept:
    """Whole days, rounded down as Python rounds."""
    return ms // DAY if ms >= 0 else -((DAY - 1 - ms) // DAY)


include "_figures.pxi"


# --- tables ------------------------------------------------------------------------------------------------------------


cdef class PlanTables:
    """A ``Plan``'s figures where the machine finds them at once."""

    def __init__(self, plan):
        cdef int at, place
        self.plan, self.scores, self.place = plan, plan.scores, plan.place
        self.is_known, self.ends = plan.stage.place is not None, plan.stage.is_won or plan.stage.is_lost
        for at in range(AGES):
            self.sizes[at], self.fresh[at] = len(plan.cuts[at]), plan.fresh[at]
            for place in range(self.sizes[at]):
                self.cuts[at][place] = plan.cuts[at][place]
        for at in range(COUNTS):
            self.count_sizes[at] = len(_COUNTS[at].cuts)
            for place in range(self.count_sizes[at]):
                self.count_cuts[at][place] = int(_COUNTS[at].cuts[place])
        for at in range(FACTS):
            self.fact_sizes[at] = len(plan.fact_cuts[at])
            for place in range(self.fact_sizes[at]):
                self.fact_cuts[at][place] = plan.fact_cuts[at][place]
        for at in range(FEATURES):
            for place in range(len(plan.points[at])):
                self.points[at][place], self.matters[at][place] = plan.points[at][place], plan.matters[at][place]


cdef inline int bin_of(const int64_t* cuts, int size, int64_t value) noexcept:
    """``bisect_right``; the last cut is never reached."""
    cdef int found = 0
    while found < size and cuts[found] <= value:
        found += 1
    return found


cdef class Card:
    """Judges deals by the tables of a ``Scorecard``; ``explainer``: the ``Explainer`` of its reasons, if any."""

    def __init__(self, card, explainer=None):
        self.card, self.explainer = card, explainer
        self.by_stage, self.by_plan, self.scratch = {}, {}, Figures()

    def judge(self, state not None, int64_t now_ms):
        """``Scorecard.judge``."""
        cdef PyObject* of = <PyObject*>state
        cdef Figures it = self.scratch
        it.take_up(of)
        it.is_written = False
        self.judge_all(self.tables(of), of, it, now_ms)
        it.keep(of)
        return self.scores_of(of, it)

    def refresh(self, state not None, int64_t now_ms, int64_t fresh=0):
        """``Scorecard.refresh``."""
        cdef PyObject* of = <PyObject*>state
        cdef Figures it = self.scratch
        it.take_up(of)
        it.is_written = False
        moved = self.refresh_state(of, it, now_ms, fresh)
        it.keep(of)
        return moved

    def scores(self, state not None):
        """``Scorecard.scores``."""
        self.scratch.take_up(<PyObject*>state)
        return self.scores_of(<PyObject*>state, self.scratch)

    def reasons(self, state not None, int64_t now_ms, facts=None):
        """``Explainer.reasons``."""
        self.scratch.take_up(<PyObject*>state)
        return self.reasons_of(<PyObject*>state, self.scratch, now_ms, facts)

    def facts(self, state not None):
        """``Explainer.facts``."""
        self.scratch.take_up(<PyObject*>state)
        return self.facts_of(<PyObject*>state, self.scratch)

    cdef PlanTables tables(self, PyObject* state):
        """The tables for deals in this state's stage."""
        return self.tables_of(<object>peek(state, STATE.stage))

    cdef PlanTables tables_of(self, object stage):
        """The tables for deals in a stage."""
        cdef PyObject* found = PyDict_GetItem(self.by_stage, stage)
        if found != NULL:
            return <PlanTables>found
        plan = self.card.plan(stage)
        made = self.by_plan.get(plan)
        if made is None:
            made = self.by_plan[plan] = PlanTables(plan)
        if len(self.by_stage) < scorecard._MAX_REMEMBERED:
            self.by_stage[stage] = made
        return <PlanTables>made

    cdef int judge_all(self, PlanTables tables, PyObject* state, Figures it, int64_t now_ms) except -1:
        cdef int64_t points = 0, next_ms = NEVER * 2, due = 0
        cdef int at, found = 0
        it.has_bins = True
        roll(state, it, now_ms)
        for at in range(AGES):
            found = bin_of(tables.cuts[at], tables.sizes[at], now_ms - it.origins[at])
            due = it.origins[at] + tables.cuts[at][found]
            it.bins[at], it.due_ms[at] = <uint8_t>found, due
            points += tables.points[at][found]
            if due < next_ms:
                next_ms = due
        for at in range(COUNTS):
            found = count_of(tables, at, state, it, now_ms, &due)
            it.bins[AGES + at], it.due_ms[AGES + at] = <uint8_t>found, due
            points += tables.points[AGES + at][found]
            if due < next_ms:
                next_ms = due
        if <object>peek(state, STATE.has_new_facts) is not False:
            judge_facts(tables, state, it)
        it.points, it.next_ms = points + it.fact_points, next_ms
        return 0

    cdef bint refresh_state(self, PyObject* state, Figures it, int64_t now_ms, int64_t fresh) except -1:
        cdef PlanTables tables = self.tables(state)
        cdef int64_t points
        cdef int at, found, close_bin
        if fresh < 0 or <object>peek(state, STATE.has_new_facts) is not False:
            self.judge_all(tables, state, it, now_ms)
            return True
        if not it.has_bins:
            raise ValueError("the state of a deal lacks its bins")
        points, close_bin = it.points, it.bins[CLOSE]
        if now_ms >= it.next_ms:
            pass_time(tables, state, it, now_ms)
        if fresh:
            for at in range(AGES):
                if fresh >> at & 1:
                    found = <int>tables.fresh[at]
                    if it.bins[at] != found:
                        move(tables, it, at, found, now_ms + tables.cuts[at][found])
            if fresh & COUNTED_BIT:
                recount_touches(tables, state, it, now_ms)
            if fresh & PEOPLE_BIT and it.bins[BUYERS] < tables.count_sizes[2]:
                recount(tables, state, it, 2, now_ms)
        return points != it.points or close_bin != it.bins[CLOSE]

    cdef object scores_of(self, PyObject* state, Figures it):
        cdef PlanTables tables = self.tables(state)
        cdef PyObject* found = NULL
        if -EXACT < it.points < EXACT:
            key = it.points * 16 | it.bins[CLOSE]
            found = PyDict_GetItem(tables.scores, key)
        return tables.plan.score(it.points, it.bins[CLOSE]) if found == NULL else <object>found

    cdef list reasons_of(self, PyObject* state, Figures it, int64_t now_ms, object facts):
        """``Explainer.reasons``: with the sentences that it remembers."""
        cdef object rows = self.rows(state)
        cdef PyObject* ages = PyTuple_GET_ITEM(rows, 0)
        cdef PyObject* counts = PyTuple_GET_ITEM(rows, 1)
        cdef PlanTables tables = self.tables(state)
        cdef PyObject* known
        cdef PyObject* one
        cdef PyObject* found[FEATURES]
        cdef double ranks[FEATURES]
        cdef int64_t figure, bin_
        cdef int at, count = 0, place
        cdef list kept = [], told = self.facts_of(state, it) if facts is None else <list>facts
        for place in range(len(told)):
            one = at_of(<PyObject*>told, place)
            count = insert(found, ranks, count, one)
        for at in range(AGES):
            bin_ = it.bins[at]
            if not tables.matters[at][bin_]:
                continue
            figure = days(now_ms - it.origins[at])
            if at == MEETING:
                key = bin_, (it.origins[MEETING], <object>peek(state, STATE.cancelled_ms))
            elif at == CLOSE:
                key = bin_, (<object>peek(state, STATE.close_date), figure)
            elif at == COMPETITOR:
                key = bin_, (<object>peek(state, STATE.competitor), figure)
            else:
                key = figure * 32 | bin_
            known = PyTuple_GET_ITEM(<object>PyTuple_GET_ITEM(<object>ages, at), 2)
            one = PyDict_GetItem(<object>known, key)
            if one == NULL:
                made = self.made(state, it, at, bin_, figure, known, key)
                kept.append(made)
                one = <PyObject*>made
            count = insert(found, ranks, count, one)
        for at in range(COUNTS):
            bin_ = it.bins[AGES + at]
            if not tables.matters[AGES + at][bin_]:
                continue
            known = PyTuple_GET_ITEM(<object>PyTuple_GET_ITEM(<object>counts, at), 2)
            one = PyDict_GetItem(<object>known, bin_)
            if one == NULL:
                made = self.made(state, it, AGES + at, bin_, bin_, known, bin_)
                kept.append(made)
                one = <PyObject*>made
            count = insert(found, ranks, count, one)
        reasons = PyList_New(count)
        for place in range(count):
            reason = <object>PyTuple_GET_ITEM(<object>found[place], 1)
            Py_INCREF(reason)
            PyList_SET_ITEM(reasons, place, reason)
        return reasons

    cdef list facts_of(self, PyObject* state, Figures it):
        """``Explainer.facts``."""
        cdef PlanTables tables = self.tables(state)
        cdef object rows = self.rows(state)
        cdef PyObject* facts = PyTuple_GET_ITEM(rows, 2)
        cdef PyObject* known
        cdef PyObject* one
        cdef int at
        cdef int64_t bin_
        cdef list found = []
        for at in range(FACTS):
            bin_ = it.bins[TIMED + at]
            if tables.matters[TIMED + at][bin_]:
                known = PyTuple_GET_ITEM(<object>PyTuple_GET_ITEM(<object>facts, at), 2)
                key = bin_, fact_key(state, it, at)
                one = PyDict_GetItem(<object>known, key)
                found.append(
                    self.made(state, it, TIMED + at, bin_, bin_, known, key) if one == NULL else <object>one
                )
        return found

    cdef object made(
        self, PyObject* state, Figures it, int at, int64_t bin_, int64_t figure, PyObject* known, object key
    ):
        """A reason that was not made before."""
        it.keep(state)
        return self.explainer._make(<object>state, at, bin_, figure, <object>known, key)

    cdef object rows(self, PyObject* state):
        key = <object>peek(state, STATE.stage), <object>peek(state, STATE.has_buyer)
        cdef PyObject* found = PyDict_GetItem(self.explainer._known, key)
        return self.explainer._remember(<object>state) if found == NULL else <object>found


cdef object fact_key(PyObject* state, Figures it, int at):
    """What ``reasons._OWN`` gives for a fact."""
    if at == 1:
        return <object>peek(state, STATE.pushes), <object>peek(state, STATE.pushed_days)
    if at == 2:
        return <object>peek(state, STATE.pushed_days)
    if at == 3 or at == 4:
        return (
            <object>peek(state, STATE.peak_minor if at == 3 else STATE.first_minor),
            <object>peek(state, STATE.amount_minor),
            <object>peek(state, STATE.currency),
        )
    if at == 5:
        return <object>peek(state, STATE.regressions)
    if at == 6:
        return days(it.longest_gap_ms)
    if at == 7:
        return <object>peek(state, STATE.owner_points)
    if at == 8:
        return <object>peek(state, STATE.segment), <object>peek(state, STATE.segment_points)
    return None


cdef inline int insert(PyObject** found, double* ranks, int count, PyObject* ranked) except -1:
    """Put a reason in its place by rank; returns how many there are."""
    cdef double rank = <double><object>PyTuple_GET_ITEM(<object>ranked, 0)
    cdef int place = count
    while place > 0 and ranks[place - 1] > rank:
        ranks[place], found[place] = ranks[place - 1], found[place - 1]
        place -= 1
    ranks[place], found[place] = rank, ranked
    return count + 1


cdef inline int roll(PyObject* state, Figures it, int64_t now_ms) except -1:
    """``features.roll_meetings``."""
    cdef PyObject* meetings = peek(state, STATE.meetings)
    if size_of(meetings) and int_at(meetings, 0) <= now_ms:
        while size_of(meetings) and int_at(meetings, 0) <= now_ms:
            del (<list>meetings)[0]
        it.origins[MEETING] = int_at(meetings, 0) if size_of(meetings) else NOTHING_AHEAD
    return 0


cdef int count_of(PlanTables tables, int at, PyObject* state, Figures it, int64_t now_ms, int64_t* due) except -1:
    """``scorecard._count`` of one of the counts: the bin, and when it changes."""
    cdef int64_t sorted_ms[MOST_PEOPLE]
    cdef const int64_t* times = it.touches
    cdef int size = it.touch_count, inside = 0, found
    cdef int64_t window_ms = WINDOWS[at], start_ms = now_ms - window_ms, opened_ms
    if at == 2:
        size, times = it.people_count, sorted_ms
        sort(it.people_ms, sorted_ms, size)
    while inside < size and times[size - 1 - inside] > start_ms:
        inside += 1
    if not inside:
        opened_ms = int_in(state, STATE.opened_ms)
        due[0] = opened_ms + window_ms if opened_ms > start_ms else NEVER
        return opened_ms > start_ms
    found = bin_of(tables.count_cuts[at], tables.count_sizes[at], inside)
    # The bin falls when the oldest of the times that hold it up leaves the window.
    due[0] = times[size - tables.count_cuts[at][found - 1]] + window_ms
    return found


cdef inline void sort(const int64_t* times, int64_t* into, int count) noexcept:
    """A handful of times in ascending order."""
    cdef int at, place
    for at in range(count):
        place = at
        while place and into[place - 1] > times[at]:
            into[place] = into[place - 1]
            place -= 1
        into[place] = times[at]


cdef int judge_facts(PlanTables tables, PyObject* state, Figures it) except -1:
    """``scorecard._judge_facts``."""
    cdef double values[FACTS]
    cdef double amount = 0, first = 0, peak = 0
    cdef int64_t points = 0
    cdef int at, found
    cdef bint has_amount = peek(state, STATE.amount_minor) != NONE and PyObject_IsTrue(peek(state, STATE.peak_minor))
    cdef bint has_first = has_amount and PyObject_IsTrue(peek(state, STATE.first_minor))
    if has_amount and not (
        is_exact(peek(state, STATE.amount_minor)) and is_exact(peek(state, STATE.peak_minor))
        and (not has_first or is_exact(peek(state, STATE.first_minor)))
    ):
        it.keep(state)
        for at, value in enumerate(fact_values(<object>state, tables.plan)):
            values[at] = value
        it.is_written = False
    else:
        if has_amount:
            amount, peak = <double>int_in(state, STATE.amount_minor), <double>int_in(state, STATE.peak_minor)
        if has_first:
            first = <double>int_in(state, STATE.first_minor)
        values[0] = tables.place
        values[1] = <double>int_in(state, STATE.pushes)
        values[2] = <double>int_in(state, STATE.pushed_days)
        values[3] = 100.0 * (1.0 - amount / peak) if has_amount else 0.0
        values[4] = 100.0 * (amount / first - 1.0) if has_first else 0.0
        values[5] = <double>int_in(state, STATE.regressions)
        values[6] = <double>it.longest_gap_ms / <double>DAY
        values[7] = <double>int_in(state, STATE.owner_points)
        values[8] = <double>int_in(state, STATE.segment_points)
    for at in range(FACTS):
        found = 0
        while found < tables.fact_sizes[at] and tables.fact_cuts[at][found] <= values[at]:
            found += 1
        it.bins[TIMED + at] = <uint8_t>found
        points += tables.points[TIMED + at][found]
    it.fact_points = points
    put(state, STATE.has_new_facts, False)
    return 0


cdef inline bint is_exact(PyObject* amount) except -1:
    """Whether an amount is a whole number of a double."""
    value = <object>amount
    return -EXACT < value < EXACT


cdef int rebin(PlanTables tables, PyObject* state, Figures it, int at, int64_t now_ms) except -1:
    """Find the bin of one feature that time moves, when it changes next, and the points that it adds."""
    cdef int64_t due = 0
    cdef int found, before = it.bins[at]
    if at >= AGES:
        found = count_of(tables, at - AGES, state, it, now_ms, &due)
    else:
        if at == MEETING:
            roll(state, it, now_ms)
        found = bin_of(tables.cuts[at], tables.sizes[at], now_ms - it.origins[at])
        due = it.origins[at] + tables.cuts[at][found]
    it.bins[at], it.due_ms[at] = <uint8_t>found, due
    it.points += tables.points[at][found] - tables.points[at][before]
    return 0


cdef inline int first_due(Figures it, int64_t* next_ms) noexcept:
    """The first place of the earliest time."""
    cdef int at, found = 0
    next_ms[0] = it.due_ms[0]
    for at in range(1, TIMED):
        if it.due_ms[at] < next_ms[0]:
            next_ms[0], found = it.due_ms[at], at
    return found


cdef int pass_time(PlanTables tables, PyObject* state, Figures it, int64_t now_ms) except -1:
    """``scorecard._pass_time``."""
    cdef int64_t next_ms = 0
    cdef int at = first_due(it, &next_ms)
    while next_ms <= now_ms:
        rebin(tables, state, it, at, now_ms)
        at = first_due(it, &next_ms)
    it.next_ms = next_ms
    return 0


cdef int recount(PlanTables tables, PyObject* state, Figures it, int at, int64_t now_ms) except -1:
    rebin(tables, state, it, AGES + at, now_ms)
    it.next_ms = min(it.next_ms, it.due_ms[AGES + at])
    return 0


cdef int recount_touches(PlanTables tables, PyObject* state, Figures it, int64_t now_ms) except -1:
    """Count contacts anew where there may be enough for the next bin."""
    cdef int64_t needed
    cdef int at, bin_
    for at in range(2):
        bin_ = it.bins[AGES + at]
        if bin_ < tables.count_sizes[at]:
            needed = tables.count_cuts[at][bin_]
            if needed <= it.touch_count and it.touches[it.touch_count - needed] > now_ms - WINDOWS[at]:
                recount(tables, state, it, at, now_ms)
    return 0


cdef inline void move(PlanTables tables, Figures it, int at, int found, int64_t due) noexcept:
    it.points += tables.points[at][found] - tables.points[at][it.bins[at]]
    it.bins[at], it.due_ms[at] = <uint8_t>found, due
    it.next_ms = min(it.next_ms, due)


cdef inline bint counts_now(PyObject* said, PyObject* event_time, int64_t at_ms) noexcept:
    """Whether ``effect_ms`` gives ``at_ms``; False also for a time that is not in the usual form."""
    cdef int64_t effect = 0
    if not PyUnicode_CheckExact(said):
        said = event_time
    return (
        PyUnicode_IS_COMPACT_ASCII(said)
        and usual_ms(<const uint8_t*>PyUnicode_DATA(said), length_of(said), &effect)
        and effect >= at_ms - BACKLOG
    )


include "_changes.pxi"


# --- contacts ----------------------------------------------------------------------------------------------------------


cdef int64_t take_activity(PyObject* state, Figures it, PyObject* data, object event_time, int64_t at_ms) except? -9:
    """``apply_activity``: a plain contact that counts from ``at_ms`` here, everything else there."""
    cdef PyObject* planned = peek(data, ACTIVITY.scheduled_for)
    cdef PyObject* direction = peek(data, ACTIVITY.direction)
    cdef PyObject* mentions = peek(data, ACTIVITY.mentions)
    cdef int count = it.touch_count
    cdef int64_t fresh
    if (
        (planned != UNSET_ and planned != NONE) or peek(data, ACTIVITY.status) != UNSET_
        or not is_contact(peek(data, ACTIVITY.kind)) or is_text(direction, INTERNAL)
        or (mentions != UNSET_ and PyObject_IsTrue(mentions))
        or not counts_now(peek(data, ACTIVITY.occurred_at), <PyObject*>event_time, at_ms)
        or (count and at_ms < it.touches[count - 1])
    ):
        it.put_down(state)
        when_ms = effect_ms(<object>peek(data, ACTIVITY.occurred_at), event_time, at_ms)
        fresh = apply_activity(<object>state, <object>data, when_ms, at_ms)
        it.take_up(state)
        return fresh
    it.is_touched = True
    if count and at_ms - it.touches[count - 1] > it.longest_gap_ms:
        it.longest_gap_ms = at_ms - it.touches[count - 1]
        if it.longest_gap_ms >= LONG_GAP:
            put(state, STATE.has_new_facts, True)
    if count == MOST_TOUCHES:
        count -= 1
        memmove(it.touches, it.touches + 1, count * sizeof(int64_t))
    it.touches[count] = at_ms
    it.touch_count = count + 1
    it.origins[0] = at_ms
    fresh = 1 | COUNTED_BIT
    if is_text(direction, INBOUND):
        it.origins[1] = at_ms
        put(state, STATE.has_buyer, True)
        fresh |= 2
    participants = <object>peek(data, ACTIVITY.participants)
    if participants is not UNSET:
        for person in <list>participants:
            fresh |= meet(state, it, <PyObject*>person, at_ms)
    return fresh


cdef inline bint is_contact(PyObject* kind) except -1:
    return is_text(kind, EMAIL) or is_text(kind, CALL) or is_text(kind, MEET)


cdef int64_t meet(PyObject* state, Figures it, PyObject* person, int64_t at_ms) except? -9:
    """Somebody of the buyer took part, now: ``_meet``, or less for one who is known and no executive."""
    cdef PyObject* contact = peek(person, PARTICIPANT.contact_id)
    cdef PyObject* ids = peek(state, STATE.people_ids)
    cdef PyObject* met
    cdef Py_hash_t known
    cdef int place, count = it.people_count, oldest = 0
    cdef int64_t before, fresh
    if (
        <object>peek(person, PARTICIPANT.executive) is True or not PyUnicode_CheckExact(contact)
        or not 1 <= length_of(contact) <= 64
    ):
        it.put_down(state)
        fresh = _meet(<object>state, <object>person, at_ms)
        it.take_up(state)
        it.is_written, it.is_touched = False, True
        return fresh
    known = PyObject_Hash(<object>contact)
    for place in range(count):
        if it.people[place] == known and is_text(contact, <object>at_of(ids, place)):
            before = it.people_ms[place]
            it.people_ms[place] = at_ms
            return PEOPLE_BIT if before <= at_ms - PEOPLE_WINDOW else 0
    made = like(A_PERSON)
    met = <PyObject*>made
    put(met, PERSON.contact_id, <object>contact)
    put(met, PERSON.role, at_most(peek(person, PARTICIPANT.role), 40))
    put(met, PERSON.name, at_most(peek(person, PARTICIPANT.name), 80))
    if count < MOST_PEOPLE:
        (<list>ids).append(<object>contact)
        (<list>peek(state, STATE.people)).append(made)
        it.people_count = count + 1
    else:
        for place in range(1, count):
            if it.people_ms[place] < it.people_ms[oldest]:
                oldest = place
        if at_ms < it.people_ms[oldest]:
            return PEOPLE_BIT
        count -= 1
        for place in range(oldest, count):
            it.people_ms[place], it.people[place] = it.people_ms[place + 1], it.people[place + 1]
            it.standing[place] = it.standing[place + 1]
        push_out(<list>ids, oldest, <object>contact)
        push_out(<list>peek(state, STATE.people), oldest, made)
    it.people_ms[count], it.people[count], it.standing[count] = at_ms, known, standing_of(met)
    return PEOPLE_BIT


cdef inline object at_most(PyObject* text, Py_ssize_t most):
    """A text that may be None or missing, cut to a length."""
    if text == NONE or text == UNSET_:
        return ""
    return <object>text if length_of(text) <= most else (<str>text)[:most]


# --- whom to talk to ---------------------------------------------------------------------------------------------------


def best_person(list people not None, list times not None):
    """``people.best_person``."""
    cdef uint8_t standing[MOST_PEOPLE]
    cdef int64_t times_ms[MOST_PEOPLE]
    cdef int place, count = <int>len(people)
    if not 0 < count <= MOST_PEOPLE or len(times) != count:
        return _best_person(people, times)
    for place in range(count):
        standing[place] = standing_of(at_of(<PyObject*>people, place))
        times_ms[place] = int_at(<PyObject*>times, place)
    return <object>best_of(<PyObject*>people, standing, times_ms, count)

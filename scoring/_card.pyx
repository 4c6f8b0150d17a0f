# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A model of deals at work, compiled: what ``scoring.scorecard``, ``scoring.reasons`` and, for plain contacts,
``scoring.features.apply_activity`` do, on the same ``DealState``.

Sums are of whole numbers and figures are compared as Python compares them, so both ways give the same states and the
same scores, bit for bit; the tests compare them. Whatever is rare is left to the Python functions.
"""

from cpython.dict cimport PyDict_GetItem
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp

from events._rows cimport usual_ms
from events._slots cimport offset_of, peek, put

from msgspec import UNSET

from events.times import DAY_MS
from events.types import CrmActivity, CrmChange, Participant
from scoring import features, scorecard
from scoring.features import (
    _PEOPLE_WINDOW_MS, BACKLOG_MS, COUNTED, PEOPLE, _meet, apply_activity, effect_ms, roll_meetings
)
from scoring.people import ANYBODY as _ANYBODY
from scoring.people import EXECUTIVE as _EXECUTIVE
from scoring.people import STANDING
from scoring.plan import NEVER_MS
from scoring.scorecard import fact_values
from scoring.state import FAR_FUTURE, MAX_COUNT, MAX_PEOPLE, MAX_TOUCHES, Age, DealState, Person, Status
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
cdef Py_ssize_t TOUCHES_ROOM = MAX_TOUCHES, PEOPLE_ROOM = MAX_PEOPLE
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
    Py_ssize_t contact_id, role, executive

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
PERSON.executive = offset_of(Person, "executive")


cdef inline int64_t int_at(PyObject* of, Py_ssize_t at) except? -9:
    return <int64_t><object>at_of(of, at)


cdef inline int set_at(PyObject* of, Py_ssize_t at, int64_t value) except -1:
    return PyList_SetItem(of, at, PyLong_FromLongLong(value))


cdef inline int64_t int_in(PyObject* of, Py_ssize_t at) except? -9:
    return <int64_t><object>peek(of, at)


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
        self.by_stage, self.by_plan = {}, {}

    def judge(self, state, int64_t now_ms):
        """``Scorecard.judge``."""
        cdef PlanTables tables = self.tables(<PyObject*>state)
        self.judge_all(tables, <PyObject*>state, now_ms)
        return self.scores_of(<PyObject*>state)

    def refresh(self, state, int64_t now_ms, int64_t fresh=0):
        """``Scorecard.refresh``."""
        return self.refresh_state(<PyObject*>state, now_ms, fresh)

    def scores(self, state):
        """``Scorecard.scores``."""
        return self.scores_of(<PyObject*>state)

    def reasons(self, state, int64_t now_ms, facts=None):
        """``Explainer.reasons``."""
        return self.reasons_of(<PyObject*>state, now_ms, facts)

    def facts(self, state):
        """``Explainer.facts``."""
        return self.facts_of(<PyObject*>state)

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

    cdef int judge_all(self, PlanTables tables, PyObject* state, int64_t now_ms) except -1:
        cdef PyObject* bins
        cdef PyObject* due_ms
        cdef PyObject* origins
        cdef int64_t points = 0, next_ms = NEVER * 2, due = 0, origin
        cdef int at, found = 0
        if size_of(peek(state, STATE.bins)) != FEATURES:
            put(state, STATE.bins, [0] * FEATURES)
            put(state, STATE.due_ms, [0] * TIMED)
        roll(state, now_ms)
        bins, due_ms, origins = peek(state, STATE.bins), peek(state, STATE.due_ms), peek(state, STATE.origins)
        for at in range(AGES):
            origin = int_at(origins, at)
            found = bin_of(tables.cuts[at], tables.sizes[at], now_ms - origin)
            due = origin + tables.cuts[at][found]
            set_at(bins, at, found)
            set_at(due_ms, at, due)
            points += tables.points[at][found]
            if due < next_ms:
                next_ms = due
        for at in range(COUNTS):
            found = count_of(tables, at, state, now_ms, &due)
            set_at(bins, AGES + at, found)
            set_at(due_ms, AGES + at, due)
            points += tables.points[AGES + at][found]
            if due < next_ms:
                next_ms = due
        if <object>peek(state, STATE.has_new_facts) is not False:
            judge_facts(tables, state, bins)
        put(state, STATE.points, points + int_in(state, STATE.fact_points))
        put(state, STATE.next_ms, next_ms)
        return 0

    cdef bint refresh_state(self, PyObject* state, int64_t now_ms, int64_t fresh) except -1:
        cdef PlanTables tables = self.tables(state)
        cdef PyObject* bins
        cdef int64_t points, close_bin
        cdef int at, found
        if fresh < 0 or <object>peek(state, STATE.has_new_facts) is not False:
            self.judge_all(tables, state, now_ms)
            return True
        bins = peek(state, STATE.bins)
        points, close_bin = int_in(state, STATE.points), int_at(bins, CLOSE)
        if now_ms >= int_in(state, STATE.next_ms):
            pass_time(tables, state, now_ms)
        if fresh:
            for at in range(AGES):
                if fresh >> at & 1:
                    found = <int>tables.fresh[at]
                    if int_at(bins, at) != found:
                        move(tables, state, at, found, now_ms + tables.cuts[at][found])
            if fresh & COUNTED_BIT:
                recount_touches(tables, state, now_ms)
            if fresh & PEOPLE_BIT and int_at(bins, BUYERS) < tables.count_sizes[2]:
                recount(tables, state, 2, now_ms)
        return points != int_in(state, STATE.points) or close_bin != int_at(bins, CLOSE)

    cdef object scores_of(self, PyObject* state):
        cdef PlanTables tables = self.tables(state)
        cdef int64_t points = int_in(state, STATE.points), close_bin = int_at(peek(state, STATE.bins), CLOSE)
        cdef PyObject* found = NULL
        if -EXACT < points < EXACT:
            key = points * 16 | close_bin
            found = PyDict_GetItem(tables.scores, key)
        return tables.plan.score(points, close_bin) if found == NULL else <object>found

    cdef list reasons_of(self, PyObject* state, int64_t now_ms, object facts):
        """``Explainer.reasons``: with the sentences that it remembers."""
        cdef object rows = self.rows(state)
        cdef PyObject* ages = PyTuple_GET_ITEM(rows, 0)
        cdef PyObject* counts = PyTuple_GET_ITEM(rows, 1)
        cdef PlanTables tables = self.tables(state)
        cdef PyObject* bins = peek(state, STATE.bins)
        cdef PyObject* origins = peek(state, STATE.origins)
        cdef PyObject* known
        cdef PyObject* one
        cdef PyObject* found[FEATURES]
        cdef double ranks[FEATURES]
        cdef int64_t figure, bin_
        cdef int at, count = 0, place
        cdef list kept = [], told = self.facts_of(state) if facts is None else <list>facts
        for place in range(len(told)):
            one = at_of(<PyObject*>told, place)
            count = insert(found, ranks, count, one)
        for at in range(AGES):
            bin_ = int_at(bins, at)
            if not tables.matters[at][bin_]:
                continue
            figure = days(now_ms - int_at(origins, at))
            if at == MEETING:
                key = bin_, (<object>at_of(origins, MEETING), <object>peek(state, STATE.cancelled_ms))
            elif at == CLOSE:
                key = bin_, (<object>peek(state, STATE.close_date), figure)
            elif at == COMPETITOR:
                key = bin_, (<object>peek(state, STATE.competitor), figure)
            else:
                key = figure * 32 | bin_
            known = PyTuple_GET_ITEM(<object>PyTuple_GET_ITEM(<object>ages, at), 2)
            one = PyDict_GetItem(<object>known, key)
            if one == NULL:
                made = self.explainer._make(<object>state, at, bin_, figure, <object>known, key)
                kept.append(made)
                one = <PyObject*>made
            count = insert(found, ranks, count, one)
        for at in range(COUNTS):
            bin_ = int_at(bins, AGES + at)
            if not tables.matters[AGES + at][bin_]:
                continue
            known = PyTuple_GET_ITEM(<object>PyTuple_GET_ITEM(<object>counts, at), 2)
            one = PyDict_GetItem(<object>known, bin_)
            if one == NULL:
                made = self.explainer._make(<object>state, AGES + at, bin_, bin_, <object>known, bin_)
                kept.append(made)
                one = <PyObject*>made
            count = insert(found, ranks, count, one)
        reasons = PyList_New(count)
        for place in range(count):
            reason = <object>PyTuple_GET_ITEM(<object>found[place], 1)
            Py_INCREF(reason)
            PyList_SET_ITEM(reasons, place, reason)
        return reasons

    cdef list facts_of(self, PyObject* state):
        """``Explainer.facts``."""
        cdef PlanTables tables = self.tables(state)
        cdef object rows = self.rows(state)
        cdef PyObject* facts = PyTuple_GET_ITEM(rows, 2)
        cdef PyObject* bins = peek(state, STATE.bins)
        cdef PyObject* known
        cdef PyObject* one
        cdef int at
        cdef int64_t bin_
        cdef list found = []
        for at in range(FACTS):
            bin_ = int_at(bins, TIMED + at)
            if tables.matters[TIMED + at][bin_]:
                known = PyTuple_GET_ITEM(<object>PyTuple_GET_ITEM(<object>facts, at), 2)
                key = bin_, fact_key(state, at)
                one = PyDict_GetItem(<object>known, key)
                found.append(
                    self.explainer._make(<object>state, TIMED + at, bin_, bin_, <object>known, key)
                    if one == NULL else <object>one
                )
        return found

    cdef object rows(self, PyObject* state):
        key = <object>peek(state, STATE.stage), <object>peek(state, STATE.has_buyer)
        cdef PyObject* found = PyDict_GetItem(self.explainer._known, key)
        return self.explainer._remember(<object>state) if found == NULL else <object>found


cdef object fact_key(PyObject* state, int at):
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
        return days(int_in(state, STATE.longest_gap_ms))
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


cdef inline int roll(PyObject* state, int64_t now_ms) except -1:
    cdef PyObject* meetings = peek(state, STATE.meetings)
    if size_of(meetings) and int_at(meetings, 0) <= now_ms:
        roll_meetings(<object>state, now_ms)
    return 0


cdef int count_of(PlanTables tables, int at, PyObject* state, int64_t now_ms, int64_t* due) except -1:
    """``scorecard._count`` of one of the counts: the bin, and when it changes."""
    cdef list times = <list>peek(state, STATE.touches) if at < 2 else sorted(<list>peek(state, STATE.people_ms))
    cdef PyObject* listed = <PyObject*>times
    cdef Py_ssize_t size = size_of(listed), inside = 0
    cdef int64_t window_ms = WINDOWS[at], start_ms = now_ms - window_ms, opened_ms
    cdef int found
    while inside < size and int_at(listed, size - 1 - inside) > start_ms:
        inside += 1
    if not inside:
        opened_ms = int_in(state, STATE.opened_ms)
        due[0] = opened_ms + window_ms if opened_ms > start_ms else NEVER
        return opened_ms > start_ms
    found = bin_of(tables.count_cuts[at], tables.count_sizes[at], inside)
    # The bin falls when the oldest of the times that hold it up leaves the window.
    due[0] = int_at(listed, size - tables.count_cuts[at][found - 1]) + window_ms
    return found


cdef int judge_facts(PlanTables tables, PyObject* state, PyObject* bins) except -1:
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
        for at, value in enumerate(fact_values(<object>state, tables.plan)):
            values[at] = value
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
        values[6] = <double>int_in(state, STATE.longest_gap_ms) / <double>DAY
        values[7] = <double>int_in(state, STATE.owner_points)
        values[8] = <double>int_in(state, STATE.segment_points)
    for at in range(FACTS):
        found = 0
        while found < tables.fact_sizes[at] and tables.fact_cuts[at][found] <= values[at]:
            found += 1
        set_at(bins, TIMED + at, found)
        points += tables.points[TIMED + at][found]
    put(state, STATE.fact_points, points)
    put(state, STATE.has_new_facts, False)
    return 0


cdef inline bint is_exact(PyObject* amount) except -1:
    """Whether an amount is a whole number of a double."""
    value = <object>amount
    return -EXACT < value < EXACT


cdef int rebin(PlanTables tables, PyObject* state, int at, int64_t now_ms) except -1:
    """Find the bin of one feature that time moves, when it changes next, and the points that it adds."""
    cdef PyObject* bins = peek(state, STATE.bins)
    cdef int64_t origin, due = 0
    cdef int found, before = <int>int_at(bins, at)
    if at >= AGES:
        found = count_of(tables, at - AGES, state, now_ms, &due)
    else:
        if at == MEETING:
            roll(state, now_ms)
        origin = int_at(peek(state, STATE.origins), at)
        found = bin_of(tables.cuts[at], tables.sizes[at], now_ms - origin)
        due = origin + tables.cuts[at][found]
    set_at(bins, at, found)
    set_at(peek(state, STATE.due_ms), at, due)
    if tables.points[at][found] != tables.points[at][before]:
        put(state, STATE.points, int_in(state, STATE.points) + tables.points[at][found] - tables.points[at][before])
    return 0


cdef inline int first_due(PyObject* due_ms, int64_t* next_ms) except -1:
    """The first place of the earliest time."""
    cdef int at, found = 0
    cdef int64_t due
    next_ms[0] = int_at(due_ms, 0)
    for at in range(1, TIMED):
        due = int_at(due_ms, at)
        if due < next_ms[0]:
            next_ms[0], found = due, at
    return found


cdef int pass_time(PlanTables tables, PyObject* state, int64_t now_ms) except -1:
    """``scorecard._pass_time``."""
    cdef PyObject* due_ms = peek(state, STATE.due_ms)
    cdef int64_t next_ms = 0
    cdef int at = first_due(due_ms, &next_ms)
    while next_ms <= now_ms:
        rebin(tables, state, at, now_ms)
        at = first_due(due_ms, &next_ms)
    put(state, STATE.next_ms, next_ms)
    return 0


cdef inline int sooner(PyObject* state, int64_t due) except -1:
    if due < int_in(state, STATE.next_ms):
        put(state, STATE.next_ms, due)
    return 0


cdef int recount(PlanTables tables, PyObject* state, int at, int64_t now_ms) except -1:
    rebin(tables, state, AGES + at, now_ms)
    return sooner(state, int_at(peek(state, STATE.due_ms), AGES + at))


cdef int recount_touches(PlanTables tables, PyObject* state, int64_t now_ms) except -1:
    """Count contacts anew where there may be enough for the next bin."""
    cdef PyObject* touches = peek(state, STATE.touches)
    cdef PyObject* bins = peek(state, STATE.bins)
    cdef Py_ssize_t count = size_of(touches)
    cdef int64_t needed
    cdef int at, bin_
    for at in range(2):
        bin_ = <int>int_at(bins, AGES + at)
        if bin_ < tables.count_sizes[at]:
            needed = tables.count_cuts[at][bin_]
            if needed <= count and int_at(touches, count - needed) > now_ms - WINDOWS[at]:
                recount(tables, state, at, now_ms)
    return 0


cdef int move(PlanTables tables, PyObject* state, int at, int found, int64_t due) except -1:
    cdef PyObject* bins = peek(state, STATE.bins)
    cdef int64_t before = int_at(bins, at)
    put(state, STATE.points, int_in(state, STATE.points) + tables.points[at][found] - tables.points[at][before])
    set_at(bins, at, found)
    set_at(peek(state, STATE.due_ms), at, due)
    return sooner(state, due)


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


cdef int64_t take_activity(PyObject* state, PyObject* data, object event_time, int64_t at_ms) except? -9:
    """``apply_activity``: a plain contact that counts from ``at_ms`` here, everything else there."""
    cdef PyObject* planned = peek(data, ACTIVITY.scheduled_for)
    cdef PyObject* direction = peek(data, ACTIVITY.direction)
    cdef PyObject* touches = peek(state, STATE.touches)
    cdef PyObject* origins = peek(state, STATE.origins)
    cdef Py_ssize_t count = size_of(touches)
    cdef int64_t gap_ms, fresh
    if (
        (planned != UNSET_ and planned != NONE) or peek(data, ACTIVITY.status) != UNSET_
        or not is_contact(peek(data, ACTIVITY.kind)) or is_text(direction, INTERNAL)
        or PyObject_IsTrue(peek(data, ACTIVITY.mentions))
        or not counts_now(peek(data, ACTIVITY.occurred_at), <PyObject*>event_time, at_ms)
        or (count and at_ms < int_at(touches, count - 1))
    ):
        return apply_activity(
            <object>state, <object>data, effect_ms(<object>peek(data, ACTIVITY.occurred_at), event_time, at_ms), at_ms
        )
    at = at_ms
    if count:
        gap_ms = at_ms - int_at(touches, count - 1)
        if gap_ms > int_in(state, STATE.longest_gap_ms):
            put(state, STATE.longest_gap_ms, gap_ms)
            if gap_ms >= LONG_GAP:
                put(state, STATE.has_new_facts, True)
    (<list>touches).append(at)
    if count == TOUCHES_ROOM:
        del (<list>touches)[0]
    Py_INCREF(at)
    PyList_SetItem(origins, 0, <PyObject*>at)
    fresh = 1 | COUNTED_BIT
    if is_text(direction, INBOUND):
        Py_INCREF(at)
        PyList_SetItem(origins, 1, <PyObject*>at)
        put(state, STATE.has_buyer, True)
        fresh |= 2
    participants = <object>peek(data, ACTIVITY.participants)
    if participants is not UNSET:
        for person in <list>participants:
            fresh |= meet(state, <PyObject*>person, at_ms, at)
    return fresh


cdef inline bint is_contact(PyObject* kind) except -1:
    return is_text(kind, EMAIL) or is_text(kind, CALL) or is_text(kind, MEET)


cdef int64_t meet(PyObject* state, PyObject* person, int64_t at_ms, object at) except? -9:
    """Somebody of the buyer took part, now: ``_meet``, or less for one who is known and no executive."""
    cdef PyObject* contact = peek(person, PARTICIPANT.contact_id)
    cdef PyObject* executive = peek(person, PARTICIPANT.executive)
    cdef PyObject* ids = peek(state, STATE.people_ids)
    cdef PyObject* times = peek(state, STATE.people_ms)
    cdef Py_ssize_t place, count = size_of(ids), oldest
    cdef int64_t before, earliest
    if <object>executive is True or not PyUnicode_CheckExact(contact) or not 1 <= length_of(contact) <= 64:
        return _meet(<object>state, <object>person, at)
    for place in range(count):
        if is_text(contact, <object>at_of(ids, place)):
            before = int_at(times, place)
            Py_INCREF(at)
            PyList_SetItem(times, place, <PyObject*>at)
            return PEOPLE_BIT if before <= at_ms - PEOPLE_WINDOW else 0
    role, name = <object>peek(person, PARTICIPANT.role), <object>peek(person, PARTICIPANT.name)
    met = Person(<object>contact, role[:40] if role else "", name[:80] if name else "", False)
    (<list>ids).append(<object>contact)
    (<list>times).append(at)
    (<list>peek(state, STATE.people)).append(met)
    if count + 1 > PEOPLE_ROOM:
        oldest, earliest = 0, int_at(times, 0)
        for place in range(1, count + 1):
            if int_at(times, place) < earliest:
                oldest, earliest = place, int_at(times, place)
        del (<list>ids)[oldest]
        del (<list>times)[oldest]
        del (<list>peek(state, STATE.people))[oldest]
    return PEOPLE_BIT


# --- whom to talk to ---------------------------------------------------------------------------------------------------

cdef int64_t EXECUTIVE_STANDING = _EXECUTIVE, ANYBODY = _ANYBODY


def best_person(list people not None, list times not None):
    """``people.best_person``."""
    cdef PyObject* person
    cdef PyObject* best = NULL
    cdef PyObject* found
    cdef int64_t standing, best_standing = ANYBODY + 1, at_ms, best_ms = 0
    cdef Py_ssize_t place
    for place in range(len(people)):
        person = at_of(<PyObject*>people, place)
        found = PyDict_GetItem(STANDING, <object>peek(person, PERSON.role))
        if found != NULL:
            standing = <int64_t><object>found
        else:
            standing = EXECUTIVE_STANDING if <object>peek(person, PERSON.executive) is True else ANYBODY
        if standing > best_standing:
            continue
        at_ms = int_at(<PyObject*>times, place)
        if standing < best_standing or at_ms > best_ms or (at_ms == best_ms and <object>person < <object>best):
            best, best_ms, best_standing = person, at_ms, standing
    return <object>best

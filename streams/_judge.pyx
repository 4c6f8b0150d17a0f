# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The calm path of the stage of agents, compiled: rows that give no detector reason to speak.

What is written here is what ``streams.agents``, ``streams.recent``, ``detectors.action_rate``,
``detectors.blast_radius``, ``detectors.distinct``, ``detectors.policy_breach``, ``detectors.record_loop``,
``detectors.repeated_errors``, ``detectors.unexpected_change`` and ``detectors.value_shift`` do for such a row, on the same state objects. Each part first looks whether the row is calm; if it isn't, nothing was changed and the detector's own
``observe`` is asked. So both ways give the same outputs and the same states, bit for bit; the tests compare them.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.dict cimport PyDict_DelItem, PyDict_GetItem, PyDict_Next, PyDict_SetItem
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.math cimport log, pow
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from cpython cimport array

from events._rows cimport LEFT, MAX_CELLS, MAX_IDS, ActionRow, Cell, days_code, row_of
from events._slots cimport offset_of, peek, put

from detectors.action_rate import MINUTE_MS, ActionRate, RateState
from detectors.blast_radius import _EPISODE_MS, _HOLD_BACK_MS, BlastRadius, BlastState
from detectors.distinct import _HOURS, _MINUTES, DistinctCounter
from detectors.policy_breach import BreachState, PolicyBreach
from detectors.record_loop import FORGET_AT as LOOP_FORGET_AT
from detectors.record_loop import DAY_MS, KNOWN_RUNS, MOST_BETWEEN, MOST_RECORDS, SEEN_BITS, LoopState, RecordLoop
from detectors.repeated_errors import _FORGET_AT, ErrorState, Kind, RepeatedErrors
from detectors.unexpected_change import ChangeState, UnexpectedChange, _digest
from detectors.value_shift import _BETS, _POWERS, _STAKE, FieldState, ValueShift, ValueState
from detectors import value_shift
from events.catalogue import CATALOGUE
from events.types import ActionEvent
from streams.keyed import Keyed
from streams.recent import _SHORT, _SLOTS, CAPACITY, Recent, Seen


cdef extern from *:
    """
    #ifndef TRIPLINE_SOURCE
    #define TRIPLINE_SOURCE ""
    #endif
    """
    const char* TRIPLINE_SOURCE


SOURCE = TRIPLINE_SOURCE.decode()
"""Digest of the source this module was built from."""


cdef enum Part:
    OTHER, RATE, BLAST, ERRORS, LOOP, CHANGE, VALUES, BREACH

cdef enum:
    CALM = -1
    UNTOUCHED = -2

assert (Seen.NEW, Seen.DUPLICATE, Seen.CONFLICT) == (NEW, DUPLICATE, CONFLICT)

cdef int64_t MINUTE = MINUTE_MS
cdef int64_t HOLD_BACK_MS = _HOLD_BACK_MS
cdef int64_t EPISODE_MS = _EPISODE_MS
cdef int64_t MINUTES = _MINUTES
cdef int64_t HOURS = _HOURS
cdef double FORGET_AT = _FORGET_AT
cdef int64_t DAY = DAY_MS
cdef int64_t LOOP_FORGET = LOOP_FORGET_AT
cdef int64_t BETWEEN = MOST_BETWEEN
cdef int64_t LOOP_KNOWN = KNOWN_RUNS
cdef Py_ssize_t LOOP_ROOM = MOST_RECORDS
cdef uint64_t LOOP_SEEN = SEEN_BITS
cdef uint64_t SLOTS = _SLOTS
cdef Py_ssize_t ROOM = CAPACITY, SHORT = _SHORT // 8

cdef enum:
    IS_READ = 1
    IS_EXTERNAL = 2
    IS_FINAL = 4

cdef dict FLAGS = {
    name: IS_READ * (not kind.is_write) | IS_EXTERNAL * kind.is_external | IS_FINAL * (not kind.is_reversible)
    for name, kind in CATALOGUE.items()
}
"""What each known action's name means; an unknown one is left to the detectors."""

cdef struct KeyedAt:
    Py_ssize_t body, is_dirty, next_offset, recent

cdef struct BodyAt:
    Py_ssize_t calls, last_ms, pending

cdef struct RecentAt:
    Py_ssize_t contents, filter, ids, next

cdef struct RateAt:
    Py_ssize_t base_5, base_15, end_ms, factor, first_ms, full_at_ms, last_ms, least_long, least_short, level, minute, n, names
    Py_ssize_t peak_1, peak_5, peak_15, peak_60, ring, room, square_5, square_15, total

cdef struct BlastAt:
    Py_ssize_t calm, limits, records, spoken, told_distinct, told_distinct_ms

cdef struct DistinctAt:
    Py_ssize_t cap, day, hours, minute, minutes, recent, seen

cdef struct KindAt:
    Py_ssize_t cells, run, trials

cdef struct LoopAt:
    Py_ssize_t day, ends, first_ms, hits, known, others, others_ms, record, run, seen, since_ms, writes

cdef struct ChangeAt:
    Py_ssize_t counts, fields, first_ms, owners, uses

cdef struct FieldAt:
    Py_ssize_t evidence, peers, tables

cdef KeyedAt KEYED
cdef RecentAt RECENT
cdef RateAt RATES
cdef BlastAt BLASTS
cdef DistinctAt DISTINCT
cdef KindAt KIND
cdef LoopAt LOOPS
cdef ChangeAt CHANGES
cdef FieldAt FIELD
cdef Py_ssize_t ERROR_KINDS = offset_of(ErrorState, "kinds")

KEYED.body, KEYED.is_dirty = offset_of(Keyed, "body"), offset_of(Keyed, "is_dirty")
KEYED.next_offset, KEYED.recent = offset_of(Keyed, "next_offset"), offset_of(Keyed, "recent")
RECENT.contents, RECENT.filter = offset_of(Recent, "_contents"), offset_of(Recent, "_filter")
RECENT.ids, RECENT.next = offset_of(Recent, "_ids"), offset_of(Recent, "_next")
RATES.base_5, RATES.end_ms = offset_of(RateState, "base_5"), offset_of(RateState, "end_ms")
RATES.factor, RATES.first_ms = offset_of(RateState, "factor"), offset_of(RateState, "first_ms")
RATES.full_at_ms, RATES.last_ms = offset_of(RateState, "full_at_ms"), offset_of(RateState, "last_ms")
RATES.least_long, RATES.least_short = offset_of(RateState, "least_long"), offset_of(RateState, "least_short")
RATES.level, RATES.minute = offset_of(RateState, "level"), offset_of(RateState, "minute")
RATES.n, RATES.names = offset_of(RateState, "n"), offset_of(RateState, "names")
RATES.peak_1, RATES.peak_5 = offset_of(RateState, "peak_1"), offset_of(RateState, "peak_5")
RATES.peak_15, RATES.peak_60 = offset_of(RateState, "peak_15"), offset_of(RateState, "peak_60")
RATES.ring, RATES.room = offset_of(RateState, "ring"), offset_of(RateState, "room")
RATES.square_5, RATES.total = offset_of(RateState, "square_5"), offset_of(RateState, "total")
RATES.base_15, RATES.square_15 = offset_of(RateState, "base_15"), offset_of(RateState, "square_15")
BLASTS.calm, BLASTS.limits = offset_of(BlastState, "calm"), offset_of(BlastState, "limits")
BLASTS.records, BLASTS.spoken = offset_of(BlastState, "records"), offset_of(BlastState, "spoken")
BLASTS.told_distinct = offset_of(BlastState, "told_distinct")
BLASTS.told_distinct_ms = offset_of(BlastState, "told_distinct_ms")
DISTINCT.cap, DISTINCT.day = offset_of(DistinctCounter, "cap"), offset_of(DistinctCounter, "day")
DISTINCT.hours, DISTINCT.minute = offset_of(DistinctCounter, "_hours"), offset_of(DistinctCounter, "_minute")
DISTINCT.minutes, DISTINCT.recent = offset_of(DistinctCounter, "_minutes"), offset_of(DistinctCounter, "recent")
DISTINCT.seen = offset_of(DistinctCounter, "_seen")
LOOPS.day, LOOPS.first_ms = offset_of(LoopState, "day"), offset_of(LoopState, "first_ms")
LOOPS.others, LOOPS.others_ms = offset_of(LoopState, "others"), offset_of(LoopState, "others_ms")
LOOPS.ends, LOOPS.hits = offset_of(LoopState, "ends"), offset_of(LoopState, "hits")
LOOPS.known, LOOPS.record = offset_of(LoopState, "known"), offset_of(LoopState, "record")
LOOPS.run, LOOPS.since_ms = offset_of(LoopState, "run"), offset_of(LoopState, "since_ms")
LOOPS.seen, LOOPS.writes = offset_of(LoopState, "seen"), offset_of(LoopState, "writes")
CHANGES.counts, CHANGES.fields = offset_of(ChangeState, "counts"), offset_of(ChangeState, "fields")
CHANGES.first_ms, CHANGES.owners = offset_of(ChangeState, "first_ms"), offset_of(ChangeState, "owners")
CHANGES.uses = offset_of(ChangeState, "uses")
FIELD.evidence, FIELD.tables = offset_of(FieldState, "evidence"), offset_of(FieldState, "tables")
FIELD.peers = offset_of(FieldState, "peers")
cdef Py_ssize_t BREACH_DIGESTS = offset_of(BreachState, "digests"), BREACH_USES = offset_of(BreachState, "uses")
cdef Py_ssize_t VALUE_FIELDS = offset_of(ValueState, "fields"), VALUE_FIRST = offset_of(ValueState, "first_ms")
KIND.cells, KIND.run, KIND.trials = offset_of(Kind, "cells"), offset_of(Kind, "run"), offset_of(Kind, "trials")


cdef class Judge:
    """Judges runs of rows for one stage.

    Parameters: the stage; the type of its keys' bodies; how long a record's effect may lie back (ms) before it is
    backlog. The stage's detectors do not change after.
    """

    cdef object stage
    cdef int64_t backlog_ms
    cdef list parts
    cdef object rate
    cdef double step_ms, burst_ms, chance_factor
    cdef int64_t slow_times
    cdef BodyAt body

    def __init__(self, stage, type body_type, int64_t backlog_ms):
        known = {
            ActionRate: RATE, BlastRadius: BLAST, RecordLoop: LOOP, RepeatedErrors: ERRORS, UnexpectedChange: CHANGE,
            ValueShift: VALUES, PolicyBreach: BREACH,
        }
        self.stage = stage
        self.backlog_ms = backlog_ms
        self.parts = [known.get(type(detector), OTHER) for detector in stage.detectors]
        for detector in stage.detectors:
            if type(detector) is RecordLoop:
                self.slow_times = detector.config.slow_times_a_day
            if type(detector) is ValueShift:
                self.chance_factor = detector.config.chance_factor
            if type(detector) is ActionRate:
                self.rate, self.step_ms, self.burst_ms = detector, detector._step_ms, detector._burst_ms
        self.body.calls, self.body.last_ms = offset_of(body_type, "calls"), offset_of(body_type, "last_ms")
        self.body.pending = offset_of(body_type, "pending")

    def process(self, list entries, dict known_agents, list out):
        """Judge records in log order; what is no row, or not calm from the start, goes to the stage's own loop."""
        stage = self.stage
        cdef Py_ssize_t at = 0, begin, count = len(entries)
        cdef int64_t next_offset = stage.next_offset, stream_ms = stage.stream_ms, free_ms = stage._free_until_ms
        cdef int64_t offset, at_ms, judged = 0
        cdef int seen
        cdef ActionRow row
        cdef tuple entry
        cdef PyObject* keyed
        cdef PyObject* body = NULL
        try:
            while at < count:
                entry = <tuple>entries[at]
                at += 1
                event = entry[2]
                keyed = NULL
                row = <ActionRow>event if type(event) is ActionRow else row_of(event) if type(event) is ActionEvent else None
                if row is not None:
                    keyed = PyDict_GetItem(known_agents, row.agent_id)
                    if keyed != NULL:
                        body = peek(keyed, KEYED.body)
                        pending = <dict>peek(body, self.body.pending)
                        if pending and row.decision_id in pending:
                            keyed = NULL
                if keyed == NULL:
                    begin = at - 1
                    stage.next_offset, stage.stream_ms = next_offset, stream_ms
                    stage.process_events(entries[begin:at], out)
                    next_offset, stream_ms, free_ms = stage.next_offset, stage.stream_ms, stage._free_until_ms
                    continue
                offset, at_ms = entry[0], entry[1]
                if offset < next_offset:
                    continue
                next_offset = offset + 1
                if at_ms > free_ms or at_ms < stream_ms:
                    stage.stream_ms = stream_ms
                    at_ms = stage.advance(at_ms)
                    free_ms = stage._free_until_ms
                stream_ms = at_ms
                if offset < <int64_t><object>peek(keyed, KEYED.next_offset):
                    continue
                put(keyed, KEYED.next_offset, next_offset)
                if <object>peek(keyed, KEYED.is_dirty) is False:
                    stage.mark(<object>keyed)
                seen = admit(peek(keyed, KEYED.recent), row.id_hash, <uint32_t>row.content_hash)
                if seen == DUPLICATE:
                    stage.duplicates += 1
                    continue
                if seen == CONFLICT:
                    stage.on_conflict(offset, at_ms, row.event, <object>keyed, out)
                put(body, self.body.last_ms, at_ms)
                judged += 1
                self.ask(row, offset, at_ms, keyed, body, out)
        finally:
            stage.next_offset, stage.stream_ms = next_offset, stream_ms
            stage.judged += judged

    cdef int ask(
        self, ActionRow row, int64_t offset, int64_t at_ms, PyObject* keyed, PyObject* body, list out
    ) except -1:
        """Each detector in turn: calm, or its own opinion."""
        stage = self.stage
        cdef bint is_backlog = row.time_ms < at_ms - self.backlog_ms, is_calm
        cdef int64_t count = 0
        cdef int part
        cdef list calls = <list>peek(body, self.body.calls)  # kept: a detector that fails has it replaced
        cdef PyObject* state
        action = None
        for call in calls:
            state = PyTuple_GET_ITEM(call, 1)
            index = <object>PyTuple_GET_ITEM(call, 2)
            part = <int>self.parts[index]
            try:
                is_calm = False
                if part == RATE:
                    is_calm = not is_backlog and self.rate_is_calm(row, at_ms, state)
                elif part == ERRORS:
                    is_calm = errors_are_calm(row, state)
                elif part == LOOP:
                    is_calm = loop_is_calm(row, at_ms, state, self.slow_times)
                elif part == CHANGE:
                    is_calm = change_is_calm(row, state)
                elif part == VALUES:
                    is_calm = values_are_calm(row, at_ms, state, self.chance_factor)
                elif part == BREACH:
                    is_calm = breach_is_calm(row, state)
                elif part == BLAST:
                    count = blast_radius(row, at_ms, state)
                    is_calm = count == CALM
                if is_calm:
                    continue
                if action is None:
                    action = stage.action_of(row, at_ms, is_backlog)
                if part == BLAST and count >= 0:
                    evidence = stage.detectors[index]._judge(action, <object>state, count, 0)
                else:
                    evidence = (<object>PyTuple_GET_ITEM(call, 0))(action, <object>state)
            except Exception as problem:
                if action is None:
                    action = stage.action_of(row, at_ms, is_backlog)
                stage._disable(offset, action, <object>keyed, index, problem, out)
            else:
                if evidence is not None:
                    stage._say(offset, action, <object>keyed, index, evidence, out)
        return 0

    cdef bint rate_is_calm(self, ActionRow row, int64_t at_ms, PyObject* state) except -1:
        """``ActionRate.observe`` where neither the bucket nor a window is full."""
        cdef int64_t n
        cdef double full_at_ms
        cdef PyObject* known
        if at_ms >= <int64_t><object>peek(state, RATES.end_ms):
            self.open_minute(state, at_ms)
        names = <object>peek(state, RATES.names)
        known = PyDict_GetItem(names, row.action)
        if known == NULL:
            return False
        n = <int64_t><object>peek(state, RATES.n) + 1
        said = n
        if said >= <object>peek(state, RATES.room):  # compared as objects: limits may be beyond 64 bits
            return False
        if at_ms >= <int64_t><object>peek(state, RATES.last_ms):
            full_at_ms = <object>peek(state, RATES.full_at_ms)
            full_at_ms = (full_at_ms if full_at_ms > at_ms else <double>at_ms) + self.step_ms
            if full_at_ms - at_ms > self.burst_ms:
                return False
            put(state, RATES.last_ms, at_ms)
            put(state, RATES.full_at_ms, full_at_ms)
        put(state, RATES.n, said)
        PyDict_SetItem(names, row.action, <object>known + 1)
        return True

    cdef int open_minute(self, PyObject* s, int64_t at_ms) except -1:
        """``ActionRate._open_minute`` within an hour, while the limits stand still; else it is called."""
        cdef int64_t minute = at_ms // MINUTE, last = <object>peek(s, RATES.minute), passed, count, n, total, room, left
        cdef int64_t* ring
        if (
            minute // 60 != last // 60
            or <int64_t><object>peek(s, RATES.first_ms) < 0
            or <object>peek(s, RATES.level) != 1
            or <object>peek(s, RATES.factor) != self.rate.shared.factor
        ):
            self.rate._open_minute(<object>s, at_ms)
            return 0
        ring = <int64_t*>(<array.array>peek(s, RATES.ring)).data.as_longlongs
        n, total = <object>peek(s, RATES.n), <object>peek(s, RATES.total)
        if n:
            total += n
            put(s, RATES.total, total)
            put(s, RATES.n, 0)
            raise_to(s, RATES.peak_1, n)
            raise_to(s, RATES.peak_5, total - ring[(last - 4) & 63])
            raise_to(s, RATES.peak_15, total - ring[(last - 14) & 63])
            raise_to(s, RATES.peak_60, total - ring[(last - 59) & 63])
        for passed in range(last + 1, minute + 1):
            ring[passed & 63] = total
        if minute // 5 != last // 5:
            count = total - <int64_t><object>peek(s, RATES.base_5)
            put(s, RATES.square_5, <int64_t><object>peek(s, RATES.square_5) + count * count)
            put(s, RATES.base_5, total)
            if minute // 15 != last // 15:
                count = total - <int64_t><object>peek(s, RATES.base_15)
                put(s, RATES.square_15, <int64_t><object>peek(s, RATES.square_15) + count * count)
                put(s, RATES.base_15, total)
                names = <dict>peek(s, RATES.names)
                put(s, RATES.names, {name: kept >> 1 for name, kept in names.items() if kept > 1})
        put(s, RATES.minute, minute)
        put(s, RATES.end_ms, (minute + 1) * MINUTE)
        room = <int64_t><object>peek(s, RATES.least_short) - total + ring[(minute - 14) & 63]
        left = <int64_t><object>peek(s, RATES.least_long) - total + ring[(minute - 59) & 63]
        room = left if left < room else room
        if room > 0:
            put(s, RATES.room, room)
        else:
            put(s, RATES.room, self.rate._room(<object>s))
        return 0


cdef inline int raise_to(PyObject* s, Py_ssize_t place, int64_t count) except -1:
    if count > <int64_t><object>peek(s, place):
        put(s, place, count)
    return 0


# --- streams.recent ----------------------------------------------------------------------------------------------------


cdef int admit(PyObject* recent, uint64_t id_hash, uint32_t content) except -1:
    """``Recent.admit``."""
    cdef array.array filter_of = <array.array>peek(recent, RECENT.filter)
    if len(filter_of) == 0:
        return admit_short(recent, id_hash, content)
    cdef uint16_t* counts = filter_of.data.as_ushorts
    ids, contents = <object>peek(recent, RECENT.ids), <object>peek(recent, RECENT.contents)
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(ids) // 8, at, place
    cdef uint64_t* known = <uint64_t*>PyByteArray_AS_STRING(ids)
    cdef uint32_t* kept = <uint32_t*>PyByteArray_AS_STRING(contents)
    cdef uint64_t slot = id_hash & (SLOTS - 1)
    if counts[slot]:
        for at in range(size):
            if known[at] == id_hash:
                return DUPLICATE if kept[at] == content else CONFLICT
    place = <object>peek(recent, RECENT.next)
    if size < ROOM:
        PyByteArray_Resize(ids, (size + 1) * 8)
        PyByteArray_Resize(contents, (size + 1) * 4)
        known = <uint64_t*>PyByteArray_AS_STRING(ids)
        kept = <uint32_t*>PyByteArray_AS_STRING(contents)
        known[size] = id_hash
        kept[size] = content
    else:
        counts[known[place] & (SLOTS - 1)] -= 1
        known[place] = id_hash
        kept[place] = content
    counts[slot] += 1
    put(recent, RECENT.next, (place + 1) & (ROOM - 1))
    return NEW


cdef int admit_short(PyObject* recent, uint64_t id_hash, uint32_t content) except -1:
    """``Recent._admit_short``."""
    ids, contents = <object>peek(recent, RECENT.ids), <object>peek(recent, RECENT.contents)
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(ids) // 8, at
    cdef uint64_t* known = <uint64_t*>PyByteArray_AS_STRING(ids)
    for at in range(size):
        if known[at] == id_hash:
            return DUPLICATE if (<uint32_t*>PyByteArray_AS_STRING(contents))[at] == content else CONFLICT
    PyByteArray_Resize(ids, (size + 1) * 8)
    PyByteArray_Resize(contents, (size + 1) * 4)
    (<uint64_t*>PyByteArray_AS_STRING(ids))[size] = id_hash
    (<uint32_t*>PyByteArray_AS_STRING(contents))[size] = content
    put(recent, RECENT.next, size + 1)
    if size + 1 >= SHORT:
        (<object>recent)._count()
    return NEW


# --- detectors.repeated_errors -------------------------------------------------------------------------------------------


cdef bint errors_are_calm(ActionRow row, PyObject* state) except -1:
    """``RepeatedErrors.observe`` of a success with no run before it and no evidence that it would weigh against."""
    cdef PyObject* kind = PyDict_GetItem(<object>peek(state, ERROR_KINDS), row.object)
    if kind == NULL:
        return False
    cdef double trials = <object>peek(kind, KIND.trials)
    if trials + 1.0 >= FORGET_AT or <object>peek(kind, KIND.run):
        return False
    cells = <dict>peek(kind, KIND.cells)
    if cells:
        for cell in cells.values():
            if <double>cell.statistic > 0.0:
                return False
    put(kind, KIND.trials, trials + 1.0)
    return True


# --- detectors.record_loop -----------------------------------------------------------------------------------------------


cdef bint loop_is_calm(ActionRow row, int64_t at_ms, PyObject* state, int64_t slow_times) except -1:
    """``RecordLoop.observe`` while the run is short, the day is the same and no record gets many writes."""
    cdef PyObject* found = PyDict_GetItem(FLAGS, row.action)
    cdef PyObject* first
    cdef Py_ssize_t position
    cdef int64_t run, count = 0
    cdef Py_ssize_t between
    cdef unsigned char* seen
    cdef unsigned char bit
    cdef bint is_same, is_next
    if found == NULL or <int64_t><object>peek(state, LOOPS.first_ms) == 0:
        return False
    if <int><object>found & IS_READ or row.ids <= 0:
        return True
    if at_ms // DAY > <int64_t><object>peek(state, LOOPS.day):
        return False
    run = <object>peek(state, LOOPS.run)
    if run == 0 or <int64_t><object>peek(state, LOOPS.hits) + <int64_t><object>peek(state, LOOPS.ends) + 1 >= LOOP_FORGET:
        return False
    digest = row._digests[0]
    seen = <unsigned char*>PyByteArray_AS_STRING(<object>peek(state, LOOPS.seen)) + row._digests[0] % LOOP_SEEN // 8
    bit = 1 << (row._digests[0] % 8)
    writes = <dict>peek(state, LOOPS.writes)
    if seen[0] & bit:
        found = PyDict_GetItem(writes, digest)
        count = 2 if found == NULL else <int64_t><object>found + 1
        if count == slow_times + 1:
            return False
    others = <list>peek(state, LOOPS.others)
    between = len(others)
    is_same = row._digests[0] == <uint64_t><object>peek(state, LOOPS.record)
    is_next = not is_same and between == BETWEEN
    if is_same and run >= 3 or is_next and (run > 3 or digest in others):
        return False
    seen[0] |= bit
    if count:
        PyDict_SetItem(writes, digest, count)
        if len(writes) > LOOP_ROOM:
            position = 0
            PyDict_Next(writes, &position, &first, NULL)
            PyDict_DelItem(writes, <object>first)
    if is_same:
        put(state, LOOPS.run, run + 1)
        put(state, LOOPS.hits, <int64_t><object>peek(state, LOOPS.hits) + 1)
        if between:
            put(state, LOOPS.others, [])
    elif is_next:
        put(state, LOOPS.ends, <int64_t><object>peek(state, LOOPS.ends) + 1)
        if <int64_t><object>peek(state, LOOPS.known) < LOOP_KNOWN:
            put(state, LOOPS.known, <int64_t><object>peek(state, LOOPS.known) + 1)
        put(state, LOOPS.record, digest)
        put(state, LOOPS.run, 1)
        put(state, LOOPS.since_ms, at_ms)
        put(state, LOOPS.others_ms, 0)
        put(state, LOOPS.others, [])
    else:
        if between == 0:
            put(state, LOOPS.others_ms, at_ms)
        others.append(digest)
    return True


# --- detectors.unexpected_change -----------------------------------------------------------------------------------------


cdef dict use_digests = {}
"""By action, by object: the digest of their use. Made anew when an agent invents names."""


cdef object use_digest(ActionRow row):
    cdef PyObject* of_action = PyDict_GetItem(use_digests, row.action)
    cdef PyObject* found
    if of_action != NULL:
        found = PyDict_GetItem(<object>of_action, row.object)
        if found != NULL:
            return <object>found
    if of_action == NULL or len(<dict>of_action) >= 256:
        use_digests[row.action] = {}
    digest = use_digests[row.action][row.object] = _digest(row.object, row.action)
    return digest


cdef inline bint is_known(object known, object digest) except -1:
    """Whether a thing was met more than once."""
    cdef PyObject* met = PyDict_GetItem(known, digest)
    return met != NULL and <int><object>met == 2


cdef bint change_is_calm(ActionRow row, PyObject* state) except -1:
    """``UnexpectedChange.observe`` of a write to things that were all met more than once."""
    cdef PyObject* flags = PyDict_GetItem(FLAGS, row.action)
    cdef int64_t* counts
    cdef int place
    if flags == NULL or <int64_t><object>peek(state, CHANGES.first_ms) == 0:
        return False
    if <int><object>flags & IS_READ:
        return True
    if row.cells == LEFT or not is_known(<object>peek(state, CHANGES.uses), use_digest(row)):
        return False
    for place in range(row.cells):
        if not is_known(<object>peek(state, CHANGES.fields), row._cells[place].field):
            return False
    if row.has_owner and not is_known(<object>peek(state, CHANGES.owners), row.owner):
        return False
    counts = <int64_t*>(<array.array>peek(state, CHANGES.counts)).data.as_longlongs
    counts[0] += 1
    counts[1] += row.cells
    counts[2] += row.has_owner
    return True


# --- detectors.value_shift -----------------------------------------------------------------------------------------------

cdef enum:
    ASPECTS = 3
    BETS = 2

cdef int VALUE_TOTAL = value_shift.TOTAL, VALUE_USED = value_shift.USED, VALUE_NEW = value_shift.NEW
cdef int VALUE_REST = value_shift.REST, VALUE_KEYS = value_shift.KEYS
cdef int VALUE_SLOTS = value_shift.SLOTS, VALUE_WIDTH = value_shift.WIDTH
cdef int64_t VALUE_KNOWN = value_shift.KNOWN_AT, VALUE_FORGET = value_shift.FORGET_AT
cdef double POWERS[4]
cdef double STAKE = _STAKE
assert len(_POWERS) == 4 and _BETS == BETS
for _place in range(4):
    POWERS[_place] = _POWERS[_place]
cdef double USUAL_P = 0.2
"""A p-value from which a bet surely loses: the e-value is below one from .163 on."""

cdef struct Weighed:
    int slot
    bint is_weighed
    double e_value


cdef bint values_are_calm(ActionRow row, int64_t at_ms, PyObject* state, double chance_factor) except -1:
    """``ValueShift.observe`` of changes none of which is strange or new, in fields that peers don't judge.

    Nothing is touched before that is known.
    """
    cdef PyObject* flags = PyDict_GetItem(FLAGS, row.action)
    cdef PyObject* fields[MAX_CELLS]
    cdef Weighed seen[MAX_CELLS * ASPECTS]
    cdef int place, before, aspect
    cdef int64_t code, today = at_ms // DAY
    cdef Cell* cell
    if flags == NULL or <int64_t><object>peek(state, VALUE_FIRST) == 0:
        return False
    if <int><object>flags & IS_READ or row.cells == 0:
        return True
    if row.cells == LEFT:
        return False
    for place in range(row.cells):
        cell = &row._cells[place]
        fields[place] = PyDict_GetItem(<object>peek(state, VALUE_FIELDS), cell.field)
        if fields[place] == NULL or <object>peek(fields[place], FIELD.peers) is not None:
            return False
        for before in range(place):
            if fields[before] == fields[place]:
                return False
        for aspect in range(ASPECTS):
            code = cell.form if aspect == 0 else cell.step if aspect == 2 else cell.value
            if aspect == 1 and cell.is_date:
                code = <int64_t>2 << 48 | days_code(cell.value - today)
            if not weigh(fields[place], aspect, code, chance_factor, &seen[place * ASPECTS + aspect]):
                return False
    for place in range(row.cells):
        for aspect in range(ASPECTS):
            learn(fields[place], aspect, &seen[place * ASPECTS + aspect])
    return True


cdef bint weigh(PyObject* field, int aspect, int64_t code, double chance_factor, Weighed* seen) except -1:
    """``_weigh`` up to where anything changes; False when the symbol is strange, has no slot, or counts are halved."""
    cdef int64_t* table = <int64_t*>(<array.array>peek(field, FIELD.tables)).data.as_longlongs + aspect * VALUE_WIDTH
    cdef double* evidence = (<array.array>peek(field, FIELD.evidence)).data.as_doubles + aspect * BETS
    cdef int64_t* keys = table + VALUE_KEYS
    cdef int64_t* counts = keys + VALUE_SLOTS
    cdef int64_t total = table[VALUE_TOTAL], rest = table[VALUE_REST], count, rarer
    cdef int slot, used = <int>table[VALUE_USED], at = -1, place
    cdef double p
    if total + 1 >= VALUE_FORGET:
        return False
    for slot in range(used):
        if keys[slot] == code:
            at = slot
            break
    if at < 0:
        if used < VALUE_SLOTS:
            return False
        count, at = rest, VALUE_SLOTS
    else:
        count = counts[at]
    seen.slot, seen.is_weighed = at, False
    if total < VALUE_KNOWN:
        return True
    rarer = rest if rest <= count else 0
    for slot in range(used):
        if counts[slot] <= count:
            rarer += counts[slot]
    if rarer < table[VALUE_NEW]:
        rarer = table[VALUE_NEW]
    p = chance_factor * (rarer + 1.0) / (total + 1.0)
    if p > 1.0:
        p = 1.0
    if p >= USUAL_P and evidence[0] == 0.0 and evidence[1] == 0.0:
        return True
    seen.is_weighed, seen.e_value = True, 0.0
    for place in range(4):
        seen.e_value += POWERS[place] * pow(p, POWERS[place] - 1.0)
    seen.e_value /= 4
    return seen.e_value <= 1.0


cdef int learn(PyObject* field, int aspect, Weighed* seen) except -1:
    """``_bet`` on a symbol that is not strange, and ``_learn``."""
    cdef int64_t* table = <int64_t*>(<array.array>peek(field, FIELD.tables)).data.as_longlongs + aspect * VALUE_WIDTH
    cdef double* evidence = (<array.array>peek(field, FIELD.evidence)).data.as_doubles + aspect * BETS
    cdef double all_in, a_tenth
    if seen.is_weighed:
        all_in, a_tenth = evidence[0] + log(seen.e_value), evidence[1] + log(1.0 - STAKE)
        evidence[0] = all_in if all_in > 0.0 else 0.0
        evidence[1] = a_tenth if a_tenth > 0.0 else 0.0
        if evidence[0] == 0.0 and evidence[1] == 0.0:
            (<object>field).calm_down(aspect)
    if seen.slot == VALUE_SLOTS:
        table[VALUE_REST] += 1
    else:
        table[VALUE_KEYS + VALUE_SLOTS + seen.slot] += 1
    table[VALUE_TOTAL] += 1
    return 0


# --- detectors.policy_breach -----------------------------------------------------------------------------------------------


cdef bint breach_is_calm(ActionRow row, PyObject* state) except -1:
    """``PolicyBreach.observe`` of what was found in order before: an action on an object, and its fields."""
    cdef PyObject* found = PyDict_GetItem(FLAGS, row.action)
    cdef int place
    if found == NULL or row.is_external or row.cells == LEFT or <int><object>found & (IS_EXTERNAL | IS_FINAL):
        return False
    found = PyDict_GetItem(<object>peek(state, BREACH_USES), row.action)
    if found == NULL or PyDict_GetItem(<object>found, row.object) == NULL:
        return False
    for place in range(row.cells):
        if PyDict_GetItem(<object>peek(state, BREACH_DIGESTS), row._cells[place].field) == NULL:
            return False
    return True


# --- detectors.blast_radius and detectors.distinct -----------------------------------------------------------------------


cdef int64_t blast_radius(ActionRow row, int64_t at_ms, PyObject* state) except -3:
    """``BlastRadius.observe``: CALM, or UNTOUCHED when it has to look itself, or the count that it has to judge."""
    cdef PyObject* found = PyDict_GetItem(FLAGS, row.action)
    if found == NULL or row.ids > MAX_IDS or row.is_external:
        return UNTOUCHED
    cdef int flags = <object>found
    if flags & IS_EXTERNAL:
        return UNTOUCHED
    if flags & IS_READ:
        return CALM
    cdef int64_t count = row.ids if row.ids > 0 else 0
    if row.records > count:
        count = row.records
    cdef PyObject* records = peek(state, BLASTS.records)
    cdef bint is_below
    cdef int64_t told, since_ms
    recent = add(records, row, at_ms, count if count else 1)  # limits are compared as objects: any size is allowed
    calm, limits, said = <object>peek(state, BLASTS.calm), <object>peek(state, BLASTS.limits), count
    is_below = recent <= calm
    told = <int64_t><object>peek(state, BLASTS.told_distinct)
    since_ms = at_ms - <int64_t><object>peek(state, BLASTS.told_distinct_ms)
    if told and is_below and since_ms >= EPISODE_MS:
        put(state, BLASTS.told_distinct, 0)
    if (
        said <= calm
        and (
            is_below
            or recent < 2 * told
            or since_ms < HOLD_BACK_MS
        )
        and recent <= limits.records_per_10_min
        and <object>peek(records, DISTINCT.day) <= limits.records_per_day
        and not flags & IS_FINAL
        and not <dict>peek(state, BLASTS.spoken)
    ):
        return CALM
    return count


cdef int advance(PyObject* counter, int64_t minute) except -1:
    """``DistinctCounter._advance`` within an hour; else it is called."""
    cdef int64_t old = <object>peek(counter, DISTINCT.minute), passed, recent, gone, begin
    cdef list minutes
    if minute // 60 != old // 60:
        (<object>counter)._advance(minute)
        return 0
    recent = <object>peek(counter, DISTINCT.recent)
    if recent:
        minutes = <list>peek(counter, DISTINCT.minutes)
        begin = old + 1 if minute - old < MINUTES else minute - MINUTES + 1
        for passed in range(begin, minute + 1):
            gone = <object>PyList_GET_ITEM(minutes, passed % MINUTES)
            if gone:
                recent -= gone
                minutes[passed % MINUTES] = 0
        put(counter, DISTINCT.recent, recent)
    put(counter, DISTINCT.minute, minute)
    return 0


cdef inline int bump(list ring, int64_t place, int64_t by) except -1:
    ring[place] = <int64_t><object>PyList_GET_ITEM(ring, place) + by
    return 0


cdef object add(PyObject* counter, ActionRow row, int64_t at_ms, int64_t count):
    """``DistinctCounter.add``."""
    cdef int64_t minute = at_ms // 60000, now, last, recent, day
    cdef int place
    cdef Py_ssize_t position
    cdef PyObject* found
    cdef PyObject* first
    if minute > <int64_t><object>peek(counter, DISTINCT.minute):
        advance(counter, minute)
    if row.ids < 0:
        (<object>counter)._count(count)
        return <object>peek(counter, DISTINCT.recent)
    cdef dict seen = <dict>peek(counter, DISTINCT.seen)
    cdef list minutes = <list>peek(counter, DISTINCT.minutes), hours = <list>peek(counter, DISTINCT.hours)
    now_said = <object>peek(counter, DISTINCT.minute)
    now, recent, day = now_said, <object>peek(counter, DISTINCT.recent), <object>peek(counter, DISTINCT.day)
    for place in range(row.ids):
        digest = row._digests[place]
        found = PyDict_GetItem(seen, digest)
        last = -1
        if found != NULL:
            last = <int64_t><object>found
            PyDict_DelItem(seen, digest)
        PyDict_SetItem(seen, digest, now_said)
        if last == now:
            continue
        if last >= 0 and last > now - MINUTES:
            bump(minutes, last % MINUTES, -1)
            recent -= 1
        if last >= 0 and last // 60 > now // 60 - HOURS:
            bump(hours, last // 60 % HOURS, -1)
            day -= 1
        bump(minutes, now % MINUTES, 1)
        bump(hours, now // 60 % HOURS, 1)
        recent += 1
        day += 1
        if last < 0 and len(seen) > <int64_t><object>peek(counter, DISTINCT.cap):
            position = 0
            PyDict_Next(seen, &position, &first, NULL)
            PyDict_DelItem(seen, <object>first)
    put(counter, DISTINCT.recent, recent)
    put(counter, DISTINCT.day, day)
    if count > row.ids:
        (<object>counter)._count(count - row.ids)
    return <object>peek(counter, DISTINCT.recent)

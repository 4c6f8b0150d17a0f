# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Lines read without building the event: of agent actions what the engine's calm path asks, of deals the data alone.

A line is taken when it is *plain*: an action with outcome ok, or a change or activity whose values are no lists or
objects; known fields only, each once and of the right type, no escape in a string. All others are left to ``events.structured``, which decides alone what is refused, so both
ways accept and refuse the same. A row's event is decoded when somebody asks for it.

The content's hash is that of the canonical form (msgpack, fields in the record's order, keys sorted) that
``streams.keyed`` makes of a decoded event: a retry that is formatted otherwise is still the same event.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

cimport cython

from msgspec import UNSET
from msgspec.json import Decoder
from msgspec.msgpack import Encoder
from xxhash import xxh3_64_intdigest as _xxh3

from events.times import parse_ms
from events.types import ActionEvent, ActivityEvent, Actor, ChangeEvent, CrmActivity, CrmChange, Participant


from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF

from events._slots cimport offset_of, peek, put


cdef extern from "Python.h":
    int PyUnicode_IS_COMPACT_ASCII(PyObject* of) noexcept
    void* PyUnicode_DATA(PyObject* of) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject* of) noexcept
    object PyUnicode_DecodeUTF8(const char* text, Py_ssize_t size, const char* errors)
    object PyType_GenericAlloc(void* of, Py_ssize_t items)


cdef extern from *:
    """
    #ifndef TRIPLINE_SOURCE
    #define TRIPLINE_SOURCE ""
    #endif
    """
    const char* TRIPLINE_SOURCE


decode = Decoder(ActionEvent).decode
decode_change, decode_activity = Decoder(ChangeEvent).decode, Decoder(ActivityEvent).decode
canonical = Encoder(order="deterministic").encode

SOURCE = TRIPLINE_SOURCE.decode()
"""Digest of the source this module was built from."""

include "_grammar.pxi"

cdef enum:
    FIELDS = 23

cdef enum Kind:
    NAME, OUTCOME, TEXT, TEXTS, CHANGES, COUNT, FLAG, TRIGGER, NULL_ONLY

# The fields of events.types.AgentAction in its order; the tests compare.
cdef enum Field:
    AGENT_ID, ACTION, OUTCOME_FIELD, AGENT_VERSION, OBJECT, RECORD_IDS, CHANGES_FIELD, RECORDS, RECIPIENTS,
    RECIPIENT_IDS, EXTERNAL, FIRST_CONTACT, AUTHORIZED_BY, TRIGGER_FIELD, REVIEWED_BY, ERROR, RUN_ID, PARENT_AGENT_ID,
    DECISION_ID, DEAL_ID, OWNER_ID, SYSTEM, TOOL

FIELD_NAMES = (
    b"agent_id", b"action", b"outcome", b"agent_version", b"object", b"record_ids", b"changes", b"records",
    b"recipients", b"recipient_ids", b"external", b"first_contact", b"authorized_by", b"trigger", b"reviewed_by",
    b"error", b"run_id", b"parent_agent_id", b"decision_id", b"deal_id", b"owner_id", b"system", b"tool",
)

cdef struct FieldOf:
    const char* name
    int size
    int kind

cdef FieldOf TABLE[FIELDS]
cdef int* KINDS = [
    NAME, NAME, OUTCOME, TEXT, TEXT, TEXTS, CHANGES, COUNT, COUNT, TEXTS, FLAG, FLAG, TEXT, TRIGGER, TEXT, NULL_ONLY,
    TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT,
]
for _index, _name in enumerate(FIELD_NAMES):
    TABLE[_index].name = PyBytes_AS_STRING(_name)
    TABLE[_index].size = len(_name)
    TABLE[_index].kind = KINDS[_index]

cdef int follows[FIELDS + 1]
"""The field that stood behind each field in the line before; producers keep an order."""
for _index in range(FIELDS + 1):
    follows[_index] = _index % FIELDS

cdef struct Read:
    Span id, source, time, agent_id, action
    Span object_, decision_id, owner_id
    Span changes                    # their canonical form; of size 0 where there are none
    Span ids[MAX_IDS]
    int object_is, decision_is, owner_is      # 0 not given, 1 null, 2 a text
    int ids_count                   # -1 not given
    int64_t records                 # -1 not given
    bint is_external
    int kind                        # of the event, as far as it is known


cdef enum:
    UNKNOWN, ACTION_LINE, CHANGE_LINE, ACTIVITY_LINE


cdef int trigger(Line* line) noexcept nogil:
    """null, or {"kind": …, "ref": …}."""
    cdef Span key, kind, ref
    cdef int has_kind = 0, has_ref = 0
    ref.at, ref.size = NULL, 0
    if is_null(line):
        line.out[0] = 0xC0
        line.out += 1
        return 1
    if not take(line, c'{'):
        return 0
    while True:
        if not text(line, &key) or not take(line, c':'):
            return 0
        if is_text(key, b"kind", 4) and not has_kind:
            if not text(line, &kind) or not 1 <= kind.size <= 256:
                return 0
            has_kind = 1
        elif is_text(key, b"ref", 3) and not has_ref:
            if is_null(line):
                has_ref = 1
            elif text(line, &ref) and ref.size <= MAX_TEXT:
                has_ref = 2
            else:
                return 0
        else:
            return 0
        if take(line, c'}'):
            break
        if not take(line, c','):
            return 0
    if not has_kind:
        return 0
    line.out[0] = 0x80 | (2 if has_ref else 1)
    line.out += 1
    put_text(line, <const uint8_t*>b"kind", 4)
    put_text(line, kind.at, kind.size)
    if has_ref:
        put_text(line, <const uint8_t*>b"ref", 3)
        if has_ref == 1:
            line.out[0] = 0xC0
            line.out += 1
        else:
            put_text(line, ref.at, ref.size)
    return 1


cdef inline int find(Span key, int last) noexcept nogil:
    """The field of this name, where ``last`` (-1: none) stood before it; -1 when it is unknown."""
    cdef int at = follows[last + 1]
    if is_text(key, TABLE[at].name, TABLE[at].size):
        return at
    for at in range(FIELDS):
        if is_text(key, TABLE[at].name, TABLE[at].size):
            follows[last + 1] = at
            return at
    return -1


cdef int field(Line* line, int at, Read* read, uint8_t* spare) except -1:
    """One field's value into its canonical form, and what the engine asks of it into ``read``."""
    cdef Span span
    cdef int kind = TABLE[at].kind, ignored = 0, given = 2
    cdef int64_t value = 0
    if kind == NAME:
        if not text(line, &span) or not 1 <= span.size <= (256 if at == AGENT_ID else 128):
            return 0
        put_text(line, span.at, span.size)
        if at == AGENT_ID:
            read.agent_id = span
        else:
            read.action = span
        return 1
    if kind == OUTCOME:
        if not text(line, &span) or not is_text(span, b"ok", 2):
            return 0
        put_text(line, span.at, span.size)
        return 1
    if kind == TEXT:
        if is_null(line):
            given = 1
            line.out[0] = 0xC0
            line.out += 1
        elif text(line, &span) and span.size <= MAX_TEXT:
            put_text(line, span.at, span.size)
        else:
            return 0
        if at == OBJECT:
            read.object_is, read.object_ = given, span
        elif at == DECISION_ID:
            read.decision_is, read.decision_id = given, span
        elif at == OWNER_ID:
            read.owner_is, read.owner_id = given, span
        return 1
    if kind == TEXTS:
        if at == RECORD_IDS:
            return texts(line, &read.ids[0], &read.ids_count)
        return texts(line, NULL, &ignored)
    if kind == CHANGES:
        return map_of(line, True, spare)
    if kind == COUNT:
        skip_space(line)
        if not integer(line, &value, &ignored) or not ignored or not 0 <= value <= 9007199254740992:
            return 0
        put_int(line, value)
        if at == RECORDS:
            read.records = value
        return 1
    if kind == FLAG:
        skip_space(line)
        if word(line, b"true", 4):
            line.out[0] = 0xC3
        elif word(line, b"false", 5):
            line.out[0] = 0xC2
        else:
            return 0
        if at == EXTERNAL:
            read.is_external = line.out[0] == 0xC3
        line.out += 1
        return 1
    if kind == TRIGGER:
        return trigger(line)
    if not is_null(line):
        return 0
    line.out[0] = 0xC0
    line.out += 1
    return 1


cdef int action_data(Line* line, Read* read, uint8_t* scratch, uint8_t* canonical, Py_ssize_t* size) except -1:
    """The event's data: each field's canonical form, then all in the record's order."""
    cdef uint8_t* begins[FIELDS]
    cdef Py_ssize_t sizes[FIELDS]
    cdef uint32_t seen = 0
    cdef int at = -1, count = 0
    cdef Span key
    cdef uint8_t* spare = scratch + 4 * MAX_LINE
    cdef Line out
    line.out = scratch
    read.ids_count, read.records, read.is_external = -1, -1, False
    read.object_is = read.decision_is = read.owner_is = 0
    read.changes.size = 0
    if not take(line, c'{'):
        return 0
    while True:
        if not text(line, &key) or not take(line, c':'):
            return 0
        at = find(key, at)
        if at < 0 or seen >> at & 1:
            return 0
        seen |= <uint32_t>1 << at
        begins[at] = line.out
        if not field(line, at, read, spare):
            return 0
        sizes[at] = line.out - begins[at]
        if at == CHANGES_FIELD:
            read.changes.at, read.changes.size = begins[at], sizes[at]
        count += 1
        if take(line, c'}'):
            break
        if not take(line, c','):
            return 0
    if seen & 7 != 7:
        return 0
    canonical[0], canonical[1], canonical[2] = 0xDE, 0, <uint8_t>count  # as msgspec writes a record of so many fields
    out.out = canonical + 3
    for at in range(FIELDS):
        if seen >> at & 1:
            put_text(&out, <const uint8_t*>TABLE[at].name, TABLE[at].size)
            memcpy(out.out, begins[at], sizes[at])
            out.out += sizes[at]
    size[0] = out.out - canonical
    return 1


# --- times -----------------------------------------------------------------------------------------------------------


cdef inline int digits(const uint8_t* at, int count) noexcept nogil:
    """A number of so many digits; a negative one when there is anything else."""
    cdef int value = 0, place
    for place in range(count):
        if not c'0' <= at[place] <= c'9':
            return -100000
        value = value * 10 + at[place] - c'0'
    return value


cdef int usual_time(Span span, int64_t* at_ms) noexcept nogil:
    """YYYY-MM-DDTHH:MM:SS[.f[f[f]]]Z as milliseconds; 0 for every other form."""
    cdef const uint8_t* t = span.at
    cdef int64_t year, month, day, hour, minute, second, fraction = 0
    cdef int digits_after = <int>span.size - 21
    if span.size == 20:
        digits_after = 0
    elif not 1 <= digits_after <= 3 or t[19] != c'.':
        return 0
    if t[4] != c'-' or t[7] != c'-' or t[10] != c'T' or t[13] != c':' or t[16] != c':' or t[span.size - 1] != c'Z':
        return 0
    year, month, day = digits(t, 4), digits(t + 5, 2), digits(t + 8, 2)
    hour, minute, second = digits(t + 11, 2), digits(t + 14, 2), digits(t + 17, 2)
    if digits_after:
        fraction = digits(t + 20, digits_after)
        if fraction < 0:
            return 0
        fraction *= 100 if digits_after == 1 else 10 if digits_after == 2 else 1
    if year < 1970 or not 1 <= month <= 12 or day < 1:
        return 0
    if day > 28 and (month == 2 or day > 30 + (month + month // 8) % 2):
        return 0  # a 29th of February is read the careful way
    if not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 59:
        return 0
    at_ms[0] = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60000 + second * 1000 + fraction
    return 1


cdef int usual_ms(const uint8_t* text, Py_ssize_t size, int64_t* at_ms) noexcept nogil:
    """``usual_time`` of a text's bytes, for other compiled modules."""
    cdef Span span
    if size < 20:
        return 0
    span.at, span.size = text, size
    return usual_time(span, at_ms)


cdef int64_t days_since_1970(int64_t year, int64_t month, int64_t day) noexcept nogil:
    """In the proleptic Gregorian calendar, years counted from March. From year 1 on."""
    cdef int64_t shifted = year - (month <= 2)
    cdef int64_t era = (shifted if shifted >= 0 else shifted - 399) // 400
    cdef int64_t of_era = shifted - era * 400
    cdef int64_t of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


cdef inline int kind_of(Span name) noexcept nogil:
    """Which lines are read here, by their type."""
    if is_text(name, b"tripline.agent.action.v1", 24):
        return ACTION_LINE
    if is_text(name, b"tripline.crm.activity.v1", 24):
        return ACTIVITY_LINE
    return CHANGE_LINE if is_text(name, b"tripline.crm.change.v1", 22) else UNKNOWN


include "_values.pxi"
include "_deal_lines.pxi"


# --- times of events -------------------------------------------------------------------------------------------------

cdef struct TimesAt:
    Py_ssize_t time, activity, occurred_at, scheduled_for, change, committed_at

cdef TimesAt TIMES
TIMES.time, TIMES.activity = offset_of(ActivityEvent, "time"), offset_of(ActivityEvent, "data")
TIMES.occurred_at, TIMES.scheduled_for = offset_of(CrmActivity, "occurred_at"), offset_of(CrmActivity, "scheduled_for")
TIMES.change, TIMES.committed_at = offset_of(ChangeEvent, "data"), offset_of(CrmChange, "committed_at")


cdef int64_t ms_of(PyObject* text) except? -1:
    cdef int64_t at_ms = 0
    if (
        PyUnicode_IS_COMPACT_ASCII(text)
        and usual_ms(<const uint8_t*>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text), &at_ms)
    ):
        return at_ms
    return parse_ms(<object>text)


cdef inline int check_time(PyObject* text) except -1:
    if text != <PyObject*>UNSET and text != <PyObject*>None:
        ms_of(text)
    return 0


def times_of(list events not None):
    """``structured.times_of``; the times of rare types are left to it."""
    cdef PyObject* data
    cdef list found = []
    for event in events:
        if type(event) is ActivityEvent:
            data = peek(<PyObject*>event, TIMES.activity)
            check_time(peek(data, TIMES.occurred_at))
            check_time(peek(data, TIMES.scheduled_for))
        elif type(event) is ChangeEvent:
            check_time(peek(peek(<PyObject*>event, TIMES.change), TIMES.committed_at))
        elif type(event) is not ActionEvent:
            from events import structured
            return structured.times_of(events)
        found.append(ms_of(peek(<PyObject*>event, TIMES.time)))
    return found


# --- rows ------------------------------------------------------------------------------------------------------------


@cython.final
@cython.freelist(4096)
@cython.no_gc
cdef class ActionRow:
    """One plain action: what the calm path needs, and its bytes."""

    def __init__(self):
        raise TypeError("rows are made by scan() alone")

    @property
    def raw(self):
        """The line's bytes; nothing for the row of an event."""
        return None if self._block is None else self._block[self._start : self._stop]

    @property
    def event(self):
        """The event, decoded when first asked for."""
        if self._event is None:
            self._event = decode(self.raw)  # a plain line needs no further check
        return self._event

    @property
    def digests(self):
        """The hashes of its first records' ids, each with its object."""
        return [self._digests[at] for at in range(min(self.ids, MAX_IDS) if self.ids > 0 else 0)]

    @property
    def codes(self):
        """Of each change: the hash of its field with its object, form, value (or a day) and step."""
        cdef int at
        cdef Cell* cell
        found = []
        for at in range(max(self.cells, 0)):
            cell = &self._cells[at]
            found.append((cell.field, cell.form, cell.value, cell.step, bool(cell.is_date)))
        return found


cpdef ActionRow row_of(event):
    """The row of an event that was read already; None when a line of it would not be one."""
    data = event.data
    if data.outcome != "ok" or event.tenant is not UNSET or event.sequence is not UNSET:
        return None
    cdef ActionRow row = ActionRow.__new__(ActionRow)
    cdef int place
    row._event = event
    try:
        row.content_hash = _xxh3(canonical(data))
    except OverflowError:  # a field's value beyond 64 bits
        return None
    row.id, row.source, row.agent_id, row.action = event.id, event.source, data.agent_id, data.action
    row.id_hash = _xxh3(f"{row.source}\0{row.id}".encode())
    row.object, row.decision_id, row.is_external = data.object, data.decision_id, data.external is True
    row.time_ms = parse_ms(event.time)
    row.records = -1 if data.records is UNSET else data.records
    row.has_owner = isinstance(data.owner_id, str)
    if row.has_owner:
        row.owner = _xxh3(data.owner_id.encode("utf-8", "surrogatepass"))
    cdef bytes said
    row.cells = 0
    if data.changes is not UNSET:
        said = canonical(data.changes)
        cells_of(row, <const uint8_t*>PyBytes_AS_STRING(said))
    listed = data.record_ids
    if listed is UNSET:
        row.ids = -1
        return row
    row.ids = len(listed)
    for place in range(min(row.ids, MAX_IDS)):
        row._digests[place] = _xxh3(f"{row.object}\x1f{listed[place]}".encode("utf-8", "surrogatepass"))
    return row


cdef class Scanner:
    """Reads blocks of lines; keeps room to work in, and the texts that most lines share."""

    cdef uint8_t* _scratch
    cdef uint8_t* _canonical
    cdef str _source
    cdef bytes _source_raw
    cdef bint _reads_deals
    cdef DealReader _deals
    cdef object _deal_data

    def __cinit__(self, bint with_deals=False):
        self._scratch = <uint8_t*>PyMem_Malloc(6 * MAX_LINE)
        self._canonical = <uint8_t*>PyMem_Malloc(4 * MAX_LINE)
        if self._scratch == NULL or self._canonical == NULL:
            raise MemoryError
        self._source, self._source_raw = "", b""
        self._reads_deals, self._deals = with_deals, DealReader()
        self._deals.spare = self._scratch + 4 * MAX_LINE

    def __dealloc__(self):
        PyMem_Free(self._scratch)
        PyMem_Free(self._canonical)

    def scan(self, bytes block not None, Py_ssize_t place=0):
        r"""One item for each line of a block (lines end with \n or the block's end), in order: (time in ms, source, id,
        place, row), or None for a line that is not plain. The first line's place is ``place``."""
        cdef const uint8_t* begin = <const uint8_t*>PyBytes_AS_STRING(block)
        cdef const uint8_t* end = begin + PyBytes_GET_SIZE(block)
        cdef const uint8_t* at = begin
        cdef const uint8_t* stop
        cdef list found = []
        while at < end:
            stop = <const uint8_t*>memchr(at, c'\n', end - at)
            if stop == NULL:
                stop = end
            found.append(self._line(block, begin, at, stop, place))
            place += 1
            at = stop + 1
        return found

    cdef object _line(self, bytes block, const uint8_t* begin, const uint8_t* at, const uint8_t* stop, Py_ssize_t number):
        cdef Line line
        cdef Read read
        cdef Py_ssize_t size = 0
        cdef int64_t time_ms = 0
        cdef uint8_t high = 0
        cdef bint is_odd = False
        cdef Py_ssize_t place
        cdef ActionRow row
        cdef DealRow deal
        if stop > at and (stop - 1)[0] == c'\r':
            stop -= 1
        if stop - at > MAX_LINE // 2 or stop - at < 2:
            return None
        for place in range(stop - at):  # no escape, no control character anywhere
            is_odd |= (at[place] == c'\\') | (at[place] < 32)
            high |= at[place]
        if is_odd:
            return None
        if high & 0x80 and not is_utf8(at, stop):
            return None
        line.p, line.end = at, stop
        if not self._envelope(&line, &read, &size) or not usual_time(read.time, &time_ms):
            return None
        if read.kind == ACTION_LINE:
            row = self._row(block, begin, at, stop, &read, time_ms, size)
            return time_ms, row.source, row.id, number, row
        deal = self._deal(&read, time_ms, size)
        deal._block, deal._start, deal._stop = block, at - begin, stop - begin
        return time_ms, deal.source, deal.id, number, deal

    cdef DealRow _deal(self, Read* read, int64_t time_ms, Py_ssize_t size):
        cdef DealRow row = DealRow.__new__(DealRow)
        row.data, self._deal_data = self._deal_data, None
        row.is_activity = read.kind == ACTIVITY_LINE
        row.is_by_agent = self._deals.is_agent and not row.is_activity
        row.id, row.source = to_str(read.id), self._source_of(read.source)
        row.time = self._deals.time_text
        if row.time is None:
            row.time = to_str(read.time)
        row.time_ms = time_ms
        row.content_hash = _xxh3(PyBytes_FromStringAndSize(<char*>self._canonical, size))
        row.id_hash = _xxh3(joined(read.source, 0, read.id))
        return row

    cdef ActionRow _row(self, bytes block, const uint8_t* begin, const uint8_t* at, const uint8_t* stop, Read* read,
                     int64_t time_ms, Py_ssize_t size):
        cdef ActionRow row = ActionRow.__new__(ActionRow)
        cdef int place
        cdef bytes key
        row._block, row._start, row._stop = block, at - begin, stop - begin
        row.id = to_str(read.id)
        row.source = self._source_of(read.source)
        row.agent_id = to_str(read.agent_id)
        row.action = to_str(read.action)
        row.object = optional(read.object_is, read.object_)
        row.decision_id = optional(read.decision_is, read.decision_id)
        row.time_ms, row.records, row.is_external, row.ids = time_ms, read.records, read.is_external, read.ids_count
        row.content_hash = _xxh3(PyBytes_FromStringAndSize(<char*>self._canonical, size))
        row.id_hash = _xxh3(joined(read.source, 0, read.id))
        row.has_owner, row.cells = read.owner_is == 2, 0
        if row.has_owner:
            row.owner = _xxh3(PyBytes_FromStringAndSize(<const char*>read.owner_id.at, read.owner_id.size))
        if read.changes.size:
            cells_of(row, read.changes.at)
        for place in range(min(read.ids_count, MAX_IDS)):
            if read.object_is == 2:
                key = joined(read.object_, 31, read.ids[place])
            else:
                name = b"None\x1f" if read.object_is == 1 else b"UNSET\x1f"
                key = name + PyBytes_FromStringAndSize(<const char*>read.ids[place].at, read.ids[place].size)
            row._digests[place] = _xxh3(key)
        return row

    cdef int _envelope(self, Line* line, Read* read, Py_ssize_t* size) except -1:
        """The whole event; 0 for an attribute that is unknown, optional in a rare way, or given twice."""
        cdef Span key, value
        cdef uint32_t seen = 0, bit
        cdef int kind
        read.kind, read.time.size = UNKNOWN, 0
        if not take(line, c'{'):
            return 0
        while True:
            if not text(line, &key) or not take(line, c':'):
                return 0
            if is_text(key, b"data", 4):
                bit = 1
                if not self._data(line, read, size):
                    return 0
            else:
                if not text(line, &value):
                    return 0
                if is_text(key, b"id", 2):
                    bit = 2
                    read.id = value
                    if not 1 <= value.size <= 512:
                        return 0
                elif is_text(key, b"source", 6):
                    bit = 4
                    read.source = value
                    if not 1 <= value.size <= 1024:
                        return 0
                elif is_text(key, b"type", 4):
                    bit = 8
                    kind = kind_of(value)
                    if kind == UNKNOWN or (read.kind != UNKNOWN and kind != read.kind):
                        return 0
                    read.kind = kind
                elif is_text(key, b"time", 4):
                    bit = 16
                    read.time = value
                elif is_text(key, b"specversion", 11):
                    bit = 32
                    if not is_text(value, b"1.0", 3):
                        return 0
                elif is_text(key, b"datacontenttype", 15):
                    bit = 64
                    if not is_text(value, b"application/json", 16):
                        return 0
                elif is_text(key, b"subject", 7):
                    bit = 128
                elif is_text(key, b"partitionkey", 12):
                    bit = 256
                else:
                    return 0
            if seen & bit:
                return 0
            seen |= bit
            if take(line, c'}'):
                break
            if not take(line, c','):
                return 0
        skip_space(line)
        return line.p == line.end and seen & 63 == 63

    cdef int _data(self, Line* line, Read* read, Py_ssize_t* size) except -1:
        """The event's data; of an action where its type stands behind it."""
        if read.kind == UNKNOWN:
            read.kind = ACTION_LINE
        if read.kind == ACTION_LINE:
            return action_data(line, read, self._scratch, self._canonical, size)
        if not self._reads_deals:
            return 0
        self._deals.time, self._deals.time_text = read.time, None
        self._deal_data = self._deals.data(
            line, &CHANGE_SHAPE if read.kind == CHANGE_LINE else &ACTIVITY_SHAPE, self._scratch, self._canonical, size
        )
        return self._deal_data is not NOT_PLAIN

    cdef str _source_of(self, Span span):
        """The source as text; most lines have that of the line before."""
        if PyBytes_GET_SIZE(self._source_raw) != span.size or memcmp(
            PyBytes_AS_STRING(self._source_raw), span.at, span.size
        ) != 0:
            self._source_raw = PyBytes_FromStringAndSize(<const char*>span.at, span.size)
            self._source = to_str(span)
        return self._source


cdef bint is_utf8(const uint8_t* at, const uint8_t* stop):
    try:
        PyUnicode_DecodeUTF8(<const char*>at, stop - at, NULL)
    except UnicodeDecodeError:
        return False
    return True


cdef inline str to_str(Span span):
    return <str>PyUnicode_DecodeUTF8(<const char*>span.at, span.size, NULL)


cdef inline object optional(int given, Span span):
    return UNSET if given == 0 else None if given == 1 else to_str(span)


cdef inline bytes joined(Span first, uint8_t between, Span second):
    """The bytes of two texts with a byte between them."""
    cdef bytes made = PyBytes_FromStringAndSize(NULL, first.size + 1 + second.size)
    cdef uint8_t* out = <uint8_t*>PyBytes_AS_STRING(made)
    memcpy(out, first.at, first.size)
    out[first.size] = between
    memcpy(out + first.size + 1, second.at, second.size)
    return made

# Lines of changes and activities: their data is built here, as the decoder builds it, with the canonical form beside it.
#
# Frozen records and texts that come again (fields' names, roles, ids, the person who logs) are shared between events.

cdef enum:
    MOST_FIELDS = 12
    MOST_PEOPLE = 64
    TEXTS_KEPT = 8192
    LONGEST_KEPT = 40

cdef enum DealField:
    A_NAME, MAYBE_TEXT, ONE_OF, ONE_OF_OR_NULL, WHEN, FIELD_CHANGES, WHO, PEOPLE, MENTIONS, A_COUNT, MAYBE_FLAG

CHANGE_KINDS = {
    "object": A_NAME, "record_id": A_NAME, "op": ONE_OF, "changes": FIELD_CHANGES, "actor": WHO, "deal_id": MAYBE_TEXT,
    "owner_id": MAYBE_TEXT, "committed_at": WHEN, "system": MAYBE_TEXT, "origin": MAYBE_TEXT,
    "transaction": MAYBE_TEXT, "index": A_COUNT,
}
ACTIVITY_KINDS = {
    "kind": ONE_OF, "deal_id": MAYBE_TEXT, "direction": ONE_OF_OR_NULL, "participants": PEOPLE, "occurred_at": WHEN,
    "scheduled_for": WHEN, "logged_by": WHO, "system": MAYBE_TEXT, "mentions": MENTIONS, "status": ONE_OF,
}
PERSON_KINDS = {"contact_id": MAYBE_TEXT, "role": MAYBE_TEXT, "executive": MAYBE_FLAG, "name": MAYBE_TEXT}
ACTOR_KINDS = {"kind": A_NAME, "id": MAYBE_TEXT}
"""The fields of each record in its order, as the tests compare; an actor's id may not be null."""
WORDS = {
    "op": ("update", "create", "delete", "undelete", "merge", "gap"),
    "kind": ("email", "call", "meeting", "task", "note"),
    "direction": ("inbound", "outbound", "internal"),
    "status": ("done", "planned", "cancelled"),
}

cdef struct Slot:
    const char* name
    int size
    int kind
    Py_ssize_t offset       # of the value in the record
    PyObject* words         # a tuple of those allowed

cdef struct Shape:
    PyObject* of
    int count
    uint32_t needed         # the fields that must be there
    Slot slots[MOST_FIELDS]
    int follows[MOST_FIELDS + 1]

cdef Shape CHANGE_SHAPE, ACTIVITY_SHAPE, PERSON_SHAPE, ACTOR_SHAPE
cdef list _kept_names = []


cdef int describe(Shape* shape, object of, dict kinds, uint32_t needed) except -1:
    """Fill in what is known of a record's fields."""
    cdef int at = 0
    shape.of, shape.count, shape.needed = <PyObject*>of, len(kinds), needed
    for name, kind in kinds.items():
        raw = name.encode()
        _kept_names.append(raw)
        shape.slots[at].name, shape.slots[at].size = PyBytes_AS_STRING(raw), len(raw)
        shape.slots[at].kind, shape.slots[at].offset = kind, offset_of(of, name)
        shape.slots[at].words = <PyObject*>WORDS[name] if kind == ONE_OF or kind == ONE_OF_OR_NULL else NULL
        at += 1
    for at in range(MOST_FIELDS + 1):
        shape.follows[at] = at % len(kinds)
    return 0


describe(&CHANGE_SHAPE, CrmChange, CHANGE_KINDS, 7)
describe(&ACTIVITY_SHAPE, CrmActivity, ACTIVITY_KINDS, 1)
describe(&PERSON_SHAPE, Participant, PERSON_KINDS, 0)
describe(&ACTOR_SHAPE, Actor, ACTOR_KINDS, 3)

cdef uint64_t MIXER = 0x9E3779B97F4A7C15
cdef object NOT_PLAIN = object()
cdef PyObject* UNSET_ = <PyObject*>UNSET


cdef inline int find_slot(Shape* shape, Span key, int last) noexcept nogil:
    """The field of this name, where ``last`` (-1: none) stood before it; -1 when it is unknown."""
    cdef int at = shape.follows[last + 1]
    if is_text(key, shape.slots[at].name, shape.slots[at].size):
        return at
    for at in range(shape.count):
        if is_text(key, shape.slots[at].name, shape.slots[at].size):
            shape.follows[last + 1] = at
            return at
    return -1


cdef inline void put_null(Line* line) noexcept nogil:
    line.out[0] = 0xC0
    line.out += 1


cdef object number_at(const uint8_t* at):
    """null, true, false or a number, of its canonical form."""
    cdef uint8_t c = at[0]
    cdef uint64_t bits
    cdef double real
    cdef int wide
    if c == 0xC0:
        return None
    if c == 0xC2 or c == 0xC3:
        return c == 0xC3
    if c < 0x80:
        return c
    if c >= 0xE0:
        return <int>c - 256
    if c == 0xCB:
        bits = big_endian(at + 1, 8)
        memcpy(&real, &bits, 8)
        return real
    wide = 1 << (c & 3)
    bits = big_endian(at + 1, wide)
    if c < 0xD0:
        return bits
    if wide < 8 and bits >> (8 * wide - 1):
        bits |= ~<uint64_t>0 << (8 * wide)
    return <int64_t>bits


@cython.final
cdef class Texts:
    """Texts that were read lately, by their bytes: most come again."""

    cdef PyObject* kept[TEXTS_KEPT]

    def __dealloc__(self):
        cdef int at
        for at in range(TEXTS_KEPT):
            Py_XDECREF(self.kept[at])

    cdef inline str of(self, Span span):
        cdef uint64_t mixed = span.size, eight = 0
        cdef Py_ssize_t at
        cdef PyObject* known
        if span.size > LONGEST_KEPT or span.size < 2:
            return to_str(span)
        if span.size < 8:
            for at in range(span.size):
                eight = eight << 8 | span.at[at]
            mixed = (mixed ^ eight) * MIXER
        else:
            for at in range(0, span.size - 7, 8):
                memcpy(&eight, span.at + at, 8)
                mixed = (mixed ^ eight) * MIXER
                mixed ^= mixed >> 32
            memcpy(&eight, span.at + span.size - 8, 8)
            mixed = (mixed ^ eight) * MIXER
        mixed = (mixed ^ mixed >> 29) % TEXTS_KEPT
        known = self.kept[mixed]
        if known != NULL and PyUnicode_GET_LENGTH(known) == span.size and memcmp(
            PyUnicode_DATA(known), span.at, span.size
        ) == 0:
            return <str>known
        made = to_str(span)
        if PyUnicode_IS_COMPACT_ASCII(<PyObject*>made):
            Py_XDECREF(known)
            Py_INCREF(made)
            self.kept[mixed] = <PyObject*>made
        return made


@cython.final
cdef class DealReader:
    """Builds the data of changes and activities."""

    cdef Texts texts
    cdef uint8_t* spare
    cdef object actor
    cdef bytes actor_raw, actor_canonical
    cdef bint is_agent, actor_is_agent
    cdef Span time
    cdef str time_text

    def __cinit__(self):
        self.texts, self.actor, self.actor_raw, self.actor_canonical = Texts(), None, b"", b""

    cdef object data(self, Line* line, Shape* shape, uint8_t* scratch, uint8_t* canonical, Py_ssize_t* size):
        """A change's or activity's data and its canonical form; NOT_PLAIN where the decoder has to look."""
        cdef Line out
        line.out, out.out = scratch, canonical
        self.is_agent = False
        made = self.record(line, shape, &out)
        size[0] = out.out - canonical
        return made

    cdef object record(self, Line* line, Shape* shape, Line* into):
        """One record; its fields' canonical forms go to ``line.out`` as they come, then in order to ``into.out``."""
        cdef uint8_t* begins[MOST_FIELDS]
        cdef Py_ssize_t sizes[MOST_FIELDS]
        cdef uint32_t seen = 0
        cdef int at = -1, count = 0
        cdef Span key
        cdef PyObject* made
        if not take(line, c'{'):
            return NOT_PLAIN
        done = PyType_GenericAlloc(<void*>shape.of, 0)
        made = <PyObject*>done
        if not take(line, c'}'):
            while True:
                if not text(line, &key) or not take(line, c':'):
                    return NOT_PLAIN
                at = find_slot(shape, key, at)
                if at < 0 or seen >> at & 1:
                    return NOT_PLAIN
                seen |= <uint32_t>1 << at
                begins[at] = line.out
                value = self.value(line, &shape.slots[at])
                if value is NOT_PLAIN:
                    return NOT_PLAIN
                put(made, shape.slots[at].offset, value)
                sizes[at] = line.out - begins[at]
                count += 1
                if take(line, c'}'):
                    break
                if not take(line, c','):
                    return NOT_PLAIN
        if seen & shape.needed != shape.needed:
            return NOT_PLAIN
        into.out[0] = 0x80 | <uint8_t>count
        into.out += 1
        for at in range(shape.count):
            if seen >> at & 1:
                put_text(into, <const uint8_t*>shape.slots[at].name, shape.slots[at].size)
                memcpy(into.out, begins[at], sizes[at])
                into.out += sizes[at]
            else:
                put(made, shape.slots[at].offset, UNSET)
        return done

    cdef object value(self, Line* line, Slot* slot):
        """One field's value, and its canonical form."""
        cdef Span span
        cdef int64_t number = 0
        cdef int kind = slot.kind, is_plain = 0
        if kind == MAYBE_TEXT:
            if text(line, &span):
                if span.size > MAX_TEXT:
                    return NOT_PLAIN
                put_text(line, span.at, span.size)
                return self.texts.of(span)
            return self.null(line)
        if kind == ONE_OF or kind == ONE_OF_OR_NULL:
            if text(line, &span):
                put_text(line, span.at, span.size)
                return word_of(<tuple>slot.words, span)
            return self.null(line) if kind == ONE_OF_OR_NULL else NOT_PLAIN
        if kind == A_NAME:
            if not text(line, &span) or not 1 <= span.size <= 256:
                return NOT_PLAIN
            put_text(line, span.at, span.size)
            return self.texts.of(span)
        if kind == WHEN:
            return self.moment(line)
        if kind == FIELD_CHANGES:
            return self.changes(line)
        if kind == WHO:
            return self.who(line)
        if kind == PEOPLE:
            return self.people(line)
        if kind == MENTIONS:
            return self.mentions(line)
        skip_space(line)
        if kind == A_COUNT:
            if not integer(line, &number, &is_plain) or not is_plain or not 0 <= number <= 9007199254740992:
                return NOT_PLAIN
            put_int(line, number)
            return number
        if not word(line, b"true", 4) and not word(line, b"false", 5):
            return self.null(line)
        is_true = (line.p - 3)[0] == c'r'
        line.out[0] = 0xC3 if is_true else 0xC2
        line.out += 1
        return is_true

    cdef object null(self, Line* line):
        if not is_null(line):
            return NOT_PLAIN
        put_null(line)
        return None

    cdef object moment(self, Line* line):
        """A time in the usual form, or null. That of the event itself, when it is the same, is shared."""
        cdef Span span
        cdef int64_t ignored = 0
        if not text(line, &span):
            return self.null(line)
        put_text(line, span.at, span.size)
        if span.size == self.time.size and memcmp(span.at, self.time.at, span.size) == 0:
            if self.time_text is None:
                self.time_text = to_str(span)
            return self.time_text  # that it can be read is known when the whole line is
        return to_str(span) if usual_time(span, &ignored) else NOT_PLAIN

    cdef object who(self, Line* line):
        """A person or program; most lines have that of the line before."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.actor_raw)
        cdef Line out
        cdef const uint8_t* begin
        cdef uint8_t* room
        skip_space(line)
        if size and line.end - line.p >= size and memcmp(line.p, PyBytes_AS_STRING(self.actor_raw), size) == 0:
            line.p += size
            size = PyBytes_GET_SIZE(self.actor_canonical)
            memcpy(line.out, PyBytes_AS_STRING(self.actor_canonical), size)
            line.out += size
        else:
            begin, room = line.p, line.out
            out.out = self.spare
            made = self.record(line, &ACTOR_SHAPE, &out)
            if made is NOT_PLAIN or made.id is None:
                return NOT_PLAIN
            size = out.out - self.spare
            memcpy(room, self.spare, size)
            line.out = room + size
            self.actor, self.actor_is_agent = made, made.kind == "agent"
            self.actor_raw = PyBytes_FromStringAndSize(<const char*>begin, line.p - begin)
            self.actor_canonical = PyBytes_FromStringAndSize(<const char*>self.spare, size)
        self.is_agent = self.actor_is_agent
        return self.actor

    cdef object people(self, Line* line):
        """Those who took part."""
        cdef Line out
        cdef uint8_t* head = line.out
        cdef uint8_t* begin
        cdef Py_ssize_t size
        cdef int count = 0
        cdef list found = []
        if not take(line, c'['):
            return NOT_PLAIN
        line.out += 3
        if not take(line, c']'):
            while True:
                if count == MOST_PEOPLE:
                    return NOT_PLAIN
                begin, out.out = line.out, self.spare
                made = self.record(line, &PERSON_SHAPE, &out)
                if made is NOT_PLAIN:
                    return NOT_PLAIN
                size = out.out - self.spare
                memcpy(begin, self.spare, size)
                line.out = begin + size
                found.append(made)
                count += 1
                if take(line, c']'):
                    break
                if not take(line, c','):
                    return NOT_PLAIN
        close_container(line, head, 0x90, 0xDC, count)
        return found

    cdef object mentions(self, Line* line):
        """A list of texts."""
        cdef Span span
        cdef uint8_t* head = line.out
        cdef list found = []
        if not take(line, c'['):
            return NOT_PLAIN
        line.out += 3
        if not take(line, c']'):
            while True:
                if not text(line, &span) or span.size > MAX_TEXT or len(found) == 65535:
                    return NOT_PLAIN
                put_text(line, span.at, span.size)
                found.append(self.texts.of(span))
                if take(line, c']'):
                    break
                if not take(line, c','):
                    return NOT_PLAIN
        close_container(line, head, 0x90, 0xDC, len(found))
        return found

    cdef object changes(self, Line* line):
        """{field: [before, after]}: the dict in the line's order, the canonical form by the fields' names."""
        cdef Entry entries[MAX_ENTRIES]
        cdef int count = 0
        cdef uint8_t* head = line.out
        cdef dict found = {}
        line.out += 3
        if not take(line, c'{'):
            return NOT_PLAIN
        if not take(line, c'}'):
            while True:
                if count == MAX_ENTRIES:
                    return NOT_PLAIN
                entries[count].at = line.out
                if not text(line, &entries[count].key) or entries[count].key.size >= MAX_LINE:
                    return NOT_PLAIN
                put_text(line, entries[count].key.at, entries[count].key.size)
                if not take(line, c':') or not take(line, c'['):
                    return NOT_PLAIN
                line.out[0] = 0x92
                line.out += 1
                before = self.scalar(line)
                if before is NOT_PLAIN or not take(line, c','):
                    return NOT_PLAIN
                after = self.scalar(line)
                if after is NOT_PLAIN or not take(line, c']'):
                    return NOT_PLAIN
                found[self.texts.of(entries[count].key)] = (before, after)
                entries[count].size = line.out - entries[count].at
                count += 1
                if take(line, c'}'):
                    break
                if not take(line, c','):
                    return NOT_PLAIN
            if count > 1 and not in_order(entries, count, self.spare):
                return NOT_PLAIN
        close_container(line, head, 0x80, 0xDE, count)
        return found

    cdef object scalar(self, Line* line):
        """One value of a change."""
        cdef Span span
        cdef uint8_t* begin = line.out
        skip_space(line)
        if line.p < line.end and line.p[0] == c'"':
            if not text(line, &span) or span.size >= MAX_LINE:
                return NOT_PLAIN
            put_text(line, span.at, span.size)
            return self.texts.of(span)
        return number_at(begin) if scalar(line) else NOT_PLAIN


cdef object word_of(tuple words, Span span):
    """One of the words that are allowed."""
    for one in words:
        if PyUnicode_GET_LENGTH(<PyObject*>one) == span.size and memcmp(
            PyUnicode_DATA(<PyObject*>one), span.at, span.size
        ) == 0:
            return one
    return NOT_PLAIN


@cython.final
@cython.freelist(4096)
@cython.no_gc
cdef class DealRow:
    """One plain change or activity: its data whole, its hashes, and its bytes. Of the default tenant, and not numbered."""

    def __init__(self):
        raise TypeError("rows are made by scan() alone")

    @property
    def raw(self):
        """The line's bytes."""
        return self._block[self._start : self._stop]

    @property
    def event(self):
        """The event, decoded when first asked for."""
        if self._event is None:
            self._event = (decode_activity if self.is_activity else decode_change)(self.raw)
        return self._event

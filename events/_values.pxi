# What the changes of an action look like: the numbers of ``events.value_codes``, made of the canonical form.

from libc.math cimport frexp
from libc.string cimport memset

from events.value_codes import _CLASSES, _STEPS

cdef enum:
    NOTHING, FLAG_VALUE, NUMBER, DATE_VALUE, TEXT_VALUE

cdef enum:
    LONGEST_WORD = 64

cdef uint64_t HASH_BITS = ((<uint64_t>1) << 40) - 1
cdef double STEPS[12]
cdef double TENS[4]
cdef uint8_t CLASSES[256]
for _index, _name in enumerate(_STEPS):
    STEPS[_index] = _name
for _index in range(4):
    TENS[_index] = 10.0 ** _index
for _index, _name in enumerate(_CLASSES):
    CLASSES[_index] = _name

cdef struct Value:
    int kind
    double number
    int64_t day, form, hash

cdef struct Walk:
    const uint8_t* p


cdef inline int bit_length(uint64_t value) noexcept nogil:
    cdef int count = 0
    while value:
        count += 1
        value >>= 1
    return count


cdef inline uint64_t big_endian(const uint8_t* at, int size) noexcept nogil:
    cdef uint64_t value = 0
    cdef int place
    for place in range(size):
        value = value << 8 | at[place]
    return value


cdef int head_of(Walk* walk, int small, int large, Py_ssize_t* count) noexcept nogil:
    """The head of a map (0x80, 0xDE) or a list (0x90, 0xDC)."""
    cdef uint8_t c = walk.p[0]
    if c & 0xF0 == small:
        count[0] = c & 15
        walk.p += 1
    elif c == large:
        count[0] = big_endian(walk.p + 1, 2)
        walk.p += 3
    else:
        return 0
    return 1


cdef int text_of(Walk* walk, Span* span) noexcept nogil:
    cdef uint8_t c = walk.p[0]
    cdef int wide
    if c & 0xE0 == 0xA0:
        span.size = c & 31
        walk.p += 1
    elif 0xD9 <= c <= 0xDB:
        wide = 1 << (c - 0xD9)
        span.size = big_endian(walk.p + 1, wide)
        walk.p += 1 + wide
    else:
        return 0
    span.at = walk.p
    walk.p += span.size
    return 1


cdef int value_of(Walk* walk, Value* value) except -1:
    """One value; 0 for a list, an object or anything else that Python has to look at."""
    cdef uint8_t c = walk.p[0]
    cdef Span span
    cdef int wide
    cdef uint64_t bits
    cdef double number
    memset(value, 0, sizeof(Value))
    if c == 0xC0:
        value.kind = NOTHING
        walk.p += 1
    elif c == 0xC2 or c == 0xC3:
        value.kind, value.hash = FLAG_VALUE, c - 0xC1
        walk.p += 1
    elif c < 0x80 or c >= 0xE0:
        value.kind, value.form, value.number = NUMBER, 1, c if c < 0x80 else <int>c - 256
        walk.p += 1
    elif 0xCC <= c <= 0xCF:
        wide = 1 << (c - 0xCC)
        value.kind, value.form, value.number = NUMBER, 1, <double>big_endian(walk.p + 1, wide)
        walk.p += 1 + wide
    elif 0xD0 <= c <= 0xD3:
        wide = 1 << (c - 0xD0)
        bits = big_endian(walk.p + 1, wide)
        if wide < 8 and bits >> (8 * wide - 1):
            bits |= ~<uint64_t>0 << (8 * wide)
        value.kind, value.form, value.number = NUMBER, 1, <double><int64_t>bits
        walk.p += 1 + wide
    elif c == 0xCB:
        bits = big_endian(walk.p + 1, 8)
        memcpy(&number, &bits, 8)
        value.kind, value.form, value.number = NUMBER, 2, number
        walk.p += 9
    elif text_of(walk, &span):
        text_value(span, value)
    else:
        return 0
    return 1


cdef int text_value(Span span, Value* value) except -1:
    cdef int mask = 0
    cdef Py_ssize_t place
    if span.size == 0:
        value.kind = NOTHING
        return 0
    if is_number(span, value) or is_date(span, value):
        return 0
    for place in range(span.size):
        mask |= CLASSES[span.at[place]]
    value.kind = TEXT_VALUE
    value.form = mask << 4 | min(bit_length(span.size), 15)
    if span.size > LONGEST_WORD:
        value.hash = 3
    else:
        value.hash = 16 + <int64_t>(<uint64_t>_xxh3(PyBytes_FromStringAndSize(<const char*>span.at, span.size)) & HASH_BITS)
    return 0


cdef int is_number(Span span, Value* value) noexcept nogil:
    """[-]digits[.d[d[d]]], at most twelve digits before the point and no zero before them."""
    cdef const uint8_t* p = span.at
    cdef const uint8_t* end = span.at + span.size
    cdef const uint8_t* begin
    cdef bint is_negative = p[0] == c'-'
    cdef int64_t total = 0
    cdef int after = 0
    if is_negative:
        p += 1
    begin = p
    while p < end and c'0' <= p[0] <= c'9':
        if p - begin >= 12:
            return 0
        total = total * 10 + (p[0] - c'0')
        p += 1
    if p == begin or (begin[0] == c'0' and p - begin > 1):
        return 0
    if p < end:
        if p[0] != c'.':
            return 0
        p += 1
        while p < end and c'0' <= p[0] <= c'9':
            if after == 3:
                return 0
            total = total * 10 + (p[0] - c'0')
            after += 1
            p += 1
        if after == 0 or p < end:
            return 0
    value.kind, value.form = NUMBER, 6 if after else 5
    value.number = <double>(-total if is_negative else total) / TENS[after]
    return 1


cdef int is_date(Span span, Value* value) noexcept nogil:
    """YYYY-MM-DD, alone or before a time."""
    cdef const uint8_t* t = span.at
    cdef int year, month, day
    if span.size < 10 or t[4] != c'-' or t[7] != c'-' or (span.size > 10 and t[10] != c'T'):
        return 0
    year, month, day = digits(t, 4), digits(t + 5, 2), digits(t + 8, 2)
    if year < 0 or not 1 <= month <= 12 or not 1 <= day <= 31:
        return 0
    value.kind, value.form = DATE_VALUE, 1 if span.size == 10 else 2
    value.day = days_since_1970(year, month, day)
    return 1


cdef int64_t size_code(double number) noexcept nogil:
    cdef int exponent = 0
    frexp(number, &exponent)
    exponent = exponent // 2 if exponent >= 0 else -((1 - exponent) // 2)  # as Python's //, which rounds down
    return (<int64_t>1 << 48) | (4096 + 4 * exponent + (number < 0) + 2 * (number == 0))


cdef int64_t number_code(Value* old, Value* new) noexcept nogil:
    """The new number's size, or that it kept the old one's."""
    cdef double ratio
    if old.kind == NUMBER and old.number != 0:
        ratio = new.number / old.number
        if 0.5 <= ratio < 2.0:
            return (<int64_t>1 << 48) | 1
    return size_code(new.number)


cdef int64_t step_code(Value* old, Value* new) noexcept nogil:
    cdef double ratio
    cdef int place, passed = 0
    if old.kind == NOTHING or new.kind == NOTHING:
        return 1
    if old.kind != new.kind:
        return 2
    if new.kind == NUMBER:
        if old.number == 0:
            return 3
        ratio = new.number / old.number
        if ratio < 0:
            return 4
        for place in range(12):
            passed += ratio >= STEPS[place]
        return 16 + passed
    if new.kind == DATE_VALUE:
        return 64 + days_code(new.day - old.day)
    return (<int64_t>1 << 50) | <int64_t>(<uint64_t>(old.hash * 31 + new.hash) & HASH_BITS)


cdef int cells_of(ActionRow row, const uint8_t* at) except -1:
    """The row's cells, of its changes' canonical form; LEFT where Python has to look."""
    cdef Walk walk
    cdef Py_ssize_t records = 0, fields = 0, record, field, pair = 0
    cdef Span name
    cdef Value old, new
    cdef Cell* cell
    cdef int count = 0
    walk.p = at
    row.cells = LEFT
    if not head_of(&walk, 0x80, 0xDE, &records):
        return 0
    for record in range(records):
        if not text_of(&walk, &name) or not head_of(&walk, 0x80, 0xDE, &fields):
            return 0
        for field in range(fields):
            if count == MAX_CELLS or not text_of(&walk, &name):
                return 0
            if not head_of(&walk, 0x90, 0xDC, &pair) or pair != 2:
                return 0
            if not value_of(&walk, &old) or not value_of(&walk, &new):
                return 0
            cell = &row._cells[count]
            cell.field = _xxh3(key_of(row, name))
            cell.form = <int64_t>new.kind << 12 | <int64_t>(old.kind == NOTHING) << 10 | new.form
            cell.is_date = new.kind == DATE_VALUE
            cell.value = new.day if cell.is_date else number_code(&old, &new) if new.kind == NUMBER else new.hash
            cell.step = step_code(&old, &new)
            count += 1
    row.cells = count
    return 0


cdef bytes key_of(ActionRow row, Span name):
    """A field's name with its object's before it, as the detectors hash it."""
    cdef bytes of = f"{row.object}\x1f".encode("utf-8", "surrogatepass")
    return of + PyBytes_FromStringAndSize(<const char*>name.at, name.size)

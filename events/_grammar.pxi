# The JSON that plain lines are made of, read into its canonical form (msgpack as msgspec writes it, keys sorted).
#
# Each function moves ``line.p`` behind what it read and returns 0 when it is not plain: then nothing it wrote counts.

from libc.math cimport isinf


cdef extern from "Python.h":
    double PyOS_string_to_double(const char* text, char** stop, void* overflow) except? -1.0


cdef extern from *:
    int trailing_zeros "__builtin_ctzll"(uint64_t bits) noexcept nogil


cdef enum:
    MAX_LINE = 65536
    MAX_ENTRIES = 64
    MAX_TEXT = 4096

cdef uint64_t ONES = 0x0101010101010101
cdef uint64_t QUOTES = 0x2222222222222222
cdef struct Span:
    const uint8_t* at
    Py_ssize_t size

cdef struct Line:
    const uint8_t* p
    const uint8_t* end
    uint8_t* out          # where the canonical form of the present field's value is written


cdef inline void skip_space(Line* line) noexcept nogil:
    while line.p < line.end and line.p[0] == 32:
        line.p += 1


cdef inline int take(Line* line, uint8_t sign) noexcept nogil:
    skip_space(line)
    if line.p < line.end and line.p[0] == sign:
        line.p += 1
        return 1
    return 0


cdef inline int text(Line* line, Span* span) noexcept nogil:
    """A string; that it holds no escape and no control character is known of the whole line."""
    if not take(line, c'"'):
        return 0
    cdef const uint8_t* p = line.p
    cdef const uint8_t* end = line.end
    cdef uint64_t eight
    while end - p >= 8:  # eight bytes at a time: the first zero byte after the exclusive or is a quote
        memcpy(&eight, p, 8)
        eight ^= QUOTES
        eight = (eight - ONES) & ~eight & (ONES << 7)
        if eight:
            p += trailing_zeros(eight) >> 3
            break
        p += 8
    while p < end and p[0] != c'"':
        p += 1
    if p == end:
        return 0
    span.at = line.p
    span.size = p - line.p
    line.p = p + 1
    return 1


cdef inline int word(Line* line, const char* said, int size) noexcept nogil:
    if line.end - line.p < size or memcmp(line.p, said, size) != 0:
        return 0
    line.p += size
    return 1


cdef inline int is_null(Line* line) noexcept nogil:
    skip_space(line)
    return word(line, b"null", 4)


cdef inline int is_text(Span span, const char* said, Py_ssize_t size) noexcept nogil:
    return span.size == size and memcmp(span.at, said, size) == 0


cdef inline void put_text(Line* line, const uint8_t* at, Py_ssize_t size) noexcept nogil:
    cdef uint8_t* out = line.out
    if size < 32:
        out[0] = 0xA0 | <uint8_t>size
        out += 1
    elif size < 256:
        out[0] = 0xD9
        out[1] = <uint8_t>size
        out += 2
    else:
        out[0] = 0xDA
        out[1] = <uint8_t>(size >> 8)
        out[2] = <uint8_t>size
        out += 3
    memcpy(out, at, size)
    line.out = out + size


cdef inline void put_bytes(Line* line, uint8_t head, uint64_t value, int size) noexcept nogil:
    cdef int at
    line.out[0] = head
    for at in range(size):
        line.out[1 + at] = <uint8_t>(value >> (8 * (size - 1 - at)))
    line.out += 1 + size


cdef void put_int(Line* line, int64_t value) noexcept nogil:
    if value >= 0:
        if value < 128:
            line.out[0] = <uint8_t>value
            line.out += 1
        elif value < 256:
            put_bytes(line, 0xCC, value, 1)
        elif value < 65536:
            put_bytes(line, 0xCD, value, 2)
        elif value >> 32 == 0:
            put_bytes(line, 0xCE, value, 4)
        else:
            put_bytes(line, 0xCF, value, 8)
    elif value >= -32:
        line.out[0] = <uint8_t>value
        line.out += 1
    elif value >= -128:
        put_bytes(line, 0xD0, value, 1)
    elif value >= -32768:
        put_bytes(line, 0xD1, value, 2)
    elif value >> 31 == -1:
        put_bytes(line, 0xD2, value, 4)
    else:
        put_bytes(line, 0xD3, value, 8)


cdef inline void put_head(uint8_t* out, int small, int large, Py_ssize_t count, int* size) noexcept nogil:
    """The head of a map or list of ``count`` entries, which must have been left three bytes of room."""
    if count < 16:
        out[0] = small | <uint8_t>count
        size[0] = 1
    else:
        out[0] = large
        out[1] = <uint8_t>(count >> 8)
        out[2] = <uint8_t>count
        size[0] = 3


cdef inline void close_container(Line* line, uint8_t* head, int small, int large, Py_ssize_t count) noexcept nogil:
    """Write the head of what was written behind three bytes of room, and close the gap where it is shorter."""
    cdef int size
    cdef Py_ssize_t length = line.out - (head + 3)
    cdef uint8_t* p = head + 3
    cdef Py_ssize_t at
    put_head(head, small, large, count, &size)
    if size < 3:
        for at in range(length):  # never memcpy: the two overlap
            head[size + at] = p[at]
        line.out = head + size + length


cdef int integer(Line* line, int64_t* value, int* is_plain) noexcept nogil:
    """Digits with an optional minus; ``is_plain`` 0 when a fraction or exponent follows."""
    cdef const uint8_t* p = line.p
    cdef bint is_negative = p < line.end and p[0] == c'-'
    if is_negative:
        p += 1
    cdef const uint8_t* begin = p
    cdef int64_t total = 0
    while p < line.end and c'0' <= p[0] <= c'9':
        if p - begin >= 18:
            return 0
        total = total * 10 + (p[0] - c'0')
        p += 1
    if p == begin or (begin[0] == c'0' and p - begin > 1) or (is_negative and total == 0):
        return 0
    is_plain[0] = not (p < line.end and (p[0] == c'.' or p[0] == c'e' or p[0] == c'E'))
    if is_plain[0]:
        line.p = p
    value[0] = -total if is_negative else total
    return 1


cdef int real(Line* line) except -1:
    """A number with a fraction or an exponent, as a double."""
    cdef char copy[64]
    cdef const uint8_t* p = line.p
    cdef int size = 0
    cdef bint has_digit = False
    while p < line.end and size < 48 and (c'0' <= p[0] <= c'9' or p[0] in (c'-', c'+', c'.', c'e', c'E')):
        copy[size] = p[0]
        size += 1
        p += 1
    copy[size] = 0
    if size >= 48 or size == 0 or not c'0' <= copy[size - 1] <= c'9':
        return 0
    cdef char* dot = <char*>memchr(copy, c'.', size)
    if dot != NULL and not c'0' <= dot[1] <= c'9':
        return 0
    cdef char* stop = NULL
    cdef double value
    try:
        value = PyOS_string_to_double(copy, &stop, NULL)
    except ValueError:
        return 0
    if stop != copy + size or isinf(value):
        return 0
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    put_bytes(line, 0xCB, bits, 8)
    line.p = p
    return 1


cdef int scalar(Line* line) except -1:
    """A value of a field: null, true, false, a number or a string. Lists and objects are not plain."""
    cdef Span span
    cdef int64_t value
    cdef int is_plain = 0
    skip_space(line)
    if line.p >= line.end:
        return 0
    cdef uint8_t c = line.p[0]
    if c == c'"':
        if not text(line, &span) or span.size >= MAX_LINE:
            return 0
        put_text(line, span.at, span.size)
        return 1
    if c == c'n':
        if not word(line, b"null", 4):
            return 0
        line.out[0] = 0xC0
    elif c == c't':
        if not word(line, b"true", 4):
            return 0
        line.out[0] = 0xC3
    elif c == c'f':
        if not word(line, b"false", 5):
            return 0
        line.out[0] = 0xC2
    else:
        if not integer(line, &value, &is_plain):
            return 0
        if not is_plain:
            return real(line)
        put_int(line, value)
        return 1
    line.out += 1
    return 1


cdef struct Entry:
    Span key
    uint8_t* at
    Py_ssize_t size


cdef inline int compare(Span a, Span b) noexcept nogil:
    cdef Py_ssize_t least = a.size if a.size < b.size else b.size
    cdef int found = memcmp(a.at, b.at, least)
    if found:
        return found
    return (a.size > b.size) - (a.size < b.size)


cdef int in_order(Entry* entries, int count, uint8_t* spare) except -1:
    """Put a map's entries, written one behind the other, in the order of their keys; 0 for a key given twice."""
    cdef int at, back, found
    cdef bint is_sorted = True
    cdef Entry moved
    cdef uint8_t* begin = entries[0].at
    cdef uint8_t* out = spare
    for at in range(1, count):
        found = compare(entries[at - 1].key, entries[at].key)
        if found == 0:
            return 0
        if found > 0:
            is_sorted = False
    if is_sorted:
        return 1
    for at in range(1, count):
        moved = entries[at]
        back = at
        while back > 0:
            found = compare(entries[back - 1].key, moved.key)
            if found == 0:
                return 0
            if found < 0:
                break
            entries[back] = entries[back - 1]
            back -= 1
        entries[back] = moved
    for at in range(count):
        memcpy(out, entries[at].at, entries[at].size)
        out += entries[at].size
    memcpy(begin, spare, out - spare)
    return 1


cdef int change(Line* line) except -1:
    """[before, after]."""
    if not take(line, c'['):
        return 0
    line.out[0] = 0x92
    line.out += 1
    if not scalar(line) or not take(line, c',') or not scalar(line):
        return 0
    return take(line, c']')


cdef int map_of(Line* line, bint is_outer, uint8_t* spare) except -1:
    """{record: {field: change}} when ``is_outer``, else {field: change}; keys sorted."""
    cdef Entry entries[MAX_ENTRIES]
    cdef int count = 0
    cdef uint8_t* head = line.out
    line.out += 3
    if not take(line, c'{'):
        return 0
    if not take(line, c'}'):
        while True:
            if count == MAX_ENTRIES:
                return 0
            entries[count].at = line.out
            if not text(line, &entries[count].key) or entries[count].key.size >= MAX_LINE:
                return 0
            put_text(line, entries[count].key.at, entries[count].key.size)
            if not take(line, c':'):
                return 0
            skip_space(line)
            if is_outer:
                if not map_of(line, False, spare):
                    return 0
            elif not change(line):
                return 0
            entries[count].size = line.out - entries[count].at
            count += 1
            if take(line, c'}'):
                break
            if not take(line, c','):
                return 0
        if count > 1 and not in_order(entries, count, spare):
            return 0
    close_container(line, head, 0x80, 0xDE, count)
    return 1


cdef int texts(Line* line, Span* kept, int* count) noexcept nogil:
    """A list of strings; the first MAX_IDS of them are kept."""
    cdef Span span
    cdef int found = 0
    cdef uint8_t* head = line.out
    line.out += 3
    if not take(line, c'['):
        return 0
    if not take(line, c']'):
        while True:
            if not text(line, &span) or span.size > MAX_TEXT or found == 65535:
                return 0
            put_text(line, span.at, span.size)
            if kept != NULL and found < MAX_IDS:
                kept[found] = span
            found += 1
            if take(line, c']'):
                break
            if not take(line, c','):
                return 0
    close_container(line, head, 0x90, 0xDC, found)
    count[0] = found
    return 1

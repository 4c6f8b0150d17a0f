# The numbers of a DealState side by side: as Python's integers they lie in a hundred places of the memory.

@cython.final
cdef class Figures:
    """The numbers of one ``DealState``. Once ``is_ahead`` they are the truth, and the state's are old until
    ``settle`` or ``write`` tells it."""

    def settle(self, state not None):
        """Give the numbers back to the state: it may be changed, and is read again when it is judged next."""
        self.put_down(<PyObject*>state)

    def write(self, state not None):
        """Tell the state the numbers; it may be read, not changed."""
        self.keep(<PyObject*>state)

    cdef int take_up(self, PyObject* state) except -1:
        """Read the numbers of a state."""
        cdef PyObject* touches = peek(state, STATE.touches)
        cdef PyObject* times = peek(state, STATE.people_ms)
        cdef PyObject* ids = peek(state, STATE.people_ids)
        cdef PyObject* people = peek(state, STATE.people)
        cdef PyObject* bins = peek(state, STATE.bins)
        cdef PyObject* due_ms = peek(state, STATE.due_ms)
        cdef PyObject* origins = peek(state, STATE.origins)
        cdef int at
        if size_of(touches) > MOST_TOUCHES or size_of(times) > MOST_PEOPLE or size_of(origins) != AGES:
            raise ValueError("the state of a deal holds more than it may")
        self.touch_count, self.people_count = <int>size_of(touches), <int>size_of(times)
        for at in range(self.touch_count):
            self.touches[at] = int_at(touches, at)
        for at in range(self.people_count):
            self.people_ms[at] = int_at(times, at)
            if at < size_of(ids) and at < size_of(people):
                self.people[at] = PyObject_Hash(<object>at_of(ids, at))
                self.standing[at] = standing_of(at_of(people, at))
        for at in range(AGES):
            self.origins[at] = int_at(origins, at)
        self.has_bins = size_of(bins) == FEATURES and size_of(due_ms) == TIMED
        if self.has_bins:
            for at in range(FEATURES):
                self.bins[at] = <uint8_t>int_at(bins, at)
            for at in range(TIMED):
                self.due_ms[at] = int_at(due_ms, at)
        self.longest_gap_ms, self.points = int_in(state, STATE.longest_gap_ms), int_in(state, STATE.points)
        self.fact_points, self.next_ms = int_in(state, STATE.fact_points), int_in(state, STATE.next_ms)
        self.judged_ms = int_in(state, STATE.judged_ms)
        self.is_ahead, self.is_written, self.is_touched = True, True, False
        return 0

    cdef int put_down(self, PyObject* state) except -1:
        self.keep(state)
        self.is_ahead = False
        return 0

    cdef int keep(self, PyObject* state) except -1:
        cdef PyObject* of
        cdef int at
        if not self.is_ahead or self.is_written:
            return 0
        if self.is_touched:
            put(state, STATE.touches, [self.touches[at] for at in range(self.touch_count)])
            put(state, STATE.people_ms, [self.people_ms[at] for at in range(self.people_count)])
            put(state, STATE.longest_gap_ms, self.longest_gap_ms)
            self.is_touched = False
        self.keep_origins(state)
        if self.has_bins:
            if size_of(peek(state, STATE.bins)) != FEATURES or size_of(peek(state, STATE.due_ms)) != TIMED:
                put(state, STATE.bins, [0] * FEATURES)
                put(state, STATE.due_ms, [0] * TIMED)
            of = peek(state, STATE.bins)
            for at in range(FEATURES):
                set_at(of, at, self.bins[at])
            of = peek(state, STATE.due_ms)
            for at in range(TIMED):
                set_at(of, at, self.due_ms[at])
        put(state, STATE.points, self.points)
        put(state, STATE.fact_points, self.fact_points)
        put(state, STATE.next_ms, self.next_ms)
        put(state, STATE.judged_ms, self.judged_ms)
        self.is_written = True
        return 0

    cdef int keep_origins(self, PyObject* state) except -1:
        cdef PyObject* origins = peek(state, STATE.origins)
        cdef int at
        for at in range(AGES):
            set_at(origins, at, self.origins[at])
        return 0

    cdef int read_origins(self, PyObject* state) except -1:
        cdef PyObject* origins = peek(state, STATE.origins)
        cdef int at
        for at in range(AGES):
            self.origins[at] = int_at(origins, at)
        return 0


cdef inline uint8_t standing_of(PyObject* person) except? 255:
    """What a person's role counts: ``people.best_person``."""
    cdef PyObject* found = PyDict_GetItem(STANDING, <object>peek(person, PERSON.role))
    if found != NULL:
        return <uint8_t><int><object>found
    return <uint8_t>(EXECUTIVE_STANDING if <object>peek(person, PERSON.executive) is True else ANYBODY)


cdef PyObject* best_of(PyObject* people, const uint8_t* standing, const int64_t* times, int count) except? NULL:
    """``people.best_person``; NULL of nobody."""
    cdef int place, best = 0
    if not count:
        return NULL
    for place in range(1, count):
        if standing[place] < standing[best] or standing[place] == standing[best] and (
            times[place] > times[best]
            or times[place] == times[best] and <object>at_of(people, place) < <object>at_of(people, best)
        ):
            best = place
    return at_of(people, best)

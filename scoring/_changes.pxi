# What a change of a deal's own record does: ``features.apply_change`` and ``features.deal_of``.

cdef struct ChangeAt:
    Py_ssize_t object, record_id, op, changes, actor, deal_id, owner_id, committed_at

cdef ChangeAt CHANGE
CHANGE.object, CHANGE.record_id = offset_of(CrmChange, "object"), offset_of(CrmChange, "record_id")
CHANGE.op, CHANGE.changes = offset_of(CrmChange, "op"), offset_of(CrmChange, "changes")
CHANGE.actor, CHANGE.deal_id = offset_of(CrmChange, "actor"), offset_of(CrmChange, "deal_id")
CHANGE.owner_id, CHANGE.committed_at = offset_of(CrmChange, "owner_id"), offset_of(CrmChange, "committed_at")

cdef int64_t NOT_YET = FAR_FUTURE
cdef int MOST = MAX_COUNT, STUB = Status.STUB, OPEN = Status.OPEN, STAGE = 2
cdef dict NAMES = features.NAMES, HANDLERS = features._HANDLERS
cdef set NO_AGES = {"name", "account", "account_id", "segment", "manager_id", "amount"}
"""Fields whose handlers leave the ages alone."""
cdef dict object_kinds = {}
"""Whether an object is a deal, as it was written. Made anew when somebody invents names."""


cdef object about_of(PyObject* data):
    """``features.deal_of``."""
    deal_id, kind = <object>peek(data, CHANGE.deal_id), <object>peek(data, CHANGE.object)
    cdef PyObject* found = PyDict_GetItem(object_kinds, kind)
    if found == NULL:
        if len(object_kinds) >= 1000:
            object_kinds.clear()
        object_kinds[kind] = kind.casefold() in features.DEAL_OBJECTS
        found = PyDict_GetItem(object_kinds, kind)
    if <object>found is True:
        return deal_id or <object>peek(data, CHANGE.record_id)
    return deal_id if deal_id == <object>peek(data, CHANGE.record_id) else None


cdef object stage_moved_to(PyObject* data):
    """The stage that a change of nothing else moved a deal to; None for every other change."""
    changes = <object>peek(data, CHANGE.changes)
    if changes is UNSET or len(<dict>changes) != 1 or is_text(peek(data, CHANGE.op), "create"):
        return None
    for name, change in (<dict>changes).items():
        if type(change) is tuple and NAMES.get(name) == "stage":
            after = <object>PyTuple_GET_ITEM(change, 1)
            return after if type(after) is str and after else None
    return None


cdef int take_change(
    Card card, PyObject* state, Figures it, PyObject* data, object event_time, int64_t at_ms, object terms
) except -1:
    """``apply_change`` of a record that was known before and counts now; others there."""
    changes, owner = <object>peek(data, CHANGE.changes), <object>peek(data, CHANGE.owner_id)
    cdef PyObject* actor = peek(data, CHANGE.actor)
    cdef dict after = {}
    if (
        <int><object>peek(state, STATE.status) == STUB or changes is UNSET
        or (owner and not <object>peek(state, STATE.owner_id))
        or not counts_now(peek(data, CHANGE.committed_at), <PyObject*>event_time, at_ms)
    ):
        when_ms = effect_ms(<object>peek(data, CHANGE.committed_at), event_time, at_ms)
        it.put_down(state)
        features.apply_change(<object>state, <object>data, when_ms, terms)
        it.take_up(state)
        return 0
    at = at_ms
    put(state, STATE.has_new_facts, True)
    for name, change in (<dict>changes).items():
        known = NAMES.get(name)
        if known is not None:
            if type(change) is tuple:
                after[known] = <object>PyTuple_GET_ITEM(change, 1)
                if known == "stage" and not <object>peek(state, STATE.stage):
                    before = <object>PyTuple_GET_ITEM(change, 0)
                    if type(before) is str:
                        put(state, STATE.stage, before[:80])
            else:
                after[known] = change.after
    if "currency" in after:
        features._set_currency(<object>state, after["currency"])
    for name, value in after.items():
        if name == "stage":
            set_stage(card, state, it, value, at_ms)
        elif name in HANDLERS and name in NO_AGES:
            HANDLERS[name](<object>state, value, at, terms)
        elif name in HANDLERS:
            it.keep_origins(state)
            HANDLERS[name](<object>state, value, at, terms)
            it.read_origins(state)
    settle(card, state, data, after, terms)
    if after and (actor == UNSET_ or (<object>actor).kind == "human"):
        if at_ms > it.origins[0] or it.origins[0] == NOT_YET:
            it.origins[0] = at_ms
    return 0


cdef int set_stage(Card card, PyObject* state, Figures it, object value, int64_t at_ms) except -1:
    """``features._set_stage``."""
    stage, cut = <object>peek(state, STATE.stage), value[:80] if type(value) is str else ""
    cdef PlanTables before
    cdef PlanTables now
    if cut == stage:
        return 0
    before, now = card.tables_of(stage), card.tables_of(cut)
    if before.is_known and now.is_known and now.place < before.place:
        put(state, STATE.regressions, min(<int>int_in(state, STATE.regressions) + 1, MOST))
    put(state, STATE.stage, cut)
    it.origins[STAGE] = at_ms
    return 0


cdef int settle(Card card, PyObject* state, PyObject* data, dict after, object terms) except -1:
    """``features._settle``, where nothing opens or closes."""
    cdef PyObject* op = peek(data, CHANGE.op)
    if (
        <int><object>peek(state, STATE.status) == OPEN and not is_text(op, "delete")
        and "is_closed" not in after and "is_won" not in after
        and ("stage" not in after or not card.tables(state).ends)
    ):
        return 0
    features._settle(<object>state, <object>op, after, terms)
    return 0

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The stage of deals, compiled: its loop over changes and activities, what a deal says, and what a tick tells.

What is written here is what ``streams.deals``, ``streams.keyed`` and ``scoring.causes`` do, on the same state objects;
whatever is rare is left to them. So both ways give the same outputs and the same states, byte for byte; the tests
compare them.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from events._rows cimport DealRow
from events._slots cimport is_plain, like, offset_of, peek, put
from scoring._card cimport FEATURES, STATE, Card, Figures, about_of, best_of, stage_moved_to, take_activity, take_change
from streams._judge cimport CONFLICT, DUPLICATE, admit

from heapq import heappop, heappush
from urllib.parse import quote

from msgspec import UNSET
from msgspec.msgpack import Encoder
from xxhash import xxh3_64_intdigest as _xxh3
from xxhash import xxh3_128_hexdigest

from events.times import DAY_MS, MINUTE_MS, format_ms
from events.types import (
    DEFAULT_TENANT, ActivityEvent, ChangeEvent, CrmActivity, CrmChange, DealRisk, ModelInfo, Participant,
    PortfolioScore, Reason, RiskEvent, ScoreEvent,
)
from scoring.causes import _DONE, activity_cause, change_cause, time_cause
from scoring.plan import NEVER_MS, Scores
from scoring.reasons import ASKED as _ASKED
from scoring.reasons import CALLED as _CALLED
from scoring.reasons import NOTHING as _NOTHING
from scoring.reasons import call_of, recommended_action, said_of
from scoring.state import Status
from streams.keyed import Keyed
from streams.records import Output


cdef extern from *:
    """
    #ifndef TRIPLINE_SOURCE
    #define TRIPLINE_SOURCE ""
    #endif
    """
    const char* TRIPLINE_SOURCE


SOURCE = TRIPLINE_SOURCE.decode()
"""Digest of the source this module was built from."""

canonical = Encoder(order="deterministic").encode

cdef struct KeyedAt:
    Py_ssize_t body, is_dirty, key, next_offset, recent

cdef struct EventAt:
    Py_ssize_t id, source, time, tenant, sequence

cdef struct DealAt:
    Py_ssize_t armed_ms, deal_id, facts, figures, reasons, scores, state, tenant

cdef struct ActivityAt:
    Py_ssize_t kind, deal_id, direction, participants, scheduled_for, mentions, status

cdef KeyedAt KEYED
cdef EventAt EVENT
cdef ActivityAt ACTIVITY
cdef Py_ssize_t ACTIVITY_DATA = offset_of(ActivityEvent, "data"), CHANGE_DATA = offset_of(ChangeEvent, "data")
cdef Py_ssize_t NAME_OF = offset_of(Participant, "name"), CONTACT_OF = offset_of(Participant, "contact_id")
cdef int64_t DAY = DAY_MS, MINUTE = MINUTE_MS
cdef object NEVER = NEVER_MS
cdef int OPEN = Status.OPEN, STUB = Status.STUB
cdef PyObject* UNSET_ = <PyObject*>UNSET

KEYED.body, KEYED.is_dirty, KEYED.key = offset_of(Keyed, "body"), offset_of(Keyed, "is_dirty"), offset_of(Keyed, "key")
KEYED.next_offset, KEYED.recent = offset_of(Keyed, "next_offset"), offset_of(Keyed, "recent")
EVENT.id, EVENT.source = offset_of(ActivityEvent, "id"), offset_of(ActivityEvent, "source")
EVENT.time, EVENT.tenant = offset_of(ActivityEvent, "time"), offset_of(ActivityEvent, "tenant")
EVENT.sequence = offset_of(ActivityEvent, "sequence")
for _name in ("id", "source", "time", "tenant", "sequence"):
    assert offset_of(ActivityEvent, _name) == offset_of(ChangeEvent, _name)
ACTIVITY.kind, ACTIVITY.deal_id = offset_of(CrmActivity, "kind"), offset_of(CrmActivity, "deal_id")
ACTIVITY.direction, ACTIVITY.status = offset_of(CrmActivity, "direction"), offset_of(CrmActivity, "status")
ACTIVITY.participants, ACTIVITY.mentions = offset_of(CrmActivity, "participants"), offset_of(CrmActivity, "mentions")
ACTIVITY.scheduled_for = offset_of(CrmActivity, "scheduled_for")

cdef Py_ssize_t FEATURE = offset_of(Reason, "feature"), CONTRIBUTION = offset_of(Reason, "contribution")
cdef dict ASKED = _ASKED
cdef frozenset CALLED = _CALLED
cdef str NOTHING = _NOTHING

include "_says.pxi"


cdef class Judge:
    """Judges deals for one stage. Parameters: the stage, the type of its keys' bodies, and two of its texts:
    the manager of deals without one, and how many reasons the portfolio is told."""

    cdef object stage, terms, managers, link, unassigned, currency, a_risk, a_score, risk_output, score_output
    cdef bytes id_start, id_middle
    cdef list timers
    cdef set changed
    cdef int told_reasons
    cdef Card card
    cdef object python_card, proven, unproven, base, version
    cdef DealAt deal
    cdef int64_t last_ms, minute
    cdef str last_text
    cdef bytes minute_text

    def __init__(self, stage, type deal_type, str unassigned, int told_reasons):
        self.stage, self.terms = stage, stage.terms
        self.managers, self.currency = stage.terms.managers, stage.terms.currency
        self.id_start, self.id_middle = stage._id_start.encode(), stage._id_middle.encode()
        self.timers, self.changed = stage._timers, stage._changed
        envelope = {"specversion": "1.0", "id": "", "source": stage._source, "time": "", "partitionkey": ""}
        self.a_risk = RiskEvent(**envelope, datacontenttype="application/json", data=A_RISK)
        self.a_score = ScoreEvent(**envelope, datacontenttype="application/json", data=A_SCORE)
        self.risk_output = Output("risk", "", "", 0, self.a_risk)
        self.score_output = Output("score", "", "", 0, self.a_score)
        self.link, self.unassigned, self.told_reasons = stage.link, unassigned, told_reasons
        self.deal.armed_ms, self.deal.deal_id = offset_of(deal_type, "armed_ms"), offset_of(deal_type, "deal_id")
        self.deal.facts, self.deal.reasons = offset_of(deal_type, "facts"), offset_of(deal_type, "reasons")
        self.deal.scores, self.deal.state = offset_of(deal_type, "scores"), offset_of(deal_type, "_state")
        self.deal.tenant, self.deal.figures = offset_of(deal_type, "tenant"), offset_of(deal_type, "figures")
        self.last_ms, self.minute, self.last_text, self.minute_text = -1, -1, "", b""

    def use(self, scoring):
        """Score by this model from now on."""
        self.python_card, self.card = scoring.card, scoring.card.fast
        self.card.explainer = scoring.explainer
        self.base, self.proven, self.unproven = scoring.card.base, scoring.proven, scoring.unproven
        self.version = scoring.version

    # --- records -------------------------------------------------------------------------------------------------------

    def process(self, entries, dict known_deals, list out):
        """``DealsStage.process``."""
        stage = self.stage
        cdef int64_t next_offset = stage.next_offset, stream_ms = stage.stream_ms, free_ms = stage._free_until_ms
        cdef int64_t offset, at_ms
        cdef tuple entry
        cdef DealRow row
        cdef PyObject* data
        cdef PyObject* time
        cdef PyObject* tenant
        cdef PyObject* keyed
        cdef bint is_activity, is_row
        try:
            for entry in entries:
                one = entry[2]
                is_row = type(one) is DealRow
                is_activity = (<DealRow>one).is_activity if is_row else type(one) is ActivityEvent
                if not is_row and not is_activity and type(one) is not ChangeEvent:
                    stage.next_offset, stage.stream_ms = next_offset, stream_ms
                    stage.process_entry(entry, out)
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
                if is_row:
                    row = <DealRow>one
                    data, time, tenant = <PyObject*>row.data, <PyObject*>row.time, UNSET_
                else:
                    row = None
                    data = peek(<PyObject*>one, ACTIVITY_DATA if is_activity else CHANGE_DATA)
                    time, tenant = peek(<PyObject*>one, EVENT.time), peek(<PyObject*>one, EVENT.tenant)
                about = <object>peek(data, ACTIVITY.deal_id) if is_activity else about_of(data)
                if not about:
                    continue
                keyed = PyDict_GetItem(known_deals, about) if tenant == UNSET_ else NULL
                if keyed == NULL:
                    made = self.keyed_of(<object>tenant, about, known_deals)
                    keyed = <PyObject*>made
                if offset < <int64_t><object>peek(keyed, KEYED.next_offset):
                    continue
                put(keyed, KEYED.next_offset, next_offset)
                if <object>peek(keyed, KEYED.is_dirty) is False:
                    stage.mark(<object>keyed)
                if not self.is_duplicate(offset, at_ms, <PyObject*>one, data, row, keyed, out):
                    self.apply(offset, at_ms, data, time, is_activity, keyed, out)
        finally:
            stage.next_offset, stage.stream_ms = next_offset, stream_ms

    cdef object keyed_of(self, tenant, str name, dict known_deals):
        keyed = self.stage.keyed(f"{DEFAULT_TENANT if tenant is UNSET else tenant}/{name}")
        if tenant is UNSET:
            known_deals[name] = keyed
        return keyed

    cdef bint is_duplicate(
        self, int64_t offset, int64_t at_ms, PyObject* event, PyObject* data, DealRow row, PyObject* keyed, list out
    ) except -1:
        """``KeyedStage.is_duplicate``; an event with a number, or with numbers beyond 64 bits, is left to it.

        ``event``: the event, or its ``row``, which has the hashes.
        """
        cdef int seen
        cdef uint64_t identity, content
        if row is not None:
            identity, content = row.id_hash, row.content_hash
        else:
            if peek(event, EVENT.sequence) != UNSET_:
                return self.stage.is_duplicate(offset, at_ms, <object>event, <object>keyed, out)
            try:
                content = _xxh3(canonical(<object>data))
            except OverflowError:
                return self.stage.is_duplicate(offset, at_ms, <object>event, <object>keyed, out)
            identity = _xxh3(f"{<str>peek(event, EVENT.source)}\0{<str>peek(event, EVENT.id)}".encode())
        seen = admit(peek(keyed, KEYED.recent), identity, <uint32_t>content)
        if seen == DUPLICATE:
            self.stage.duplicates += 1
            return True
        if seen == CONFLICT:
            self.stage.on_conflict(offset, at_ms, <object>event if row is None else row.event, <object>keyed, out)
        return False

    cdef int apply(
        self, int64_t offset, int64_t at_ms, PyObject* data, PyObject* time, bint is_activity, PyObject* keyed,
        list out,
    ) except -1:
        """``DealsStage.apply``."""
        cdef PyObject* deal = peek(keyed, KEYED.body)
        cdef PyObject* state = peek(deal, self.deal.state)
        cdef Figures it = self.figures(deal)
        cdef int64_t fresh = -1, day = at_ms // DAY
        it.is_written = False
        if is_activity:
            fresh = take_activity(state, it, data, <object>time, at_ms)
        else:
            self.change(offset, at_ms, data, time, keyed, deal, state, it)
        if not it.is_ahead:
            it.take_up(state)
        it.judged_ms, it.is_written = at_ms, False
        put(deal, self.deal.reasons, None)
        if <int><object>peek(state, STATE.status) != OPEN:
            return 0
        if <int64_t><object>peek(state, STATE.rates_day) != day:
            self.stage._rate(<object>deal, day)
            self.figures(deal)
            it.is_written = False
        if <object>peek(state, STATE.has_new_facts) is not False:
            put(deal, self.deal.facts, None)
        if self.card.refresh_state(state, it, at_ms, fresh) and self.is_moved(deal, state, it):
            cause = cause_of(data) if is_activity else cause_of_change(data)
            out.append(self.risk(offset, at_ms, keyed, deal, state, it, cause))
            put(state, STATE.is_changed, True)
            self.changed.add(<object>peek(keyed, KEYED.key))
        self.arm(deal, it, keyed)
        return 0

    cdef Figures figures(self, PyObject* deal):
        """The numbers of a deal's state, ahead of it from here on."""
        cdef Figures it = <Figures>peek(deal, self.deal.figures)
        if not it.is_ahead:
            it.take_up(peek(deal, self.deal.state))
        return it

    cdef int change(
        self, int64_t offset, int64_t at_ms, PyObject* data, PyObject* time, PyObject* keyed, PyObject* deal,
        PyObject* state, Figures it,
    ) except -1:
        """``DealsStage._change``."""
        cdef int before = <object>peek(state, STATE.status), status
        take_change(self.card, state, it, data, <object>time, at_ms, self.terms)
        status = <object>peek(state, STATE.status)
        if status == OPEN:
            put(state, STATE.model, self.version)
        elif before == OPEN or before == STUB:
            self.stage._close(offset, at_ms, <object>deal)
        else:
            return 0
        put(state, STATE.is_changed, True)
        self.changed.add(<object>peek(keyed, KEYED.key))
        return 0

    cdef int arm(self, PyObject* deal, Figures it, PyObject* keyed) except -1:
        """Set the deal's timer where it is due earlier than it is set."""
        if it.next_ms < <int64_t><object>peek(deal, self.deal.armed_ms):
            next_ms = it.next_ms
            put(deal, self.deal.armed_ms, next_ms)
            heappush(self.timers, (next_ms, <object>peek(keyed, KEYED.key)))
        return 0

    cdef bint is_moved(self, PyObject* deal, PyObject* state, Figures it) except -1:
        """``DealsStage._is_moved``."""
        scores = self.card.scores_of(state, it)
        before = <object>peek(deal, self.deal.scores)
        if scores is before or scores == before:
            return False
        put(deal, self.deal.scores, scores)
        return True

    # --- ticks ---------------------------------------------------------------------------------------------------------

    def tell(self, int64_t offset, int64_t tick_ms, awaited, list out):
        """What a tick does to these deals: time passes where it is due, and the portfolio hears what changed."""
        stage = self.stage
        cdef dict keys = stage.keys
        cdef set changed = self.changed
        cdef PyObject* keyed
        cdef PyObject* deal
        cdef PyObject* state
        cdef Figures it
        for key in sorted(awaited):
            keyed = PyDict_GetItem(keys, key)
            if offset < <int64_t><object>peek(keyed, KEYED.next_offset):
                continue  # a state from after this tick: what it has to tell waits for the next
            put(keyed, KEYED.next_offset, offset + 1)
            if <object>peek(keyed, KEYED.is_dirty) is False:
                stage.mark(<object>keyed)
            changed.discard(key)
            deal = peek(keyed, KEYED.body)
            state = peek(deal, self.deal.state)
            it = self.figures(deal)
            if it.next_ms <= tick_ms and <int><object>peek(state, STATE.status) == OPEN:
                self.pass_time(offset, tick_ms, keyed, deal, state, it, out)
            if <object>peek(state, STATE.is_changed) is True:
                self.tell_one(offset, tick_ms, keyed, deal, state, it, out)

    def due(self, int64_t tick_ms):
        """``DealsStage._due``."""
        cdef list timers = self.timers
        cdef dict keys = self.stage.keys
        cdef set found = set()
        cdef PyObject* deal
        cdef PyObject* keyed
        cdef Figures it
        while timers and <int64_t>(<tuple>timers[0])[0] <= tick_ms:
            armed_ms, key = heappop(timers)
            keyed = PyDict_GetItem(keys, key)
            deal = peek(keyed, KEYED.body)
            if armed_ms != <object>peek(deal, self.deal.armed_ms):
                continue
            put(deal, self.deal.armed_ms, NEVER)
            if <int><object>peek(peek(deal, self.deal.state), STATE.status) != OPEN:
                continue
            it = self.figures(deal)
            if it.next_ms <= tick_ms:
                found.add(key)
            else:
                self.arm(deal, it, keyed)
        return found

    cdef int pass_time(
        self, int64_t offset, int64_t tick_ms, PyObject* keyed, PyObject* deal, PyObject* state, Figures it, list out
    ) except -1:
        """``DealsStage._pass_time``."""
        cdef uint8_t bins[FEATURES]
        cdef int at
        memcpy(bins, it.bins, FEATURES)
        it.judged_ms, it.is_written = tick_ms, False
        put(deal, self.deal.reasons, None)
        if self.card.refresh_state(state, it, tick_ms, 0) and self.is_moved(deal, state, it):
            reasons = self.reasons(deal, state, it)
            it.keep(state)
            cause = time_cause(self.python_card, <object>state, [bins[at] for at in range(FEATURES)], reasons)
            out.append(self.risk(offset, tick_ms, keyed, deal, state, it, cause))
            put(state, STATE.is_changed, True)
        return self.arm(deal, it, keyed)

    cdef int tell_one(
        self, int64_t offset, int64_t tick_ms, PyObject* keyed, PyObject* deal, PyObject* state, Figures it, list out
    ) except -1:
        """``DealsStage._tell``."""
        cdef bint is_open = <int><object>peek(state, STATE.status) == OPEN
        put(state, STATE.is_changed, False)
        manager, told = self.manager(state) or self.unassigned, <object>peek(state, STATE.told_manager)
        if told and told != manager:
            out.append(self.score(offset, tick_ms, keyed, deal, state, it, told, False))
        if is_open or told:
            out.append(self.score(offset, tick_ms, keyed, deal, state, it, manager, is_open))
        put(state, STATE.told_manager, manager if is_open else "")
        return 0

    # --- what it says --------------------------------------------------------------------------------------------------

    cdef list reasons(self, PyObject* deal, PyObject* state, Figures it):
        """``DealsStage._reasons``."""
        found = <object>peek(deal, self.deal.reasons)
        if found is None:
            facts = <object>peek(deal, self.deal.facts)
            if facts is None:
                facts = self.card.facts_of(state, it)
                put(deal, self.deal.facts, facts)
            found = self.card.reasons_of(state, it, it.judged_ms, facts)
            put(deal, self.deal.reasons, found)
        return <list>found

    cdef object manager(self, PyObject* state):
        found = <object>peek(state, STATE.manager_id)
        return found or self.managers.get(<object>peek(state, STATE.owner_id), "")

    cdef object risk(
        self, int64_t offset, int64_t at_ms, PyObject* keyed, PyObject* deal, PyObject* state, Figures it, object cause
    ):
        """``DealsStage._risk``."""
        cdef PyObject* scores = peek(deal, self.deal.scores)
        cdef PyObject* data
        cdef PyObject* event
        at, made = self.text_of(at_ms), like(A_RISK)
        data = <PyObject*>made
        put(data, RISK.deal_id, <object>peek(deal, self.deal.deal_id))
        put(data, RISK.manager_id, self.manager(state) or None)
        put(data, RISK.owner_id, <object>peek(state, STATE.owner_id) or None)
        put(data, RISK.at, at)
        put(data, RISK.offset, offset)
        put(data, RISK.p_lost, <object>peek(scores, SCORES.p_lost))
        put(data, RISK.p_lost_14d, <object>peek(scores, SCORES.p_lost_14d))
        put(data, RISK.p_slip, <object>peek(scores, SCORES.p_slip))
        put(data, RISK.p_won_by, <object>peek(scores, SCORES.p_won_by))
        put(data, RISK.band, <object>peek(scores, SCORES.band))
        put(data, RISK.base, self.base)
        put(data, RISK.reasons, self.reasons(deal, state, it))
        put(data, RISK.model, self.proven if <object>peek(state, STATE.is_proven) else self.unproven)
        put(data, RISK.cause, cause)
        said = like(self.a_risk)
        event = <PyObject*>said
        put(event, OUT.partitionkey, <object>peek(deal, self.deal.deal_id))
        return self.output(
            like(self.risk_output), said, made, self.id_of(keyed, offset, b"\x1frisk\x1f\x1f", ""), at, at_ms,
            <object>peek(keyed, KEYED.key), <object>peek(deal, self.deal.tenant)
        )

    cdef object score(
        self, int64_t offset, int64_t tick_ms, PyObject* keyed, PyObject* deal, PyObject* state, Figures it,
        object manager, bint is_here,
    ):
        """``DealsStage._score``."""
        cdef PyObject* scores = peek(deal, self.deal.scores)
        cdef PyObject* data
        cdef PyObject* event
        tenant = <object>peek(deal, self.deal.tenant)
        reasons = self.reasons(deal, state, it) if is_here else []
        made = like(A_SCORE)
        data = <PyObject*>made
        put(data, SCORE.deal_id, <object>peek(deal, self.deal.deal_id))
        put(data, SCORE.manager_id, manager)
        put(data, SCORE.owner_id, <object>peek(state, STATE.owner_id))
        if <object>scores is not None:
            put(data, SCORE.p_lost, <object>peek(scores, SCORES.p_lost))
            put(data, SCORE.p_slip, <object>peek(scores, SCORES.p_slip))
            put(data, SCORE.p_lost_14d, <object>peek(scores, SCORES.p_lost_14d))
        put(data, SCORE.is_open, is_here)
        put(data, SCORE.deal, <object>peek(state, STATE.name))
        put(data, SCORE.account, <object>peek(state, STATE.account))
        put(data, SCORE.amount_minor, <object>peek(state, STATE.amount_minor))
        put(data, SCORE.currency, <object>peek(state, STATE.currency) or self.currency)
        put(data, SCORE.close_date, <object>peek(state, STATE.close_date))
        put(data, SCORE.stage, <object>peek(state, STATE.stage))
        if self.link:
            put(data, SCORE.link, self.link.replace("{deal_id}", quote(<object>peek(deal, self.deal.deal_id), safe="")))
        put(data, SCORE.reasons, reasons[: self.told_reasons])
        put(data, SCORE.recommended_action, action_of(state, it, reasons) if is_here else "")
        said = like(self.a_score)
        event = <PyObject*>said
        put(event, OUT.partitionkey, manager)
        return self.output(
            like(self.score_output), said, made, self.id_of(keyed, offset, b"\x1fscore\x1f\x1f", manager),
            self.text_of(tick_ms), tick_ms, f"{<str>tenant}/{<str>manager}", tenant
        )

    cdef object output(
        self, object out, object event, object data, object event_id, object time, int64_t at_ms, object key,
        object tenant,
    ):
        """An output of these parts: the envelope and the output are as good as filled in, but for what is given."""
        put(<PyObject*>event, OUT.id, event_id)
        put(<PyObject*>event, OUT.time, time)
        put(<PyObject*>event, OUT.data, data)
        if tenant != DEFAULT_TENANT:
            put(<PyObject*>event, OUT.tenant, tenant)
        put(<PyObject*>out, OUTPUT.id, event_id)
        put(<PyObject*>out, OUTPUT.key, key)
        put(<PyObject*>out, OUTPUT.at_ms, at_ms)
        put(<PyObject*>out, OUTPUT.event, event)
        return out

    cdef object id_of(self, PyObject* keyed, int64_t offset, bytes kind, object subject):
        """``DealsStage._id_of``; ``kind``: between the separators around it."""
        cdef char text[MOST_ID]
        cdef Py_ssize_t size = 0, key_size, subject_size
        cdef const char* key = utf8_of(<object>peek(keyed, KEYED.key), &key_size)
        cdef const char* about = utf8_of(subject, &subject_size)
        if len(self.id_start) + key_size + len(self.id_middle) + len(kind) + subject_size + 20 > MOST_ID:
            said = f"{<object>peek(keyed, KEYED.key)}{self.id_middle.decode()}{offset}{kind.decode()}{subject}"
            return xxh3_128_hexdigest(self.id_start + said.encode())
        append(text, &size, self.id_start, len(self.id_start))
        append(text, &size, key, key_size)
        append(text, &size, self.id_middle, len(self.id_middle))
        size += append_number(text + size, offset)
        append(text, &size, kind, len(kind))
        append(text, &size, about, subject_size)
        return xxh3_128_hexdigest(PyBytes_FromStringAndSize(text, size))

    cdef str text_of(self, int64_t at_ms):
        """``DealsStage._text_of``."""
        cdef char text[24]
        cdef const char* start
        cdef int64_t minute, rest
        cdef int place, size = 20
        if at_ms == self.last_ms:
            return self.last_text
        minute = at_ms // MINUTE
        if minute != self.minute:
            self.minute, self.minute_text = minute, format_ms(minute * MINUTE)[:17].encode()
        start = self.minute_text
        for place in range(17):
            text[place] = start[place]
        rest = at_ms - minute * MINUTE
        text[17], text[18], text[19] = c'0' + <char>(rest // 10000), c'0' + <char>(rest // 1000 % 10), c'Z'
        if rest % 1000:
            rest, size = rest % 1000, 24
            text[19], text[20], text[21] = c'.', c'0' + <char>(rest // 100), c'0' + <char>(rest // 10 % 10)
            text[22], text[23] = c'0' + <char>(rest % 10), c'Z'
        self.last_ms, self.last_text = at_ms, PyUnicode_DecodeASCII(text, size, NULL)
        return self.last_text


cdef object cause_of_change(PyObject* data):
    """``change_cause``; a new stage and nothing else here."""
    stage = stage_moved_to(data)
    return change_cause(<object>data) if stage is None else f"Moved to {<str>stage[:80]}"


cdef object cause_of(PyObject* data):
    """``activity_cause``; a plain contact here."""
    if (
        peek(data, ACTIVITY.status) != UNSET_ or peek(data, ACTIVITY.mentions) != UNSET_
        or <object>peek(data, ACTIVITY.scheduled_for)
    ):
        return activity_cause(<object>data)
    cdef str kind = <str>peek(data, ACTIVITY.kind)
    participants = <object>peek(data, ACTIVITY.participants)
    who = None
    if participants:
        first = <object>participants[0]
        who = <object>peek(<PyObject*>first, NAME_OF) or <object>peek(<PyObject*>first, CONTACT_OF)
        if who and len(<str>who) > 80:
            who = who[:80]
    if kind == "email":
        if <object>peek(data, ACTIVITY.direction) == "inbound":
            return f"{<str>who} wrote" if who else "The buyer wrote"
        return f"A mail to {<str>who}" if who else "A mail was sent"
    if kind == "call" or kind == "meeting":
        return f"{<str>_DONE[kind]} with {<str>who}" if who else f"{<str>_DONE[kind]} took place"
    return f"{<str>_DONE[kind]} was written down"


cdef object action_of(PyObject* state, Figures it, list reasons):
    """``recommended_action``; here where it asks for no more than the best person to talk to."""
    cdef PyObject* first
    cdef PyObject* asked
    if not reasons:
        return NOTHING
    first = <PyObject*>reasons[0]
    if <double><object>peek(first, CONTRIBUTION) <= 0:
        return NOTHING
    feature = <object>peek(first, FEATURE)
    if feature in CALLED:
        return call_of(whom_of(state, it))
    asked = PyDict_GetItem(ASKED, feature)
    if asked != NULL:
        before, after = <tuple>asked
        return f"{<str>before}{<str>whom_of(state, it)}{<str>after}"
    it.keep(state)
    return recommended_action(<object>state, reasons)


cdef object whom_of(PyObject* state, Figures it):
    """``reasons.whom``."""
    cdef PyObject* best = best_of(peek(state, STATE.people), it.standing, it.people_ms, it.people_count)
    return "the buyer" if best == NULL else said_of(<object>best)

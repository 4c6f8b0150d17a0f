"""Mutes, expectations and verdicts on findings inside an open transaction, shared by the runtimes.

What is decided is ``governance.widening``'s; here it is looked up, kept, told, and put into the agent's input
partition: the record's place there decides from when on it holds, so a replay of the log judges as it was judged live.
"""

from __future__ import annotations

import secrets

import msgspec
from msgspec import Struct

from events.times import format_ms
from events.types import Feedback, FeedbackEvent, FindingEvent, Mute, MuteEvent, tenant_of
from governance import widening as pure
from governance.widening import Decided, Why, Widening, ceiling_of
from storage import widenings as store
from storage.widenings import Said
from streams.authority import Authority
from streams.envelopes import envelope, make_key

_read_finding = msgspec.json.Decoder(FindingEvent).decode


class Expect(Struct, frozen=True, kw_only=True):
    """A person says that a finding was expected: up to ``factor`` times as much is let pass until ``until_ms``."""

    finding_id: str
    by: str
    reason: str
    until_ms: int
    factor: float


def new_id() -> str:
    """An id for a request of a person's."""
    return secrets.token_hex(8)


def ask(authority: Authority, wanted: Widening) -> Decided:
    """A first person's request; waits for a second one."""
    wanted = msgspec.structs.replace(wanted, asked_ms=authority.now_ms, reason=wanted.reason.strip())
    decided = pure.ask(wanted, len(store.open_of(authority.link, wanted.key, authority.now_ms)))
    return keep(authority, decided)


def expect(authority: Authority, said: Expect, id_: str) -> Decided | None:
    """The same for a finding; None when there is no such finding."""
    body = store.finding_body(authority.link, said.finding_id)
    if body is None:
        return None
    event = _read_finding(body)
    found, evidence = event.data, event.data.evidence
    wanted = Widening(
        id=id_,
        kind="expected",
        key=make_key(tenant_of(event), found.agent_id),
        agent_id=found.agent_id,
        detector=found.detector,
        until_ms=said.until_ms,
        reason=said.reason,
        by=said.by,
        asked_ms=authority.now_ms,
        subject=found.finding_id,
        topic=evidence.topic,
        unit=evidence.unit,
        ceiling=ceiling_of(evidence.observed, evidence.limit, said.factor),
    )
    is_count = 0 < evidence.limit <= evidence.observed <= wanted.ceiling
    if not is_count or found.agent_id == "*":
        return Decided(wanted, Why.NOT_COUNTED)
    return ask(authority, wanted)


def confirm(authority: Authority, id_: str, person: str) -> Decided | None:
    """A second person's word; then it goes into the agent's partition. None: there is no such request."""
    asked = store.find(authority.link, id_)
    if asked is None or asked.kind == "policy":
        return None
    decided = pure.confirm(asked, person, authority.owner_of(asked.agent_id), authority.now_ms)
    if decided.is_taken:
        _tell(authority, decided.widening)
        if asked.kind == "expected":
            verdict = Said(
                finding_id=asked.subject, verdict="expected", key=asked.key, detector=asked.detector, by=asked.by,
                reason=asked.reason, at_ms=authority.now_ms,
            )  # fmt: skip
            store.say(authority.link, verdict)
    return keep(authority, decided)


def end(authority: Authority, id_: str, person: str, reason: str) -> Decided | None:
    """One person takes it back. None: there is no such request."""
    known = store.find(authority.link, id_)
    if known is None or known.kind == "policy":
        return None
    decided = pure.end(known, person, reason, authority.now_ms)
    if decided.is_taken and known.state == "agreed":
        _tell(authority, msgspec.structs.replace(decided.widening, until_ms=authority.now_ms))
    return keep(authority, decided)


def call_wrong(authority: Authority, finding_id: str, person: str, reason: str) -> Said | None:
    """One person says that a finding was wrong: it counts against its detector's budget, and changes no judgement."""
    body = store.finding_body(authority.link, finding_id)
    if body is None:
        return None
    event = _read_finding(body)
    said = Said(
        finding_id=finding_id,
        verdict="wrong",
        key=make_key(tenant_of(event), event.data.agent_id),
        detector=event.data.detector,
        by=person,
        reason=reason.strip(),
        at_ms=authority.now_ms,
    )
    if store.say(authority.link, said):
        authority.changed.add(("finding", said.key))
        authority.count("verdict", "wrong")
        data = Feedback(
            subject=finding_id, verdict="wrong", by=person, reason=said.reason, agent_id=event.data.agent_id,
            detector=said.detector, version=authority.now_ms,
        )  # fmt: skip
        id_ = f"feedback:{finding_id}:wrong"
        authority.say(said.key, envelope(FeedbackEvent, authority.engine_id, id_, authority.now_ms, said.key, data))
    return said


def keep(authority: Authority, decided: Decided) -> Decided:
    """Write what was decided, where something was; the decision again."""
    if decided.is_taken:
        store.put(authority.link, decided.widening)
        authority.changed.add(("finding", decided.widening.key))
        authority.count("widening", decided.widening.kind, str(decided.why))
    return decided


def _tell(authority: Authority, one: Widening) -> None:
    """Put what holds (or, with an end that is now, what does not hold any more) into the agent's partition."""
    now_ms = authority.now_ms
    id_ = f"widening:{one.id}:{now_ms}"
    if one.kind == "mute":
        mute = Mute(
            agent_id=one.agent_id, detector=one.detector, until=format_ms(one.until_ms), by=one.by, reason=one.reason,
            second=one.second, since=format_ms(one.since_ms) if one.since_ms else None, most=one.most, version=now_ms,
        )  # fmt: skip
        authority.say(one.key, envelope(MuteEvent, authority.engine_id, id_, now_ms, one.key, mute))
        return
    feedback = Feedback(
        subject=one.subject, verdict="expected", by=one.by, reason=one.reason, agent_id=one.agent_id,
        detector=one.detector, topic=one.topic, unit=one.unit, ceiling=one.ceiling, until=format_ms(one.until_ms),
        second=one.second, version=now_ms,
    )  # fmt: skip
    authority.say(one.key, envelope(FeedbackEvent, authority.engine_id, id_, now_ms, one.key, feedback))

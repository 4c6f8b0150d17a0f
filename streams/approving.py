"""Approvals inside an open transaction, shared by the runtimes: asked at the gate, answered by people, used once.

What is decided is ``governance.approvals``'s; here it is looked up, kept, told and counted. At its use everything is
decided anew: an approval only lets pass what waits for nothing but a person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import UNSET
from msgspec.structs import replace
from xxhash import xxh3_128_hexdigest

from events.catalogue import kind_of
from events.times import MINUTE_MS, format_ms
from events.types import ActionEvent, ChangeEvent, Event, EvidenceData, tenant_of
from governance import approvals as pure
from governance.approvals import (
    MANY_IN_A_MINUTE,
    MOST_PENDING,
    QUICK_MS,
    SENTENCES,
    Answer,
    Approval,
    ApprovalEvent,
    ApprovalNews,
    Lapse,
    Touch,
    Use,
    Verdict,
    Why,
    asked_for,
    bound_hash,
    can_be_approved,
    is_exact,
)
from governance.gate import GateDecision, GateRequest, GateView, Rule, check, operation_of
from governance.operation import Operation, canonical_id
from governance.policy import Policy
from governance.settings import Settings
from storage import approvals as store
from streams.authority import Authority
from streams.envelopes import envelope

SYSTEM: store.Who = ("system", "tripline")
_ONE_USE = "a person may approve just this, once; ask again with the same content when it is approved"


def settle(
    authority: Authority,
    view: GateView,
    request: GateRequest,
    operation: Operation,
    decision: GateDecision,
    policy: Policy | None,
) -> GateDecision:
    """What becomes of a decision that waits for a person, or of a request that names an approval.

    ``decision`` has its id. A denial stays one, and leaves the approval as it is.
    """
    named = request.approval_id
    is_waiting = can_be_approved(request, decision, operation)
    if decision.decision == "deny" or (named is UNSET and not is_waiting):
        return decision
    if decision.decision == "hold" and not is_waiting:
        return decision
    hash_, now_ms = bound_hash(request), authority.now_ms
    if named is UNSET:
        found = store.of_content(authority.link, request.key, hash_, now_ms)
        if found is None:
            return _ask(authority, request, decision, policy)
    else:
        found = store.find(authority.link, named)
        if found is None or found.key != request.key:
            return _no(decision, Why.UNKNOWN, "", named)
    return _use(authority, view, request, operation, decision, found, Use(hash_, decision.decision_id), policy)


def answer(authority: Authority, view: GateView, given: Answer, policy: Policy | None) -> Verdict | None:
    """A person's answer; None when there is no such approval. ``view``: of the agent that asked."""
    found = store.find(authority.link, given.approval_id)
    if found is None:
        return None
    settings, now_ms = authority.settings, authority.now_ms
    owners = owners_of(settings, policy, found.agent_id)
    verdict = pure.decide(found, given, now_ms, settings=settings, owners=owners)
    if verdict.approval.hash != found.hash and (problem := _problem(authority, view, verdict.approval.request, policy)):
        verdict = Verdict(found, Why.EDIT_REFUSED, problem)
    store.keep(authority.link, verdict, found.state, ("human", given.who.name), now_ms, given.reason.strip())
    if verdict.is_changed:
        authority.changed.add(("approval", found.key))
        if verdict.why is not Why.FIRST_OF_TWO:
            authority.count("approval", str(verdict.why))
        if given.says == "approve":
            _look_at_haste(authority, verdict.approval, given)
    return verdict


def expire(authority: Authority, keys: Collection[str] | None = None) -> None:
    """End those whose time is over. ``keys``: of these agents alone, which are locked."""
    for found in store.due(authority.link, authority.now_ms):
        if keys is not None and found.key not in keys:
            continue
        verdict = pure.decide(found, Lapse(), authority.now_ms, settings=authority.settings)
        if verdict.is_changed:
            store.keep(authority.link, verdict, found.state, SYSTEM, authority.now_ms)
            authority.changed.add(("approval", found.key))
            authority.count("approval", "expired" if found.state == "pending" else "unused")


def touch(authority: Authority, tenant: str, record_id: str, effect_ms: int, what: str) -> None:
    """Somebody changed a record at a time: approvals of before, about it, can't be used any more."""
    for found in store.about(authority.link, tenant, record_id):
        if effect_ms <= found.asked_ms:
            continue
        verdict = pure.decide(found, Touch(what), authority.now_ms, settings=authority.settings)
        if verdict.is_changed:
            store.keep(authority.link, verdict, found.state, SYSTEM, authority.now_ms, what)
            authority.changed.add(("approval", found.key))


def changed_in(event: Event) -> Iterator[tuple[str, str, str]]:
    """The records that an event says were changed: tenant, canonical id, and by whom in words."""
    if type(event) is ChangeEvent:
        actor = event.data.actor
        who = f"{actor.kind} {actor.id}" if actor is not UNSET else "somebody"
        yield tenant_of(event), canonical_id(event.data.record_id), f"{who} changed it"
    elif type(event) is ActionEvent and event.data.outcome == "ok" and kind_of(event.data.action).is_write:
        ids = event.data.record_ids or []
        for each in (*ids, *(event.data.changes or {})):
            yield tenant_of(event), canonical_id(each), f"{event.data.agent_id} wrote to it"


def owners_of(settings: Settings, policy: Policy | None, agent_id: str) -> tuple[str, ...]:
    """Who answers for an agent: by the settings, and by the policy."""
    known = settings.agents.get(agent_id)
    grant = policy.agents.get(agent_id) if policy is not None else None
    named = (known.owner if known is not None else "", grant.owner if grant is not None else "")
    return tuple(each for each in named if each)


def _problem(authority: Authority, view: GateView, edited: GateRequest, policy: Policy | None) -> str:
    """Why an edited content can't be approved; "" when it can."""
    operation = operation_of(edited)
    if not is_exact(edited, operation):
        return "it does not list all that it touches"
    judged = check(edited, view, authority.settings, authority.now_ms, operation, policy, is_approved=True)
    return "" if judged.decision == "allow" else judged.reason


# --- at the gate -------------------------------------------------------------------------------------------------


def _ask(authority: Authority, request: GateRequest, decision: GateDecision, policy: Policy | None) -> GateDecision:
    if store.count_open(authority.link, request.key) >= MOST_PENDING:
        return replace(decision, detail=f"{MOST_PENDING} approvals of it are open already; no more are asked for")
    made = asked_for(request, decision, authority.settings, policy, authority.now_ms)
    store.keep(
        authority.link,
        Verdict(made, Why.WAITS, is_changed=True),
        "",
        ("agent", request.agent_id),
        authority.now_ms,
    )
    authority.changed.add(("approval", made.key))
    authority.count("approval", "asked")
    _tell(authority, made)
    return replace(decision, approval_id=made.id, detail=decision.detail or _ONE_USE)


def _use(
    authority: Authority,
    view: GateView,
    request: GateRequest,
    operation: Operation,
    decision: GateDecision,
    found: Approval,
    use: Use,
    policy: Policy | None,
) -> GateDecision:
    settings, now_ms = authority.settings, authority.now_ms
    verdict = pure.decide(found, use, now_ms, settings=settings)
    if verdict.why is Why.USED:
        judged = check(request, view, settings, now_ms, operation, policy, is_approved=True)
        if judged.decision != "allow":  # the policy has changed, or the agent's level
            return replace(judged, decision_id=decision.decision_id)
        store.keep(authority.link, verdict, found.state, ("agent", request.agent_id), now_ms)
        authority.changed.add(("approval", found.key))
        authority.count("approval", "used")
        return replace(
            judged,
            decision_id=decision.decision_id,
            reason=f"allowed: approved by {found.by}",
            rule=Rule.APPROVAL,
            approval_id=found.id,
            approved_by=found.by,
        )
    if verdict.why is Why.WAITS:
        rule = decision.rule if decision.decision == "hold" else Rule.APPROVAL
        return replace(decision, decision="hold", rule=rule, approval_id=found.id, reason=f"on hold: {found.held}")
    more = verdict.more
    if verdict.why is Why.OTHER_CONTENT:
        if bound_hash(replace(request, record_versions=found.request.record_versions)) == found.hash:
            return _no(decision, Why.CHANGED, "Its version is another one.", found.id)
        more = f"Not the same: {pure.differences(pure.content_of(request), found.request)}."
    refusal = _no(decision, verdict.why, more, found.id)
    return replace(refusal, approved_content=found.request) if verdict.why is Why.EDITED else refusal


def _no(decision: GateDecision, why: Why, more: str, approval_id: str) -> GateDecision:
    said = "a person changed it before approving; ask for approved_content" if why is Why.EDITED else SENTENCES[why]
    reason = f"denied: approval {approval_id[:64]}: {said[0].lower()}{said[1:]} {more}".strip()
    return GateDecision(
        decision="deny",
        reason=reason,
        rule=Rule.APPROVAL,
        epoch=decision.epoch,
        decision_id=decision.decision_id,
        policy=decision.policy,
        approval_id=approval_id if why is not Why.UNKNOWN else "",
    )


# --- telling -----------------------------------------------------------------------------------------------------


def _tell(authority: Authority, made: Approval) -> None:
    request = made.request
    news = ApprovalNews(
        approval_id=made.id,
        agent_id=made.agent_id,
        action=request.action,
        object=request.object or "",
        records=len(store.records_of(made)),
        recipients=len(request.recipient_ids),
        held=made.held,
        right=list(made.right),
        expires_at=format_ms(made.expires_ms),
    )
    event = envelope(ApprovalEvent, authority.engine_id, f"approval:{made.id}", authority.now_ms, made.key, news)
    authority.notify(event.id, made.key, authority.now_ms, event)


def _look_at_haste(authority: Authority, given: Approval, said: Answer) -> None:
    """Who approves without reading, or one after another, is a finding: at most one of each kind in ten minutes."""
    now_ms, name = authority.now_ms, said.who.name
    looked_ms = now_ms - said.opened_ms
    if looked_ms < QUICK_MS:
        text = f"{name} approved what {given.agent_id} asked {max(looked_ms, 0) / 1000:.1f} s after opening it"
        _report(authority, given, f"quick:{name}", text, (looked_ms / 1000, QUICK_MS / 1000, "seconds"))
    count = store.given_since(authority.link, name, now_ms - MINUTE_MS)
    if count >= MANY_IN_A_MINUTE:
        text = f"{name} gave {count} approvals within a minute"
        _report(authority, given, f"many:{name}", text, (count, MANY_IN_A_MINUTE, "approvals"))


def _report(authority: Authority, about: Approval, what: str, text: str, seen: tuple[float, float, str]) -> None:
    span = authority.now_ms // (10 * MINUTE_MS)
    id_ = xxh3_128_hexdigest(f"{authority.engine_id}\x1fapproval\x1f{about.key}\x1f{what}\x1f{span}".encode())
    observed, limit, unit = seen
    evidence = EvidenceData(
        summary=text,
        observed=observed,
        expected=limit,
        limit=limit,
        unit=unit,
        events=[],
        would_clear="approvals that somebody has read",
    )
    if authority.warn(id_, about.key, about.agent_id, evidence):
        authority.count("finding", "gate", "warn")

"""Approvals: a person's yes to one exact operation of an agent, for one use. Pure: one function decides.

What waits for a person becomes an ``Approval``, bound by a hash to everything that the agent said of the operation:
itself, action, object, records, fields, values before and after, recipients, for whom, why, and the records' versions
where it names them. The rules of ``decide``:

1. A person answers it while it is pending, within its time, with a reason, having seen what it is bound to now.
2. Not the one in whose name the agent asks, not the agent's owner, and only who has the right: who the policy names,
   else an operator. Where the policy asks for two people, two different ones.
3. An edit binds it to the edited content. Whoever calls has put that to the gate before.
4. The agent uses it once, with the content that it is bound to, within its time, while nobody has changed the records.
5. Nobody answers: no. Answered and not used in time: no.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from events.times import MINUTE_MS
from events.types import Event, FieldChanges
from governance.gate_types import GateDecision, GateRequest, Rule
from governance.operation import Operation
from governance.policy.model import Policy
from governance.settings_types import Settings
from governance.words import listed

State = Literal["pending", "approved", "edited", "refused", "expired", "used"]
OPEN: frozenset[str] = frozenset({"pending", "approved", "edited"})
"""States in which an approval may still let something pass."""
DEFAULT_RIGHT = ("role:operator",)
MOST_PENDING = 100
"""Approvals of one agent that may be open at once; what is more is held without one."""
QUICK_MS = 2_000
"""Who answers sooner after opening the page than this can't have read it."""
MANY_IN_A_MINUTE = 50
_SHOWN_CHARS = 80


class Why(StrEnum):
    """Why it was decided so."""

    APPROVED = "approved"
    FIRST_OF_TWO = "first_of_two"
    EDITED = "edited"
    REFUSED = "refused"
    USED = "used"
    EXPIRED = "expired"
    CHANGED = "record_changed"
    NOTHING_DUE = "nothing_due"
    REASON_MISSING = "reason_missing"
    REQUESTER = "requester"
    OWNER = "not_the_owner"
    NO_RIGHT = "no_right"
    SAME_PERSON = "needs_two"
    NOT_PENDING = "not_pending"
    TOO_LATE = "too_late"
    CONFLICT = "conflict"
    EDIT_REFUSED = "edit_refused"
    UNKNOWN = "unknown"
    WAITS = "waits"
    OTHER_CONTENT = "other_content"
    ALREADY_USED = "already_used"
    WAS_REFUSED = "was_refused"


SENTENCES: dict[Why, str] = {
    Why.APPROVED: "Approved, for one use.",
    Why.FIRST_OF_TWO: "Noted; it takes a second person.",
    Why.EDITED: "Approved as you changed it, for one use.",
    Why.REFUSED: "Refused.",
    Why.USED: "It was used.",
    Why.EXPIRED: "Nobody answered, or the answer was not used in time.",
    Why.CHANGED: "A record that it concerns was changed since; the agent must look and ask again.",
    Why.NOTHING_DUE: "Nothing to do.",
    Why.REASON_MISSING: "An answer needs a reason.",
    Why.REQUESTER: "The agent asks in your name; somebody else must answer.",
    Why.OWNER: "The agent's owner cannot approve what it does; ask somebody else.",
    Why.NO_RIGHT: "You have no right to answer this.",
    Why.SAME_PERSON: "It takes two different people, and you are the first.",
    Why.NOT_PENDING: "It was answered already.",
    Why.TOO_LATE: "Its time is over; unanswered means no.",
    Why.CONFLICT: "It is not what you saw any more; look again before you answer.",
    Why.EDIT_REFUSED: "The gate refuses what you changed it to.",
    Why.UNKNOWN: "There is no such approval.",
    Why.WAITS: "It waits for a person.",
    Why.OTHER_CONTENT: "It was asked for something else.",
    Why.ALREADY_USED: "It was used already; each is for one use.",
    Why.WAS_REFUSED: "A person refused it.",
}
_CHANGES_FIELDS = frozenset({"record.update", "record.enrich", "owner.reassign"})


class Approval(Struct, frozen=True, kw_only=True):
    """A request for approval and what became of it. Times are log time in milliseconds.

    ``hash`` is what it is bound to, ``asked_hash`` what the agent asked; they differ after an edit, as do ``request``
    and ``asked``. ``expires_ms``: until when it can be answered, then until when it can be used; ``lasts_ms`` is that
    time from the one to the other. ``right``: people, or ``role:NAME``; ``people``: how many it takes. ``by_first``:
    the first of two. ``changed``: what happened to its records since. ``held``: why the gate held it.
    """

    id: str
    key: str
    agent_id: str
    state: State
    hash: str
    asked_hash: str
    request: GateRequest
    asked: GateRequest
    asked_ms: int
    expires_ms: int
    lasts_ms: int
    rule: str
    held: str
    policy_rule: str = ""
    policy: str = ""
    right: tuple[str, ...] = DEFAULT_RIGHT
    people: int = 1
    by_first: str = ""
    by: str = ""
    answered_ms: int | None = None
    opened_ms: int | None = None
    reason: str = ""
    used_ms: int | None = None
    used_by: str = ""
    changed: str = ""


class Approver(Struct, frozen=True, kw_only=True):
    """Who answers. ``roles``: each that this person may act as; ``names``: see ``names_of``."""

    name: str
    roles: frozenset[str]


class Edit(Struct, frozen=True, kw_only=True):
    """What a person changed; None leaves it as the agent asked."""

    changes: dict[str, FieldChanges] | None = None
    record_ids: list[str] | None = None
    recipient_ids: list[str] | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """A person's answer. ``hash``: what the person saw; ``opened_ms``: when. ``edit`` only where something changed."""

    approval_id: str
    says: Literal["approve", "refuse"]
    who: Approver
    reason: str
    hash: str
    opened_ms: int
    edit: Edit | None = None


class Use(Struct, frozen=True):
    """The agent presents it: the hash of what it asks for now, and the decision that would let it pass."""

    hash: str
    decision_id: str


class Lapse(Struct, frozen=True):
    """Time passes."""


class Touch(Struct, frozen=True):
    """Somebody changed a record that it concerns: what happened, in words."""

    what: str


class Verdict(Struct, frozen=True):
    """What was decided: the approval as it is now, and why. ``more``: a detail for a person, may be empty.

    ``is_changed``: it is another one than before, and to be kept.
    """

    approval: Approval
    why: Why
    more: str = ""
    is_changed: bool = False

    @property
    def sentence(self) -> str:
        """Why, in words."""
        return f"{SENTENCES[self.why]} {self.more}".strip()


class ApprovalNews(Struct, frozen=True, kw_only=True):
    """What people are told of an approval that waits. The counts are of distinct ids."""

    approval_id: str
    agent_id: str
    action: str
    object: str
    records: int
    recipients: int
    held: str
    right: list[str]
    expires_at: str


class ApprovalEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.approval.v1"):
    """Only in the outbox: what a notice is made of."""

    data: ApprovalNews


def decide(
    approval: Approval,
    step: Answer | Use | Touch | Lapse,
    now_ms: int,
    *,
    settings: Settings,
    owners: Iterable[str] = (),
) -> Verdict:
    """What a step does to an approval; see the module's rules. The only place that changes a state.

    Parameters: ``settings`` for who is who; ``owners``: those who answer for the agent.
    """
    is_over = approval.state in OPEN and now_ms >= approval.expires_ms
    if isinstance(step, Lapse):
        return _as(approval, Why.EXPIRED, state="expired") if is_over else Verdict(approval, Why.NOTHING_DUE)
    if isinstance(step, Touch):
        if approval.state not in OPEN or approval.changed:
            return Verdict(approval, Why.NOTHING_DUE)
        return _as(approval, Why.CHANGED, changed=step.what)
    if isinstance(step, Use):
        return _use(approval, step, now_ms, is_over=is_over)
    refusal = _refusal(approval, step, settings, tuple(owners), is_over=is_over)
    return Verdict(approval, refusal) if refusal is not None else _answer(approval, step, now_ms)


def content_of(request: GateRequest) -> GateRequest:
    """The request without what is of one try only: its own id, and the approval's."""
    return replace(request, request_id=None, approval_id=UNSET)


def bound_hash(request: GateRequest) -> str:
    """What an approval is bound to: SHA-256 over every byte of the content, in one order of keys."""
    return hashlib.sha256(msgspec.json.encode(content_of(request), order="sorted")).hexdigest()


def can_be_approved(request: GateRequest, decision: GateDecision, operation: Operation) -> bool:
    """Whether a held operation waits for an approval, and not for the agent's release; see ``is_exact``."""
    is_waiting = decision.decision == "hold" and decision.rule in (Rule.FIRST_CONTACT, Rule.POLICY)
    return is_waiting and is_exact(request, operation)


def is_exact(request: GateRequest, operation: Operation) -> bool:
    """Whether it lists all that it touches; else it has no content that a person could approve."""
    if request.action in _CHANGES_FIELDS and not request.changes.keys() >= set(request.record_ids):
        return False
    return operation.records <= max(1, len(operation.record_ids)) and operation.recipients == len(
        operation.recipient_ids
    )


def asked_for(
    request: GateRequest, decision: GateDecision, settings: Settings, policy: Policy | None, now_ms: int
) -> Approval:
    """The approval that a held operation waits for; its id is the decision's.

    The shorter of the settings' and the policy's time counts.
    """
    grant = policy.agents.get(request.agent_id) if policy is not None else None
    table = policy.approvals.get(grant.approval) if policy is not None and grant is not None else None
    minutes = settings.gate.approval_minutes
    content, hash_ = content_of(request), bound_hash(request)
    lasts_ms = (minutes if table is None else min(minutes, table.expires_minutes)) * MINUTE_MS
    return Approval(
        id=decision.decision_id,
        key=request.key,
        agent_id=request.agent_id,
        state="pending",
        hash=hash_,
        asked_hash=hash_,
        request=content,
        asked=content,
        asked_ms=now_ms,
        expires_ms=now_ms + lasts_ms,
        lasts_ms=lasts_ms,
        rule=str(decision.rule),
        held=decision.reason.removeprefix("on hold: "),
        policy_rule=decision.policy_rule,
        policy=decision.policy,
        right=DEFAULT_RIGHT if table is None else tuple(table.approvers),
        people=1 if table is None else table.people,
    )


def edited(request: GateRequest, edit: Edit) -> GateRequest:
    """The request as a person changed it; what is not edited stays, versions of records left out go."""
    record_ids = request.record_ids if edit.record_ids is None else edit.record_ids
    changes = request.changes if edit.changes is None else edit.changes
    versions = request.record_versions
    if versions is not UNSET:
        versions = {each: of for each, of in versions.items() if each in record_ids or each in changes} or UNSET
    return replace(
        request,
        record_ids=record_ids,
        changes=changes,
        recipient_ids=request.recipient_ids if edit.recipient_ids is None else edit.recipient_ids,
        record_versions=versions,
    )


def names_of(settings: Settings, name: str) -> frozenset[str]:
    """Every name of the person whom a name may mean: login, CRM user, mail address, name on pages; lower case."""
    plain = _plain(name)
    found = {plain} if plain else set()
    for key, person in settings.people.items():
        own = {_plain(each) for each in (key, person.crm_user, person.email, person.name)} - {""}
        if plain in own:
            found |= own
    return frozenset(found)


def has_right(settings: Settings, approval: Approval, who: Approver) -> bool:
    """Whether it is this person's to answer, as the policy or else the rule says."""
    names = names_of(settings, who.name)
    return any(
        each.removeprefix("role:") in who.roles if each.startswith("role:") else _plain(each) in names
        for each in approval.right
    )


def barred(settings: Settings, approval: Approval, who: Approver, owners: Iterable[str]) -> Why | None:
    """Why this person may not answer, whatever the answer is; None when he or she may."""
    names = names_of(settings, who.name)
    if any(names & names_of(settings, each) for each in _askers(approval.asked)):
        return Why.REQUESTER
    if any(names & names_of(settings, each) for each in owners):
        return Why.OWNER
    return None if has_right(settings, approval, who) else Why.NO_RIGHT


def differences(one: GateRequest, other: GateRequest) -> str:
    """Which parts of two requests are not the same, in words."""
    parts = [name for name in GateRequest.__struct_fields__ if getattr(one, name) != getattr(other, name)]
    return listed(parts) or "the order of its parts"


def _refusal(
    approval: Approval, answer: Answer, settings: Settings, owners: tuple[str, ...], *, is_over: bool
) -> Why | None:
    if why := barred(settings, approval, answer.who, owners):
        return why
    rules = (
        (not answer.reason.strip(), Why.REASON_MISSING),
        (is_over or approval.state == "expired", Why.TOO_LATE),
        (approval.state != "pending", Why.NOT_PENDING),
        (answer.hash != approval.hash, Why.CONFLICT),
        (bool(approval.changed) and answer.says == "approve", Why.CHANGED),
        (_is_first(approval, answer, settings) and answer.says == "approve", Why.SAME_PERSON),
    )
    return next((why for is_broken, why in rules if is_broken), None)


def _is_first(approval: Approval, answer: Answer, settings: Settings) -> bool:
    return bool(approval.by_first and names_of(settings, approval.by_first) & names_of(settings, answer.who.name))


def _answer(approval: Approval, answer: Answer, now_ms: int) -> Verdict:
    said = replace(
        approval, by=answer.who.name, answered_ms=now_ms, opened_ms=answer.opened_ms, reason=answer.reason.strip()
    )
    if answer.says == "refuse":
        return _as(said, Why.REFUSED, state="refused")
    request = approval.request if answer.edit is None else edited(approval.request, answer.edit)
    said = replace(said, request=request, hash=bound_hash(request))
    is_new = said.hash != approval.hash
    if approval.people > 1 and (not approval.by_first or is_new):  # whoever changed it, the second looks at that
        return _as(said, Why.FIRST_OF_TWO, by_first=answer.who.name, by="", answered_ms=None)
    is_edited = said.hash != said.asked_hash
    return _as(
        said,
        Why.EDITED if is_edited else Why.APPROVED,
        state="edited" if is_edited else "approved",
        expires_ms=now_ms + approval.lasts_ms,
    )


def _use(approval: Approval, use: Use, now_ms: int, *, is_over: bool) -> Verdict:
    content = {approval.hash, approval.asked_hash}
    rules = (
        (use.hash not in content, Why.OTHER_CONTENT),
        (approval.state == "used", Why.ALREADY_USED),
        (approval.state == "refused", Why.WAS_REFUSED),
        (is_over or approval.state == "expired", Why.EXPIRED),
        (bool(approval.changed), Why.CHANGED),
        (approval.state == "pending", Why.WAITS),
        (use.hash != approval.hash, Why.EDITED),
    )
    why = next((why for is_so, why in rules if is_so), None)
    if why is None:
        return _as(approval, Why.USED, state="used", used_ms=now_ms, used_by=use.decision_id)
    more = approval.changed if why is Why.CHANGED else approval.reason if why is Why.WAS_REFUSED else ""
    return Verdict(approval, why, more[: 2 * _SHOWN_CHARS])


def _askers(request: GateRequest) -> list[str]:
    """In whose name the agent asks, as far as it says."""
    trigger = request.trigger
    named = [request.authorized_by, trigger.ref if trigger is not None and trigger.kind == "prompt" else None]
    return [each for each in named if each]


def _plain(name: str) -> str:
    return name.strip().removeprefix("user:").strip().casefold()


def _as(approval: Approval, why: Why, **fields: object) -> Verdict:
    return Verdict(replace(approval, **fields), why, is_changed=True)

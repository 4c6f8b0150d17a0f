"""Leases: credits that a holder spends without asking, within what the gate would allow. Pure, like the gate.

A lease {agent, scope, epoch, end, action credits, record credits} is granted where the gate would admit the largest
operation of its scope now, and still at the last of its credits. Its records are set aside in the agent's budgets at
the grant, so that no budget is exceeded whatever the holder does before it is heard of again. Under a policy's ceiling
they are set aside in what all agents may do together, too.

The rules:

1. Only what can be undone and reaches nobody is leased; the rest is asked for, one by one.
2. A lease is bound to the epochs of the agent's control row and of "stop all": any change of either ends it.
3. A holder counts its debits without a gap, and reports them. What it has not reported by the end is taken as spent:
   unused credits come back when the holder returns the lease, never by time alone. Set-aside records leave a budget's
   window with the lease's end, as records written in that moment would.
4. No monitor, no autonomy: credits are renewed for debits that are settled, that is judged by the detectors and with
   a reported outcome. So at most ``action_credits`` are outstanding or not settled at any time. When a debit is not
   settled after ``leases.outcome_secs``, the agent is *blind*: none of its write leases is granted or renewed, and the
   gate refuses its writes, until it has caught up, a day has passed, or a person has allowed it for a while.
5. A holder that reports what is not in its lease loses it; what it did is recorded all the same.

**The bound.** After a trip a holder admits at most ``min(credits left, rate x min(time to hear of it, time to the
lease's end))`` more operations. The first term needs no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from msgspec.structs import replace

from events.times import DAY_MS
from events.types import FieldChanges
from governance import stanza
from governance.control import effective
from governance.gate import check, operation_of
from governance.gate_types import GateRequest, GateView
from governance.kin import kin_of
from governance.lease_types import Lease, LeaseAsk, Owed, Refusal
from governance.limits import BudgetName, Budgets, SetAside
from governance.operation import Operation
from governance.policy import Policy
from governance.settings_types import AgentSettings, Settings

FORGOTTEN_MS = DAY_MS
"""A debit that was not settled for so long makes nobody blind any more."""
_SUPPOSED = ""
Allows = Callable[[int], Refusal | None]
"""Why the gate would not admit the scope's largest operations if so many records more were written; None: it would."""


def grant(
    ask: LeaseAsk,
    lease_id: str,
    view: GateView,
    budgets: Budgets,
    settings: Settings,
    now_ms: int,
    *,
    others: int = 0,
    blind: str = "",
    policy: Policy | None = None,
) -> Lease | Refusal:
    """A new lease, or why there is none. ``budgets``: the agent's, which are ``view``'s counters. ``others``: how many
    leases of the agent were not given back and have not ended; their holders may not have heard that they are over.
    ``blind``: see ``blindness``."""
    refusal = _not_leased(ask, settings)
    if refusal is None and others >= settings.leases.most_open:
        refusal = Refusal(rule="too_many", reason=f"{others} leases of this agent are open; at most so many may be")
    if refusal is not None:
        return refusal
    is_write = _operations(ask)[0].is_write
    if blind and is_write:
        return Refusal(rule="blind", reason=blind)
    allows = _allows(ask, view, budgets, settings, now_ms, policy)
    action_credits, wanted = _credits(ask, view, settings)
    record_credits = _most(allows, ask.records_per_action, max(ask.records_per_action, wanted))
    if isinstance(record_credits, Refusal):
        return record_credits
    return Lease(
        lease_id=lease_id,
        ask=ask,
        is_write=is_write,
        epoch=view.control.epoch if view.control is not None else 0,
        stop_epoch=view.stop_all.epoch if view.stop_all is not None else 0,
        action_limit=action_credits,
        record_limit=record_credits,
        granted_ms=now_ms,
        end_ms=now_ms + ttl_ms(settings),
        policy=policy.hash if policy is not None else "",
    )


def renew(
    lease: Lease,
    view: GateView,
    budgets: Budgets,
    settings: Settings,
    now_ms: int,
    *,
    blind: str = "",
    policy: Policy | None = None,
) -> Lease | Refusal:
    """The lease with a later end, and with credits again for what is settled of its debits; or why not."""
    reason = why_over(lease, view, settings, now_ms, policy)
    if reason:
        return Refusal(rule="over", reason=reason)
    if blind and lease.is_write:
        return Refusal(rule="blind", reason=blind)
    allows = _allows(lease.ask, view, budgets, settings, now_ms, policy)
    action_credits, record_credits = _credits(lease.ask, view, settings)
    wanted = max(0, lease.settled_records + record_credits - lease.record_limit)
    more = _most(allows, 0, wanted)
    if isinstance(more, Refusal):
        return more
    return replace(
        lease,
        action_limit=max(lease.action_limit, lease.settled_actions + action_credits),
        record_limit=lease.record_limit + more,
        end_ms=now_ms + ttl_ms(settings),
        renewals=lease.renewals + 1,
    )


def give_back(lease: Lease, now_ms: int) -> Lease:
    """The lease when its holder has said that it admits nothing more under it, and what it has admitted."""
    return lease if lease.returned_ms is not None else replace(lease, returned_ms=now_ms)


def debit(lease: Lease, number: int, request: GateRequest, operation: Operation) -> Lease:
    """The lease after its holder's next debit, which happened already; ``wrong`` when it was not the holder's right."""
    actions, records = lease.actions + 1, lease.records + operation.records
    wrong = lease.wrong or _not_in_scope(lease, request, operation)
    if not wrong and lease.returned_ms is not None:
        wrong = "it was used after it was given back"
    if not wrong and (number > lease.action_limit or records > lease.record_limit):
        wrong = "more was admitted under it than it has credits"
    return replace(lease, actions=actions, records=records, wrong=wrong)


def why_over(lease: Lease, view: GateView, settings: Settings, now_ms: int, policy: Policy | None = None) -> str:
    """Why nothing may be admitted under the lease any more, as a sentence; "" while it lives."""
    if lease.returned_ms is not None:
        return "it was given back"
    if lease.wrong:
        return lease.wrong
    if stopped := _why_stopped(lease, view, settings, policy):
        return stopped
    if now_ms >= lease.end_ms:
        return "its time is over"
    if lease.policy != (policy.hash if policy is not None else ""):
        return "another version of the policy is in force"
    return ""


def blindness(owed: Owed, settings: Settings, now_ms: int) -> str:
    """Why an agent counts as blind, as a sentence; "" when it does not. A person may let it go on for a while.

    ``owed`` leaves out what is older than ``FORGOTTEN_MS``.
    """
    late_ms = now_ms - int(settings.leases.outcome_secs * 1000)
    if owed.unjudged_ms is not None and owed.unjudged_ms <= late_ms:
        return "what it did under a lease was not judged in time: no detector looks at it"
    if owed.unreported_ms is not None and owed.unreported_ms <= late_ms:
        return "it has not reported what came of operations under a lease"
    return ""


def set_aside(lease: Lease) -> SetAside:
    """What the lease takes of the agent's budgets besides what was reported."""
    return SetAside(_budget(lease.is_write), lease.records_left, lease.end_ms)


def ttl_ms(settings: Settings) -> int:
    """For how long a lease is granted or renewed."""
    return int(settings.leases.ttl_secs * 1000)


# --- parts -------------------------------------------------------------------------------------------------------


def _why_stopped(lease: Lease, view: GateView, settings: Settings, policy: Policy | None) -> str:
    """Why the state of the agent, or of its kin, ends the lease."""
    row, stop_all = view.control, view.stop_all
    epochs = (row.epoch if row is not None else 0, stop_all.epoch if stop_all is not None else 0)
    if epochs != (lease.epoch, lease.stop_epoch):
        now = effective(row, stop_all)
        return f"the agent's state has changed since; it is {now.state if now is not None else 'active'}"
    for kin in kin_of(next(probes(lease.ask)), settings, policy):
        other = view.row_of(kin.agent_id)
        if other is not None and other.state in ("suspended", "held", "releasing"):
            return f"“{kin.agent_id}”, {kin.how}, is {other.state}"
    return ""


def probes(ask: LeaseAsk) -> Iterator[GateRequest]:
    """The largest operation of each action of the scope, as the gate would be asked for it."""
    ids = [f"lease-{number}" for number in range(ask.records_per_action)]
    fields: FieldChanges = dict.fromkeys(ask.fields, (None, None))
    changes = dict.fromkeys(ids, fields) if fields else {}
    for action in ask.actions:
        yield GateRequest(
            agent_id=ask.agent_id, action=action, object=ask.object, record_ids=ids, changes=changes,
            authorized_by=ask.authorized_by, trigger=ask.trigger, system=ask.system, tenant=ask.tenant,
        )  # fmt: skip


def _operations(ask: LeaseAsk) -> list[Operation]:
    return [operation_of(probe) for probe in probes(ask)]


def _not_leased(ask: LeaseAsk, settings: Settings) -> Refusal | None:
    agent = settings.agents.get(ask.agent_id) or AgentSettings()
    if not agent.lease_actions or not agent.lease_records:
        wanted = {"lease_actions": agent.lease_actions or 25, "lease_records": agent.lease_records or 25}
        lines = stanza.numbers(ask.agent_id, wanted)
        return Refusal(rule="no_leases", reason="this agent has no leases: it asks for each operation", stanza=lines)
    operations = _operations(ask)
    if any(one.is_write != other.is_write for one, other in pairwise(operations)):
        return Refusal(rule="mixed", reason="a lease is for writes or for reads; ask for one of each")
    for action, one in zip(ask.actions, operations, strict=True):
        if one.is_external or one.implied or not one.kind.is_known or (one.is_write and not one.kind.is_reversible):
            reason = f"“{action}” is never leased: it reaches people, or can't be undone; ask for each one"
            return Refusal(rule="never_leased", reason=reason)
    return None


def _not_in_scope(lease: Lease, request: GateRequest, operation: Operation) -> str:
    ask = lease.ask
    fields = {field for changed in request.changes.values() for field in changed}
    is_inside = (
        request.action in ask.actions
        and request.object == ask.object
        and request.agent_id == ask.agent_id
        and request.authorized_by == ask.authorized_by
        and request.trigger == ask.trigger
        and (request.system or None) == (ask.system or None)
        and operation.records <= ask.records_per_action
        and not operation.is_external
        and not operation.implied
        and not operation.names_no_record
        and fields <= set(ask.fields)
    )
    return "" if is_inside else f"an operation was admitted under it that is not in it: {request.action}"


def settle(lease: Lease, actions: int, records: int) -> Lease:
    """The lease when so many of its debits more were judged and their outcomes reported, and of how many records."""
    return replace(
        lease, settled_actions=lease.settled_actions + actions, settled_records=lease.settled_records + records
    )


def _allows(
    ask: LeaseAsk, view: GateView, budgets: Budgets, settings: Settings, now_ms: int, policy: Policy | None
) -> Allows:
    asked = [(probe, operation_of(probe)) for probe in probes(ask)]
    budget = _budget(asked[0][1].is_write)
    everybody = view.everybody if policy is not None and policy.ceiling is not None else None
    counted = [budgets] if everybody is None else [budgets, everybody]

    def allows(records: int) -> Refusal | None:
        ahead = records - ask.records_per_action  # the probe brings the last of them
        for each in counted:
            each.set_aside[_SUPPOSED] = SetAside(budget, ahead, now_ms + 1)
        try:
            for probe, operation in asked:
                decision = check(probe, view, settings, now_ms, operation, policy)
                if decision.decision != "allow":
                    return Refusal.of(decision)
        finally:
            for each in counted:
                del each.set_aside[_SUPPOSED]
        return None

    return allows


def _most(allows: Allows, least: int, wanted: int) -> int | Refusal:
    """The most records, up to those wanted, that the gate would allow; why not, when not even the least."""
    refusal = allows(least)
    if refusal is not None:
        return refusal
    good, bad = least, wanted + 1
    if allows(wanted) is None:
        return wanted
    while bad - good > 1:
        middle = (good + bad) // 2
        if allows(middle) is None:
            good = middle
        else:
            bad = middle
    return good


def _credits(ask: LeaseAsk, view: GateView, settings: Settings) -> tuple[int, int]:
    """The most actions and records of one lease now; a throttled agent has a tenth."""
    agent = settings.agents.get(ask.agent_id) or AgentSettings()
    row = effective(view.control, view.stop_all)
    divisor = settings.gate.throttle_divisor if row is not None and row.state == "throttled" else 1
    actions, records = (max(1, one // divisor) for one in (agent.lease_actions, agent.lease_records))
    return min(ask.action_credits, actions), min(ask.record_credits, records)


def _budget(is_write: bool) -> BudgetName:
    return "records" if is_write else "reads"


def outstanding(leases: Sequence[Lease], now_ms: int) -> tuple[int, int]:
    """How many actions and records may still be admitted under leases: the bound of what a trip now lets through."""
    alive = [one for one in leases if now_ms < one.end_ms]
    return sum(one.actions_left for one in alive), sum(one.records_left for one in alive)

"""Rules of the gate: is the request one that can be judged, and does it stay within what the agent is there for?"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from governance import stanza
from governance.gate_types import GateDecision, Rule, content_hash
from governance.kin import may_do
from governance.operation import is_known
from governance.rules.case import Case, deny, known_authorizer, name_of
from governance.rules.control import kin_held
from governance.words import DOING, listed


def malformed(case: Case) -> GateDecision | None:
    """Names and ids that are blank or do not print."""
    request = case.request
    fields: dict[str, Sequence[str]] = {
        "agent_id": (request.agent_id,),
        "action": (request.action,),
        "object": (request.object or "-",),
        "parent_agent_id": (request.parent_agent_id or "-",) if request.parent_agent_id is not UNSET else ("-",),
        "system": (request.system or "-",),
        "record_ids": (*request.record_ids, *request.changes),
        "recipient_ids": request.recipient_ids,
    }
    for field, texts in fields.items():
        if not ("".join(texts).isprintable() and all(map(str.strip, texts))):
            return deny(case, Rule.MALFORMED, f"{field} is blank or holds characters that do not print")
    return None


def request_id(case: Case) -> GateDecision | None:
    """A retry gets the answer of the first time; another content under its id is refused."""
    request_id, view = case.request.request_id, case.view
    before = view.remembered(request_id) if request_id is not None and view is not None else None
    if before is None or before.at_ms < case.now_ms - case.settings.gate.remember_hours * 3_600_000:
        return None
    if before.content_hash != content_hash(case.request):
        reason = f"request id “{request_id}” was used before for something else"
        return deny(case, Rule.REQUEST_ID, reason, finding=f"{case.request.agent_id}: {reason}")
    if before.decision.decision == "allow" and before.decision.epoch == case.epoch and kin_held(case) is None:
        return msgspec.structs.replace(before.decision, is_repeated=True)
    return None  # what was refused or held, by itself or with its kin, is judged as things are now


def unknown_agent(case: Case) -> GateDecision | None:
    """Nobody configured it."""
    request = case.request
    if request.agent_id in case.settings.agents or case.settings.gate.unknown_agents == "allow":
        return None
    lines = stanza.new_agent(request.agent_id, case.names, request.object)
    return deny(case, Rule.UNKNOWN_AGENT, f"no agent called {name_of(case)} is configured", lines)


def unknown_action(case: Case) -> GateDecision | None:
    """No kind of action that is known here."""
    action, own = case.request.action, case.settings.gate.other_actions
    if is_known(action) or (action in own and action in case.agent.actions):
        return None
    reason = f"“{action}” is no known action, so it counts as a write of the highest risk"
    return deny(case, Rule.UNKNOWN_ACTION, reason, stanza.own_action(case.request.agent_id, case.agent, own, action))


def action(case: Case) -> GateDecision | None:
    """What it is there for."""
    missing = [name for name in case.names if not may_do(name, case.agent.actions)]
    if not missing:
        return None
    reason = f"{name_of(case)} may not {listed([DOING.get(name, name) for name in missing], 'or')}"
    return deny(case, Rule.ACTION, reason, stanza.more_actions(case.request.agent_id, case.agent, missing))


def object(case: Case) -> GateDecision | None:
    """Which kinds of record it is there for."""
    allowed, wanted = case.agent.objects, case.request.object
    if "*" in allowed or (wanted is not None and wanted in allowed):
        return None
    may = f"it may touch {listed(allowed)}" if allowed else "it may touch nothing"
    if not wanted:
        return deny(case, Rule.OBJECT, f"the request does not say what kind of record it touches; {may}")
    lines = stanza.more_objects(case.request.agent_id, case.agent, wanted)
    return deny(case, Rule.OBJECT, f"{name_of(case)} may not touch “{wanted}”; {may}", lines)


def authorizer(case: Case) -> GateDecision | None:
    """For whom it acts."""
    wanted, known = case.request.authorized_by, known_authorizer(case)
    if known == "inactive":
        return deny(case, Rule.AUTHORIZER, f"“{wanted}”, for whom it acts, is no longer active")
    if known == "active" or case.settings.gate.unknown_authorizers == "allow":
        return None
    return deny(
        case,
        Rule.AUTHORIZER,
        f"nobody here knows “{wanted}”, for whom it acts" if wanted else "the request does not say for whom it acts",
    )


def request_size(case: Case) -> GateDecision | None:
    """No request may be larger than this."""
    limit, records = case.settings.gate.max_records_per_request, case.operation.records
    if records <= limit:
        return None
    return deny(case, Rule.REQUEST_SIZE, f"{records:,} records in one request; at most {limit}. Send smaller ones")


def records_unnamed(case: Case) -> GateDecision | None:
    """A write says what it writes to."""
    if not case.operation.names_no_record:
        return None
    return deny(case, Rule.RECORDS_UNNAMED, "the request does not say which records it changes (record_ids)")

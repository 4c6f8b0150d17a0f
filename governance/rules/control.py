"""Rules of the gate: may this agent act at all now? Stops, holds, and those of the agents above it."""

from __future__ import annotations

from governance.gate_types import GateDecision, Rule
from governance.rules.case import Case, deny, hold, name_of


def control_unknown(case: Case) -> GateDecision | None:
    """Without knowing whether it is stopped, nothing is written."""
    is_known_now = case.view is not None and case.view.is_control_known
    if is_known_now or (case.view is not None and not case.operation.is_write):
        return None
    return deny(
        case,
        Rule.CONTROL_UNKNOWN,
        f"Tripline cannot tell right now whether {name_of(case)} is stopped, so it may not "
        + ("write" if case.operation.is_write else "read"),
    )


def stop_all(case: Case) -> GateDecision | None:
    """All agents are stopped."""
    row = case.stop_all
    if row is None or row.state != "suspended":
        return None
    return deny(case, Rule.STOP_ALL, "all agents are stopped; only two people together can end that", detail=row.reason)


def suspended(case: Case) -> GateDecision | None:
    """It is stopped."""
    if case.state != "suspended":
        return None
    detail = case.control.reason if case.control is not None else ""
    return deny(case, Rule.SUSPENDED, "suspended; only a person can release", detail=detail)


def kin_stopped(case: Case) -> GateDecision | None:
    """The stop of an agent above it, or with the same credential, is its own, too."""
    if case.view is None:
        return None
    for kin in case.kin:
        row = case.view.row_of(kin.agent_id)
        if row is not None and row.state == "suspended":
            reason = f"“{kin.agent_id}”, {kin.how}, is suspended; only a person can release it"
            return deny(case, Rule.SUSPENDED, reason, detail=row.reason)
    return None


def held(case: Case) -> GateDecision | None:
    """Its writes wait for a person, or its release is under way."""
    if not case.operation.is_write or case.state not in ("held", "releasing"):
        return None
    if case.state == "releasing":
        return hold(case, Rule.HELD, "its release is under way; try again in a moment")
    detail = case.control.reason if case.control is not None else ""
    return hold(case, Rule.HELD, f"writes of {name_of(case)} wait for a person", detail=detail)


def kin_held(case: Case) -> GateDecision | None:
    """So wait the writes of those below an agent whose writes wait."""
    if case.view is None or not case.operation.is_write:
        return None
    for kin in case.kin:
        row = case.view.row_of(kin.agent_id)
        if row is not None and row.state in ("held", "releasing"):
            reason = f"writes of “{kin.agent_id}”, {kin.how}, wait for a person"
            return hold(case, Rule.HELD, reason, detail=row.reason)
    return None

"""What the action-rate detector says, in words."""

from __future__ import annotations

from collections.abc import Mapping

from detectors.base import Action, Evidence, Wanted
from events.times import format_ms


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th … 11th, 12th, 13th … 21st."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def what_mostly(names: Mapping[str, int]) -> tuple[str, str]:
    """What to call an action of these ("record.update", or "action"), and a remark when they are mixed."""
    known = [name for name in names if name != "other"]
    if not known:
        return "action", ""
    most = max(known, key=lambda name: (names[name], name))
    return (most, "") if len(names) == 1 else ("action", f", mostly {most}")


def scan_evidence(
    action: Action,
    minutes: int,
    count: int,
    limit: int,
    expected: float,
    wanted: Wanted,
    names: Mapping[str, int],
    factor: float,
    by: str = "",
) -> Evidence:
    """A window's count reached its limit: by its own season, or ``by`` its "peers" or "past" (before a new version)."""
    what, remark = what_mostly(names)
    common = f", all agents' load x{factor:.1f} considered" if factor > 1.0 else ""
    usual = round(expected)
    against = f"usually at most {usual} at this hour (own season{common})"
    if by:
        others = "others of its role do" if by == "peers" else "before its new version it did"
        against = f"{others} at most {usual}, and it is new{common}"
    summary = f"{ordinal(count)} {what} in {minutes} min{remark}; {against}"
    return Evidence(
        wanted=wanted,
        severity="critical" if wanted == "suspend" else "warning",
        summary=summary,
        observed=count,
        expected=float(usual),
        limit=limit,
        unit=f"actions/{minutes} min",
        would_clear=f"{limit - 1} or fewer in {minutes} min",
        events=((action.source, action.event_id),),
        topic="rate",
        details={
            "window_min": minutes,
            "common_factor": round(factor, 3),
            "is_first_week": wanted != "suspend",
            **({"judged_by": by} if by else {}),
        },
    )


def burst_evidence(action: Action, per_sec: float, burst: int) -> Evidence:
    """The leaky bucket overflowed: machine speed, which no learning allows."""
    return Evidence(
        wanted="suspend",
        severity="critical",
        summary=f"{burst} actions more than {per_sec:g} a second allow: faster than any agent may be, "
        "whatever it usually does",
        observed=burst,
        expected=0,
        limit=burst,
        unit=f"actions beyond {per_sec:g} a second",
        would_clear=f"{burst - 1} or fewer beyond {per_sec:g} a second",
        events=((action.source, action.event_id),),
        topic="hard",
        details={"is_hard": True},
    )


def hour_evidence(action: Action, count: int, limit: int) -> Evidence:
    """More actions in an hour than any agent may do."""
    return Evidence(
        wanted="suspend",
        severity="critical",
        summary=f"{ordinal(count)} action in 60 min: more than any agent may do, whatever it usually does",
        observed=count,
        expected=0,
        limit=limit,
        unit="actions/60 min",
        would_clear=f"{limit - 1} or fewer in 60 min",
        events=((action.source, action.event_id),),
        topic="hard",
        details={"is_hard": True},
    )


def backlog_evidence(action: Action, count: int, limit: int, hour_ms: int) -> Evidence:
    """Records that arrived late show an hour with more actions than its limit: told, never stopped for."""
    return Evidence(
        wanted="notify",
        severity="warning",
        summary=f"{count} late-arriving actions took effect in the hour from {format_ms(hour_ms)}; "
        f"it would have been stopped at {limit}",
        observed=count,
        expected=float(limit - 1),
        limit=limit,
        unit="actions/60 min",
        would_clear=f"{limit - 1} or fewer in that hour",
        events=((action.source, action.event_id),),
        topic="backlog",
    )

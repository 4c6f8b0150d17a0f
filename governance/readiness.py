"""Whether an organisation is ready for more autonomy: ten items, what is known of each, and the level that follows.

What can be measured is measured. The rest a person states, under his or her name, until it runs out. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from events.times import DAY_MS

STATED_MS = 90 * DAY_MS
"""What a person states runs out so long after."""
DRILL_MS = 31 * DAY_MS
LEAST_QUALITY = 80.0
STATED = ("rollback", "trust", "legal", "process")
"""What is a person's word: that an undo was practised, that reps trust it, that lawyers looked, that people know what
to do in an incident."""

State = Literal["met", "missing"]


class Stated(Struct, frozen=True, kw_only=True):
    """A person's word on an item."""

    item: str
    by: str
    at_ms: int
    note: str


class Measured(Struct, frozen=True, kw_only=True):
    """What is known. ``quality``: of the CRM's data, 0 to 100, None when it was never judged. ``untold``: agents whose
    bulk or external actions nobody is told of. ``unbounded``: agents without a table in the policy, or whose scope is
    everything. ``drill_ms``: when the last drill was run, 0 = never."""

    now_ms: int
    has_policy: bool
    decisions: int
    shadow_writes: int
    unbounded: list[str]
    untold: list[str]
    has_target: bool
    enforcing: list[str]
    quality: float | None
    drill_ms: int
    drill_passed: bool
    stated: Mapping[str, Stated]


class Item(Struct, frozen=True, kw_only=True):
    """One of the ten. ``key``: under which a person states it, "" where it is measured alone."""

    number: int
    name: str
    state: State
    evidence: str
    is_measured: bool
    key: str = ""
    by: str = ""
    at_ms: int = 0


def items(of: Measured) -> list[Item]:
    """All ten, in their order."""
    trail = of.decisions > 0 and not of.shadow_writes
    seen = f"{of.decisions:,} decisions kept in 30 days, {of.shadow_writes:,} changes without one"
    named = (
        "no policy is set" if not of.has_policy else _those(of.unbounded, "without bounds", "each agent has a scope")
    )
    policy = "the policy can't make it autonomous" if of.has_policy else "no policy is set"
    told = (
        "only the log is told: set a target"
        if not of.has_target
        else _those(of.untold, "not told of", "all are told of")
    )
    found = f"{len(of.enforcing)} detectors may stop an agent" if of.enforcing else "no detector may stop an agent"
    quality = "never judged" if of.quality is None else f"score {of.quality:.0f} of 100, {LEAST_QUALITY:.0f} wanted"
    return [
        _measured(1, "Audit trail", trail, seen),
        _said(2, "Undo practised", "rollback", of, "Tripline can't undo yet; with the CRM's own means"),
        _measured(3, "Permission scopes", of.has_policy and not of.unbounded, named),
        _measured(4, "Quality of the CRM's data", (of.quality or 0.0) >= LEAST_QUALITY, quality),
        _measured(5, "Irreversible left to people", of.has_policy, policy),
        _measured(6, "People are told", of.has_target and of.has_policy and not of.untold, told),
        _measured(7, "Automatic detection", bool(of.enforcing), found),
        _said(8, "Reps trust it", "trust", of, "built at lower levels first"),
        _said(9, "Legal review", "legal", of, ""),
        _drilled(of),
    ]


def level_of(found: list[Item]) -> int:
    """The level that these items allow: 4 with all ten, 3 with the first five, else 2."""
    missing = {item.number for item in found if item.state == "missing"}
    return 4 if not missing else 3 if min(missing) > 5 else 2


def is_current(stated: Stated | None, now_ms: int) -> bool:
    """Whether a word still counts."""
    return stated is not None and now_ms - stated.at_ms < STATED_MS


def _measured(number: int, name: str, is_met: bool, evidence: str) -> Item:
    return Item(number=number, name=name, state="met" if is_met else "missing", evidence=evidence, is_measured=True)


def _said(number: int, name: str, key: str, of: Measured, hint: str) -> Item:
    stated = of.stated.get(key)
    if stated is None:
        evidence = "nobody has stated it" + (f"; {hint}" if hint else "")
        return Item(number=number, name=name, state="missing", evidence=evidence, is_measured=False, key=key)
    is_met = is_current(stated, of.now_ms)
    evidence = stated.note if is_met else f"stated more than {STATED_MS // DAY_MS} days ago: {stated.note}"
    return Item(
        number=number, name=name, state="met" if is_met else "missing", evidence=evidence, is_measured=False, key=key,
        by=stated.by, at_ms=stated.at_ms,
    )  # fmt: skip


def _drilled(of: Measured) -> Item:
    """A process that nobody has practised of late is none."""
    is_recent = bool(of.drill_ms) and of.now_ms - of.drill_ms < DRILL_MS and of.drill_passed
    days = (of.now_ms - of.drill_ms) // DAY_MS
    drill = "no drill was run" if not of.drill_ms else f"last drill {days} days ago, promise " + (
        "kept" if of.drill_passed else "not kept"
    )  # fmt: skip
    said = _said(10, "Incident process, practised", "process", of, "who may stop agents, and who is called")
    is_met = said.state == "met" and is_recent
    return Item(
        number=10, name=said.name, state="met" if is_met else "missing", evidence=f"{drill}; {said.evidence}",
        is_measured=True, key="process", by=said.by, at_ms=said.at_ms,
    )  # fmt: skip


def _those(names: list[str], what: str, otherwise: str) -> str:
    if not names:
        return otherwise
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what}: {', '.join(names[:3])}{more}"

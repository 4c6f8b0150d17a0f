"""What every page is drawn from: the frame (bar, clock, who), and the state of the engine in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from console.text import plain
from console.web.words import Clock, initials, span
from events.times import DAY_MS, MINUTE_MS
from governance.people import person_of
from governance.settings_types import AgentSettings, Settings

BLIND_AFTER_MS = MINUTE_MS
_DEGRADED = {
    "backlog": "records wait longer than they should",
    "wal": "the store's write-ahead log is too large",
    "disk": "the disk is nearly full",
    "store": "the store can't be written",
    "broker": "the Kafka brokers can't be reached",
    "projections": "what agents did is not up to date",
}


class Turn(Struct, frozen=True):
    """One entry of a history: when, what happened, and more about it ("" where there is none)."""

    at: str
    at_iso: str
    icon: str
    css: str
    title: str
    text: str


class DemoAnswer(Struct, frozen=True):
    """What the gate answered when somebody played the agent."""

    at_ms: int
    decision: str
    reason: str


class Demo(Struct, frozen=True):
    """The demo's state, as pages need it; the demo itself says it by attributes of the same names."""

    speed: float
    agent_id: str
    can_go_rogue: bool = False
    rogue_at: int | None = None
    rogue_in_s: int | None = None
    curl_lines: list[str] = []
    answers: list[DemoAnswer] = []

    @classmethod
    def of(cls, source: Any) -> Demo | None:
        """Taken from the demo's own object; what it does not say has a default."""
        if source is None:
            return None
        curl = getattr(source, "curl_lines", [])
        return cls(
            speed=float(getattr(source, "speed", 1.0)),
            agent_id=str(getattr(source, "agent_id", "")),
            can_go_rogue=bool(getattr(source, "can_go_rogue", False)),
            rogue_at=getattr(source, "rogue_at", None),
            rogue_in_s=getattr(source, "rogue_in_s", None),
            curl_lines=list([curl] if isinstance(curl, str) else curl),
            answers=list(getattr(source, "answers", [])),
        )


class Who(Struct, frozen=True):
    """The person who is logged in."""

    name: str
    role: str
    may_stop: bool
    initials: str = ""


class Engine(Struct, frozen=True):
    """How far the engine has judged. ``blind_from_ms`` is set when what agents do now is not known."""

    judged_to_ms: int | None
    blind_from_ms: int | None
    behind: str
    troubles: list[str]

    @property
    def gate_word(self) -> str:
        """What the gate does in this state."""
        return "Refusing writes" if self.blind_from_ms is not None or self.troubles else "Answering"


def engine_of(status: Any, clock: Clock, speed: float = 1.0) -> Engine:
    """The engine in words, from the runtime's status; no status = blind."""
    if status is None:
        return Engine(None, clock.now_ms, "", ["the engine does not answer"])
    judged_to = int(status.judged_to_ms)
    waits = status.oldest_unjudged_ms
    late_ms = (clock.now_ms - (waits if waits is not None else clock.now_ms)) / max(speed, 1.0)
    blind = waits if waits is not None and late_ms > BLIND_AFTER_MS else None
    troubles = [_DEGRADED.get(one, plain(str(one), 80)) for one in status.degraded_reasons]
    lag_ms = max(clock.now_ms - judged_to, 0)
    is_near = lag_ms / max(speed, 1.0) < 2_500
    if blind is not None:
        return Engine(judged_to, blind, f"records wait for {span(clock.now_ms - blind)}", troubles)
    return Engine(judged_to, None, "up to now" if is_near else f"{span(lag_ms)} behind", troubles)


class Frame(Struct, frozen=True):
    """What the page around the content needs."""

    clock: Clock
    engine: Engine
    demo: Demo | None
    who: Who | None
    csrf: str
    section: str
    path: str
    settings: Settings
    is_open: bool = True

    @property
    def login_url(self) -> str:
        """Where somebody who is not logged in goes to come back here."""
        return f"/login?next={self.path}"


def who_of(name: str | None, role: str, may_stop: bool) -> Who | None:
    """The person for the bar, or None."""
    return Who(plain(name, 80), role, may_stop, initials(name)) if name else None


def zone_of(settings: Settings) -> tzinfo:
    """The zone in which pages show times: that of the deals' dates."""
    try:
        return ZoneInfo(settings.deals.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def monday_of(clock: Clock) -> int:
    """The last Monday's midnight in the page's zone, against which a deal's change is shown.

    On a Monday it is the Monday before: a change of a few hours says little.
    """
    now = clock.at(clock.now_ms)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = now.weekday() or 7
    return int(midnight.timestamp() * 1000) - days * DAY_MS


def person_name(settings: Settings, who: str | None) -> str:
    """A person's name as the settings have it, found by key, CRM user or mail address; else what was given."""
    if not who:
        return ""
    if who == "unassigned":
        return "nobody"
    known = person_of(settings, who)
    return plain((known.name if known else "") or who.removeprefix("user:"), 120)


def owner_of(settings: Settings, agent_id: str) -> tuple[AgentSettings | None, str]:
    """An agent's settings and the name of its owner."""
    declared = settings.agents.get(agent_id)
    return declared, person_name(settings, declared.owner) if declared else ""


def joined(names: Sequence[str], most: int = 2) -> str:
    """ "a", "a and b", "a, b and 3 more"."""
    if len(names) <= 1:
        return "".join(names)
    if len(names) <= most:
        return ", ".join(names[:-1]) + " and " + names[-1]
    return ", ".join(names[:most]) + f" and {len(names) - most} more"

"""What takes two people and an end: mutes of a detector for an agent, findings said to be expected, wider policies.

The first person asks, with a reason; within a day another person with the right, who does not answer for the agent,
confirms; it ends by itself. Any one person takes it back. Everything is kept. No I/O, no clock.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from events.times import DAY_MS

MUTE_MS = 7 * DAY_MS
"""A mute ends at the latest so long after it was asked for (a window that lies ahead included)."""
EXPECTED_MS = 30 * DAY_MS
POLICY_MS = 90 * DAY_MS
WAIT_MS = DAY_MS
"""So long a request waits for the second person."""
MOST_FACTOR = 2.0
"""An expected finding raises what is let pass to at most so many times the limit that it crossed."""
MOST_OPEN = 24
"""So many at a time for one agent."""
EVERY_DETECTOR = "*"

Kind = Literal["mute", "expected", "policy"]
State = Literal["waiting", "agreed", "ended", "lapsed"]


class Why(StrEnum):
    """Why a request was taken, or refused."""

    ASKED = "asked"
    AGREED = "agreed"
    ENDED = "ended"
    REASON_MISSING = "reason_missing"
    TOO_LONG = "too_long"
    OVER = "over"
    TOO_MANY = "too_many"
    MUST_TELL = "must_tell"
    NOT_COUNTED = "not_counted"
    NOT_WAITING = "not_waiting"
    SAME_PERSON = "same_person"
    OWNER = "owner"
    NOTHING_WIDER = "nothing_wider"
    STALE = "stale"


SENTENCES = {
    Why.ASKED: "Another person has to confirm it within a day.",
    Why.AGREED: "It holds, until its end.",
    Why.ENDED: "It is over.",
    Why.REASON_MISSING: "A reason is needed.",
    Why.TOO_LONG: "A mute lasts at most 7 days, an expectation 30, a wider policy 90.",
    Why.OVER: "Its end has to lie ahead, behind its beginning.",
    Why.TOO_MANY: "This agent has 24 of these; end one before.",
    Why.MUST_TELL: "All detectors together can be muted to notices, not to nothing.",
    Why.NOT_COUNTED: "This finding was not about a count over a limit: only a mute can quieten it.",
    Why.NOT_WAITING: "It waits for nobody: it was confirmed, has ended, or is too old.",
    Why.SAME_PERSON: "The second person has to be another one.",
    Why.OWNER: "Who answers for the agent may ask, not confirm.",
    Why.NOTHING_WIDER: "This version gives no agent more than the one in force: there is nothing to agree to.",
    Why.STALE: "The policy has changed since this was asked for: look at what waits now, and ask again.",
}
TAKEN = frozenset((Why.ASKED, Why.AGREED, Why.ENDED))


class Widening(Struct, frozen=True, kw_only=True):
    """One mute, expectation or wider policy. ``until_ms`` is its end; ``since_ms`` its beginning, 0 = when confirmed.

    Of an expectation: ``subject``, the finding; up to ``ceiling``, in its ``unit`` and on its ``topic``, the detector
    asks for no more than a notice. ``most``: what a muted detector may still ask for.
    Of a policy: ``subject``, the hash of the version that is asked for, and ``topic``, of the one that it adds to;
    ``lines``, each wider one in words; ``owners``, who answer for the agents that these name. Its agent is "*".
    """

    id: str
    kind: Kind
    key: str
    agent_id: str
    detector: str
    until_ms: int
    reason: str
    by: str
    asked_ms: int
    state: State = "waiting"
    since_ms: int = 0
    most: Literal["none", "notify"] = "notify"
    subject: str = ""
    topic: str = ""
    unit: str = ""
    ceiling: float = 0.0
    lines: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    second: str = ""
    agreed_ms: int = 0
    ended_by: str = ""
    ended_ms: int = 0
    end_reason: str = ""

    def state_at(self, now_ms: int) -> State:
        """What it is at a time of the log: what waits too long lapses, what is agreed ends."""
        if self.state == "waiting" and now_ms >= min(self.asked_ms + WAIT_MS, self.until_ms):
            return "lapsed"
        return "ended" if self.state == "agreed" and now_ms >= self.until_ms else self.state


class Decided(Struct, frozen=True):
    """What became of a request: the widening as it is now, and why."""

    widening: Widening
    why: Why

    @property
    def is_taken(self) -> bool:
        """Whether something has changed."""
        return self.why in TAKEN

    @property
    def sentence(self) -> str:
        """The answer in words."""
        return SENTENCES[self.why]


_LONGEST: dict[Kind, int] = {"mute": MUTE_MS, "expected": EXPECTED_MS, "policy": POLICY_MS}


def ask(wanted: Widening, open_now: int) -> Decided:
    """A first person's request; ``open_now`` of this agent wait or hold already."""
    return Decided(wanted, _wrong_with(wanted, open_now) or Why.ASKED)


def _wrong_with(wanted: Widening, open_now: int) -> Why | None:
    longest = _LONGEST[wanted.kind]
    if not wanted.reason.strip():
        return Why.REASON_MISSING
    if wanted.until_ms <= max(wanted.asked_ms, wanted.since_ms):
        return Why.OVER
    if wanted.until_ms > wanted.asked_ms + longest:
        return Why.TOO_LONG
    if wanted.detector == EVERY_DETECTOR and wanted.most == "none":
        return Why.MUST_TELL
    return Why.TOO_MANY if open_now >= MOST_OPEN else None


def confirm(asked: Widening, person: str, owner: str, now_ms: int) -> Decided:
    """A second person's word. ``owner``: who answers for the agent."""
    if asked.state_at(now_ms) != "waiting":
        return Decided(asked, Why.NOT_WAITING)
    if person.casefold() == asked.by.casefold():
        return Decided(asked, Why.SAME_PERSON)
    if owner and person.casefold() == owner.casefold():
        return Decided(asked, Why.OWNER)
    return Decided(replace(asked, state="agreed", second=person, agreed_ms=now_ms), Why.AGREED)


def end(known: Widening, person: str, reason: str, now_ms: int) -> Decided:
    """One person takes it back, whether it waits or holds."""
    if known.state_at(now_ms) not in ("waiting", "agreed"):
        return Decided(known, Why.NOT_WAITING)
    if not reason.strip():
        return Decided(known, Why.REASON_MISSING)
    over = replace(known, state="ended", ended_by=person, ended_ms=now_ms, end_reason=reason.strip())
    return Decided(over, Why.ENDED)


def ceiling_of(observed: float, limit: float, factor: float) -> float:
    """Up to what an expectation lets pass: ``factor`` times what was seen, at most ``MOST_FACTOR`` times the limit."""
    return min(max(observed, observed * factor), MOST_FACTOR * limit)

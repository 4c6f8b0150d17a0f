"""From a detector's evidence to a finding: what the mode allows, and when a repeated opinion stays unsaid."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from detectors.base import WANTED_RANK, Evidence, Mode, Wanted
from events.times import format_ms
from events.types import EvidenceData, Finding
from streams.lenience import Lenience

QUIET_MS = {0: 600_000, 1: 600_000, 2: 600_000, 3: 3_600_000, 4: 7_200_000}
"""How long the same opinion on the same matter stays unsaid, by rank of what it asks (suspend: 2 h)."""
_MAX_TOPICS = 64
_NAMES: tuple[Wanted, ...] = ("none", "notify", "throttle", "hold", "suspend")

Severity = Literal["info", "warning", "critical"]


def asked(evidence: Evidence, mode: Mode, *, is_backlog: bool) -> Wanted:
    """What is asked of the authority: shadow asks nothing, warn and backlog at most a notice."""
    if mode == "shadow":
        return "none"
    if mode == "warn" or is_backlog:
        return _NAMES[min(WANTED_RANK[evidence.wanted], 1)]
    return evidence.wanted


def allowed(evidence: Evidence, by: Lenience) -> Evidence:
    """The same evidence, saying that people allowed it and until when."""
    how = "muted_until" if by.ceiling is None else "expected_until"
    return replace(evidence, details={**evidence.details, how: format_ms(by.until_ms)})


class Heard:
    """What was said of one agent, by detector and topic, so that repeats are held back and escalations are not."""

    __slots__ = ("said",)

    def __init__(self, said: dict[str, tuple[int, int]] | None = None) -> None:
        self.said = said if said is not None else {}

    def is_news(self, detector: str, topic: str, rank: int, at_ms: int) -> bool:
        """Whether this opinion is to be said now; if so it is remembered."""
        matter = f"{detector}|{topic}"
        known = self.said.get(matter)
        if known is not None:
            last_rank, last_ms = known
            if rank <= last_rank and at_ms - last_ms < QUIET_MS[last_rank]:
                return False
            del self.said[matter]
        elif len(self.said) >= _MAX_TOPICS:
            del self.said[next(iter(self.said))]
        self.said[matter] = (rank, at_ms)
        return True

    def forget_requests(self) -> None:
        """After a release: a request for control is news again; notices keep their quiet time."""
        self.said = {matter: said for matter, said in self.said.items() if said[0] < WANTED_RANK["throttle"]}


def finding(
    evidence: Evidence,
    *,
    finding_id: str,
    detector: str,
    mode: Mode,
    agent_id: str,
    agent_version: str | None,
    at_ms: int,
    action_taken: Wanted,
    basis_epoch: int,
    event: tuple[str, str],
) -> Finding:
    """The finding that says this evidence; without events of its own it names the record that caused it."""
    return Finding(
        finding_id=finding_id,
        detector=detector,
        mode=mode,
        agent_id=agent_id,
        agent_version=agent_version,
        at=format_ms(at_ms),
        severity=evidence.severity,
        action_taken=action_taken,
        basis_epoch=basis_epoch,
        evidence=EvidenceData(
            summary=evidence.summary,
            observed=evidence.observed,
            expected=evidence.expected,
            limit=evidence.limit,
            unit=evidence.unit,
            events=list(evidence.events) or [event],
            would_clear=evidence.would_clear,
            details=evidence.details,
            topic=evidence.topic,
        ),
    )

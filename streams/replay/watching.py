"""What a replay report needs beside the outputs: how much each agent did, and what was expected when it was stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from events.rows import ROW
from events.types import ActionEvent, AdmissionEvent, Finding, tenant_of
from storage.actions import BIN_MS
from streams.engine import Topology
from streams.envelopes import make_key

BEFORE_BINS, AFTER_BINS = 4 * 12, 12
"""Four hours before a stop are drawn, and the hour after it."""


class Activity:
    """How many actions an agent attempted in each five minutes (by number since 1970), and from when to when (ms)."""

    __slots__ = ("bins", "first_ms", "last_ms")

    def __init__(self, at_ms: int) -> None:
        self.first_ms = self.last_ms = at_ms
        self.bins: dict[int, int] = {}


class Expectation(Struct, frozen=True):
    """What the rate detector expected of five minutes: usual at most, and the count at which it stops."""

    start_ms: int
    usual: float
    limit: float


class Trip(Struct, frozen=True, kw_only=True):
    """A finding that suspended an agent, and what was expected around it."""

    key: str
    at_ms: int
    finding: Finding
    expected: list[Expectation]
    worst_10_min: int | None
    worst_day: int | None


class Watching:
    """Fed by a replay: records as they go by, findings as they are made, and trips as they are decided.

    ``has_admissions``: the log is a dump, where what passed a gate was counted at its admission.
    """

    def __init__(self, topologies: Sequence[Topology], *, has_admissions: bool) -> None:
        self.agents: dict[str, Activity] = {}
        self.findings: list[tuple[int, str, Finding]] = []
        self.trips: list[Trip] = []
        self._topologies = topologies
        self._has_admissions = has_admissions
        self._plain: dict[str, Activity] = {}

    def see(self, records: Iterable[tuple[int, Any]]) -> None:
        """Count the actions among some records: knowledge time in ms, and the event or its row."""
        plain = self._plain
        for at_ms, event in records:
            if type(event) is ROW:
                mine = plain.get(event.agent_id)
                if mine is None:
                    mine = plain[event.agent_id] = self._activity(make_key("default", event.agent_id), at_ms)
            elif self.is_attempt(event):
                mine = self._activity(make_key(tenant_of(event), event.data.agent_id), at_ms)
            else:
                continue
            number = at_ms // BIN_MS
            mine.bins[number] = mine.bins.get(number, 0) + 1
            mine.last_ms = at_ms

    def is_attempt(self, event: Any) -> bool:
        """Whether it is an operation that was let pass, and was not counted before."""
        if type(event) is not ActionEvent:
            return type(event) is AdmissionEvent
        data = event.data
        return data.outcome != "denied" and not (self._has_admissions and data.decision_id)

    def hear(self, key: str, finding: Finding, at_ms: int, *, is_trip: bool) -> None:
        """A finding; ``is_trip``: it suspended the agent."""
        self.findings.append((at_ms, key, finding))
        if is_trip:
            self.trips.append(self._trip(key, finding, at_ms))

    def _activity(self, key: str, at_ms: int) -> Activity:
        known = self.agents.get(key)
        if known is None:
            known = self.agents[key] = Activity(at_ms)
        return known

    def _trip(self, key: str, finding: Finding, at_ms: int) -> Trip:
        """With the rate detector's band as it was learnt until then, and the hard budgets."""
        expected: list[Expectation] = []
        limits: Any = None
        for detector, state in self._states(key):
            if (band := getattr(detector, "band", None)) is not None:
                expected = _band(band, state, at_ms)
            limits = getattr(state, "limits", limits)
        return Trip(
            key=key,
            at_ms=at_ms,
            finding=finding,
            expected=expected,
            worst_10_min=getattr(limits, "records_per_10_min", None),
            worst_day=getattr(limits, "records_per_day", None),
        )

    def _states(self, key: str) -> Iterator[tuple[Any, Any]]:
        for topology in self._topologies:
            keyed = topology.agents.keys.get(key)
            if keyed is not None:
                body = keyed.body
                for detector, state in zip(topology.agents.detectors, body.states, strict=True):
                    if detector.name not in body.disabled:
                        yield detector, state


def _band(band: Any, state: Any, at_ms: int) -> list[Expectation]:
    middle, found = at_ms // BIN_MS, []
    for number in range(middle - BEFORE_BINS, middle + AFTER_BINS):
        expected = band(state, number * BIN_MS)
        if expected is not None:
            found.append(Expectation(number * BIN_MS, float(expected[0]), float(expected[1])))
    return found

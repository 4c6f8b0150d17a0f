"""What the rate detector expects of each agent now, for the picture of its last hours."""

from __future__ import annotations

from typing import Any

from events.times import HOUR_MS
from storage.actions import BIN_MS
from streams.records import Stage

Band = tuple[str, int, float, float]
"""An agent's key, the start of five minutes, what is usual at most, and the count at which it stops."""


def bands(stage: Stage, last_tick_ms: int, tick_ms: int) -> list[Band]:
    """At the first tick of each five minutes: the bands of the agents that did something in the last hour."""
    start = tick_ms - tick_ms % BIN_MS
    if last_tick_ms >= start:
        return []
    agents: Any = stage
    found: list[Band] = []
    for index, detector in enumerate(getattr(agents, "detectors", ())):
        band = getattr(detector, "band", None)
        if band is None:
            continue
        for key, keyed in agents.keys.items():
            body = keyed.body
            if body.last_ms < tick_ms - HOUR_MS or detector.name in body.disabled:
                continue
            expected = band(body.states[index], tick_ms)
            if expected is not None:
                found.append((key, start, float(expected[0]), float(expected[1])))
    return found

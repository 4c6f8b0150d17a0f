"""The record of a tick: the only thing that makes timers fire."""

from __future__ import annotations

from events.times import format_ms
from events.types import Tick, TickEvent
from streams.envelopes import envelope, make_key

EVERYBODY = make_key("default", "*")
"""The key of records that concern a whole partition."""


def tick_event(engine_id: str, at_ms: int) -> TickEvent:
    """The tick of a time; its id follows from the time, so that a tick written twice is one."""
    return envelope(TickEvent, engine_id, f"tick-{at_ms}", at_ms, EVERYBODY, Tick(format_ms(at_ms)))

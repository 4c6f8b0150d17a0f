"""Writes the simulated past into the log: every record is judged by the real engine, at the time it happened."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

from events.times import HOUR_MS, MINUTE_MS
from events.types import Event
from simulator import Simulation
from streams.routing import ACTIONS, CRM
from streams.standalone.bands import bands
from streams.standalone.round import Round
from streams.standalone.runtime import Runtime, prepare
from streams.standalone.types import Prepared
from streams.ticks import tick_event

TICK_MS = 5 * MINUTE_MS
"""Ticks of the past come every five minutes, not every ten seconds: nothing of it has to be shown to the second."""
BANDS_HOURS = 5
"""For so long before the end the expected bands are noted, which pages draw."""
CHUNK = 4_000
_WAITING = 2
_LONG_TURNS_SECS = 0.02  # nobody waits for an answer yet, so threads need not take turns quickly


def fill(
    runtime: Runtime, simulation: Simulation, until_ms: int, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Take everything that happens before ``until_ms``; returns how many events that were.

    ``progress`` hears how far it is (ms).
    """
    past = Past(simulation.start_ms, until_ms)
    switch_secs = sys.getswitchinterval()
    sys.setswitchinterval(_LONG_TURNS_SECS)
    gc.disable()  # nothing of the past is garbage yet: looking for it would cost a fifth of the time
    try:
        return _fill(runtime, simulation, until_ms, past, progress)
    finally:
        sys.setswitchinterval(switch_secs)
        gc.enable()
        gc.freeze()


def _fill(runtime: Runtime, simulation: Simulation, until_ms: int, past: Past, progress: Callable[[int], None]) -> int:
    waiting: list[Future[Any]] = []
    count = 0
    for chunk in _chunks(simulation, until_ms):
        items = list(zip([at_ms for at_ms, _ in chunk], prepare([(b"", event) for _, event in chunk]), strict=True))
        waiting.append(runtime.call(partial(past.take, items=items)))
        if len(waiting) > _WAITING:
            waiting.pop(0).result()
        count += len(items)
        progress(items[-1][0])
    waiting.append(runtime.call(partial(past.end, until_ms=until_ms)))
    for future in waiting:
        future.result()
    return count


def _chunks(simulation: Simulation, until_ms: int) -> Iterator[list[tuple[int, Event]]]:
    chunk: list[tuple[int, Event]] = []
    while simulation.now_ms < until_ms:
        chunk.extend(simulation.hour())
        if len(chunk) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class Past:
    """Where the past has got to. Its methods run in the writer's thread, inside a transaction."""

    def __init__(self, start_ms: int, until_ms: int) -> None:
        self._bands_from_ms = until_ms - BANDS_HOURS * HOUR_MS
        self._tick_ms = start_ms - start_ms % TICK_MS

    def take(self, round_: Round, items: list[tuple[int, Prepared]]) -> None:
        """Append these records and the ticks between them; judge at each full hour."""
        recent = round_.core.recent
        for at_ms, item in items:
            if at_ms - self._tick_ms >= TICK_MS:
                self._tick(round_, at_ms)
            round_.now_ms = at_ms
            round_.append_all((item,))
            recent.add(item.id_hash, item.content_hash)
        round_.told.clear()  # nobody asked the gate in the past: nothing of it is a shadow write
        round_.core.last_ms = max(round_.core.last_ms, round_.now_ms)

    def end(self, round_: Round, until_ms: int) -> None:
        """The past ends here."""
        self._tick(round_, until_ms)
        round_.now_ms = round_.core.last_ms = until_ms

    def _tick(self, round_: Round, at_ms: int) -> None:
        """Ticks up to ``at_ms``: every five minutes, but only every hour where nothing happens."""
        target = at_ms - at_ms % TICK_MS
        while self._tick_ms < target:
            hour_ms = self._tick_ms - self._tick_ms % HOUR_MS + HOUR_MS
            self._tick_ms = min(target, hour_ms)
            self._one(round_, self._tick_ms)

    def _one(self, round_: Round, tick_ms: int) -> None:
        event = tick_event(round_.core.engine_id, tick_ms)
        round_.now_ms = tick_ms
        for topic in (ACTIONS, CRM):
            round_.append(topic, event)
        needs_bands = tick_ms >= self._bands_from_ms
        if needs_bands or tick_ms % (15 * MINUTE_MS) == 0:
            # What comes of this quarter hour (scores for the portfolio, the common load) belongs before the next.
            round_.judge()
        if needs_bands:
            round_.bands.extend(bands(round_.core.lanes[ACTIONS].stage, tick_ms - TICK_MS, tick_ms))

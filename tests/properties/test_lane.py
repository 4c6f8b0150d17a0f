"""A lane that is saved step by step while it judges, crashes anywhere and is recovered from its changelog.

Whatever the interleaving: what it says after the recovery, together with what was acknowledged before, is what a lane
says that never crashed, and the states are the same bytes.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import decode, encode
from events.times import parse_ms
from events.types import ActionEvent, ProfileEvent
from simulator import mixed_org, simulate
from streams.kafka.worker.changelog import Reading, barrier_key, encode_barrier, snapshot_records
from streams.kafka.worker.lane import Lane, Outgoing, Saved
from streams.records import Partition
from streams.routing import ACTIONS
from streams.ticks import tick_event
from tests.kafka.records import FakeRecord
from tests.unit.streams.toys import EveryThird, stage

START_MS = 1_772_409_600_000
TICK_MS = 300_000
PLACE = Partition("main", ACTIONS, "id-1", 0)


@cache
def log() -> tuple[FakeRecord, ...]:
    """A day of a few agents with a tick every five minutes, so that quarter hours change the common load."""
    actions = [event for event in simulate(mixed_org(5), 12, START_MS, 1) if isinstance(event, ActionEvent)]
    timed = [(parse_ms(event.time), encode(event)) for event in actions]
    first, last = timed[0][0] // TICK_MS, timed[-1][0] // TICK_MS
    ticks = [(number * TICK_MS, encode(tick_event("main", number * TICK_MS))) for number in range(first, last + 1)]
    merged = sorted([*timed, *ticks])[:1500]
    return tuple(FakeRecord(offset, at, value) for offset, (at, value) in enumerate(merged))


class Counting(EveryThird):
    """Its common load is the number of all actions: it tells whether a state was newer than the tick."""

    name: ClassVar[str] = "counting"

    def report(self, state: list[int], quarter_end_ms: int) -> int:
        return state[0]

    def common_factor(self, reports: list[int]) -> float:
        return float(sum(reports))


def fresh() -> Lane:
    return Lane(stage(EveryThird(), Counting(), partition=PLACE), PLACE, 1)


def said(out: list[Outgoing]) -> list[bytes]:
    return [one.value for one in out]


def states(lane: Lane) -> dict[str, tuple[int, bytes]]:
    """Every key's state as bytes, those that nobody needed yet as well."""
    stage: Any = lane.stage
    stage.wake(1_000_000)
    return {key: (keyed.next_offset, stage.dump_body(keyed.body)) for key, keyed in stage.keys.items()}


class Changelog:
    """What was written and acknowledged; a barrier comes after its snapshots."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None, int]] = []
        self.terms = 0

    def write(self, term: bytes, number: int, saved: Saved, most: int | None = None) -> None:
        """All of a barrier, or only the first ``most`` records: the crash came between."""
        records: list[Any] = [
            (key, value, 0)
            for one in saved.snapshots
            for key, value in snapshot_records(term, number, "id-1", one).items()
        ]
        records.append((barrier_key(term), encode_barrier(saved.barrier), 0))
        self.records += records[:most]

    def recover(self) -> Lane:
        reading = Reading(PLACE, "agents-state")
        reading.take(self.records)
        lane = fresh()
        lane.restore(reading.finish())
        return lane


sizes = st.integers(0, 120)
sweeps = st.lists(st.tuples(st.integers(1, 2), sizes), max_size=5)
"""Steps of a sweep, and how many records are judged after them."""
endings = st.one_of(st.none(), st.integers(0, 6))
"""A sweep is written whole (None), or the crash comes after so many of its records."""


@given(plan=st.lists(st.tuples(sizes, sweeps, endings, sizes, st.booleans()), min_size=1, max_size=6))
@settings(max_examples=120, deadline=None)
def test_a_crash_anywhere_in_a_sweep_changes_nothing(plan: list[Any]):
    records = log()
    straight = fresh()
    wanted = said(straight.take(records))
    changelog, lane, number, term = Changelog(), fresh(), 0, b"term-000"
    acknowledged: dict[bytes, None] = {}

    def take(count: int) -> None:
        acknowledged.update(dict.fromkeys(said(lane.take(records[lane.position : lane.position + count]))))

    for before, steps, ending, after, crashes in plan:
        take(before)
        number += 1
        lane.begin_save()
        saved = None
        for size, count in steps:
            for _ in range(size):
                saved = saved or lane.step_save(0.0)
            take(count)
        while saved is None:
            saved = lane.step_save(0.0)
        changelog.write(term, number, saved, ending)
        take(after)
        if crashes or ending is not None:
            changelog.terms += 1
            term, number = f"term-{changelog.terms:03d}".encode(), 0
            lane = changelog.recover()
    take(len(records))
    assert list(acknowledged) == wanted, "each output comes again at most under the same id with the same bytes"
    assert states(lane) == states(straight)


def test_the_log_has_what_sweeps_must_not_cross():
    """The property above says something: quarter hours come by, the common load is reported and findings are made."""
    out = fresh().take(log())
    kinds = {type(decode(one.value)) for one in out}
    assert ProfileEvent in kinds
    assert len(kinds) > 1
    assert len(states(_after(log()))) >= 4


def _after(records: tuple[FakeRecord, ...]) -> Lane:
    lane = fresh()
    lane.take(records)
    return lane

"""A lane that is saved step by step while it judges, crashes anywhere and is recovered from its changelog.

Whatever the interleaving: what it says after the recovery, together with what was acknowledged before, is what a lane
says that never crashed, and the states are the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, ClassVar

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from events.codec import decode, encode
from events.times import parse_ms
from events.types import ActionEvent, ActivityEvent, ChangeEvent, ProfileEvent
from governance.settings import Settings
from simulator import mixed_org, simulate
from streams.deals import DealsStage
from streams.kafka.spec import RISK, STATE_OF
from streams.kafka.worker.changelog import Reading, barrier_key, encode_barrier, snapshot_records
from streams.kafka.worker.lane import Lane, Outgoing, Saved
from streams.records import Partition
from streams.routing import ACTIONS, CRM, PORTFOLIO
from streams.ticks import tick_event
from tests.kafka.records import FakeRecord
from tests.unit.streams.toys import EveryThird, stage

START_MS = 1_772_409_600_000
TICK_MS = 300_000
DEALS_TICK_MS = 10_800_000


@cache
def log(topic: str = ACTIONS) -> tuple[FakeRecord, ...]:
    """A day of a few agents with a tick every five minutes, so that quarter hours change the common load; or the
    deals of nearly four weeks, with a tick every three hours, so that timers come due and deals close.
    """
    if topic == ACTIONS:
        events = [event for event in simulate(mixed_org(5), 12, START_MS, 1) if isinstance(event, ActionEvent)]
        return _with_ticks(events, TICK_MS)
    events = [event for event in simulate(mixed_org(2), 12, START_MS, 27) if _is_about_a_deal(event)]
    return _with_ticks(events, DEALS_TICK_MS)


def _is_about_a_deal(event: Any) -> bool:
    return isinstance(event, ActivityEvent) or (isinstance(event, ChangeEvent) and event.data.object == "Opportunity")


def _with_ticks(events: list[Any], tick_ms: int) -> tuple[FakeRecord, ...]:
    timed = [(parse_ms(event.time), encode(event)) for event in events]
    first, last = timed[0][0] // tick_ms, timed[-1][0] // tick_ms
    ticks = [(number * tick_ms, encode(tick_event("main", number * tick_ms))) for number in range(first, last + 1)]
    merged = sorted([*timed, *ticks])[:1500]
    return tuple(FakeRecord(offset, at, value) for offset, (at, value) in enumerate(merged))


class Counting(EveryThird):
    """Its common load is the number of all actions: it tells whether a state was newer than the tick."""

    name: ClassVar[str] = "counting"

    def report(self, state: list[int], quarter_end_ms: int) -> int:
        return state[0]

    def common_factor(self, reports: list[int]) -> float:
        return float(sum(reports))


def fresh(topic: str = ACTIONS) -> Lane:
    place = Partition("main", topic, "id-1", 0)
    if topic == CRM:
        return Lane(DealsStage(place, Settings().deals), place, 1)
    return Lane(stage(EveryThird(), Counting(), partition=place), place, 1)


def said(out: list[Outgoing]) -> list[tuple[str, bytes, tuple[tuple[str, bytes], ...]]]:
    """What was said, with the running number of what was fed: fed again, it must be known by it."""
    return [(one.topic, one.value, tuple(one.headers)) for one in out]


def states(lane: Lane) -> dict[str, tuple[int, bytes]]:
    """Every key's state as bytes, those that nobody needed yet as well."""
    stage: Any = lane.stage
    stage.wake(1_000_000)
    return {key: (keyed.next_offset, stage.dump_body(keyed.body)) for key, keyed in stage.keys.items()}


class Changelog:
    """What was written and acknowledged; a barrier comes after its snapshots. ``make``: a lane of the topic, afresh."""

    def __init__(self, topic: str, make: Callable[[], Lane]) -> None:
        self.topic, self.make = topic, make
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
        lane = self.make()
        reading = Reading(lane.partition, STATE_OF[self.topic])
        reading.take(self.records)
        lane.restore(reading.finish())
        return lane


sizes = st.integers(0, 120)
sweeps = st.lists(st.tuples(st.integers(1, 2), sizes), max_size=5)
"""Steps of a sweep, and how many records are judged after them."""
TORN_BEHIND_A_TICK = [
    (102, [(2, 111), (2, 19), (2, 106), (2, 62), (1, 59)], None, 34, False),
    (95, [(2, 8), (2, 8), (2, 2), (1, 64)], None, 88, True),
    (81, [(2, 77), (2, 26), (1, 30), (2, 34), (1, 9)], 5, 84, True),
]
"""The last sweep breaks off, and what is there of it lies behind a tick that is judged again."""
NEWER_THAN_THE_NEXT_BARRIER = [
    (4, [], 1, 0, False),
    (2, [(1, 2)], None, 0, True),
    (1, [], None, 0, True),
]
"""A key is recovered newer than where the lane resumes, and the next sweep ends before it: nothing else keeps it."""
endings = st.one_of(st.none(), st.integers(0, 6))
"""A sweep is written whole (None), or the crash comes after so many of its records."""


@given(plan=st.lists(st.tuples(sizes, sweeps, endings, sizes, st.booleans()), min_size=1, max_size=6))
@settings(max_examples=35, deadline=None)
@example(plan=NEWER_THAN_THE_NEXT_BARRIER)
def test_a_crash_anywhere_in_a_sweep_changes_nothing(plan: list[Any]):
    crash(plan, ACTIONS, log(), fresh)


@given(plan=st.lists(st.tuples(sizes, sweeps, endings, sizes, st.booleans()), min_size=1, max_size=6))
@settings(max_examples=6, deadline=None)
@example(plan=TORN_BEHIND_A_TICK)
def test_nor_does_it_where_deals_are_scored(plan: list[Any]):
    crash(plan, CRM, log(CRM), partial(fresh, CRM))


def crash(plan: list[Any], topic: str, records: Sequence[FakeRecord], make: Callable[[], Lane]) -> None:
    """Judge, save in steps, crash and recover as the plan says; compare with a lane that never crashed."""
    straight = make()
    wanted = said(straight.take(records))
    changelog, lane, number, term = Changelog(topic, make), make(), 0, b"term-000"
    acknowledged: dict[Any, None] = {}

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
    of_deals = fresh(CRM).take(log(CRM))
    assert {one.topic for one in of_deals} == {RISK, PORTFOLIO}
    assert any(deal["is_open"] is False for deal in _scores(of_deals)), "a deal closes"


def _scores(out: list[Outgoing]) -> list[Any]:
    events = [msgspec.json.decode(one.value) for one in out if one.topic == PORTFOLIO]
    return [event["data"] for event in events if "deal_id" in event["data"]]


def _after(records: tuple[FakeRecord, ...]) -> Lane:
    lane = fresh()
    lane.take(records)
    return lane

"""Laws of the engine, whatever the detectors: cut, duplicate, re-batch, crash — the outputs stay the same bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from events.types import By, Control, ControlEvent, Release, ReleaseEvent
from streams.envelopes import envelope
from streams.records import Entry
from tests.properties import same
from tests.properties.same import state_of, written
from tests.unit.streams.toys import START_MS, Brittle, EveryThird, action_event, stage, tick

AGENTS = ("ada", "bob", "eve")
KINDS = ("record.update", "record.read", "record.merge", "email.send")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("act"), st.sampled_from(AGENTS), st.sampled_from(KINDS), st.integers(0, 40)),
        st.tuples(st.just("again"), st.integers(0, 200)),
        st.tuples(st.just("tick"), st.integers(1, 400)),
        st.tuples(st.just("release"), st.sampled_from(AGENTS)),
    ),
    min_size=1,
    max_size=60,
)


def log_of(plan: list[tuple[Any, ...]]) -> list[Entry]:
    """A log: actions, exact repetitions of earlier ones, ticks and releases, with times that stand still or jump."""
    log: list[Entry] = []
    now, number, epoch = START_MS, 0, 0
    events: list[Any] = []
    for step in plan:
        offset = len(log) * 2  # gaps between offsets are normal
        if step[0] == "act":
            now += step[3] * 1000
            number += 1
            events.append(action_event(number, step[1], at_ms=now, action=step[2]))
            log.append((offset, now, events[-1]))
        elif step[0] == "again" and events:
            log.append((offset, now, events[step[1] % len(events)]))
        elif step[0] == "tick":
            now += step[1] * 1000
            log.append(tick(offset, now))
        elif step[0] == "release":
            epoch += 2
            stopped = Control(
                agent_id=step[1],
                state="suspended",
                epoch=epoch - 1,
                at="2026-03-02T09:00:00Z",
                by=By("human", "m"),
                reason="r",
            )
            log.append((offset, now, envelope(ControlEvent, "test", f"c-{epoch}", now, f"default/{step[1]}", stopped)))
            released = Release(agent_id=step[1], epoch=epoch, by="maya", reason="r")
            log.append(
                (offset + 1, now, envelope(ReleaseEvent, "test", f"r-{epoch}", now, f"default/{step[1]}", released))
            )
    return log


def fresh() -> Any:
    return stage(EveryThird(), Brittle())


@given(plan=steps, cuts=st.lists(st.integers(0, 120), max_size=12))
@settings(max_examples=60, deadline=None)
def test_batch_boundaries_change_nothing(plan: list[Any], cuts: list[int]):
    same.cut(fresh, log_of(plan), cuts)


@given(plan=steps, cut=st.integers(0, 120), crash=st.integers(0, 120), lazily=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_crash_after_any_record_and_a_snapshot_at_any_earlier_one_change_nothing(
    plan: list[Any], cut: int, crash: int, lazily: bool
):
    same.crash(fresh, log_of(plan), cut, crash, lazily=lazily)


@given(plan=steps, first=st.integers(0, 60), second=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_incremental_snapshots_of_which_old_ones_arrive_last_change_nothing(plan: list[Any], first: int, second: int):
    """Schedule 1: a zombie's older snapshot of a key lands after the newer one; the highest next_offset wins."""
    log = log_of(plan)
    first, second = sorted((min(first, len(log)), min(second, len(log))))
    whole, writer, reader = fresh(), fresh(), fresh()
    whole.process(log)
    writer.process(log[:first])
    old = writer.snapshot()
    writer.process(log[first:second])
    new = writer.snapshot()
    resume = reader.restore([*new, *old])
    reader.process([entry for entry in log if entry[0] >= resume])
    assert state_of(reader) == state_of(whole)


@given(plan=steps)
@settings(max_examples=60, deadline=None)
def test_delivering_everything_twice_changes_nothing(plan: list[Any]):
    """At-least-once delivery of the same offsets, and a producer's retry under new offsets."""
    log = log_of(plan)
    once, twice = fresh(), fresh()
    expected = written(once.process(log))
    found = [line for entry in log for line in written(twice.process([entry, entry]))]
    assert found == expected
    acts = [entry for entry in log if type(entry[2]).__name__ == "ActionEvent"]
    end = 10_000
    retried = twice.process([(end + place, entry[1], entry[2]) for place, entry in enumerate(acts)])
    assert retried == []


@given(plan=steps)
@settings(max_examples=40, deadline=None)
def test_what_an_agent_gets_does_not_depend_on_the_others(plan: list[Any]):
    log = log_of(plan)
    together = fresh().process(log)
    for agent in AGENTS:
        own = [entry for entry in log if getattr(entry[2].data, "agent_id", agent) == agent]
        alone = written(fresh().process(own))
        assert alone == written([output for output in together if output.key == f"default/{agent}"])


def test_a_tick_that_raised_an_alert_is_not_undone_by_an_earlier_event_that_comes_later():
    """Schedule 3: late records land by log position, live and in a replay alike."""
    log = [
        tick(0, START_MS + 60_000),
        (1, START_MS + 61_000, action_event(1, at_ms=START_MS)),
        tick(2, START_MS + 70_000),
    ]
    live = fresh()
    said = [line for entry in log for line in written(live.process([entry]))]
    assert said == written(fresh().process(log))


def test_a_tick_and_its_outputs_keep_their_ids_when_the_tick_is_judged_again():
    """Schedule 4: a crash between an output and its snapshot gives the same id, so sinks keep one."""
    log = [(n, START_MS + n, action_event(n)) for n in range(3)]
    first, again = fresh(), fresh()
    assert [o.id for o in first.process(log)] == [o.id for o in again.process(log)]

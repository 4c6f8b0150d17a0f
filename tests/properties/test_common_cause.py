"""Many fail alike at once: one incident and nobody's stop, wherever it is cut, saved step by step or batched."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Cause, Shared
from detectors.repeated_errors import RepeatedErrors
from events.codec import encode
from events.rows import scanner
from events.types import ActionError, ActionEvent, Failing, FailingEvent
from governance.settings import Settings
from simulator import AgentSpec, OrgSpec
from simulator.scenarios import Placed, Result, place
from streams import agents, common_cause
from streams.common_cause import CommonCause, Count
from streams.compiled import Judge
from streams.engine import topology
from streams.envelopes import envelope
from streams.kafka.worker.lane import Lane
from streams.records import Entry, Partition
from streams.replay.drive import Drive
from streams.routing import ACTIONS
from tests.unit.streams.toys import PARTITION, START_MS, action_event, stage, tick

DOWN = ActionError("UNKNOWN_EXCEPTION")
MINUTE_MS = 60_000


def fresh(partition: Partition = PARTITION) -> Any:
    return stage(RepeatedErrors(None, Shared()), partition=partition)


def failing(agents: int, times: int, *, code: str = DOWN.code, every_ms: int = 1000, first: int = 0) -> list[Entry]:
    """Agents that fail in turn; one every so often."""
    return [
        (
            first + number,
            START_MS + (first + number) * every_ms,
            action_event(
                first + number,
                f"bot-{number % agents}",
                at_ms=START_MS + (first + number) * every_ms,
                object="Lead",
                record_ids=[f"r{number}"],
                outcome="error",
                error=ActionError(code),
            ),
        )
        for number in range(agents * times)
    ]


def at(number: int, every_ms: int = 1000) -> int:
    return START_MS + number * every_ms


def working(count: int, agents: int, first: int) -> list[Entry]:
    """Agents that succeed in turn, one a second."""
    return [
        (number, at(number), action_event(number, f"bot-{number % agents}", object="Lead"))
        for number in range(first, first + count)
    ]


def told(outputs: list[Any]) -> list[tuple[str, str, str]]:
    said = [output.event.data for output in outputs if output.kind == "finding"]
    return [(one.detector, one.agent_id, one.action_taken) for one in said]


INCIDENT = ("common_cause", "*", "notify")


def test_many_agents_that_fail_alike_are_one_incident_and_nobody_is_stopped() -> None:
    assert told(fresh().process(failing(8, 40))) == [INCIDENT]


def test_the_incident_says_the_error_how_many_and_since_when() -> None:
    (output,) = [one for one in fresh().process(failing(8, 8)) if one.kind == "finding"]
    evidence = output.event.data.evidence
    assert evidence.summary.startswith("8 of 8 agents that acted since 09:00 UTC fail with UNKNOWN_EXCEPTION")
    assert evidence.details == {"error_class": "UNKNOWN_EXCEPTION", "failing": 8, "acted": 8, "since_ms": START_MS}


def test_one_agent_that_fails_among_others_that_succeed_is_stopped_at_its_fifth_error() -> None:
    log = working(40, 5, 0)
    for number in range(0, 40, 5):
        event = action_event(number, "rogue", object="Lead", record_ids=[f"r{number}"], outcome="error", error=DOWN)
        log[number] = (number, at(number), event)
    assert told(fresh().process(log[:20])) == []
    assert told(fresh().process(log[:21])) == [("repeated_errors", "rogue", "suspend")]


def test_who_fails_with_another_error_during_the_incident_is_stopped_for_it() -> None:
    judged = fresh()
    judged.process(failing(8, 20))
    odd = [
        (offset, at_ms, action_event(offset, "odd", object="Deal", outcome="error", error=ActionError("INVALID_FIELD")))
        for offset, at_ms, _ in failing(8, 2, first=160)[:9]
    ]
    assert told(judged.process(odd)) == [("repeated_errors", "odd", "suspend")]


def test_two_who_fail_alike_wait_longer_and_are_stopped_all_the_same() -> None:
    log = failing(2, 30)
    for number in range(60, 90):
        log.append((number, START_MS + number * 1000, action_event(number, "calm", object="Lead")))
    stops = told(fresh().process(log))
    assert {(detector, agent) for detector, agent, wanted in stops if wanted == "suspend"} == {
        ("repeated_errors", "bot-0"),
        ("repeated_errors", "bot-1"),
    }


def test_who_fails_before_anybody_else_acts_waits_for_three_more_errors_at_most() -> None:
    judged = fresh()
    judged.process(working(30, 10, 0))
    alone = [
        (number, START_MS + number * 1000, action_event(number, "x", object="Lead", outcome="error", error=DOWN))
        for number in range(100, 120)
    ]
    counts = [len(told(judged.process([one]))) for one in alone]
    assert counts.index(1) + 1 == 8


def test_ten_who_fail_on_purpose_excuse_nobody_for_more_than_four_hours_a_day() -> None:
    """Ten of twelve agents fail all day, an error a minute each: later each answers for itself."""
    judged = fresh()
    log = failing(10, 60 * 8, every_ms=6_000)
    said = [(output.at_ms, one) for output in judged.process(log) for one in told([output])]
    stops = [at_ms for at_ms, one in said if one[2] == "suspend"]
    assert [one for _, one in said if one == INCIDENT] == [INCIDENT]
    assert 3.5 * 3_600_000 <= min(stops) - START_MS <= 4.5 * 3_600_000


def test_a_tenant_has_eight_classes_a_day_and_takes_none_from_another() -> None:
    known = CommonCause()
    cause = Cause(label="x", since_ms=0, tries=5, alone_until=8, together_until=20, agents=5, share=0.6)
    all_fail = Count(failing=9, acted=9, active=9)
    said = [known.decide(cause, f"a/{n}", n, n * 1000, all_fail) for n in range(10)]
    assert said == ["opened"] * 8 + ["alone"] * 2
    assert known.decide(cause, "b/0", 10, 10_000, all_fail) == "opened"
    assert known.decide(cause, "a/9", 11, 86_400_000 + 9_000, all_fail) == "opened", "a day later"


def test_rates_and_budgets_are_judged_on_during_an_incident() -> None:
    judged = topology(Settings(), "main").agents
    log = failing(8, 30)
    burst = []
    for number in range(2000):
        at_ms = START_MS + 300_000 + number * 5
        event = action_event(1000 + number, "bot-0", object="Lead", at_ms=at_ms, outcome="error", error=DOWN)
        burst.append((300 + number, at_ms, event))
    said = told(judged.process([*log, *burst]))
    assert said[0] == INCIDENT
    assert ("action_rate", "bot-0", "suspend") in said
    assert "repeated_errors" not in {detector for detector, _, _ in said}


def test_other_tenants_are_not_counted() -> None:
    judged = fresh()
    log = [(o, at, msgspec.structs.replace(event, tenant=f"t-{o % 2}")) for o, at, event in failing(4, 40)]
    assert "common_cause" not in {detector for detector, _, _ in told(judged.process(log))}


def test_other_partitions_hear_and_then_few_are_enough() -> None:
    """Two agents here; another partition says that four of its five fail so."""
    judged = fresh(Partition("main", ACTIONS, "t", 1))
    data = Failing(error_class=DOWN.code, partition=0, version=START_MS, failing=4, acted=5)
    heard = envelope(FailingEvent, "main", "f-1", START_MS, "default/*", data)
    log = [(0, START_MS, heard), *((o + 1, at, event) for o, at, event in failing(2, 20))]
    assert told(judged.process(log)) == [INCIDENT]
    unheard = fresh(Partition("main", ACTIONS, "t", 1))
    assert "suspend" in {wanted for _, _, wanted in told(unheard.process(log[1:]))}


def test_a_lane_tells_every_other_partition_what_it_counted() -> None:
    lane = Lane(fresh(), Partition("main", ACTIONS, "id", 0), 3)
    out = [one for output in lane.stage.process(failing(8, 6)) for one in lane._outgoing(output)]
    told_to = [(one.topic, one.partition) for one in out if b"tripline.system.failing.v1" in one.value]
    assert told_to == [(ACTIONS, 1), (ACTIONS, 2)]


# --- wherever it is cut -----------------------------------------------------------------------------------------


@cache
def log_of(seed: int) -> tuple[Entry, ...]:
    """An outage in the work of six agents with a record type each, one of which fails on its own before."""
    found: list[Entry] = []
    for number in range(240):
        name, at_ms = number * (seed + 3) % 7 % 6, START_MS + number * (700 + 50 * seed)
        is_down = 100 <= number < 200 or (name == 2 and number < 100)
        fields: dict[str, Any] = {"outcome": "error", "error": DOWN} if is_down else {}
        event = action_event(number, f"bot-{name}", at_ms=at_ms, object="Lead", record_ids=[f"r{number}"], **fields)
        found.append(tick(number, at_ms // 10_000 * 10_000) if number % 20 == 0 else (number, at_ms, event))
    return tuple(found)


def written(outputs: list[Any]) -> list[bytes]:
    return [encode(output.event) for output in outputs]


def state_of(judged: Any) -> Any:
    judged.wake(1_000_000)
    return {
        k: (keyed.next_offset, judged.dump_body(keyed.body)) for k, keyed in judged.keys.items()
    }, judged.common.memory


@given(seed=st.integers(0, 3), begin=st.integers(0, 239), steps=st.integers(0, 60), pace=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_a_save_step_by_step_and_a_crash_change_nothing(seed: int, begin: int, steps: int, pace: int) -> None:
    """Keys newer than the barrier are skipped when the records are judged again; what was decided is remembered."""
    log = log_of(seed)
    whole, before, after = fresh(), fresh(), fresh()
    expected = written(whole.process(log))
    before.process(log[:begin])
    first = before.snapshot()  # durable whole
    sweep, kept, at = before.snapshots(), list(first), begin
    for one in sweep:
        kept.append(one)
        before.process(log[at : at + pace])
        at += pace
        steps -= 1
        if steps < 0:
            break  # it crashes in the middle: some keys are newer than the barrier that is known
    resume = after.restore(kept, lazily=bool(seed % 2))
    again = written(after.process(log[resume:]))
    assert again == [line for line in expected if line in again], "nothing is said that was not said before"
    assert written(whole.process([])) == []
    assert state_of(after) == state_of(whole)


@given(seed=st.integers(0, 3), cuts=st.lists(st.integers(0, 239), max_size=8))
@settings(max_examples=20, deadline=None)
def test_batches_change_nothing(seed: int, cuts: list[int]) -> None:
    log, whole, parts = log_of(seed), fresh(), fresh()
    expected = written(whole.process(log))
    assert written([one for a, b in pairwise([0, *sorted(cuts), 240]) for one in parts.process(log[a:b])]) == expected
    assert sum(b"common_cause" in line for line in expected) == 1


@pytest.mark.skipif(Judge is None, reason="not compiled: make compile")
def test_the_compiled_path_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    read = scanner()
    assert read is not None
    rows = []
    for offset, at_ms, event in log_of(1):
        (item,) = read.scan(encode(event)) if isinstance(event, ActionEvent) else (None,)
        rows.append((offset, at_ms, event if item is None else item[4]))
    compiled = topology(Settings(), "main").agents
    said = written(compiled.process(rows))
    monkeypatch.setattr(agents, "Judge", None)
    plain = topology(Settings(), "main").agents
    assert written(plain.process(list(log_of(1)))) == said
    assert [o.blob for o in plain.snapshot()] == [o.blob for o in compiled.snapshot()]
    assert sum(common_cause.DETECTOR.encode() in line for line in said) == 1


def test_a_crm_outage_is_one_incident_and_a_rogue_in_it_is_still_caught() -> None:
    """Twenty minutes in which everything fails; one agent acts thirty times as often as usual meanwhile."""
    specs = tuple(AgentSpec(agent_id=f"bot-{number}", actions_per_hour=60) for number in range(8))
    org = OrgSpec(agents=specs, has_deals=False, mirrors="none")
    monday_ms = START_MS - 9 * 3_600_000
    down = place(specs[0], "crm_outage", 3, monday_ms, 9)
    placed = [down, Placed("spike_30", "bot-1", down.at_ms + 2 * MINUTE_MS)]
    said: list[Any] = []
    drive = Drive(topology(Settings(), "main"), "main", 10_000, said.extend)
    drive.feed(
        [(at, event.source, event.id, 0, event) for at, event in Result(org, 3, monday_ms, 9, placed).timeline()]
    )
    drive.finish()
    found = [one for one in told(said) if one[0] not in ("blast_radius", "unexpected_change")]
    assert [one for one in found if one[0] == "common_cause"] == [INCIDENT]
    assert "repeated_errors" not in {detector for detector, _, _ in found}
    assert [one for one in found if one[2] == "suspend"] == [("action_rate", "bot-1", "suspend")]

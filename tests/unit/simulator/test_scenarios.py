from itertools import pairwise

import pytest

from events.times import DAY_MS, HOUR_MS, MINUTE_MS, parse_ms
from events.types import ActionEvent, Event
from simulator import AgentSpec, OrgSpec, simulate
from simulator.scenarios import KINDS, Label, Placed, Result, metronome_agent, place, typical_per_hour

MONDAY_MS = parse_ms("2026-03-02T00:00:00Z")
AT_MS = parse_ms("2026-03-03T10:00:00Z")
AGENT = AgentSpec(agent_id="bot", role="enrich", actions_per_hour=120, error_probability=0.0)
SPEC = OrgSpec(agents=(AGENT, metronome_agent()), has_deals=False, mirrors="none")


def run(kind: str, agent_id: str = "bot", days: int = 3) -> tuple[dict[str, ActionEvent], Label]:
    result = Result(SPEC, 7, MONDAY_MS, days, [Placed(kind, agent_id, AT_MS)])  # type: ignore[arg-type]
    events = {event.id: event for event in result if isinstance(event, ActionEvent)}
    (label,) = result.labels
    return events, label


def is_nonsense(event: ActionEvent) -> bool:
    after = [pair[1] for fields in event.data.changes.values() for pair in fields.values()]
    return all(value in ("Unknown", None) for value in after)


def logged_ms(event: Event) -> int:
    return parse_ms(event.loggedat if isinstance(event.loggedat, str) else event.time)


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_names_its_events_and_their_span(kind: str) -> None:
    events, label = run(kind, "metronome" if kind == "metronome" else "bot", days=4)
    assert label.event_ids
    assert len(set(label.event_ids)) == len(label.event_ids)
    times = [logged_ms(events[event_id]) for event_id in label.event_ids]
    assert (min(times), max(times)) == (label.start_ms, label.end_ms)
    assert times == sorted(times)


@pytest.mark.parametrize("kind", KINDS)
def test_events_come_in_the_order_in_which_the_log_takes_them(kind: str) -> None:
    result = Result(SPEC, 7, MONDAY_MS, 3, [Placed(kind, "bot", AT_MS)])  # type: ignore[arg-type]
    times = [logged_ms(event) for event in result]
    assert times == sorted(times)


@pytest.mark.parametrize("kind", ["spike_10", "bulk", "loop", "backlog_flood"])
def test_what_a_scenario_adds_comes_beside_the_ordinary_times(kind: str) -> None:
    ordinary = sorted(event.time for event in simulate(SPEC, 7, MONDAY_MS, 3))
    events, label = run(kind)
    assert sorted(event.time for event_id, event in events.items() if event_id not in set(label.event_ids)) == ordinary


@pytest.mark.parametrize(("kind", "factor"), [("spike_10", 10), ("spike_30", 30)])
def test_a_spike_is_that_many_times_the_typical_hour(kind: str, factor: int) -> None:
    _, label = run(kind)
    assert label.start_ms >= AT_MS
    assert label.end_ms < AT_MS + HOUR_MS
    assert len(label.event_ids) == pytest.approx((factor - 1) * typical_per_hour(AGENT), rel=0.12)


def test_the_typical_hour_of_an_office_agent_is_its_mean_at_work() -> None:
    # The day's curve at the middles of ten hours: every value lies in (.3, 1]; their mean is about .8.
    assert 0.7 * 120 < typical_per_hour(AGENT) < 0.9 * 120


def test_an_error_streak_fails_twelve_times_in_a_row_on_one_record_type() -> None:
    events, label = run("error_streak")
    failed = [events[event_id].data for event_id in label.event_ids]
    assert len(failed) == 12
    (kind,) = {data.object for data in failed}
    between = [
        event.data
        for event in events.values()
        if label.start_ms <= parse_ms(event.time) <= label.end_ms and event.data.object == kind
    ]
    assert {data.outcome for data in between} == {"error"}


def test_a_bulk_operation_touches_two_hundred_records_at_once() -> None:
    events, label = run("bulk")
    (event_id,) = label.event_ids
    assert len(set(events[event_id].data.record_ids)) == 200


def test_a_mass_mail_reaches_eighty_people() -> None:
    events, label = run("recipients")
    (event_id,) = label.event_ids
    assert len(set(events[event_id].data.recipient_ids)) == 80
    assert events[event_id].data.external is True


def test_the_metronome_beats_once_a_minute_for_a_day_and_then_a_hundred_times_a_second() -> None:
    events, label = run("metronome", "metronome")
    times = [parse_ms(events[event_id].time) for event_id in label.event_ids]
    calm = [t for t in times if t < AT_MS + DAY_MS]
    wild = [t for t in times if t >= AT_MS + DAY_MS]
    assert calm == [AT_MS + i * MINUTE_MS for i in range(1440)]
    assert {b - a for a, b in pairwise(wild)} == {10}
    assert sum(event.data.agent_id == "metronome" for event in events.values()) == 1440 + 6000 == len(times)


def test_the_loop_flips_one_field_of_one_record() -> None:
    events, label = run("loop")
    changes = [events[event_id].data.changes for event_id in label.event_ids]
    assert len({next(iter(change)) for change in changes}) == 1
    values = [next(iter(change.values()))["segment"] for change in changes]
    assert set(values) == {("Mid-market", "Enterprise"), ("Enterprise", "Mid-market")}
    assert all(a != b for a, b in pairwise(values))


def test_nonsense_comes_at_the_ordinary_pace_and_only_for_an_hour() -> None:
    events, label = run("nonsense")
    assert 50 < len(label.event_ids) < 160
    assert label.start_ms >= AT_MS
    assert label.end_ms < AT_MS + HOUR_MS
    written = {event.id for event in events.values() if event.data.changes and is_nonsense(event)}
    assert written == set(label.event_ids)
    assert len(events) == sum(1 for _ in simulate(SPEC, 7, MONDAY_MS, 3))


def test_a_backlog_arrives_in_two_minutes_with_the_times_of_ten_hours() -> None:
    events, label = run("backlog_flood")
    assert label.expected == "no_stop"
    assert len(label.event_ids) == 3000
    assert label.end_ms - label.start_ms <= 2 * MINUTE_MS
    late = [label.start_ms - parse_ms(events[event_id].time) for event_id in label.event_ids]
    assert min(late) > 5 * MINUTE_MS
    assert max(late) > 9 * HOUR_MS


def test_an_outage_delivers_two_hours_late_what_happened_meanwhile() -> None:
    ordinary = {event.id: event.time for event in simulate(SPEC, 7, MONDAY_MS, 3)}
    events, label = run("outage")
    assert label.expected == "no_stop"
    assert {event.id: event.time for event in events.values()} == ordinary
    assert label.start_ms == AT_MS + 2 * HOUR_MS
    assert all(AT_MS <= parse_ms(events[i].time) < AT_MS + 2 * HOUR_MS for i in label.event_ids)
    effects = [events[event_id].time for event_id in label.event_ids]
    assert effects == sorted(effects)


def test_each_call_under_a_new_name_is_an_agent_that_nobody_declared() -> None:
    events, label = run("new_ids")
    called = {events[event_id].data.agent_id for event_id in label.event_ids}
    assert len(called) == 300
    assert "bot" not in called
    assert label.expected == "gate"


def test_a_scenario_is_placed_at_work_and_after_the_warm_up() -> None:
    placed = place(AGENT, "spike_10", 3, MONDAY_MS, 28)
    assert MONDAY_MS + 8 * DAY_MS <= placed.at_ms < MONDAY_MS + 28 * DAY_MS
    hour = placed.at_ms // HOUR_MS % 24
    assert 7 <= hour < 17
    assert placed == place(AGENT, "spike_10", 3, MONDAY_MS, 28)

from collections import Counter
from itertools import pairwise

from events.times import DAY_MS, HOUR_MS, MINUTE_MS, parse_ms
from events.types import ActionEvent, ActivityEvent, ChangeEvent
from simulator import AgentSpec, JobSpec, OrgSpec, simulate, timeline
from simulator.load import surge
from simulator.population import hour_times, population

MONDAY_MS = parse_ms("2026-03-02T00:00:00Z")


def by_hour(agent: AgentSpec, days: int, seed: int = 4) -> list[list[int]]:
    """Counts by day and UTC hour."""
    spec = OrgSpec(agents=(agent,), has_deals=False)
    hours = [len(times) for times in hour_times(spec, agent, seed, MONDAY_MS, days)]
    return [hours[day * 24 : day * 24 + 24] for day in range(days)]


def test_an_office_agent_works_in_its_hours_and_hardly_on_weekends() -> None:
    agent = AgentSpec(agent_id="a", kind="office", actions_per_hour=100, utc_offset_minutes=60)
    counts = by_hour(agent, 28)
    weekdays = [day for number, day in enumerate(counts) if number % 7 < 5]
    weekends = [day for number, day in enumerate(counts) if number % 7 >= 5]
    # Local 08:00–18:00 is 07:00–17:00 UTC.
    assert all(sum(day[:7]) == 0 and sum(day[18:]) == 0 for day in counts)
    mean = [sum(day[hour] for day in weekdays) / len(weekdays) for hour in range(24)]
    assert 80 < mean[10] < 110
    assert mean[7] < 60
    assert sum(map(sum, weekends)) / 8 < 0.1 * sum(map(sum, weekdays)) / 20


def test_an_always_on_agent_never_stops_and_is_busiest_in_the_afternoon() -> None:
    agent = AgentSpec(agent_id="a", kind="always_on", actions_per_hour=60, noise_sd=0.05)
    counts = by_hour(agent, 14)
    mean = [sum(day[hour] for day in counts) / 14 for hour in range(24)]
    assert min(mean) > 20
    assert max(mean[11:15]) > 1.4 * mean[1]


def test_a_trickle_agent_acts_about_once_an_hour() -> None:
    agent = AgentSpec(agent_id="a", kind="trickle", actions_per_hour=1.5, run_actions=1.0)
    total = sum(map(sum, by_hour(agent, 28)))
    assert 20 * 6 < total < 20 * 15


def test_a_nightly_job_varies_and_sometimes_skips_a_night() -> None:
    job = JobSpec(
        start_minute=120, start_jitter_minutes=20, length_minutes=(10, 40), actions=(300, 900), skip_probability=0.3
    )
    agent = AgentSpec(agent_id="a", kind="batch", actions_per_hour=0, jobs=(job,), utc_offset_minutes=60)
    counts = by_hour(agent, 28)
    nights = [sum(day) for day in counts]
    worked = [night for night in nights if night]
    assert 12 <= len(worked) <= 26
    assert all(300 <= night <= 900 for night in worked)
    assert len(set(worked)) > 8
    # 02:00 ± 20 min local plus at most 40 min: 00:40–02:00 UTC.
    assert all(sum(day[2:]) == 0 for day in counts)


def test_the_last_working_days_of_a_quarter_are_busier() -> None:
    org = OrgSpec(surge_factor=2.0, surge_days=5, utc_offset_minutes=0)
    # The quarter ends on Tue 31 March 2026: its last five working days are 25, 26, 27, 30 and 31 March.
    factors = {day: surge(org, parse_ms(f"2026-03-{day}T12:00:00Z")) for day in range(20, 32)}
    assert {day for day, factor in factors.items() if factor == 2.0} == {25, 26, 27, 28, 29, 30, 31}
    assert factors[24] == 1.5
    assert factors[23] == 1.0
    assert surge(org, parse_ms("2026-04-01T12:00:00Z")) == 1.0


def test_nobody_acts_while_the_crm_is_down() -> None:
    agent = AgentSpec(agent_id="a", kind="always_on", actions_per_hour=300)
    spec = OrgSpec(agents=(agent,), has_deals=False, outages=((600, 660),))
    counts = Counter((at_ms - MONDAY_MS) // HOUR_MS for at_ms, _ in timeline(spec, 1, MONDAY_MS, 1))
    assert counts[10] == 0
    assert counts[9] > 100
    assert counts[11] > 100


def test_an_agent_begins_on_its_first_day() -> None:
    agent = AgentSpec(agent_id="a", kind="always_on", active_from_day=2)
    first = next(iter(timeline(OrgSpec(agents=(agent,), has_deals=False), 1, MONDAY_MS, 4)))[0]
    assert MONDAY_MS + 2 * DAY_MS <= first < MONDAY_MS + 2 * DAY_MS + HOUR_MS


def test_a_write_is_mirrored_by_the_crm_within_a_second() -> None:
    agent = AgentSpec(agent_id="a", role="enrich", actions_per_hour=200, error_probability=0.1)
    writes: dict[str, int] = {}
    mirrored: dict[str, int] = {}
    for at_ms, event in timeline(OrgSpec(agents=(agent,), has_deals=False), 1, MONDAY_MS, 1):
        if isinstance(event, ActionEvent) and event.data.changes and event.data.outcome == "ok":
            writes[event.id] = at_ms
        elif isinstance(event, ChangeEvent):
            mirrored[str(event.data.transaction)] = at_ms
    assert len(writes) > 300
    assert writes.keys() == mirrored.keys()
    assert all(0 < mirrored[name] - at_ms < 1000 for name, at_ms in writes.items())


def test_the_value_before_is_the_value_that_was_written_last() -> None:
    agents = tuple(AgentSpec(agent_id=f"a{i}", role="enrich", actions_per_hour=200) for i in range(3))
    known: dict[tuple[str, str], object] = {}
    checked = 0
    for event in simulate(OrgSpec(agents=agents, accounts=20, has_deals=False), 1, MONDAY_MS, 1):
        if not isinstance(event, ActionEvent) or not event.data.changes or event.data.outcome != "ok":
            continue
        for record, fields in event.data.changes.items():
            for name, (before, after) in fields.items():
                assert before != after
                if (record, name) in known:
                    assert known[record, name] == before
                    checked += 1
                known[record, name] = after
    assert checked > 100


def test_errors_come_about_as_often_as_the_spec_says() -> None:
    agent = AgentSpec(agent_id="a", kind="always_on", actions_per_hour=300, error_probability=0.05)
    actions = [
        e.data
        for e in simulate(OrgSpec(agents=(agent,), has_deals=False), 1, MONDAY_MS, 2)
        if isinstance(e, ActionEvent)
    ]
    failed = [data for data in actions if data.outcome == "error"]
    assert all(data.error and data.error.code for data in failed)
    assert 0.035 < len(failed) / len(actions) < 0.065


def test_deals_live_and_end_and_are_followed_by_new_ones() -> None:
    spec = OrgSpec(reps_per_manager=3, open_deals_per_rep=10)
    events = list(simulate(spec, 1, MONDAY_MS, 120))
    changes = [event.data for event in events if isinstance(event, ChangeEvent)]
    created = {data.record_id for data in changes if data.op == "create"}
    won = {d.record_id for d in changes if d.changes and d.changes.get("is_won") == (False, True)}
    closed = {d.record_id for d in changes if d.changes and d.changes.get("is_closed") == (False, True)}
    assert 28 <= len(created - closed) <= 30
    assert len(won) >= 8
    assert len(closed - won) >= 8
    names = {name for data in changes if data.op == "update" for name in data.changes}
    assert {"stage", "amount", "close_date", "next_step"} <= names
    activities = [event.data for event in events if isinstance(event, ActivityEvent)]
    seen = Counter((data.kind, data.direction, data.status) for data in activities)
    assert seen["email", "inbound", "done"] > 300
    assert seen["meeting", "outbound", "planned"] > 50
    assert seen["meeting", "outbound", "cancelled"] > 5
    assert any(data.mentions for data in activities)


def test_buyers_of_lost_deals_fall_silent_before_the_end() -> None:
    last_mail: dict[str, int] = {}
    silences = []
    for at_ms, event in timeline(OrgSpec(reps_per_manager=3, open_deals_per_rep=10), 1, MONDAY_MS, 120):
        data = event.data
        if isinstance(event, ActivityEvent) and data.direction == "inbound":
            last_mail[str(data.deal_id)] = at_ms
        if isinstance(event, ChangeEvent) and data.changes.get("stage", ("", ""))[1] == "Closed lost":
            silences.append(at_ms - last_mail.get(data.record_id, MONDAY_MS))
    assert len(silences) >= 8
    assert min(silences) > 9 * DAY_MS


def test_a_population_holds_all_kinds_in_their_shares() -> None:
    kinds = Counter(agent.kind for agent in population(100, 3).agents)
    assert kinds == {"office": 40, "always_on": 25, "trickle": 20, "batch": 15}


def test_runs_bring_actions_close_together() -> None:
    agent = AgentSpec(agent_id="a", actions_per_hour=30, run_actions=4.0)
    runs: dict[str, list[int]] = {}
    for at_ms, event in timeline(OrgSpec(agents=(agent,), has_deals=False), 1, MONDAY_MS, 5):
        if isinstance(event, ActionEvent):
            runs.setdefault(str(event.data.run_id), []).append(at_ms)
    lengths = [len(times) for times in runs.values()]
    assert 3.0 < sum(lengths) / len(lengths) < 5.0
    assert all(b - a <= MINUTE_MS // 4 for times in runs.values() for a, b in pairwise(times))

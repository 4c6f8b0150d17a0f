"""What a backtest knows of a case at a moment: worked out by hand for small logs."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from events.adapters.mapping_risk import Risk
from events.times import DAY_MS, HOUR_MS
from scoring.backtest import clock
from scoring.backtest.errors import BacktestError
from scoring.backtest.features import Reader
from scoring.backtest.log import NEVER, EventLog, Raw, gather
from scoring.backtest.story import complete
from tests.unit.scoring.backtest_log import mapping

ZONE = ZoneInfo("Europe/Amsterdam")
MONDAY = clock.instant_ms(datetime(2025, 3, 3, 8), ZONE)


def log_of(*rows: tuple[str, str, float]) -> EventLog:
    """Events as (case, activity, days before or after the Monday)."""
    cases, activities, days = zip(*rows, strict=True)
    at_ms = [MONDAY + round(each * DAY_MS) for each in days]
    return gather(Raw(cases, activities, at_ms, range(len(rows))), ["Signed"], ["Dropped"])


def row_of(log: EventLog, case: str, at_ms: int = MONDAY) -> dict[str, float | str]:
    reader = Reader(log, complete(mapping(), log), ZONE)
    frame = reader.rows(np.array([log.cases.index(case)]), np.array([at_ms]))
    return dict(zip(frame.names, frame.values[0].tolist(), strict=True)) | {
        "state_name": reader.states[int(frame.state[0])]
    }


def test_a_case_is_cut_at_its_first_outcome_and_nothing_at_or_after_it_is_kept() -> None:
    log = log_of(
        ("a", "Created", -9), ("a", "Dropped", -5), ("a", "Called", -5), ("a", "Signed", -4), ("b", "Created", -1)
    )
    assert log.cases == ["a", "b"]
    assert np.diff(log.starts).tolist() == [1, 1]
    assert log.is_lost.tolist() == [True, False]
    assert log.ended_ms.tolist() == [MONDAY - 5 * DAY_MS, NEVER]
    assert log.after_end == 3


def test_a_case_that_closes_before_anything_else_is_left_out_and_counted() -> None:
    log = log_of(("a", "Signed", -9), ("a", "Created", -5), ("b", "Created", -1))
    assert (log.cases, log.stillborn) == (["b"], 1)


def test_what_is_known_at_a_moment_ends_strictly_before_it() -> None:
    log = log_of(
        ("a", "Created", -9), ("a", "Called", 0), ("a", "Dropped", 3), ("b", "Created", 0), ("c", "Created", -1)
    )
    known = log.known_at(MONDAY)
    assert known.cases == ["a", "c"]
    assert np.diff(known.starts).tolist() == [1, 1]
    assert known.ended_ms.tolist() == [NEVER, NEVER]
    assert not known.is_lost.any()


def test_a_case_is_open_at_a_snapshot_when_it_began_before_it_and_ends_at_it_or_later() -> None:
    log = log_of(
        ("at", "Created", -9), ("at", "Dropped", 0), ("before", "Created", -9), ("before", "Dropped", -1),
        ("new", "Created", 0), ("open", "Created", -1),
    )  # fmt: skip
    case, at_ms = log.open_at([MONDAY])
    assert [log.cases[each] for each in case] == ["at", "open"]
    assert at_ms.tolist() == [MONDAY, MONDAY]


def test_days_counts_and_marks_of_one_case() -> None:
    log = log_of(
        ("a", "Created", -20), ("a", "Offered", -18), ("a", "Called", -17.5), ("a", "Offered", -10),
        ("a", "Withdrawn", -9), ("a", "Answered", -6), ("a", "Called", -3), ("a", "Called", 0),
    )  # fmt: skip
    row = row_of(log, "a")
    expected = {
        "age": 20, "silence": 3, "events": 7, "events_3d": 1, "events_7d": 2, "events_14d": 4, "events_30d": 7,
        "buyer_silence": 6, "state_age": 6, "moves": 2, "longest_gap": 7.5, "offers_open": 1, "called_count": 2,
        "called_last": 3, "offered_count": 2, "offered_first": 18, "offered_last": 10, "answered_answer": 12,
        "working_silence": 1, "working_age": 14, "active_days": 6, "active_share": 6 / 21,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["state_name"] == "with us"


def test_a_mark_that_never_came_has_no_days() -> None:
    row = row_of(log_of(("a", "Created", -2)), "a")
    assert np.isnan([row["called_last"], row["offered_first"], row["answered_answer"]]).all()
    assert (row["called_count"], row["buyer_silence"], row["state_name"]) == (0, 2, "new")


def test_a_state_may_ask_for_the_one_before() -> None:
    first = log_of(("a", "Created", -9), ("a", "Offered", -8))
    again = log_of(("a", "Created", -9), ("a", "Offered", -8), ("a", "Answered", -5), ("a", "Offered", -4))
    assert row_of(first, "a")["state_name"] == "with the buyer"
    assert row_of(again, "a")["state_name"] == "second offer"


def test_a_neighbouring_case_changes_nothing() -> None:
    mine = [("b", "Created", -9.0), ("b", "Offered", -8.0)]
    alone, among = log_of(*mine), log_of(("a", "Offered", -1), ("a", "Answered", -1), *mine, ("c", "Called", -2))
    np.testing.assert_equal(row_of(among, "b"), row_of(alone, "b"))


def test_without_states_and_marks_frequent_activities_stand_in() -> None:
    plain = msgspec.structs.replace(mapping(), risk=Risk())
    log = log_of(
        *[(f"c{n}", "Created", -9.0) for n in range(30)],
        ("c1", "Rare", -8),
        *[(f"c{n}", "Called", -5.0) for n in range(9)],
    )
    risk = complete(plain, log)
    assert list(risk.marks) == ["Created", "Called"]
    assert [state.name for state in risk.states] == ["Created", "Called"]


def test_snapshots_are_mondays_at_eight_by_the_clock_on_the_wall_also_over_the_change_of_clocks() -> None:
    first, last = clock.instant_ms(datetime(2025, 3, 24), ZONE), clock.instant_ms(datetime(2025, 4, 1), ZONE)
    found = clock.snapshots(first, last, "weekly", ZONE)
    assert found == [clock.instant_ms(datetime(2025, 3, day, 8), ZONE) for day in (24, 31)]
    assert found[1] - found[0] == 7 * DAY_MS - HOUR_MS
    assert len(clock.snapshots(first, last, "daily", ZONE)) == 8


def test_working_days_leave_weekends_out() -> None:
    friday_noon, monday_noon, sunday = (
        clock.instant_ms(datetime(2025, 1, day, 12), ZoneInfo("UTC")) for day in (10, 13, 12)
    )
    days = clock.working_days(np.array([friday_noon, monday_noon, sunday]))
    assert days[1] - days[0] == pytest.approx(1.0)
    assert days[2] - days[0] == pytest.approx(0.5)


def test_times_that_lie_centuries_apart_are_refused() -> None:
    with pytest.raises(BacktestError, match="278 years"):
        gather(Raw(["a", "a"], ["x", "y"], [0, 1 << 44], [1, 2]), ["y"], ["x"])


def test_a_hundred_events_at_one_instant_each_count_and_leave_no_pause_between_them() -> None:
    log = log_of(*[("a", "Created" if at == 0 else "Called", -2) for at in range(100)], ("b", "Created", -1))
    row = row_of(log, "a")
    assert (row["events"], row["called_count"], row["active_days"]) == (100, 99, 1)
    assert (row["silence"], row["age"], row["longest_gap"]) == (2, 2, 0)

"""The pipeline by week, and whether it goes wrong: counts by hand, quiet stretches quiet, injected changes found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from console.cli import main
from events.times import DAY_MS, format_ms
from events.types import After, ChangeEvent, CrmChange
from scoring.features import deal_of
from scoring.pipeline import Pipeline, Week
from scoring.stages import Process
from streams.pipeline import GAP_WEEKS, LEAST_WEEKS, Watch, watch

MONDAY = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000)
WEEK = 7 * DAY_MS


def folded(*steps: tuple[float, str, dict[str, Any]]) -> list[Week]:
    """Weeks of changes, whose times are in days from a Monday; the week before it is the log's first, and not told."""
    pipeline = Pipeline(Process(), {"o2": "boss"})
    weeks = list(pipeline.take(MONDAY - DAY_MS, "first", {"stage": (None, "Lead"), "owner_id": (None, "o1")}))
    for day, deal, changes in steps:
        told = {name: value if isinstance(value, (tuple, After)) else (None, value) for name, value in changes.items()}
        weeks += pipeline.take(int(MONDAY + day * DAY_MS), deal, told)
    return weeks


def test_a_week_counts_what_was_created_moved_pushed_won_and_closed_by_team_and_segment() -> None:
    weeks = folded(
        (0.0, "a", {"StageName": "Lead", "OwnerId": "o2", "segment": "smb", "CloseDate": "2026-04-01"}),
        (1.0, "first", {"stage": "Proposal"}),
        (2.0, "a", {"stage": "Proposal"}),  # a new deal's steps say nothing of the pace
        (3.0, "a", {"CloseDate": "2026-05-01"}),
        (3.5, "a", {"CloseDate": "2026-04-15"}),  # sooner is no push
        (4.0, "a", {"CloseDate": "1970-01-01"}),  # and a date that is none is nothing
        (5.0, "first", {"stage": "Closed Won"}),
        (6.0, "first", {"stage": "Lead"}),  # what comes after a close
        (7.0, "a", {"is_closed": After(True)}),
        (14.0, "b", {}),
    )
    first = {week.group: week for week in weeks if week.monday == "2026-03-02"}
    assert first["all"] == Week(
        monday="2026-03-02", group="all", standing=1, created=1, moved=2, ended=1, pushed=1, won=1, closed=1
    )
    assert first["team boss"] == first["segment smb"].__class__(
        monday="2026-03-02", group="team boss", created=1, pushed=1
    )
    assert first["team o1"].won == 1
    second = {week.group: week for week in weeks if week.monday == "2026-03-09"}
    assert (second["all"].standing, second["all"].ended, second["all"].won) == (1, 1, 0)
    assert (second["team boss"].closed, "team o1" in second) == (1, False)


def test_a_week_without_anything_is_told_and_a_long_gap_ends() -> None:
    weeks = folded((0.5, "a", {"stage": "Lead"}), (28.5, "a", {"stage": "Proposal"}))
    assert [(week.monday, week.created, week.standing) for week in weeks if week.group == "all"] == [
        ("2026-03-02", 1, 1), ("2026-03-09", 0, 2), ("2026-03-16", 0, 2), ("2026-03-23", 0, 2),
    ]  # fmt: skip


def test_only_a_change_of_a_deals_own_record_is_of_a_deal() -> None:
    assert deal_of(CrmChange(object="Opportunity", record_id="1", op="update")) == "1"
    assert deal_of(CrmChange(object="Quote", record_id="q", deal_id="1", op="update")) is None
    assert deal_of(CrmChange(object="Thing", record_id="1", deal_id="1", op="update")) == "1"


def weekly(seed: int, weeks: int, change: float = 1.0, since: int = 10**9, group: str = "all") -> Iterator[Week]:
    """Weeks of a steady pipeline, whose counts vary by a tenth and by chance; from a week on a series changes."""
    draw = random.Random(seed)

    def about(mean: float) -> int:
        return max(round(draw.gauss(mean * draw.gauss(1.0, 0.1), mean**0.5)), 0)

    for at in range(weeks):
        factor = change if at >= since else 1.0
        monday = (date(2025, 1, 6) + timedelta(weeks=at)).isoformat()
        yield Week(
            monday=monday, group=group, standing=200, created=about(40 * factor), moved=about(80), ended=about(40),
            pushed=about(30), won=about(20), closed=40,
        )  # fmt: skip


def test_ten_steady_years_give_about_as_many_alarms_as_stated() -> None:
    alarms = sum(len(watch(weekly(seed, 104), 1)) for seed in range(5))
    assert alarms <= 10  # one a year is stated


@pytest.mark.parametrize(("change", "most_weeks"), [(0.5, 6), (0.3, 3)])
def test_fewer_new_deals_are_found_and_said(change: float, most_weeks: int) -> None:
    for seed in range(3):
        alarms = [alarm for alarm in watch(weekly(seed, 60, change, since=30), 1) if alarm.series == "created"]
        late = (date.fromisoformat(alarms[0].monday) - date(2025, 1, 6)).days // 7 - 30
        assert 0 <= late < most_weeks
        assert "deals created in the week of" in alarms[0].sentence
        assert alarms[0].counted < alarms[0].expected


def test_more_pushes_are_bad_and_more_wins_are_not() -> None:
    usual = list(weekly(1, 24))
    pushed = [msgspec.structs.replace(week, pushed=week.pushed * 3) for week in usual[-3:]]
    won = [msgspec.structs.replace(week, won=week.won * 2, created=week.created * 2) for week in usual[-3:]]
    assert {alarm.series for alarm in watch([*usual[:-3], *pushed], 1)} == {"pushed"}
    assert watch([*usual[:-3], *won], 1) == []


def test_little_history_few_deals_and_an_empty_log_say_nothing() -> None:
    assert watch([], 1) == []
    sudden = [*weekly(1, LEAST_WEEKS + GAP_WEEKS - 1), Week(monday="2026-01-01", group="all", standing=200)]
    assert watch(sudden, 1) == []
    few = [Week(monday=str(at), group="all", standing=3, created=at % 2, won=0, closed=at % 2) for at in range(50)]
    assert watch(few, 1) == []


def test_more_groups_need_stronger_evidence_for_the_same_rate_of_alarms() -> None:
    assert Watch(20).threshold == pytest.approx(20 * Watch(1).threshold)


def test_the_command_replays_a_log_and_ends_with_6_when_something_is_unusual(tmp_path: Path) -> None:
    def log(name: str, weeks: int, change_from: int) -> str:
        lines, encoder = [b"garbage"], msgspec.json.Encoder()
        for week in range(weeks):
            for at in range(30 if week < change_from else 3):
                moment = MONDAY + week * WEEK + at * DAY_MS // 5
                data = CrmChange(
                    object="Opportunity",
                    record_id=f"{week}-{at}",
                    op="create",
                    changes={"stage": (None, "\x1b[2JLead")},
                )
                event = ChangeEvent(
                    specversion="1.0", id=f"{week}-{at}", source="/crm", time=format_ms(moment), data=data
                )
                lines.append(encoder.encode(event))
        (tmp_path / name).write_bytes(b"\n".join(lines) + b"\n")
        return str(tmp_path / name)

    quiet = CliRunner().invoke(main, ["deals", "pipeline", log("quiet.jsonl", 18, 99)])
    assert (quiet.exit_code, "Everything is as usual." in quiet.output) == (0, True), quiet.output
    assert "1 lines can't be read" in quiet.output
    found = CliRunner().invoke(main, ["deals", "pipeline", log("bad.jsonl", 17, 14)])
    assert found.exit_code == 6, found.output
    assert "All: 3 deals created in the week of 2026-06-08; 30 would be usual" in found.output

"""The report of a replay: how often, who was stopped, what was changed before and what would have been refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from console.cli.replay import command
from events.codec import encode
from events.times import DAY_MS, MINUTE_MS, format_ms
from events.types import ActionError, ActionEvent, AgentAction
from governance.settings import parse_settings
from streams.replay import Report, Wanted, replay, replay_and_report
from streams.replay.report import quantile, upper_bound

START_MS = 1_772_409_600_000  # 2026-03-02T00:00:00Z
SETTINGS = parse_settings()
ROGUE = "bot<b>\u202e"


def action(number: int, at_ms: int, agent: str = ROGUE, *, is_error: bool = False, **more: Any) -> ActionEvent:
    data: dict[str, Any] = {
        "agent_id": agent, "action": "record.update", "outcome": "error" if is_error else "ok", "object": "Lead",
        "record_ids": [f"r{number}"], **more,
    }  # fmt: skip
    if is_error:
        data["error"] = ActionError(code="INVALID_TYPE", message="no")
    return ActionEvent(
        specversion="1.0", id=f"{agent}-{number}", source="/crm", time=format_ms(at_ms), data=AgentAction(**data)
    )


def a_log() -> list[ActionEvent]:
    """Ten days of a calm agent; a rogue one that updates five records in five minutes, then fails again and again."""
    calm = [action(n, START_MS + n * 60 * MINUTE_MS, "calm") for n in range(240)]
    at_ms = START_MS + 9 * DAY_MS + 13 * 60 * MINUTE_MS
    early = [action(1000 + n, START_MS + n * DAY_MS) for n in range(9)]
    before = [action(n, at_ms + n * MINUTE_MS) for n in range(5)]
    errors = [action(30 + n, at_ms + 300_000 + n * 1_000, is_error=True) for n in range(5)]
    refused = action(99, at_ms + 310_000, outcome="denied")
    after = [action(40 + n % 4, at_ms + 320_000 + n * 1_000) for n in range(7)]
    read = action(50, at_ms + 330_000, action="record.read")
    return sorted([*calm, *early, *before, *errors, refused, *after, read], key=lambda event: event.time)


def write(path: Path, log: list[ActionEvent]) -> Path:
    path.write_bytes(b"".join(encode(event) + b"\n" for event in log))
    return path


def reported(tmp_path: Path, log: list[ActionEvent] | None = None, **wanted: Any) -> Report:
    path = write(tmp_path / "log.jsonl", a_log() if log is None else log)
    _, report = replay_and_report([path], SETTINGS, tmp_path / "out", Wanted(**wanted))
    assert msgspec.json.decode((tmp_path / "out" / "report.json").read_bytes(), type=Report) == report
    return report


def test_a_stop_tells_what_was_changed_before_it_and_what_would_have_been_refused(tmp_path: Path):
    report = reported(tmp_path)
    (stop,) = report.stops
    assert (stop.agent_id, stop.detector) == (ROGUE, "repeated_errors")
    assert stop.sentence.startswith("5th error in a row on Lead")
    assert stop.at == format_ms(START_MS + 9 * DAY_MS + 13 * 60 * MINUTE_MS + 304_000)
    assert stop.records_before == 5  # the errors changed nothing
    assert (stop.actions_after, stop.writes_after, stop.records_after) == (8, 7, 4)  # what was denied was not done
    assert not stop.is_first_week
    assert sum(bar.actions + bar.after for bar in stop.bars) == 5 + 5 + 8
    assert sum(bar.after for bar in stop.bars) == 8
    assert (stop.worst_10_min, stop.worst_day) > (0, 0)
    assert (report.wrong_before_p50, report.wrong_before_p99) == (5, 5)


def test_rates_are_per_agent_month_with_their_bound_and_also_after_the_first_week(tmp_path: Path):
    report = reported(tmp_path)
    assert (report.agents, report.actions) == (2, 240 + 9 + 18)
    spans = (239 * 60 * MINUTE_MS, 9 * DAY_MS + 13 * 60 * MINUTE_MS + 330_000)
    assert report.agent_months == pytest.approx(sum(spans) / (30 * DAY_MS))
    assert report.settled_months == pytest.approx((sum(spans) - 14 * DAY_MS) / (30 * DAY_MS))
    (rate,) = [rate for rate in report.rates if rate.asks == "enforce: suspend" and rate.detector == "repeated_errors"]
    assert (rate.detector, rate.findings, rate.agents, rate.settled) == ("repeated_errors", 1, 1, 1)
    assert rate.per_month == pytest.approx(1 / report.agent_months)
    assert rate.settled_upper == pytest.approx(4.7439 / report.settled_months, rel=1e-4)


@pytest.mark.parametrize(
    ("wanted", "stops"),
    [
        ({"until_ms": START_MS + 9 * DAY_MS}, 0),
        ({"since_ms": START_MS + 9 * DAY_MS}, 1),
        ({"since_ms": START_MS + 10 * DAY_MS}, 0),
        ({"agents": frozenset({"calm"})}, 0),
        ({"agents": frozenset({ROGUE})}, 1),
        ({"detectors": frozenset({"action_rate"})}, 0),
        ({"detectors": frozenset({"repeated_errors"})}, 1),
    ],
)
def test_a_report_can_be_about_a_part_and_all_is_learnt_from_the_whole(tmp_path: Path, wanted: Any, stops: int):
    report = reported(tmp_path, **wanted)
    assert len(report.stops) == stops
    if stops:
        assert report.stops[0].records_before == 5


def test_a_report_changes_nothing_in_what_a_replay_writes(tmp_path: Path):
    reported(tmp_path)
    replay([tmp_path / "log.jsonl"], SETTINGS, tmp_path / "plain")
    names = sorted(path.name for path in (tmp_path / "plain").iterdir())
    assert "report.json" not in names
    for name in names:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_logs_in_any_order_give_the_same_report(tmp_path: Path):
    log = a_log()
    assert reported(tmp_path, log) == reported(tmp_path, log[::-1])


def test_an_empty_log_gives_an_empty_report(tmp_path: Path):
    report = reported(tmp_path, [])
    assert (report.agents, report.stops, report.rates, report.wrong_before_p50) == (0, [], [], None)


def test_bounds_are_the_exact_ones_of_a_poisson_mean():
    assert upper_bound(0, 1.0) == pytest.approx(2.9957, abs=1e-4)
    assert upper_bound(3, 2.0) == pytest.approx(7.7537 / 2, abs=1e-4)
    assert upper_bound(1, 0.0) is None
    assert [quantile([1, 2, 3, 4], share) for share in (0.5, 0.75, 0.99)] == [2, 3, 4]
    assert quantile([], 0.5) is None


def test_the_page_is_one_file_and_what_agents_wrote_is_harmless_in_it(tmp_path: Path):
    path = write(tmp_path / "log.jsonl", a_log())
    done = CliRunner().invoke(command, [str(path), "--report", "--out", str(tmp_path / "out"), "--quiet"])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "1 agent would have been stopped" in page
    assert "5 records changed in the 10 minutes" in page
    assert "8 actions refused, 7 of them writes to 4 records" in page
    assert "bot&lt;b&gt;" in page
    assert "\u202e" not in page
    for outside in ("<b>\u202e", "http://", "https://", "<script", "src="):
        assert outside not in page.replace("http://www.w3.org/", "")


def test_what_to_report_on_needs_a_report_and_names_that_exist(tmp_path: Path):
    path = str(write(tmp_path / "log.jsonl", a_log()[:5]))
    for args, said in (
        (["--agents", "bot"], "add --report"),
        (["--report", "--detectors", "action_rat"], "unknown detector 'action_rat'"),
        (["--report", "--since", "yesterday"], "yesterday"),
    ):
        done = CliRunner().invoke(command, [path, "--out", str(tmp_path / "out"), *args])
        assert done.exit_code == 2
        assert said in done.output

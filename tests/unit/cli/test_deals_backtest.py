"""``tripline deals backtest`` as people use it: files, exit codes, and what it says to a bad log or mapping."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.cli import main
from scoring.backtest import boosting, train
from tests.unit.scoring.backtest_log import MAPPING, csv_text, events

Rows = list[tuple[str, str, datetime]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer rounds: what is tested here doesn't hang on how good the model is."""
    monkeypatch.setattr(train, "BOOSTING", boosting.Settings(rounds=30))


def backtest(
    folder: Path, log: Rows | str | Path, *more: str, mapping: str = MAPPING, until: str = "2025-06-05"
) -> Result:
    if not isinstance(log, Path):
        path = folder / "log.csv"
        path.write_text(log if isinstance(log, str) else csv_text(log), encoding="utf-8")
        log = path
    (folder / "mapping.toml").write_text(mapping, encoding="utf-8")
    asked = [str(log), "--mapping", str(folder / "mapping.toml"), "--train-until", until, "--out", str(folder / "out")]
    return CliRunner().invoke(main, ["deals", "backtest", *asked, *more])


def predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "out" / "predictions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def report(folder: Path) -> Any:
    return json.loads((folder / "out" / "report.json").read_text())


def test_it_writes_a_prediction_for_every_case_open_on_every_monday(tmp_path: Path) -> None:
    log = events(150)
    done = backtest(tmp_path, log, "--test-until", "2025-06-23", "--horizon-days", "10", "--reasons", "2")
    assert done.exit_code == 0, done.output
    rows = predictions(tmp_path)
    assert list(rows[0]) == ["case", "snapshot", "p_lost", "p_lost_10d"]
    expected = set()
    for day in (9, 16, 23):
        at = datetime(2025, 6, day, 8)
        for deal in {deal for deal, _, _ in log}:
            mine = [(what, when) for each, what, when in log if each == deal]
            end = next(when for what, when in mine if what in ("Signed", "Dropped"))
            if mine[0][1] < at <= end:
                expected.add((deal, f"2025-06-{day:02d}T08:00:00+02:00"))
    assert [(row["case"], row["snapshot"]) for row in rows] == sorted(expected, key=lambda key: (key[1], key[0]))
    assert all(0 < float(row[name]) < 1 for row in rows for name in ("p_lost", "p_lost_10d"))
    reasons = [json.loads(line) for line in (tmp_path / "out" / "reasons.jsonl").read_text().splitlines()]
    assert [(each["case"], each["snapshot"]) for each in reasons] == [(row["case"], row["snapshot"]) for row in rows]
    for each in reasons:
        told = sum(reason["contribution"] for reason in each["reasons"])
        assert len(each["reasons"]) == 2
        assert each["base"] + told + each["rest"] == pytest.approx(each["log_odds"], abs=1e-12)


def test_the_report_s_tables_are_enough_to_compute_a_prediction_s_reasons_again(tmp_path: Path) -> None:
    assert backtest(tmp_path, events(60), "--reasons", "100", until="2025-05-01").exit_code == 0
    model = report(tmp_path)["model"]["lost"]
    first = json.loads((tmp_path / "out" / "reasons.jsonl").read_text().splitlines()[0])
    told = {reason["feature"]: reason for reason in first["reasons"]}
    for name in ("silence", "age", "events_7d"):
        [table] = [table for table in model["tables"] if table["feature"] == name]
        cell = sum(cut < told[name]["value"] for cut in table["cuts"][0])
        assert table["points"][0][cell] == pytest.approx(told[name]["contribution"], abs=1e-12)
    assert model["base"] == first["base"]


def test_the_page_needs_nothing_from_elsewhere_and_shows_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "HAND_BELOW", 0)
    monkeypatch.setattr(train, "BLEND_TO", 0)  # so that full boosting stands beside it
    assert backtest(tmp_path, events(150)).exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    for title in ("Reliability of lost", "Lift of lost", "First-alert lead times", "Curve of silence"):
        assert f'aria-label="{title}' in page
    assert "Top five of 80" in page
    assert "<h2>Beside full boosting</h2>" in page
    assert "precision of those" in page


def test_the_same_log_gives_the_same_bytes_and_xes_the_same_as_csv(tmp_path: Path) -> None:
    log = events(120)
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    for folder in (one, two, three):
        folder.mkdir()
    assert backtest(one, log).exit_code == backtest(two, log).exit_code == 0
    for name in ("predictions.csv", "report.json", "report.html"):
        assert (one / "out" / name).read_bytes() == (two / "out" / name).read_bytes()
    path = three / "log.xes.gz"
    path.write_bytes(gzip.compress(xes(log).encode()))
    of_xes = MAPPING.replace('"deal"', '"case:concept:name"').replace('"what"', '"concept:name"')
    done = backtest(three, path, mapping=of_xes.replace('"at"', '"time:timestamp"'))
    assert done.exit_code == 0, done.output
    assert (three / "out" / "predictions.csv").read_bytes() == (one / "out" / "predictions.csv").read_bytes()


def xes(log: Rows) -> str:
    traces: dict[str, list[str]] = {}
    for deal, what, at in log:
        stamp = at.isoformat(timespec="milliseconds")
        event = (
            f'<event><string key="concept:name" value="{what}"/><date key="time:timestamp" value="{stamp}"/></event>'
        )
        traces.setdefault(deal, []).append(event)
    inside = "".join(
        f'<trace><string key="concept:name" value="{deal}"/>{"".join(each)}</trace>' for deal, each in traces.items()
    )
    return f'<?xml version="1.0"?><log xes.version="1.0">{inside}</log>'


def test_rows_that_can_t_be_read_are_named_counted_and_kept(tmp_path: Path) -> None:
    lines = csv_text(events(150)).splitlines()
    lines[4] = "D00001,Offered,yesterday"
    lines.insert(9, "D00002,Offered")
    done = backtest(tmp_path, "\n".join(lines) + "\n")
    assert done.exit_code == 0, done.output
    assert "2 of " in done.output
    assert "line 5: column 'at': Invalid isoformat string: 'yesterday'" in done.output
    dead = [json.loads(line) for line in (tmp_path / "out" / "dead-lines.jsonl").read_text().splitlines()]
    assert [each["line"] for each in dead] == [5, 10]
    assert "yesterday" in dead[0]["row"]
    assert report(tmp_path)["log"]["dead_rows"] == 2
    assert backtest(tmp_path, events(150)).exit_code == 0
    assert not (tmp_path / "out" / "dead-lines.jsonl").exists()


@pytest.mark.parametrize(
    ("mapping", "exit_code", "message"),
    [
        (MAPPING.replace('case = "deal"', 'case = "id"'), 1, "[columns] case of the mapping is 'id'"),
        (MAPPING.replace('lost = ["Dropped"]', 'lost = ["Gone"]'), 1, "[outcome] lost of the mapping names 'Gone'"),
        (MAPPING.replace('[outcome]\nwon = ["Signed"]\nlost = ["Dropped"]', ""), 2, "missing required field `outcome`"),
        (MAPPING.replace('lost = ["Dropped"]', ""), 2, "missing required field `lost`"),
        (MAPPING.replace('activity = "what"', ""), 2, "missing required field `activity`"),
        (MAPPING.replace('after = ["with us"', 'after = ["nowhere"'), 2, "after: there is no state 'nowhere'"),
        (MAPPING.replace('answers = "offered"', 'answers = "ofered"'), 2, "there is no mark 'ofered'"),
        (MAPPING.replace("Europe/Amsterdam", "Europe/Nowhere"), 2, "is no IANA time zone"),
        ("[outcome", 2, "not TOML"),
    ],
)  # fmt: skip
def test_a_mapping_that_does_not_fit_is_named_with_what_is_there(
    tmp_path: Path, mapping: str, exit_code: int, message: str
) -> None:
    done = backtest(tmp_path, events(30), mapping=mapping)
    assert done.exit_code == exit_code
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "out" / "predictions.csv").exists()


def test_a_missing_outcome_or_column_is_said_with_what_there_is_instead(tmp_path: Path) -> None:
    column = backtest(tmp_path, events(30), mapping=MAPPING.replace('case = "deal"', 'case = "id"'))
    outcome = backtest(tmp_path, events(30), mapping=MAPPING.replace('lost = ["Dropped"]', 'lost = ["Gone"]'))
    key = backtest(tmp_path, events(30), mapping=MAPPING.replace('activity = "what"', ""))
    assert "it has deal, what, at" in column.output
    assert "'Dropped'" in outcome.output
    assert "there is: case, timestamp" in " ".join(key.output.split())


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("", "the log is empty"),
        ("deal,what,at\n", "the log is empty"),
        ("deal,what,at\nD1,Signed,soon\n", "1 of 1 rows can't be read; the first: line 2: column 'at'"),
        ("not a log at all", "the log is empty"),
    ],
)
def test_a_log_without_events_is_said(tmp_path: Path, log: str, message: str) -> None:
    done = backtest(tmp_path, log)
    assert (done.exit_code, message in done.output) == (1, True), done.output


@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        (["--test-until", "2025-13-01"], 2, "--test-until: '2025-13-01' is no date such as 2016-06-01"),
        (["--test-until", "2025-06-01"], 1, "--test-until 2025-06-01 is before --train-until 2025-06-05"),
        (["--horizon-days", "0"], 2, "--horizon-days"),
        (["--delimiter", ""], 2, "--delimiter must be one character"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    tmp_path: Path, options: list[str], exit_code: int, message: str
) -> None:
    done = backtest(tmp_path, events(30), *options)
    assert (done.exit_code, message in done.output) == (exit_code, True), done.output


def test_a_broken_archive_is_said(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(csv_text(events(50)).encode())[:-200])
    done = backtest(tmp_path, path)
    assert (done.exit_code, "can't be read" in done.output) == (1, True)


def test_few_closed_cases_are_called_unproven(tmp_path: Path) -> None:
    done = backtest(tmp_path, events(40), until="2025-05-01")
    assert done.exit_code == 0, done.output
    assert "the model is unproven" in " ".join(done.output.split())
    assert report(tmp_path)["model"]["kind"] == "hand"


def test_a_name_that_a_spreadsheet_or_page_might_trip_over_stays_one_cell(tmp_path: Path) -> None:
    log = [(f'<b>"{deal}",x', what, at) for deal, what, at in events(120)]
    text = "deal,what,at\n" + "".join(f'"{deal.replace(chr(34), chr(34) * 2)}",{what},{at}\n' for deal, what, at in log)
    assert backtest(tmp_path, text).exit_code == 0
    assert predictions(tmp_path)[0]["case"].startswith('<b>"D0')
    assert "<b>&#34;" not in (tmp_path / "out" / "report.html").read_text()


def dated(log: Rows) -> str:
    """The log with the close date that each row tells: 30 days after its case's first."""
    first: dict[str, datetime] = {}
    lines = [f"{deal},{what},{at},{first.setdefault(deal, at).date() + timedelta(days=30)}" for deal, what, at in log]
    return "\n".join(["deal,what,at,expected", *lines]) + "\n"


DATED = MAPPING.replace('timestamp = "at"', 'timestamp = "at"\nclose_date = "expected"')


def test_with_close_dates_slip_is_predicted_measured_and_shown(tmp_path: Path) -> None:
    text = dated(events(150)).replace(",2025-05-0", ",1970-05-0")
    done = backtest(tmp_path, text, mapping=DATED)
    assert done.exit_code == 0, done.output
    rows = predictions(tmp_path)
    assert list(rows[0]) == ["case", "snapshot", "p_lost", "p_lost_14d", "p_slip"]
    assert all(row["p_slip"] == "" or float(row["p_lost"]) < float(row["p_slip"]) <= 1 for row in rows)
    told = report(tmp_path)
    assert any("rows have a close date that is none" in note for note in told["notes"])
    assert told["figures"]["slip"]["rows"] > 0
    assert told["model"]["slip"]["tables"]
    assert "slips" in done.output
    assert "Not won by its close date" in (tmp_path / "out" / "report.html").read_text()


def test_without_close_dates_it_says_that_there_is_no_slip(tmp_path: Path) -> None:
    done = backtest(tmp_path, events(60), until="2025-05-01")
    assert "the mapping names no close date ([columns] close_date)" in " ".join(done.output.split())
    assert list(predictions(tmp_path)[0]) == ["case", "snapshot", "p_lost", "p_lost_14d"]
    missing = backtest(tmp_path, events(60), mapping=DATED, until="2025-05-01")
    assert missing.exit_code == 1
    assert "[columns] close_date of the mapping is 'expected', which the log doesn't have" in missing.output

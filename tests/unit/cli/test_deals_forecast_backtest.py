"""``tripline deals forecast-backtest``: figures, no leak, and what it says to a log that can't be forecast."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.cli import main
from scoring.backtest import forecast
from tests.unit.scoring.backtest_log import MAPPING, events

COLUMNS = MAPPING.replace('timestamp = "at"', 'timestamp = "at"\nowner = "who"\namount = "sum"').replace(
    'other = "ignore"', 'other = "ignore"\ncurrency = "EUR"'
)
Rows = list[tuple[str, str, datetime]]


def text_of(rows: Rows, amount: str = "") -> str:
    """Owners by the deal's number; ``gone`` has deals in the beginning only; every tenth amount is negative."""
    lines = ["deal,what,at,who,sum"]
    for deal, what, at in rows:
        number = int(deal[1:])
        owner = "gone" if number % 4 == 3 and at < datetime(2025, 3, 1) else f"owner {number % 3}"
        lines.append(f"{deal},{what},{at.isoformat()},{owner},{amount or (-5 if number % 10 == 0 else 100 + number)}")
    return "\n".join(lines) + "\n"


def ask(folder: Path, text: str, *more: str, mapping: str = COLUMNS, first: str = "2025-05-19") -> Result:
    (folder / "log.csv").write_text(text, encoding="utf-8")
    (folder / "mapping.toml").write_text(mapping, encoding="utf-8")
    asked = [str(folder / "log.csv"), "--mapping", str(folder / "mapping.toml"), "--from", first]
    return CliRunner().invoke(main, ["deals", "forecast-backtest", *asked, "--out", str(folder / "out"), *more])


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer origins to learn the shock from: what is tested here doesn't hang on how good it is."""
    monkeypatch.setattr(forecast, "PAST_ORIGINS", 2)


@pytest.fixture(scope="module")
def rows() -> Rows:
    return events(260)


def test_it_forecasts_wins_and_money_of_each_owner_and_of_all(tmp_path: Path, rows: Rows) -> None:
    result = ask(tmp_path, text_of(rows), "--until", "2025-06-02", first="2025-05-26")
    assert result.exit_code == 0, result.output
    told = report(tmp_path)
    assert told["groups"] == 3
    assert set(told["figures"]) == {"wins", "open_wins", "amount"}
    assert any("are negative or no number" in note for note in told["notes"])
    last = [row for row in told["forecasts"] if row["origin"] == told["origins"][-1] and row["target"] == "amount"]
    assert sum(row["came"] for row in last if row["group"] != "all") == [row["came"] for row in last][-1] > 0
    assert all(row["low"] <= row["mean"] <= row["high"] for row in told["forecasts"] if row["group"] == "all")
    assert told["figures"]["wins"]["all"]["peers"]["stage_weighted"]["coverage_80"] is None
    assert "<svg" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_what_comes_after_an_origin_moves_no_forecast(tmp_path: Path, rows: Rows) -> None:
    """Later outcomes turned around, later amounts and owners changed: the same forecast; only what came is another."""
    turned = {"Signed": "Dropped", "Dropped": "Signed"}
    origin = datetime(2025, 6, 2, 8)
    later = [(deal, turned.get(what, what) if at >= origin else what, at) for deal, what, at in rows]
    lines = text_of(later).splitlines()
    lines[1:] = [
        f"{line.rsplit(',', 2)[0]},somebody,9" if at >= origin else line
        for line, (_, _, at) in zip(lines[1:], later, strict=True)
    ]
    found = []
    for name, text in (("a", text_of(rows)), ("b", "\n".join(lines) + "\n")):
        (tmp_path / name).mkdir()
        asked = ask(tmp_path / name, text, "--until", "2025-06-02", first="2025-06-02")
        assert asked.exit_code == 0, asked.output
        found.append(report(tmp_path / name)["forecasts"])
    said = [[{key: row[key] for key in ("group", "target", "mean", "low", "high")} for row in one] for one in found]
    assert said[0] == said[1]
    assert [row["came"] for row in found[0]] != [row["came"] for row in found[1]]


def test_three_closed_deals_are_forecast_from_rates_and_it_says_so(tmp_path: Path) -> None:
    few = [row for row in events(400) if row[0] in {"D00000", "D00001", "D00002", "D00003", "D00004"}]
    ends = [("D00005", "Created", datetime(2025, 9, 30, 9)), ("D00001", "Signed", datetime(2025, 1, 8, 9))]
    ends.append(("D00006", "Created", datetime(2025, 6, 1, 9)))
    result = ask(tmp_path, text_of([*few, *ends]), first="2025-06-02")
    assert result.exit_code == 0, result.output
    assert "too few wins or losses were known to learn from" in result.output


def test_a_log_too_short_for_the_days_says_what_to_choose(tmp_path: Path, rows: Rows) -> None:
    result = ask(tmp_path, text_of(rows), first="2025-09-01")
    assert result.exit_code == 1
    assert "choose an earlier --from or a shorter --days" in result.output


def test_a_time_of_1970_gives_an_answer_all_the_same(tmp_path: Path) -> None:
    """A CRM's zero date makes the log 55 years long: no births are made of it, and it ends."""
    few = [*events(60), ("D00001", "Called", datetime(1970, 1, 1))]
    result = ask(tmp_path, text_of(few), "--until", "2025-06-02", first="2025-06-02")
    assert result.exit_code == 0, result.output

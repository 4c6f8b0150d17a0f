"""``tripline bench nab``: what it reads and writes, what it refuses and how, and that no score knows the future."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.cli.bench import command

START = 1_396_310_400


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(command, ["nab", *(str(each) for each in arguments)])


def line(row: int, value: object) -> str:
    return f"2014-04-{1 + row // 288:02d} {row // 12 % 24:02d}:{row % 12 * 5:02d}:00,{value}"


def series(rows: int, seed: int = 1) -> list[str]:
    rng = random.Random(seed)
    return [line(row, repr(20 * math.sin(row / 45.8) + rng.gauss(0, 1) + 80 * (row == 500))) for row in range(rows)]


def put(folder: Path, name: str, lines: list[str], header: str = "timestamp,value") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def scored(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    put(tmp_path / "data", "groupA/one.csv", series(700))
    put(tmp_path / "data", "groupB/two.csv", series(300, seed=2))
    (tmp_path / "data" / "windows.json").write_text("{}")
    return tmp_path / "data"


def test_each_file_gets_its_rows_with_a_score(data: Path, tmp_path: Path) -> None:
    result = run("--data", data, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")) == [
        "groupA/one.csv",
        "groupB/two.csv",
    ]
    rows = scored(tmp_path / "out" / "groupA" / "one.csv")
    assert list(rows[0]) == ["timestamp", "value", "anomaly_score"]
    assert [f"{row['timestamp']},{row['value']}" for row in rows] == series(700)
    found = [float(row["anomaly_score"]) for row in rows]
    assert all(0.0 <= score <= 1.0 for score in found)
    assert max(range(200, 700), key=found.__getitem__) == 500
    assert repr(found[500]) == rows[500]["anomaly_score"], "at full precision"


def test_a_score_uses_rows_up_to_its_own(data: Path, tmp_path: Path) -> None:
    lines = series(700)
    put(tmp_path / "past", "groupA/one.csv", lines[:450])
    put(tmp_path / "changed", "groupA/one.csv", [*lines[:450], *(line(row, -1000 * row) for row in range(450, 700))])
    for name in ("past", "changed"):
        assert run("--data", tmp_path / name, "--out", tmp_path / f"{name}-out").exit_code == 0
    run("--data", data, "--out", tmp_path / "out")
    whole = (tmp_path / "out/groupA/one.csv").read_text().splitlines()
    assert (tmp_path / "past-out/groupA/one.csv").read_text().splitlines() == whole[:451]
    assert (tmp_path / "changed-out/groupA/one.csv").read_text().splitlines()[:451] == whole[:451]


def test_names_order_and_company_of_files_change_nothing(data: Path, tmp_path: Path) -> None:
    put(tmp_path / "alone", "zz/renamed.csv", series(300, seed=2))
    run("--data", data, "--out", tmp_path / "out")
    run("--data", tmp_path / "alone", "--out", tmp_path / "alone-out")
    assert (tmp_path / "alone-out/zz/renamed.csv").read_bytes() == (tmp_path / "out/groupB/two.csv").read_bytes()


def test_the_summary_as_json(data: Path, tmp_path: Path) -> None:
    result = run("--data", data, "--out", tmp_path / "out", "--json")
    summary = json.loads(result.stdout)
    assert summary["threshold"] == 0.025
    assert summary["rows"] == 1_000
    assert [(each["file"], each["rows"]) for each in summary["files"]] == [
        ("groupA/one.csv", 700),
        ("groupB/two.csv", 300),
    ]
    rows = scored(tmp_path / "out" / "groupA" / "one.csv")
    assert summary["files"][0]["told"] == sum(float(row["anomaly_score"]) >= 0.025 for row in rows)
    assert summary["problems"] == []


GOOD = [line(0, 1), line(1, 2)]
BAD: dict[str, tuple[list[str], str, str]] = {
    "a missing column": (
        GOOD,
        "timestamp,reading",
        ":1: value: there is no such column; the first line has",
    ),
    "a column twice": (GOOD, "timestamp,value,value", ":1: value: there are several"),
    "a value that is no number": ([*GOOD, line(2, "high")], "", ":4: value: 'high' is no number"),
    "no value": ([*GOOD, line(2, "")], "", ":4: value: '' is no number"),
    "a number with an underscore": ([*GOOD, line(2, "1_0")], "", ":4: value: '1_0' is no number"),
    "not a number": ([*GOOD, line(2, "nan")], "", ":4: value: 'nan' is no finite number"),
    "infinite": ([*GOOD, line(2, "-inf")], "", ":4: value: '-inf' is no finite number"),
    "too large for a float": ([*GOOD, line(2, "1e999")], "", ":4: value: '1e999' is no finite number"),
    "too few fields": ([*GOOD, "2014-04-01 00:10:00"], "", ":4: value: is missing"),
    "a time that can't be read": ([*GOOD, "1 April,3"], "", ":4: timestamp: '1 April' is no time such as"),
    "a month too many": ([*GOOD, "2014-13-01 00:00:00,3"], "", ":4: timestamp: '2014-13-01 00:00:00' is no time"),
    "back in time": ([line(300, 1), line(0, 2)], "", ":3: timestamp: '2014-04-01 00:00:00' goes back in time"),
    "no rows": ([], "", ":1: has no rows"),
}


@pytest.mark.parametrize("mistake", list(BAD))
def test_a_bad_file_is_named_with_its_place_and_the_others_are_scored(mistake: str, data: Path, tmp_path: Path) -> None:
    lines, header, said = BAD[mistake]
    put(data, "groupA/bad.csv", lines, header or "timestamp,value")
    out = tmp_path / "out"
    out.joinpath("groupA").mkdir(parents=True)
    out.joinpath("groupA", "bad.csv").write_text("scores of another day")
    result = run("--data", data, "--out", out, "--json")
    assert result.exit_code == 1
    assert f"Error: groupA/bad.csv{said}" in result.stderr
    assert [path.name for path in sorted(out.rglob("*.*"))] == ["one.csv", "two.csv"], "nothing of the bad file is left"
    problem = json.loads(result.stdout)["problems"][0]
    assert (problem["file"], f":{problem['line']}:") == ("groupA/bad.csv", said.split(" ")[0])


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"timestamp,value\n2014-04-01 00:00:00,\xff\xfe\n", "is no UTF-8 text"), (b"\0", "column")],
)
def test_a_file_that_is_no_table_is_named(content: bytes, said: str, data: Path, tmp_path: Path) -> None:
    (data / "groupB" / "bad.csv").write_bytes(content)
    result = run("--data", data, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "groupB/bad.csv:1: " in result.stderr
    assert said in result.stderr


def test_clocks_that_change_are_scored_and_told(data: Path, tmp_path: Path) -> None:
    put(data, "groupA/clock.csv", [*(line(row, 1) for row in range(24)), *(line(row, 1) for row in range(12, 36))])
    result = run("--data", data, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "groupA/clock.csv: the clock goes back at line 26; scored all the same" in result.stderr
    assert len(scored(tmp_path / "out/groupA/clock.csv")) == 48


def test_other_columns_other_orders_and_other_forms_of_time_are_read(tmp_path: Path) -> None:
    lines = [f"x,{value},2014-04-01T00:{minute:02d}:00Z" for minute, value in enumerate([1, 2, 3])]
    put(tmp_path / "data", "g/a.csv", lines, header="\ufeffnote,Value, timestamp")
    assert run("--data", tmp_path / "data", "--out", tmp_path / "out").exit_code == 0
    rows = scored(tmp_path / "out/g/a.csv")
    assert [(row["timestamp"], row["value"]) for row in rows][:1] == [("2014-04-01T00:00:00Z", "1")]


def test_wrong_usage(data: Path, tmp_path: Path) -> None:
    assert run("--data", tmp_path / "nowhere", "--out", tmp_path / "out").exit_code == 2
    before = (data / "groupA" / "one.csv").read_bytes()
    same = run("--data", data, "--out", data / "groupA" / "..")
    assert (same.exit_code, (data / "groupA" / "one.csv").read_bytes()) == (2, before)
    (tmp_path / "empty").mkdir()
    nothing = run("--data", tmp_path / "empty", "--out", tmp_path / "out")
    assert (nothing.exit_code, "no <group>/<file>.csv" in nothing.stderr) == (1, True)
    (tmp_path / "file").write_text("")
    blocked = run("--data", data, "--out", tmp_path / "file")
    assert blocked.exit_code == 2


def test_the_help_has_examples() -> None:
    told = run("--help").stdout
    assert "tripline bench nab --data nab/ --out scores/" in told
    assert ".025" in told

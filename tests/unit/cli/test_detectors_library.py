"""``tripline detectors library``: from a log and a list of confirmed runs to settings that judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from console.cli.detectors import detectors
from detectors.base import Shared
from detectors.discovery import build, modes
from events.times import format_ms
from governance.settings import parse_settings

START_MS = 1_767_571_200_000


def event(number: int, action: str, run: str) -> str:
    return json.dumps({
        "specversion": "1.0", "id": f"e{number}", "source": "/crm", "type": "tripline.agent.action.v1",
        "time": format_ms(START_MS + number * 1_000), "subject": "agent/a", "partitionkey": "a",
        "datacontenttype": "application/json",
        "data": {"agent_id": "a", "action": action, "object": "Lead", "record_ids": [f"00Q{run}"], "outcome": "ok",
                 "run_id": run},
    })  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    lines = []
    for run in range(60):
        lines += [event(2 * run, "record.read", str(run)), event(2 * run + 1, "record.update", str(run))]
    lines.append(event(200, "record.read", "looks"))
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(log: Path, confirmed: str, *more: str) -> Result:
    listed = log.with_name("confirmed.txt")
    listed.write_text(confirmed)
    out = log.with_name("library.toml")
    return CliRunner().invoke(detectors, ["library", str(log), "--confirmed", str(listed), "--out", str(out), *more])


def test_the_library_is_a_table_of_the_settings_that_judges_in_shadow(log: Path) -> None:
    result = run(log, "\n".join([*map(str, range(55)), "looks", "gone", ""]), "--json")
    assert result.exit_code == 0, result.output
    assert "1 runs are not in the logs: gone" in result.stderr
    told = json.loads(result.stdout)
    assert (told["runs"], told["without_a_write"], told["missing"]) == (55, 1, ["gone"])
    settings = parse_settings(log.with_name("library.toml").read_text(), {}, {}, "library.toml")
    (built,) = [one for one in build(settings, Shared()) if one.name == "unlike_good_run"]
    assert len(built.library.runs) == 55  # type: ignore[attr-defined]
    assert built.limit <= 1.0  # type: ignore[attr-defined]
    assert modes(settings)["unlike_good_run"] == "shadow"


@pytest.mark.parametrize(
    ("confirmed", "said"),
    [("", "names no run"), ("looks\n", "writes anything"), ("gone\n", "none of the 1 runs")],
)
def test_without_a_confirmed_run_that_writes_nothing_is_written(log: Path, confirmed: str, said: str) -> None:
    result = run(log, confirmed)
    assert result.exit_code == 1
    assert said in result.stderr
    assert not log.with_name("library.toml").exists()


def test_a_line_that_is_no_event_is_named(log: Path) -> None:
    log.write_text(log.read_text() + "{}\n")
    result = run(log, "1\n")
    assert result.exit_code == 1
    assert "log.jsonl:122:" in result.stderr

"""``tripline detectors``: what there is, and a step up to enforce only with a replay that shows it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from console.cli.detectors import detectors
from detectors.discovery import Judged, discover, judged_with
from events.times import DAY_MS, format_ms
from governance.settings import parse_settings
from streams.replay import Report
from streams.replay.report import Rate

NAME = "repeated_errors"
FILE = """# ours
[detectors.repeated_errors]   # it is new
mode = "warn"
run_errors = 7

[agents.bot]
owner = "olga"
"""


def run(*args: str) -> Result:
    return CliRunner().invoke(detectors, [str(arg) for arg in args])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tripline.toml"
    path.write_text(FILE)
    return path


def a_report(config: Path, **more: Any) -> Report:
    """What a replay of the last ten days with these settings would have said."""
    settings = parse_settings(config.read_text(), {}, {f"detectors.{NAME}.mode": "enforce"})
    rate = Rate(
        detector=NAME, asks="enforce: suspend", findings=2, agents=2, per_month=0.4, upper=1.2, settled=1,
        settled_per_month=0.25, settled_upper=1.1859,
    )  # fmt: skip
    given: dict[str, Any] = {
        "first": None, "last": format_ms(round(time.time() * 1000) - 10 * DAY_MS), "agents": 5, "actions": 1000,
        "agent_months": 5.0, "settled_months": 4.0, "rates": [rate], "stops": [], "wrong_before_p50": 3,
        "wrong_before_p99": 3, "judged": judged_with(settings), **more,
    }  # fmt: skip
    return Report(**given)


def kept(report: Report, folder: Path) -> str:
    path = folder / "report.json"
    path.write_bytes(msgspec.json.encode(report))
    return str(path)


def test_the_list_names_every_detector_with_its_mode(config: Path):
    rows = json.loads(run("list", "--json", "--config", config).output)
    assert [row["detector"] for row in rows] == list(discover())
    mode = {row["detector"]: row["mode"] for row in rows}
    assert (mode[NAME], mode["action_rate"]) == ("warn", "enforce")
    assert all(row["catches"] and row["state_bytes"] > 0 for row in rows)


def test_show_tells_what_it_cannot_and_each_option_with_its_value(config: Path):
    said = json.loads(run("show", NAME, "--json", "--config", config).output)
    options = {one["option"]: one for one in said["options"]}
    assert (options["run_errors"]["value"], options["run_errors"]["default"]) == (7, 5)
    assert "Cannot:" in said["about"]
    assert all(one["about"] for one in options.values())
    assert run("show", "repeated_eror").exit_code == 3


def test_a_step_down_is_written_into_the_file_which_keeps_its_comments(config: Path):
    done = run("mode", NAME, "shadow", "--config", config)
    assert done.exit_code == 0, done.output
    assert config.read_text() == FILE.replace('"warn"', '"shadow"')
    assert run("mode", "action_rate", "warn", "--config", config).exit_code == 0
    settings = parse_settings(config.read_text())
    assert settings.detectors["action_rate"]["mode"] == "warn"
    assert config.read_text().startswith(FILE.replace('"warn"', '"shadow"').partition("[agents")[0])


def test_a_file_that_is_not_there_is_made(tmp_path: Path):
    path = tmp_path / "new.toml"
    assert run("mode", NAME, "warn", "--config", path).exit_code == 0
    assert parse_settings(path.read_text()).detectors == {NAME: {"mode": "warn"}}


def test_a_step_up_to_enforce_takes_a_report_that_shows_it(config: Path, tmp_path: Path):
    done = run("mode", NAME, "enforce", "--config", config, "--report", kept(a_report(config), tmp_path))
    assert done.exit_code == 0, done.output
    assert "1 after first weeks, 0.250 an agent-month, with 95 % at most 1.186" in done.output
    assert config.read_text() == FILE.replace('"warn"', '"enforce"')


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"judged": {}}, "did not enforce in that replay"),
        ({"judged": {NAME: Judged("warn", "x")}}, "did not enforce in that replay"),
        ({"judged": {NAME: Judged("enforce", "x")}}, "had other options in that replay"),
        ({"last": format_ms(round(time.time() * 1000) - 31 * DAY_MS)}, "its log ended 31 days ago"),
        ({"last": None}, "saw no agent"),
        ({"settled_months": 0.9}, "it saw 0.90 agent-months after first weeks"),
    ],
)
def test_a_report_that_does_not_show_it_is_refused_and_nothing_is_written(
    config: Path, tmp_path: Path, changes: dict[str, Any], said: str
):
    report = kept(replace(a_report(config), **changes), tmp_path)
    refused = run("mode", NAME, "enforce", "--config", config, "--report", report)
    assert (refused.exit_code, said in refused.output) == (4, True), refused.output
    assert config.read_text() == FILE


def test_without_a_report_or_with_something_else_it_is_refused(config: Path, tmp_path: Path):
    refused = run("mode", NAME, "enforce", "--config", config)
    assert (refused.exit_code, "tripline replay LOG… --enforce repeated_errors" in refused.output) == (4, True)
    other = tmp_path / "other.json"
    other.write_text("{}")
    assert run("mode", NAME, "enforce", "--config", config, "--report", other).exit_code == 1
    config.write_text(FILE.replace('mode = "warn"', 'mode = "warn"\nis_enabled = false'))
    report = kept(a_report(config), tmp_path)
    refused = run("mode", NAME, "enforce", "--config", config, "--report", report)
    assert (refused.exit_code, "is switched off" in refused.output) == (4, True)


def test_a_variable_that_says_otherwise_is_named(config: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRIPLINE_DETECTORS_REPEATED_ERRORS_MODE", "warn")
    done = run("mode", NAME, "shadow", "--config", config)
    assert (done.exit_code, "a TRIPLINE_ variable says warn" in done.output) == (1, True)


def test_a_mode_for_one_agent_or_role_leaves_the_others(config: Path):
    done = run("mode", NAME, "shadow", "--agent", "bot", "--config", config)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{NAME} for bot: warn → shadow")
    assert parse_settings(config.read_text(), {}).detectors[NAME] == {
        "mode": "warn", "run_errors": 7, "agents": {"bot": "shadow"},
    }  # fmt: skip
    (row,) = [row for row in json.loads(run("list", "--json", "--config", config).output) if row["detector"] == NAME]
    assert (row["mode"], row["own_modes"]) == ("warn", {"agents": {"bot": "shadow"}, "roles": {}})


def test_a_step_up_for_one_agent_takes_a_report_as_well(config: Path, tmp_path: Path):
    refused = run("mode", NAME, "enforce", "--agent", "bot", "--config", config)
    assert refused.exit_code == 4
    report = kept(a_report(config), tmp_path)
    done = run("mode", NAME, "enforce", "--agent", "bot", "--config", config, "--report", report)
    assert done.exit_code == 0, done.output
    assert run("mode", NAME, "warn", "--agent", "bot", "--role", "x", "--config", config).exit_code == 2

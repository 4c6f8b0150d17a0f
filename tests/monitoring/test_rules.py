"""The rules as promtool sees them; each alert fires and keeps quiet in a test of its own, and has a runbook."""

from __future__ import annotations

import copy
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.servers import tool

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dashboards" / "prometheus"
RULES = sorted((FOLDER / "rules").glob("*.yml"))
TESTS = sorted((FOLDER / "tests").glob("*.test.yml"))
SEVERITIES = {"critical", "warning", "info", "none"}
WATCHDOG = "TriplineWatchdog"


def rules_of(path: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for path in RULES for rule in rules_of(path) if "alert" in rule]


def promtool(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("promtool"), *args], capture_output=True, text=True, check=False, timeout=60)


def test_promtool_finds_nothing_to_complain_of() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_the_rules_pass_their_unit_tests(path: Path) -> None:
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(rule["alert"] for rule in alerts()))
def test_each_alert_is_seen_to_fire_and_to_keep_quiet(name: str, tmp_path: Path) -> None:
    """Its unit tests ask for both, and they fail when it never fires."""
    asked = [
        check
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for check in test["promql_expr_test"]
        if f'"{name}"' in check["expr"]
    ]
    assert any(check["exp_samples"] for check in asked)
    assert name == WATCHDOG or any(not check["exp_samples"] for check in asked)
    path, tests = dead(name, tmp_path)
    done = promtool("test", "rules", tests)
    assert done.returncode == 1, f"{name} never fires in {path}, and its tests pass"
    assert name in done.stdout + done.stderr


def dead(name: str, folder: Path) -> tuple[Path, Path]:
    """The rules with one alert that never fires, and its tests."""
    (path,) = [path for path in RULES if any(rule.get("alert") == name for rule in rules_of(path))]
    document = copy.deepcopy(yaml.safe_load(path.read_text()))
    for group in document["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") == name:
                rule["expr"] = "vector(1) < 0"
    changed = folder / path.name
    changed.write_text(yaml.safe_dump(document))
    tests = yaml.safe_load((FOLDER / "tests" / f"{path.stem}.test.yml").read_text())
    mentioned = [test for test in tests["tests"] if any(f'"{name}"' in one["expr"] for one in test["promql_expr_test"])]
    tests["tests"] = mentioned
    tests["rule_files"] = [str(FOLDER / "rules" / "recording.yml"), str(changed)]
    written = folder / "dead.test.yml"
    written.write_text(yaml.safe_dump(tests))
    return changed, written


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_each_alert_says_what_where_and_what_to_do(alert: dict[str, Any]) -> None:
    said, name = alert["annotations"], alert["alert"]
    assert re.fullmatch(r"Tripline[A-Z][A-Za-z]+", name)
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in SEVERITIES
    assert said["summary"].endswith(".")
    assert said["description"]
    if name != WATCHDOG:
        book = ROOT / said["runbook_url"]
        assert book.is_file(), f"{name} points to {said['runbook_url']}, which does not exist"
        assert f"`{name}`" in book.read_text(), f"{book.name} does not name {name}"


def test_every_runbook_of_an_alert_names_only_alerts_that_exist() -> None:
    names = {alert["alert"] for alert in alerts()}
    for book in (ROOT / "docs" / "runbooks").glob("*.md"):
        assert set(re.findall(r"`(Tripline[A-Z]\w+)`", book.read_text())) <= names, book.name


@pytest.mark.parametrize(
    "rule", [rule for path in RULES for rule in rules_of(path) if "record" in rule], ids=lambda rule: rule["record"]
)
def test_recording_rules_are_named_by_level_metric_and_operations(rule: dict[str, Any]) -> None:
    level, metric, operations = rule["record"].split(":")
    assert set(level.split("_")) <= {"job", "topic", "channel"}
    assert metric.startswith("tripline_")
    assert re.fullmatch(r"sum|rate5m|p99_rate5m|ratio_rate5m|ratio_rate15m", operations)

"""What the documents say of metrics and alerts is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from dashboards.reference import PATH, text
from tests.monitoring.promql import kinds
from tests.monitoring.test_rules import alerts

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_list_of_metrics_is_what_the_code_has() -> None:
    assert PATH.read_text(encoding="utf-8") == text(), "run: make dashboards"


def test_the_table_of_alerts_is_complete() -> None:
    rows = re.findall(r"^\| (critical|warning|info|none)[^|]*\| (.*) \|$", (DOCS / "monitoring.md").read_text(), re.M)
    told = {(f"Tripline{name}", severity) for severity, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert told == {(alert["alert"], alert["labels"]["severity"]) for alert in alerts()}


def test_every_metric_that_a_runbook_names_exists() -> None:
    series = kinds()
    plain = {re.sub(r"_(bucket|count|sum)$", "", name) for name in series} | set(series)
    recorded = {"tripline_events_consumed", "tripline_gate_undecided"}  # parts of recording rules' names
    for book in (DOCS / "runbooks").glob("*.md"):
        named = set(re.findall(r"(?<![\w.:-])tripline_[a-z_]+", book.read_text()))
        assert named <= plain | recorded, f"{book.name}: {named - plain}"

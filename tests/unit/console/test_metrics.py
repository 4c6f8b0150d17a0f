"""Metrics: what promtool says of them, what is there from the start, and what they count."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dashboards.metrics import Labels, Metrics
from tests.unit.console.fakes import FakeRuntime
from tests.unit.console.samples import LINES, action, lines

Client = TestClient[Litestar]


def values(text: str) -> dict[str, float]:
    """Sample name with labels → value."""
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }


def test_promtool_finds_nothing_to_complain_of(client: Client) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        warnings.warn("SKIPPED: promtool is missing (apt install prometheus)", stacklevel=1)
        pytest.skip("promtool is missing: apt install prometheus")
    client.post("/v1/events", content=lines(action()), headers=LINES)
    text = client.get("/metrics").content
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_every_label_set_starts_at_0(client: Client) -> None:
    told = values(client.get("/metrics").text)
    for name in (
        "tripline_events_ingested_total",
        'tripline_events_refused_total{reason="bad_time"}',
        'tripline_dead_letters_total{reason="not_json"}',
        "tripline_actions_judged_total",
        'tripline_findings_total{detector="action_rate",mode="enforce"}',
        'tripline_control_changes_total{state="suspended"}',
        'tripline_gate_decisions_total{decision="deny",rule="suspended"}',
        'tripline_notifications_total{channel="log",outcome="failed"}',
        'tripline_agents{state="suspended"}',
        'tripline_deals_at_risk{band="high"}',
        'tripline_wrong_records_before_stop_bucket{detector="action_rate",le="5.0"}',
        "tripline_oldest_unjudged_timestamp_seconds",
        "tripline_gate_check_seconds_count",
        "tripline_restarts_total",
    ):
        assert told[name] == 0, name


def test_no_name_or_label_is_of_an_agent_or_deal_or_called_severity(client: Client, runtime: FakeRuntime) -> None:
    client.post("/v1/events", content=lines(action(agent="dealbot")), headers=LINES)
    text = client.get("/metrics").text
    assert "dealbot" not in text
    assert not re.search(r'[{,](agent|agent_id|deal|deal_id|severity)="', text)
    assert all(re.fullmatch(r"[a-z_]+", name.partition("{")[0]) for name in values(text))


def test_rounds_of_the_runtime_are_counted(client: Client, runtime: FakeRuntime) -> None:
    runtime.tell(
        counts={("action",): 500, ("finding", "action_rate", "enforce"): 1, ("control", "suspended"): 1, ("new",): 1},
        wrong_records=[("action_rate", 4), ("unheard_of", 2)],
    )
    told = values(client.get("/metrics").text)
    assert told["tripline_actions_judged_total"] == 500
    assert told['tripline_findings_total{detector="action_rate",mode="enforce"}'] == 1
    assert told['tripline_control_changes_total{state="suspended"}'] == 1
    assert told['tripline_wrong_records_before_stop_bucket{detector="action_rate",le="3.0"}'] == 0
    assert told['tripline_wrong_records_before_stop_bucket{detector="action_rate",le="5.0"}'] == 1
    assert told['tripline_wrong_records_before_stop_sum{detector="other"}'] == 2


def test_an_unknown_label_is_counted_as_other() -> None:
    metrics = Metrics(Labels(gate_rules=["budget"]))
    metrics.gate_decisions.add("deny", "a rule of tomorrow")
    told = values(metrics.render().decode())
    assert told['tripline_gate_decisions_total{decision="deny",rule="other"}'] == 1
    assert told['tripline_gate_decisions_total{decision="deny",rule="budget"}'] == 0


def test_refused_requests_are_counted_by_code(client: Client) -> None:
    client.get("/v1/agents", headers={"host": "evil.example"})
    told = values(client.get("/metrics").text)
    assert told['tripline_http_requests_refused_total{code="unknown_host"}'] == 1

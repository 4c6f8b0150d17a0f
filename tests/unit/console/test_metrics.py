"""Metrics: what promtool says of them, what is there from the start, and what they count."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from console.app import create_app
from console.auth import AuthStore
from console.services import services_in
from dashboards.metrics import Labels, Metrics
from governance.settings_types import Settings
from storage.read import Reader
from storage.store import Store
from tests.unit.console.conftest import BASE
from tests.unit.console.fakes import NOW_MS, FakeRuntime
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


def test_the_runtime_s_troubles_are_all_told_even_those_without_a_name_of_their_own(
    client: Client, runtime: FakeRuntime
) -> None:
    runtime.degraded = ["ticks", "a reason of tomorrow"]
    told = values(client.get("/metrics").text)
    assert told['tripline_degraded{reason="ticks"}'] == 1
    assert told['tripline_degraded{reason="other"}'] == 1
    assert told['tripline_degraded{reason="store"}'] == 0


def test_faults_of_detectors_and_findings_of_the_gate_are_counted_by_name(client: Client, runtime: FakeRuntime) -> None:
    runtime.tell(counts={("fault", "action_rate"): 1, ("finding", "gate", "warn"): 2})
    told = values(client.get("/metrics").text)
    assert told['tripline_detector_faults_total{detector="action_rate"}'] == 1
    assert told['tripline_findings_total{detector="gate",mode="warn"}'] == 2


def test_an_attempt_to_notify_is_counted_once(client: Client, runtime: FakeRuntime) -> None:
    runtime.tell(counts={("notification", "json", "sent"): 1})
    services_in(client.app).metrics.notified("log", True, 0.1)
    told = values(client.get("/metrics").text)
    assert told['tripline_notifications_total{channel="log",outcome="sent"}'] == 1
    assert told['tripline_notifications_total{channel="other",outcome="sent"}'] == 0


def test_the_log_s_time_and_the_oldest_unsent_notice_are_told_as_timestamps(
    runtime: FakeRuntime, settings: Settings, auth: AuthStore, tmp_path: Path
) -> None:
    rows = [
        ("a", "notification", 1_000, "sent"),
        ("b", "control", 2_000, "new"),
        ("c", "notification", 3_500, "new"),
        ("d", "notification", 4_000, "new"),
    ]
    with Store(tmp_path / "store") as store:
        store.migrate()
        store.connect_projections().close()
        link = store.connect()
        link.executemany(
            "INSERT INTO outbox (id, kind, created_ms, state, key, at_ms, body) VALUES (?, ?, ?, ?, '', 0, '')",
            rows,
        )
        link.close()
        reader = Reader.open(store.path)
        with Client(create_app(runtime, settings, reader, auth), base_url=BASE) as client:
            told = values(client.get("/metrics").text)
        reader.close()
    assert told["tripline_oldest_unsent_notification_timestamp_seconds"] == 3.5
    assert told["tripline_log_timestamp_seconds"] == NOW_MS / 1000

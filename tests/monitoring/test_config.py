"""The scrape configuration and the routing of alerts, as promtool, amtool and a real Alertmanager take them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dashboards.registry import Registry
from tests.monitoring.promql import console_metrics, worker_metrics
from tests.monitoring.servers import Alertmanager, tool, until
from tests.monitoring.test_rules import alerts

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "dashboards" / "prometheus" / "prometheus.yml"
ALERTMANAGER = ROOT / "dashboards" / "alertmanager" / "alertmanager.yml"
RECEIVERS = {"critical": "pager", "warning": "team", "info": "digest", "none": "watchdog"}


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_configuration() -> None:
    said = run(tool("promtool"), "check", "config", PROMETHEUS)
    assert "4 rule files found" in said


def test_alertmanager_takes_the_configuration() -> None:
    assert "SUCCESS" in run(tool("amtool"), "check-config", ALERTMANAGER)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_each_alert_goes_to_the_receiver_of_its_severity(alert: dict[str, dict[str, str]]) -> None:
    severity, name = alert["labels"]["severity"], alert["alert"]
    receiver = run(
        tool("amtool"), "config", "routes", "test", f"--config.file={ALERTMANAGER}",
        f"severity={severity}", f"alertname={name}", "job=tripline",
    ).strip()  # fmt: skip
    assert receiver == RECEIVERS[severity]


def test_every_alert_that_an_inhibition_names_exists() -> None:
    names = {alert["alert"] for alert in alerts()}
    for rule in yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            said = matcher.partition("=")[2].strip('~"')
            assert set(said.split("|")) <= names, matcher


@pytest.mark.parametrize("registry", [console_metrics(), worker_metrics()], ids=["console", "worker"])
def test_what_is_exposed_stays_far_below_the_limits_of_a_scrape(registry: Registry) -> None:
    (job,) = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
    samples = [sample for family in registry.registry.collect() for sample in family.samples]
    assert len(samples) < job["sample_limit"] / 5
    for sample in samples:
        assert len(sample.labels) + 2 < job["label_limit"]  # job and instance come to them
        for name, value in sample.labels.items():
            assert len(name) < job["label_name_length_limit"]
            assert len(value) < job["label_value_length_limit"]


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Alertmanager]:
    running = Alertmanager(tmp_path, ALERTMANAGER)
    yield running
    running.stop()


def test_what_explains_another_alert_keeps_that_one_quiet(alertmanager: Alertmanager) -> None:
    at = {"job": "tripline-worker", "topic": "agent.actions"}
    alertmanager.post(
        {"alertname": "TriplineConsumerStalled", "severity": "critical", **at},
        {"alertname": "TriplineConsumerLagHigh", "severity": "warning", **at},
        {"alertname": "TriplineConsumerLagHigh", "severity": "warning", **at, "topic": "crm.events"},
        {"alertname": "TriplineDown", "severity": "critical", "job": "tripline", "instance": "a"},
        {
            "alertname": "TriplineDegraded",
            "severity": "critical",
            "job": "tripline",
            "instance": "a",
            "reason": "store",
        },
        {
            "alertname": "TriplineDegraded",
            "severity": "critical",
            "job": "tripline",
            "instance": "b",
            "reason": "store",
        },
        {"alertname": "TriplineStopAll", "severity": "warning", "job": "tripline"},
        {"alertname": "TriplineAgentSuspended", "severity": "warning", "job": "tripline"},
    )

    def quiet() -> set[tuple[str, ...]]:
        return {
            tuple(one["labels"].get(name, "") for name in ("alertname", "topic", "instance"))
            for one in alertmanager.alerts()
            if one["status"]["inhibitedBy"]
        }

    until(lambda: len(alertmanager.alerts()) == 8, "all are known")
    expected = {("TriplineConsumerLagHigh", "agent.actions", ""), ("TriplineDegraded", "", "a")}
    until(lambda: quiet() == expected, f"{expected} are quiet, and nothing else")

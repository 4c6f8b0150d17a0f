"""Every alert on a real Prometheus, through a real Alertmanager, to a webhook; then one that resolves.

The figures come from pages that the test makes; the configurations are the shipped ones, quicker (``quick``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.monitoring.quick import quick_alertmanager, quick_prometheus, targets
from tests.monitoring.servers import Alertmanager, Prometheus, Small, free_port, until
from tests.monitoring.test_config import RECEIVERS
from tests.monitoring.test_rules import alerts

EXPLAINED = {
    "TriplineConsumerLagHigh", "TriplineDetectorLagging", "TriplineDetectionSlow", "TriplineTicksMissing",
    "TriplineGateLatencyHigh", "TriplineNotificationsFailing",
}  # fmt: skip
"""Quiet in this run, because something that explains them fires as well."""
ABSENT = {"TriplineWatchdog", "TriplineAbsent", "TriplineGateUnavailable"}
"""What fires when there is nothing to scrape."""


class Sick:
    """Two workers and a console with which everything is wrong that an alert is for."""

    def __init__(self) -> None:
        self.started = time.time()
        self.is_stopped = True

    def worker(self) -> str:
        now, age = time.time(), time.time() - self.started
        lanes = 12 if age < 10 else 6
        return (
            page(
                f"""
            build_info{{version="1"}} 1
            events_consumed_total{{topic="agent.actions"}} {100 * age}
            events_consumed_total{{topic="portfolio"}} 50
            consumer_lag_records{{topic="agent.actions"}} 20000
            consumer_lag_records{{topic="portfolio"}} 5
            judged_to_timestamp_seconds{{topic="agent.actions"}} {now - 100}
            detection_seconds_bucket{{le="1.0"}} 0
            detection_seconds_bucket{{le="2.5"}} {10 * age}
            detection_seconds_bucket{{le="+Inf"}} {10 * age}
            lanes{{topic="agent.actions",state="stuck"}} 2
            lanes{{topic="crm.events",state="recovering"}} 1
            lanes{{topic="portfolio",state="open"}} {lanes}
            rebalances_total {5 * age}
            ticks_total 7
            oldest_snapshot_timestamp_seconds{{topic="agent.actions"}} {now - 300}
            dead_letters_total{{reason="not_json"}} {age}
            strays_total{{topic="agent.actions"}} {age}
            detector_faults_total{{detector="action_rate"}} {age}
            """
            )
            + f"process_start_time_seconds {1000 + int(age / 2)}\n"
        )

    def other_worker(self) -> str:
        return page('build_info{version="2"} 1')

    def console(self) -> str:
        now, age = time.time(), time.time() - self.started
        return page(
            f"""
            degraded{{reason="store"}} 1
            degraded{{reason="projections"}} 1
            log_timestamp_seconds {now + 100}
            suspended_agents{{by="detector"}} 1
            stop_all {int(self.is_stopped)}
            oldest_approval_timestamp_seconds {now - 1000}
            deal_model_concerns 1
            outside_writes_total{{kind="leaked"}} {age}
            outside_writes_total{{kind="shadow"}} {age}
            revocations_total{{outcome="failed"}} {age}
            cancellations_total{{outcome="gave_up"}} {age}
            drill_last_timestamp_seconds {now - 40 * 86400}
            drill_bound_exceeded_trips 2
            wrong_records_before_stop_bucket{{detector="action_rate",le="100.0"}} 0
            wrong_records_before_stop_count{{detector="action_rate"}} {age}
            gate_decisions_total{{decision="deny",rule="not_available"}} {age}
            gate_decisions_total{{decision="allow",rule="allowed"}} {9 * age}
            gate_check_seconds_bucket{{le="0.05"}} 0
            gate_check_seconds_bucket{{le="0.1"}} {10 * age}
            gate_check_seconds_bucket{{le="+Inf"}} {10 * age}
            notifications_total{{channel="slack",outcome="failed"}} {age}
            notifications_total{{channel="slack",outcome="sent"}} {9 * age}
            oldest_unsent_notification_timestamp_seconds {now - 2000}
            logins_total{{outcome="throttled"}} {age}
            """
        )

    def crowded(self) -> str:
        return page("\n".join(f'agents{{state="s{number}"}} 0' for number in range(4_200)))


def page(lines: str) -> str:
    """An exposition of Tripline's metrics."""
    return "".join(f"tripline_{line.strip()}\n" for line in lines.strip().splitlines())


class Way:
    """The whole way: pages, Prometheus, Alertmanager, a receiver."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sick = Sick()
        pages = {
            "/w1": self.sick.worker,
            "/w2": self.sick.other_worker,
            "/c": self.sick.console,
            "/big": self.sick.crowded,
        }
        self.small = Small(pages)
        self.alertmanager = Alertmanager(folder, quick_alertmanager(folder, self.small.address))
        config = quick_prometheus(folder, self.alertmanager.url.removeprefix("http://"))
        self.prometheus = Prometheus(folder, config)

    def stop(self) -> None:
        self.prometheus.stop()
        self.alertmanager.stop()
        self.small.stop()

    def fall_ill(self) -> None:
        """Let Prometheus see the pages, and a target that nobody answers for."""
        self.sick.started = time.time()
        at = [
            (self.small.address, {"job": job, "instance": name, "__metrics_path__": f"/{name}"})
            for job, name in (
                ("tripline-worker", "w1"), ("tripline-worker", "w2"), ("tripline-console", "c"), ("tripline", "big"),
            )
        ]  # fmt: skip
        gone = (f"127.0.0.1:{free_port()}", {"job": "tripline-worker", "instance": "gone"})
        targets(self.folder, *at, gone)

    def told(self, status: str) -> dict[str, set[str]]:
        """By name, the receivers that were told of an alert as firing or resolved."""
        found: dict[str, set[str]] = {}
        for path, message in list(self.small.posted):
            for alert in message["alerts"]:
                if alert["status"] == status:
                    found.setdefault(alert["labels"]["alertname"], set()).add(path.strip("/"))
        return found

    def quiet(self) -> set[str]:
        """The alerts that others inhibit."""
        return {one["labels"]["alertname"] for one in self.alertmanager.alerts() if one["status"]["inhibitedBy"]}

    def texts(self) -> list[dict[str, str]]:
        return [alert["annotations"] for _, message in list(self.small.posted) for alert in message["alerts"]]


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    made = Way(tmp_path_factory.mktemp("way"))
    yield made
    made.stop()


def severities() -> dict[str, str]:
    return {alert["alert"]: alert["labels"]["severity"] for alert in alerts()}


def test_every_alert_fires_and_the_right_people_hear_of_it(way: Way) -> None:
    until(lambda: way.prometheus.firing().keys() >= ABSENT, f"{ABSENT} fire while nothing is scraped")
    until(lambda: way.told("firing").keys() >= ABSENT - {"TriplineGateUnavailable"}, "what explains the rest is told")
    until(lambda: way.quiet() == {"TriplineGateUnavailable"}, "what that explains is quiet")
    way.fall_ill()
    awaited = severities().keys() - {"TriplineAbsent"}
    seen: dict[str, Any] = {}

    def all_fire() -> bool:
        seen.update(way.prometheus.firing())
        return seen.keys() >= awaited

    try:
        until(all_fire, "every alert fires", 45)
    except AssertionError:
        pytest.fail(f"these never fired: {sorted(awaited - seen.keys())}; {way.prometheus.troubles()}")
    expected = {name: {RECEIVERS[severity]} for name, severity in severities().items() if name not in EXPLAINED}
    until(lambda: expected.items() <= way.told("firing").items(), "each was told to the receiver of its severity")
    assert way.prometheus.troubles() == []


def test_what_is_told_reads_well(way: Way) -> None:
    assert way.texts()
    for said in way.texts():
        for text in (said["summary"], said["description"]):
            assert not any(sign in text for sign in ("<no value>", "<error", "%!", "{{", "NaN")), text


def test_what_another_alert_explains_is_quiet(way: Way) -> None:
    until(lambda: way.quiet() == EXPLAINED, f"{EXPLAINED} are quiet, and nothing else")


def test_an_alert_whose_cause_is_gone_is_told_to_be_over(way: Way) -> None:
    assert "TriplineStopAll" not in way.told("resolved")
    way.sick.is_stopped = False
    until(lambda: way.told("resolved").get("TriplineStopAll") == {"team"}, "the end of it was told")
    assert "TriplineStopAll" not in way.prometheus.firing()

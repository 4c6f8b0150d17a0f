"""Copies of the shipped configurations that go faster, so that a test need not wait for minutes.

What is changed, and nothing else:

- Prometheus: scrapes each half second, rules each second, sends firing alerts again each second; targets and
  Alertmanager are the test's.
- Alerts: every ``for`` and ``keep_firing_for`` is two seconds. Expressions, windows and thresholds are as shipped.
- Alertmanager: groups wait a tenth of a second, are told again of changes after one; every receiver is a webhook whose
  path is the receiver's name. Routes, matchers and inhibitions are as shipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.monitoring.test_config import ALERTMANAGER, PROMETHEUS
from tests.monitoring.test_rules import RULES

FOR = "2s"


def quick_prometheus(folder: Path, alertmanager: str | None = None) -> Path:
    """A quick copy of prometheus.yml and its rules; targets are read from ``targets/`` below the folder."""
    (folder / "rules").mkdir(parents=True)
    (folder / "targets").mkdir()
    for path in RULES:
        document = yaml.safe_load(path.read_text())
        for rule in (rule for group in document["groups"] for rule in group["rules"]):
            for name in rule.keys() & {"for", "keep_firing_for"}:
                rule[name] = FOR
        (folder / "rules" / path.name).write_text(yaml.safe_dump(document))
    config = yaml.safe_load(PROMETHEUS.read_text())
    config["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"}
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager] if alertmanager else []
    return _written(folder / "prometheus.yml", config)


def targets(folder: Path, *groups: tuple[str, dict[str, str]]) -> None:
    """Let Prometheus scrape these addresses, with these labels; it notices within a second or two."""
    found = [{"targets": [address], "labels": labels} for address, labels in groups]
    part = folder / "targets.part"
    _written(part, found)
    part.rename(folder / "targets" / "test.yml")


def quick_alertmanager(folder: Path, receiver: str) -> Path:
    """A quick copy of alertmanager.yml that posts everything to ``receiver`` (host:port), by the receiver's name."""
    config = yaml.safe_load(ALERTMANAGER.read_text())
    for route in (config["route"], *config["route"]["routes"]):
        route |= {"group_wait": "100ms", "group_interval": "1s"}
    for one in config["receivers"]:
        one["webhook_configs"] = [{"url": f"http://{receiver}/{one['name']}", "send_resolved": True}]
    return _written(folder / "alertmanager.yml", config)


def _written(path: Path, document: Any) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path

"""Real workers under a real Prometheus: what they tell fills the dashboard, and faults of theirs fire their alerts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from governance.settings import Kafka
from streams.kafka.admin import create
from streams.kafka.partition import partition_of
from streams.kafka.produce import produce
from tests.kafka.broker import Broker
from tests.kafka.conftest import settings_of
from tests.kafka.working import Running
from tests.monitoring.promql import plain
from tests.monitoring.quick import quick_prometheus, targets
from tests.monitoring.servers import Prometheus, free_port, until
from tests.monitoring.test_dashboards import BOARDS
from tests.monitoring.test_panels import trouble_with

ROWS = {"Processes now", "Partitions (workers)", "State (workers)", "Group and recovery (workers)", "Processes"}
IN_HEALTH_EMPTY = {"Out of place", "Detector faults"}
ACTION = (
    b'{"specversion":"1.0","id":"s-%d","source":"/test","type":"tripline.agent.action.v1","time":"2026-03-02T09:14:03Z",'
    b'"data":{"agent_id":"lost","action":"record.update","outcome":"ok","object":"Account","record_ids":["001"]}}'
)


def work() -> Iterator[dict[str, Any]]:
    """Actions of some agents, each a few, and deals that somebody opened."""
    for number in range(60):
        yield {
            "specversion": "1.0", "id": f"a-{number}", "source": "/test", "type": "tripline.agent.action.v1",
            "time": "2026-03-02T09:14:03Z",
            "data": {
                "agent_id": f"bot-{number % 12}", "action": "record.update", "outcome": "ok", "object": "Account",
                "record_ids": [f"001{number % 5}"],
            },
        }  # fmt: skip
    for number in range(20):
        after = {"name": "Fleet", "stage": "Negotiation", "amount": "1000.00", "currency": "EUR", "manager_id": "jo"}
        yield {
            "specversion": "1.0", "id": f"d-{number}", "source": "/test", "type": "tripline.crm.change.v1",
            "time": "2026-03-02T09:14:03Z",
            "data": {
                "object": "Opportunity", "record_id": f"006{number}", "op": "create", "deal_id": f"006{number}",
                "changes": {name: {"after": value} for name, value in after.items()},
            },
        }  # fmt: skip


class Watched:
    """Two workers on topics of their own, and the Prometheus that scrapes them."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.began = time.time()
        self.kafka: Kafka = settings_of(broker.address)
        create(self.kafka)
        ports = {name: free_port() for name in ("one", "two")}
        self.prometheus = Prometheus(folder, quick_prometheus(folder))
        targets(
            folder,
            *((f"127.0.0.1:{port}", {"job": "tripline-worker", "instance": name}) for name, port in ports.items()),
        )
        self.workers: dict[str, Running] = {}
        for name, port in ports.items():
            self.workers[name] = Running(self.kafka, folder, name, "--port", str(port), "--instance-id", name)
            # The second comes when the first was scraped, which then goes through a rebalance that is seen.
            until(lambda: self.lanes() == 9, f"{name} is there, and Prometheus has seen all partitions", 60)

    def lanes(self) -> float:
        """How many partitions are open, of all workers."""
        samples = self.prometheus.query('sum(tripline_lanes{state="open"})')
        return float(samples[0]["value"][1]) if samples else 0.0

    def work(self, folder: Path) -> None:
        """Some agents at work, and some deals."""
        log = folder / "work.jsonl"
        log.write_text("\n".join(json.dumps(event) for event in work()))
        produce([log], self.kafka, as_live=True)

    def send(self, value: bytes, partition: int) -> None:
        """Write one record to a partition of the actions."""
        producer = KafkaProducer(bootstrap_servers=self.kafka.bootstrap, acks="all")
        producer.send(f"{self.kafka.prefix}agent.actions", value, partition=partition).get(20)
        producer.close()


@pytest.fixture(scope="module")
def watched(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    made = Watched(broker, folder)
    try:
        until(lambda: made.lanes() == 9, "two workers have all partitions", 60)
        made.work(folder)
        yield made
    finally:
        made.prometheus.stop()
        for worker in made.workers.values():
            worker.kill()


@pytest.fixture(autouse=True)
def _no_worker_is_left() -> None:
    """The workers are the module's, and end with it."""


def test_workers_in_health_fire_nothing(watched: Watched) -> None:
    quiet = {"TriplineWatchdog", "TriplineGateUnavailable"}  # no console is here, so no gate
    until(lambda: watched.prometheus.firing().keys() == quiet, f"{quiet} fire and nothing else", 60)
    assert watched.prometheus.troubles() == []


def test_what_workers_tell_fills_their_panels(watched: Watched) -> None:
    row, empty = "", {}

    def look() -> bool:
        nonlocal row
        empty.clear()
        for panel in BOARDS[next(path for path in BOARDS if path.stem == "tripline-runtime")]["panels"]:
            row = panel["title"] if panel["type"] == "row" else row
            if panel["type"] == "row" or row not in ROWS or panel["title"] in IN_HEALTH_EMPTY:
                continue
            for target in panel["targets"]:
                if 'topic=""' in target["expr"]:  # of consoles and standalone servers
                    continue
                now = time.time()
                shown = round(now - watched.began)  # rebalances and recoveries are at the beginning
                expression = plain(target["expr"], __rate_interval="30s", __range=f"{shown}s")
                series = watched.prometheus.query_range(expression, now - shown, now, 1)
                trouble = trouble_with(series, target["legendFormat"])
                if trouble:
                    empty[panel["title"], target["refId"]] = trouble
        return not empty

    try:
        until(look, "", 40, 1)
    except AssertionError:
        pytest.fail(str(empty))


def test_poison_strays_and_a_killed_worker_fire_their_alerts(watched: Watched) -> None:
    home = partition_of("default/lost", watched.kafka.partitions)
    for number in range(3):
        watched.send(ACTION % number, (home + 1) % watched.kafka.partitions)
        watched.send(b"no json", home)
    wanted = {"TriplineDeadLetterGrowing", "TriplineStrays"}
    until(lambda: watched.prometheus.firing().keys() >= wanted, f"{wanted} fire", 40)
    watched.workers["two"].kill()
    until(lambda: "TriplineLanesUnowned" in watched.prometheus.firing(), "partitions that nobody has are noticed", 40)
    until(lambda: watched.lanes() == 9, "the other worker has all partitions", 60)
    until(lambda: "TriplineLanesUnowned" not in watched.prometheus.firing(), "then it is over", 40)

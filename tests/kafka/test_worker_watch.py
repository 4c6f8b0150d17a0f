"""What a worker says of itself: metrics that agree with what it did, health that sees a lane that stands still."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from governance.settings import Kafka, parse_settings
from streams.kafka.admin import create
from streams.kafka.connect import KafkaProblem
from streams.kafka.produce import produce
from streams.kafka.worker.watch import Watch, worker_metrics
from streams.kafka.worker.web import Web, page_of
from streams.routing import ACTIONS, CRM, INPUT_TOPICS
from tests.kafka.test_worker import put
from tests.kafka.working import Cluster, Running, until

PLACE = (ACTIONS, 1)


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


class Samples:
    """What was scraped, by name and label values in any order."""

    def __init__(self, text: bytes) -> None:
        self._values = {
            (sample.name, frozenset(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }

    def of(self, name: str, *labels: str) -> float:
        return self._values[f"tripline_{name}", frozenset(labels)]

    def total(self, name: str) -> float:
        return sum(value for (known, _), value in self._values.items() if known == f"tripline_{name}")


class Watching:
    """A watch over one lane that only exists in the test, by a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.failed: list[BaseException] = []
        counts: dict[tuple[str, ...], int] = {}
        place = SimpleNamespace(topic=ACTIONS, index=1, engine_id="main")
        self.lane = SimpleNamespace(partition=place, position=5, counts=counts, keys=3, last_at_ms=9_000, since_saved=2)
        self.desks: dict[Any, Any] = {PLACE: SimpleNamespace(lane=self.lane, saved_wall=77.0)}
        self.opening: frozenset[Any] = frozenset()
        self.watch = Watch(
            parse_settings(None, {}, {"worker.stuck_secs": 30.0, "worker.give_up_secs": 180.0}),
            worker_metrics("1"), self.desks, lambda: self.opening, self.failed.append, lambda: self.now,
        )  # fmt: skip

    def pass_time(self, secs: float, end: int) -> None:
        """The brokers say that the log reaches ``end``, all the while."""
        until_secs = self.now + secs
        while self.now < until_secs:
            self.now += 2.0
            self.watch._asked = self.now
            self.watch._take(PLACE, end, self.now)
            self.watch.look()

    def gauge(self, name: str, *labels: str) -> float:
        return Samples(self.watch.metrics()).of(name, *labels)


def test_a_lane_that_stands_still_with_records_to_judge_turns_health_red_and_then_ends_the_worker():
    given = Watching()
    given.pass_time(20, end=5)
    assert given.watch.health().wrong == []
    given.pass_time(28, end=9)
    assert given.watch.health().wrong == []
    given.pass_time(10, end=400)
    assert "agent.actions, partition 1, has stood still for" in given.watch.health().wrong[0]
    assert "395 records to judge" in given.watch.health().wrong[0]
    assert page_of("/healthz", given.watch).status == 503
    assert given.gauge("lanes", ACTIONS, "stuck") == 1
    assert given.gauge("lanes", ACTIONS, "open") == 0
    assert given.gauge("consumer_lag_records", ACTIONS) == 395
    assert not given.failed
    given.pass_time(160, end=400)
    assert isinstance(given.failed[0], KafkaProblem)
    assert "stood still" in str(given.failed[0])


def test_a_lane_that_moves_or_has_nothing_to_judge_is_well():
    given = Watching()
    for position in range(5, 40):
        given.lane.position = position
        given.pass_time(10, end=10_000)
    assert given.watch.health().wrong == []
    given.lane.position = 10_000
    given.pass_time(500, end=10_000)
    assert given.watch.health().wrong == []
    assert given.gauge("lanes", ACTIONS, "open") == 1
    assert given.gauge("consumer_lag_records", ACTIONS) == 0
    assert not given.failed


def test_brokers_that_do_not_answer_and_a_loop_that_hangs_are_said():
    given = Watching()
    given.pass_time(4, end=5)
    given.now += 40
    assert "busy with one thing for 40 s" in given.watch.health().wrong[0]
    given.watch.look()
    assert given.watch.health().wrong == ["the brokers have not answered for 40 s"]


def test_a_worker_whose_states_are_read_back_is_well_but_not_ready():
    given = Watching()
    given.opening = frozenset([(CRM, 0), (CRM, 1)])
    given.pass_time(2, end=5)
    assert page_of("/healthz", given.watch).status == 200
    ready = page_of("/readyz", given.watch)
    assert ready.status == 503
    said = json.loads(ready.body)
    assert said["reasons"] == ["the states of 2 lanes are being read back"]
    assert said["lanes"] == {"open": 1, "recovering": 2, "stuck": 0}
    assert page_of("/nothing", given.watch).status == 404


def test_counts_of_a_lane_become_metrics_once():
    given = Watching()
    given.lane.counts |= {
        ("records",): 7, ("stray",): 2, ("fed_again",): 1, ("dead_letter", "not_json"): 3,
        ("finding", "action_rate", "enforce"): 4, ("fault", "action_rate"): 1, ("output", "finding"): 4,
    }  # fmt: skip
    given.pass_time(10, end=5)
    assert given.gauge("events_consumed_total", ACTIONS) == 7
    assert given.gauge("strays_total", ACTIONS) == 2
    assert given.gauge("fed_again_total") == 1
    assert given.gauge("dead_letters_total", "not_json") == 3
    assert given.gauge("findings_total", "action_rate", "enforce") == 4
    assert given.gauge("detector_faults_total", "action_rate") == 1
    assert given.gauge("outputs_total", "finding") == 4
    assert given.gauge("state_keys", ACTIONS) == 3
    assert given.gauge("judged_to_timestamp_seconds", ACTIONS) == 9
    assert given.gauge("oldest_snapshot_timestamp_seconds", ACTIONS) == 77


def test_a_port_that_is_taken_is_said_with_what_to_do():
    given = Watching()
    settings = parse_settings(None, {}, {"worker.port": 0}).worker
    first = Web(settings, given.watch)
    port = int(first.url.rpartition(":")[2])
    try:
        with pytest.raises(KafkaProblem, match=f"can't listen on 127.0.0.1:{port}") as told:
            Web(parse_settings(None, {}, {"worker.port": port}).worker, given.watch)
        assert "--port" in told.value.advice
    finally:
        first.stop()


def test_a_broker_that_is_not_there_is_a_lost_client_not_a_lost_worker():
    given = Watching()
    given.watch._settings = parse_settings(None, {}, {"kafka.bootstrap": "127.0.0.1:1"})
    assert asyncio.run(given.watch._probe(None)) is None


def test_the_metrics_of_a_worker_are_what_it_did(kafka: Kafka, log: Path, tmp_path: Path):
    create(kafka)
    produce([log], kafka)
    put(kafka, ACTIONS, (1, b"k", b"not json"))
    worker = Running(kafka, tmp_path, "one")
    cluster = Cluster(kafka)
    cluster.wait_until_judged()
    cluster.wait_until_judged()  # and what that fed
    url = next(one["url"] for one in worker.told() if one["event"] == "worker_web")
    until(lambda: get(f"{url}/readyz")[0] == 200, "ready")

    ends = {topic: sum(cluster.ends(topic)) for topic in INPUT_TOPICS}

    def counted() -> dict[str, float]:
        found = Samples(get(f"{url}/metrics")[1])
        return {topic: found.of("events_consumed_total", topic) for topic in INPUT_TOPICS}

    until(lambda: all(counted()[topic] >= end for topic, end in ends.items()), "every record is counted")
    consumed = counted()
    assert all(consumed[topic] <= sum(cluster.ends(topic)) for topic in INPUT_TOPICS), "and none twice"
    found = Samples(get(f"{url}/metrics")[1])
    said, _ = cluster.said()
    assert found.of("findings_total", "blast_radius", "enforce") > 0
    findings = found.total("findings_total")
    assert findings == found.of("outputs_total", "finding")
    assert findings == sum(map(len, said["agent.findings"].values()))
    assert found.of("outputs_total", "risk") >= sum(map(len, said["deal.risk"].values()))
    assert found.of("dead_letters_total", "not_json") == 1
    assert sum(found.of("lanes", topic, "open") for topic in INPUT_TOPICS) == 9
    assert found.of("detection_seconds_count") > 0
    assert found.of("snapshots_total", ACTIONS) > 0
    assert found.of("snapshot_keys_total", ACTIONS) >= found.of("state_keys", ACTIONS) > 0
    assert found.of("commits_total", "ok") > 0
    assert found.of("rebalances_total") >= 1
    assert found.of("ticks_total") > 0
    assert worker.stop() == 0

"""``tripline doctor --kafka``: each thing that can be wrong with a cluster is said with what to do."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from kafka import KafkaProducer

from console.cli import main
from events.codec import encode
from governance.settings import Kafka
from streams.kafka import connect
from streams.kafka.admin import create
from streams.kafka.produce import produce
from streams.routing import ACTIONS, CRM, PORTFOLIO
from streams.ticks import tick_event
from tests.kafka.test_worker import an_action, put
from tests.kafka.working import Cluster, Running, environ


def ask(kafka: Kafka, tmp_path: Path, **more: str) -> dict[str, list[tuple[str, str, str]]]:
    """By the check's name: status, message, advice."""
    given = ["doctor", "--kafka", "--json", "--data-dir", str(tmp_path / "data")]
    done = CliRunner().invoke(main, given, env=environ(kafka) | more)
    found: dict[str, list[tuple[str, str, str]]] = {}
    for one in json.loads(done.stdout):
        found.setdefault(one["name"], []).append((one["status"], one["message"], one["advice"]))
    problems = any(status == "problem" for checks in found.values() for status, _, _ in checks)
    assert done.exit_code == (1 if problems else 0)
    return found


def tick(kafka: Kafka, at_ms: int) -> None:
    put(kafka, ACTIONS, (0, None, encode(tick_event("main", at_ms))))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_a_cluster_that_works_is_said_to_be_well(kafka: Kafka, log: Path, tmp_path: Path):
    create(kafka)
    produce([log], kafka)
    worker = Running(kafka, tmp_path, "one")
    Cluster(kafka).wait_until_judged()
    found = ask(kafka, tmp_path)
    assert found["topics"] == [("ok", "all are there with 3 partitions", "")]
    ((status, said, _),) = found["partitioners"]
    assert status == "ok"
    assert int(said.split()[2]) > 100
    assert found["clocks"][0][0] == "ok"
    assert [status for status, _, _ in found["lag"]] == ["ok"] * 3
    assert found["brokers"][0][0] == "warning", "one broker is for trying out"
    assert worker.stop() == 0


def test_that_no_broker_answers_is_said(kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connect, "CONNECT_MS", 500)
    assert "no broker answers" in ask(kafka, tmp_path, TRIPLINE_KAFKA_BOOTSTRAP="127.0.0.1:1")["brokers"][0][1]


def test_what_is_missing_or_wrong_is_named(kafka: Kafka, log: Path, tmp_path: Path):
    absent = ask(kafka, tmp_path)
    assert absent["topics"][0][2] == "tripline topics create"
    create(kafka)
    assert "5 copies" in ask(kafka, tmp_path, TRIPLINE_KAFKA_REPLICATION="5")["brokers"][0][2]
    assert "partitions is 3, wanted is 4" in ask(kafka, tmp_path, TRIPLINE_KAFKA_PARTITIONS="4")["topics"][0][1]

    fresh = ask(kafka, tmp_path)
    assert fresh["clocks"] == [
        ("warning", "there is no tick yet: nothing that waits for time happens", "tripline worker")
    ]
    produce([log], kafka)
    put(kafka, ACTIONS, *((index, b"wrong", an_action(log)) for index in range(3)), (0, None, b"not json"))
    tick(kafka, now_ms() - 60_000)
    found = ask(kafka, tmp_path)
    status, said, advice = found["partitioners"][0]
    assert status == "problem"
    assert said.startswith("2 of the newest ")
    assert "belongs in" in said
    assert "murmur2" in advice
    assert found["records"][0][1] == "1 of the newest can't be read"
    assert "clock and the brokers' are" in found["clocks"][0][1]
    assert [one[1] for one in found["lag"]] == [
        f"{ACTIONS}: no worker has saved anything yet",
        f"{CRM}: no worker has saved anything yet",
        f"{PORTFOLIO}: 0 records behind what workers have saved",
    ]


@pytest.mark.parametrize(("ahead_ms", "said"), [(600_000, "ahead of this machine's"), (-600_000, "s old")])
def test_clocks_that_differ_are_said(kafka: Kafka, tmp_path: Path, ahead_ms: int, said: str):
    """A broker's clock is this machine's here, so the topic takes the producer's times for once."""
    create(kafka)
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient  # noqa: PLC0415

    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    topic = kafka.prefix + ACTIONS
    kept = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": "9000000000"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, kept)])
    admin.close()
    at = now_ms() + ahead_ms
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    end = time.monotonic() + 30
    while True:  # the broker takes the changed configuration over some time after it said so
        value = encode(tick_event("main", at))
        sent = producer.send(topic, value=value, partition=0, timestamp_ms=at).get(10)
        if sent.timestamp == at:
            break
        assert time.monotonic() < end
        at += 1
    producer.close()
    ((status, message, _),) = ask(kafka, tmp_path)["clocks"]
    assert status == "problem"
    assert said in message

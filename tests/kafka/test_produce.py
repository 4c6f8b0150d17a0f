"""Log files into the topics of a real broker: every event once, where its key belongs, nothing lost."""

from __future__ import annotations

import base64
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kafka import KafkaConsumer, TopicPartition

from console.cli import main
from events.codec import decode, decode_input, encode, time_ms
from governance.settings import Kafka
from simulator import mixed_org, simulate
from streams.kafka.admin import create
from streams.kafka.connect import KafkaProblem
from streams.kafka.partition import partition_of, record_key
from streams.kafka.produce import produce
from streams.routing import ACTIONS, CRM, topics_of
from tests.kafka.test_topics import environ

START_MS = 1_772_409_600_000
READ_SECS = 30.0


def read(kafka: Kafka, topic: str, count: int) -> list[Any]:
    """The first so many records of a topic, by partition and offset."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(kafka.prefix + topic, number) for number in range(kafka.partitions)])
    found: list[Any] = []
    end = time.monotonic() + READ_SECS
    while len(found) < count and time.monotonic() < end:
        for records in consumer.poll(timeout_ms=500).values():
            found += records
    consumer.close()
    assert len(found) == count
    return sorted(found, key=lambda record: (record.partition, record.offset))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "day.jsonl"
    with path.open("wb") as out:
        for number, event in enumerate(simulate(mixed_org(4), 3, START_MS, 1)):
            out.write(encode(event) + b"\n")
            if number == 40:
                out.write(b'{"specversion":"1.0","id":"x"}\n\nnot json\n')
    return path


def test_every_event_is_written_once_under_its_key_and_in_its_order(kafka: Kafka, log: Path):
    create(kafka)
    done = produce([log], kafka)
    expected: dict[str, dict[str, list[bytes]]] = {ACTIONS: defaultdict(list), CRM: defaultdict(list)}
    for line in log.read_bytes().splitlines():
        if not line.startswith(b'{"type"'):
            continue
        event = decode_input(line)
        for topic in topics_of(event):
            expected[topic][record_key(topic, event)].append(line)
    assert done.events > 300
    assert done.dead_letters == {"missing_field": 1, "not_json": 1}
    for topic, keys in expected.items():
        found: dict[str, list[bytes]] = defaultdict(list)
        for record in read(kafka, topic, sum(map(len, keys.values()))):
            assert record.partition == partition_of(record.key.decode(), kafka.partitions)
            found[record.key.decode()].append(record.value)
        assert found == keys
        assert done.records[topic] == sum(map(len, keys.values()))


def test_what_can_not_be_read_is_a_dead_letter_with_its_place_and_bytes(kafka: Kafka, log: Path):
    create(kafka)
    produce([log], kafka)
    letters = sorted((decode(record.value).data for record in read(kafka, "dead.letters", 2)), key=lambda d: d.reason)
    assert [letter.reason for letter in letters] == ["missing_field", "not_json"]
    assert [letter.origin for letter in letters] == [
        {"file": "day.jsonl", "line": 42},
        {"file": "day.jsonl", "line": 44},
    ]
    assert base64.b64decode(letters[1].raw) == b"not json"


def test_as_live_gives_the_time_of_sending_and_moves_the_times_inside(kafka: Kafka, log: Path, tmp_path: Path):
    create(kafka)
    lines = [line for line in log.read_bytes().splitlines() if b"crm.activity" in line][:20]
    few = tmp_path / "few.jsonl"
    few.write_bytes(b"\n".join(lines))
    before = int(time.time() * 1000)
    produce([few], kafka, as_live=True)
    after = int(time.time() * 1000)
    records = read(kafka, CRM, len(lines))
    old = {decode(line).id: decode(line) for line in lines}
    for record in records:
        event = decode(record.value)
        assert before <= time_ms(event) <= after
        assert event.data.deal_id == old[event.id].data.deal_id
        assert event.data.occurred_at != old[event.id].data.occurred_at


def test_the_rate_is_kept(kafka: Kafka, log: Path):
    create(kafka)
    done = produce([log], kafka, rate=1_000)
    assert done.secs >= (done.events - 200) / 1_000


def test_missing_topics_and_another_partition_count_are_refused_before_anything_is_written(kafka: Kafka, log: Path):
    with pytest.raises(KafkaProblem, match="is missing") as problem:
        produce([log], kafka)
    assert "topics create" in problem.value.advice


def test_keys_go_where_kafkas_java_clients_put_them():
    # Utils.toPositive(Utils.murmur2(key)) % 12, from Kafka's own test vectors: murmur2("21") = -973932308
    assert partition_of("21", 2**31) == -973932308 & 0x7FFFFFFF
    assert partition_of("foobar", 2**31) == -790332482 & 0x7FFFFFFF
    assert partition_of("a-little-bit-long-string", 2**31) == -985981536 & 0x7FFFFFFF


def test_the_command_says_what_it_wrote(kafka: Kafka, log: Path):
    run = CliRunner().invoke
    refused = run(main, ["produce", str(log)], env=environ(kafka))
    assert refused.exit_code == 1
    assert "topics create" in refused.output
    create(kafka)
    done = run(main, ["produce", str(log), "--json"], env=environ(kafka))
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["events"] > 300
    assert told["dead_letters"] == {"missing_field": 1, "not_json": 1}
    said = run(main, ["produce", str(log)], env=environ(kafka))
    assert "could not be read (not_json): 1" in said.stdout

"""Workers on a real broker: what they say and keep is exactly what the stages say to the same records."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from events.codec import decode
from events.types import ActionEvent
from governance.settings import Kafka
from streams.kafka.admin import check, create
from streams.kafka.connect import KafkaProblem
from streams.kafka.partition import partition_of, record_key
from streams.kafka.produce import produce
from streams.kafka.worker.run import run_worker
from streams.routing import ACTIONS, CRM
from tests.kafka.broker import Broker
from tests.kafka.conftest import settings_of
from tests.kafka.working import Cluster, Running, check_exact, settings_for, until

ALIEN = (
    b'{"type":"tripline.dead_letter.v1","specversion":"1.0","id":"1","source":"/x","time":"2026-01-01T00:00:00Z",'
    b'"data":{"reason":"r","message":"m","origin":{},"raw":"","at":"2026-01-01T00:00:00Z"}}'
)
"""Well-formed, but nothing that an input topic may hold."""
COMPRESSIONS, COPIES = ("gzip", "lz4", "snappy", "zstd"), 20


def an_action(log: Path) -> bytes:
    """The first action of the log."""
    return next(line for line in log.read_bytes().splitlines() if type(decode(line)) is ActionEvent)


def put(kafka: Kafka, topic: str, *records: tuple[int, bytes | None, bytes | None]) -> None:
    """Write records as somebody else's producer might: (partition, key, value)."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    for partition, key, value in records:
        producer.send(kafka.prefix + topic, partition=partition, key=key, value=value).get(10)
    producer.close()


def put_compressed(kafka: Kafka, action: bytes) -> None:
    """Write copies of an action, each under an id of its own, in batches compressed in each of the four ways."""

    async def run(how: str) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type=how, linger_ms=20)
        await producer.start()
        home = partition_of(record_key(ACTIONS, decode(action)), kafka.partitions)
        name, old = kafka.prefix + ACTIONS, decode(action).id.encode()
        values = [action.replace(old, b"%s-%d" % (how.encode(), number)) for number in range(COPIES)]
        await asyncio.gather(*[producer.send_and_wait(name, value, partition=home) for value in values])
        await producer.stop()

    for how in COMPRESSIONS:
        asyncio.run(run(how))


@pytest.fixture(scope="module")
def judged(broker: Broker, log: Path, tmp_path_factory: pytest.TempPathFactory) -> Kafka:
    """Topics with a log, poison and strays, which one worker has judged."""
    kafka = settings_of(broker.address)
    create(kafka)
    action = an_action(log)
    put(kafka, ACTIONS, (1, b"k", b"not json"), (1, b"k", None), (1, b"k", ALIEN), (1, b"k", action[:-5]))
    put(kafka, ACTIONS, *((index, b"wrong", action) for index in range(3)))
    put(kafka, CRM, (0, b"k", b"\xff\xfe"))
    put_compressed(kafka, action)
    produce([log], kafka)
    worker = Running(kafka, tmp_path_factory.mktemp("worker"), "one")
    Cluster(kafka).wait_until_judged()
    Cluster(kafka).wait_until_judged()  # and what that fed
    assert worker.stop() == 0
    return kafka


def test_what_a_worker_says_and_keeps_is_what_the_stages_say_to_the_same_records(judged: Kafka):
    assert check_exact(judged) == 0
    said, _ = Cluster(judged).said()
    assert sum(map(len, said["agent.findings"].values())) > 0
    assert sum(map(len, said["deal.risk"].values())) > 100
    assert sum(map(len, said["alerts"].values())) > 0


def test_poison_goes_to_dead_letters_with_its_place_and_bytes(judged: Kafka, log: Path):
    letters = [decode(record.value).data for record in Cluster(judged).read("dead.letters")]
    places = {(one.origin["topic"], one.origin["partition"], one.origin["offset"]): one for one in letters}
    assert sorted(places) == [(ACTIONS, 1, offset) for offset in range(4)] + [(CRM, 0, 0)]
    assert len(letters) == 5
    assert [places[ACTIONS, 1, offset].reason for offset in range(3)] == ["not_json", "empty", "type_not_allowed"]
    raws = [base64.b64decode(places[ACTIONS, 1, offset].raw) for offset in range(4)]
    assert raws == [b"not json", b"", ALIEN, an_action(log)[:-5]]
    assert places[CRM, 0, 0].reason == "not_utf8"


def test_what_others_compress_is_judged_as_well(judged: Kafka):
    values = [record.value or b"" for record in Cluster(judged).read(ACTIONS)]
    for how in COMPRESSIONS:
        copies = [value for value in values if b'"%s-' % how.encode() in value]
        assert len(copies) == COPIES, how
    assert check_exact(judged) == 0


def test_a_record_in_the_wrong_partition_is_produced_again_where_it_belongs(judged: Kafka, log: Path):
    action = an_action(log)
    home = partition_of(record_key(ACTIONS, decode(action)), judged.partitions)
    copies = [record for record in Cluster(judged).read(ACTIONS) if record.value == action]
    sent_home = [one for one in copies if any(name == "tripline-stray" for name, _ in one.headers)]
    assert [one.partition for one in sent_home] == [home, home]
    assert {one.key for one in sent_home} == {record_key(ACTIONS, decode(action)).encode()}
    assert len(copies) == 6


def test_a_topic_made_anew_and_a_corrupt_changelog_are_refused_with_what_to_do(judged: Kafka):
    """The last of the tests on these topics."""
    remake(judged, ACTIONS)
    with pytest.raises(KafkaProblem, match="it was made anew") as problem:
        run_worker(settings_for(judged))
    assert "delete this state topic" in problem.value.advice
    remake(judged, "agents-state")
    put(judged, "agents-state", (0, b"k12345678\0\0\0\1default/x", b"\xc1nonsense"))
    with pytest.raises(KafkaProblem, match="can't be read"):
        run_worker(settings_for(judged))


def test_missing_topics_are_refused_before_anything_is_read(kafka: Kafka):
    with pytest.raises(KafkaProblem, match="is missing") as problem:
        run_worker(settings_for(kafka))
    assert "topics create" in problem.value.advice


def remake(kafka: Kafka, topic: str) -> None:
    """Delete a topic and make it again."""
    admin: Any = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.delete_topics([kafka.prefix + topic])
    until(lambda: any(one.what == "topic" for one in check(kafka)), "the topic is gone")
    admin.close()
    create(kafka)

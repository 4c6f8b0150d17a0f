"""Workers on a real broker: what they say and keep is exactly what the stages say to the same records."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from events.codec import decode, encode
from governance.settings import Kafka
from simulator import mixed_org, simulate
from streams.kafka.admin import check, create
from streams.kafka.produce import produce
from streams.routing import ACTIONS, CRM, INPUT_TOPICS
from tests.kafka.working import Cluster, Running, check_exact, until

START_MS = 1_772_409_600_000
RATE = 2_500


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "day.jsonl"
    with path.open("wb") as out:
        for event in simulate(mixed_org(8), 12, START_MS, 1):
            out.write(encode(event) + b"\n")
    return path


@pytest.fixture(autouse=True)
def _no_worker_is_left() -> Iterator[None]:
    yield
    while Running.started:
        Running.started.pop().kill()


class Feed(threading.Thread):
    """Produces a log while workers run."""

    def __init__(self, log: Path, kafka: Kafka) -> None:
        super().__init__(daemon=True)
        self.log, self.kafka = log, kafka
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            self.done = produce([self.log], self.kafka, rate=RATE)
        except BaseException as problem:
            self.problem = problem

    def finish(self) -> None:
        self.join(120)
        assert self.problem is None


def has_judged_all(kafka: Kafka) -> Callable[[], bool]:
    """Everything that is in the topics now."""
    cluster = Cluster(kafka)
    ends = {(topic, index): end for topic in INPUT_TOPICS for index, end in enumerate(cluster.ends(topic))}
    return lambda: all(cluster.committed()[place] >= end for place, end in ends.items())


def put(kafka: Kafka, topic: str, *records: tuple[int, bytes | None, bytes | None]) -> None:
    """Write records as somebody else's producer might: (partition, key, value)."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    for partition, key, value in records:
        producer.send(kafka.prefix + topic, partition=partition, key=key, value=value).get(10)
    producer.close()


def test_what_a_worker_says_and_keeps_is_what_the_stages_say_to_the_same_records(
    kafka: Kafka, log: Path, tmp_path: Path
):
    """With poison and strays among them: the one in dead letters with its place and bytes, the others sent home."""
    create(kafka)
    action = next(line for line in log.read_bytes().splitlines() if type(decode(line)).__name__ == "ActionEvent")
    alien = b'{"type":"tripline.finding.v1"}'
    put(kafka, ACTIONS, (1, b"k", b"not json"), (1, b"k", None), (1, b"k", alien), (1, b"k", action[:-5]))
    put(kafka, ACTIONS, *((index, b"wrong", action) for index in range(3)))
    put(kafka, CRM, (0, b"k", b"\xff\xfe"))
    produce([log], kafka)
    worker = Running(kafka, tmp_path, "one")
    until(has_judged_all(kafka), "all is judged")
    until(has_judged_all(kafka), "and what that fed")
    assert worker.stop() == 0
    assert check_exact(kafka) == 0
    cluster = Cluster(kafka)
    said, _ = cluster.said()
    assert sum(map(len, said["agent.findings"].values())) > 0
    assert sum(map(len, said["deal.risk"].values())) > 100
    assert sum(map(len, said["alerts"].values())) > 0
    letters = [decode(record.value).data for record in cluster.read("dead.letters")]
    places = {(one.origin["topic"], one.origin["partition"], one.origin["offset"]): one for one in letters}
    assert sorted(places) == [(ACTIONS, 1, offset) for offset in range(4)] + [(CRM, 0, 0)]
    assert len(letters) == 5
    assert places[ACTIONS, 1, 0].reason == "not_json"
    assert base64.b64decode(places[ACTIONS, 1, 0].raw) == b"not json"
    assert base64.b64decode(places[ACTIONS, 1, 3].raw) == action[:-5]
    assert places[CRM, 0, 0].reason == "not_utf8"
    copies = [record for record in cluster.read(ACTIONS) if record.value == action]
    sent_home = [one.partition for one in copies if any(name == "tripline-stray" for name, _ in one.headers)]
    assert len(sent_home) == 2
    assert len(set(sent_home)) == 1


def test_a_worker_killed_again_and_again_loses_nothing_and_counts_nothing_twice(
    kafka: Kafka, log: Path, tmp_path: Path
):
    create(kafka)
    cluster, feed = Cluster(kafka), Feed(log, kafka)
    feed.start()
    for number in range(4):
        before = sum(cluster.committed().values())
        worker = Running(kafka, tmp_path, f"{number}", "--instance-id", "w1")
        until(lambda before=before: sum(cluster.committed().values()) > before, "it moves on")
        time.sleep(0.17 * number)
        worker.kill()
    worker = Running(kafka, tmp_path, "last", "--instance-id", "w1")
    feed.finish()
    until(has_judged_all(kafka), "all is judged")
    until(has_judged_all(kafka), "and what that fed")
    assert worker.stop() == 0
    resumed = [one["position"] for one in worker.told() if one["event"] == "lane_opened"]
    assert sum(resumed) >= before
    check_exact(kafka)


def test_partitions_go_to_a_second_worker_and_back_when_it_dies(kafka: Kafka, log: Path, tmp_path: Path):
    create(kafka)
    feed = Feed(log, kafka)
    first = Running(kafka, tmp_path, "first")
    until(lambda: len(first.lanes()) == 9, "the first has all lanes")
    feed.start()
    second = Running(kafka, tmp_path, "second")
    until(lambda: len(second.lanes()) >= 4 and len(first.lanes()) <= 5, "they share the lanes")
    assert first.lanes() | second.lanes() == {(topic, index) for topic in INPUT_TOPICS for index in range(3)}
    assert not first.lanes() & second.lanes()
    second.kill()
    began = time.monotonic()
    until(lambda: len(first.lanes()) == 9, "the first has all lanes again", 20)
    assert time.monotonic() - began < 20
    feed.finish()
    until(has_judged_all(kafka), "all is judged")
    until(has_judged_all(kafka), "and what that fed")
    assert first.stop() == 0
    check_exact(kafka)


def worker_said(kafka: Kafka, folder: Path, name: str) -> tuple[int, str]:
    """The exit code of a worker that ends by itself, and what it printed."""
    worker = Running(kafka, folder, name)
    code = worker.process.wait(40)
    return code, worker.path.read_text()


def test_a_topic_made_anew_and_a_corrupt_changelog_are_refused_with_what_to_do(kafka: Kafka, log: Path, tmp_path: Path):
    missing = worker_said(kafka, tmp_path, "missing")
    assert missing[0] == 1
    assert "is missing" in missing[1]
    assert "topics create" in missing[1]
    create(kafka)
    few = tmp_path / "few.jsonl"
    few.write_bytes(b"\n".join(log.read_bytes().splitlines()[:200]))
    produce([few], kafka)
    worker = Running(kafka, tmp_path, "one")
    until(has_judged_all(kafka), "all is judged")
    assert worker.stop() == 0
    remake(kafka, ACTIONS)
    code, said = worker_said(kafka, tmp_path, "anew")
    assert code == 1
    assert "made anew" in said
    assert "delete this state topic" in said
    remake(kafka, "agents-state")
    put(kafka, "agents-state", (0, b"k12345678\0\0\0\1default/x", b"\xc1nonsense"))
    code, said = worker_said(kafka, tmp_path, "corrupt")
    assert code == 1
    assert "can't be read" in said


def remake(kafka: Kafka, topic: str) -> None:
    """Delete a topic and make it again."""
    admin: Any = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.delete_topics([kafka.prefix + topic])
    until(lambda: any(one.what == "topic" for one in check(kafka)), "the topic is gone")
    admin.close()
    create(kafka)

"""Workers that die, hang and share: what they said and kept is still exactly what the stages say."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from governance.settings import Kafka
from streams.kafka.admin import create
from streams.kafka.produce import produce
from streams.routing import INPUT_TOPICS
from tests.kafka.working import Cluster, Running, check_exact, until

pytestmark = pytest.mark.faults
RATE = 2_500


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


def test_a_worker_killed_again_and_again_loses_nothing_and_counts_nothing_twice(
    kafka: Kafka, log: Path, tmp_path: Path
):
    create(kafka)
    cluster, feed = Cluster(kafka), Feed(log, kafka)
    feed.start()
    with cluster.committed() as ask:
        for number in range(3):
            before = sum(ask().values())
            worker = Running(kafka, tmp_path, f"{number}", "--instance-id", "w1")
            until(lambda before=before: sum(ask().values()) > before, "it moves on")
            time.sleep(0.23 * number)
            worker.kill()
    worker = Running(kafka, tmp_path, "last", "--instance-id", "w1")
    feed.finish()
    Cluster(kafka).wait_until_judged()
    assert worker.stop() == 0
    resumed = [one["position"] for one in worker.told() if one["event"] == "lane_opened"]
    assert sum(resumed) >= before
    check_exact(kafka)


def test_lanes_move_to_a_second_worker_and_back_when_it_hangs_and_it_may_write_late(
    kafka: Kafka, log: Path, tmp_path: Path
):
    create(kafka)
    feed = Feed(log, kafka)
    first = Running(kafka, tmp_path, "first")
    until(lambda: len(first.lanes()) == 9, "the first has all lanes")
    second = Running(kafka, tmp_path, "second")
    everything = {(topic, index) for topic in INPUT_TOPICS for index in range(3)}
    until(lambda: min(map(len, (first.lanes(), second.lanes()))) >= 4, "they share the lanes")
    until(lambda: first.lanes() ^ second.lanes() == everything, "each lane is with one of them")
    feed.start()
    time.sleep(1.3)
    second.process.send_signal(signal.SIGSTOP)
    until(lambda: len(first.lanes()) == 9, "the first has all lanes again")
    second.process.send_signal(signal.SIGCONT)
    feed.finish()
    Cluster(kafka).wait_until_judged()
    assert first.stop() == 0
    assert second.stop() == 0
    check_exact(kafka)

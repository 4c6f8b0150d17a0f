"""How long a worker's partitions stand still when it dies, and how large an agent's state is.

    .bench/bin/python -m bench.recovery --agents 10000 [--actions 20]

A worker judges some actions of each agent and saves their states; it is killed (SIGKILL). Another one of the same
group, which stood by, takes over: the group notices after the session's 8 s, the changelogs are read, the lanes open,
judging goes on. Said are the times from the kill to each of these, and, for comparison, from the start of a worker when
nobody held the partitions. The broker shares the machine.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from bench.engine import PARTITIONS, Process, Scrape, environ, loader, put, settings_of
from bench.replay import action
from governance.settings import Kafka
from streams.kafka.admin import create
from streams.kafka.partition import partition_of
from tests.kafka.broker import Broker

WAIT_SECS = 600.0
LANES = 3 * PARTITIONS


def fill(kafka: Kafka, agents: int, actions: int) -> int:
    """Live actions, a few of every agent; returns how many."""
    producer = loader(kafka)
    rng, topic, number = random.Random(1), f"{kafka.prefix}agent.actions", 0
    for _ in range(actions):
        for agent in range(agents):
            name = f"agent-{agent:06d}"
            value = action(number, time.time_ns() // 1_000_000, name, rng)
            key = f"default/{name}"
            put(producer, topic, key, value, partition_of(key, PARTITIONS))
            number += 1
    producer.flush()
    return number


class Worker:
    """A worker and what it said, with the time at which each line came."""

    def __init__(self, kafka: Kafka, core: str) -> None:
        self.began = time.monotonic()
        self.process = Process([sys.executable, "-m", "console", "worker"], core, environ(kafka))

    def url(self) -> str:
        return self.process.find(r'"url": "([^"]+)".*worker_web', 60)

    def opened(self) -> int:
        return sum("lane_opened" in line for line in list(self.process.lines))

    def recovered(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.process.lines) if '"recovered"' in line]


def wait(what: str, is_so: Any, secs: float = WAIT_SECS) -> float:
    """Until something is so; the monotonic time of that."""
    end = time.monotonic() + secs
    while not is_so():
        if time.monotonic() > end:
            raise RuntimeError(f"not in {secs:g} s: {what}")
        time.sleep(0.05)
    return time.monotonic()


def measure(kafka: Kafka, agents: int, actions: int) -> dict[str, float]:
    """Judge, save, kill; let another take over; then kill that one and start anew with nobody there."""
    wanted = fill(kafka, agents, actions)
    first = Worker(kafka, "0-1")
    url = first.url()
    wait("all is judged", lambda: Scrape(url).consumed >= wanted)
    saved_at = _saved(url, agents)
    second = Worker(kafka, "0-1")
    second_url = second.url()
    time.sleep(3.0)
    first.process.kill()
    killed = time.monotonic()
    wait("the other has all lanes", lambda: _lanes(second_url) == LANES)
    taken_over = time.monotonic() - killed
    second.process.kill()
    time.sleep(12.0)  # the session is over: nobody holds the partitions
    third = Worker(kafka, "0-1")
    third_url = third.url()
    opened = wait("all lanes are open", lambda: _lanes(third_url) == LANES) - third.began
    state = Scrape(third_url)
    reading = third.recovered()
    third.process.stop()
    return {
        "agents": agents,
        "kill_to_all_lanes_secs": taken_over,
        "start_to_all_lanes_secs": opened,
        "reading_changelogs_secs": sum(one["secs"] for one in reading),
        "records_read": sum(one["records"] for one in reading),
        "state_bytes_an_agent": saved_at,
        "rss_mb": state.rss_mb,
    }


def _lanes(url: str) -> int:
    return int(sum(Scrape(url).each(r'^tripline_lanes\{state="open",topic="[^"]+"\} (\S+)')))


def _saved(url: str, agents: int) -> float:
    """Until every agent's state is saved; its size in bytes."""
    keys = r'^tripline_snapshot_keys_total\{topic="agent.actions"\} (\S+)'
    wait("every state is saved", lambda: sum(Scrape(url).each(keys)) >= agents)
    time.sleep(12.0)  # what came after it as well
    found = Scrape(url)
    size = r'^tripline_snapshot_bytes_total\{topic="agent.actions"\} (\S+)'
    return sum(found.each(size)) / sum(found.each(keys))


def main() -> None:
    """Print one line of JSON for each size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[10_000])
    parser.add_argument("--actions", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-recovery-") as folder:
        broker = Broker(Path(folder))
        broker.start()
        try:
            for agents in asked.agents:
                kafka = settings_of(broker.address, f"r{uuid.uuid4().hex[:6]}.")
                create(kafka)
                found = measure(kafka, agents, asked.actions)
                print(json.dumps({name: round(value, 1) for name, value in found.items()}), flush=True)
        finally:
            broker.stop()


if __name__ == "__main__":
    main()

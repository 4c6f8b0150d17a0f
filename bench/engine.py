"""The engine on a real Kafka broker against its peers, all with the same decoding, detectors and states, in one run.

    make bench-engine                      # python -m bench.engine [--events N] [--only NAME …] [--out DIR]

Throughput: a topic of 8 partitions holds a log of 400 agents at 200 actions an hour each, full events of 730 bytes,
whose records carry the simulated times. Each contender reads it from its beginning, alone, on core 1; the broker has
core 0. Said are events a second, CPU µs an event (of the contender alone) and its memory. Those that write an agent's
whole state at each event get fewer events: they are slow.

Latency: live events at a steady rate, among them operations on 60 records, which a detector stops at once; from just
before such an event is produced until its finding is read from the output topic. The load, the broker and the reader
share the machine, and wait for each other; for Tripline the worker's own measure stands beside it (``own``: from the
time at which the log took the record to the acknowledgement of its finding).

The two-worker figure: both work at once, one on each core, the broker beside them; CPU µs an event of both together
against that of one alone says what two cores would give that had nothing else to do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from bench.peers.logic import TICK_KEY
from bench.replay import action
from events.codec import encode
from events.times import format_ms
from governance.settings import Kafka, parse_settings
from streams.kafka.admin import create
from streams.kafka.partition import partition_of
from streams.ticks import tick_event
from tests.kafka.broker import Broker

ROOT = Path(__file__).resolve().parent.parent
PARTITIONS, AGENTS, PER_HOUR, TICK_MS = 8, 400, 200, 10_000
CALM_AGENTS, SETTLE_SECS = 1_000, 6.0
"""The agents of the live load; for so long nothing is measured: every agent is new at first, which costs more."""
SLOW_SECS = 240.0
PEERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "aiokafka getmany, bytes only": ("raw_aiokafka", {"logic": False}, 1),
    "aiokafka getmany, lists through the engine": ("raw_aiokafka", {"logic": True}, 1),
    "bytewax, state in memory": ("bytewax_flow", {"table": False}, 2),
    "bytewax, state saved every 10 s": ("bytewax_flow", {"table": True}, 2),
    "quixstreams, state in memory": ("quix", {"table": False}, 4),
    "quixstreams, its state store": ("quix", {"table": True}, 40),
    "Faust, state in memory": ("plain_faust", {"table": False}, 10),
    "Faust, its table": ("plain_faust", {"table": True}, 40),
}
"""By name: the module, its options, and by how much fewer events it gets."""
_URL = r'"url": "([^"]+)".*worker_web'
TRIPLINE, TWO = "Tripline, one worker", "Tripline, two workers"


def settings_of(address: str, prefix: str) -> Kafka:
    """Kafka settings of one set of topics."""
    given = {"bootstrap": address, "prefix": prefix, "partitions": PARTITIONS, "replication": 1, "min_in_sync": 1}
    return parse_settings(None, {}, {f"kafka.{name}": value for name, value in given.items()}).kafka


def environ(kafka: Kafka) -> dict[str, str]:
    """The same as variables, for workers."""
    names = ("bootstrap", "prefix", "partitions", "replication", "min_in_sync")
    return {f"TRIPLINE_KAFKA_{name.upper()}": str(getattr(kafka, name)) for name in names} | {
        "TRIPLINE_WORKER_PORT": "0"
    }


def log(count: int) -> Iterator[tuple[str, int, bytes]]:
    """Agent, time and event, the last ones of now; an agent that is "" stands for a tick, due in every partition."""
    rng, per_ms = random.Random(1), PER_HOUR * AGENTS / 3_600_000
    at = time.time() * 1000 - count / per_ms
    tick = int(at) // TICK_MS
    for number in range(count):
        at += rng.expovariate(per_ms)
        if int(at) // TICK_MS > tick:
            tick = int(at) // TICK_MS
            yield "", tick * TICK_MS, encode(tick_event("main", tick * TICK_MS))
        agent = f"agent-{rng.randrange(AGENTS)}"
        yield agent, int(at), action(number, int(at), agent, rng)


def loader(kafka: Kafka) -> Producer:
    """A client that writes as fast as it can."""
    return Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 500_000})


def put(producer: Producer, topic: str, key: str, value: bytes, partition: int, **more: Any) -> None:
    """Write a record; waits while the client is full."""
    while True:
        try:
            producer.produce(topic, value, key.encode(), partition, **more)
            break
        except BufferError:
            producer.poll(0.05)
    producer.poll(0)


def fill(kafka: Kafka, count: int) -> None:
    """Make the topics and write the log; the records carry its times, not those at which the broker took them."""
    topic = f"{kafka.prefix}agent.actions"
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    kept = {"message.timestamp.type": "CreateTime", "max.message.bytes": "2097152"}
    admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1, topic_configs=kept)])
    admin.close()
    create(kafka)
    producer = loader(kafka)
    for agent, at_ms, value in log(count):
        name = f"default/{agent}"
        for partition in [partition_of(name, PARTITIONS)] if agent else range(PARTITIONS):
            key = name if agent else f"{TICK_KEY.decode()}{partition}"
            put(producer, topic, key, value, partition, timestamp=at_ms)
    producer.flush()


class Process:
    """A contender on one core; what it prints is read."""

    def __init__(self, command: list[str], core: str, env: dict[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            ["taskset", "-c", core, *command], cwd=ROOT, text=True, env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines += self._process.stdout

    def wait(self, secs: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(secs)

    def find(self, pattern: str, secs: float) -> str:
        """The first group of the first line that matches."""
        end = time.monotonic() + secs
        while time.monotonic() < end:
            for line in list(self.lines):
                if (found := re.search(pattern, line)) is not None:
                    return found[1]
            if self._process.poll() is not None:
                self._reader.join(5)
                if not any(re.search(pattern, line) for line in self.lines):
                    break
            time.sleep(0.05)
        raise RuntimeError(f"no {pattern!r} in:\n{''.join(self.lines[-30:])}")

    def kill(self) -> None:
        """As the kernel does when memory is out."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self.wait(40)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def peer(kafka: Kafka, name: str, events: int) -> dict[str, float]:
    """Run one peer over the log."""
    module, more, fewer = PEERS[name]
    process = Process([sys.executable, *_command(module, kafka, more, events // fewer)], "1")
    try:
        found: dict[str, float] = json.loads(process.find(r"RESULT (.*)", SLOW_SECS))
    finally:
        process.stop()
    return found


def _command(module: str, kafka: Kafka, more: dict[str, Any], events: int) -> list[str]:
    given = {
        "bootstrap": kafka.bootstrap, "topic": f"{kafka.prefix}agent.actions", "out": f"{kafka.prefix}alerts",
        "group": f"bench-{uuid.uuid4().hex[:8]}", "partitions": PARTITIONS, "events": events, **more,
    }  # fmt: skip
    extra = ["worker", "-l", "warn"] if module == "plain_faust" else []
    return ["-m", f"bench.peers.{module}", json.dumps(given), *extra]


class Scrape:
    """What a worker says of itself."""

    def __init__(self, url: str) -> None:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - our own worker
            text = answer.read().decode()
        self.at = time.perf_counter()
        self.consumed = self._value(text, r'^tripline_events_consumed_total\{topic="agent.actions"\} (\S+)')
        self.cpu = self._value(text, r"^process_cpu_seconds_total (\S+)")
        self.rss_mb = self._value(text, r"^process_resident_memory_bytes (\S+)") / 1024 / 1024

        self._text = text

    def each(self, pattern: str) -> list[float]:
        """The values of all samples that match."""
        return [float(value) for value in re.findall(pattern, self._text, re.MULTILINE)]

    def within_ms(self, before: Scrape, part: float) -> float:
        """The bound of the histogram below which so large a part of the findings since ``before`` was acknowledged."""
        pattern = r'^tripline_detection_seconds_bucket\{le="([^"]+)"\} (\S+)'
        now, then = (dict(re.findall(pattern, one._text, re.MULTILINE)) for one in (self, before))
        counts = {bound: float(count) - float(then.get(bound, 0)) for bound, count in now.items()}
        return next((float(bound) * 1000 for bound, n in counts.items() if n >= part * counts["+Inf"]), 0.0)

    @staticmethod
    def _value(text: str, pattern: str) -> float:
        found = re.search(pattern, text, re.MULTILINE)
        return float(found[1]) if found else 0.0


def tripline(kafka: Kafka, events: int, cores: list[str]) -> dict[str, float]:
    """Run workers over the log until all is judged; measured from the first to the last growth of their counts."""
    workers = [Process([sys.executable, "-m", "console", "worker"], core, environ(kafka)) for core in cores]
    try:
        urls = [worker.find(_URL, 60) for worker in workers]
        return _follow(urls, events)
    finally:
        for worker in workers:
            worker.stop()


def _follow(urls: list[str], events: int) -> dict[str, float]:
    first: list[Scrape] = []
    last: list[Scrape] = []
    before, end = 0.0, time.monotonic() + SLOW_SECS
    while time.monotonic() < end:
        now = [Scrape(url) for url in urls]
        total = sum(one.consumed for one in now)
        if total > before and all(one.consumed for one in now):
            first, last = first or now, now
            before = total
        if total >= events:
            break
        time.sleep(0.25)  # a scrape costs the worker some milliseconds
    done = sum(one.consumed for one in last) - sum(one.consumed for one in first)
    cpu = sum(one.cpu for one in last) - sum(one.cpu for one in first)
    return {
        "events": done,
        "per_sec": done / (last[0].at - first[0].at),
        "cpu_us": cpu / done * 1e6,
        "rss_mb": max(one.rss_mb for one in last),
    }


# --- latency --------------------------------------------------------------------------------------------------------


def live(number: int, agent: str, records: list[str]) -> bytes:
    """A full event of now."""
    rng = random.Random(number)
    now = time.time_ns() // 1_000_000
    event = json.loads(action(number, now, agent, rng))
    event["id"] = f"live-{uuid.uuid4().hex}"
    event["data"] |= {"record_ids": records, "records": len(records), "changes": {}, "deal_id": None}
    return json.dumps(event, separators=(",", ":")).encode()


def latency(kafka: Kafka, out: str, rate: int, secs: float) -> dict[str, float]:
    """Milliseconds from producing an operation on 60 records to its finding, among ``rate`` other events a second."""
    topic, sent, delays = f"{kafka.prefix}agent.actions", {}, []
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": f"bench-{uuid.uuid4().hex[:8]}", "fetch.wait.max.ms": 5}
    )
    places = [TopicPartition(out, index) for index in range(PARTITIONS)]
    for place in places:
        place.offset = _end_of(consumer, place)
    consumer.assign(places)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 1, "acks": "all"})
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                data = json.loads(message.value())["data"]
                if data.get("agent_id") in sent and data.get("action_taken") == "suspend":
                    delays.append((time.perf_counter() - sent.pop(data["agent_id"])) * 1000)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    names = [f"calm-{number}" for number in range(CALM_AGENTS)]
    ready = [live(number, name, [f"006-{name}"]) for number, name in enumerate(names)]
    began, number, rogue = time.perf_counter(), 0, 0
    while (passed := time.perf_counter() - began) < secs:
        while number < passed * rate:
            name = names[number % len(names)]
            value = ready[number % len(names)].replace(b'"live-', f'"n{number}-'.encode())
            producer.produce(topic, value, f"default/{name}".encode(), partition_of(f"default/{name}", PARTITIONS))
            number += 1
        if rogue < (passed - SETTLE_SECS if secs > 2 * SETTLE_SECS else passed) * 5:
            name = f"rogue-{uuid.uuid4().hex[:12]}"
            value = live(number, name, [f"006-{place}" for place in range(60)])
            sent[name] = time.perf_counter()
            producer.produce(topic, value, f"default/{name}".encode(), partition_of(f"default/{name}", PARTITIONS))
            rogue += 1
        producer.poll(0)
        time.sleep(0.002)  # leave the broker its core
    producer.flush()
    end = time.monotonic() + 30
    while sent and time.monotonic() < end:
        time.sleep(0.05)
    stop.set()
    reader.join()
    consumer.close()
    if not delays:
        raise RuntimeError("no finding came")
    ordered = sorted(delays)
    p50, p99 = (ordered[min(len(ordered) - 1, int(part * len(ordered)))] for part in (0.5, 0.99))
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "most_ms": ordered[-1],
        "count": len(ordered),
        "lost": len(sent),
    }


def _end_of(consumer: Consumer, place: TopicPartition) -> int:
    for _ in range(50):
        try:
            return int(consumer.get_watermark_offsets(place, timeout=10)[1])
        except KafkaException:  # a topic made a moment ago has no leader yet
            time.sleep(0.2)
    raise RuntimeError(f"{place.topic} has no leader")


def peer_latency(address: str, name: str, rate: int, secs: float) -> dict[str, float]:
    """The same for a peer, on topics of its own."""
    kafka = settings_of(address, f"b{uuid.uuid4().hex[:6]}.")
    create(kafka)
    module, more, _ = PEERS[name]
    process = Process([sys.executable, *_command(module, kafka, more, 1 << 60)], "1")
    try:
        _warm(kafka, f"{kafka.prefix}alerts")
        return latency(kafka, f"{kafka.prefix}alerts", rate, secs)
    finally:
        process.stop()


def tripline_latency(address: str, rate: int, secs: float) -> dict[str, float]:
    """The same for a worker."""
    kafka = settings_of(address, f"b{uuid.uuid4().hex[:6]}.")
    create(kafka)
    worker = Process([sys.executable, "-m", "console", "worker"], "1", environ(kafka))
    try:
        url = worker.find(_URL, 60)
        _warm(kafka, f"{kafka.prefix}agent.findings")
        before = Scrape(url)
        found = latency(kafka, f"{kafka.prefix}agent.findings", rate, secs)
        after = Scrape(url)
        own = {"own_p50_below_ms": after.within_ms(before, 0.5), "own_p99_below_ms": after.within_ms(before, 0.99)}
        return found | own
    finally:
        worker.stop()


def _warm(kafka: Kafka, out: str) -> None:
    """Until a first finding comes through."""
    for _ in range(20):
        try:
            latency(kafka, out, 50, 1.0)
        except RuntimeError:
            continue
        return
    raise RuntimeError("the contender never answered")


# --- the run --------------------------------------------------------------------------------------------------------


def yardstick() -> float:
    """µs to decode a record of ten fields: how fast the machine is at this moment."""
    import msgspec  # noqa: PLC0415

    raw = json.dumps({f"field{number}": "x" * 24 for number in range(10)}).encode()
    decoder, best = msgspec.json.Decoder(), 1e9
    for _ in range(20):
        began = time.process_time()
        for _ in range(5000):
            decoder.decode(raw)
        best = min(best, (time.process_time() - began) / 5000 * 1e6)
    return best


def show(name: str, measure: Callable[[], dict[str, float]], results: dict[str, Any]) -> None:
    """Measure, print, keep; a contender that fails is said, not left out."""
    before = yardstick()
    try:
        found = {**measure(), "yardstick_us": before}
    except Exception as problem:
        print(f"{name:48} FAILED: {problem}", flush=True)
        results[name] = {"failed": str(problem)[-500:]}
        return
    results[name] = found
    shown = "   ".join(f"{key} {value:,.2f}" if value < 100 else f"{key} {value:,.0f}" for key, value in found.items())
    print(f"{name:48} {shown}", flush=True)


def plot(results: dict[str, Any], path: Path) -> None:
    """CPU µs an event, the less the better, on a logarithmic scale."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    rows = [(name, found["cpu_us"]) for name, found in results.items() if "cpu_us" in found]
    rows.sort(key=lambda row: -row[1])
    figure, axes = plt.subplots(figsize=(9, 0.45 * len(rows) + 1.2))
    colours = ["#5b3fa0" if name.startswith("Tripline") else "#9aa0a6" for name, _ in rows]
    bars = axes.barh([name for name, _ in rows], [value for _, value in rows], color=colours)
    axes.bar_label(bars, labels=[f" {value:,.1f}" for _, value in rows])
    axes.set_xscale("log")
    axes.set_xlabel("CPU µs an action, decoded and judged by three detectors (log scale; less is better)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run all, or those named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=800_000)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--latency-secs", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=ROOT / ".bench-results")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    wants = lambda name: not asked.only or any(one in name for one in asked.only)  # noqa: E731
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder:
        broker = Broker(Path(folder))
        broker.start()
        try:
            assert broker.process is not None
            subprocess.run(["taskset", "-acp", "0", str(broker.process.pid)], check=True, stdout=subprocess.DEVNULL)
            run(broker.address, asked.events, asked.latency_secs, wants, results)
        finally:
            broker.stop()
    results["machine"] = {
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "at": format_ms(int(time.time() * 1000)),
    }
    (asked.out / "engine.json").write_text(json.dumps(results, indent=1))
    if sum("cpu_us" in found for found in results.values()) > 1:
        plot(results, asked.out / "engine.png")


def run(address: str, events: int, secs: float, wants: Callable[[str], bool], results: dict[str, Any]) -> None:
    """Throughput of all, then latency of all."""
    made: list[Kafka] = []

    def filled() -> Kafka:
        kafka = settings_of(address, f"b{uuid.uuid4().hex[:6]}.")
        fill(kafka, events)
        return kafka

    def common() -> Kafka:
        if not made:
            made.append(filled())
        return made[0]

    for name in PEERS:
        if wants(name):
            show(name, lambda name=name: peer(common(), name, events), results)  # type: ignore[misc]
    if wants(TRIPLINE):
        show(TRIPLINE, lambda: tripline(filled(), events, ["1"]), results)
    if wants(TWO):
        show(TWO, lambda: tripline(filled(), events, ["0", "1"]), results)
    for name in PEERS:
        label = f"latency at 500/s: {name}"
        if wants(label) and "bytes" not in name:
            show(label, lambda name=name: peer_latency(address, name, 500, secs), results)  # type: ignore[misc]
    for rate in (500, 8000):
        label = f"latency at {rate}/s: Tripline"
        if wants(label):
            show(label, lambda rate=rate: tripline_latency(address, rate, secs), results)  # type: ignore[misc]


if __name__ == "__main__":
    main()

"""A worker and consoles on a real broker and PostgreSQL: gate checks at a rate, the time from an action to the gate's
refusal, and from a deal's event to its published risk.

Everything runs on this machine: broker, database (commits reach the disk), a worker and the consoles, each a process.

    python -m bench.kafka_console gate --rate 200 --secs 20 [--consoles 2]
    python -m bench.kafka_console refuse --times 40
    python -m bench.kafka_console risk --rate 50 --secs 20
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from bench.gate_http import SETTINGS, Link, measure
from events.codec import encode
from events.times import format_ms
from events.types import (
    ActionEvent,
    AgentAction,
    ChangeEvent,
    CrmChange,
)
from governance.settings import Kafka
from streams.kafka.admin import create
from streams.kafka.partition import partition_of
from tests.kafka.broker import Broker
from tests.kafka.conftest import settings_of
from tests.kafka.working import environ
from tests.postgres import Postgres

ROOT = Path(__file__).resolve().parent.parent
ALLOW = '[gate]\nunknown_agents = "allow"\nunknown_authorizers = "allow"\n'
_TOO_MANY = 150


@contextmanager
def process(kafka: Kafka, database: str, folder: Path, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A Tripline process; what it says is in a file of the folder."""
    env = {**os.environ, **environ(kafka), "TRIPLINE_STORE_URL": database, "TRIPLINE_ENGINE_TICK_SECS": "10"}
    env |= {"TRIPLINE_ENGINE_SNAPSHOT_SECS": "10", "TRIPLINE_ENGINE_SNAPSHOT_EVENTS": "5000"}  # as they are by default
    with (folder / f"{args[0]}.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "console", *args, "--config", str(folder / "tripline.toml")],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, env=env,
        )  # fmt: skip
    try:
        yield started
    finally:
        started.terminate()
        started.wait(30)


def port_of(console: subprocess.Popen[str]) -> int:
    assert console.stdout is not None
    return int(json.loads(console.stdout.readline())["url"].rpartition(":")[2])


def ask(link: Link, path: str, body: bytes = b"") -> bytes:
    """One request on a connection; the body of its answer."""
    method = "POST" if body else "GET"
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    link.socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    while (answer := link.body()) is None:
        pass
    return answer


def wait_ready(port: int) -> None:
    """Until /readyz has nothing to complain about."""
    end = time.monotonic() + 60
    while json.loads(ask(Link(port), "/readyz"))["reasons"]:
        assert time.monotonic() < end, "the console is not ready"
        time.sleep(0.2)


def refusals(kafka: Kafka, port: int, times: int) -> list[float]:
    """Seconds from writing an action that is too large to the first refusal, each time of another agent."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all", linger_ms=0)
    link = Link(port)
    took = []
    for number in range(-3, times):
        agent = f"rogue-{number}"
        body = json.dumps({"agent_id": agent, "action": "record.update", "object": "Contact", "record_ids": ["r"]})
        assert b'"allow"' in ask(link, "/v1/gate/check", body.encode())
        data = AgentAction(
            agent_id=agent, action="record.update", object="Contact", outcome="ok",
            record_ids=[f"r-{each}" for each in range(_TOO_MANY)],
        )  # fmt: skip
        event = ActionEvent(specversion="1.0", id=f"bulk-{number}", source="/bench", time=now_text(), data=data)
        key = f"default/{agent}"
        began = time.perf_counter()
        producer.send(
            f"{kafka.prefix}agent.actions", key=key.encode(), value=encode(event),
            partition=partition_of(key, kafka.partitions),
        )  # fmt: skip
        while b'"suspended"' not in ask(link, "/v1/gate/check", body.encode()):
            assert time.perf_counter() - began < 30
        if number >= 0:  # the first ones warm up
            took.append(time.perf_counter() - began)
        time.sleep(0.1)
    producer.close()
    return took


def risks(kafka: Kafka, rate: float, secs: float) -> list[float]:
    """Seconds from writing a change of stage to the deal's new risk at a consumer; each is of another deal."""
    count = int(rate * secs)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all", linger_ms=0)
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap, fetch_max_wait_ms=10)
    consumer.assign([TopicPartition(f"{kafka.prefix}deal.risk", index) for index in range(kafka.partitions)])
    consumer.seek_to_beginning()
    sent: dict[str, float] = {}
    came: dict[str, float] = {}

    def look(secs: float) -> None:
        for records in consumer.poll(timeout_ms=round(secs * 1000)).values():
            now = time.perf_counter()
            for record in records:
                came.setdefault(record.key.decode(), now)

    def send(number: int, op: Literal["create", "update"], changes: Any) -> None:
        deal = f"d{number}"
        data = CrmChange(object="Opportunity", record_id=deal, deal_id=deal, op=op, changes=changes)
        event = ChangeEvent(specversion="1.0", id=f"{op}-{number}", source="/bench", time=now_text(), data=data)
        producer.send(
            f"{kafka.prefix}crm.events", key=f"default/{deal}".encode(), value=encode(event),
            partition=partition_of(f"default/{deal}", kafka.partitions),
        )  # fmt: skip

    for number in range(count):
        send(number, "create", {"name": [None, f"Deal {number}"], "stage": [None, "Proposal"]})
    end = time.monotonic() + 60
    while len(came) < count:
        look(0.1)
        assert time.monotonic() < end, "not all deals have a risk"
    came.clear()
    began = time.perf_counter()
    for number in range(count):
        while (left := began + number / rate - time.perf_counter()) > 0:
            look(min(left, 0.01))
        sent[f"default/d{number}"] = time.perf_counter()
        send(number, "update", {"stage": ["Proposal", "Negotiation"], "close_date": [None, "2020-01-01"]})
    end = time.monotonic() + 30
    while len(came) < count:
        look(0.1)
        assert time.monotonic() < end, f"{count - len(came)} risks have not come"
    producer.close()
    consumer.close()
    return [came[key] - at for key, at in sent.items()]


def now_text() -> str:
    return format_ms(time.time_ns() // 1_000_000)


def percentiles(took: list[float]) -> dict[str, float]:
    """In ms."""
    ordered, count = sorted(took), len(took)
    return {f"p{p}_ms": round(ordered[min(count - 1, count * p // 100)] * 1000, 1) for p in (50, 90, 99)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("gate", "refuse", "risk"))
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--secs", type=float, default=20)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--consoles", type=int, default=1)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # whatever was started is ended
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "tripline.toml").write_text(SETTINGS + ALLOW)
        broker = Broker(folder / "kafka")
        broker.start()
        stack.callback(broker.stop)
        server = Postgres(fsync=True)
        server.start()
        stack.callback(server.close)
        kafka, database = settings_of(broker.address), server.database()
        create(kafka)
        if asked.what != "gate":
            stack.enter_context(process(kafka, database, folder, "worker"))
        if asked.what == "risk":
            took = risks(kafka, asked.rate, asked.secs)
            print(json.dumps({"events": len(took), **percentiles(took)}))
            return
        consoles = [
            stack.enter_context(process(kafka, database, folder, "console", "--port", "0", "--json"))
            for _ in range(asked.consoles)
        ]
        ports = [port_of(console) for console in consoles]
        for port in ports:
            wait_ready(port)
        told: dict[str, Any]
        if asked.what == "gate":
            told = measure(ports[0], consoles[0].pid, asked.rate, asked.secs)
        else:
            took = refusals(kafka, ports[0], asked.times)
            told = {"trips": len(took), **percentiles(took)}
    print(json.dumps({"consoles": asked.consoles, **told}))


if __name__ == "__main__":
    main()

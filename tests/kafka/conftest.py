"""A real broker for the tests of this folder; without Java and Maven they are skipped, in CI they fail."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from events.codec import encode
from governance.settings import Kafka, parse_settings
from simulator import mixed_org, simulate
from streams.kafka.admin import create
from tests.components import MAY_SKIP
from tests.kafka.broker import Broker, NoBroker
from tests.kafka.deciding import Offices, settings_with
from tests.kafka.working import Running

START_MS = 1_772_409_600_000
B = TypeVar("B", bound=Broker)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    running = started(lambda: Broker(tmp_path_factory.mktemp("kafka")))
    yield running
    running.stop()


@pytest.fixture
def kafka(broker: Broker) -> Kafka:
    """Settings of a set of topics of the test's own."""
    return settings_of(broker.address)


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "day.jsonl"
    with path.open("wb") as out:
        for event in simulate(mixed_org(8), 12, START_MS, 1):
            out.write(encode(event) + b"\n")
    return path


@pytest.fixture
def offices(kafka: Kafka, database: str) -> Iterator[Offices]:
    """Consoles' runtimes on topics and a database of the test's own; open as many as you like."""
    create(kafka)
    made = Offices(settings_with(kafka, database))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _no_worker_is_left() -> Iterator[None]:
    yield
    while Running.started:
        worker = Running.started.pop()
        worker.kill()
        print(f"--- the end of {worker.path.name}\n{worker.tail()}")  # seen when the test failed


def started(make: Callable[[], B]) -> B:
    """A broker that takes connections. Where none can be run the test is skipped, in CI it fails."""
    try:
        broker = make()
        broker.start()
    except NoBroker as problem:
        if not MAY_SKIP:
            raise
        pytest.skip(str(problem))
    return broker


def settings_of(address: str, **more: object) -> Kafka:
    """Kafka settings for a broker alone."""
    given = {"bootstrap": address, "prefix": f"t{uuid.uuid4().hex[:10]}.", "partitions": 3, "replication": 1}
    overrides = {f"kafka.{name}": value for name, value in {**given, "min_in_sync": 1, **more}.items()}
    return parse_settings(None, {}, overrides).kafka

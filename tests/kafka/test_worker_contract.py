"""What the worker overrides of Faust is what it was when the overrides were written.

When this fails after an update: read the new source of the named method, adapt streams/kafka/worker/transport.py,
run tests/kafka, then put the new digest here.
"""

from __future__ import annotations

import hashlib
import inspect
from importlib.metadata import version
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from faust.app.base import App
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer as BaseConsumer
from faust.transport.consumer import Fetcher
from faust.transport.drivers import aiokafka as driver

from streams.kafka.worker import transport

FAUST, AIOKAFKA = "0.15.3", "0.14.0"
HOMES: dict[str, Any] = {
    "App": App,
    "BaseConsumer": BaseConsumer,
    "Fetcher": Fetcher,
    "Recovery": Recovery,
    "Thread": driver.AIOKafkaConsumerThread,
    "Listener": driver.ConsumerRebalanceListener,
}
OVERRIDDEN = {
    "_new_consumer_thread": ("self", "0870ec53dea75083"),
    "_drain_messages": ("self, fetcher", "44a2500309e83c63"),
    "perform_seek": ("self", "0e8c130ff4b0afd8"),
    "resume_partitions": ("self, tps", "afe6b7c02a41d63c"),
    "on_partitions_revoked": ("self, revoked", "d04b7ae72c6fc206"),
    "on_partitions_assigned": ("self, assigned, generation_id", "29ce96596f05a18c"),
    "wait_empty": ("self", "e4662fe24f094819"),
    "commit": ("self, topics, start_new_transaction", "a354437baaa08bf8"),
    "_filter_tps_with_pending_acks": ("self, topics", "f6f9239774234e7e"),
    "_new_offset": ("self, tp", "1d2c7ea89a7ad4f1"),
    "_commit": ("self, offsets", "a20eec84e4b2ed50"),
    "verify_event_path": ("self, now, tp", "a17e8f0610e1abcb"),
}
"""The methods that streams.kafka.worker.transport.Consumer replaces."""
RELIED_ON = {
    "BaseConsumer._wait_next_records": "6218e1969a636b3f",
    "BaseConsumer.seek": "b86a9fe05f956b30",
    "BaseConsumer.force_commit": "cc094614d22c70fb",
    "BaseConsumer._commit_tps": "a20e230b05ae8b15",
    "BaseConsumer._commit_offsets": "1a69799041188441",
    "BaseConsumer._should_commit": "5ce941793947ad42",
    "BaseConsumer._get_active_partitions": "b24897f3c7afdb5d",
    "BaseConsumer._set_active_tps": "401f4dc883191950",
    "BaseConsumer.on_stop": "45b1d2210ce2b526",
    "Fetcher._fetcher": "68f894f0b577d810",
    "Fetcher.on_stop": "21f3bae9b455762b",
    "Recovery._resume_streams": "d986a6710c1aca98",
    "App._on_partitions_revoked": "d5c895bbe57dc73a",
    "App._on_partitions_assigned": "de932b7927db85b3",
    "App._stop_consumer": "55854a5de12c3f52",
    "Thread._fetch_records": "39a2c6c79fc1455a",
    "Thread._create_worker_consumer": "c2701bfc3e6f6cad",
    "Listener.on_partitions_revoked": "348c3aec879faf80",
    "Listener.on_partitions_assigned": "1c1f8406ad3698a6",
}
"""What the overrides count on: who calls them, and what they call."""


def digest(function: Any) -> str:
    """Of the source; a service's task keeps its function in ``fun``."""
    return hashlib.sha256(inspect.getsource(getattr(function, "fun", function)).encode()).hexdigest()[:16]


def parameters(function: Any) -> str:
    return ", ".join(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_an_overridden_method_is_what_it_was(name: str):
    theirs = getattr(driver.Consumer, name)
    assert (parameters(theirs), digest(theirs)) == OVERRIDDEN[name]
    ours = vars(transport.Consumer)[name]
    assert parameters(ours) == parameters(theirs)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)


@pytest.mark.parametrize("name", RELIED_ON)
def test_what_the_overrides_count_on_is_what_it_was(name: str):
    home, _, function = name.partition(".")
    assert digest(getattr(HOMES[home], function)) == RELIED_ON[name]


def test_every_override_is_pinned():
    ours = {name for name, one in vars(transport.Consumer).items() if inspect.isfunction(one)}
    overrides = {name for name in ours if hasattr(driver.Consumer, name)}
    assert overrides - {"__init__"} == set(OVERRIDDEN)


def test_the_installed_versions_are_those_that_were_read():
    assert version("faust-streaming") == FAUST
    assert version("aiokafka") == AIOKAFKA


def test_the_wait_of_a_fetch_is_set_before_the_client_makes_its_fetcher():
    """aiokafka reads it when it starts; were it another attribute one day, busy partitions would wait for idle ones."""
    source = inspect.getsource(AIOKafkaConsumer.start)
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in source

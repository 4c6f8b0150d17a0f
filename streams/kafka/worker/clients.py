"""The asynchronous Kafka clients of a worker."""

from __future__ import annotations

import ssl
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.helpers import create_ssl_context

from governance.settings import Kafka
from streams.kafka.connect import access
from streams.kafka.spec import MAX_RECORD_BYTES

LINGER_MS = 5
BATCH_BYTES = 256 * 1024
_FETCH_BYTES = 4 * 1024 * 1024


def ssl_context(kafka: Kafka) -> ssl.SSLContext | None:
    """The context for TLS, None when the settings ask for none."""
    if not kafka.security.endswith("SSL"):
        return None
    made: ssl.SSLContext = create_ssl_context(
        cafile=kafka.ca_file or None, certfile=kafka.cert_file or None, keyfile=kafka.key_file or None
    )
    return made


def producer(kafka: Kafka, linger_ms: int = LINGER_MS) -> Any:
    """A producer that writes each record once, in order, to all in-sync copies; to be started in the loop.

    ``linger_ms``: how long it waits for more records for one request; 0 = not at all.
    """
    return AIOKafkaProducer(
        **_options(kafka),
        acks="all",
        enable_idempotence=True,
        linger_ms=linger_ms,
        max_batch_size=BATCH_BYTES,
        max_request_size=MAX_RECORD_BYTES,
    )


def reader(kafka: Kafka) -> Any:
    """A consumer without a group, for changelogs; to be started in the loop."""
    return AIOKafkaConsumer(
        **_options(kafka),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=_FETCH_BYTES,
        fetch_max_wait_ms=50,
    )


def member(kafka: Kafka, topic: str, group: str, session_secs: float) -> Any:
    """A consumer of a topic in a group, both with their prefix; commits by hand; to be started in the loop.

    ``session_secs``: one that dies is noticed after so long.
    """
    return AIOKafkaConsumer(
        topic,
        **_options(kafka),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=round(session_secs * 1000),
        heartbeat_interval_ms=round(session_secs * 250),
        max_partition_fetch_bytes=_FETCH_BYTES,
    )


def _options(kafka: Kafka) -> dict[str, Any]:
    return access(kafka) | {"client_id": "tripline-worker", "ssl_context": ssl_context(kafka)}

"""Which topics Tripline has on Kafka, and how each is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from events.times import DAY_MS
from governance.settings import Kafka
from streams.routing import ACTIONS, CRM, INPUT_TOPICS, PORTFOLIO

FINDINGS, CONTROL = "agent.findings", "agent.control"
RISK, ALERTS, DEAD_LETTERS = "deal.risk", "alerts", "dead.letters"
STATE_OF = {ACTIONS: "agents-state", CRM: "deals-state", PORTFOLIO: "portfolio-state"}
"""The changelog of each input topic's stage; its partitions are those of the input."""
MAX_RECORD_BYTES = 2 * 1024 * 1024
"""Room for the largest event, and for a snapshot."""
STATE_SEGMENT_BYTES = 64 * 1024 * 1024
"""Small segments are compacted soon: a recovery reads little more than one snapshot a key."""


class TopicSpec(Struct, frozen=True, kw_only=True):
    """One topic as it has to be. ``configs`` are Kafka's own names and values."""

    name: str
    partitions: int
    replication: int
    configs: dict[str, str]


def topic_specs(kafka: Kafka) -> list[TopicSpec]:
    """Every topic of these settings, inputs first, changelogs last."""
    return list(_specs(kafka))


def _specs(kafka: Kafka) -> Iterator[TopicSpec]:
    in_ms, out_ms = kafka.input_days * DAY_MS, kafka.output_days * DAY_MS
    for name in INPUT_TOPICS:
        # Knowledge time is when the log took a record, never what its producer says.
        yield _spec(kafka, name, "delete", {"retention.ms": str(in_ms), "message.timestamp.type": "LogAppendTime"})
    for name in (FINDINGS, ALERTS, DEAD_LETTERS):
        yield _spec(kafka, name, "delete", {"retention.ms": str(out_ms)})
    for name in (CONTROL, RISK):
        yield _spec(kafka, name, "compact", {})
    for name in STATE_OF.values():
        yield _spec(kafka, name, "compact", {"segment.bytes": str(STATE_SEGMENT_BYTES)})


def _spec(kafka: Kafka, name: str, cleanup: Literal["delete", "compact"], more: dict[str, str]) -> TopicSpec:
    configs = {
        "cleanup.policy": cleanup,
        "min.insync.replicas": str(kafka.min_in_sync),
        "unclean.leader.election.enable": "false",
        "max.message.bytes": str(MAX_RECORD_BYTES),
        **more,
    }
    return TopicSpec(
        name=kafka.prefix + name, partitions=kafka.partitions, replication=kafka.replication, configs=configs
    )

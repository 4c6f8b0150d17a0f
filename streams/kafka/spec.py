"""Which topics Tripline has on Kafka, and how each is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from events.times import DAY_MS
from events.types import MAIN_ENGINE
from governance.settings import Kafka
from streams.kafka.connect import KafkaProblem
from streams.routing import ACTIONS, CRM, INPUT_TOPICS, PORTFOLIO

FINDINGS, CONTROL = "agent.findings", "agent.control"
RISK, ALERTS, DEAD_LETTERS = "deal.risk", "alerts", "dead.letters"
STATE_OF = {ACTIONS: "agents-state", CRM: "deals-state", PORTFOLIO: "portfolio-state"}
"""The changelog of each input topic's stage; its partitions are those of the input."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_OWN = (PORTFOLIO, *STATE_OF.values())
MAX_RECORD_BYTES = 2 * 1024 * 1024
"""Room for the largest event, and for a snapshot."""
STATE_SEGMENT_BYTES = 64 * 1024 * 1024
"""Small segments are compacted soon: a recovery reads little more than one snapshot a key."""


OUTPUTS = (FINDINGS, RISK, ALERTS, DEAD_LETTERS)


class TopicSpec(Struct, frozen=True, kw_only=True):
    """One topic as it has to be. ``configs`` are Kafka's own names and values."""

    name: str
    partitions: int
    replication: int
    configs: dict[str, str]


def topic_specs(kafka: Kafka) -> list[TopicSpec]:
    """Every topic of these settings, inputs first, changelogs last."""
    return list(_specs(kafka))


# --- several engines -------------------------------------------------------------------------------------------------


def check_name(engine_id: str) -> None:
    """Raise KafkaProblem unless this may be an engine's name."""
    if not _NAME.fullmatch(engine_id):
        raise KafkaProblem(f"{engine_id!r} is no name of an engine", "take small letters, digits and dashes: green")


def own_topic(engine_id: str, topic: str) -> str:
    """Where an engine keeps what is its own: its states, and what its deals tell its portfolios. The other topics are
    shared by all engines."""
    return topic if engine_id == MAIN_ENGINE or topic not in _OWN else f"{engine_id}.{topic}"


def group_of(kafka: Kafka, engine_id: str) -> str:
    """The consumer group of an engine's workers."""
    return f"{kafka.prefix}tripline-{engine_id}"


def watching_topic(engine_id: str, topic: str) -> str:
    """Where an engine writes an output while another one is active: nobody acts on it."""
    return f"{engine_id}.{topic}"


def engine_specs(kafka: Kafka, engine_id: str) -> list[TopicSpec]:
    """The topics that an engine needs beside the shared ones: its own, and those it writes to while it only watches."""
    names = {own_topic(engine_id, topic): topic for topic in _OWN if engine_id != MAIN_ENGINE}
    names |= {watching_topic(engine_id, topic): topic for topic in OUTPUTS}
    shared = {spec.name: spec for spec in topic_specs(kafka)}
    return [replace(shared[kafka.prefix + base], name=kafka.prefix + name) for name, base in names.items()]


def spec_of(kafka: Kafka, topic: str) -> TopicSpec:
    """How a topic (without the prefix) has to be, an engine's own included."""
    for spec in topic_specs(kafka):
        base = spec.name.removeprefix(kafka.prefix)
        if topic == base or topic.endswith(f".{base}"):
            return replace(spec, name=kafka.prefix + topic)
    raise KeyError(topic)


# --- parts -----------------------------------------------------------------------------------------------------------


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

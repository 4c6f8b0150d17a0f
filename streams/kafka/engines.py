"""Several engines on the same inputs: one is active, another one is rebuilt beside it, compared, and switched to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from msgspec import Struct

from events.codec import BadEvent, decode, encode
from events.times import parse_ms
from events.types import MAIN_ENGINE, AlertEvent, EngineEvent, EngineVersion, FindingEvent, RiskEvent, tenant_of
from governance.settings import Kafka
from storage.engines import Engines
from storage.publication import Publication
from streams.envelopes import envelope, make_key
from streams.kafka import admin
from streams.kafka.connect import KafkaProblem, client_options
from streams.kafka.look import Lag, lags
from streams.kafka.spec import (
    ALERTS,
    FINDINGS,
    OUTPUTS,
    RISK,
    STATE_OF,
    check_name,
    engine_specs,
    group_of,
    own_topic,
    watching_topic,
)
from streams.routing import ACTIONS, CRM, PORTFOLIO
from streams.ticks import EVERYBODY

_SAME_RISK = 0.005
"""Scores that differ by less are the same to a reader."""
EXAMPLES = 5


class Compared(Struct, kw_only=True):
    """Outputs of one kind: how many both engines said, and what only one of them did (its first few, in words)."""

    both: int = 0
    only_active: int = 0
    only_other: int = 0
    examples: list[str] = msgspec.field(default_factory=list)


class Comparison(Struct, kw_only=True, frozen=True):
    """What two engines said to the same log, up to where both have judged (``until_ms``; Unix ms).

    ``findings`` and ``requests`` (those that ask for control) by agent, detector, time and what they ask; ``risks`` by
    deal, the last score of each, "both" being within half a percent point; ``alerts`` by key and time.
    """

    active: str
    other: str
    since_ms: int
    until_ms: int
    findings: Compared
    requests: Compared
    risks: Compared
    alerts: Compared


def make_topics(kafka: Kafka, engine_id: str) -> list[admin.Made]:
    """Make what an engine needs beside the shared topics, and where "main" writes when it is not active any more."""
    check_name(engine_id)
    specs = {spec.name: spec for each in (MAIN_ENGINE, engine_id) for spec in engine_specs(kafka, each)}
    return admin.create(kafka, specs=list(specs.values()))


def drop_topics(kafka: Kafka, engine_id: str) -> list[str]:
    """Delete an engine's own topics, its states with them; returns their names."""
    there = admin.existing(kafka)
    specs = [spec for spec in engine_specs(kafka, engine_id) if spec.name.removeprefix(kafka.prefix) in there]
    if specs:
        admin.delete(kafka, specs)
    return [spec.name for spec in specs]


def known(kafka: Kafka) -> list[str]:
    """The engines that have topics, "main" first."""
    ends = f".{STATE_OF[ACTIONS]}"
    return [MAIN_ENGINE, *sorted(name.removesuffix(ends) for name in admin.existing(kafka) if name.endswith(ends))]


def behind(kafka: Kafka, engine_id: str) -> list[Lag]:
    """How far an engine's workers are behind, by topic. Raises KafkaProblem when its topics are missing."""
    admin.topic_ids(kafka, [own_topic(engine_id, topic) for topic in (PORTFOLIO, *STATE_OF.values())])
    return lags(kafka, engine_id)


def switch_records(kafka: Kafka, engine_ids: list[str], made: Engines, now_ms: int) -> Iterator[Publication]:
    """What tells the lanes of all engines which one is active from there on: a record in each input partition."""
    id_ = f"engine-{made.version}"
    data = EngineVersion(engine=made.active, version=made.version, by=made.by, reason=made.reason)
    body = encode(envelope(EngineEvent, MAIN_ENGINE, id_, now_ms, EVERYBODY, data))
    topics = [ACTIONS, CRM, *dict.fromkeys(own_topic(each, PORTFOLIO) for each in engine_ids)]
    for topic in topics:
        for index in range(kafka.partitions):
            yield Publication(
                kind="decision", topic=topic, key=EVERYBODY, partition=index, event_id=id_, body=body, created_ms=now_ms
            )


# --- comparing -------------------------------------------------------------------------------------------------------


def compare(kafka: Kafka, active: str, other: str, since_ms: int) -> Comparison:
    """Compare what two engines said since a time, the second while it only watched. Raises KafkaProblem."""
    admin.topic_ids(kafka, [*OUTPUTS, *(watching_topic(other, topic) for topic in OUTPUTS)])
    consumer = KafkaConsumer(**client_options(kafka), enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        until_ms = min(_judged_to(kafka, each) for each in (active, other))
        said: dict[tuple[str, str], list[Any]] = {}
        for engine, name in ((active, lambda topic: topic), (other, lambda topic: watching_topic(other, topic))):
            for topic in (FINDINGS, RISK, ALERTS):
                said[engine, topic] = list(_read(consumer, kafka, name(topic), engine, since_ms, until_ms))
    finally:
        consumer.close()
    findings = [_counts(said[engine, FINDINGS], _finding_words) for engine in (active, other)]
    requests = [_counts(said[engine, FINDINGS], _request_words) for engine in (active, other)]
    alerts = [_counts(said[engine, ALERTS], _alert_words) for engine in (active, other)]
    risks = [{_deal_of(event): event for event in said[engine, RISK]} for engine in (active, other)]
    return Comparison(
        active=active,
        other=other,
        since_ms=since_ms,
        until_ms=until_ms,
        findings=_differ(*findings),
        requests=_differ(*requests),
        risks=_risks(*risks),
        alerts=_differ(*alerts),
    )


def _judged_to(kafka: Kafka, engine_id: str) -> int:
    """Everything that the log took before this time is judged and saved by this engine."""
    topics = [own_topic(engine_id, topic) for topic in (ACTIONS, CRM)]
    places = [TopicPartition(kafka.prefix + topic, index) for topic in topics for index in range(kafka.partitions)]
    consumer = KafkaConsumer(**client_options(kafka), group_id=group_of(kafka, engine_id), enable_auto_commit=False)
    try:
        ends = consumer.end_offsets(places)
        saved = {place: consumer.committed(place) or 0 for place in places}
        reached = []
        for place in places:
            if saved[place] < ends[place]:
                reached.append(_time_at(consumer, place, saved[place]))
        return min(reached, default=1 << 60)
    finally:
        consumer.close()


def _time_at(consumer: Any, place: TopicPartition, offset: int) -> int:
    consumer.assign([place])
    consumer.seek(place, max(offset, consumer.beginning_offsets([place])[place]))
    for _ in range(20):
        for records in consumer.poll(timeout_ms=500, max_records=1).values():
            return int(records[0].timestamp)
    raise KafkaProblem(f"{place.topic}, partition {place.partition}: offset {offset} can't be read", "try again")


def _read(consumer: Any, kafka: Kafka, topic: str, engine: str, since_ms: int, until_ms: int) -> Iterator[Any]:
    """What an engine said to a topic about a span of time, each output once."""
    places = [TopicPartition(kafka.prefix + topic, index) for index in range(kafka.partitions)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    seen: set[str] = set()
    while any(consumer.position(place) < ends[place] for place in places):
        for records in consumer.poll(timeout_ms=500).values():
            for record in records:
                event = _said(record.value, engine)
                if event is None or event.id in seen:
                    continue
                seen.add(event.id)
                if since_ms <= parse_ms(event.time) < until_ms:
                    yield event


def _said(value: bytes | None, engine: str) -> Any:
    try:
        event = decode(value or b"")
    except BadEvent:
        return None
    is_output = isinstance(event, FindingEvent | RiskEvent | AlertEvent)
    return event if is_output and event.source == f"/tripline/{engine}" else None


def _counts(events: list[Any], words: Callable[[Any], str | None]) -> Counter[str]:
    return Counter(said for event in events if (said := words(event)) is not None)


def _finding_words(event: Any) -> str | None:
    if not isinstance(event, FindingEvent):
        return None
    one = event.data
    return f"{one.at}: {one.detector} on {make_key(tenant_of(event), one.agent_id)}, {one.mode}, {one.action_taken}"


def _request_words(event: Any) -> str | None:
    if not isinstance(event, FindingEvent) or event.data.action_taken in ("none", "notify"):
        return None
    return _finding_words(event)


def _alert_words(event: Any) -> str | None:
    if not isinstance(event, AlertEvent):
        return None
    return f"{event.data.at}: {event.data.kind} to {event.data.manager_id} about {event.data.deal_id}"


def _deal_of(event: RiskEvent) -> str:
    return make_key(tenant_of(event), event.data.deal_id)


def _differ(active: Counter[str], other: Counter[str]) -> Compared:
    missing, more = active - other, other - active
    examples = [f"only the active engine: {said}" for said in sorted(missing)[:EXAMPLES]]
    examples += [f"only the other engine: {said}" for said in sorted(more)[:EXAMPLES]]
    return Compared(
        both=(active & other).total(), only_active=missing.total(), only_other=more.total(), examples=examples
    )


def _risks(active: Mapping[str, RiskEvent], other: Mapping[str, RiskEvent]) -> Compared:
    found = Compared(only_active=len(active.keys() - other.keys()), only_other=len(other.keys() - active.keys()))
    differing = []
    for deal in sorted(active.keys() & other.keys()):
        mine, theirs = active[deal].data, other[deal].data
        if max(abs(mine.p_lost - theirs.p_lost), abs(mine.p_slip - theirs.p_slip)) < _SAME_RISK:
            found.both += 1
        else:
            differing.append((deal, mine.p_lost, theirs.p_lost))
    found.only_active += len(differing)
    found.only_other += len(differing)
    found.examples = [
        f"{deal}: lost with {mine:.1%} says the active engine, {theirs:.1%} the other"
        for deal, mine, theirs in differing[:EXAMPLES]
    ]
    return found

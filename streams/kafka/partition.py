"""Which partition a record belongs to: murmur2 over the key's UTF-8 bytes, as Kafka's own Java clients do it."""

from __future__ import annotations

from functools import lru_cache

from kafka.partitioner.default import murmur2
from msgspec import UNSET

from events.types import (
    ActionEvent,
    ActivityEvent,
    AdmissionEvent,
    ChangeEvent,
    ControlEvent,
    Event,
    FeedbackEvent,
    MuteEvent,
    ReleaseEvent,
    RevertEvent,
)
from events.types import tenant_of as _tenant_of
from streams.envelopes import make_key
from streams.routing import ACTIONS

_OF_AGENTS = ActionEvent | AdmissionEvent | ControlEvent | ReleaseEvent | MuteEvent | FeedbackEvent | RevertEvent


def record_key(topic: str, event: Event) -> str:
    """The key of a producer's event in an input topic: "tenant/agent", or "tenant/deal" (the record when it has none).

    An event without an agent, deal or record goes by its source, so that its order is kept.
    """
    return make_key(_tenant_of(event), _name(topic, event) or event.source)


def _name(topic: str, event: Event) -> str | None:
    if topic == ACTIONS:
        if isinstance(event, _OF_AGENTS):
            return event.data.agent_id
        if isinstance(event, ChangeEvent) and event.data.actor is not UNSET:
            return event.data.actor.id
        return None
    if isinstance(event, ChangeEvent):
        return event.data.deal_id or f"{event.data.object}:{event.data.record_id}"
    if isinstance(event, ActivityEvent):
        return event.data.deal_id or None
    return getattr(event.data, "contact_id", None)  # type: ignore[attr-defined]


@lru_cache(maxsize=65_536)
def partition_of(key: str, partitions: int) -> int:
    """The partition of a key."""
    found: int = murmur2(key.encode("utf-8", "surrogatepass"))
    return (found & 0x7FFFFFFF) % partitions

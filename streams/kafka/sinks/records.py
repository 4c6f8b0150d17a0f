"""Records as the sinks take them, and what the pages hear of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from events.codec import BadEvent, BadReason, decode
from events.rows import event_of
from events.types import Event
from scoring.alerts import RankedEvent
from storage.link import Link
from storage.postgres import Told
from streams.envelopes import split_key
from streams.kafka.worker.decoding import Decoder
from streams.routing import INPUT_TOPICS
from streams.standalone.types import Changes

_ranked: msgspec.json.Decoder[RankedEvent] = msgspec.json.Decoder(RankedEvent)
_PER_OFFSET = 1_000
"""Partitions that fit beside an offset; the settings allow no more."""


class Taken(Struct, frozen=True, gc=False):
    """One record: where it lies (the topic without its prefix), when the log took it (ms), and its event or what is
    wrong with it."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    raw: bytes
    event: Event | BadEvent

    @property
    def place(self) -> int:
        """Offset and partition in one number, unique in the topic; its last three digits are the partition."""
        return self.offset * _PER_OFFSET + self.partition


def read(topic: str, records: Sequence[Any]) -> list[Taken]:
    """The records of one partition as a consumer gives them."""
    if topic in INPUT_TOPICS:
        events = Decoder(topic).read_records(records)
    else:
        events = [_decoded(record.value) for record in records]
    return [
        Taken(topic, record.partition, record.offset, record.timestamp, record.value or b"", event_of(event))
        for record, event in zip(records, events, strict=True)
    ]


def _decoded(value: bytes | None) -> Event | BadEvent:
    event: Event | BadEvent
    try:
        event = decode(value or b"")
    except BadEvent as problem:
        event = problem
        with suppress(msgspec.MsgspecError):  # managers' lists are no event that anybody may send
            event = _ranked.decode(value or b"")
    return event


def alien(one: Taken) -> BadEvent:
    """What is wrong with an event that has no place in its topic."""
    name = getattr(type(one.event), "__struct_config__").tag  # noqa: B009 - of every event's class
    return BadEvent(BadReason.TYPE_NOT_ALLOWED, f"type: {name} does not belong into {one.topic}", "type")


class News:
    """What a transaction changed, for the pages and the metrics."""

    def __init__(self) -> None:
        self.agents: set[str] = set()
        self.deals: set[str] = set()
        self.kinds: set[str] = set()
        self.counts: Counter[tuple[str, ...]] = Counter()

    def about_deals(self, keys: Iterable[str]) -> None:
        """These deals, by key, have something new."""
        self.deals.update(split_key(key)[1] for key in keys)
        if self.deals:
            self.kinds.add("deal")

    def told(self, origin: str) -> Told:
        """What other consoles' pages hear."""
        return Told(origin, list(self.agents), list(self.deals), sorted(self.kinds))

    def changes(self) -> Changes:
        """The same, as a runtime's subscribers hear it."""
        return Changes(
            agents=frozenset(self.agents),
            deals=frozenset(self.deals),
            kinds=frozenset(self.kinds),
            counts=dict(self.counts),
            wrong_records=[],
        )


class Model(Protocol):
    """The read models of one topic. What it has to know of earlier records, it asks the store."""

    topic: str

    def apply(self, link: Link, taken: Sequence[Taken], news: News) -> list[Taken]:
        """Write what these records say inside the caller's transaction.

        Returns those that have no place in the topic, for the dead letters.
        """

    def clean(self, link: Link) -> bool:
        """Drop some of the rows that are too old, inside the caller's transaction; True when there may be more."""


OnChanges = Callable[[Changes], None]
"""Hears, in the thread of a sink, what was committed."""

"""``tripline produce``: the events of log files into the input topics, keyed as every producer must key them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError
from msgspec import UNSET, Struct

from events.codec import BadEvent, decode_input, encode, time_ms
from events.times import format_ms, parse_ms
from governance.settings import Kafka
from streams.envelopes import line_letter, make_key
from streams.kafka.admin import check
from streams.kafka.connect import KafkaProblem, client_options, forbidden
from streams.kafka.partition import partition_of, record_key
from streams.kafka.spec import DEAD_LETTERS, MAX_RECORD_BYTES
from streams.replay.reader import blocks_of_lines, open_log
from streams.routing import ACTIONS, CRM, topics_of

LINGER_MS = 20
BATCH_BYTES = 256 * 1024
_TURN = 200
"""Records between two looks at what has failed, and reports of progress."""
_SHIFTED = ("occurred_at", "scheduled_for", "committed_at", "effective_at")
Progress = Callable[[int], None]


class Produced(Struct, frozen=True, kw_only=True):
    """What was written: events; records by topic (an agent's CRM change goes to two); dead letters by reason."""

    events: int
    records: dict[str, int]
    dead_letters: dict[str, int]
    secs: float


class Producer:
    """Writes records, each to the partition of its key; a record counts when all in-sync copies have it."""

    def __init__(self, kafka: Kafka) -> None:
        options = client_options(kafka) | {
            "acks": "all",
            "linger_ms": LINGER_MS,
            "batch_size": BATCH_BYTES,
            "max_request_size": MAX_RECORD_BYTES,
            "allow_auto_create_topics": False,
        }
        self._kafka = kafka
        self._producer = KafkaProducer(**options)
        self._sent: list[Any] = []
        self.records: Counter[str] = Counter()

    def send(self, topic: str, key: str, value: bytes) -> None:
        """Write a record; raises KafkaProblem when an earlier one could not be written."""
        name = self._kafka.prefix + topic
        partition = partition_of(key, self._kafka.partitions)
        raw_key = key.encode("utf-8", "surrogatepass")
        try:
            self._sent.append(self._producer.send(name, key=raw_key, value=value, partition=partition))
        except KafkaError as problem:
            raise _not_written(name, problem) from None
        self.records[topic] += 1
        if len(self._sent) >= _TURN:
            self._sent = [sent for sent in self._sent if not self._is_done(sent)]

    def flush(self) -> None:
        """Wait until all is written; raises KafkaProblem when something could not be."""
        try:
            self._producer.flush()
            for sent in self._sent:
                sent.get(timeout=0)
        except KafkaError as problem:
            raise _not_written("a record", problem) from None
        self._sent.clear()

    def close(self) -> None:
        """Give up what is not written, and the connections."""
        self._producer.close(timeout=5)

    def _is_done(self, sent: Any) -> bool:
        if not sent.is_done:
            return False
        if sent.failed():
            raise _not_written("a record", sent.exception)
        return True


def produce(
    paths: Sequence[Path],
    kafka: Kafka,
    *,
    rate: float | None = None,
    as_live: bool = False,
    progress: Progress | None = None,
) -> Produced:
    """Write the events of JSON Lines files to the input topics; lines that can't be read go to dead letters.

    Parameters: ``rate``, events a second at most; ``as_live`` sets each event's time to when it is sent, and moves the
    times in its data by as much. Raises KafkaProblem, OSError.
    """
    _check_topics(kafka)
    began = time.monotonic()
    producer = Producer(kafka)
    dead: Counter[str] = Counter()
    events = 0
    try:
        for file, line, raw in _lines(paths):
            try:
                event = decode_input(raw)
            except BadEvent as problem:
                dead[str(problem.reason)] += 1
                key, now_ms = make_key("default", file), int(time.time() * 1000)
                producer.send(DEAD_LETTERS, key, encode(line_letter("produce", now_ms, key, raw, problem, file, line)))
                continue
            if as_live:
                event = _at(event, int(time.time() * 1000))
            value = raw if not as_live else encode(event)
            for topic in topics_of(event):
                producer.send(topic, record_key(topic, event), value)
            events += 1
            _pause(began, events, rate)
            if events % _TURN == 0 and progress is not None:
                progress(events)
        producer.flush()
    finally:
        producer.close()
    return Produced(
        events=events, records=dict(producer.records), dead_letters=dict(dead), secs=time.monotonic() - began
    )


def _check_topics(kafka: Kafka) -> None:
    needed = {kafka.prefix + name for name in (ACTIONS, CRM, DEAD_LETTERS)}
    for one in check(kafka):
        if one.topic in needed and one.what in ("topic", "partitions"):
            raise KafkaProblem(f"{one.topic}: {one.what} is {one.found}, wanted is {one.wanted}", one.cure)


def _lines(paths: Iterable[Path]) -> Iterator[tuple[str, int, bytes]]:
    for path in paths:
        number = 0
        with open_log(path) as stream:
            for block in blocks_of_lines(stream):
                for line in block.removesuffix(b"\n").split(b"\n"):
                    number += 1
                    if line.strip():
                        yield path.name, number, line


def _at(event: Any, now_ms: int) -> Any:
    """The event as if it came now; times in its data move by as much as its own."""
    shift = now_ms - time_ms(event)
    moved: dict[str, str] = {}
    for name in _SHIFTED:
        text = getattr(event.data, name, None)
        if isinstance(text, str):
            moved[name] = format_ms(parse_ms(text) + shift)
    data = msgspec.structs.replace(event.data, **moved) if moved else event.data
    return msgspec.structs.replace(event, time=format_ms(now_ms), data=data, loggedat=UNSET)


def _pause(began: float, events: int, rate: float | None) -> None:
    """Wait until so many events are due."""
    if rate is not None:
        ahead = began + events / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)


def _not_written(name: str, problem: BaseException) -> KafkaProblem:
    if (told := forbidden(problem)) is not None:
        return told
    advice = "what was read before it may be written already; sending the files again is safe (known ids are dropped)"
    return KafkaProblem(f"{name} could not be written: {problem}", advice)

"""Reading a dump of input partitions: every record with its topic, partition, offset and knowledge time.

Such a dump can be replayed exactly: ticks, policy versions, scores and control decisions are records in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct

from events.codec import BadEvent, decode
from events.structured import INPUT_CLASSES
from events.times import format_ms, parse_ms
from events.types import ChangeEvent, Event
from streams.engine import Topology
from streams.records import Entry
from streams.replay.drive import Sink
from streams.replay.reader import BadLine, blocks_of_lines, open_log
from streams.replay.span import Span
from streams.routing import ACTIONS, CRM, INPUT_TOPICS

MANIFEST = "manifest.json"
_BATCH = 5_000
_Raw = dict[str, msgspec.Raw]
_decode_fields = msgspec.json.Decoder(_Raw).decode
_encode = msgspec.json.Encoder().encode


class Manifest(Struct, frozen=True):
    """What a dump was taken from: the engine's id, each topic's id, and how many partitions each has."""

    engine_id: str
    topic_ids: dict[str, str]
    format: int = 1
    partitions: int = 1


class NotADump(ValueError):
    """A record of a dump does not say where in the log it stood, or stands out of order."""


def dump_line(raw: bytes, topic: str, partition: int, offset: int, at_ms: int) -> bytes:
    """A record of a log as it came, in one line, with its place in the log and when the log took it."""
    fields = _decode_fields(raw)
    fields["loggedat"] = msgspec.Raw(_encode(format_ms(at_ms)))
    fields["logtopic"] = msgspec.Raw(_encode(topic))
    fields["logpartition"] = msgspec.Raw(_encode(partition))
    fields["logoffset"] = msgspec.Raw(_encode(offset))
    line = _encode(fields)
    return (line if b"\n" not in line else _encode(msgspec.json.decode(line))) + b"\n"


def manifest_of(paths: Iterable[Path]) -> Manifest | None:
    """The manifest that lies beside the files of a dump, if there is one."""
    for path in paths:
        place = path.parent / MANIFEST
        if place.is_file():
            return msgspec.json.decode(place.read_bytes(), type=Manifest)
    return None


def is_dump(path: Path) -> bool:
    """Whether a log's first record says at which offset of the log it stood."""
    with open_log(path) as stream:
        first = stream.readline(1 << 20)
    try:
        return decode(first).logoffset is not UNSET
    except BadEvent:
        return b'"logoffset"' in first


def replay_dump(
    paths: Iterable[Path],
    topologies: Sequence[Topology],
    sink: Sink,
    bad: list[BadLine],
    span: Span,
    see: Callable[[Iterable[tuple[int, Event]]], None] | None = None,
) -> None:
    """Give each partition's records to its stage at their own offsets and times; ``span`` counts producers' events.

    ``topologies``: the stages of each partition, by its number. ``see`` is given the records of agents, with their
    times, before they are judged.
    """
    stages = [topology.stages() for topology in topologies]
    reached: dict[tuple[str, int], int] = {}
    for path in paths:
        for (topic, index), entries in _batches(path, bad):
            if topic not in INPUT_TOPICS:
                raise NotADump(f"{path.name}: topic {topic!r} is no input topic ({', '.join(INPUT_TOPICS)})")
            if index >= len(stages):
                raise NotADump(f"{path.name}: partition {index} of {topic}, but {MANIFEST} says {len(stages)}")
            last = reached.get((topic, index), -1)
            for entry in entries:
                if entry[0] <= last:
                    raise NotADump(f"{path.name}: offset {entry[0]} of {topic} stands after {last}")
                last = entry[0]
            reached[topic, index] = last
            if see is not None and topic == ACTIONS:
                see((at_ms, event) for _, at_ms, event in entries)
            sink(stages[index][topic].process(entries))
            told = [at_ms for _, at_ms, event in entries if _is_told(topic, event)]
            if told:
                span.take(told[0], told[-1], len(told))


def records_of(path: Path) -> Iterator[tuple[int, Event]]:
    """When the log took each record of a dump that can be read, and the record. Raises NotADump."""
    for _, entries in _batches(path, []):
        for _, at_ms, event in entries:
            yield at_ms, event


def _is_told(topic: str, event: Event) -> bool:
    """Whether a record is a producer's event; a change by an agent lies in two topics and counts once."""
    return isinstance(event, INPUT_CLASSES) and (topic == CRM or not isinstance(event, ChangeEvent))


def _batches(path: Path, bad: list[BadLine]) -> Iterator[tuple[tuple[str, int], list[Entry]]]:
    at, held = ("", 0), list[Entry]()
    for place, event in _events(path, bad):
        if event.logoffset is UNSET or event.loggedat is UNSET or event.logtopic is UNSET:
            raise NotADump(f"{path.name}, line {place}: logtopic, logoffset and loggedat belong on every record")
        place_in_log = (event.logtopic, 0 if event.logpartition is UNSET else event.logpartition)
        if place_in_log != at or len(held) >= _BATCH:
            if held:
                yield at, held
            at, held = place_in_log, []
        held.append((event.logoffset, parse_ms(event.loggedat), event))  # type: ignore[arg-type]
    if held:
        yield at, held


def _events(path: Path, bad: list[BadLine]) -> Iterator[tuple[int, Event]]:
    place = 0
    with open_log(path) as stream:
        for block in blocks_of_lines(stream):
            for raw in block.removesuffix(b"\n").split(b"\n"):
                place += 1
                if not raw or raw.isspace():
                    continue
                try:
                    event = decode(raw)
                except BadEvent as problem:
                    bad.append(BadLine(path.name, place, raw, problem, 0))
                    continue
                yield place, event

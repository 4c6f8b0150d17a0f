"""Writes the input partitions on Kafka as files that ``tripline replay`` reads: what was live can be judged again.

What is written is what a lane judges, found by a lane's own rules: what can be read, is at home in its partition, and
was not fed a second time by a restarted worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from kafka import KafkaConsumer, TopicPartition
from msgspec import Struct

from governance.settings import Kafka
from streams.kafka.admin import input_ids
from streams.kafka.connect import client_options
from streams.kafka.spec import own_topic
from streams.kafka.worker.decoding import structured
from streams.kafka.worker.lane import Lane
from streams.records import Entry, Output, Partition, Snapshot
from streams.replay.dump import MANIFEST, Manifest, dump_line
from streams.routing import INPUT_TOPICS

_LEFT_OUT = {"dead_letter": "unreadable", "stray": "in the wrong partition", "fed_again": "fed twice"}


class Dumped(Struct, frozen=True):
    """What was written: records by topic, and files that have any; what was left out, by reason.

    ``shortened``: partitions whose beginning retention has dropped, so that states before it are not known.
    """

    records: dict[str, int]
    files: list[Path]
    left_out: dict[str, int]
    shortened: list[str]


def dump(
    kafka: Kafka,
    folder: Path,
    engine_id: str = "main",
    progress: Callable[[int], None] = lambda _count: None,
    topics: Sequence[str] = INPUT_TOPICS,
) -> Dumped:
    """Write a file for each input partition of ``topics``, up to its end as of now, and the manifest; see ``Dumped``.

    Raises KafkaProblem when a topic is not as it must be, OSError when a file can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids = input_ids(kafka, engine_id)
    records: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    shortened: list[str] = []
    files: list[Path] = []
    consumer = KafkaConsumer(**client_options(kafka), enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        for topic in topics:
            name = kafka.prefix + own_topic(engine_id, topic)
            for index in range(kafka.partitions):
                place = Partition(engine_id, topic, ids[topic], index)
                lane = Lane(_Recorder(), place, kafka.partitions)
                batches = _batches(consumer, TopicPartition(name, index), shortened)
                path = folder / f"{topic}-{index:04d}.jsonl"
                with path.open("wb") as out:
                    for lines in _lines(lane, batches):
                        out.writelines(lines)
                        records[topic] += len(lines)
                        progress(records.total())
                for (what, *_), number in lane.counts.items():
                    if what in _LEFT_OUT:
                        left_out[_LEFT_OUT[what]] += number
                if path.stat().st_size:
                    files.append(path)
    finally:
        consumer.close()
    manifest = Manifest(engine_id=engine_id, topic_ids=ids, partitions=kafka.partitions)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    return Dumped(dict(records), files, dict(left_out), shortened)


def _batches(consumer: Any, place: TopicPartition, shortened: list[str]) -> Iterator[list[Any]]:
    """A partition's records, up to its end as of now."""
    consumer.assign([place])
    begin, end = consumer.beginning_offsets([place])[place], consumer.end_offsets([place])[place]
    if begin:
        shortened.append(f"{place.topic}, partition {place.partition}: begins at offset {begin}")
    consumer.seek(place, begin)
    while consumer.position(place) < end:
        for records in consumer.poll(timeout_ms=500).values():
            yield [record for record in records if record.offset < end]


def _lines(lane: Lane, batches: Iterable[list[Any]]) -> Iterator[list[bytes]]:
    stage = lane.stage
    assert isinstance(stage, _Recorder)  # noqa: S101 - narrows a type; ``dump`` made it
    for records in batches:
        lane.take(records)
        judged, stage.offsets = stage.offsets, set()
        topic, index = lane.partition.topic, lane.partition.index
        yield [
            dump_line(structured(record) or b"", topic, index, record.offset, record.timestamp)
            for record in records
            if record.offset in judged
        ]


class _Recorder:
    """Takes the place of a stage: remembers what it is given to judge, and says nothing."""

    name: ClassVar[str] = "recorder"
    topic: ClassVar[str] = ""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.next_offset = 0
        self.offsets: set[int] = set()

    def process(self, entries: Sequence[Entry]) -> list[Output]:
        """Remember the offsets."""
        self.offsets.update(offset for offset, _, _ in entries)
        return []

    def snapshot(self) -> list[Snapshot]:
        """Nothing to save."""
        return []

    def snapshots(self) -> Iterator[Snapshot]:
        """Nothing to save."""
        return iter(())

    def restore(self, snapshots: Iterable[Snapshot], *, lazily: bool = False) -> int:
        """Nothing to take back."""
        return 0

    def wake(self, most: int) -> int:
        """Nothing rests."""
        return 0

    def is_common(self, event: Any) -> bool:
        """Nothing is common."""
        return False

    def count_keys(self) -> int:
        """No keys."""
        return 0

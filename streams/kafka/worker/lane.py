"""One input partition: its records to its stage, and what comes of them as records to send. No I/O, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from time import perf_counter
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from events.codec import BadEvent, encode
from events.rows import ROW
from events.types import (
    MAIN_ENGINE,
    EngineEvent,
    FailingEvent,
    MarkerEvent,
    ModelEvent,
    PeersEvent,
    PeersReportEvent,
    PolicyEvent,
    ProfileEvent,
    ReleaseEvent,
    ScoreEvent,
    TickEvent,
    tenant_of,
)
from streams.envelopes import dead_letter, make_key
from streams.kafka.connect import KafkaProblem
from streams.kafka.partition import partition_of, record_key
from streams.kafka.spec import ALERTS, DEAD_LETTERS, FINDINGS, RISK, own_topic, watching_topic
from streams.kafka.worker.changelog import Barrier, Recovered
from streams.kafka.worker.decoding import Decoder, Record, kept
from streams.keyed import META_KEY
from streams.records import READ_BACK, Entry, Output, Partition, Snapshot, Stage
from streams.routing import ACTIONS, PORTFOLIO

FED_HEADER = "tripline-fed"
"""On records that a stage feeds to an input topic: their source partition and running number there."""
STRAY_HEADER = "tripline-stray"
"""On records that were produced again: where they came from."""
ENGINE_HEADER = "tripline-engine"
"""On a release that is handed on: the engine that has judged what lies before it."""
_EVERYWHERE: frozenset[Any] = frozenset(
    (
        TickEvent,
        PolicyEvent,
        ModelEvent,
        EngineEvent,
        ProfileEvent,
        FailingEvent,
        MarkerEvent,
        PeersReportEvent,
        PeersEvent,
    )
)
"""Records for whole partitions: copied into each, at home in all."""
_TOPIC_OF = {"finding": FINDINGS, "risk": RISK, "alert": ALERTS, "top": ALERTS}
Headers = list[tuple[str, bytes]]


class Outgoing(Struct, frozen=True, gc=False):
    """A record to send; topic without the prefix. ``at_ms``: when the log took what it is about, 0 = nobody waits."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: Headers = []
    at_ms: int = 0


class Saved(Struct, frozen=True, kw_only=True):
    """What a barrier is made of."""

    snapshots: list[Snapshot]
    barrier: Barrier


class _Sweep:
    """A barrier that is being saved: what is encoded, and what is still to be. ``reach``: where the last was, or -1."""

    __slots__ = ("barrier", "left", "reach", "taken")

    def __init__(self, left: Iterator[Snapshot], barrier: Barrier) -> None:
        self.left, self.barrier, self.reach = left, barrier, -1
        self.taken: list[Snapshot] = []

    def finish(self, position: int) -> None:
        """Encode what is left now, while records below ``position`` are judged and none beyond."""
        if self.reach < 0:
            self.left, self.reach = iter(list(self.left)), position


class Lane:
    """Judges one input partition. ``position`` is the next offset to judge; ``partitions`` those of every topic.

    Of several engines one is active, by the log: an ``EngineEvent`` in each input partition says which from there on;
    before the first it is "main". A lane of another engine only watches: what it says goes to topics of its own, and
    it feeds, moves and echoes nothing in the shared ones.
    """

    def __init__(self, stage: Stage, partition: Partition, partitions: int) -> None:
        self.stage = stage
        self.partition = partition
        self.partitions = partitions
        self.position = 0
        self.since_saved = 0
        self.last_at_ms = 0
        self._sweep: _Sweep | None = None
        self._reach = 0
        self.counts: Counter[tuple[str, ...]] = Counter()
        self._decoder = Decoder(partition.topic)
        self._at_home: set[str] = set()
        self._sent = 0
        self._fed: dict[str, int] = {}
        self._name = f"{partition.topic}/{partition.index}"
        self._source = self._name if partition.engine_id == MAIN_ENGINE else f"{partition.engine_id}:{self._name}"
        self._active, self._switches = MAIN_ENGINE, 0
        self._is_heard = self.is_active

    # --- records ------------------------------------------------------------------------------------------------

    def take(self, records: Sequence[Record]) -> list[Outgoing]:
        """Judge records in log order; those below ``position`` were judged before. Returns what is to be sent.

        Raises KafkaProblem naming the record when the stage itself fails on it.
        """
        if records and records[0].offset < self.position:
            records = [record for record in records if record.offset >= self.position]
        if not records:
            return []
        out: list[Outgoing] = []
        self._is_heard = self.is_active  # of outputs; ``is_active`` changes while the records are read
        entries, cuts = self._entries(records, out)
        if self._sweep is not None and any(self.stage.is_common(event) for _, _, event in entries):
            self._sweep.finish(self.position)
        self.position = records[-1].offset + 1
        self.since_saved += len(records)
        self.last_at_ms = records[-1].timestamp
        self.counts["records",] += len(records)
        judged = 0
        for end, is_active in cuts:
            self._tell(entries[judged:end], out)
            if is_active is not None:
                self._is_heard = is_active
            elif self._is_heard:
                out.append(self._echo(entries[end - 1]))
            judged = end
        self._tell(entries[judged:] if judged else entries, out)
        return out

    def _tell(self, entries: list[Entry], out: list[Outgoing]) -> None:
        for output in self._judge(entries):
            out.extend(self._outgoing(output))

    def _judge(self, entries: list[Entry]) -> list[Output]:
        stage = self.stage
        try:
            outputs = stage.process(entries)
        except Exception as problem:
            place = f"{self.partition.topic}, partition {self.partition.index}, offset {stage.next_offset - 1}"
            raise KafkaProblem(
                f"{place}: the stage {stage.name} can't judge this record: {problem!r}",
                "this is a defect: please report it with the record; an older version may be able to judge it",
            ) from problem
        if stage.faults:
            for detector, number in stage.faults.items():
                self.counts["fault", detector] += number
            stage.faults.clear()
        return outputs

    @property
    def is_active(self) -> bool:
        """Whether this engine is the one whose findings count, as of ``position``."""
        return self._active == self.partition.engine_id

    @property
    def keys(self) -> int:
        """How many agents, deals or managers have a state."""
        return self.stage.count_keys()

    def _entries(
        self, records: Sequence[Record], out: list[Outgoing]
    ) -> tuple[list[Entry], list[tuple[int, bool | None]]]:
        """What is to be judged, and behind how many of these something else is to be done: None, a release has to be
        echoed; else whether this engine is active from there on."""
        events = self._decoder.read_records(records)
        at_home = self._at_home
        entries: list[Entry] = []
        cuts: list[tuple[int, bool | None]] = []
        for record, event in zip(records, events, strict=True):
            if type(event) is ROW and event.agent_id in at_home and not record.headers:
                entries.append((record.offset, record.timestamp, event))
            elif isinstance(event, BadEvent):
                out.append(self._dead_letter(record, event))
            elif self._is_taken(record):
                self.counts["fed_again",] += 1
            elif self._belongs(record, event, out):
                entries.append((record.offset, record.timestamp, event))
                if type(event) is ReleaseEvent and self.partition.topic == ACTIONS:
                    cuts.append((len(entries), None))
                elif self._switches_engine(event):
                    cuts.append((len(entries), self.is_active))
        return entries, cuts

    def _switches_engine(self, event: Any) -> bool:
        """Whether another engine is active from this record on."""
        if type(event) is not EngineEvent or event.data.version <= self._switches:
            return False
        was, self._active, self._switches = self._active, event.data.engine, event.data.version
        return was != self._active

    def _is_taken(self, record: Record) -> bool:
        """Whether this record was fed before: its source was restarted and fed the same once more."""
        for name, value in record.headers:
            if name == FED_HEADER:
                source, _, number = value.decode().rpartition(" ")
                if int(number) <= self._fed.get(source, -1):
                    return True
                self._fed[source] = int(number)
        return False

    def _belongs(self, record: Record, event: Any, out: list[Outgoing]) -> bool:
        """Whether the event's key lives in this partition; if not, it is produced again where it does."""
        if type(event) in _EVERYWHERE:
            return True
        topic, index = self.partition.topic, self.partition.index
        if type(event) is ROW:
            key = make_key("default", event.agent_id)
        elif topic == PORTFOLIO and type(event) is ScoreEvent:
            key = make_key(tenant_of(event), event.data.manager_id)
        else:
            key = record_key(topic, event)
        home = partition_of(key, self.partitions)
        if home == index:
            if type(event) is ROW:
                self._at_home.add(event.agent_id)
            return True
        if not self.is_active:
            return False
        self.counts["stray",] += 1
        came_from = f"{self._name} {record.offset}".encode()
        value = record.value or b""
        out.append(Outgoing(topic, home, _raw(key), value, [*record.headers, (STRAY_HEADER, came_from)]))
        return False

    # --- what comes of them ---------------------------------------------------------------------------------------

    def _outgoing(self, output: Output) -> Iterator[Outgoing]:
        value, kind = encode(output.event), output.kind
        self.counts["output", kind] += 1
        if kind == "score":
            key = make_key(tenant_of(output.event), output.event.data.manager_id)  # type: ignore[attr-defined]
            yield self._feed(PORTFOLIO, partition_of(key, self.partitions), key, value)
        elif kind == "marker":
            for index in range(self.partitions):
                yield self._feed(PORTFOLIO, index, None, value)
        elif kind == "failing":
            if self._is_heard:
                for index in range(self.partitions):
                    if index != self.partition.index:
                        yield self._feed(ACTIONS, index, None, value)
        elif kind in READ_BACK:
            if self._is_heard:
                for index in self._readers(kind):
                    yield self._feed(ACTIONS, index, None, value)
        else:
            key = output.key
            if kind == "finding":
                data: Any = output.event.data  # type: ignore[attr-defined]
                self.counts["finding", data.detector, data.mode] += 1
            home = partition_of(key, self.partitions)
            yield Outgoing(self._said_to(_TOPIC_OF[kind], self._is_heard), home, _raw(key), value, at_ms=output.at_ms)

    def _readers(self, kind: str) -> Sequence[int]:
        """Which partitions read what the stage of agents says to itself: what peers do is put together by the first."""
        if kind == "peers_report":
            return (0,)
        return range(self.partitions) if kind == "peers" else (self.partition.index,)

    def _said_to(self, topic: str, is_active: bool) -> str:
        return topic if is_active else watching_topic(self.partition.engine_id, topic)

    def _echo(self, entry: Entry) -> Outgoing:
        """A release goes on to the authority behind all findings before it: what lies before it is judged."""
        key = record_key(ACTIONS, entry[2])
        headers = [(ENGINE_HEADER, self.partition.engine_id.encode())]
        return Outgoing(FINDINGS, partition_of(key, self.partitions), _raw(key), encode(entry[2]), headers)

    def _feed(self, topic: str, index: int, key: str | None, value: bytes) -> Outgoing:
        self._sent += 1
        header = (FED_HEADER, f"{self._source} {self._sent}".encode())
        return Outgoing(
            own_topic(self.partition.engine_id, topic), index, None if key is None else _raw(key), value, [header]
        )

    def _dead_letter(self, record: Record, problem: BadEvent) -> Outgoing:
        """A record that can't be read, with its bytes; the same record gives the same letter."""
        self.counts["dead_letter", problem.reason.value] += 1
        place, key = self.partition, make_key("default", self.partition.topic)
        raw, attributes = kept(record)
        origin = {"topic": place.topic, "partition": place.index, "offset": record.offset, **attributes}
        letter_id = f"{place.topic_id}:{place.index}:{record.offset}"
        event = dead_letter(place.engine_id, letter_id, record.timestamp, key, raw, problem, origin)
        return Outgoing(self._said_to(DEAD_LETTERS, self.is_active), place.index, _raw(key), encode(event))

    # --- state ----------------------------------------------------------------------------------------------------

    def begin_save(self) -> None:
        """The barrier: what changed since the last one is to be saved, and judging is to be resumed from here.

        Keys are encoded step by step while records go on being judged: a key is then newer than the barrier, and what
        lies between is skipped for it when the records are judged again. A record that concerns many keys ends that
        (``_Sweep.finish``). What is decided at a marker concerns all managers of a partition: theirs are encoded now.
        """
        taken = self.stage.snapshots()
        first = next(taken)  # the barrier is where the first is asked for
        self._sweep = _Sweep(chain((first,), taken), self._barrier())
        if self.partition.topic == PORTFOLIO:
            self._sweep.finish(self.position)
        self.since_saved = 0

    def step_save(self, secs: float) -> Saved | None:
        """Encode for about ``secs``; what is to be written when all is encoded, else None."""
        sweep, end = self._sweep, perf_counter() + secs
        if sweep is None:
            raise RuntimeError("there is no barrier to save")
        for one in sweep.left:
            sweep.taken.append(one)
            if perf_counter() >= end and one.key != META_KEY:
                return None
        self._sweep = None
        sweep.finish(self.position)
        *keys, own = sweep.taken
        reach = max(sweep.reach, self._reach)  # a key that was recovered may be newer than what was judged since
        barrier = replace(sweep.barrier, meta_next=own.next_offset, meta=own.blob, reach=reach)
        return Saved(snapshots=keys, barrier=barrier)

    def _barrier(self) -> Barrier:
        place = self.partition
        return Barrier(
            engine_id=place.engine_id,
            topic=place.topic,
            topic_id=place.topic_id,
            index=place.index,
            resume=self.position,
            meta_next=0,
            meta=b"",
            sent=self._sent,
            fed=dict(self._fed),
            active=self._active,
            switches=self._switches,
        )

    def restore(self, recovered: Recovered) -> None:
        """Take up where a barrier ended."""
        if recovered.barrier is None:
            return
        self.stage.restore(recovered.all_snapshots(), lazily=True)
        self.position = recovered.barrier.resume
        self._reach = recovered.barrier.reach
        self._sent = recovered.barrier.sent
        self._fed = dict(recovered.barrier.fed)
        self._active, self._switches = recovered.barrier.active, recovered.barrier.switches


def _raw(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")

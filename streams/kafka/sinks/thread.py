"""A thread that reads some topics in a group that consoles share, from where the store says, and has them filed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from governance.settings import Kafka
from storage.errors import StoreError
from streams.kafka.admin import topic_ids
from streams.kafka.connect import KafkaProblem
from streams.kafka.sinks.filing import Apart, Filing, Place
from streams.kafka.sinks.records import Taken, read
from streams.kafka.worker.clients import member

ROWS_AT_ONCE = 10_000
FEW_ROWS = 50
"""So many are written at each look; when there are more, and more are coming, they are gathered."""
GATHER_SECS = 1.0
_POLL_MS, _POLL_RECORDS = 100, 2_000
_SESSION_SECS = 8.0
_RETRY_SECS, _MENDED_SECS, _STOP_SECS = 0.5, 5.0, 3.0
_CLEAN_SECS, _SOON_SECS = 20.0, 0.2
_log = structlog.get_logger("tripline.sinks")
T = TypeVar("T")


class SinkThread:
    """The thread, with a loop for the client; what blocks runs beside it, so that the group always hears of us.

    Parameters: the cluster, the group without its prefix, the topics without theirs, and the filing.
    """

    def __init__(self, kafka: Kafka, group: str, topics: Collection[str], filing: Filing) -> None:
        self._kafka = kafka
        self._group = kafka.prefix + group
        self._topics = {kafka.prefix + topic: topic for topic in topics}
        self._filing = filing
        self._ids: dict[str, str] = {}
        self._held: list[Taken] = []
        self._since: dict[Place, int] = {}
        self._unplaced: set[TopicPartition] = set()
        self._wanted: dict[TopicPartition, int] = {}
        self._asked_again: dict[TopicPartition, int] = {}
        self._moves = 0
        self._is_member = self._is_stopping = False
        self._written_at = 0.0
        self._clean_at = time.monotonic() + _CLEAN_SECS
        self._beside = ThreadPoolExecutor(1, f"tripline-{group}-store")
        self._thread = threading.Thread(target=self._run, name=f"tripline-{group}", daemon=True)
        self.trouble = "not connected yet"
        """Why it does not go on, in words; "" when it does, or when other consoles have all partitions."""
        self.lag: dict[str, int] = {}
        """By topic, records of this console's partitions that are not stored yet, as far as it knows."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_secs: float = 10.0) -> None:
        """Store what is in hand, leave the group, end."""
        self._is_stopping = True
        if self._thread.is_alive():
            self._thread.join(timeout_secs)

    def _run(self) -> None:
        asyncio.run(self._main())
        self._beside.submit(self._filing.close)
        self._beside.shutdown()

    # --- in the loop --------------------------------------------------------------------------------------------

    async def _main(self) -> None:
        while not self._is_stopping:
            try:
                await self._follow()
            except KafkaProblem as problem:
                self._say(f"{problem}; {problem.advice}")
                await self._pause(_MENDED_SECS)
            except (KafkaError, StoreError, OSError) as problem:
                self._say(str(problem) or repr(problem))
            except Exception as problem:  # the thread must outlive whatever happens
                _log.exception("sink_failed", group=self._group)
                self._say(repr(problem))
            await self._pause(_RETRY_SECS)

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            _log.warning("sink_waits", group=self._group, problem=trouble)
        self.trouble = trouble

    async def _pause(self, secs: float) -> None:
        end = time.monotonic() + secs
        while not self._is_stopping and time.monotonic() < end:
            await asyncio.sleep(0.05)

    async def _aside(self, function: Callable[..., T], *args: Any) -> T:
        """Run what blocks in the other thread."""
        return await asyncio.get_running_loop().run_in_executor(self._beside, function, *args)

    async def _follow(self) -> None:
        self._ids = await self._aside(topic_ids, self._kafka, list(self._topics.values()))
        self._held, self._since, self._is_member = [], {}, False
        self._unplaced.clear()
        consumer = member(self._kafka, next(iter(self._topics)), self._group, _SESSION_SECS)
        consumer.subscribe(list(self._topics), listener=_Listener(self, consumer))
        try:
            await consumer.start()
            while not self._is_stopping:
                await self._turn(consumer)
            await self._file(consumer)
        finally:
            with contextlib.suppress(TimeoutError, KafkaError, OSError):
                await asyncio.wait_for(consumer.stop(), _STOP_SECS)

    async def _turn(self, consumer: Any) -> None:
        """One look: read, and write what may not wait for more."""
        found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
        moves = self._moves
        for place, records in found.items():
            wanted = self._wanted.get(place, 0)
            if self._follows(consumer, place, records):
                more = await self._aside(read, self._topics[place.topic], records)
                if self._moves != moves:  # partitions came or went meanwhile: all are placed and read anew
                    break
                self._since.setdefault((self._topics[place.topic], place.partition), wanted)
                self._held += more
        try:
            if self._unplaced:
                await self._place(consumer)
            if self._held and not (found and self._may_gather()):
                await self._file(consumer)
            if time.monotonic() > self._clean_at:
                has_more = await self._aside(self._filing.clean)
                self._clean_at = time.monotonic() + (_SOON_SECS if has_more else _CLEAN_SECS)
        except (StoreError, Apart) as problem:
            self._say(f"what is in {', '.join(self._topics)} waits for the store: {problem}")
            self._again(consumer)
            await self._pause(_RETRY_SECS)
            return
        if self._is_member and not self._unplaced:
            self.trouble = ""
        self.lag = self._behind(consumer)

    def _follows(self, consumer: Any, place: TopicPartition, records: list[Any]) -> bool:
        """Whether these records come next. Where some are missing before them, they are asked for once: there may be a
        hole, as compaction leaves them, or the client was somewhere else than it was sent to."""
        if place in self._unplaced or place not in consumer.assignment():
            return False
        wanted = self._wanted[place]
        if records[0].offset > wanted and self._asked_again.get(place) != wanted:
            self._asked_again[place] = wanted
            consumer.seek(place, wanted)
            return False
        self._wanted[place] = records[-1].offset + 1
        return True

    def _may_gather(self) -> bool:
        """Whether what is held may wait: many rows of one agent at once cost a fraction of one by one."""
        return FEW_ROWS < len(self._held) < ROWS_AT_ONCE and time.monotonic() - self._written_at < GATHER_SECS

    async def _file(self, consumer: Any) -> None:
        held, since = self._held, self._since
        self._held, self._since = [], {}
        if held:
            await self._aside(self._filing.file, held, since)
            self._written_at = time.monotonic()
            with contextlib.suppress(CommitFailedError, IllegalStateError):  # for lag tools alone
                await consumer.commit(self._stored(consumer))

    def _stored(self, consumer: Any) -> dict[TopicPartition, int]:
        written = self._filing.written
        found = {place: written.get((self._topics[place.topic], place.partition)) for place in consumer.assignment()}
        return {place: offset for place, offset in found.items() if offset is not None}

    # --- places -------------------------------------------------------------------------------------------------

    async def _place(self, consumer: Any) -> None:
        """Read on from where the store ends, in partitions that are new here."""
        places = sorted(self._unplaced)
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        for place in places:
            topic, begin, end = self._topics[place.topic], begins[place], ends[place]
            position = await self._aside(self._filing.position, (topic, place.partition), self._ids[topic], begin)
            if position > end:
                raise KafkaProblem(
                    f"{place.topic}, partition {place.partition}: the store has read up to offset {position}, the "
                    f"topic reaches to {end}: it lost its end",
                    "restore the topic from a copy that has it",
                )
            if place not in consumer.assignment():  # taken away meanwhile
                continue
            self._wanted[place] = position
            consumer.seek(place, position)
            self._unplaced.discard(place)
            consumer.resume(place)

    def _again(self, consumer: Any) -> None:
        """Drop what is in hand, and place all partitions anew."""
        self._held, self._since = [], {}
        self._unplaced |= consumer.assignment()
        consumer.pause(*consumer.assignment())

    def taken_away(self, places: Iterable[TopicPartition]) -> None:
        """These are somebody else's now, who reads what is not stored."""
        lost = {(self._topics[place.topic], place.partition) for place in places}
        self._moves += 1
        self._held = [one for one in self._held if (one.topic, one.partition) not in lost]
        self._since = {place: offset for place, offset in self._since.items() if place not in lost}
        self._unplaced.difference_update(places)
        self._is_member = False

    def given(self, consumer: Any, places: Collection[TopicPartition]) -> None:
        """These are ours now; they are not read before they are placed."""
        self._moves += 1
        self._unplaced.update(places)
        consumer.pause(*places)
        self._is_member = True

    def _behind(self, consumer: Any) -> dict[str, int]:
        lag = dict.fromkeys(self._topics.values(), 0)
        for place in consumer.assignment():
            end = consumer.highwater(place)
            if end is not None:
                topic = self._topics[place.topic]
                lag[topic] += max(0, end - self._filing.written.get((topic, place.partition), 0))
        return lag


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Hears of partitions that come and go."""

    def __init__(self, sink: SinkThread, consumer: Any) -> None:
        self._sink = sink
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self._sink.taken_away(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._sink.given(self._consumer, assigned)

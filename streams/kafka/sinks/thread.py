"""A thread that reads some topics in a group that consoles share, from where the store says, and has them filed."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from governance.settings import Kafka
from storage.errors import StoreError
from streams.kafka.admin import topic_ids
from streams.kafka.connect import KafkaProblem, client_options
from streams.kafka.sinks.filing import Filing, WentBack
from streams.kafka.sinks.records import Taken, read
from streams.kafka.spec import MAX_RECORD_BYTES

ROWS_AT_ONCE = 10_000
FEW_ROWS = 50
"""So many are written at each look; when there are more, and more are coming, they are gathered."""
GATHER_SECS = 1.0
_POLL_MS, _POLL_RECORDS = 100, 2_000
_SESSION_MS, _HEARTBEAT_MS = 8_000, 2_000
_RETRY_SECS, _MENDED_SECS = 0.5, 5.0
_CLEAN_SECS, _SOON_SECS = 20.0, 0.2
_log = structlog.get_logger("tripline.sinks")


class SinkThread:
    """The thread. Parameters: the cluster, the group without its prefix, the topics without theirs, and the filing."""

    def __init__(self, kafka: Kafka, group: str, topics: Collection[str], filing: Filing) -> None:
        self._kafka = kafka
        self._group = kafka.prefix + group
        self._topics = {kafka.prefix + topic: topic for topic in topics}
        self._filing = filing
        self._ids: dict[str, str] = {}
        self._held: list[Taken] = []
        self._unplaced: set[TopicPartition] = set()
        self._written_at = 0.0
        self._clean_at = time.monotonic() + _CLEAN_SECS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tripline-{group}", daemon=True)
        self.trouble = "not connected yet"
        """Why it does not go on, in words; "" when it does."""
        self.lag: dict[str, int] = {}
        """By topic, records of this console's partitions that are not stored yet, as far as it knows."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_secs: float = 10.0) -> None:
        """Store what is in hand, leave the group, end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_secs)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except KafkaProblem as problem:
                self._say(f"{problem}; {problem.advice}")
                self._stop.wait(_MENDED_SECS)
            except (KafkaError, StoreError) as problem:
                self._say(str(problem))
            except Exception as problem:  # the thread must outlive whatever happens
                _log.exception("sink_failed", group=self._group)
                self._say(repr(problem))
            self._stop.wait(_RETRY_SECS)
        self._filing.close()

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            _log.warning("sink_waits", group=self._group, problem=trouble)
        self.trouble = trouble

    def _follow(self) -> None:
        self._ids = topic_ids(self._kafka, list(self._topics.values()))
        consumer = KafkaConsumer(
            **client_options(self._kafka),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=_POLL_RECORDS,
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_HEARTBEAT_MS,
            max_partition_fetch_bytes=MAX_RECORD_BYTES,
        )
        self._held, self._unplaced = [], set()
        try:
            consumer.subscribe(list(self._topics), listener=_Listener(consumer, self._lost, self._unplaced))
            while not self._stop.is_set():
                self._turn(consumer)
            self._file(consumer)
        finally:
            consumer.close(timeout_ms=1_000)

    def _turn(self, consumer: Any) -> None:
        """One look: read, and write what may not wait for more."""
        found = consumer.poll(timeout_ms=_POLL_MS)
        for place, records in found.items():
            if place not in self._unplaced:
                self._held += read(self._topics[place.topic], records)
        try:
            if self._unplaced:
                self._place(consumer)
            if self._held and not (found and self._may_gather()):
                self._file(consumer)
            if time.monotonic() > self._clean_at:
                self._clean_at = time.monotonic() + (_SOON_SECS if self._filing.clean() else _CLEAN_SECS)
        except (StoreError, WentBack) as problem:
            self._say(f"what is in {', '.join(self._topics)} waits for the store: {problem}")
            self._again(consumer)
            self._stop.wait(_RETRY_SECS)
            return
        if consumer.assignment() and not self._unplaced:
            self.trouble = ""
        self.lag = self._behind(consumer)

    def _may_gather(self) -> bool:
        """Whether what is held may wait: many rows of one agent at once cost a fraction of one by one."""
        return FEW_ROWS < len(self._held) < ROWS_AT_ONCE and time.monotonic() - self._written_at < GATHER_SECS

    def _file(self, consumer: Any) -> None:
        held, self._held = self._held, []
        if held:
            self._filing.file(held)
            self._written_at = time.monotonic()
            consumer.commit_async()  # for lag tools alone

    # --- places -------------------------------------------------------------------------------------------------

    def _place(self, consumer: Any) -> None:
        """Read on from where the store ends, in partitions that are new here."""
        for place in sorted(self._unplaced):
            topic = self._topics[place.topic]
            position = self._filing.position((topic, place.partition), self._ids[topic])
            begins, ends = consumer.beginning_offsets([place])[place], consumer.end_offsets([place])[place]
            if position > ends:
                raise KafkaProblem(
                    f"{place.topic}, partition {place.partition}: the store has read up to offset {position}, the "
                    f"topic reaches to {ends}: it lost its end",
                    "restore the topic from a copy that has it",
                )
            if 0 < position < begins:
                _log.warning("records_dropped_unread", topic=place.topic, partition=place.partition, up_to=begins)
            consumer.seek(place, max(position, begins))
            self._unplaced.discard(place)
            consumer.resume(place)

    def _again(self, consumer: Any) -> None:
        """Drop what is in hand, and place all partitions anew."""
        self._held = []
        self._unplaced |= consumer.assignment()
        consumer.pause(*consumer.assignment())

    def _lost(self, places: Iterable[TopicPartition]) -> None:
        """These are somebody else's now, who reads what is not stored."""
        lost = {(self._topics[place.topic], place.partition) for place in places}
        self._held = [one for one in self._held if (one.topic, one.partition) not in lost]

    def _behind(self, consumer: Any) -> dict[str, int]:
        lag = dict.fromkeys(self._topics.values(), 0)
        for place in consumer.assignment():
            end = consumer.highwater(place)
            if end is not None:
                topic = self._topics[place.topic]
                lag[topic] += max(0, end - self._filing.written.get((topic, place.partition), 0))
        return lag


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Keeps new partitions from being read before they are placed."""

    def __init__(self, consumer: Any, lost: Any, unplaced: set[TopicPartition]) -> None:
        self._consumer = consumer
        self._lost = lost
        self._unplaced = unplaced

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self._unplaced.difference_update(revoked)
        self._lost(revoked)

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._unplaced.update(assigned)
        self._consumer.pause(*assigned)

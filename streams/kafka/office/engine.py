"""How far the workers have judged, from outside: what their group has saved, against what came in."""

from __future__ import annotations

import time
from collections import deque

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from governance.settings import Settings
from storage import engines
from storage.background import Background
from storage.errors import StoreError
from storage.postgres import PgStore
from streams.kafka.connect import client_options
from streams.kafka.office.held import Held
from streams.kafka.spec import group_of
from streams.routing import ACTIONS, CRM

_LOOK_SECS, _RETRY_SECS = 2.0, 5.0
_STILL_SAVES = 3
"""So many times the pause between two snapshots may pass before somebody is told that nothing is judged."""
_KEPT = 600
_log = structlog.get_logger("tripline.console")


class EngineWatch(Background):
    """The thread; it watches the active engine. ``judged_to_ms``: everything that came before is judged and saved;
    0 = nothing known yet.

    Workers save their states every ``engine.snapshot_secs``, so while all is well it is some seconds behind.
    """

    def __init__(self, settings: Settings, store: PgStore) -> None:
        super().__init__("tripline-engine-watch", stop_secs=2.0)
        self._held = Held(store)
        self._kafka = settings.kafka
        self.patience_ms = _STILL_SAVES * 1000 * max(settings.engine.snapshot_secs, settings.engine.tick_secs)
        self._seen: dict[TopicPartition, deque[tuple[int, int]]] = {}
        self.judged_to_ms = 0

    def behind_ms(self, now_ms: int) -> int:
        """For how long nothing was judged that should have been; 0 while the workers keep up."""
        late = now_ms - self.judged_to_ms
        return late if self.judged_to_ms and late > self.patience_ms else 0

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except (KafkaError, StoreError, OSError) as problem:
                _log.info("workers_not_seen", problem=str(problem))
            except Exception:  # the thread must outlive whatever happens
                _log.exception("engine_watch_failed")
            self._stop.wait(_RETRY_SECS)
        self._held.close()

    def _look(self) -> None:
        kafka, active = self._kafka, self._active()
        consumer = KafkaConsumer(**client_options(kafka), group_id=group_of(kafka, active), enable_auto_commit=False)
        places = [
            TopicPartition(kafka.prefix + topic, index) for topic in (ACTIONS, CRM) for index in range(kafka.partitions)
        ]
        try:
            while not self._stop.is_set() and self._active() == active:
                now_ms = time.time_ns() // 1_000_000
                ends = consumer.end_offsets(places)
                saved = {place: consumer.committed(place) or 0 for place in places}
                self.judged_to_ms = min(self._judged(place, now_ms, ends[place], saved[place]) for place in places)
                self._stop.wait(_LOOK_SECS)
        finally:
            consumer.close(timeout_ms=500)

    def _active(self) -> str:
        """The active engine: its workers' group is asked."""
        return self._held.run(engines.engines).active

    def _judged(self, place: TopicPartition, now_ms: int, end: int, saved: int) -> int:
        """Up to when this partition is judged: the newest moment whose end is saved."""
        seen = self._seen.setdefault(place, deque([(now_ms, 0)], maxlen=_KEPT))
        seen.append((now_ms, end))
        while len(seen) > 1 and seen[1][1] <= saved:
            seen.popleft()
        return seen[0][0]

"""From what the runtime says, after each round and of itself, to notices for pages and to metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from console.ports import Runtime
from console.sse import Hub
from dashboards.metrics import Metrics
from storage.read import Reader
from storage.read.counts import counts
from streams.standalone.types import Changed

LET_ROWS_LAND_SECS = 2.0
_AGENT_KINDS = frozenset({"agent", "control", "finding"})
_log = structlog.get_logger("tripline.console")


def publisher(hub: Hub) -> Callable[[Sequence[Changed]], None]:
    """What to subscribe to a runtime, so that pages hear of changes. Runs in the runtime's thread, so it is cheap."""

    def changed(changes: Sequence[Changed]) -> None:
        if not hub.listeners:
            return
        names = [(change.kind, change.key.partition("/")[2]) for change in changes]
        hub.publish(
            agents=[name for kind, name in names if kind in _AGENT_KINDS],
            deals=[name for kind, name in names if kind == "deal"],
            kinds={kind for kind, _ in names},
        )

    return changed


class Observer:
    """Brings the metrics up to date at each scrape."""

    def __init__(self, metrics: Metrics, runtime: Runtime, reader: Reader, hub: Hub) -> None:
        self._metrics = metrics
        self._runtime = runtime
        self._reader = reader
        self._hub = hub
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read the runtime's status and the store's counts. Blocks for some milliseconds: call it in a thread."""
        metrics, status = self._metrics, self._runtime.status()
        age = status.oldest_unjudged_ms
        metrics.judged_to.set(status.judged_to_ms / 1000)
        metrics.oldest_unjudged.set(0 if age is None else time.time() - age / 1000)
        metrics.queued.set(status.queued)
        metrics.wal_bytes.set(status.wal_bytes)
        metrics.degraded.set(1 if status.degraded else 0)
        metrics.listeners.set(self._hub.listeners)
        with self._lock:
            for name, total in status.counts.items():
                self._count(name, total - self._seen.get(name, 0))
                self._seen[name] = total
        self._read_store()

    def _count(self, name: str, number: int) -> None:
        what, *labels = name.split(":")
        if number > 0:
            self._metrics.count(what, labels, number)

    def _read_store(self) -> None:
        try:
            found = counts(self._reader)
        except Exception as problem:
            _log.warning("metrics.store_not_read", problem=repr(problem))
            return
        self._metrics.agents.set_all(found.states)
        self._metrics.suspended_agents.set_all(found.suspended_by)
        self._metrics.stop_all.set(float(found.is_all_stopped))
        self._metrics.deals.set_all(found.bands)

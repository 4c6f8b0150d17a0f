"""From what the runtime says after each round, and of itself, to metrics and notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from console.ports import Changes, Runtime
from console.sse import Hub
from dashboards.metrics import Metrics


def listener(metrics: Metrics, hub: Hub) -> Callable[[Changes], None]:
    """What to subscribe to a runtime: counts, and tells the pages. Runs in the runtime's thread, so it is cheap."""

    def changed(changes: Changes) -> None:
        hub.publish(changes.agents, changes.deals, changes.kinds)
        for key, count in changes.counts.items():
            count_one(metrics, key, count)
        for detector, records in changes.wrong_records:
            child = metrics.wrong_records.get(detector) or metrics.wrong_records["other"]
            child.observe(records)

    return changed


def count_one(metrics: Metrics, key: tuple[str, ...], count: int) -> None:
    """Count one sort of thing that a round did; a sort that has no metric is left out."""
    what, *labels = key
    if what in ("action", "deal_event", "snapshot"):
        {
            "action": metrics.actions_judged,
            "deal_event": metrics.deal_events_judged,
            "snapshot": metrics.snapshots,
        }[what].inc(count)
        return
    counter = {
        "finding": metrics.findings,
        "control": metrics.control_changes,
        "alert": metrics.alerts,
        "notification": metrics.notifications,
    }.get(what)
    if counter is not None:
        counter.add(*labels, count=count)


def refresh(metrics: Metrics, runtime: Runtime, hub: Hub) -> None:
    """Set the gauges; called at each scrape."""
    status: Any = runtime.status()
    metrics.judged_to.set((status.judged_to_ms or 0) / 1000)
    metrics.oldest_unjudged.set((status.oldest_unjudged_ms or 0) / 1000)
    metrics.listeners.set(hub.listeners)
    for gauge, name in (
        (metrics.queued, "queue"),
        (metrics.wal_bytes, "wal_bytes"),
        (metrics.log_bytes, "log_bytes"),
        (metrics.stop_all, "stop_all"),
    ):
        gauge.set(float(getattr(status, name, 0) or 0))
    metrics.degraded.set_all(dict.fromkeys(status.degraded_reasons, 1))
    metrics.agents.set_all(getattr(status, "control_counts", {}))
    metrics.suspended_agents.set_all(getattr(status, "suspended_by", {}))
    metrics.deals.set_all(getattr(status, "deal_bands", {}))

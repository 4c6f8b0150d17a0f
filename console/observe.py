"""From what the runtime says, after each round and of itself, to notices for pages and to metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from console.ledger import enforcing, ledger_of
from console.ports import Runtime
from console.sse import Hub
from dashboards.metrics import Metrics
from events.times import DAY_MS, parse_ms
from governance.leases import outstanding
from governance.settings_types import Settings
from storage.alert_verdicts import MEASURED_DAYS, counts
from storage.read import Reader
from storage.read.counts import deals_by_band, oldest_unsent_ms
from storage.read.models import active_model, model_health
from streams.standalone.types import Changes

_log = structlog.get_logger("tripline.console")


def listener(metrics: Metrics, hub: Hub) -> Callable[[Changes], None]:
    """What to subscribe to a runtime: counts, and tells the pages. Runs in the runtime's thread, so it is cheap."""

    def changed(changes: Changes) -> None:
        for (what, *labels), number in changes.counts.items():
            metrics.count(what, labels, number)
        for detector, records in changes.wrong_records:
            metrics.observe_wrong_records(detector, records)
        if changes.agents or changes.deals or changes.kinds:
            hub.publish(changes.agents, changes.deals, changes.kinds)

    return changed


class Observer:
    """Brings the gauges up to date at each scrape."""

    def __init__(self, metrics: Metrics, runtime: Runtime, reader: Reader, hub: Hub, settings: Settings) -> None:
        self._metrics = metrics
        self._runtime = runtime
        self._reader = reader
        self._hub = hub
        self._settings = settings
        self._enforcing: list[str] | None = None
        self._restarts = 0
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read the runtime's status and the store's counts. Blocks for some milliseconds: call it in a thread."""
        metrics, status = self._metrics, self._runtime.status()
        metrics.log_time.set(self._runtime.now_ms() / 1000)
        metrics.judged_to.set(status.judged_to_ms / 1000)
        metrics.oldest_unjudged.set((status.oldest_unjudged_ms or 0) / 1000)
        metrics.queued.set(status.queue)
        metrics.wal_bytes.set(status.wal_bytes)
        metrics.log_bytes.set(status.log_bytes)
        metrics.degraded.set_all(dict.fromkeys(status.degraded_reasons, 1))
        metrics.agents.set_all(status.control_counts)
        metrics.suspended_agents.set_all(status.suspended_by)
        metrics.stop_all.set(float(status.stop_all))
        metrics.listeners.set(self._hub.listeners)
        policies = self._runtime.policies
        metrics.policy_unused.set_all({
            "mistakes": bool(policies.trouble), "two_people": len(policies.wider), "store": bool(policies.lost),
        })  # fmt: skip
        with self._lock:
            metrics.restarts.inc(max(0, status.restarts - self._restarts))
            self._restarts = status.restarts
        try:
            metrics.deals.set_all(deals_by_band(self._reader))
            metrics.oldest_unsent.set(oldest_unsent_ms(self._reader, time.time_ns() // 1_000_000) / 1000)
            approvals = self._reader.approval_counts(self._runtime.now_ms())
            self._look_at_leases(self._runtime.now_ms())
            metrics.approvals_waiting.set(approvals.waiting)
            metrics.oldest_approval.set(approvals.oldest_ms / 1000)
            self._look_at_budget(self._runtime.now_ms())
            self._look_at_model()
            self._look_at_alerts(self._runtime.now_ms())
        except Exception as problem:  # a store that can't be read must not cost the other metrics
            _log.warning("metrics.store_not_read", problem=repr(problem))

    def _look_at_budget(self, now_ms: int) -> None:
        metrics = self._metrics
        if self._enforcing is None:
            self._enforcing = enforcing(self._settings)
        ledger = ledger_of(self._settings, self._reader, now_ms, self._enforcing)
        metrics.wrong_stops.set_all({line.detector: line.wrong for line in ledger.detectors})
        metrics.allowed_stops.set_all({line.detector: line.allowed for line in ledger.detectors})
        metrics.false_stop_bound.set(ledger.total.upper or 0.0)
        widened = [*self._reader.widenings(None, now_ms), *self._reader.policy_changes(now_ms)]
        held = [one.kind for one in widened if one.state_at(now_ms) == "agreed"]
        metrics.widenings.set_all({kind: held.count(kind) for kind in set(held)})

    def _look_at_leases(self, now_ms: int) -> None:
        metrics = self._metrics
        actions, records = outstanding(self._reader.living_leases(now_ms), now_ms)
        metrics.lease_actions.set(actions)
        metrics.lease_records.set(records)
        for last in self._reader.drills(1):
            metrics.last_drill.set(parse_ms(last.at) / 1000)
            spread = last.admitted_after
            metrics.drill_admitted.set_all({"median": spread.p50, "p99": spread.p99, "max": spread.max})
            metrics.drill_exceeded.set(last.exceeded)

    def _look_at_alerts(self, now_ms: int) -> None:
        every = counts(self._reader, now_ms - MEASURED_DAYS * DAY_MS)[0]
        self._metrics.alerts_judged.set_all({"useful": every.useful, "known": every.known, "wrong": every.wrong})

    def _look_at_model(self) -> None:
        """What was last found of the model that scores; zeros when another one scores by now."""
        metrics, found = self._metrics, model_health(self._reader)
        if found is not None and found.model != active_model(self._reader):
            found = None
        soon = next((one for one in found.targets if one.target == "lost in 14 days"), None) if found else None
        both = {"model": soon.model, "scorecard": soon.scorecard} if soon else {}
        zeros = dict.fromkeys(("model", "scorecard"), 0.0)
        metrics.model_log_loss.set_all(zeros | {by: one.log_loss for by, one in both.items()})
        metrics.model_error.set_all(zeros | {by: one.calibration_error for by, one in both.items()})
        metrics.model_drift.set(max((one.stability for one in found.drift), default=0.0) if found else 0.0)
        metrics.model_concerns.set(len(found.alerts) if found else 0)

"""Every metric of Tripline: its name, its help and its labels, in one place.

No agent or deal labels: detail lives in the console. Every known label set starts at 0, so that the first increase is
seen. Timestamps, not ages. Names keep to the classic characters, because one other name fails a whole scrape on older
Prometheus servers.

References: Prometheus, "Metric and label naming" and "Instrumentation" (prometheus.io/docs/practices).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from prometheus_client import Histogram

from dashboards.registry import CONTENT_TYPE, OTHER, CounterBy, Registry

__all__ = ["CONTENT_TYPE", "OTHER", "CounterBy", "Labels", "Metrics"]

SECONDS_GATE = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SECONDS_JUDGED = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SECONDS_NOTIFIED = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
RECORDS_WRONG = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 100, 200, 500, 1_000, 5_000)


class Labels(Struct, frozen=True, kw_only=True):
    """The label values that are known from the start; whatever else comes is counted as "other"."""

    refusal_reasons: Iterable[str] = ()
    http_codes: Iterable[str] = ()
    detectors: Iterable[str] = ()
    modes: Iterable[str] = ("shadow", "warn", "enforce")
    states: Iterable[str] = ("active", "throttled", "held", "suspended", "releasing")
    actors: Iterable[str] = ("detector", "human", "drill")
    gate_decisions: Iterable[str] = ("allow", "hold", "deny")
    gate_rules: Iterable[str] = ()
    channels: Iterable[str] = ("log",)
    outcomes: Iterable[str] = ("sent", "failed")
    alert_kinds: Iterable[str] = ("deal_risk", "deal_slip", "deal_silent")
    bands: Iterable[str] = ("low", "watch", "high")
    degraded: Iterable[str] = ("store", "disk", "wal", "backlog", "ticks", "writer", "projections", "broker")


class Metrics(Registry):
    """All metrics of a runtime with a gate and pages."""

    def __init__(self, labels: Labels, version: str = "") -> None:
        super().__init__(version)
        self._count_input(labels)
        self._count_agents(labels)
        self._count_gate(labels)
        self._count_outputs(labels)
        self._watch_runtime(labels)

    def count(self, what: str, labels: Sequence[str], number: float) -> None:
        """Count what the runtime calls ``what``; a sort that has no metric is left out.

        Attempts to notify are counted by ``notified``, where they are seen with their target's name.
        """
        plain = {
            "action": self.actions_judged,
            "deal_event": self.deal_events_judged,
            "snapshot": self.snapshots,
            "restart": self.restarts,
        }.get(what)
        if plain is not None:
            plain.inc(number)
            return
        labelled = {
            "finding": self.findings,
            "control": self.control_changes,
            "alert": self.alerts,
            "dead_letter": self.dead_letters,
            "fault": self.detector_faults,
            "approval": self.approvals,
            "lease": self.leases,
            "outside_write": self.outside_writes,
            "revocation": self.revocations,
            "cancellation": self.cancellations,
        }.get(what)
        if labelled is not None and len(labels) == labelled.width:
            labelled.add(*labels, count=number)

    def notified(self, channel: str, is_accepted: bool, secs: float) -> None:
        """An attempt to notify ended; ``secs`` after the notice was ready."""
        self.notifications.add(channel, "sent" if is_accepted else "failed")
        if is_accepted:
            self.notification_seconds.observe(secs)

    def observe_wrong_records(self, detector: str, records: int) -> None:
        """A detector stopped an agent that had written to so many records in the burst."""
        self.wrong_records.get(detector, self.wrong_records[OTHER]).observe(records)

    def _count_input(self, labels: Labels) -> None:
        self.ingested = self._counter("events_ingested", "Events accepted: judged and durable.")
        self.duplicates = self._counter("events_duplicate", "Events dropped because they had been taken before.")
        self.refused = CounterBy(
            self._counter("events_refused", "Events that could not be read, by reason.", "reason"),
            labels.refusal_reasons,
        )
        self.dead_letters = CounterBy(
            self._counter("dead_letters", "Events kept as dead letters, by reason.", "reason"), labels.refusal_reasons
        )
        self.http_refused = CounterBy(
            self._counter("http_requests_refused", "HTTP requests refused, by error code.", "code"), labels.http_codes
        )
        self.ingest_seconds = self._histogram(
            "ingest_to_judged_seconds", "From receipt of a batch to judged and durable.", SECONDS_JUDGED
        )

    def _count_agents(self, labels: Labels) -> None:
        self.actions_judged = self._counter("actions_judged", "Agent actions judged by all detectors.")
        self.findings = CounterBy(
            self._counter("findings", "Findings by detector and mode.", "detector", "mode"),
            labels.detectors,
            labels.modes,
        )
        self.detector_faults = CounterBy(
            self._counter("detector_faults", "Agents for which a detector raised and was switched off.", "detector"),
            labels.detectors,
        )
        self.control_changes = CounterBy(
            self._counter("control_changes", "Changes of an agent's control state, by new state.", "state"),
            labels.states,
        )
        self.agents = CounterBy(
            self._gauge("agents", "Agents that were ever stopped or slowed down, by their state now.", "state"),
            labels.states,
        )
        self.suspended_agents = CounterBy(
            self._gauge("suspended_agents", "Agents that are suspended now, by who stopped them.", "by"),
            labels.actors,
        )
        self.stop_all = self._gauge("stop_all", "1 while everything is stopped, else 0.")
        self.wrong_stops = CounterBy(
            self._gauge(
                "stops_called_wrong", "Stops that people called wrong, within the budget's window, by detector.",
                "detector",
            ),
            labels.detectors,
        )  # fmt: skip
        self.allowed_stops = CounterBy(
            self._gauge(
                "false_stops_allowed", "False stops that the budget allows for the agent-months of its window.",
                "detector",
            ),
            labels.detectors,
        )  # fmt: skip
        self.false_stop_bound = self._gauge(
            "false_stops_upper_bound",
            "With 95 % confidence no more stops an agent-month were false than this; 0 = nothing was seen.",
        )
        self.widenings = CounterBy(
            self._gauge(
                "widenings",
                "What two people agreed to and that holds now: mutes, expectations, a wider policy.",
                "kind",
            ),
            ("mute", "expected", "policy"),
        )
        self.policy_unused = CounterBy(
            self._gauge(
                "policy_unused",
                "Why the policy's files are not in force as they are: mistakes in them (1), lines that wait for two "
                "people (their number), the store (1: it is not known which version holds).",
                "why",
            ),
            ("mistakes", "two_people", "store"),
        )  # fmt: skip
        wrong = Histogram(
            "tripline_wrong_records_before_stop",
            "Distinct records that an agent wrote in the burst for which a detector stopped it.",
            ("detector",),
            registry=self.registry,
            buckets=RECORDS_WRONG,
        )
        self.wrong_records = {name: wrong.labels(name) for name in (*labels.detectors, OTHER)}

    def _count_gate(self, labels: Labels) -> None:
        self.gate_decisions = CounterBy(
            self._counter("gate_decisions", "Decisions of the gate, by decision and rule.", "decision", "rule"),
            labels.gate_decisions,
            labels.gate_rules,
        )
        self.gate_seconds = self._histogram("gate_check_seconds", "From a check's receipt to its answer.", SECONDS_GATE)
        self.outside_writes = CounterBy(
            self._counter(
                "outside_writes",
                "Changes in the CRM by agents' identities, outside of what the gate lets pass: leaked after a stop, in "
                "flight when it came, or shadow writes without any decision.",
                "kind",
            ),
            ("leaked", "in_flight", "shadow"),
        )
        self.revocations = CounterBy(
            self._counter("revocations", "Credentials of agents that were to be taken away in the CRM.", "outcome"),
            ("done", "failed"),
        )
        self.cancellations = CounterBy(
            self._counter(
                "cancellations",
                "Things that stopped agents had set up and that were to be cancelled in the CRM.",
                "outcome",
            ),
            ("cancelled", "refused", "impossible", "gave_up"),
        )
        self.leases = CounterBy(
            self._counter("leases", "Requests for leases and their renewals, by outcome.", "outcome"),
            ("granted", "refused", "renewed", "not_renewed", "returned"),
        )
        self.lease_actions = self._gauge(
            "lease_actions_outstanding", "Operations that leases still allow, whatever is decided: the bound of a stop."
        )
        self.lease_records = self._gauge("lease_records_outstanding", "Records that leases still allow to be touched.")
        self.last_drill = self._gauge("drill_last_timestamp_seconds", "When the last drill was run; 0 = none was run.")
        self.drill_admitted = CounterBy(
            self._gauge(
                "drill_admitted_after_trip", "Operations admitted after the stop in the last drill's trips.", "figure"
            ),
            ("median", "p99", "max"),
        )
        self.drill_exceeded = self._gauge(
            "drill_bound_exceeded_trips", "Trips of the last drill that let through more than promised."
        )
        self.gate_errors = CounterBy(
            self._counter("gate_errors", "Checks that could not be decided and were denied, by kind.", "kind"),
            ("timeout", "busy", "error"),
        )
        self.approvals = CounterBy(
            self._counter(
                "approvals",
                "Approvals, by what became of them: asked for; approved, edited or refused by a person; expired "
                "without an answer; used by the agent, or left unused.",
                "outcome",
            ),
            ("asked", "approved", "edited", "refused", "expired", "used", "unused"),
        )
        self.approvals_waiting = self._gauge("approvals_waiting", "Approvals that wait for a person.")
        self.oldest_approval = self._gauge(
            "oldest_approval_timestamp_seconds",
            "When the oldest approval that waits for a person was asked for; 0 = none waits.",
        )

    def _count_outputs(self, labels: Labels) -> None:
        self.deal_events_judged = self._counter("deal_events_judged", "CRM events taken into deals' scores.")
        self.deals = CounterBy(self._gauge("deals_at_risk", "Open deals by risk band.", "band"), labels.bands)
        told = "of the model that scores and of the scorecard, lost within 14 days, as `tripline deals health` told"
        self.model_log_loss = CounterBy(
            self._gauge("deal_model_log_loss", f"Log-loss {told}; 0 = nothing was told.", "by"), ("model", "scorecard")
        )
        self.model_error = CounterBy(
            self._gauge("deal_model_calibration_error", f"Calibration error {told}; 0 = nothing was told.", "by"),
            ("model", "scorecard"),
        )
        self.model_drift = self._gauge(
            "deal_model_drift", "Largest population stability index of a feature; from .25 on deals are others."
        )
        self.model_concerns = self._gauge(
            "deal_model_concerns", "What somebody should look at in the model that scores, as the last look found."
        )
        self.alerts = CounterBy(self._counter("alerts", "Alerts to managers, by kind.", "kind"), labels.alert_kinds)
        self.alerts_judged = CounterBy(
            self._gauge(
                "alerts_judged", "Alerts of the last 90 days that people judged, by their last word.", "verdict"
            ),
            ("useful", "known", "wrong"),
        )
        self.notifications = CounterBy(
            self._counter("notifications", "Attempts to notify, by target and outcome.", "channel", "outcome"),
            labels.channels,
            labels.outcomes,
        )
        self.notification_seconds = self._histogram(
            "notification_seconds", "From a notice that is ready to its acceptance by a channel.", SECONDS_NOTIFIED
        )
        self.oldest_unsent = self._gauge(
            "oldest_unsent_notification_timestamp_seconds",
            "When the oldest notice that waits to be sent was put into the outbox; 0 = none waits. What waits for a "
            "digest that is still to come is left out.",
        )
        self.logins = CounterBy(
            self._counter("logins", "Logins of people, by outcome.", "outcome"), ("ok", "failed", "throttled")
        )

    def _watch_runtime(self, labels: Labels) -> None:
        self.log_time = self._gauge(
            "log_timestamp_seconds", "The log's time at the scrape: what new records get; compare with the scrape's."
        )
        self.judged_to = self._gauge("judged_to_timestamp_seconds", "Log time up to which everything is judged.")
        self.oldest_unjudged = self._gauge(
            "oldest_unjudged_timestamp_seconds", "When the oldest unjudged record arrived; 0 = none waits."
        )
        self.queued = self._gauge("queued_events", "Events that wait to be judged.")
        self.wal_bytes = self._gauge("wal_bytes", "Size of the store's write-ahead log.")
        self.log_bytes = self._gauge("log_bytes", "Size of the event log in the store.")
        self.snapshots = self._counter("snapshots", "Snapshots of state written.")
        self.restarts = self._counter("restarts", "Starts of the runtime on a store that had been used before.")
        self.listeners = self._gauge("stream_listeners", "Pages that listen for changes.")
        self.degraded = CounterBy(
            self._gauge("degraded", "1 while the runtime is degraded for this reason.", "reason"), labels.degraded
        )

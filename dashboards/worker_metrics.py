"""The metrics of a worker on Kafka; the rules of ``dashboards.metrics`` hold here as well."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from dashboards.registry import CounterBy, Registry

SECONDS_DETECTED = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
SECONDS_SAVED = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SECONDS_RECOVERED = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
STATES = ("open", "recovering", "stuck")
COMMITS = ("ok", "failed", "skipped")
OUTPUTS = ("finding", "risk", "alert", "top", "score", "marker", "report", "failing", "peers_report", "peers")


class WorkerLabels(Struct, frozen=True, kw_only=True):
    """The label values that are known from the start; whatever else comes is counted as "other"."""

    topics: Iterable[str] = ()
    reasons: Iterable[str] = ()
    detectors: Iterable[str] = ()
    modes: Iterable[str] = ("shadow", "warn", "enforce")


class WorkerMetrics(Registry):
    """All metrics of a worker. A topic is named without the prefix."""

    def __init__(self, labels: WorkerLabels, version: str = "") -> None:
        super().__init__(version)
        topics = tuple(labels.topics)
        self._count_records(labels, topics)
        self._count_outputs(labels)
        self._watch_state(topics)
        self._watch_group(topics)

    def _count_records(self, labels: WorkerLabels, topics: tuple[str, ...]) -> None:
        self.consumed = CounterBy(
            self._counter("events_consumed", "Records taken from an input topic, readable or not.", "topic"), topics
        )
        self.dead_letters = CounterBy(
            self._counter("dead_letters", "Records that could not be read, by reason.", "reason"), labels.reasons
        )
        self.strays = CounterBy(
            self._counter("strays", "Records produced again because they lay in the wrong partition.", "topic"), topics
        )
        self.fed_again = self._counter("fed_again", "Records that a restarted lane fed a second time; not judged.")
        self.ticks = self._counter("ticks", "Ticks that this worker appended to the input topics.")

    def _count_outputs(self, labels: WorkerLabels) -> None:
        self.outputs = CounterBy(self._counter("outputs", "Outputs of the stages, by kind.", "kind"), OUTPUTS)
        self.findings = CounterBy(
            self._counter("findings", "Findings by detector and mode.", "detector", "mode"),
            labels.detectors,
            labels.modes,
        )
        self.faults = CounterBy(
            self._counter("detector_faults", "Agents for which a detector raised and was switched off.", "detector"),
            labels.detectors,
        )
        self.detection_seconds = self._histogram(
            "detection_seconds",
            "From the time at which the log took a record to the acknowledgement of a finding, risk or alert on it.",
            SECONDS_DETECTED,
        )

    def _watch_state(self, topics: tuple[str, ...]) -> None:
        self.judged_to = CounterBy(
            self._gauge(
                "judged_to_timestamp_seconds",
                "Log time of the last record judged, of the lane that is furthest behind; 0 = none yet.",
                "topic",
            ),
            topics,
        )
        self.state_keys = CounterBy(self._gauge("state_keys", "Agents, deals or managers in memory.", "topic"), topics)
        self.snapshots = CounterBy(self._counter("snapshots", "Barriers acknowledged.", "topic"), topics)
        self.snapshot_keys = CounterBy(self._counter("snapshot_keys", "Keys' states saved.", "topic"), topics)
        self.snapshot_bytes = CounterBy(self._counter("snapshot_bytes", "Bytes of states saved.", "topic"), topics)
        self.snapshot_seconds = self._histogram(
            "snapshot_seconds", "From a barrier to its acknowledgement.", SECONDS_SAVED
        )
        self.oldest_snapshot = CounterBy(
            self._gauge(
                "oldest_snapshot_timestamp_seconds",
                "When the lane that has waited longest with changed state was last saved; 0 = nothing to save.",
                "topic",
            ),
            topics,
        )

    def _watch_group(self, topics: tuple[str, ...]) -> None:
        self.lanes = CounterBy(
            self._gauge("lanes", "Lanes of this worker: open, being recovered, or stuck.", "topic", "state"),
            topics,
            STATES,
        )
        self.lag = CounterBy(
            self._gauge("consumer_lag_records", "Records not yet judged in the lanes of this worker.", "topic"), topics
        )
        self.commits = CounterBy(self._counter("commits", "Commits of the group, by outcome.", "outcome"), COMMITS)
        self.rebalances = self._counter("rebalances", "Rebalances of the group that this worker went through.")
        self.recovery_seconds = self._histogram(
            "recovery_seconds", "From assignment of lanes to their opening.", SECONDS_RECOVERED
        )
        self.recovered = self._counter("recovered_records", "Records read from changelogs.")
        self.recovering = self._gauge("recovering_records", "Records of changelogs that are still to be read.")

"""What lies in the topics and in the store when everything stands still, and how comparisons are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
import psycopg

from bench.faults_engine.asking import Asking
from bench.faults_engine.load import Sender
from bench.faults_engine.site import Site
from events.codec import BadEvent, decode
from events.types import ActionEvent, AdmissionEvent, ChangeEvent
from streams.kafka.partition import partition_of, record_key
from streams.routing import ACTIONS
from tests.kafka.working import Cluster, Said

_SHOWN_CHARS = 160


class Row(msgspec.Struct):
    """One comparison: how much was compared, and where there are differences."""

    what: str
    compared: int
    lost: list[str]
    twice: list[str]
    other: list[str]

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.twice or self.other)


class Look:
    """What there is, read once each. ``rows`` gathers comparisons, ``again`` counts what came again by its id, and
    ``late`` what was admitted after a stop. ``said`` has the workers' outputs, once ``topics.stages`` has read them."""

    def __init__(self, site: Site, sender: Sender, asking: Asking) -> None:
        self.site, self.sender, self.asking = site, sender, asking
        self.cluster = Cluster(site.kafka)
        self.rows: list[Row] = []
        self.again: Counter[str] = Counter()
        self.late = 0
        self.said: Said = {}
        self._records: dict[str, list[Any]] = {}
        self._acts: list[tuple[Any, Any]] = []

    def records(self, topic: str) -> list[Any]:
        """All records of a topic."""
        if topic not in self._records:
            self._records[topic] = self.cluster.read(topic)
        return self._records[topic]

    def acts(self) -> list[tuple[Any, Any]]:
        """Records of agent.actions that say what an agent did, at home in their partition, with their events."""
        if not self._acts:
            partitions = self.site.kafka.partitions
            for record in self.records(ACTIONS):
                try:
                    event = decode(record.value or b"")
                except BadEvent:
                    continue
                if not isinstance(event, ActionEvent | AdmissionEvent | ChangeEvent):
                    continue
                if partition_of(record_key(ACTIONS, event), partitions) == record.partition:
                    self._acts.append((record, event))
        return self._acts

    def admissions(self) -> list[str]:
        """Decision ids of the admissions in agent.actions, as often as they are there."""
        return [event.data.decision_id for _, event in self.acts() if isinstance(event, AdmissionEvent)]

    def ask(self, query: str) -> list[Any]:
        """Rows of the store."""
        with psycopg.connect(self.site.database) as link:
            return link.execute(query.encode()).fetchall()

    def changes(self) -> dict[tuple[str, int], tuple[str, int]]:
        """By key and epoch: the state from that decision on, and when it was decided by the store's clock."""
        query = "SELECT key, epoch, state, decided_ms FROM control_history WHERE changed"
        return {(key, epoch): (state, at_ms) for key, epoch, state, at_ms in self.ask(query)}

    # --- comparisons --------------------------------------------------------------------------------------------

    def equal(self, what: str, wanted: Mapping[Any, Any] | Iterable[Any], found: Iterable[Any]) -> None:
        """Compare two mappings, or how often each thing is there."""
        if not isinstance(wanted, Mapping) or not isinstance(found, Mapping):
            wanted, found = Counter(wanted), Counter(found)
        row = Row(what, len(wanted), [], [], [])
        for key in wanted.keys() | found.keys():
            one, other = wanted.get(key), found.get(key)
            if other is None:
                row.lost.append(f"{key}")
            elif one is None:
                row.other.append(f"{key}: unexpected")
            elif one != other:
                is_more = isinstance(one, int) and isinstance(other, int) and other > one
                (row.twice if is_more else row.other).append(f"{key}: {_short(one)}, found {_short(other)}")
        self.rows.append(row)

    def all_in(self, what: str, wanted: Collection[Any], found: Collection[Any]) -> None:
        """Compare whether everything is there, whatever else is."""
        self.rows.append(Row(what, len(wanted), [f"{each}" for each in wanted if each not in found], [], []))

    def none_of(self, what: str, compared: int, wrong: list[str]) -> None:
        """Keep what is wrong among so many."""
        self.rows.append(Row(what, compared, [], [], wrong))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"

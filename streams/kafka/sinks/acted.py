"""What agents did, from agent.actions: rows, totals, five minutes. An event that its producer sent again counts once.

The stages know an agent's last 1,024 events; here the same ring is kept for the agents that act, and read back from
the rows when an agent comes back, so that it holds over restarts and moves of partitions. Limit as there: a retry
after more than 1,024 other events of its agent is taken for new.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence

from msgspec import UNSET
from xxhash import xxh3_64_intdigest

from events.codec import BadEvent
from events.times import DAY_MS
from events.types import ActionEvent, AdmissionEvent, ChangeEvent, TickEvent
from storage.actions import ActionRows, drop_oldest
from storage.link import Link
from streams.kafka.partition import partition_of, record_key
from streams.kafka.sinks.records import News, Taken
from streams.recent import CAPACITY, Recent
from streams.routing import ACTIONS

KEEP_MS = 8 * DAY_MS
"""How long actions are kept: the pages show 48 hours, a stop is looked into for some days."""
MAX_RINGS = 2_000
"""Agents whose events are remembered; 28 kB each at most."""
_LAST_OF = (
    "SELECT wanted.key, last.source, last.event_id, last.decision_id FROM unnest(?::text[]) AS wanted (key), "
    'LATERAL (SELECT at_ms, "offset", source, event_id, decision_id FROM action '
    'WHERE action.key = wanted.key COLLATE "C" ORDER BY at_ms DESC, "offset" DESC LIMIT ?) AS last '
    'ORDER BY wanted.key, last.at_ms, last."offset"'
)
_OPEN = (
    "SELECT decision_id, key, at_ms, \"offset\" FROM action WHERE kind = 'admission' AND decision_id = ANY(?::text[])"
)
Act = ActionEvent | AdmissionEvent | ChangeEvent


class Acted:
    """The model of agent.actions. Parameter: how many partitions a topic has."""

    topic = ACTIONS

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._rings: OrderedDict[str, Recent] = OrderedDict()

    def apply(self, link: Link, taken: Sequence[Taken], news: News) -> list[Taken]:
        """Write the rows of these records. What can't be read is the workers' to report."""
        found = [(one, key, event) for one in taken for key, event in self._acts(one)]
        self._recall(link, {key for _, key, _ in found})
        rows = ActionRows()
        rows.know_open(link.execute(_OPEN, (_decisions(event for _, _, event in found),)).fetchall())
        for one, key, event in found:
            if self._is_new(key, event):
                rows.take(one.place, one.at_ms, event)
                news.counts["action",] += 1
            else:
                news.counts["duplicate",] += 1
        if any(isinstance(one.event, TickEvent) for one in taken):
            news.kinds.add("tick")
        if len(rows):
            rows.write_rows(link)
            news.agents |= rows.agents()
            news.kinds |= {"agent", "rows"}
        return []

    def forget(self) -> None:
        """Ask the rows again which events there were."""
        self._rings.clear()

    def clean(self, link: Link) -> bool:
        """Drop some of the actions that nobody looks at any more, as the log counts time."""
        row = link.execute("SELECT max(at_ms) FROM watermark WHERE topic = ?", (ACTIONS,)).fetchone()
        return row[0] is not None and drop_oldest(link, row[0] - KEEP_MS) > 0

    def _acts(self, one: Taken) -> Iterable[tuple[str, Act]]:
        """The key and the event, where it says what an agent did, and is at home in its partition: a worker produces
        others again where they belong."""
        event = one.event
        if isinstance(event, BadEvent) or not isinstance(event, ActionEvent | AdmissionEvent | ChangeEvent):
            return
        if isinstance(event, ChangeEvent) and event.data.actor is UNSET:
            return
        key = record_key(ACTIONS, event)
        if partition_of(key, self._partitions) == one.partition:
            yield key, event

    def _recall(self, link: Link, keys: Collection[str]) -> None:
        """Have a ring for each of these agents."""
        while len(self._rings) > MAX_RINGS:
            self._rings.popitem(last=False)
        missing = sorted(key for key in keys if key not in self._rings)
        for key in missing:
            self._rings[key] = Recent()
        if missing:
            for key, source, event_id, decision_id in link.execute(_LAST_OF, (missing, CAPACITY)):
                ring = self._rings[key]
                ring.admit(_hash(source, event_id), 0)
                if decision_id is not None:
                    ring.admit(_hash("admission", decision_id), 0)
        for key in keys:
            self._rings.move_to_end(key)

    def _is_new(self, key: str, event: Act) -> bool:
        """An admission goes by its decision: its row is gone when the report has come."""
        if isinstance(event, AdmissionEvent):
            return not self._rings[key].admit(_hash("admission", event.data.decision_id), 0)
        return not self._rings[key].admit(_hash(event.source, event.id), 0)


def _decisions(events: Iterable[Act]) -> list[str]:
    return [event.data.decision_id for event in events if isinstance(event, ActionEvent) and event.data.decision_id]


def _hash(source: str, id_: str) -> int:
    return xxh3_64_intdigest(f"{source}\0{id_}".encode())

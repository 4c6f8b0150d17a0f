"""What agents did, from agent.actions: rows, totals, five minutes. An event that its producer sent again counts once.

The rows themselves say which events there were, so that it holds over restarts, moves of partitions, and any number of
agents: an event that comes again within ``KEEP_MS`` is known. The stages know an agent's last 1,024.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import UNSET

from events.times import DAY_MS
from events.types import ActionEvent, AdmissionEvent, ChangeEvent, TickEvent
from storage.actions import ActionRows, drop_oldest
from storage.link import Link
from streams.kafka.partition import partition_of, record_key
from streams.kafka.sinks.records import News, Taken
from streams.routing import ACTIONS

KEEP_MS = 8 * DAY_MS
"""How long actions are kept: the pages show 48 hours, a stop is looked into for some days."""
_KNOWN = (
    "SELECT action.key, action.source, action.event_id FROM unnest(?::text[], ?::text[]) AS asked (key, id) "
    'JOIN action ON action.key = asked.key COLLATE "C" AND action.event_id = asked.id COLLATE "C"'
)
_DECIDED = (
    'SELECT decision_id, key, at_ms, "offset", kind FROM action '
    "WHERE decision_id IS NOT NULL AND decision_id = ANY(?::text[])"
)
Act = ActionEvent | AdmissionEvent | ChangeEvent
Identity = tuple[str, ...]


class Acted:
    """The model of agent.actions. Parameter: how many partitions a topic has."""

    topic = ACTIONS

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def apply(self, link: Link, taken: Sequence[Taken], news: News) -> list[Taken]:
        """Write the rows of these records. What can't be read is the workers' to report."""
        found = [(one, key, event) for one in taken for key, event in self._acts(one)]
        rows = ActionRows()
        known = _known(link, rows, found)
        for one, key, event in found:
            identity = _identity(key, event)
            if identity in known:
                news.counts["duplicate",] += 1
                continue
            known.add(identity)
            rows.take(one.place, one.at_ms, event)
            news.counts["action",] += 1
        if any(isinstance(one.event, TickEvent) for one in taken):
            news.kinds.add("tick")
        if len(rows):
            rows.write_rows(link)
            news.agents |= rows.agents()
            news.kinds |= {"agent", "rows"}
        return []

    def clean(self, link: Link) -> bool:
        """Drop some of the actions that nobody looks at any more, as the log counts time."""
        row = link.execute("SELECT max(at_ms) FROM watermark WHERE topic = ?", (ACTIONS,)).fetchone()
        return row[0] is not None and drop_oldest(link, row[0] - KEEP_MS) > 0

    def _acts(self, one: Taken) -> Iterator[tuple[str, Act]]:
        """The key and the event, where it says what an agent did, and is at home in its partition: a worker produces
        others again where they belong."""
        event = one.event
        if not isinstance(event, ActionEvent | AdmissionEvent | ChangeEvent):
            return
        if isinstance(event, ChangeEvent) and event.data.actor is UNSET:
            return
        key = record_key(ACTIONS, event)
        if partition_of(key, self._partitions) == one.partition:
            yield key, event


def _identity(key: str, event: Act) -> Identity:
    """An admission goes by its decision: its row is gone when the report has come."""
    if isinstance(event, AdmissionEvent):
        return (event.data.decision_id,)
    return key, event.source, event.id


def _known(link: Link, rows: ActionRows, found: Sequence[tuple[Taken, str, Act]]) -> set[Identity]:
    """Which of these events the store has; ``rows`` learns of the admissions that wait for one of them."""
    asked = [(key, event.id) for _, key, event in found if not isinstance(event, AdmissionEvent)]
    keys, ids = [key for key, _ in asked], [id_ for _, id_ in asked]
    known: set[Identity] = set(link.execute(_KNOWN, (keys, ids)).fetchall())
    wanted = [_decision(event) for _, _, event in found]
    for decision_id, key, at_ms, offset, kind in link.execute(_DECIDED, ([one for one in wanted if one],)):
        known.add((decision_id,))
        if kind == "admission":
            rows.know_open([(decision_id, key, at_ms, offset)])
    return known


def _decision(event: Act) -> str | None:
    return None if isinstance(event, ChangeEvent) else event.data.decision_id or None

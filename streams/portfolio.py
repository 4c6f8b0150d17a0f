"""Stage "portfolio": per manager, the five deals to look at and the alerts, decided once a tick.

Scores only enter a manager's book. The decision for tick t falls when the marker for t of every partition of the
deals stage is in: then each manager whose book changed is decided; the others cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from events.times import parse_ms
from events.types import DEFAULT_TENANT, AlertEvent, MarkerEvent, ScoreEvent, tenant_of
from governance.settings import Deals
from scoring.alerts import (
    Book,
    Order,
    RankedEvent,
    alert_of,
    decide,
    dump,
    load,
    ranked,
    take,
)
from streams.envelopes import envelope, make_key, split_key
from streams.keyed import Keyed, KeyedStage
from streams.records import Entry, Output, Partition


class Manager:
    """A manager's book, and its watched deals in order."""

    __slots__ = ("book", "order")

    def __init__(self, book: Book) -> None:
        self.book = book
        self.order = Order(book)


class PortfolioStage(KeyedStage[Manager]):
    """Ranks deals. Parameters: the partition, the settings of deals, and how many partitions send markers."""

    name = "portfolio"
    topic = "portfolio"

    def __init__(self, partition: Partition, settings: Deals, sources: int = 1) -> None:
        super().__init__(partition)
        self.cooldown_days = settings.cooldown_days
        self.sources = sources
        self.marks: dict[int, int] = {}
        self.decided_ms = 0
        self._changed: set[str] = set()

    def process(self, entries: Sequence[Entry]) -> list[Output]:
        """Judge records in log order; scores take the short way, which is ``process_entry`` written out."""
        out: list[Output] = []
        event: Any
        for entry in entries:
            offset, at, event = entry
            if type(event) is not ScoreEvent:
                self.process_entry(entry, out)
                continue
            if offset < self.next_offset:
                continue
            self.next_offset = offset + 1
            if at > self._free_until_ms or at < self.stream_ms:
                at = self.advance(at)
            else:
                self.stream_ms = at
            data = event.data
            key = f"{DEFAULT_TENANT if event.tenant is UNSET else event.tenant}/{data.manager_id}"
            keyed = self.keys.get(key) or self.keyed(key)
            if offset >= keyed.next_offset:
                keyed.next_offset = offset + 1
                if not keyed.is_dirty:
                    self.mark(keyed)
                take(keyed.body.book, keyed.body.order, data, at)
                self._changed.add(key)
        return out

    def key_of(self, event: Any) -> str | None:
        """The manager that a score belongs to."""
        return make_key(tenant_of(event), event.data.manager_id) if type(event) is ScoreEvent else None

    def apply(self, offset: int, at_ms: int, event: Any, keyed: Keyed[Manager], out: list[Output]) -> None:
        """Enter a score into its manager's book."""
        take(keyed.body.book, keyed.body.order, event.data, at_ms)
        self._changed.add(keyed.key)

    def is_duplicate(self, offset: int, at_ms: int, event: Any, keyed: Keyed[Manager], out: list[Output]) -> bool:
        """Never: scores are our own records, and entering one twice changes nothing."""
        return False

    def on_system(self, offset: int, at_ms: int, event: Any, out: list[Output]) -> bool:
        """A marker: decide the tick when it is the last one awaited."""
        if type(event) is not MarkerEvent:
            return False
        mark = event.data
        self.marks[mark.partition] = max(parse_ms(mark.at), self.marks.get(mark.partition, 0))
        if len(self.marks) >= self.sources:
            tick_ms = min(self.marks.values())
            if tick_ms > self.decided_ms:
                self.decided_ms = tick_ms
                self._decide(offset, tick_ms, out)
        return True

    def next_due_ms(self) -> int | None:
        """When a marker is next needed: at once when a book changed, else never."""
        return self.decided_ms if self._changed else None

    def _decide(self, offset: int, tick_ms: int, out: list[Output]) -> None:
        for key in sorted(self._changed):
            keyed = self.keys[key]
            if self.begin(keyed, offset):  # else a state from after this marker: it waits for the next
                self._changed.discard(key)
                self._decide_one(offset, tick_ms, keyed, out)

    def _decide_one(self, offset: int, tick_ms: int, keyed: Keyed[Manager], out: list[Output]) -> None:
        book, key, engine_id = keyed.body.book, keyed.key, self.partition.engine_id
        told, is_new = decide(book, keyed.body.order, tick_ms, self.cooldown_days)
        for one in told:
            alert_id = self.output_id(key, offset, "alert", subject=one.row.score.deal_id)
            alert = alert_of(
                one.row.score,
                alert_id=alert_id,
                kind=one.kind,
                at_ms=tick_ms,
                rank=one.rank,
                open_deals=len(book.rows),
            )
            event = envelope(AlertEvent, engine_id, alert_id, tick_ms, key, alert)
            out.append(Output("alert", alert_id, key, tick_ms, event))
        if is_new:
            top_id = self.output_id(key, offset, "top")
            data = ranked(book.shown, split_key(key)[1], top_id, tick_ms)
            top = envelope(RankedEvent, engine_id, top_id, tick_ms, key, data)
            out.append(Output("top", top_id, key, tick_ms, top))

    # --- state --------------------------------------------------------------------------------------------------

    def new_body(self, key: str) -> Manager:
        """A manager without deals."""
        return Manager(Book())

    def dump_body(self, body: Manager) -> bytes:
        """A manager's book as bytes."""
        return dump(body.book)

    def load_body(self, key: str, blob: bytes, version: int) -> Manager:
        """A manager's book from its bytes."""
        if version != self.state_version:
            raise ValueError(f"manager {key!r}: state version {version} is not known; this is {self.state_version}")
        return Manager(load(blob))

    def dump_shared(self) -> bytes:
        """Which markers are in, and what was decided."""
        return msgspec.msgpack.encode((sorted(self.marks.items()), self.decided_ms))

    def load_shared(self, blob: bytes) -> None:
        """Take back the markers."""
        if blob:
            marks, self.decided_ms = msgspec.msgpack.decode(blob, type=tuple[list[tuple[int, int]], int])
            self.marks = dict(marks)

    def restored(self) -> None:
        """Find the managers that wait for a decision."""
        self._changed = {key for key, keyed in self.keys.items() if keyed.body.book.is_changed}

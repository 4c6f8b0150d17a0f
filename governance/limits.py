"""Budgets: how many distinct records and contacts an agent wrote or reached in ten minutes and in a day.

A debit is made when an operation is admitted and never taken back: nobody knows whether a failed one had an effect.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from events.times import DAY_MS, MINUTE_MS
from governance.operation import Operation
from governance.settings_types import AgentSettings, GateSettings

TEN_MINUTES_MS = 10 * MINUTE_MS
BudgetName = Literal["records", "contacts", "reads"]
WINDOW_WORDS = {TEN_MINUTES_MS: "in 10 minutes", DAY_MS: "in 24 hours"}


class Counters(Protocol):
    """What was debited before; the gate asks how much it would be with this operation."""

    def would_be(self, budget: BudgetName, window_ms: int, operation: Operation, now_ms: int) -> int:
        """The window's count after the operation: distinct ids for writes and contacts, volume for reads."""


class Budget(Struct, frozen=True):
    """One limit: what is counted, over which time, and the setting that says how much is allowed."""

    name: BudgetName
    window_ms: int
    setting: str

    def words(self, limit: int) -> str:
        """A limit as a sentence has it: "150 records in 10 minutes"."""
        noun = {"records": "records", "contacts": "people", "reads": "records read"}[self.name]
        return f"{limit:,} {noun} {WINDOW_WORDS[self.window_ms]}"


_WRITES = (Budget("records", TEN_MINUTES_MS, "records_per_10_min"), Budget("records", DAY_MS, "records_per_day"))
_READS = (Budget("reads", TEN_MINUTES_MS, "reads_per_10_min"), Budget("reads", DAY_MS, "reads_per_day"))
_CONTACTS = (Budget("contacts", TEN_MINUTES_MS, "contacts_per_10_min"), Budget("contacts", DAY_MS, "contacts_per_day"))
_DRAWN_ON = {
    (is_write, is_external): (_WRITES if is_write else _READS) + (_CONTACTS if is_external else ())
    for is_write in (False, True)
    for is_external in (False, True)
}


def budgets_of(operation: Operation) -> tuple[Budget, ...]:
    """The budgets that an operation draws on, the first to be looked at first."""
    return _DRAWN_ON[operation.is_write, operation.is_external]


def limit_of(budget: Budget, agent: AgentSettings, gate: GateSettings, is_throttled: bool) -> int:
    """How much an agent has of a budget; a throttled agent has a tenth of each, at least 1 unless it is 0."""
    limit: int = getattr(agent, budget.setting)
    return max(1, limit // gate.throttle_divisor) if is_throttled and limit else limit


class Distinct:
    """Distinct ids in the last ten minutes and the last day; O(1) amortised, as large as the day's count."""

    __slots__ = ("_clean_ms", "day", "recent", "unnamed")

    def __init__(self) -> None:
        self.day: dict[str, int] = {}
        self.recent: dict[str, int] = {}
        self.unnamed = 0
        self._clean_ms = 0

    def would_be(self, window_ms: int, ids: tuple[str, ...], count: int, now_ms: int) -> int:
        """Distinct ids in the window if these were added; ``count`` above the listed ones counts as new ones."""
        self._forget(now_ms)
        seen = self.recent if window_ms == TEN_MINUTES_MS else self.day
        known = sum([each in seen for each in ids])
        return len(seen) - known + max(count, len(ids))

    def add(self, ids: tuple[str, ...], count: int, now_ms: int) -> None:
        """Debit the ids, and what is counted but not listed as ids of its own."""
        unnamed = max(0, count - len(ids))
        if unnamed:
            ids += tuple([f"\x00{self.unnamed + at}" for at in range(unnamed)])
            self.unnamed += unnamed
        for seen in (self.recent, self.day):
            for each in ids:
                seen.pop(each, None)
                seen[each] = now_ms

    def _forget(self, now_ms: int) -> None:
        if now_ms == self._clean_ms:  # what came since is of now
            return
        self._clean_ms = now_ms
        for seen, window_ms in ((self.recent, TEN_MINUTES_MS), (self.day, DAY_MS)):
            while seen and seen[first := next(iter(seen))] <= now_ms - window_ms:
                del seen[first]


class Volume:
    """How much was read, by the minute: the window's start is exact to a minute, to the strict side."""

    __slots__ = ("minutes",)

    def __init__(self) -> None:
        self.minutes: dict[int, int] = {}

    def would_be(self, window_ms: int, count: int, now_ms: int) -> int:
        """The window's volume if this were added."""
        oldest_day = (now_ms - DAY_MS) // MINUTE_MS
        while self.minutes and (first := next(iter(self.minutes))) < oldest_day:
            del self.minutes[first]
        oldest = (now_ms - window_ms) // MINUTE_MS
        return sum(volume for minute, volume in self.minutes.items() if minute >= oldest) + count

    def add(self, count: int, now_ms: int) -> None:
        """Debit a volume."""
        minute = now_ms // MINUTE_MS
        self.minutes[minute] = self.minutes.get(minute, 0) + count


class SetAside(Struct, frozen=True, gc=False):
    """Records that a lease may write or read, or may have without having said so; ``until_ms``: not after this."""

    budget: BudgetName
    records: int
    until_ms: int


class Budgets:
    """The counters of one agent. Implements ``Counters``; ``dump`` and ``load`` carry it over a restart.

    Bounded by the agent's own daily limits, since what is refused is not counted, and by 1,441 minutes of reads.
    Whoever keeps the admissions may also rebuild it by calling ``admit`` for those of the last 24 hours, in order.
    ``set_aside``, by lease, is whoever keeps the leases' to fill; it counts in each window that its end lies in.
    """

    __slots__ = ("contacts", "reads", "records", "set_aside")

    def __init__(self) -> None:
        self.records = Distinct()
        self.contacts = Distinct()
        self.reads = Volume()
        self.set_aside: dict[str, SetAside] = {}

    def would_be(self, budget: BudgetName, window_ms: int, operation: Operation, now_ms: int) -> int:
        """The window's count after the operation."""
        aside = self._aside(budget, window_ms, now_ms) if self.set_aside else 0
        if budget == "reads":
            return aside + self.reads.would_be(window_ms, operation.records, now_ms)
        if budget == "contacts":
            return self.contacts.would_be(window_ms, operation.recipient_ids, operation.recipients, now_ms)
        return aside + self.records.would_be(window_ms, operation.record_ids, operation.records, now_ms)

    def _aside(self, budget: BudgetName, window_ms: int, now_ms: int) -> int:
        oldest_ms = now_ms - window_ms
        return sum(
            [one.records for one in self.set_aside.values() if one.budget == budget and one.until_ms > oldest_ms]
        )

    def admit(self, operation: Operation, now_ms: int) -> None:
        """Debit an admitted operation; times must not go back."""
        if operation.is_write:
            self.records.add(operation.record_ids, operation.records, now_ms)
        else:
            self.reads.add(operation.records, now_ms)
        if operation.is_external:
            self.contacts.add(operation.recipient_ids, operation.recipients, now_ms)

    def dump(self) -> str:
        """The counters as JSON text."""
        kept = {"records": self.records.day, "contacts": self.contacts.day, "reads": self.reads.minutes}
        unnamed = [self.records.unnamed, self.contacts.unnamed]
        return msgspec.json.encode({**kept, "unnamed": unnamed}).decode()

    @classmethod
    def load(cls, text: str, now_ms: int) -> Budgets:
        """Counters from ``dump``'s text."""
        kept: Any = msgspec.json.decode(text)
        budgets = cls()
        for name, distinct in (("records", budgets.records), ("contacts", budgets.contacts)):
            distinct.day = dict(kept[name])
            distinct.recent = {each: at for each, at in distinct.day.items() if at > now_ms - TEN_MINUTES_MS}
        budgets.reads.minutes = {int(minute): volume for minute, volume in kept["reads"].items()}
        budgets.records.unnamed, budgets.contacts.unnamed = kept["unnamed"]
        return budgets

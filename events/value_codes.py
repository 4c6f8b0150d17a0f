"""What a change of a field looks like, as three small numbers: the form, the value, and the step from the old value.

The compiled path makes the same numbers of a line's bytes (``events/_rows.pyx``); the tests compare both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import frexp
from typing import Any

from msgspec import UNSET
from xxhash import xxh3_64_intdigest

from events.types import After, AgentAction

MOST_CHANGES = 8
"""So many changes of one action are looked at, in the order of record and field."""
ASPECTS = ("form", "value", "step")
NOTHING, FLAG, NUMBER, DATE, TEXT, OTHER = range(6)
_UNKNOWN = object()
_STEPS = (0.01, 0.1, 0.25, 0.5, 0.8, 0.95, 1.05, 1.25, 2.0, 4.0, 10.0, 100.0)
_LONGEST_WORD = 64
_HASH_BITS = (1 << 40) - 1
_LARGEST = 1e308
_KEPT_SIZE = 1 << 48 | 1
_is_number = re.compile(rb"-?(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,3})?").fullmatch
_is_date = re.compile(rb"([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(?:T.*)?", re.DOTALL).fullmatch
_CLASSES = bytes(
    1 if 48 <= c <= 57 else 2 if 97 <= c <= 122 else 4 if 65 <= c <= 90 else 8 if c == 32 else 16 if c < 128 else 32
    for c in range(256)
)


class Value:
    """One value: its kind, and of a number its size, of a date its day since 1970, of a text its letters and hash."""

    __slots__ = ("day", "form", "hash", "kind", "number")

    def __init__(self, value: Any) -> None:
        self.kind, self.number, self.day, self.form, self.hash = OTHER, 0.0, 0, 0, 0
        if value is None or value == "":
            self.kind = NOTHING
        elif value is True or value is False:
            self.kind, self.hash = FLAG, 1 + value
        elif isinstance(value, int | float):
            self._number(value, 1 if isinstance(value, int) else 2)
        elif isinstance(value, str):
            self._text(value.encode("utf-8", "surrogatepass"))

    def _number(self, value: float, form: int) -> None:
        self.kind, self.form = NUMBER, form
        try:
            self.number = float(value)
        except OverflowError:
            self.number = _LARGEST

    def _text(self, text: bytes) -> None:
        if _is_number(text):
            whole, _, part = text.partition(b".")
            self._number(int(whole + part) / 10 ** len(part), 5 if not part else 6)
            if text[:1] == b"-" and self.number == 0:
                self.number = 0.0
            return
        if (date := _is_date(text)) is not None:
            self.kind, self.day, self.form = DATE, _day(*map(int, date.groups())), 1 if len(text) == 10 else 2
            return
        mask = 0
        for one in frozenset(text.translate(_CLASSES)):
            mask |= one
        self.kind, self.form = TEXT, mask << 4 | min(len(text).bit_length(), 15)
        self.hash = 3 if len(text) > _LONGEST_WORD else 16 + (xxh3_64_intdigest(text) & _HASH_BITS)


def _day(year: int, month: int, day: int) -> int:
    """Days since 1970 in the proleptic Gregorian calendar, years counted from March; a 31st of June is one, too."""
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def codes_of(before: Any, after: Any, today: int) -> tuple[int, int, int]:
    """The numbers of one change: form, value, step. ``before`` may be ``_UNKNOWN``; ``today`` in days since 1970."""
    new = Value(after)
    if before is _UNKNOWN:
        return (new.kind << 12 | 2 << 10 | new.form), _value(new, today), 0
    old = Value(before)
    value = _KEPT_SIZE if _keeps_size(old, new) else _value(new, today)
    return (new.kind << 12 | (old.kind == NOTHING) << 10 | new.form), value, _step(old, new)


def _keeps_size(old: Value, new: Value) -> bool:
    """A number moved by less than a factor of two: its size is the field's, not this change's. The step tells more."""
    if old.kind != NUMBER or new.kind != NUMBER or old.number == 0:
        return False
    return 0.5 <= new.number / old.number < 2.0


def _value(new: Value, today: int) -> int:
    if new.kind == NUMBER:
        return 1 << 48 | (4096 + 4 * (frexp(new.number)[1] // 2) + (new.number < 0) + 2 * (new.number == 0))
    if new.kind == DATE:
        return 2 << 48 | _days(new.day - today)
    return new.hash


def _step(old: Value, new: Value) -> int:  # noqa: PLR0911 - one line a kind
    if NOTHING in (old.kind, new.kind):
        return 1
    if old.kind != new.kind:
        return 2
    if new.kind == NUMBER:
        if old.number == 0:
            return 3
        ratio = new.number / old.number
        if ratio < 0:
            return 4
        return 16 + sum(ratio >= limit for limit in _STEPS)
    if new.kind == DATE:
        return 64 + _days(new.day - old.day)
    return 1 << 50 | ((old.hash * 31 + new.hash) & _HASH_BITS)


def _days(count: int) -> int:
    return 32 * (count < 0) + abs(count).bit_length()


def changes_of(data: AgentAction) -> Iterator[tuple[str, Any, Any]]:
    """The first changes of an action, in the order of record and field: field, before, after."""
    changes = data.changes
    if changes is UNSET:
        return
    left = MOST_CHANGES
    for record in sorted(changes):
        fields = changes[record]
        for name in sorted(fields):
            change = fields[name]
            if left == 0:
                return
            left -= 1
            if isinstance(change, After):
                yield name, _UNKNOWN, change.after
            else:
                yield name, change[0], change[1]

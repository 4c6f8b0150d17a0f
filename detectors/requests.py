"""What a person's request says that an agent's values can be compared with: words, dates, weekdays, spans."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise

_WORD = re.compile(r"[a-z0-9]+")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_MONTH_OF = {name: number for number, name in enumerate(_MONTHS, 1)} | {
    name[:3]: number for number, name in enumerate(_MONTHS, 1)
}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAY_OF = {form: number for number, name in enumerate(_WEEKDAYS) for form in (name, f"{name}s")}
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER_OF = {"a": 1, "an": 1} | {name: number for number, name in enumerate(_NUMBERS)}
_UNIT_DAYS = {"day": 1, "week": 7, "month": 30}
_RELATIVE = frozenset({"last", "next", "this", "previous", "past"})
_MOST_DAYS = 1_000


def words_of(text: str) -> list[str]:
    """The words and numbers of a text, in lower case and in order."""
    return _WORD.findall(text.lower())


def date_of(text: str) -> date | None:
    """The date at the beginning of an ISO 8601 date or time; None for anything else."""
    found = _DATE.match(text)
    if found is None:
        return None
    try:
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return None


class Request:
    """One request, taken apart once.

    ``days`` are (month, day) pairs, ``weekdays`` count from Monday = 0, ``spans`` are lengths in days ("six weeks" is
    42, a month 30). English only; what is not understood is no error, it is just not found.
    """

    __slots__ = ("days", "spans", "text", "weekdays", "words")

    def __init__(self, text: str) -> None:
        self.text = text.lower()
        in_order = words_of(text)
        self.words = frozenset(in_order)
        self.days = _days(self.text, in_order)
        self.weekdays = frozenset(_WEEKDAY_OF[word] for word in in_order if word in _WEEKDAY_OF)
        self.spans = _spans(in_order)


def _days(text: str, in_order: list[str]) -> frozenset[tuple[int, int]]:
    found = {(int(month), int(day)) for _, month, day in _DATE.findall(text)}
    for first, second in pairwise(in_order):
        if first in _MONTH_OF and _is_short(second):
            found.add((_MONTH_OF[first], int(second)))
        if second in _MONTH_OF and _is_short(first):
            found.add((_MONTH_OF[second], int(first)))
    return frozenset(found)


def _spans(in_order: list[str]) -> frozenset[int]:
    found = set()
    for first, second in pairwise(in_order):
        unit = _UNIT_DAYS.get(second.removesuffix("s"))
        if unit is None:
            continue
        number = int(first) if _is_short(first) else _NUMBER_OF.get(first, int(first in _RELATIVE))
        if 0 < number * unit <= _MOST_DAYS:
            found.add(number * unit)
    return frozenset(found)


def _is_short(word: str) -> bool:
    """Whether it is a number that can be a day or a span: a longer one is something else."""
    return word.isdigit() and len(word) <= 4

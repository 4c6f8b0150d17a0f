"""RFC 3339 times to integer milliseconds since 1970, and back.

A log holds few distinct minutes, 60 seconds and 1,000 fractions, so the three parts of the usual form
(``2026-03-02T09:14:03.120Z``) are remembered, each by its text; everything else takes the careful path.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_MAX_REMEMBERED = 131_072
_texts: dict[int, str] = {}
_minutes: dict[str, int] = {}
_seconds: dict[str, int] = {}
_fractions: dict[str, int] = {}
_days: dict[str, int] = {}
_minutes_of_day: dict[str, int] = {}


class BadTime(ValueError):
    """A text that is not an RFC 3339 date-time with a zone; the message says what is wrong with it."""


def parse_ms(text: str) -> int:
    """Milliseconds since 1970-01-01 UTC of an RFC 3339 date-time; raises BadTime when it has no zone.

    Digits below a millisecond are cut off, so that no time moves into the future.
    """
    try:
        return _minutes[text[:17]] + _seconds[text[17:19]] + _fractions[text[19:]]
    except KeyError:
        return _parse_and_remember(text)


def format_ms(at_ms: int) -> str:
    """The RFC 3339 text of a time in UTC, without a fraction when it is a whole second."""
    minute, ms = divmod(at_ms, MINUTE_MS)
    text = _texts.get(minute)
    if text is None:
        if len(_texts) >= _MAX_REMEMBERED:
            _texts.clear()
        text = _texts[minute] = (EPOCH + timedelta(minutes=minute)).isoformat()[:17]
    second, ms = divmod(ms, SECOND_MS)
    return f"{text}{second:02d}.{ms:03d}Z" if ms else f"{text}{second:02d}Z"


def _parse_and_remember(text: str) -> int:
    try:
        minute_ms = _days[text[:11]] + _minutes_of_day[text[11:17]]
        at_ms = minute_ms + _seconds[text[17:19]] + _fractions[text[19:]]
        _make_room()
    except KeyError:
        _make_room()
        at_ms = _parse_slowly(text)
        if not _is_usual(text):
            return at_ms
        minute_ms = at_ms - at_ms % MINUTE_MS
        _days[text[:11]] = at_ms - at_ms % DAY_MS
        _minutes_of_day[text[11:17]] = minute_ms % DAY_MS
        _seconds[text[17:19]] = at_ms % MINUTE_MS // SECOND_MS * SECOND_MS
        _fractions[text[19:]] = at_ms % SECOND_MS
    _minutes[text[:17]] = minute_ms
    return at_ms


def _is_usual(text: str) -> bool:
    """Whether the text is in UTC, to the millisecond at most, and not the hour 24, which is the next day."""
    return len(text) <= 24 and text[-1] == "Z" and text[11:13] != "24"


def _make_room() -> None:
    if max(len(_minutes), len(_fractions), len(_days)) >= _MAX_REMEMBERED:
        for remembered in (_minutes, _seconds, _fractions, _days, _minutes_of_day):
            remembered.clear()


def _parse_slowly(text: str) -> int:
    shape = _RFC3339.fullmatch(text)
    if shape is None:
        raise BadTime(f"{text[:64]!r} is not an RFC 3339 date-time such as 2026-03-02T09:14:03.120Z")
    if not shape["zone"]:
        raise BadTime(f"{text[:64]!r} has no time zone; end it with Z or an offset such as +01:00")
    try:
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as problem:
        raise BadTime(f"{text[:64]!r} is not an RFC 3339 date-time: {problem}") from None
    return (moment - EPOCH) // MS

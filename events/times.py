"""RFC 3339 times to integer milliseconds since 1970, and back.

A log holds few distinct minutes and at most 60,000 distinct "seconds and milliseconds" texts, so both halves
of the usual form (``2026-03-02T09:14:03.120Z``) are remembered; everything else takes the careful path.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000

_MAX_REMEMBERED = 131_072
_minutes: dict[str, int] = {}
_seconds: dict[str, int] = {}


class BadTime(ValueError):
    """A text that is not an RFC 3339 date-time with a zone; the message says what is wrong with it."""


def parse_ms(text: str) -> int:
    """Milliseconds since 1970-01-01 UTC of an RFC 3339 date-time; raises BadTime when it has no zone.

    Digits below a millisecond are cut off, so that no time moves into the future.
    """
    try:
        return _minutes[text[:17]] + _seconds[text[17:]]
    except KeyError:
        return _parse_and_remember(text)


def format_ms(at_ms: int) -> str:
    """The RFC 3339 text of a time in UTC, without a fraction when it is a whole second."""
    whole, ms = divmod(at_ms, SECOND_MS)
    text = (EPOCH + timedelta(seconds=whole)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms:03d}Z" if ms else f"{text}Z"


def _parse_and_remember(text: str) -> int:
    at_ms = _parse_slowly(text)
    minute, rest = text[:17], text[17:]
    if len(text) <= 24 and text[-1:] == "Z" and rest[:2].isdigit() and rest[:2] != "60":
        if len(_minutes) >= _MAX_REMEMBERED or len(_seconds) >= _MAX_REMEMBERED:
            _minutes.clear()
            _seconds.clear()
        in_minute = at_ms % MINUTE_MS
        _minutes[minute] = at_ms - in_minute
        _seconds[rest] = in_minute
    return at_ms


def _parse_slowly(text: str) -> int:
    shape = text[10:11]
    if len(text) < 20 or shape not in ("T", "t", " ") or not text.isascii():
        raise BadTime(f"{text!r} is not an RFC 3339 date-time such as 2026-03-02T09:14:03.120Z")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as problem:
        raise BadTime(f"{text!r} is not an RFC 3339 date-time: {problem}") from None
    if moment.tzinfo is None:
        raise BadTime(f"{text!r} has no time zone; end it with Z or an offset such as +01:00")
    return (moment - EPOCH) // MS

"""Lists of Kafka values to events, at the cost of reading lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, get_args

from events.codec import BadEvent, BadReason, Refusal, decode, decode_lines, kept_of, to_structured
from events.rows import Scanner, scanner
from events.types import LogEvent
from streams.routing import ACTIONS

_BINARY = "ce_specversion"
_TOGETHER = 512
"""Values that are read as one block."""
_LOG_CLASSES: frozenset[Any] = frozenset(get_args(LogEvent))


class Record(Protocol):
    """A record as the consumer gives it; ``timestamp`` is when the log took it, in ms."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def structured(record: Record) -> bytes | None:
    """A record's value in structured mode: of binary mode (attributes in ``ce_`` headers) made so, else as it came.

    Raises BadEvent for headers or a body that can't be read.
    """
    if _is_binary(record):
        return to_structured(record.headers, record.value or b"")
    return record.value


def kept(record: Record) -> tuple[bytes, dict[str, str]]:
    """What a dead letter keeps of a record: its bytes, and attributes that are not in them."""
    value = record.value or b""
    return kept_of(record.headers, value) if _is_binary(record) else (value, {})


def _is_binary(record: Record) -> bool:
    return any(name.lower() == _BINARY for name, _ in record.headers)


class Decoder:
    """Reads values of one input topic: an event (or a row, for plain actions), or what is wrong with it."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._scanner: Scanner | None = scanner() if topic == ACTIONS else None

    def read_records(self, records: Sequence[Record]) -> list[Any]:
        """The same for records as a consumer gives them, in structured or binary mode."""
        if not any(record.headers for record in records):
            return self.read([record.value for record in records])
        values: list[bytes | None] = []
        problems: dict[int, BadEvent] = {}
        for place, record in enumerate(records):
            try:
                values.append(structured(record))
            except BadEvent as problem:
                problems[place] = problem
                values.append(None)
        found = self.read(values)
        return [problems.get(place, event) for place, event in enumerate(found)] if problems else found

    def read(self, values: Sequence[bytes | None]) -> list[Any]:
        """One event, row or BadEvent for each value, in order. None is a tombstone, which has no place here."""
        found: list[Any] = []
        for start in range(0, len(values), _TOGETHER):
            found += self._read(values[start : start + _TOGETHER])
        return found

    def _read(self, values: Sequence[bytes | None]) -> list[Any]:
        lines = [value for value in values if value]
        block = b"\n".join(lines)
        if len(lines) != len(values) or block.count(b"\n") != len(lines) - 1 or not all(map(bytes.strip, lines)):
            return [self._one(value or b"") for value in values]
        rows = None if self._scanner is None else self._scanner.scan(block + b"\n")
        if rows is None:
            return self._events(lines)
        if None not in rows:
            return [row[4] for row in rows]  # type: ignore[index]
        others = iter(self._events([line for line, row in zip(lines, rows, strict=True) if row is None]))
        return [next(others) if row is None else row[4] for row in rows]

    def _events(self, lines: list[bytes]) -> list[Any]:
        read = decode_lines(b"\n".join(lines)).in_order()
        return [one.error if isinstance(one, Refusal) else self._checked(one) for one in read]

    def _one(self, value: bytes) -> Any:
        try:
            return self._checked(decode(value))
        except BadEvent as problem:
            return problem

    def _checked(self, event: Any) -> Any:
        if type(event) in _LOG_CLASSES:
            return event
        name = event.__struct_config__.tag
        message = f"type: {name} does not belong into {self._topic}"
        return BadEvent(BadReason.TYPE_NOT_ALLOWED, message, "type")

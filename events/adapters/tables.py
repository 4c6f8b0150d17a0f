"""CSV and XES event logs as rows: a line number and the named values."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any
from xml.parsers import expat

import msgspec
from msgspec import Struct

from events.adapters.base import bad_row
from events.errors import BadReason, Refusal


class Row(Struct, frozen=True):
    """One row: its line (the header is line 1; in XES the event's number, from 1) and its values by column."""

    line: int
    values: dict[str, str]

    @property
    def text(self) -> str:
        """The row as a JSON object, for a dead letter."""
        return msgspec.json.encode(self.values).decode()


def csv_rows(lines: Iterable[bytes], delimiter: str = ",") -> Iterator[Row | Refusal]:
    """The rows of a CSV file with a header, in UTF-8; a row with other than the header's columns is refused."""
    reader = csv.reader(_texts(lines), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            yield bad_row(reader.line_num, b"", "", f"not CSV: {problem}")
            continue
        if not values:
            continue
        if not header:
            header = [name.strip() for name in values]
        elif len(values) != len(header):
            message = f"has {len(values)} columns; the header has {len(header)}"
            yield bad_row(reader.line_num, delimiter.join(values), "", message)
        else:
            yield Row(reader.line_num, dict(zip(header, values, strict=True)))


def xes_rows(chunks: Iterable[bytes]) -> Iterator[Row | Refusal]:
    """The events of an XES file (IEEE 1849) as rows; the trace's attributes are there with ``case:`` before.

    A document type declaration is refused: XES has none, and entities are how XML files attack their readers.
    """
    reader = _XesReader()
    try:
        for chunk in chunks:
            reader.parser.Parse(chunk, False)
            yield from reader.take()
        reader.parser.Parse(b"", True)
    except (expat.ExpatError, ValueError) as problem:
        yield from reader.take()
        message = f"not XES after event {reader.number}: {problem}"
        yield bad_row(reader.parser.CurrentLineNumber, b"", "", message, BadReason.BAD_VALUE)


class _XesReader:
    """Expat's callbacks: keeps the attributes of the trace and event that are open, and the rows not yet taken."""

    def __init__(self) -> None:
        self.number = 0
        self._rows: list[Row] = []
        self._open: list[str] = []
        self._case: dict[str, str] = {}
        self._event: dict[str, str] = {}
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._doctype

    def take(self) -> list[Row]:
        rows, self._rows = self._rows, []
        return rows

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        parent = self._open[-1] if self._open else ""
        self._open.append(name)
        if name == "trace":
            self._case = {}
        elif name == "event":
            self._event = {}
        elif parent == "trace":
            self._case[f"case:{attributes.get('key', '')}"] = attributes.get("value", "")
        elif parent == "event":
            self._event[attributes.get("key", "")] = attributes.get("value", "")

    def _end(self, _tag: str) -> None:
        if self._open.pop() == "event":
            self.number += 1
            self._rows.append(Row(self.number, self._case | self._event))

    def _doctype(self, *_: Any) -> None:
        raise ValueError("a document type declaration is not taken")


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    """The lines as text: the byte order mark gone, bytes that are not UTF-8 shown as U+FFFD, NUL refused by csv."""
    for number, line in enumerate(lines):
        text = line.decode("utf-8", "replace")
        yield text.removeprefix("\ufeff") if number == 0 else text

"""CSV files of a time series: rows read one by one with what is wrong named by line and column, scores written."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from detectors.series import LARGEST, THRESHOLD, SeriesScore
from events.times import EPOCH, HOUR_MS, MS

TIMESTAMP, VALUE, SCORE = "timestamp", "value", "anomaly_score"
MOST_BACK_MS = 12 * HOUR_MS
"""A clock may be put back by so much (winter time, a corrected zone): the row is scored, and it is said."""


class BadSeries(ValueError):
    """A file that can't be scored. ``line`` counts from 1 (0: the file as a whole), ``column`` may be empty."""

    def __init__(self, line: int, column: str, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.column = column
        self.problem = problem


class Row(NamedTuple):
    """A row: the line where it stands, its time in calendar milliseconds, its value, and both as they were written."""

    line: int
    at_ms: int
    value: float
    timestamp_text: str
    value_text: str


class Scored(NamedTuple):
    """What came of a file: rows, those at or above the recommended threshold, the highest score, steps back in time."""

    rows: int
    told: int
    highest: float
    back: list[int]


def find_series(folder: Path) -> list[Path]:
    """The ``<group>/<file>.csv`` below a folder, in the order of their names; nothing else is looked at."""
    found = (path for path in folder.glob("*/*") if path.suffix.lower() == ".csv" and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def read_series(path: Path) -> Iterator[Row]:
    """The rows of a file, one by one. Raises BadSeries (also for a file that can't be read) at the first bad row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines)
            try:
                yield from _rows(reader)
            except csv.Error as problem:
                raise BadSeries(reader.line_num, "", f"is no CSV: {problem}") from None
            except UnicodeDecodeError as problem:
                raise BadSeries(reader.line_num + 1, "", f"is no UTF-8 text: {problem.reason}") from None
    except OSError as problem:
        raise BadSeries(0, "", f"can't be read: {problem.strerror or problem}") from None


def score_series(source: Path, target: Path) -> Scored:
    """Score a file's rows in their order, each before the next is read; ``target`` appears once it is complete.

    Raises BadSeries, and OSError where the target can't be written; then there is no target, an older one included.
    """
    target.unlink(missing_ok=True)
    part = target.with_name(f".{target.name}.part")
    score, rows, told, highest, back, before_ms = SeriesScore(), 0, 0, 0.0, [], None
    try:
        with part.open("w", encoding="utf-8", newline="") as lines:
            out = csv.writer(lines, lineterminator="\n")
            out.writerow((TIMESTAMP, VALUE, SCORE))
            for row in read_series(source):
                said = score.update(row.at_ms, row.value)
                out.writerow((row.timestamp_text, row.value_text, repr(said)))
                rows, told, highest = rows + 1, told + (said >= THRESHOLD), max(highest, said)
                if before_ms is not None and row.at_ms < before_ms:
                    back.append(row.line)
                before_ms = row.at_ms
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return Scored(rows, told, highest, back)


def _rows(reader: Iterator[list[str]]) -> Iterator[Row]:
    header = next(reader, None)
    if header is None:
        raise BadSeries(1, "", f"is empty; expected a first line with {TIMESTAMP},{VALUE}")
    at, of = _column(header, TIMESTAMP), _column(header, VALUE)
    before_ms, is_empty = None, True
    for fields in reader:
        line: int = reader.line_num  # type: ignore[attr-defined]
        if not fields:
            continue
        if len(fields) <= max(at, of):
            missing = TIMESTAMP if len(fields) <= at else VALUE
            raise BadSeries(line, missing, f"is missing: {len(fields)} fields where the first line has {len(header)}")
        at_ms = _time(fields[at], line)
        if before_ms is not None and at_ms < before_ms - MOST_BACK_MS:
            raise BadSeries(
                line, TIMESTAMP, f"{fields[at]!r} goes back in time by more than twelve hours; sort the rows by time"
            )
        yield Row(line, at_ms, _value(fields[of], line), fields[at], fields[of])
        before_ms, is_empty = at_ms, False
    if is_empty:
        raise BadSeries(1, "", "has no rows below its first line")


def _column(header: Sequence[str], name: str) -> int:
    names = [each.strip().lower() for each in header]
    if names.count(name) != 1:
        how = "there is no such column" if name not in names else "there are several such columns"
        raise BadSeries(1, name, f"{how}; the first line has: {', '.join(header) or 'nothing'}")
    return names.index(name)


def _time(text: str, line: int) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadSeries(line, TIMESTAMP, f"{text!r} is no time such as 2014-04-01 00:05:00") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // MS


def _value(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        raise BadSeries(line, VALUE, f"{text!r} is no number") from None
    if "_" in text:
        raise BadSeries(line, VALUE, f"{text!r} is no number")
    if not isfinite(value) or abs(value) > LARGEST:
        raise BadSeries(line, VALUE, f"{text!r} is no finite number between -{LARGEST:g} and {LARGEST:g}")
    return value

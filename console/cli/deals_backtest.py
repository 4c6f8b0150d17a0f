"""``tripline deals backtest``: how good deal risk would have been on a log of the past."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from console.cli.common import F, Failed, print_json, print_table
from console.text import plain

if TYPE_CHECKING:
    from events.adapters.mapping import Mapping
    from events.adapters.tables import Row
    from events.errors import Refusal
    from scoring.backtest.groups import Facts
    from scoring.backtest.reading import Read
    from scoring.backtest.run import Question, Result

CHUNK_BYTES = 1 << 16
MAX_HORIZON_DAYS = 365
SHOWN = ("base_rate", "auc", "brier", "calibration_error", "precision_top_5_of_80")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

EXAMPLES = """\b
Examples:
  tripline deals backtest events.csv.gz --mapping docs/examples/bpic2017.toml --train-until 2016-06-01 --out bt
  tripline deals backtest log.xes.gz --mapping my.toml --train-until 2025-01-01 --test-until 2025-03-31 \\
    --snapshots daily --horizon-days 30 --reasons 3 --out bt

\b
Exit codes: 0 done, 1 the log can't be judged (the message says why), 2 wrong usage or mapping.
"""


def file_options(function: F) -> F:
    """--format, --delimiter, --out and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON."),
        click.option(
            "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the files."
        ),
        click.option("--delimiter", default=",", show_default=True, help="Of CSV files; \\t is a tab."),
        click.option("--format", "kind", type=click.Choice(["auto", "csv", "xes"]), default="auto", show_default=True),
    ):
        function = option(function)
    return function


@click.command("backtest", epilog=EXAMPLES)
@click.argument("log", type=_FILE)
@click.option("--mapping", required=True, type=_FILE, help="What columns and activities mean (TOML, docs/imports.md).")
@click.option("--train-until", required=True, metavar="DATE", help="Learn from what lies before this day's 00:00.")
@click.option("--test-until", metavar="DATE", help="The last day of snapshots [default: the log's end].")
@click.option("--snapshots", type=click.Choice(["weekly", "daily"]), default="weekly", show_default=True)
@click.option("--horizon-days", type=click.IntRange(1, MAX_HORIZON_DAYS), default=14, show_default=True)
@click.option("--reasons", type=click.IntRange(0, 100), default=0, help="Tell so many reasons of each p_lost.")
@file_options
def backtest(
    log: Path,
    mapping: Path,
    train_until: str,
    test_until: str | None,
    snapshots: Literal["weekly", "daily"],
    horizon_days: int,
    reasons: int,
    kind: str,
    delimiter: str,
    out: Path,
    as_json: bool,
) -> None:
    """Replay an event LOG (CSV or XES, .gz too), learn from what was known at --train-until, and predict after it.

    Weekly snapshots are Mondays, 08:00 of the mapping's time zone. Every case open at a snapshot is predicted from
    what lies strictly before it. Writes predictions.csv, report.json and report.html to --out, and dead-lines.jsonl
    for rows that can't be read.
    """
    one_core()
    from scoring.backtest.errors import BacktestError

    how = read_mapping(mapping)
    asked = _question(how, train_until, test_until, snapshots, horizon_days, reasons)
    try:
        read = read_log(log, how, kind, delimiter)
        make_folder(out)
        tell_dead(read, out)
        from scoring.backtest.run import run

        result = run(read.log, how, log_zone(how), asked)
    except BacktestError as problem:
        raise Failed(f"{log}: {plain(problem, 4000)}") from None
    report = _write(out, log, read, how, asked, result)
    if as_json:
        print_json({key: report[key] for key in ("log", "model", "figures")})
        return
    _say(report, out)


def one_core() -> None:
    """Before NumPy and scikit-learn are loaded: one core, and sums in one order, so that a log gives the same bits."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def read_mapping(path: Path) -> Mapping:
    """The mapping of a file. Raises UsageError (exit code 2) that names the place."""
    from events.adapters.mapping import parse_mapping
    from events.errors import BadEvent

    try:
        return parse_mapping(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as problem:
        raise click.UsageError(f"{path} is not UTF-8: {problem}") from None
    except BadEvent as problem:
        raise click.UsageError(str(problem)) from None


def log_zone(mapping: Mapping) -> Any:
    """The time zone of the mapping's log."""
    from events.adapters.mapping import zone_of

    return zone_of(mapping)


def _question(
    mapping: Mapping,
    train_until: str,
    test_until: str | None,
    every: Literal["weekly", "daily"],
    horizon_days: int,
    reasons: int,
) -> Question:
    """Dates are days of the log's zone: the cut is the beginning of its day, the end is the end of its own."""
    from scoring.backtest.clock import instant_ms
    from scoring.backtest.run import Question

    zone = log_zone(mapping)
    cut_ms = instant_ms(parse_date(train_until, "--train-until"), zone)
    until_ms = None
    if test_until is not None:
        until = parse_date(test_until, "--test-until")
        is_day = len(test_until.strip()) <= len("2016-06-01")
        until_ms = instant_ms(until + timedelta(days=1), zone) - 1 if is_day else instant_ms(until, zone)
    return Question(cut_ms, until_ms, every, horizon_days, reasons)


def parse_date(text: str, option: str) -> datetime:
    """The date of an option. Raises UsageError that names it."""
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise click.UsageError(f"{option}: {plain(text)!r} is no date such as 2016-06-01") from None


def read_log(path: Path, mapping: Mapping, kind: str, delimiter: str, facts: Facts | None = None) -> Read:
    """An event log; ``facts`` watches its rows. Ends the command (exit code 1) when it can't be read."""
    from scoring.backtest.reading import read

    rows = log_rows(path, kind, delimiter)
    return read(rows if facts is None else facts.watch(rows), mapping)


def log_rows(path: Path, kind: str = "auto", delimiter: str = ",") -> Iterator[Row | Refusal]:
    """The rows of an event log, CSV or XES. Ends the command (exit code 1) when it can't be read."""
    from events.adapters.tables import csv_rows, xes_rows
    from streams.replay.reader import open_log

    delimiter = delimiter.replace("\\t", "\t")
    if len(delimiter) != 1:
        raise click.UsageError("--delimiter must be one character")
    is_xes = kind == "xes" or (kind == "auto" and ".xes" in path.suffixes)
    try:
        with open_log(path) as stream:
            yield from xes_rows(iter(lambda: stream.read(CHUNK_BYTES), b"")) if is_xes else csv_rows(stream, delimiter)
    except (OSError, EOFError, zlib.error) as problem:
        raise Failed(f"{path} can't be read: {problem}") from None


def make_folder(out: Path) -> None:
    """Make the folder of --out, or end the command."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise Failed(f"--out: {out} can't be made: {problem.strerror}") from None


def tell_dead(read: Read, out: Path) -> None:
    """Write what could not be read, and say so; a file of an earlier run must not stay beside this one's figures."""
    from console.backtest.files import write_dead

    path = out / "dead-lines.jsonl"
    if not read.dead:
        path.unlink(missing_ok=True)
        return
    write_dead(path, read.dead)
    first = plain(read.dead[0].error.message, 300)
    click.echo(
        f"{len(read.dead):,} of {read.rows:,} rows can't be read, and are left out (see {path}): {first}", err=True
    )


def _write(out: Path, log: Path, read: Read, mapping: Mapping, asked: Question, result: Result) -> dict[str, Any]:
    from console.backtest.files import write_json, write_predictions, write_reasons, write_text
    from console.backtest.page import page
    from console.backtest.report import report_of

    zone = log_zone(mapping)
    report = report_of(log.name, read, asked, result, zone)
    try:
        write_predictions(out / "predictions.csv", read.log, result.predictions, asked.horizon_days, zone)
        reasons = out / "reasons.jsonl"
        if asked.reasons:
            write_reasons(reasons, read.log, result, zone)
        else:
            reasons.unlink(missing_ok=True)
        write_json(out / "report.json", report)
        write_text(out / "report.html", page(report))
    except OSError as problem:
        raise Failed(f"{out} can't be written: {problem}") from None
    return report


def _say(report: dict[str, Any], out: Path) -> None:
    model, figures = report["model"], report["figures"]
    click.echo(
        f"Learned from {model['closed_cases']:,} closed cases ({model['kind_in_words']}); "
        f"{figures['predictions']:,} predictions at {len(report['snapshots'])} snapshots."
    )
    for note in report["notes"]:
        click.echo(f"  {plain(note, 400)}")
    rows = []
    soon = f"lost in {report['horizon_days']} days"
    for name, key in (("lost", "lost"), (soon, "lost_within_horizon"), ("slips", "slip")):
        found = figures[key]
        if found is not None:
            numbers = (found[each] for each in SHOWN)
            rows.append((name, f"{found['rows']:,}", *("–" if each is None else f"{each:.3f}" for each in numbers)))
    columns = ("", "rows", "base rate", "AUC", "Brier", "ECE", "top 5 of 80")
    print_table(columns, rows, "No case that was predicted has ended in the log: nothing can be measured.", columns[1:])
    click.echo(f"{out / 'report.html'}")

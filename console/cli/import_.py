"""``tripline import``: other systems' files to Tripline's events, into a file or into a running console."""

from __future__ import annotations

import gzip
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import click
import msgspec

from console.text import plain

if TYPE_CHECKING:
    from console.cli.delivery import Sink
    from events.adapters.base import Item

CHUNK_BYTES = 1 << 16
F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

EXAMPLES = """\b
Examples:
  tripline import workbench episodes.jsonl.gz --out workbench.jsonl
  tripline import eventlog events.csv.gz --mapping docs/examples/bpic2017.toml --out bpic2017.jsonl.gz
  tripline import crm-csv maven/ --out maven.jsonl --issues maven-issues.jsonl
  tripline import crm-csv maven/ --to http://127.0.0.1:8787
"""


@click.group("import", epilog=EXAMPLES)
def command() -> None:
    """Turn other systems' files into events, in time order.

    Exit code 0: all was taken (findings about the data are reported). 1: something was refused, or failed. 2: usage.
    """


def _options(function: F) -> F:
    """The options that every importer has."""
    for option in (
        click.option("--quiet", is_flag=True, help="No progress."),
        click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
        click.option(
            "--issues",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Write every refused row and finding about the data to this file (JSON Lines).",
        ),
        click.option("--token", envvar="TRIPLINE_TOKEN", default="", help="API token for --to.", show_envvar=True),
        click.option("--to", "url", metavar="URL", help="Send to a running console, such as http://127.0.0.1:8787."),
        click.option("--out", metavar="FILE", help="Write to FILE (.jsonl or .jsonl.gz; - is standard output)."),
    ):
        function = option(function)
    return function


@command.command("workbench", epilog=EXAMPLES)
@click.argument("files", nargs=-1, required=True, type=_FILE)
@_options
def workbench(files: tuple[Path, ...], **options: Any) -> None:
    """WorkBench episodes (.jsonl, .jsonl.gz) to agent actions, one agent a model, on a stated synthetic clock."""
    from events.adapters.workbench import read

    with ExitStack() as stack:
        streams = [stack.enter_context(_open(path)) for path in files]
        _run(read(line for stream in streams for line in stream), **options)


@command.command("eventlog", epilog=EXAMPLES)
@click.argument("file", type=_FILE)
@click.option("--mapping", required=True, type=_FILE, help="What columns and activities mean (TOML).")
@click.option("--format", "kind", type=click.Choice(["auto", "csv", "xes"]), default="auto", show_default=True)
@click.option("--delimiter", default=",", show_default=True, help="Of CSV files; \\t is a tab.")
@_options
def eventlog(file: Path, mapping: Path, kind: str, delimiter: str, **options: Any) -> None:
    """Any event log (CSV or XES, .gz too) to CRM changes and activities: each case becomes a deal."""
    from events.adapters.eventlog import read
    from events.adapters.mapping import parse_mapping
    from events.adapters.tables import csv_rows, xes_rows
    from events.errors import BadEvent

    delimiter = delimiter.replace("\\t", "\t")
    if len(delimiter) != 1:
        raise click.UsageError("--delimiter must be one character")
    try:
        how = parse_mapping(mapping.read_text(encoding="utf-8"), str(mapping))
    except (BadEvent, UnicodeDecodeError) as problem:
        raise click.UsageError(str(problem)) from None
    is_xes = kind == "xes" or (kind == "auto" and ".xes" in file.suffixes)
    with _open(file) as stream:
        rows = xes_rows(iter(lambda: stream.read(CHUNK_BYTES), b"")) if is_xes else csv_rows(stream, delimiter)
        _run(read(rows, how, file.name), **options)


@command.command("crm-csv", epilog=EXAMPLES)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--zone", default="UTC", show_default=True, help="Time zone of the dates.")
@click.option("--currency", default="USD", show_default=True)
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The export's date [default: the latest in the file].")
@_options
def crm_csv(folder: Path, zone: str, currency: str, as_of: datetime | None, **options: Any) -> None:
    """The Maven CRM files of FOLDER (sales_pipeline, accounts, products, sales_teams; .csv or .csv.gz) to changes."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from events.adapters.crm_csv import Files, Options, read
    from events.adapters.tables import csv_rows

    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise click.UsageError(f"--zone: {zone!r} is no IANA time zone such as Europe/Amsterdam") from None
    day = as_of.date().isoformat() if as_of else ""
    with ExitStack() as stack:
        named = {name: csv_rows(stack.enter_context(_open(path))) for name, path in _maven_files(folder).items()}
        _run(read(Files(**named), Options(zone=zone, currency=currency, as_of=day)), **options)


def _maven_files(folder: Path) -> dict[str, Path]:
    """The files of the folder by what they hold; only the pipeline must be there."""
    names = {"pipeline": "sales_pipeline", "accounts": "accounts", "products": "products", "teams": "sales_teams"}
    found = {}
    for what, name in names.items():
        paths = [folder / f"{name}{suffix}" for suffix in (".csv", ".csv.gz")]
        path = next((path for path in paths if path.exists()), None)
        if path is not None:
            found[what] = path
        elif what == "pipeline":
            raise click.UsageError(f"{folder} has no sales_pipeline.csv or sales_pipeline.csv.gz")
    return found


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _run(
    items: Iterable[Item],
    *,
    out: str | None,
    url: str | None,
    token: str,
    issues: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Deliver the events, collect the rest, say what happened, and end with the exit code."""
    from console.cli.delivery import DeliveryFailed

    if (out is None) == (url is None):
        raise click.UsageError("give either --out FILE or --to URL")
    summary = Summary(out or url or "")
    sink = _sink(out, url, token)
    try:
        _deliver(_counted(items, quiet), sink, summary)
        sink.close()
    except (DeliveryFailed, OSError, EOFError, zlib.error) as problem:
        sink.abandon()
        raise click.ClickException(str(problem)) from None
    except BaseException:
        sink.abandon()
        raise
    summary.add_refused_by_console(sink)
    if issues is not None:
        issues.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in summary.lines))
    summary.say(as_json, to_stderr=out == "-")
    if summary.refused:
        raise SystemExit(1)


def _sink(out: str | None, url: str | None, token: str) -> Sink:
    from console.cli.delivery import FileSink, HttpSink, StdoutSink

    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise click.UsageError("--to must begin with http:// or https://")
        try:
            return HttpSink(url, token)
        except ValueError as problem:
            raise click.UsageError(f"--to: {problem}") from None
    if out == "-":
        return StdoutSink()
    path = Path(out or "")
    try:
        return FileSink(path)
    except OSError as problem:
        raise click.ClickException(f"{path} can't be written: {problem.strerror}") from None


def _deliver(items: Iterable[Item], sink: Sink, summary: Summary) -> None:
    from events.adapters.base import DataIssue
    from events.codec import BadEvent, Refusal, decode_input, encode

    for item in items:
        if isinstance(item, Refusal):
            summary.add_refusal(item.index, str(item.error.reason), item.error.message)
        elif isinstance(item, DataIssue):
            summary.add_issue(item)
        else:
            raw = encode(item)
            try:
                decode_input(raw)  # foreign values may be beyond our limits: say so here, not when it is replayed
            except BadEvent as problem:
                summary.add_refusal(0, str(problem.reason), f"event {item.id[:80]!r}: {problem.message}")
            else:
                summary.add_event(item.time)
                sink.write(raw)


def _counted(items: Iterable[Item], quiet: bool) -> Iterator[Item]:
    """The items, with a line on the terminal that counts them."""
    if quiet or not sys.stderr.isatty():
        yield from items
        return
    shown = time.monotonic()
    click.echo("reading …", err=True, nl=False)
    for number, item in enumerate(items, 1):
        yield item
        if number % 256 == 0 and time.monotonic() - shown > 0.2:
            shown = time.monotonic()
            click.echo(f"\r{number:,} events", err=True, nl=False)
    click.echo("\r" + " " * 30 + "\r", err=True, nl=False)


class Summary:
    """What an import did: counts for people, every refusal and finding for ``--issues``."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.events = self.refused = 0
        self.first = self.last = ""
        self.lines: list[dict[str, Any]] = []
        self._groups: Counter[tuple[str, str, str]] = Counter()
        self._examples: dict[tuple[str, str, str], str] = {}
        self._accepted: int | None = None
        self._duplicates = 0

    def add_event(self, time_text: str) -> None:
        """Count an event; they come in time order."""
        self.events += 1
        self.first = self.first or time_text
        self.last = time_text

    def add_refusal(self, line: int, reason: str, message: str) -> None:
        """Keep a row that became no event."""
        self.refused += 1
        self.lines.append({"refused": reason, "line": line, "message": message})
        self._group(("refused", reason, ""), message)

    def add_issue(self, issue: Any) -> None:
        """Keep a finding about the data."""
        self.lines.append(msgspec.to_builtins(issue))
        where = f"{issue.file}:{issue.line}: " if issue.line else ""
        self._group((str(issue.kind), issue.file, issue.column), f"{where}{issue.message}")

    def add_refused_by_console(self, sink: Any) -> None:
        """Keep what the console refused, and how many it took."""
        for item in sink.refused:
            self.add_refusal(item.index, item.reason, f"the console refused event {item.index}: {item.message}")
        self._accepted = getattr(sink, "accepted", None)
        self._duplicates = getattr(sink, "duplicates", 0)

    def say(self, as_json: bool, to_stderr: bool) -> None:
        """Print it."""
        if as_json:
            click.echo(msgspec.json.encode(self._told()).decode(), err=to_stderr)
            return
        took = "" if self._accepted is None else f" ({self._accepted:,} new, {self._duplicates:,} known already)"
        period = f" from {self.first} to {self.last}" if self.events else ""
        click.echo(f"{self.events:,} events{period} to {self.target}{took}; {self.refused:,} refused.", err=to_stderr)
        for key, count in self._groups.most_common():
            what = " ".join(filter(None, key))
            click.echo(f"  {count:,} × {what}: e.g. {plain(self._examples[key], 400)}", err=to_stderr)

    def _told(self) -> dict[str, Any]:
        groups = [
            {
                "kind": kind,
                "file": file,
                "column": column,
                "count": count,
                "example": self._examples[kind, file, column],
            }
            for (kind, file, column), count in self._groups.most_common()
        ]
        told = {"events": self.events, "refused": self.refused, "first": self.first, "last": self.last}
        sent = {} if self._accepted is None else {"accepted": self._accepted, "duplicates": self._duplicates}
        return {**told, **sent, "to": self.target, "findings": groups}

    def _group(self, key: tuple[str, str, str], example: str) -> None:
        self._groups[key] += 1
        self._examples.setdefault(key, example)

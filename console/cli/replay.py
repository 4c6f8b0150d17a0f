"""``tripline replay``: what the engine says to a log of the past."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from governance.settings import Settings
    from streams.replay import ReplayResult

MOMENT = click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z"))
EXAMPLES = """\b
Examples:
  tripline replay actions.jsonl --out report
  tripline replay mon.jsonl.gz tue.jsonl.gz --enforce all --out report
  tripline replay actions.jsonl --enforce all --report --since 2026-03-09 --out report
  tripline replay dump/*.jsonl --out again        # a dump of a live log: the same output bytes
  tripline replay --from-kafka --out again        # what workers on Kafka say, key by key
"""


@click.command("replay", epilog=EXAMPLES)
@click.argument("logs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--from-kafka", is_flag=True, help="Take the input topics of [kafka] as they are now, instead of files.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --from-kafka: keep what was read in this folder; such files can be replayed again.",
)
@click.option("--engine", default="main", show_default=True, help="With --from-kafka: as this engine judges.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the results.")
@click.option(
    "--enforce", default="", metavar="all|NAMES", help="Detectors that enforce whatever the settings say, by comma."
)
@click.option("--report", is_flag=True, help="Also write report.html and report.json: what would have been stopped.")
@click.option("--since", type=MOMENT, help="Report from here on; what came before is learnt from all the same.")
@click.option("--until", type=MOMENT, help="Report up to here.")
@click.option("--agents", default="", metavar="NAMES", help="Report on these agents, by comma.")
@click.option("--detectors", default="", metavar="NAMES", help="Report on these detectors, by comma.")
@click.option(
    "--config",
    envvar="TRIPLINE_CONFIG",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings file (TOML).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    logs: tuple[Path, ...],
    from_kafka: bool,
    keep: Path | None,
    engine: str,
    out: Path,
    enforce: str,
    report: bool,
    since: datetime | None,
    until: datetime | None,
    agents: str,
    detectors: str,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Replay LOGS (.jsonl, .jsonl.gz; several are merged) and write what the engine says to --out.

    Writes findings.jsonl, control.jsonl, deal_risk.jsonl, alerts.jsonl, dead_letters.jsonl and summary.json. The same
    logs and settings give the same bytes. Raw files are put into the order of time, source and id; a dump of input
    partitions (with logoffset and loggedat) is replayed exactly as it was live, from its beginning.

    --report tells what the findings would have meant: how often each detector speaks per agent-month (with the 95 %
    upper bound, also after each agent's first week), who would have been stopped when and why, how many records were
    changed before a stop, and what would have been refused after it, with a picture of each.

    Exit code 0: done, whatever was found. 1: a file can't be read or written, or the settings are wrong.
    """
    from streams.replay import Wanted, replay, replay_and_report
    from streams.replay.dump import NotADump

    if bool(logs) == from_kafka:
        raise click.UsageError("name log files, or say --from-kafka; one of the two")
    if not report and (since or until or agents or detectors):
        raise click.UsageError("--since, --until, --agents and --detectors say what to report on: add --report")
    settings = _settings(config, enforce)
    wanted = Wanted(
        since_ms=_ms(since),
        until_ms=_ms(until),
        agents=_names(agents),
        detectors=_known(_names(detectors), "--detectors"),
    )
    began = time.perf_counter()
    meter = None if quiet or not sys.stderr.isatty() else Meter(began)
    gc.disable()  # records hold no cycles; the collector would walk every one of them again and again
    try:
        with _logs(logs, settings, keep, engine, meter) as paths:
            if report:
                result, told = replay_and_report(paths, settings, out, wanted, progress=meter)
            else:
                result, told = replay(paths, settings, out, progress=meter), None
    except (OSError, EOFError, NotADump) as problem:
        raise click.ClickException(f"{problem}") from None
    finally:
        gc.enable()
    if meter is not None:
        meter.done()
    if told is not None:
        from console.cli.replay_report import render

        (out / "report.html").write_text(render(told), encoding="utf-8")
    if as_json:
        click.echo((out / "summary.json").read_text(), nl=False)
        return
    _say(result, out, time.perf_counter() - began)
    if told is not None:
        click.echo(f"Report: {out / 'report.html'}")


@contextmanager
def _logs(
    logs: tuple[Path, ...], settings: Settings, keep: Path | None, engine: str, meter: Meter | None
) -> Iterator[Sequence[Path]]:
    """The files to replay: those given, or what the input topics hold, in a folder for the time being."""
    if logs:
        yield logs
        return
    from console.cli.topics import asking
    from streams.kafka.dump import dump

    with tempfile.TemporaryDirectory(prefix="tripline-dump-") as name:
        dumped = asking(lambda: dump(settings.kafka, keep or Path(name), engine, meter or (lambda _count: None)))
        for reason, count in sorted(dumped.left_out.items()):
            click.echo(f"Left out: {count:,} records that are {reason}", err=True)
        for place in dumped.shortened:
            click.echo(f"{place}: what was before is gone, so states start from there", err=True)
        if not dumped.files:
            raise click.ClickException("the input topics are empty")
        yield dumped.files


class Meter:
    """The progress line on a terminal."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.shown = 0.0

    def __call__(self, events: int) -> None:
        """Show how many events were read."""
        now = time.perf_counter()
        if now - self.shown < 0.2:
            return
        self.shown = now
        rate = events / max(now - self.began, 1e-9)
        click.echo(f"\r{events:,} events, {rate:,.0f}/s   ", err=True, nl=False)

    def done(self) -> None:
        """Clear the line."""
        click.echo("\r" + " " * 50 + "\r", err=True, nl=False)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def _names(by_comma: str) -> frozenset[str]:
    return frozenset(name.strip() for name in by_comma.split(",") if name.strip())


def _known(names: frozenset[str], option: str) -> frozenset[str]:
    from detectors.discovery import discover

    known = discover()
    for name in sorted(names):
        if name not in known:
            raise click.UsageError(f"{option}: unknown detector {name!r}; known: {', '.join(known)}")
    return names


def _settings(config: Path | None, enforce: str) -> Settings:
    from msgspec.structs import replace

    from detectors.discovery import DetectorSettingsError, discover
    from governance.settings import SettingsError, parse_settings

    names = list(discover()) if enforce == "all" else sorted(_known(_names(enforce), "--enforce"))
    overrides = {f"detectors.{name}.mode": "enforce" for name in names}
    try:
        text = None if config is None else config.read_text(encoding="utf-8")
        settings = parse_settings(text, os.environ, overrides, where=str(config or "tripline.toml"))
    except (SettingsError, DetectorSettingsError, UnicodeDecodeError) as problem:
        raise click.ClickException(str(problem)) from None
    tables = {
        name: {key: value for key, value in table.items() if name not in names or key not in ("agents", "roles")}
        for name, table in settings.detectors.items()
    }
    return replace(settings, detectors=tables)  # modes of agents and roles are overruled as well


def _say(result: ReplayResult, out: Path, took_secs: float) -> None:
    rate = result.events / max(took_secs, 1e-9)
    click.echo(f"{result.events:,} events of {result.agents} agents and {result.deals} deals, {rate:,.0f}/s.")
    for detector, counts in result.findings.items():
        said = ", ".join(f"{count} {taken}" for taken, count in counts.items())
        click.echo(f"  {detector}: {said}")
    if result.suspended:
        click.echo(f"Would have been stopped: {', '.join(result.suspended[:20])}")
    if result.dead_letters:
        reasons = ", ".join(f"{count} {reason}" for reason, count in result.dead_letters.items())
        click.echo(f"Not readable: {reasons} (dead_letters.jsonl says why)")
    click.echo(f"Written to {out}")

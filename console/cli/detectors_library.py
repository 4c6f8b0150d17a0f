"""``tripline detectors library``: confirmed good runs out of a log, as settings for ``unlike_good_run``."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.common import Failed, print_json
from console.text import plain

if TYPE_CHECKING:
    from detectors.good_runs import Run
    from streams.replay.reader import BadLine

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SHOWN = 5

EXAMPLE = """\b
Example:
  tripline detectors library log.jsonl.gz --confirmed good-runs.txt --out library.toml

\b
good-runs.txt holds the run_id of a run on each line: runs that a person looked at and found good. What is written is
a table of the settings file; put it into tripline.toml, and look at what the detector says in shadow.
"""


@click.command("library", epilog=EXAMPLE)
@click.argument("logs", nargs=-1, required=True, type=_FILE)
@click.option("--confirmed", required=True, type=_FILE, help="The confirmed runs: a run_id on each line.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="TOML to write.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def library(logs: tuple[Path, ...], confirmed: Path, out: Path, as_json: bool) -> None:
    """Make a library of confirmed good runs out of LOGS (events, .jsonl or .jsonl.gz).

    It holds features of calls, no values and no requests. Exit code 1: no confirmed run that writes is in the logs,
    or a line can't be read.
    """
    from detectors.run_library import LibraryError, encode_library

    wanted = _run_ids(confirmed)
    runs = _runs(logs, wanted)
    missing = sorted(wanted - {run.label for run in runs})
    kept = [run for run in runs if run.plain]
    if not kept:
        raise Failed(f"none of the {len(wanted):,} runs in {confirmed} is in the logs and writes anything")
    try:
        text = encode_library(kept)
        out.write_text(f'[detectors.unlike_good_run]\nis_enabled = true\nlibrary = "{text}"\n', encoding="utf-8")
    except LibraryError as problem:
        raise Failed(str(problem)) from None
    except OSError as problem:
        raise Failed(f"{out} can't be written: {problem.strerror}") from None
    _say({"runs": len(kept), "without_a_write": len(runs) - len(kept), "missing": missing, "out": str(out)}, as_json)


def _run_ids(path: Path) -> set[str]:
    try:
        found = {line.strip() for line in path.read_text(encoding="utf-8").splitlines()} - {""}
    except (OSError, UnicodeDecodeError) as problem:
        raise Failed(f"{path} can't be read: {plain(str(problem))}") from None
    if not found:
        raise Failed(f"{path} names no run: write the run_id of a confirmed run on each line")
    return found


def _runs(logs: tuple[Path, ...], wanted: set[str]) -> list[Run]:
    """The wanted runs by their ids, from their successful calls in the order of time."""
    from detectors.base import Action
    from detectors.good_runs import run_of
    from detectors.unlike_good_run import call_of
    from events.catalogue import kind_of
    from events.types import ActionEvent
    from streams.replay.reader import OutOfOrder, read

    calls: dict[str, list[Action]] = {}
    bad: list[BadLine] = []
    try:
        for items in read(logs, bad):
            for at_ms, source, event_id, _, item in items:
                event = item if isinstance(item, ActionEvent) else getattr(item, "event", None)
                if isinstance(event, ActionEvent) and event.data.outcome == "ok" and event.data.run_id in wanted:
                    action = Action(at_ms, at_ms, source, event_id, kind_of(event.data.action), event.data)
                    calls.setdefault(str(event.data.run_id), []).append(action)
    except (OSError, EOFError, zlib.error) as problem:
        raise Failed(f"the log can't be read: {plain(str(problem))}") from None
    except OutOfOrder as problem:
        raise Failed(f"{problem} is far out of time order: sort it by time first") from None
    if bad:
        raise Failed(f"{bad[0].path}:{bad[0].line}: {plain(bad[0].problem.message, 300)}")
    return [run_of(map(call_of, made), label=run_id) for run_id, made in sorted(calls.items())]


def _say(told: dict[str, object], as_json: bool) -> None:
    missing = told["missing"]
    if isinstance(missing, list) and missing:
        shown = ", ".join(plain(one, 60) for one in missing[:_SHOWN])
        click.echo(f"warning: {len(missing):,} runs are not in the logs: {shown}", err=True)
    if as_json:
        print_json(told)
        return
    click.echo(
        f"{told['runs']:,} good runs in {told['out']}; {told['without_a_write']:,} that write nothing were left out. "
        "The detector has an opinion from 50 on, and is in shadow until you set its mode."
    )

"""``tripline bench nab``: anomaly scores for files in the layout of the Numenta Anomaly Benchmark."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from console.cli.common import PROBLEM, Failed, print_json
from console.text import plain

EXAMPLES = """\b
Examples:
  tripline bench nab --data nab/ --out scores/
  tripline bench nab --data nab/ --out scores/ --json > summary.json
  python -m bench.nab --data nab/ --scores scores/    # NAB's own score, where nab/ has a windows.json

\b
A row whose anomaly_score is .025 or more deserves a look; nearly all others are 0.
Exit codes: 0 all files scored, 1 some could not be (the others are there), 2 wrong usage.
"""


@click.command("nab", epilog=EXAMPLES)
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of <group>/<file>.csv with the columns timestamp and value. Other files are not looked at.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for <group>/<file>.csv with timestamp, value and anomaly_score in [0, 1].",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(data: Path, out: Path, as_json: bool, quiet: bool) -> None:
    """Score every row of every series in --data: how much it stands out among the rows before it.

    One fixed configuration for all files; a score depends on the rows up to its own and on nothing else, neither
    names nor other files nor labels. A file with a bad row (no number, no time, a jump back of more than twelve hours)
    is named with line and column and gets no scores; a smaller step back, as when clocks change, is scored and told.
    """
    from console.cli.series_files import find_series

    if out.resolve() == data.resolve():
        raise click.UsageError("--out must be another folder than --data: its files have the same names")
    files = find_series(data)
    if not files:
        raise Failed(f"{data}: there is no <group>/<file>.csv in it")
    summary = _score_all(files, data, out, Meter(len(files), is_shown=not quiet and sys.stderr.isatty()))
    if as_json:
        print_json(summary)
    else:
        _say(summary, out)
    for each in summary["problems"]:
        click.echo(f"Error: {_place(each)}: {plain(each['problem'], 400)}", err=True)
    if summary["problems"]:
        raise click.exceptions.Exit(PROBLEM)


class Meter:
    """The progress line on a terminal."""

    def __init__(self, files: int, *, is_shown: bool) -> None:
        self.files = files
        self.is_shown = is_shown

    def __call__(self, number: int, name: str) -> None:
        """Show which file is being read."""
        if self.is_shown:
            click.echo(f"\r\x1b[K{number} of {self.files}: {plain(name, 80)}", err=True, nl=False)

    def done(self) -> None:
        """Clear the line."""
        if self.is_shown:
            click.echo("\r\x1b[K", err=True, nl=False)


def _score_all(files: list[Path], data: Path, out: Path, meter: Meter) -> dict[str, Any]:
    from console.cli.series_files import BadSeries, score_series
    from detectors.series import THRESHOLD

    scored: list[dict[str, Any]] = []
    problems: list[dict[str, Any]] = []
    began = time.process_time()
    for number, path in enumerate(files, 1):
        name = path.relative_to(data).as_posix()
        meter(number, name)
        target = out / path.relative_to(data)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            done = score_series(path, target)
        except BadSeries as bad:
            problems.append({"file": name, "line": bad.line, "column": bad.column, "problem": bad.problem})
            continue
        except OSError as problem:
            meter.done()
            raise Failed(f"{target} can't be written: {problem.strerror or problem}") from None
        scored.append(
            {"file": name, "rows": done.rows, "told": done.told, "highest": done.highest, "steps_back": done.back}
        )
    meter.done()
    return {
        "threshold": THRESHOLD,
        "rows": sum(each["rows"] for each in scored),
        "told": sum(each["told"] for each in scored),
        "cpu_secs": round(time.process_time() - began, 3),
        "files": scored,
        "problems": problems,
    }


def _say(summary: dict[str, Any], out: Path) -> None:
    rows, micros = summary["rows"], summary["cpu_secs"] * 1e6
    click.echo(f"{len(summary['files'])} files, {rows:,} rows, {micros / max(rows, 1):.1f} µs of CPU a row.")
    click.echo(f"{summary['told']:,} rows reach {summary['threshold']}, the threshold to look at them.")
    for each in summary["files"]:
        if each["steps_back"]:
            lines = ", ".join(map(str, each["steps_back"][:5])) + (", …" if len(each["steps_back"]) > 5 else "")
            click.echo(f"{plain(each['file'])}: the clock goes back at line {lines}; scored all the same", err=True)
    click.echo(f"Written to {out}")


def _place(problem: dict[str, Any]) -> str:
    place = plain(problem["file"]) + (f":{problem['line']}" if problem["line"] else "")
    return f"{place}: {problem['column']}" if problem["column"] else place

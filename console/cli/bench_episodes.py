"""``tripline bench episodes``: how unlike confirmed good runs an agent's episodes are."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.common import Failed, print_json

if TYPE_CHECKING:
    from detectors.episodes import Episode, EpisodeScorer

_FILE = click.Path(dir_okay=False, path_type=Path)
FEW_RUNS = 50
"""With fewer confirmed good runs that write, scores are much weaker; docs/benchmarks.md has the figures."""

EXAMPLES = """\b
Examples:
  tripline bench episodes --train confirmed.jsonl.gz --test new.jsonl --out scores.csv
  tripline bench episodes --train confirmed.jsonl --test new.jsonl --out scores.csv --reasons reasons.txt --json

\b
A line of a file is an episode: {"query": "…", "events": [{"tool": "crm", "action": "update_customer",
"arguments": {"customer_id": "17"}, "error": false}]}, in the training file with "correct": true or false.
Exit codes: 0 scored, 1 a file can't be used (the message names the line), 2 wrong usage.
"""


@click.command("episodes", epilog=EXAMPLES)
@click.option("--train", required=True, type=_FILE, help="Episodes with `correct`; those that are true are learnt.")
@click.option("--test", required=True, type=_FILE, help="Episodes to score; labels in them are not read.")
@click.option("--out", required=True, type=_FILE, help="CSV to write: row (from 0) and score (higher is worse).")
@click.option("--reasons", type=_FILE, help="Write to this file why: a line for each episode.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(train: Path, test: Path, out: Path, reasons: Path | None, as_json: bool, quiet: bool) -> None:
    """Score the episodes of one file against the confirmed good ones of another.

    Learns from episodes with `correct` true alone, and from nothing else in that file. An episode's score depends on
    the training file and on itself only. The files are JSON Lines, compressed with gzip or not.
    """
    from console.cli.episode_files import Labelled, read_episodes
    from detectors.episodes import Episode, EpisodeScorer

    _check_different(train, test, out, reasons)
    began = time.monotonic()
    good = [(line, episode) for line, episode in read_episodes(train, Labelled) if episode.correct]
    if not good:
        raise Failed(
            f"{train}: no episode has `correct` true, and only confirmed good ones are learnt from. "
            "Confirm some (a hundred with writes are enough) and mark them."
        )
    scorer = EpisodeScorer((f"{train.name}:{line + 1}", episode) for line, episode in good)
    episodes = _counted(read_episodes(test, Episode), quiet)
    rows = list(_scored(scorer, episodes, with_reasons=reasons is not None))
    _write(out, ("row,score\n", *(f"{row},{score!r}\n" for row, score, _ in rows)))
    if reasons is not None:
        _write(reasons, (f"row {row}, score {score:.3f}: {why}\n" for row, score, why in rows))
    told = {
        "good_runs": len(good),
        "good_runs_with_a_write": len(scorer.library.runs),
        "scored": len(rows),
        "without_a_write": sum(score < 1.0 for _, score, _ in rows),
        "out": str(out),
        "secs": round(time.monotonic() - began, 1),
    }
    _say(told, as_json)


def _check_different(train: Path, test: Path, out: Path, reasons: Path | None) -> None:
    """What is written must not be what is read, nor the same file twice."""
    read = {train.resolve(), test.resolve()}
    written = [path.resolve() for path in (out, reasons) if path is not None]
    if read & set(written) or len(set(written)) < len(written):
        raise click.UsageError("--out and --reasons must be two other files than --train and --test")


def _scored(
    scorer: EpisodeScorer, episodes: Iterable[tuple[int, Episode]], *, with_reasons: bool
) -> Iterator[tuple[int, float, str]]:
    from console.text import plain

    for row, episode in episodes:
        if with_reasons:
            verdict = scorer.judge(episode)
            yield row, verdict.score, plain(" ".join(verdict.reasons), 4_000)
        else:
            yield row, scorer.score(episode), ""


def _counted(episodes: Iterator[tuple[int, Episode]], quiet: bool) -> Iterator[tuple[int, Episode]]:
    """The episodes, with a line on the terminal that counts them."""
    if quiet or not sys.stderr.isatty():
        yield from episodes
        return
    shown = time.monotonic()
    for number, episode in enumerate(episodes, 1):
        yield episode
        if time.monotonic() - shown > 0.2:
            shown = time.monotonic()
            click.echo(f"\r{number:,} episodes", err=True, nl=False)
    click.echo("\r" + " " * 30 + "\r", err=True, nl=False)


def _write(path: Path, lines: Iterable[str]) -> None:
    """Write a file as a whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
        os.replace(part, path)
    except OSError as problem:
        part.unlink(missing_ok=True)
        raise Failed(f"{path} can't be written: {problem.strerror}") from None


def _say(told: dict[str, object], as_json: bool, echo: Callable[..., None] = click.echo) -> None:
    runs = told["good_runs_with_a_write"]
    if isinstance(runs, int) and runs < FEW_RUNS:
        echo(
            f"warning: only {runs} confirmed good runs write anything. Scores are weak: on a public corpus the chance "
            "that a harmful episode scored above another was .66 with 20 good episodes, .82 with 100, .88 with 550, "
            "among those that wrote something.",
            err=True,
        )
    if as_json:
        print_json(told)
        return
    echo(
        f"{told['scored']:,} episodes scored against {told['good_runs']:,} confirmed good ones ({runs:,} with a "
        f"write) in {told['secs']} s; {told['without_a_write']:,} changed nothing. Scores: {told['out']}"
    )

"""``tripline bench``: the detectors' statistics on public corpora, each in one fixed configuration."""

from __future__ import annotations

import click

from console.cli import LazyGroup

BENCHES: dict[str, tuple[str, str]] = {
    "nab": ("console.cli.bench_nab", "Anomaly scores for the files of the Numenta Anomaly Benchmark."),
    "episodes": ("console.cli.bench_episodes", "Scores of agents' episodes against confirmed good ones."),
}


@click.group(cls=LazyGroup, lazy=BENCHES, epilog="\b\nExample:\n  tripline bench nab --data nab/ --out scores/")
def command() -> None:
    """Run the detectors' statistics over a corpus, and write their scores."""

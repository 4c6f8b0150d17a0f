"""``tripline produce``: log files into the Kafka topics."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from console.cli.common import Failed, load_settings, print_json, settings_options
from console.cli.topics import asking


@click.command(
    epilog="""\b
Examples:
  tripline produce actions.jsonl
  tripline produce mon.jsonl.gz tue.jsonl.gz --rate 5000
  tripline simulate --days 1 --out day.jsonl && tripline produce day.jsonl --as-live --rate 50
"""
)
@click.argument("logs", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Events a second at most.")
@click.option("--as-live", is_flag=True, help="Give each event the time at which it is sent.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def produce(
    logs: tuple[Path, ...], rate: float | None, as_live: bool, as_json: bool, config: str | None, data_dir: str | None
) -> None:
    """Write the events of LOGS (.jsonl, .jsonl.gz) to the input topics, in their order, each under its key.

    Lines that can't be read go to the topic of dead letters with the reason; the exit code is 0 all the same.
    """
    from streams.kafka.produce import produce as send

    kafka = load_settings(config, {"server.data_dir": data_dir}).kafka
    shows = sys.stderr.isatty() and not as_json

    def progress(events: int) -> None:
        click.echo(f"\r{events:,} events", nl=False, err=True)

    try:
        done = asking(lambda: send(logs, kafka, rate=rate, as_live=as_live, progress=progress if shows else None))
    except (OSError, EOFError) as problem:
        raise Failed(str(problem)) from None
    if as_json:
        print_json(done)
        return
    if shows:
        click.echo("\r", nl=False, err=True)
    speed = f"{done.events / done.secs:,.0f} a second" if done.secs else ""
    click.echo(f"{done.events:,} events written in {done.secs:.1f} s ({speed}).")
    for topic, count in sorted(done.records.items()):
        click.echo(f"  {kafka.prefix}{topic}: {count:,}")
    for reason, count in sorted(done.dead_letters.items()):
        click.echo(f"  could not be read ({reason}): {count:,}")

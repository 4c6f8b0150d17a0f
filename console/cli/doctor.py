"""``tripline doctor``: is everything as it should be?"""

from __future__ import annotations

import click

from console.cli.common import PROBLEM, print_json, settings_options
from console.text import plain

MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


@click.command(
    epilog="""\b
Examples:
  tripline doctor
  tripline doctor --kafka
  tripline doctor --config tripline.toml --json
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--kafka", "with_kafka", is_flag=True, help="Also check [kafka]: brokers, topics, partitioners, lag, clocks."
)
@settings_options
def doctor(as_json: bool, with_kafka: bool, config: str | None, data_dir: str | None) -> None:
    """Check configuration, store, ports, disk, clock and people, and say what to do. Exit code 1: a problem."""
    from console.cli.checks import Check, check_all
    from console.cli.common import Failed, load_settings
    from console.cli.kafka_checks import check_kafka

    try:
        settings = load_settings(config, {"server.data_dir": data_dir})
        found = [Check("configuration", "ok", config or "tripline.toml, variables and defaults"), *check_all(settings)]
        found += check_kafka(settings) if with_kafka else ()
    except Failed as problem:
        found = [Check("configuration", "problem", problem.message, "mend the settings; tripline doctor says the rest")]
    if as_json:
        print_json(found)
    else:
        for check in found:
            click.echo(f"{MARKS[check.status]}  {check.name}: {plain(check.message, 2000)}")
            if check.advice:
                click.echo(f"         → {check.advice}")
    if any(check.status == "problem" for check in found):
        raise SystemExit(PROBLEM)

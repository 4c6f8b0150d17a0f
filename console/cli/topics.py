"""``tripline topics``: make Tripline's topics on Kafka, and compare them with the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from console.cli.common import PROBLEM, UNREACHABLE, Failed, load_settings, print_json, print_table, settings_options
from console.text import plain

if TYPE_CHECKING:
    from governance.settings_types import Kafka

T = TypeVar("T")


@click.group(
    epilog="""\b
Examples:
  tripline topics create
  tripline topics check --json
  TRIPLINE_KAFKA_BOOTSTRAP=kafka-1:9092,kafka-2:9092 tripline topics check
"""
)
def topics() -> None:
    """Kafka topics: make them, and say where they differ from the settings."""


@topics.command(
    epilog="\b\nExamples:\n  tripline topics create\n  tripline topics create --apply --config tripline.toml"
)
@click.option("--apply", is_flag=True, help="Also set configurations of topics that are there and differ.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def create(apply: bool, as_json: bool, config: str | None, data_dir: str | None) -> None:
    """Make the topics that are missing. Never touches partitions or records of those that are there."""
    from streams.kafka import admin

    kafka = load_settings(config, {"server.data_dir": data_dir}).kafka
    made = asking(lambda: admin.create(kafka, apply=apply))
    left = asking(lambda: admin.check(kafka))
    if as_json:
        print_json({"topics": made, "differences": left})
    else:
        rows = [(one.topic, one.did, ", ".join(f"{k} = {v}" for k, v in one.changed.items())) for one in made]
        print_table(("topic", "was", "set"), rows, "No topics.")
        _say(left)
    if left:
        raise SystemExit(PROBLEM)


@topics.command(epilog="\b\nExample:\n  tripline topics check --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def check(as_json: bool, config: str | None, data_dir: str | None) -> None:
    """Name each difference between the topics and the settings. Exit code 1 when there is one."""
    from streams.kafka import admin

    kafka: Kafka = load_settings(config, {"server.data_dir": data_dir}).kafka
    found = asking(lambda: admin.check(kafka))
    if as_json:
        print_json({"differences": found})
    elif not found:
        click.echo(f"All topics are as the settings say ({kafka.partitions} partitions each).")
    else:
        _say(found)
    if found:
        raise SystemExit(PROBLEM)


def asking(ask: Callable[[], T]) -> T:
    """What the brokers answer; ends the command with what to do when they can't or won't."""
    from streams.kafka.connect import KafkaProblem

    try:
        return ask()
    except KafkaProblem as problem:
        code = UNREACHABLE if "no broker answers" in str(problem) else PROBLEM
        raise Failed(f"{plain(problem, 1000)}\n→ {problem.advice}", code) from None


def _say(differences: list) -> None:  # type: ignore[type-arg]
    for one in differences:
        click.echo(f"{one.topic}: {one.what} is {plain(one.found, 200)}, wanted is {one.wanted}")
        click.echo(f"    → {one.cure}")

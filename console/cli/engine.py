"""``tripline engine``: another engine beside the active one on Kafka: rebuilt, compared, switched to."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import click

from console.cli.common import (
    REFUSED,
    Failed,
    load_settings,
    moment,
    print_json,
    print_table,
    settings_options,
)
from console.cli.console import on_store
from console.cli.topics import asking
from console.text import plain
from events.times import HOUR_MS, format_ms

if TYPE_CHECKING:
    from governance.settings_types import Kafka, Settings
    from storage.engines import Engines
    from streams.kafka.engines import Comparison
    from streams.kafka.look import Lag

MOST_BEHIND = 1_000
"""An engine that has more records to judge than this is not switched to without --force."""


@click.group(
    epilog="""\b
Examples:
  tripline engine green
  tripline worker --engine green
  tripline engine green --hours 168
  tripline engine switch green --by maya --reason "new detectors, compared for a week"
"""
)
def engine() -> None:
    """A new version, or other settings, judged beside the active engine before it counts.

    The other engine reads the same inputs from their beginning, keeps states of its own and writes to topics of its
    own; nobody acts on what it says until it is switched to.
    """


@engine.command("list", epilog="\b\nExample:\n  tripline engine list --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def list_(as_json: bool, config: str | None, data_dir: str | None) -> None:
    """Which engines there are, which one is active, and how far each is behind."""
    from streams.kafka import engines

    settings = load_settings(config, {"server.data_dir": data_dir})
    now = _engines(settings)
    found = [(name, asking(partial(engines.behind, settings.kafka, name))) for name in _known(settings.kafka)]
    if as_json:
        rows = [{"engine": name, "active": name == now.active, "behind": _behind(lags)} for name, lags in found]
        print_json({"engines": rows, "switch": now})
        return
    print_table(
        ("engine", "", "records to judge"),
        [(name, "active" if name == now.active else "watches", _say_behind(lags)) for name, lags in found],
        "No engine.",
        right=("records to judge",),
    )
    if now.version:
        when = moment(format_ms(now.at_ms))
        click.echo(f"Switched from {now.previous} at {when} by {plain(now.by, 80)}: {plain(now.reason)}")


@engine.command(epilog="\b\nExamples:\n  tripline engine green\n  tripline engine green blue --hours 168 --json")
@click.argument("name", default="green")
@click.option(
    "--hours", type=click.FloatRange(0.01), default=24.0, show_default=True, help="Compare what was said since then."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def green(name: str, hours: float, as_json: bool, config: str | None, data_dir: str | None) -> None:
    """Make the topics of another engine, say how far its workers are, and compare it with the active one."""
    from streams.kafka import engines
    from streams.kafka.spec import check_name

    asking(lambda: check_name(name))
    settings = load_settings(config, {"server.data_dir": data_dir})
    since_ms = time.time_ns() // 1_000_000 - round(hours * HOUR_MS)
    active = _engines(settings).active
    if name == active:
        raise Failed(f"{name} is the active engine; give another one a name: tripline engine green blue")
    made = asking(lambda: engines.make_topics(settings.kafka, name))
    lags = asking(lambda: engines.behind(settings.kafka, name))
    has_begun = _behind(lags) is not None
    compared = asking(lambda: engines.compare(settings.kafka, active, name, since_ms)) if has_begun else None
    if as_json:
        print_json({"engine": name, "active": active, "topics": made, "behind": _behind(lags), "comparison": compared})
        return
    new = sum(one.did == "created" for one in made)
    click.echo(f"{new} topics created, {len(made) - new} there already. Records to judge: {_say_behind(lags)}.")
    if compared is None:
        click.echo(f"→ start its workers: tripline worker --engine {name}, with the version and settings to try")
        return
    _print(compared)


@engine.command(epilog='\b\nExample:\n  tripline engine switch green --by maya --reason "compared for a week"')
@click.argument("name")
@click.option("--by", required=True, help="Who decides it.")
@click.option("--reason", required=True, help="Why.")
@click.option("--force", is_flag=True, help="Also when it is behind, or nothing shows that it works.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def switch(
    name: str, by: str, reason: str, force: bool, as_json: bool, config: str | None, data_dir: str | None
) -> None:
    """Have another engine's findings count, from the records that follow in each partition.

    The one that was active watches from there on, so that you can switch back. Its workers go on until you stop them.
    """
    from storage import engines as stored
    from streams.kafka import engines

    settings = load_settings(config, {"server.data_dir": data_dir})
    if not by.strip() or not reason.strip():
        raise click.UsageError("--by and --reason may not be empty")
    if name not in _known(settings.kafka):
        raise Failed(f"there is no engine {plain(name, 40)}; make it: tripline engine green {plain(name, 40)}")
    records = _behind(asking(lambda: engines.behind(settings.kafka, name)))
    if not force and (records is None or records > MOST_BEHIND):
        said = "has judged nothing yet" if records is None else f"has {records:,} records to judge"
        raise Failed(f"{name} {said}; wait until it has caught up, or give --force", REFUSED)
    names = _known(settings.kafka)
    asking(lambda: engines.make_topics(settings.kafka, name))
    made = on_store(
        settings,
        lambda link: stored.switch(
            link, name, by, reason, lambda new, now_ms: engines.switch_records(settings.kafka, names, new, now_ms)
        ),
    )
    if as_json:
        print_json(made)
        return
    click.echo(f"{made.active} is active from the records that follow; {made.previous} watches from there on.")
    click.echo("A running console tells the workers at once; without one it is told when the next one starts.")


@engine.command(epilog="\b\nExample:\n  tripline engine drop green --yes")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options
def drop(name: str, yes: bool, config: str | None, data_dir: str | None) -> None:
    """Delete the topics of an engine that only watches, its states with them. Stop its workers before."""
    from streams.kafka import engines

    settings = load_settings(config, {"server.data_dir": data_dir})
    now = _engines(settings)
    if name == now.active:
        raise Failed(f"{name} is the active engine; switch to another one before", REFUSED)
    if name == "main":
        raise Failed("main has the topics that all engines share; stop its workers, and leave them", REFUSED)
    if name not in _known(settings.kafka):
        raise Failed(f"there is no engine {plain(name, 40)}")
    if not yes:
        click.confirm(f"Delete the states and outputs of {name} for good?", abort=True)
    for topic in asking(lambda: engines.drop_topics(settings.kafka, name)):
        click.echo(f"{topic} deleted")


# --- parts -----------------------------------------------------------------------------------------------------------


def _known(kafka: Kafka) -> list[str]:
    from streams.kafka import engines

    return asking(lambda: engines.known(kafka))


def _engines(settings: Settings) -> Engines:
    from storage import engines

    return on_store(settings, engines.engines)


def _behind(lags: list[Lag]) -> int | None:
    """Records to judge; None when it has not saved anything of some topic yet."""
    if any(one.records is None for one in lags):
        return None
    return sum(one.records or 0 for one in lags)


def _say_behind(lags: list[Lag]) -> str:
    records = _behind(lags)
    return "all: it has judged nothing yet" if records is None else f"{records:,}"


def _print(compared: Comparison) -> None:
    parts = {
        "findings": compared.findings,
        "of these, stops and limits": compared.requests,
        "deals' risks": compared.risks,
        "alerts": compared.alerts,
    }
    since, until = (moment(format_ms(at_ms)) for at_ms in (compared.since_ms, compared.until_ms))
    click.echo(f"From {since} to {until}, as far as both have judged:")
    print_table(
        ("", "both", f"only {compared.active}", f"only {compared.other}"),
        [(name, part.both, part.only_active, part.only_other) for name, part in parts.items()],
        "",
        right=("both", f"only {compared.active}", f"only {compared.other}"),
    )
    for part in (compared.requests, compared.findings, compared.risks, compared.alerts):
        for example in part.examples:
            click.echo(f"  {plain(example, 300)}")

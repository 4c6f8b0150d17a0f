"""``tripline deals pipeline``: whether the pipeline itself goes wrong, from logs of the past."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli.common import Failed, Server, load_settings, print_json, print_table, server_options
from console.text import plain

if TYPE_CHECKING:
    from events.adapters.mapping import Mapping
    from events.types import ChangeEvent
    from scoring.pipeline import Week

SHOWN_WEEKS = 12

EXAMPLES = """\b
Examples:
  tripline deals pipeline crm.jsonl.gz
  tripline deals pipeline events.csv.gz --mapping docs/examples/bpic2017.toml --teams 10 --json

\b
Exit codes: 0 as usual, 1 a problem, 2 wrong usage or mapping, 6 something is not as usual.
"""
UNUSUAL = 6


@click.command("pipeline", epilog=EXAMPLES)
@click.argument("logs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--mapping",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="LOG is an event log (CSV or XES), and this says what it means; without it LOGs are JSON Lines of events.",
)
@click.option("--teams", type=click.IntRange(0, 200), default=0, help="Draw so many teams, where no owner is told.")
@click.option(
    "--per-year", type=click.FloatRange(0.01, 100), default=1.0, show_default=True, help="False alarms a year."
)
@click.option("--config", envvar="TRIPLINE_CONFIG", type=click.Path(dir_okay=False), help="Settings: [deals].")
@server_options
def pipeline(
    logs: tuple[Path, ...],
    mapping: Path | None,
    teams: int,
    per_year: float,
    config: str | None,
    url: str,
    token: str,
    as_json: bool,
) -> None:
    """Deals created, moved, closed, won and pushed by week, of all, each team and each segment.

    Each series is judged by its own last weeks, with at most --per-year false alarms a year over all of them. Without
    a LOG it asks a running server, which knows of deals created, closed and won.
    """
    if logs:
        told = _of_logs(logs, mapping, teams, per_year, config)
    elif mapping is not None or teams:
        raise click.UsageError("--mapping and --teams are for a LOG")
    else:
        told = Server(url, token).get("/v1/deals/pipeline")
    if as_json:
        print_json(told)
    else:
        _say(told)
    if told["alarms"]:
        raise click.exceptions.Exit(UNUSUAL)


def _of_logs(
    logs: tuple[Path, ...], mapping: Path | None, teams: int, per_year: float, config: str | None
) -> dict[str, Any]:
    import msgspec

    from streams.pipeline import watch

    weeks = list(_weeks(logs, mapping, teams, config))
    groups = len({week.group for week in weeks})
    found: dict[str, Any] = msgspec.to_builtins(
        {"weeks": weeks, "alarms": watch(weeks, groups, per_year), "groups": groups, "notes": []}
    )
    return found


def _weeks(logs: tuple[Path, ...], mapping: Path | None, teams: int, config: str | None) -> Iterator[Week]:
    from datetime import tzinfo
    from zoneinfo import ZoneInfo

    from events.times import parse_ms
    from scoring.features import deal_of
    from scoring.pipeline import Pipeline
    from scoring.stages import Process
    from streams.deals import process_of

    settings = load_settings(config).deals
    process, zone, changes = process_of(settings), ZoneInfo(settings.time_zone), _events(logs)
    if mapping is not None:
        from console.cli.deals_backtest import log_zone, read_mapping

        how = read_mapping(mapping)
        outcome = how.outcome
        ends = ((outcome.won_stage, 1.0, True, False), (outcome.lost_stage, 1.0, False, True))
        process, zone, changes = Process(ends), log_zone(how), _mapped(logs, how)
    local: tzinfo = zone
    folded = Pipeline(process, settings.managers, local)
    drawn: set[str] = set()
    for event in changes:
        deal_id = deal_of(event.data)
        if deal_id is None or not isinstance(event.data.changes, dict):
            continue
        told: dict[str, Any] = dict(event.data.changes)
        if teams and deal_id not in drawn:
            drawn.add(deal_id)
            told.setdefault("owner_id", (None, _team(deal_id, teams)))
        yield from folded.take(parse_ms(event.time), deal_id, told)


def _team(deal_id: str, teams: int) -> str:
    from xxhash import xxh3_64_intdigest

    return f"{xxh3_64_intdigest(deal_id.encode()) % teams + 1}"


def _events(logs: tuple[Path, ...]) -> Iterator[ChangeEvent]:
    from events.types import ChangeEvent
    from streams.replay.reader import BadLine, OutOfOrder, read

    bad: list[BadLine] = []
    try:
        for items in read(logs, bad):
            for item in items:
                if isinstance(item[4], ChangeEvent):
                    yield item[4]
    except (OSError, EOFError, OutOfOrder) as problem:
        raise Failed(f"{logs[0]} can't be read: {problem}") from None
    if bad:
        first = f"{bad[0].path}, line {bad[0].line}: {plain(bad[0].problem, 300)}"
        click.echo(f"{len(bad):,} lines can't be read, and are left out; the first is {first}", err=True)


def _mapped(logs: tuple[Path, ...], how: Mapping) -> Iterator[ChangeEvent]:
    from console.cli.deals_backtest import log_rows
    from events.adapters.eventlog import read
    from events.types import ChangeEvent

    for path in logs:
        for item in read(log_rows(path), how, path.name):
            if isinstance(item, ChangeEvent):
                yield item


def _say(told: dict[str, Any]) -> None:
    everybody = [week for week in told["weeks"] if week["group"] == "all"]
    click.echo(f"{len(everybody)} weeks, {told['groups']} groups.")
    for note in told["notes"]:
        click.echo(f"  {plain(note, 400)}")
    names = ("monday", "standing", "created", "moved", "ended", "pushed", "won", "closed")
    rows = [tuple(week[name] for name in names) for week in everybody[-SHOWN_WEEKS:]]
    columns = ("week of", "standing", "created", "steps", "ended", "pushed", "won", "closed")
    print_table(columns, rows, "No whole week is known.", columns[1:])
    click.echo()
    for line in [plain(alarm["sentence"], 400) for alarm in told["alarms"]] or ["Everything is as usual."]:
        click.echo(line)

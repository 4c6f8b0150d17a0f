"""``tripline deals forecast-backtest``: how good the forecast would have been on a log of the past."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from console.cli.common import Failed, print_json, print_table
from console.cli.deals_backtest import (
    file_options,
    log_zone,
    make_folder,
    one_core,
    parse_date,
    read_log,
    read_mapping,
    tell_dead,
)
from console.text import plain

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NAMES = {"wins": "wins", "open_wins": "wins of deals open at the origin", "amount": "amount"}
PEERS = {
    "stage_weighted": "stage-weighted pipeline",
    "stage_in_time": "stage × rate within the days",
    "stage_and_births": "… and our births",
    "recent": "as many as lately",
}

EXAMPLES = """\b
Examples:
  tripline deals forecast-backtest events.csv.gz --mapping docs/examples/bpic2017.toml --from 2016-05-02 --out fc

\b
Exit codes: 0 done, 1 the log can't be judged (the message says why), 2 wrong usage or mapping.
"""


@click.command("forecast-backtest", epilog=EXAMPLES)
@click.argument("log", type=_FILE)
@click.option("--mapping", required=True, type=_FILE, help="What columns and activities mean (TOML, docs/imports.md).")
@click.option("--from", "first", required=True, metavar="DATE", help="Forecast at each Monday from this day on.")
@click.option("--until", metavar="DATE", help="The last day of forecasts [default: as late as the log can tell].")
@click.option("--days", type=click.IntRange(1, 184), default=28, show_default=True, help="How far each looks ahead.")
@click.option(
    "--teams", type=click.IntRange(1, 200), default=10, show_default=True, help="Drawn teams, where no owner is told."
)
@file_options
def forecast_backtest(
    log: Path,
    mapping: Path,
    first: str,
    until: str | None,
    days: int,
    teams: int,
    kind: str,
    delimiter: str,
    out: Path,
    as_json: bool,
) -> None:
    """Forecast wins (and money, where the log has amounts) of the next days at each Monday, and compare with what came.

    At each Monday, 08:00 of the mapping's time zone, everything is learned anew from what lies strictly before it.
    Groups are the owners of the log's owner column, else teams drawn by a hash of the case. Writes report.json and
    report.html to --out, and dead-lines.jsonl for rows that can't be read.
    """
    one_core()
    from console.backtest.files import write_json, write_text
    from console.backtest.forecast import forecast_page, forecast_report
    from scoring.backtest.clock import instant_ms
    from scoring.backtest.errors import BacktestError
    from scoring.backtest.forecast import Question, run
    from scoring.backtest.groups import Facts

    how = read_mapping(mapping)
    zone = log_zone(how)
    first_ms = instant_ms(parse_date(first, "--from"), zone)
    until_ms = instant_ms(parse_date(until, "--until") + timedelta(days=1), zone) - 1 if until else None
    facts = Facts(how, teams)
    try:
        read = read_log(log, how, kind, delimiter, facts)
        facts.settle()
        make_folder(out)
        tell_dead(read, out)
        result = run(read.log, facts, how, zone, Question(first_ms, until_ms, days))
    except BacktestError as problem:
        raise Failed(f"{log}: {plain(problem, 4000)}") from None
    report = forecast_report(log.name, read, facts, result, zone, days)
    try:
        write_json(out / "report.json", report)
        write_text(out / "report.html", forecast_page(report))
    except OSError as problem:
        raise Failed(f"{out} can't be written: {problem}") from None
    if as_json:
        print_json({key: report[key] for key in ("log", "notes", "figures")})
        return
    _say(report, out)


def _say(report: dict[str, Any], out: Path) -> None:
    click.echo(f"{len(report['origins'])} Mondays, {report['horizon_days']} days ahead, {report['groups']} groups.")
    for note in report["notes"]:
        click.echo(f"  {plain(note, 400)}")
    rows: list[tuple[str, ...]] = []
    for target, scopes in report["figures"].items():
        for scope, found in scopes.items():
            rows.append((f"{NAMES[target]}, {scope}", *_cells(found), ""))
            for peer, theirs in found["peers"].items():
                below = theirs["crps_below_by"]
                rows.append((f"    {PEERS[peer]}", *_cells(theirs), "–" if below is None else f"{below:.0%}"))
    columns = ("", "coverage of 80 %", "CRPS", "error", "ours is below by")
    print_table(columns, rows, "Nothing was forecast.", columns[1:])
    click.echo(f"{out / 'report.html'}")


def _cells(found: dict[str, Any]) -> tuple[str, str, str]:
    covered, missed = found["coverage_80"], found["mape"]
    return (
        "–" if covered is None else f"{covered:.2f}",
        f"{found['crps']:,.2f}",
        "–" if missed is None else f"{missed:.1%}",
    )

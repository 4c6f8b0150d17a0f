"""``tripline deals forecast``: what a running Tripline expects to be won."""

from __future__ import annotations

from typing import Any

import click

from console.cli.common import Server, print_json, print_table, server_options


@click.command(epilog="\b\nExamples:\n  tripline deals forecast\n  tripline deals forecast --until 2026-12-31 --json")
@click.option("--manager", help="Of one manager [default: of each, and of all].")
@click.option("--until", metavar="DATE", help="The last day, included [default: that of the quarter].")
@server_options
def forecast(manager: str | None, until: str | None, url: str, token: str, as_json: bool) -> None:
    """Wins and money to the quarter's end per manager, with an 80 % interval, against quota."""
    told = Server(url, token).get("/v1/deals/forecast", manager=manager, until=until)
    if as_json:
        print_json(told)
        return
    click.echo(f"From {told['at'][:10]} to {told['until']}; won counts from {told['since']} on.")
    if not told["proven"]:
        click.echo("  unproven on your CRM until enough deals have closed")
    for note in told["notes"]:
        click.echo(f"  {note}")
    rows = [row for one in told["outlooks"] for row in _rows(one)]
    columns = ("manager", "open", "won", "wins to come", "80 %", "", "won", "to come", "80 %", "quota", "chance")
    print_table(columns, rows, "No deal is open.", columns[1:])


def _rows(one: dict[str, Any]) -> list[tuple[Any, ...]]:
    wins = one["wins"]
    spread = f"{wins['low']:.0f} – {wins['high']:.0f}"
    head = (one["manager_id"] or "all", one["open_deals"], one["won"], f"{wins['mean']:.1f}", spread)
    found: list[tuple[Any, ...]] = []
    for money in one["money"] or [None]:
        cells = ("", "–", "–", "–") if money is None else _money(money)
        is_quota = money is not None and money["currency"] == one["currency"] and one["quota"] is not None
        quota = (_whole(one["quota"]), f"{one['quota_chance']:.0%}") if is_quota else ("", "")
        found.append((*(head if not found else [""] * len(head)), *cells, *quota))
    return found


def _money(money: dict[str, Any]) -> tuple[str, str, str, str]:
    spread = f"{_whole(money['low'])} – {_whole(money['high'])}"
    return money["currency"], _whole(money["won"]), _whole(money["mean"]), spread


def _whole(decimal: str) -> str:
    return f"{float(decimal):,.0f}"

"""``tripline deals feedback`` and ``close-out``: what people say of alerts, and deals that are as good as lost."""

from __future__ import annotations

from typing import Any

import click

from console.cli.common import (
    Server,
    person_options,
    person_server,
    print_json,
    print_table,
    segment,
    server_options,
)
from console.cli.deals import percent
from console.text import plain


@click.command(
    "feedback",
    epilog="\b\nExamples:\n  tripline deals feedback 006A1 useful --user eva\n"
    '  tripline deals feedback 006A1 wrong --reason "the buyer is on leave until May" --user eva\n'
    "  tripline deals alerts",
)
@click.argument("deal_id")
@click.argument("verdict", type=click.Choice(["useful", "known", "wrong"]))
@click.option("--alert", "alert_id", default="", help="Which alert of the deal [default: its last one].")
@click.option("--reason", default="", help="Why; kept and shown.")
@person_options
def feedback(deal_id: str, verdict: str, alert_id: str, reason: str, user: str, url: str, as_json: bool) -> None:
    """Say whether an alert about a deal was useful, known before, or wrong. Your last word on it stands.

    It is kept and measured (tripline deals alerts); which deals you are told of does not depend on it.
    """
    body = {"verdict": verdict, "reason": reason, "alert_id": alert_id}
    told = person_server(url, user).post(f"/v1/deals/{segment(deal_id)}/feedback", body)
    if as_json:
        print_json(told)
    else:
        click.echo(f"Kept: the alert {plain(told['alert_id'], 200)} was {told['verdict']}, says {plain(told['by'])}.")


@click.command("alerts", epilog="\b\nExamples:\n  tripline deals alerts\n  tripline deals alerts --manager user:005B9")
@click.option("--manager", help="Whose alerts [default: everybody's].")
@server_options
def alerts(manager: str | None, url: str, token: str, as_json: bool) -> None:
    """How many alerts were given in 90 days, and what people said of them."""
    told = Server(url, token).get("/v1/deals/feedback", manager=manager)
    if as_json:
        print_json(told)
        return
    columns = ("", "alerts", "judged", "useful", "known", "wrong", "useful of judged")
    print_table(columns, [_row(one) for one in told["counts"] if one["given"]], "No alert in 90 days.", columns[1:])


@click.command("close-out", epilog="\b\nExample:\n  tripline deals close-out --manager user:005B9")
@click.option("--manager", help="Whose deals [default: everybody's].")
@server_options
def close_out(manager: str | None, url: str, token: str, as_json: bool) -> None:
    """Deals that are as good as lost: to be closed rather than chased. They are not among the five."""
    told = Server(url, token).get("/v1/deals/close-out", manager=manager)
    if as_json:
        print_json(told)
        return
    rows = [
        (
            row["deal"] or row["deal_id"],
            row["account"],
            f"{row['amount']} {row['currency'] or ''}" if row["amount"] is not None else "–",
            row["close_date"] or "–",
            percent(row["p_lost"]),
            "; ".join(reason["sentence"] for reason in row["reasons"][:2]),
        )
        for row in told["rows"]
    ]
    print_table(
        ("deal", "account", "amount", "closes", "lost?", "why"), rows, "No deal is hopeless.", ("amount", "lost?")
    )


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    return (
        one["kind"] or "all", one["given"], one["judged"], one["useful"], one["known"], one["wrong"],
        percent(one["precision"]),
    )  # fmt: skip

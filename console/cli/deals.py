"""``tripline deals``: the deals to look at."""

from __future__ import annotations

from typing import Any

import click

from console.cli import LazyGroup
from console.cli.common import Server, print_json, print_table, server_options

LAZY: dict[str, tuple[str, str]] = {
    "close-out": ("console.cli.deals_feedback", "Deals that are as good as lost: to be closed rather than chased."),
    "alerts": ("console.cli.deals_feedback", "How many alerts were given, and what people said of them."),
    "feedback": ("console.cli.deals_feedback", "Say whether an alert was useful, known before, or wrong."),
    "train": ("console.cli.deals_train", "Learn a model of deals from the log."),
    "health": ("console.cli.deals_health", "How the model that scores is doing, and what has moved."),
    "models": ("console.cli.deals_models", "The models of deals, and which of them scores."),
    "promote": ("console.cli.deals_models", "Have a model score deals, or the one before it again."),
    "forecast": ("console.cli.deals_forecast", "What will be won to the quarter's end, with an 80 % interval."),
    "quality": ("console.cli.deals_quality", "How sound the CRM's data is, of all, each team and each owner."),
    "pipeline": ("console.cli.deals_pipeline", "Whether the pipeline itself goes wrong, from logs of the past."),
    "backtest": ("console.cli.deals_backtest", "How good deal risk would have been on a log of the past."),
    "forecast-backtest": (
        "console.cli.deals_forecast_backtest",
        "How good the forecast would have been on a log of the past.",
    ),
}


class _Deals(LazyGroup):
    """The commands of this module, and those that are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *self.lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.commands.get(cmd_name) or super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [(name, command.get_short_help_str(100)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*own, *((name, text) for name, (_, text) in self.lazy.items())])


@click.group(cls=_Deals, lazy=LAZY, epilog="\b\nExample:\n  tripline deals top --manager user:005B9")
def deals() -> None:
    """Open deals and their risk."""


@deals.command(epilog="\b\nExamples:\n  tripline deals top\n  tripline deals top --manager user:005B9 --json")
@click.option("--manager", help="Whose five [default: the first of everybody's].")
@server_options
def top(manager: str | None, url: str, token: str, as_json: bool) -> None:
    """The five deals of a manager that are worth a look, why, and what to do."""
    told = Server(url, token).get("/v1/deals/top", manager=manager)
    if as_json:
        print_json(told)
        return
    print_table(
        ("", "deal", "account", "amount", "closes", "lost?", "slips?", "why", "do"),
        [
            (
                row["rank"] or "",
                row["deal"] or row["deal_id"],
                row["account"],
                f"{row['amount']} {row['currency'] or ''}" if row["amount"] is not None else "–",
                row["close_date"] or "–",
                percent(row["p_lost"]),
                percent(row["p_slip"]),
                "; ".join(reason["sentence"] for reason in row["reasons"][:2]),
                row["recommended_action"],
            )
            for row in told["rows"]
        ],
        "No deal needs attention.",
        right=("amount", "lost?", "slips?"),
    )


def percent(of: Any) -> str:
    """A probability as people read it; unknown is "–"."""
    return "–" if of is None else f"{of * 100:.0f} %"

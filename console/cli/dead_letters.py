"""``tripline dead-letters``: events that could not be read."""

from __future__ import annotations

from typing import Any

import click

from console.cli.common import (
    PROBLEM,
    Server,
    moment,
    person_options,
    person_server,
    print_json,
    print_table,
    server_options,
)


@click.group(
    "dead-letters", epilog="\b\nExamples:\n  tripline dead-letters list\n  tripline dead-letters redrive --user maya"
)
def command() -> None:
    """Events that could not be read are kept, counted, and can be tried again."""


@command.command("list", epilog="\b\nExample:\n  tripline dead-letters list --state all --limit 20")
@click.option("--state", type=click.Choice(["new", "redriven", "dropped", "all"]), default="new", show_default=True)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1_000))
@server_options
def list_(state: str, limit: int, url: str, token: str, as_json: bool) -> None:
    """What could not be read, and why; newest first."""
    told = Server(url, token).get("/v1/dead-letters", state=state, limit=limit)
    if as_json:
        print_json(told)
        return
    print_table(
        ("id", "at", "reason", "agent", "what was wrong"),
        [
            (row["id"], moment(row["at"]), row["reason"], row["agent_id"] or "–", row["message"])
            for row in told["dead_letters"]
        ],
        "No dead letters.",
        right=("id",),
    )


@command.command(
    epilog="\b\nExamples:\n  tripline dead-letters redrive --user maya\n  tripline dead-letters redrive 4 5"
)
@click.argument("ids", nargs=-1, type=click.IntRange(min=1))
@person_options
def redrive(ids: tuple[int, ...], url: str, user: str, as_json: bool) -> None:
    """Try them again (all that wait, or IDS) under their original ids.

    Exit code 1: some can't be taken still, and wait on. 3: there is no dead letter of one of these IDS.
    """
    told = _redriven(person_server(url, user), list(ids))
    if as_json:
        print_json(told)
    else:
        click.echo(f"{told['redriven']} taken, {told['duplicates']} had been taken before.")
        rows = [(bad["id"], bad["reason"], bad["message"]) for bad in told["still_bad"]]
        print_table(("id", "reason", "what is wrong still"), rows, "None left.")
    if told["still_bad"]:
        raise SystemExit(PROBLEM)


def _redriven(server: Server, ids: list[int]) -> dict[str, Any]:
    """What became of all; the server tries at most 1,000 at a time."""
    told: dict[str, Any] = {"redriven": 0, "duplicates": 0, "still_bad": []}
    asked: dict[str, Any] | None = {"ids": ids}
    while asked is not None:
        some = server.post("/v1/dead-letters/redrive", asked)
        for name in told:
            told[name] += some[name]
        following = some.get("next_after_id")
        asked = None if following is None else {"after_id": following}
    return told

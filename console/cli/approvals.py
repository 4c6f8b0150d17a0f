"""``tripline approvals``: what waits for a person. Looking only: a command line is no session of a person."""

from __future__ import annotations

from typing import Any

import click

from console.cli.common import Server, moment, print_json, print_table, server_options
from console.text import plain


@click.group("approvals", epilog="\b\nExamples:\n  tripline approvals list\n  tripline approvals show 019cb7efec00e293")
def command() -> None:
    """What waits for a person, and what became of it.

    Approving and refusing takes a person who is logged in and looks at the request's page (/approvals): a token or a
    command line can't.
    """


@command.command("list", epilog="\b\nExample:\n  tripline approvals list --all --agent outreach-drafter")
@click.option("--all", "is_all", is_flag=True, help="Also what was answered; the newest first.")
@click.option("--agent", default=None, help="Of one agent.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1_000))
@server_options
def list_(is_all: bool, agent: str | None, limit: int, url: str, token: str, as_json: bool) -> None:
    """What waits, by deadline."""
    told = Server(url, token).get("/v1/approvals", all=str(is_all).lower(), agent=agent, limit=limit)
    if as_json:
        print_json(told)
        return
    print_table(
        ("id", "until", "state", "agent", "action", "records", "people", "why it waits"),
        [
            (
                row["id"],
                moment(row["until"]),
                row["state"],
                row["agent_id"],
                row["content"]["action"],
                len({*row["content"]["record_ids"], *row["content"]["changes"]}),
                len(row["content"]["recipient_ids"]),
                row["held"],
            )
            for row in told["approvals"]
        ],
        "Nothing waits for a person.",
        right=("records", "people"),
    )


@command.command(epilog="\b\nExample:\n  tripline approvals show 019cb7efec00e293a68867b25a44199a")
@click.argument("approval_id")
@server_options
def show(approval_id: str, url: str, token: str, as_json: bool) -> None:
    """One request: each value before and after, who is reached, and what became of it."""
    told = Server(url, token).get(f"/v1/approvals/{approval_id}")
    if as_json:
        print_json(told)
        return
    one = told["approval"]
    content = one["content"]
    for name, text in (
        ("agent", one["agent_id"]),
        ("wants", f"{content['action']} {content.get('object') or ''}"),
        ("acts for", content.get("authorized_by") or "–"),
        ("waits for", f"{one['held']} ({one['rule']})"),
        ("state", f"{one['state']}, until {moment(one['until'])}"),
        ("who may", f"{', '.join(one['right'])}; not who asks, nor the agent's owner"),
        ("bound to", one["hash"]),
        ("changed", one["changed"]),
    ):
        if text:
            click.echo(f"{name:<10} {plain(text, 400)}")
    click.echo("")
    print_table(("record", "field", "before", "after"), list(_changes(content)), "It names no field.")
    if content["recipient_ids"]:
        click.echo(f"\nreaches    {plain(', '.join(content['recipient_ids']), 2_000)}")
    click.echo("")
    steps = [(moment(step["at"]), step["why"], step["by_id"], step["state"], step["reason"]) for step in told["steps"]]
    print_table(("at", "what", "who", "state", "reason"), steps, "")
    if one["state"] == "pending":
        click.echo(f"\nTo answer, log in and open {url.rstrip('/')}/approvals/{plain(one['id'], 64)}")


def _changes(content: Any) -> Any:
    for record, fields in content["changes"].items():
        for field, change in fields.items():
            before, after = change if isinstance(change, list) else ("not said", change["after"])
            yield record, field, before, after

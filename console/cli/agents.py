"""``tripline agents``: list, show, suspend, release."""

from __future__ import annotations

from typing import Any

import click

from console.cli.common import (
    REFUSED,
    Failed,
    Server,
    moment,
    person_options,
    person_server,
    print_json,
    print_table,
    segment,
    server_options,
)
from console.text import plain

STATE_ORDER = ("suspended", "releasing", "held", "throttled", "active")


@click.group(
    epilog="""\b
Examples:
  tripline agents list
  tripline agents show enrich-bot
  tripline agents suspend enrich-bot --reason "it writes nonsense" --user maya
  tripline agents release enrich-bot --reason "the loop is mended" --user maya
"""
)
def agents() -> None:
    """Agents: who they are, and whether they may act."""


@agents.command("list", epilog="\b\nExample:\n  tripline agents list --json")
@server_options
def list_(url: str, token: str, as_json: bool) -> None:
    """All agents, stopped ones first."""
    told = Server(url, token).get("/v1/agents")
    if as_json:
        print_json(told)
        return
    rows = sorted(told["agents"], key=lambda row: (STATE_ORDER.index(state_of(row)), row["agent_id"]))
    print_table(
        ("agent", "state", "epoch", "records 48 h", "last seen", "why"),
        [
            (
                row["agent_id"],
                state_of(row),
                (row["control"] or {}).get("epoch", 0),
                row["records_48h"],
                moment(row["last_seen"]),
                (row["control"] or {}).get("reason", "") if state_of(row) != "active" else "",
            )
            for row in rows
        ],
        "No agents yet.",
        right=("epoch", "records 48 h"),
    )


@agents.command(epilog="\b\nExample:\n  tripline agents show enrich-bot")
@click.argument("agent_id")
@server_options
def show(agent_id: str, url: str, token: str, as_json: bool) -> None:
    """One agent: its state, why, and what detectors said. Exit code 3: never seen."""
    page = Server(url, token).get(f"/v1/agents/{segment(agent_id)}")
    if as_json:
        print_json(page)
        return
    row, control = page["row"], page["row"]["control"] or {}
    click.echo(f"{plain(row['agent_id'])}: {state_of(row)}, epoch {control.get('epoch', 0)}")
    if control:
        click.echo(f"  since {moment(control['at'])} by {plain(control['by_id'])}: {plain(control['reason'], 500)}")
    stop = row.get("stop")
    if stop:
        click.echo(
            f"  {stop['records_before']} records before the stop; after it {stop['admitted_after']} operations "
            f"admitted, {stop['refused_after']} refused, {stop['bypassed_after']} past the gate"
        )
    click.echo(f"  records in 48 h: {row['records_48h']}; last seen {moment(row['last_seen'])}")
    print_table(
        ("at", "detector", "mode", "asked for", "what was seen"),
        [
            (
                moment(found["at"]),
                found["finding"]["detector"],
                found["finding"]["mode"],
                found["finding"]["action_taken"],
                found["finding"]["evidence"]["summary"],
            )
            for found in page["findings"]
        ],
        "No findings in 48 h.",
    )


@agents.command(epilog='\b\nExample:\n  tripline agents suspend enrich-bot --reason "nonsense" --user maya')
@click.argument("agent_id")
@click.option("--reason", required=True, help="Why; kept and shown.")
@person_options
def suspend(agent_id: str, reason: str, url: str, user: str, as_json: bool) -> None:
    """Stop an agent at once. Takes a person with the role operator; exit code 4 when refused."""
    told = person_server(url, user).post(f"/v1/agents/{segment(agent_id)}/suspend", {"reason": reason})
    _say(told, as_json)


@agents.command(
    epilog='\b\nExamples:\n  tripline agents release enrich-bot --reason "mended" --user maya\n'
    '  tripline agents release enrich-bot --reason "mended" --user maya --epoch 7'
)
@click.argument("agent_id")
@click.option("--reason", required=True, help="Why; kept and shown.")
@click.option("--epoch", type=click.IntRange(0), help="The epoch that you saw [default: shown and confirmed].")
@click.option("--yes", is_flag=True, help="Don't ask; without --epoch, release what is there now.")
@person_options
def release(agent_id: str, reason: str, epoch: int | None, yes: bool, url: str, user: str, as_json: bool) -> None:
    """Let a stopped agent go on. Refused (exit code 4) when its state has changed since you looked."""
    server = person_server(url, user)
    if epoch is None:
        row = server.get(f"/v1/agents/{segment(agent_id)}")["row"]
        control = row["control"] or {}
        epoch = int(control.get("epoch", 0))
        question = f"{plain(agent_id)} is {state_of(row)} ({plain(control.get('reason', ''), 300)}). Release it?"
        if not yes and not click.confirm(question, err=True):
            raise Failed("not released", REFUSED)
    told = server.post(f"/v1/agents/{segment(agent_id)}/release", {"reason": reason, "epoch": epoch})
    _say(told, as_json)


@agents.command(epilog='\b\nExample:\n  tripline agents revoke enrich-bot --reason "writes past the gate" --user maya')
@click.argument("agent_id")
@click.option("--reason", required=True, help="Why; kept and shown.")
@person_options
def revoke(agent_id: str, reason: str, url: str, user: str, as_json: bool) -> None:
    """Have the CRM take an agent's credentials away; nothing gives them back. Takes an operator."""
    told = person_server(url, user).post(f"/v1/agents/{segment(agent_id)}/revoke", {"reason": reason})
    if as_json:
        print_json(told)
    else:
        names = ", ".join(plain(name, 100) for name in told["credentials"])
        click.echo(f"{plain(told['agent_id'])}: {names}: {plain(told['message'], 500)}")


@agents.command(
    "cancel-pending",
    epilog='\b\nExample:\n  tripline agents cancel-pending enrich-bot --reason "wrong people" --user maya',
)
@click.argument("agent_id")
@click.option("--reason", required=True, help="Why; kept and shown.")
@person_options
def cancel_pending(agent_id: str, reason: str, url: str, user: str, as_json: bool) -> None:
    """Have the CRM cancel what a stopped agent had set up. Takes an operator; exit code 4 when refused."""
    told = person_server(url, user).post(f"/v1/agents/{segment(agent_id)}/cancel-pending", {"reason": reason})
    if as_json:
        print_json(told)
    else:
        number = int(told["effects"])
        click.echo(f"{plain(told['agent_id'])}: {number} pending effects: {plain(told['message'], 500)}")


def state_of(row: dict[str, Any]) -> str:
    """An agent's control state; one that was never controlled is active."""
    return str((row["control"] or {}).get("state", "active"))


def _say(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        click.echo(
            f"{plain(told['agent_id'])} is {told['state']}, epoch {told['epoch']}. {plain(told['message'], 500)}"
        )

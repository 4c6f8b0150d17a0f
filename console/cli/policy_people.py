"""``tripline policy status|ask|agree|end|board|state``: the version in force, what takes two people, who may what."""

from __future__ import annotations

from typing import Any

import click

from console.cli.common import (
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

_ID = click.argument("change_id", metavar="ID")
_WHY = click.option("--reason", required=True, help="Why; kept and shown.")


@click.command(epilog="\b\nExample:\n  tripline policy status")
@click.option("--all", "with_over", is_flag=True, help="Also wider versions that are over.")
@server_options
def status(with_over: bool, url: str, token: str, as_json: bool) -> None:
    """Which version a server decides by, until when, and which lines of its files wait for two people."""
    told = Server(url, token).get("/v1/policy", all="true" if with_over else "false")
    if as_json:
        print_json(told)
        return
    click.echo(_in_force(told))
    if told["trouble"]:
        click.echo(plain(told["trouble"], 2_000))
    if told["waits"]:
        click.echo(f"\nVersion {told['found'][:12]} of its files gives more; each line waits for two people:")
        for line in told["waits"]:
            click.echo("  " + plain(line, 500))
        click.echo(f'\nAsk for it: tripline policy ask {told["found"][:12]} --days 30 --reason "…" --user NAME')
    if told["changes"]:
        click.echo()
        print_table(
            ("id", "state", "version", "lines", "until", "by", "second", "reason"),
            [
                (
                    one["id"], one["state"], one["version"][:12], len(one["lines"]), moment(one["until"]), one["by"],
                    one["second"], one["reason"],
                )
                for one in told["changes"]
            ],
            "",
            right=("lines",),
        )  # fmt: skip


@click.command(
    epilog='\b\nExample:\n  tripline policy ask 5f0c1d2e3a4b --days 30 --reason "a pilot with SDRs" --user maya'
)
@click.argument("version")
@click.option(
    "--days", type=click.FloatRange(0, 90, min_open=True), default=30.0, show_default=True, help="In force so long."
)
@_WHY
@person_options
def ask(version: str, days: float, reason: str, url: str, user: str, as_json: bool) -> None:
    """Ask that a wider VERSION of the server's files be in force for a while; a second person agrees."""
    body = {"version": version, "days": days, "reason": reason}
    _say(person_server(url, user).post("/v1/policy/changes", body), as_json)


@click.command(epilog="\b\nExample:\n  tripline policy agree 5f0c1d2e3a4b5c6d --user jo")
@_ID
@person_options
def agree(change_id: str, url: str, user: str, as_json: bool) -> None:
    """Agree to a wider policy that another person asked for; see `status` for its lines. Exit code 4: refused."""
    _say(person_server(url, user).post(f"/v1/policy/changes/{segment(change_id)}/confirm", {}), as_json)


@click.command(epilog='\b\nExample:\n  tripline policy end 5f0c1d2e3a4b5c6d --reason "the pilot is over" --user maya')
@_ID
@_WHY
@person_options
def end(change_id: str, reason: str, url: str, user: str, as_json: bool) -> None:
    """End a wider policy, or withdraw what waits; one person is enough, and the version before is back."""
    _say(person_server(url, user).post(f"/v1/policy/changes/{segment(change_id)}/end", {"reason": reason}), as_json)


@click.command(epilog="\b\nExample:\n  tripline policy board")
@server_options
def board(url: str, token: str, as_json: bool) -> None:
    """Who may do what, what was seen of it in 30 days, readiness, and lines that the policy could have instead."""
    told = Server(url, token).get("/v1/delegation")
    if as_json:
        print_json(told)
        return
    kinds = [cell["kind"] for cell in told["agents"][0]["cells"]] if told["agents"] else []
    print_table(
        ("agent", "level", *kinds, "undone by people"),
        [(row["agent_id"], row["level"], *map(_cell, row["cells"]), row["reverts"]) for row in told["agents"]],
        "No policy is set.",
        right=("level", "undone by people"),
    )
    click.echo(f"\nReady for level {told['level']}:")
    print_table(
        ("", "item", "state", "what is known", "stated by"),
        [
            (one["number"], one["name"], one["state"], one["evidence"], f"{one['by']} {moment(one['at'])}".strip())
            for one in ({**item, "at": item["at"] or ""} for item in told["items"])
        ],
        "",
    )
    for one in told["proposals"]:
        click.echo(f"\n# {'wider: takes two people' if one['is_wider'] else 'narrower'}: {plain(one['why'], 500)}")
        click.echo("\n".join(plain(line, 2_000) for line in one["lines"].split("\n")))


@click.command(
    "state",
    epilog='\b\nExample:\n  tripline policy state legal --note "reviewed, contract 2026-11, OPS-41" --user maya',
)
@click.argument("item", type=click.Choice(["rollback", "trust", "legal", "process"]))
@click.option("--note", required=True, help="What was done, and where it can be looked up.")
@person_options
def state_item(item: str, note: str, url: str, user: str, as_json: bool) -> None:
    """State an item of readiness that can't be measured, under your name; it counts for 90 days."""
    told = person_server(url, user).post(f"/v1/readiness/{item}", {"note": note})
    if as_json:
        print_json(told)
    else:
        click.echo(f"{item}: stated by {plain(told['by'], 60)}, counts until {moment(told['until'])}.")


def _cell(cell: dict[str, Any]) -> str:
    seen = cell["seen"]
    did = max(seen["done"], seen["allowed"])
    words = {"autonomous": "by itself", "approval": "approval", "human_only": "people only", "none": "–"}
    return words[cell["may"]] + (f" ({did:,})" if did else "")


def _in_force(told: dict[str, Any]) -> str:
    if not told["version"]:
        return "No policy is set."
    if told["until"] is None:
        return f"Version {told['version'][:12]} is in force, for {told['agents']} agents."
    return (
        f"Version {told['version'][:12]} is in force until {moment(told['until'])}, for {told['agents']} agents; "
        f"then {told['base'][:12]} is back."
    )


def _say(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    click.echo(f"{told['id']}: version {told['version'][:12]}, {told['state']}, until {moment(told['until'])}.")
    for line in told["lines"]:
        click.echo("  " + plain(line, 500))
    click.echo(plain(told["message"], 300))


COMMANDS = (status, ask, agree, end, board, state_item)

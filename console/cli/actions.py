"""``tripline actions``: what an agent did."""

from __future__ import annotations

import sys
from typing import Any

import click

from console.cli.common import Server, moment, print_json, print_table, server_options
from console.text import plain

PAGE = 1_000
MAX_SHOWN_CHANGES = 3


@click.command(
    epilog="""\b
Examples:
  tripline actions --agent enrich-bot --last 48h
  tripline actions --agent enrich-bot --object Opportunity --type 'record.*' --json
  tripline actions --record 006A1 --since 2026-03-01T00:00:00Z
"""
)
@click.option("--agent", help="Whose [default: everybody's].")
@click.option("--last", help="The last 90s, 15m, 48h, 7d or 2w [default: 48h].")
@click.option("--since", help="From this time (RFC 3339) on.")
@click.option("--until", help="Up to this time (RFC 3339).")
@click.option("--object", help="Record type, such as Opportunity.")
@click.option("--type", "type_", help="Action, such as record.update, or 'record.*'.")
@click.option("--record", help="Id of a record.")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1, 1_000_000), help="Rows at most.")
@server_options
def actions(
    agent: str | None,
    last: str | None,
    since: str | None,
    until: str | None,
    object: str | None,
    type_: str | None,
    record: str | None,
    limit: int,
    url: str,
    token: str,
    as_json: bool,
) -> None:
    """What was done, newest first: before → after, on whose authority, and what the gate refused."""
    server = Server(url, token)
    query = {
        "agent": agent, "last": last, "since": since, "until": until, "object": object, "type": type_, "record": record
    }  # fmt: skip
    rows, cursor = fetch(server, query, limit)
    if as_json:
        print_json({"rows": rows, "next_cursor": cursor})
        return
    print_table(
        ("at", "agent", "action", "object", "records", "outcome", "what", "on whose authority"),
        [
            (
                moment(row["at"]),
                row["agent_id"],
                row["action"],
                row["object"] or "–",
                row["records"],
                row["outcome"],
                said(row),
                row["authorized_by"] or "–",
            )
            for row in rows
        ],
        "Nothing was done in this time.",
        right=("records",),
    )
    if cursor:
        click.echo(f"… and more: raise --limit (now {limit}).", err=True)


def fetch(server: Server, query: dict[str, Any], limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """Rows up to ``limit``, page by page, and where to go on."""
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(rows) < limit:
        page = server.get("/v1/actions", **query, limit=min(PAGE, limit - len(rows)), cursor=cursor)
        rows += page["rows"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        if sys.stderr.isatty():
            click.echo(f"\r{len(rows):,} rows …", err=True, nl=False)
    if sys.stderr.isatty() and len(rows) > PAGE:
        click.echo("\r" + " " * 30 + "\r", err=True, nl=False)
    return rows, cursor


def said(row: dict[str, Any]) -> str:
    """A row in a few words: its changes, or why it was refused or failed."""
    if row.get("reason"):
        return str(row["reason"])
    if row.get("error"):
        return f"{row['error'].get('code', '')} {row['error'].get('message', '')}".strip()
    parts = []
    for record, fields in row["changes"].items():
        for name, values in fields.items():
            before, after = values if isinstance(values, list) else ("?", values.get("after"))
            parts.append(f"{record} {name}: {_value(before)} → {_value(after)}")
    more = f" … {len(parts) - MAX_SHOWN_CHANGES} more" if len(parts) > MAX_SHOWN_CHANGES else ""
    return "; ".join(parts[:MAX_SHOWN_CHANGES]) + more or ", ".join(row["record_ids"][:MAX_SHOWN_CHANGES])


def _value(of: Any) -> str:
    return "empty" if of is None or of == "" else plain(of, 60)

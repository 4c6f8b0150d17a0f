"""``tripline tokens``: API tokens. Works on the data folder, whether the server runs or not."""

from __future__ import annotations

import click

from console.cli.common import NOT_FOUND, Failed, moment, print_json, print_table, settings_options
from console.cli.users import opened


@click.group(epilog="\b\nExample:\n  tripline tokens create enrich-bot --agent enrich-bot")
def tokens() -> None:
    """API tokens: for agents and event sources. None of them can release, approve or acknowledge anything."""


@tokens.command(
    epilog="\b\nExamples:\n  tripline tokens create enrich-bot --agent enrich-bot\n"
    "  tripline tokens create salesforce --source /crm/salesforce/00D1 --scope ingest\n"
    "  tripline tokens create prometheus --scope read --days 365"
)
@click.argument("name")
@click.option("--agent", help="Speaks for this agent alone [ingest, gate].")
@click.option("--source", help="Sends events of this source alone [ingest].")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(["ingest", "gate", "read"]), help="Repeatable.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Ends after so many days [default: never].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def create(
    name: str,
    agent: str | None,
    source: str | None,
    scopes: tuple[str, ...],
    days: float | None,
    as_json: bool,
    config: str | None,
    data_dir: str | None,
) -> None:
    """Make a token. It is shown this once: only its hash is kept."""
    from console.auth import AuthError

    wanted = scopes or (("ingest", "gate") if agent else ("ingest",) if source else ())
    if not wanted:
        raise click.UsageError("say what it is for: --agent, --source or --scope")
    try:
        secret, token = opened(config, data_dir)[1].create_token(name, wanted, agent, source, days)
    except AuthError as problem:
        raise Failed(str(problem)) from None
    if as_json:
        print_json({"token_id": token.token_id, "token": secret, "scopes": sorted(token.scopes)})
    else:
        click.echo(secret)
        click.echo(f"(id {token.token_id}; may: {', '.join(sorted(token.scopes))}; shown this once)", err=True)


@tokens.command("list", epilog="\b\nExample:\n  tripline tokens list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def list_(as_json: bool, config: str | None, data_dir: str | None) -> None:
    """All tokens that are not revoked."""
    from events.times import format_ms

    found = sorted(opened(config, data_dir)[1].tokens_by_hash().values(), key=lambda token: token.name)
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "name", "may", "as", "until"),
        [
            (
                token.token_id,
                token.name,
                ", ".join(sorted(token.scopes)),
                token.agent_id or token.source or "any",
                moment(format_ms(token.expires_ms)) if token.expires_ms else "–",
            )
            for token in found
        ],
        "No tokens.",
    )


@tokens.command(epilog="\b\nExample:\n  tripline tokens revoke 4f2a9c0d1e2b3a47")
@click.argument("token_id")
@settings_options
def revoke(token_id: str, config: str | None, data_dir: str | None) -> None:
    """End a token; a running server forgets it within three seconds. Exit code 3: there is none with this id."""
    from console.auth import AuthError

    try:
        opened(config, data_dir)[1].revoke_token(token_id)
    except AuthError as problem:
        raise Failed(str(problem), NOT_FOUND) from None
    click.echo("revoked")

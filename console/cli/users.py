"""``tripline users``: people who may log in. Works on the data folder, whether the server runs or not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from console.cli.common import (
    DEFAULT_URL,
    NOT_FOUND,
    Failed,
    load_settings,
    moment,
    people_of,
    print_json,
    print_table,
    settings_options,
)

if TYPE_CHECKING:
    from console.auth import AuthStore
    from governance.settings_types import Settings


@click.group(epilog="\b\nExamples:\n  tripline users add maya --role operator\n  tripline users list")
def users() -> None:
    """People: viewers read, operators stop and release agents, admins do everything."""


@users.command(
    epilog="\b\nExamples:\n  tripline users add maya --role operator\n  tripline users add vera --link\n"
    "  TRIPLINE_PASSWORD=… tripline users add maya --role operator"
)
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "manager", "operator", "admin"]),
    default="viewer",
    show_default=True,
    help="Each includes those before it.",
)
@click.option("--link", is_flag=True, help="No password: print a one-time login link instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def add(name: str, role: str, link: bool, as_json: bool, config: str | None, data_dir: str | None) -> None:
    """Add a person. The password is asked for, or taken from TRIPLINE_PASSWORD."""
    from console.auth import AuthError

    settings, auth = opened(config, data_dir)
    try:
        person = auth.add_user(name, role, None if link else _password())
        told = {"name": person.name, "role": person.role, "login_link": _link(settings, auth, name) if link else None}
    except AuthError as problem:
        raise Failed(str(problem)) from None
    if as_json:
        print_json(told)
        return
    click.echo(f"{person.name} may log in as {person.role}.")
    if link:
        click.echo(f"This link works once:\n  {told['login_link']}")


@users.command("list", epilog="\b\nExample:\n  tripline users list --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def list_(as_json: bool, config: str | None, data_dir: str | None) -> None:
    """Everybody who may log in, or might once."""
    from events.times import format_ms

    rows = opened(config, data_dir)[1].list_users()
    if as_json:
        print_json(rows)
        return
    print_table(
        ("name", "role", "since", "logs in by"),
        [
            (
                row["name"],
                row["role"],
                moment(format_ms(row["created_ms"])),
                "–" if row["disabled_ms"] else "password" if row["has_password"] else "link",
            )
            for row in rows
        ],
        "Nobody yet: tripline users add NAME --role operator",
    )


@users.command(epilog="\b\nExample:\n  tripline users link maya")
@click.argument("name")
@settings_options
def link(name: str, config: str | None, data_dir: str | None) -> None:
    """Print a link that logs a person in, once. Exit code 3: there is no such person."""
    from console.auth import AuthError

    settings, auth = opened(config, data_dir)
    try:
        click.echo(_link(settings, auth, name))
    except AuthError as problem:
        raise Failed(str(problem), NOT_FOUND) from None


@users.command(epilog="\b\nExample:\n  tripline users disable maya")
@click.argument("name")
@settings_options
def disable(name: str, config: str | None, data_dir: str | None) -> None:
    """Let a person in no more. Exit code 3: there is no such person."""
    from console.auth import AuthError

    try:
        opened(config, data_dir)[1].disable_user(name)
    except AuthError as problem:
        raise Failed(str(problem), NOT_FOUND) from None
    click.echo(f"{name} may not log in any more.")


def opened(config: str | None, data_dir: str | None) -> tuple[Settings, AuthStore]:
    """The settings, and the people of their data folder."""
    settings = load_settings(config, {"server.data_dir": data_dir})
    return settings, people_of(settings)


def _password() -> str:
    given = os.environ.get("TRIPLINE_PASSWORD")
    return given or str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _link(settings: Settings, auth: AuthStore, name: str) -> str:
    base = os.environ.get("TRIPLINE_URL") or DEFAULT_URL.replace("8787", str(settings.server.port))
    return f"{base}/login/link/{auth.make_login_link(name, settings.auth.login_link_minutes)}"

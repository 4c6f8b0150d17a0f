"""What the commands share: exit codes, settings, the way to a running server, and tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import quote

import click
import msgspec

from console.text import plain

if TYPE_CHECKING:
    from console.auth import AuthStore
    from governance.settings_types import Settings

PROBLEM, USAGE, NOT_FOUND, REFUSED, UNREACHABLE = 1, 2, 3, 4, 5
DEFAULT_URL = "http://127.0.0.1:8787"
DEFAULT_FILE = "tripline.toml"
CODE_OF_STATUS = {404: NOT_FOUND, 401: REFUSED, 403: REFUSED, 409: REFUSED}
REQUEST_SECS = 30.0

F = TypeVar("F", bound=Callable[..., Any])


class Failed(click.ClickException):
    """Ends the command with a message on standard error and an exit code."""

    def __init__(self, message: str, exit_code: int = PROBLEM) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Server:
    """A running Tripline, over HTTP. Ends the command with the right exit code when it says no.

    Parameters: ``token`` is an API token for reading; ``person`` a name and password, for what only people may do.
    """

    def __init__(self, url: str, token: str = "", person: tuple[str, str] | None = None) -> None:
        import httpx

        headers = {"Authorization": f"Bearer {token}"} if token and person is None else {}
        self._url = url.rstrip("/")
        self._httpx = httpx
        self._client = httpx.Client(base_url=self._url, headers=headers, auth=person, timeout=REQUEST_SECS)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON that a path answers with."""
        return self._ask("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, body: Any) -> Any:
        """Send JSON, and the JSON that comes back."""
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._client.request(method, path, **more)
        except self._httpx.InvalidURL as problem:
            raise Failed(f"{self._url!r} is no URL: {problem}", USAGE) from None
        except self._httpx.TransportError as problem:
            raise Failed(
                f"{self._url} can't be reached ({plain(problem)}). Is it running? Try: tripline standalone", UNREACHABLE
            ) from None
        try:
            told = msgspec.json.decode(answer.content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Failed(f"{self._url} does not answer as Tripline does (status {answer.status_code})") from None
        if answer.is_error:
            message = told.get("message", "") if isinstance(told, dict) else ""
            _fail_with(answer.status_code, plain(message or answer.reason_phrase, 1000))
        return told


def _fail_with(status: int, message: str) -> NoReturn:
    raise Failed(message, CODE_OF_STATUS.get(status, PROBLEM))


def server_options(function: F) -> F:
    """--url, --token and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table."),
        click.option("--token", envvar="TRIPLINE_TOKEN", default="", help="API token, where one is needed."),
        click.option("--url", envvar="TRIPLINE_URL", default=DEFAULT_URL, show_default=True, help="The server."),
    ):
        function = option(function)
    return function


def person_options(function: F) -> F:
    """--url, --user and --json, for what only people may do."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option(
            "--user",
            envvar="TRIPLINE_USER",
            prompt="Your name",
            help="Who you are; the password is asked for, or taken from TRIPLINE_PASSWORD.",
        ),
        click.option("--url", envvar="TRIPLINE_URL", default=DEFAULT_URL, show_default=True, help="The server."),
    ):
        function = option(function)
    return function


def settings_options(function: F) -> F:
    """--config and --data-dir."""
    for option in (
        click.option("--data-dir", type=click.Path(file_okay=False), help="Folder of the store [default: .tripline]."),
        click.option(
            "--config",
            envvar="TRIPLINE_CONFIG",
            type=click.Path(dir_okay=False),
            help=f"Settings file [default: {DEFAULT_FILE}, when there is one].",
        ),
    ):
        function = option(function)
    return function


def person_server(url: str, user: str) -> Server:
    """A server as a person, whose password is asked for unless TRIPLINE_PASSWORD has it."""
    password = os.environ.get("TRIPLINE_PASSWORD") or click.prompt("Password", hide_input=True, err=True)
    return Server(url, person=(user, password))


def load_settings(config: str | None, overrides: dict[str, Any] | None = None) -> Settings:
    """Settings from flags, variables, the file and defaults. Ends the command (exit code 1) when they are wrong."""
    from governance.settings import SettingsError, parse_settings

    path = Path(config or DEFAULT_FILE)
    try:
        text = path.read_text(encoding="utf-8") if config or path.exists() else None
    except (OSError, UnicodeDecodeError) as problem:
        raise Failed(f"{path} can't be read: {problem}") from None
    try:
        return parse_settings(text, os.environ, overrides or {}, str(path))
    except SettingsError as problem:
        raise Failed(str(problem)) from None


def people_of(settings: Settings) -> AuthStore:
    """The people of the store. Ends the command (exit code 1) when it can't be used."""
    from sqlalchemy.exc import SQLAlchemyError

    from console.app import open_auth
    from storage.errors import StoreError

    try:
        return open_auth(settings)
    except StoreError as problem:
        raise Failed(str(problem)) from None
    except (OSError, SQLAlchemyError) as problem:
        raise Failed(f"the data folder {settings.server.data_dir} can't be used: {problem}") from None


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def print_json(of: Any) -> None:
    """One JSON document on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(of), indent=2).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], empty: str, right: Sequence[str] = ()) -> None:
    """A table on standard output; cells are neutralised, ``right`` names the columns of numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        click.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell, 400)) for cell in row))
    is_terminal = sys.stdout.isatty()
    Console(width=None if is_terminal else 200, highlight=False).print(table)


def moment(text: str | None) -> str:
    """A time of the API as people read it; unknown is "–"."""
    return text[:19].replace("T", " ") if text else "–"

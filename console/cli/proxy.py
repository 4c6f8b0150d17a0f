"""``tripline proxy``: stands between an agent and what it acts on, and lets pass what the gate allows."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from console.cli.common import DEFAULT_URL, F, Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from console.proxy.credential import Credential
    from console.proxy.mapping import ToolMap

Tls = tuple[Path, Path] | None
"""Certificate and key."""
NEAR = ("127.0.0.1", "localhost", "::1")
CRM_TOKEN = "TRIPLINE_CRM_TOKEN"  # noqa: S105 - the variable's name
EPILOG = """\b
Examples:
  TRIPLINE_TOKEN=tl_… tripline proxy http --agent enrich-bot --crm salesforce \\
    --upstream https://example.my.salesforce.com --credential-file /run/secrets/salesforce

\b
The agent talks to it as to the CRM, with its Tripline token as access token. It needs a token of its own (tripline
tokens create NAME --agent ID), and should reach neither the credential nor the CRM in another way.
"""
MCP_EPILOG = """\b
Example, as a client of MCP runs it:
  TRIPLINE_TOKEN=tl_… tripline proxy mcp --agent enrich-bot --mapping tools.toml -- crm-mcp-server --stdio

\b
The tool server inherits the environment but for TRIPLINE_*. Who can start it by himself goes past the gate.
"""
MCP_HTTP_EPILOG = """\b
Example:
  TRIPLINE_TOKEN=tl_… tripline proxy mcp-http --agent enrich-bot --mapping tools.toml \\
    --upstream https://tools.example.com/mcp --credential-file /run/secrets/tools

\b
The agent's client of MCP talks to http://127.0.0.1:8791/mcp, with the agent's Tripline token as access token. The tool
server's is in the proxy alone, and so are the ids of its sessions.
"""

GROUP_EPILOG = """\b
Examples:
  tripline proxy http --agent enrich-bot --crm hubspot --upstream https://api.hubapi.com --credential-file FILE
  tripline proxy mcp --agent enrich-bot --mapping tools.toml -- crm-mcp-server --stdio
  tripline proxy mcp-http --agent enrich-bot --mapping tools.toml --upstream https://tools.example.com/mcp
"""


@click.group("proxy", epilog=GROUP_EPILOG)
def command() -> None:
    """Stand between an agent and what it acts on: only what the gate allows passes."""


def gate_options(function: F) -> F:
    """--agent, --url, --token, --authorized-by and --trigger."""
    for option in (
        click.option("--trigger", default="", help="What sets it off: KIND or KIND:NAME, such as rule:flow:enrich."),
        click.option("--authorized-by", default="", help="For whom it acts, where that is always the same."),
        click.option("--token", envvar="TRIPLINE_TOKEN", default="", help="The agent's API token (or TRIPLINE_TOKEN)."),
        click.option("--url", envvar="TRIPLINE_URL", default=DEFAULT_URL, show_default=True, help="Tripline."),
        click.option("--agent", required=True, help="The agent that acts through it."),
    ):
        function = option(function)
    return function


def listen_options(port: int) -> Callable[[F], F]:
    """--host, --port, --tls-cert, --tls-key and --json."""
    pem = click.Path(exists=True, dir_okay=False, path_type=Path)

    def decorate(function: F) -> F:
        for option in (
            click.option("--json", "as_json", is_flag=True, help="When it runs, print one line of JSON with the URL."),
            click.option("--tls-key", type=pem, help="Its key (PEM)."),
            click.option("--tls-cert", type=pem, help="Certificate (PEM)."),
            click.option(
                "--port", type=click.IntRange(0, 65_535), default=port, show_default=True, help="0 takes a free one."
            ),
            click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
        ):
            function = option(function)
        return function

    return decorate


@command.command("http", epilog=EPILOG)
@gate_options
@click.option("--crm", required=True, type=click.Choice(["salesforce", "hubspot"]), help="Whose API it is.")
@click.option("--upstream", required=True, help="The CRM's address: https:// and a host, without a path.")
@click.option(
    "--credential-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The CRM's access token, read anew when it changes [default: from {CRM_TOKEN}].",
)
@click.option("--reads-without-gate", is_flag=True, help="Let reads pass while the gate can't be asked.")
@listen_options(8790)
def http_(
    agent: str,
    url: str,
    token: str,
    authorized_by: str,
    trigger: str,
    crm: str,
    upstream: str,
    credential_file: Path | None,
    reads_without_gate: bool,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    as_json: bool,
) -> None:
    """Hold a CRM's credential for one agent, which talks to this proxy instead, until Ctrl-C.

    Each request is read as an operation, the gate is asked, and what it allows is sent on with the credential. What
    can't be read is denied: bulk, GraphQL, scripts, anything that is not known.
    """
    check_token(token)
    tls = checked_tls(host, tls_cert, tls_key)
    credential = read_credential(credential_file)
    from console.cli.standalone import set_up_logging
    from console.proxy.crm import CRMS
    from console.proxy.front import ProxyConfig
    from console.proxy.http import HttpProxy

    config = ProxyConfig(
        agent_id=agent,
        token=token,
        gate_url=url,
        upstream=checked_upstream(upstream),
        fixed=fixed_of(authorized_by, trigger),
        reads_without_gate=reads_without_gate,
    )
    set_up_logging()
    serve_proxy(HttpProxy(config, CRMS[crm], credential), host, port, tls, f"{agent} reaches {crm}", as_json)


@command.command("mcp", epilog=MCP_EPILOG)
@gate_options
@click.option(
    "--mapping",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML: which operation a call of each tool is.",
)
@click.option("--reads-without-gate", is_flag=True, help="Let reads pass while the gate can't be asked.")
@click.option("--call-secs", type=click.FloatRange(min=0.1), default=300.0, show_default=True, help="For one call.")
@click.argument("server", nargs=-1, required=True, type=click.UNPROCESSED)
def mcp(
    agent: str,
    url: str,
    token: str,
    authorized_by: str,
    trigger: str,
    mapping: Path,
    reads_without_gate: bool,
    call_secs: float,
    server: tuple[str, ...],
) -> None:
    """Run an MCP tool server (standard input and output) behind the gate: each call of a tool is asked for.

    A tool that the mapping does not name is denied. A denial is a tool's result that says why.
    """
    import asyncio

    check_token(token)
    from console.cli.standalone import set_up_logging
    from console.proxy.stdio import run
    from tripline_client import AsyncTripline

    tools = read_tools(mapping)
    fixed = fixed_of(authorized_by, trigger)
    set_up_logging()

    async def serve() -> int:
        gate = AsyncTripline(url, agent_id=agent, token=token, **fixed)
        return await run(server, gate, tools, reads_without_gate=reads_without_gate, call_secs=call_secs)

    try:
        code = asyncio.run(serve())
    except OSError as problem:
        raise Failed(f"{server[0]} can't be run: {problem.strerror or problem}") from None
    except KeyboardInterrupt:
        code = 0
    if code:
        raise Failed(f"the tool server ended by itself (exit code {code})")


@command.command("mcp-http", epilog=MCP_HTTP_EPILOG)
@gate_options
@click.option(
    "--mapping",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML: which operation a call of each tool is.",
)
@click.option("--upstream", required=True, help="The tool server's address: https://, a host and a path.")
@click.option(
    "--credential-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The tool server's access token, read anew when it changes [default: from {CRM_TOKEN}].",
)
@click.option("--reads-without-gate", is_flag=True, help="Let reads pass while the gate can't be asked.")
@click.option("--call-secs", type=click.FloatRange(min=0.1), default=300.0, show_default=True, help="For one call.")
@listen_options(8791)
def mcp_http(
    agent: str,
    url: str,
    token: str,
    authorized_by: str,
    trigger: str,
    mapping: Path,
    upstream: str,
    credential_file: Path | None,
    reads_without_gate: bool,
    call_secs: float,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    as_json: bool,
) -> None:
    """Stand before an MCP tool server (Streamable HTTP) for one agent: each call of a tool is asked for, until Ctrl-C.

    A tool that the mapping does not name is denied. A denial is a tool's result that says why.
    """
    check_token(token)
    tls = checked_tls(host, tls_cert, tls_key)
    credential = read_credential(credential_file)
    tools = read_tools(mapping)
    from console.cli.standalone import set_up_logging
    from console.proxy.front import ProxyConfig
    from console.proxy.mcp_http import McpHttpProxy

    config = ProxyConfig(
        agent_id=agent,
        token=token,
        gate_url=url,
        upstream=checked_upstream(upstream, may_have_path=True),
        fixed=fixed_of(authorized_by, trigger),
        reads_without_gate=reads_without_gate,
        upstream_secs=call_secs,
    )
    set_up_logging()
    app = McpHttpProxy(config, tools, credential, is_near=host in NEAR)
    serve_proxy(app, host, port, tls, f"{agent} reaches {upstream}", as_json, "/mcp")


def serve_proxy(app: Any, host: str, port: int, tls: Tls, says: str, as_json: bool, path: str = "") -> None:
    """Serve it until Ctrl-C, and say where. Ends the command (exit code 1) when nobody can listen there."""
    from console.proxy.serving import serve
    from console.server import CannotListen, listen, url_of

    try:
        with listen(host, port) as bound:
            address = url_of(bound, tls is not None) + path
            told = json.dumps({"url": address}) if as_json else f"{says} at {address} (Ctrl-C stops it)."
            serve(app, bound, tls, lambda: say(told))
    except CannotListen as problem:
        raise Failed(str(problem)) from None


def checked_tls(host: str, cert: Path | None, key: Path | None) -> Tls:
    """The files, None without. Raises click.UsageError for one alone, and for none where other machines reach it."""
    if (cert is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    tls = (cert, key) if cert is not None and key is not None else None
    if tls is None and host not in NEAR:
        raise click.UsageError(f"--host {host} is reachable by other machines: give --tls-cert and --tls-key")
    return tls


def read_tools(path: Path) -> ToolMap:
    """The mapping in a file. Ends the command (exit code 1) with its mistake."""
    from console.proxy.mapping import BadMapping, read_mapping

    try:
        return read_mapping(path.read_text("utf-8"), str(path))
    except (BadMapping, OSError, UnicodeDecodeError) as problem:
        raise Failed(str(problem)) from None


def say(line: str) -> None:
    """A line on standard output, at once."""
    click.echo(line)
    sys.stdout.flush()


def check_token(token: str) -> None:
    """Ends the command (exit code 1) without the agent's token, or without the client."""
    try:
        import tripline_client  # noqa: F401
    except ModuleNotFoundError as problem:
        raise Failed(f"a proxy needs the client ({problem.name}): pip install ./tripline_client") from None
    if not token:
        raise Failed("the agent's API token is missing: TRIPLINE_TOKEN (tripline tokens create NAME --agent ID)")


def read_credential(path: Path | None) -> Credential:
    """The CRM's credential. Ends the command (exit code 1) when there is none that can be used."""
    from console.proxy.credential import BadCredential, Credential

    try:
        return Credential(path, os.environ.get(CRM_TOKEN, ""))
    except BadCredential as problem:
        raise Failed(str(problem)) from None


def checked_upstream(upstream: str, *, may_have_path: bool = False) -> str:
    """Scheme and host, and the path where there may be one. Raises click.UsageError for what else is in it, or http to
    another machine."""
    parts = urlsplit(upstream)
    is_plain = not ((parts.path.strip("/") and not may_have_path) or parts.query or parts.fragment or parts.username)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in NEAR)
    if not (is_plain and parts.hostname and is_safe):
        what = "no query" if may_have_path else "no path"
        raise click.UsageError(f"--upstream {upstream}: give https:// and a host (http only on this machine), {what}")
    return upstream if may_have_path else upstream.rstrip("/")


def fixed_of(authorized_by: str, trigger: str) -> dict[str, Any]:
    """What each question has. Raises click.UsageError for a trigger that is none."""
    from console.proxy.asked import NotParsed
    from console.proxy.context import read_trigger

    try:
        said = {"authorized_by": authorized_by, "trigger": read_trigger(trigger) if trigger else None}
    except NotParsed as problem:
        raise click.UsageError(f"--trigger: {problem}") from None
    return {name: value for name, value in said.items() if value}

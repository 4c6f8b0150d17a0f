"""``tripline standalone``: engine, gate and console in one process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from console.cli.common import Failed, load_settings, people_of, settings_options

if TYPE_CHECKING:
    from litestar import Litestar

    from console.auth import AuthStore
    from console.ports import Runtime
    from governance.settings_types import Settings
    from storage.read import Reader

_ROWS_SECS = 3.0
"""So long a start waits for the rows of what agents did; when there are many to make again, it goes on without."""
EPILOG = """\b
Examples:
  tripline standalone
  tripline standalone --config tripline.toml --port 9000
  tripline standalone --follow /var/log/agents.jsonl
  tripline standalone --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem

\b
Off loopback every machine needs an API token (tripline tokens create), and passwords need TLS: here, or in a
proxy that passes the Host header on (name it in server.allowed_hosts).
"""


@click.command("standalone", epilog=EPILOG)
@click.option("--host", help="Address to listen on [default: 127.0.0.1].")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; 0 takes a free one [default: 8787].")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificate (PEM).")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its key (PEM).")
@click.option(
    "--follow",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also take events from this growing JSON Lines file; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="When it runs, print one line of JSON with the URL.")
@settings_options
def command(
    host: str | None,
    port: int | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    follow: tuple[Path, ...],
    as_json: bool,
    config: str | None,
    data_dir: str | None,
) -> None:
    """Run engine, gate and console until Ctrl-C. What was accepted is durable, whatever happens."""
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    tls = (tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    overrides = {"server.host": host, "server.port": port, "server.data_dir": data_dir}
    settings = load_settings(config, overrides)
    if settings.store.url:
        raise Failed(
            "[store] url is for `tripline console`, on Kafka; standalone keeps its data in server.data_dir: take the "
            "setting out, or unset TRIPLINE_STORE_URL"
        )
    set_up_logging()
    run(settings, tls, as_json, follow)


def run(settings: Settings, tls: tuple[Path, Path] | None, as_json: bool, follow: tuple[Path, ...] = ()) -> None:
    """Start everything, serve, and close everything in the reverse order."""
    from console.server import CannotListen, Server, listen
    from governance.policy import PolicyError
    from storage.errors import StoreError
    from storage.read import Reader
    from streams.sinks.notifications import notify_from
    from streams.standalone.follow import Follower
    from streams.standalone.projector_process import ProjectorProcess
    from streams.standalone.runtime import Runtime
    from streams.standalone.tuning import tune_gc

    auth = people_of(settings)
    check_exposure(settings, auth)
    with ExitStack() as stack:
        try:
            bound = stack.enter_context(listen(settings.server.host, settings.server.port))
            runtime = Runtime(settings, make_projector=ProjectorProcess)
            stack.callback(runtime.close)
            runtime.start()
        except (CannotListen, PolicyError, StoreError) as problem:
            raise Failed(str(problem)) from None
        from console.app import create_app  # takes about as long as the projector's process needs to come up

        reader = Reader.open(runtime.store.path)
        stack.callback(reader.close)
        for path in follow:
            follower = Follower(runtime, path)
            stack.callback(follower.stop)
            follower.start()
        app = create_app(runtime, settings, reader, auth)
        stack.callback(notify_from(runtime, settings, notified(app)).close)
        keep_up(stack, runtime, settings, reader)
        tune_gc()
        if runtime.projector is not None:
            runtime.projector.wait_until_idle(_ROWS_SECS)  # its process came up meanwhile, or nearly
        Server(app, bound, tls, lambda url: say(url, first_link(settings, auth), as_json)).serve_here()


def keep_up(stack: ExitStack, runtime: Runtime, settings: Settings, reader: Reader) -> None:
    """Start what is done weekly, where the settings want it; it ends with ``stack``."""
    from console.upkeep import Upkeep

    if settings.deals.look_weekly:
        upkeep = Upkeep(runtime, settings, reader)
        upkeep.start()
        stack.callback(upkeep.stop)


def notified(app: Litestar) -> Callable[[str, bool, float], None]:
    """What counts an attempt to notify: target, whether it was accepted, and after how many seconds."""
    from console.services import services_in

    metrics = services_in(app).metrics
    return metrics.notified


def check_exposure(settings: Settings, auth: AuthStore) -> None:
    """Refuse to listen to other machines without tokens."""
    from console.security import is_loopback

    if is_loopback(settings.server.host):
        return
    if settings.server.require_tokens == "never":
        raise Failed(
            f"server.host {settings.server.host} is reachable by other machines, so server.require_tokens may not be "
            '"never"; use "auto", or listen on 127.0.0.1'
        )
    if not auth.tokens_by_hash():
        raise Failed(
            f"server.host {settings.server.host} is reachable by other machines, and there is no API token yet; first: "
            "tripline tokens create NAME --agent ID"
        )


def first_link(settings: Settings, auth: AuthStore) -> str:
    """The path of a one-time login link when nobody can log in yet, else an empty text."""
    if auth.somebody_can_log_in():
        return ""
    return f"/login/link/{auth.first_link(settings.auth.login_link_minutes)}"


def say(url: str, link: str, as_json: bool) -> None:
    """Say on standard output where it runs."""
    if as_json:
        told: dict[str, Any] = {"url": url, "login_link": url + link if link else None}
        click.echo(msgspec.json.encode(told).decode())
    else:
        click.echo(f"Tripline runs at {url} (Ctrl-C stops it).")
        if link:
            click.echo(f"Nobody can log in yet. This link works once, for the first administrator:\n  {url}{link}")
    sys.stdout.flush()


def set_up_logging() -> None:
    """Structured events on standard error: readable on a terminal, JSON lines otherwise."""
    import structlog

    is_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

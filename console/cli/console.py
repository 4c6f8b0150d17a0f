"""``tripline console``: gate, control authority and pages on Kafka and PostgreSQL; several share the work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from console.cli.common import Failed, load_settings, settings_options

if TYPE_CHECKING:
    from governance.settings_types import Settings
    from storage.postgres import PgLink, PgStore

T = TypeVar("T")
_URLS = ("postgresql://", "postgres://")
EPILOG = """\b
Examples:
  tripline console
  tripline console --config tripline.toml --port 9000
  TRIPLINE_STORE_PASSWORD=… tripline console --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem

\b
Run as many as you like on one store, behind a load balancer or each for itself. Until PostgreSQL and the brokers are
there, it runs, denies writes, and /readyz says what is missing.
"""


@click.command("console", epilog=EPILOG)
@click.option("--host", help="Address to listen on [default: 127.0.0.1].")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; 0 takes a free one [default: 8787].")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificate (PEM).")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its key (PEM).")
@click.option("--json", "as_json", is_flag=True, help="When it runs, print one line of JSON with the URL.")
@settings_options
def command(
    host: str | None,
    port: int | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    as_json: bool,
    config: str | None,
    data_dir: str | None,
) -> None:
    """Run the gate, the control authority and the pages on Kafka and PostgreSQL, until Ctrl-C.

    The engine runs in `tripline worker`. What is decided is durable in the store before anybody gets an answer.
    """
    from console.cli.standalone import set_up_logging

    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    tls = (tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    overrides = {"server.host": host, "server.port": port, "server.data_dir": data_dir}
    settings = load_settings(config, overrides)
    set_up_logging()
    for name in ("aiokafka", "kafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what is wrong is told once, in words, by /readyz
    run(settings, tls, as_json)


def run(settings: Settings, tls: tuple[Path, Path] | None, as_json: bool) -> None:
    """Start everything, serve, and close everything in the reverse order."""
    from console.app import create_app, wall_ms
    from console.auth import AuthStore
    from console.cli.standalone import check_exposure, first_link, keep_up, notified, say
    from console.security import is_loopback
    from console.server import CannotListen, Server, listen
    from governance.policy import PolicyError
    from storage.read import Reader
    from streams.kafka.office.runtime import OfficeRuntime
    from streams.standalone.tuning import tune_interpreter

    with ExitStack() as stack:
        store = stack.enter_context(open_postgres(settings))
        is_there = bring_up_to_date(store)
        if not is_there and not is_loopback(settings.server.host):
            raise Failed(f"{store} can't be reached, so nobody knows the API tokens that other machines need")
        auth = AuthStore(store.engine(), wall_ms)
        if is_there:
            check_exposure(settings, auth)
        try:
            bound = stack.enter_context(listen(settings.server.host, settings.server.port))
        except CannotListen as problem:
            raise Failed(str(problem)) from None
        runtime = OfficeRuntime(settings, store)
        stack.callback(runtime.close)
        reader = Reader(store.read_engine())
        app = create_app(runtime, settings, reader, auth)
        runtime.observe = notified(app)
        try:
            runtime.start()
        except PolicyError as problem:
            raise Failed(str(problem)) from None
        tune_interpreter()
        keep_up(stack, runtime, settings, reader)

        def started(url: str) -> None:
            say(url, first_link(settings, auth) if is_there else "", as_json)

        Server(app, bound, tls, started).serve_here()


def open_postgres(settings: Settings) -> PgStore:
    """The store of the settings, nothing asked of it yet. Ends the command (exit code 1) when it is none for this."""
    from storage.errors import StoreError
    from storage.postgres import PgStore

    if not settings.store.url.startswith(_URLS):
        raise Failed(
            "a console on Kafka keeps what it knows on PostgreSQL: set [store] url (TRIPLINE_STORE_URL) to "
            "postgresql://user@host:port/database; without Kafka and PostgreSQL, run tripline standalone"
        )
    try:
        return PgStore(settings.store.url, settings.store.password)
    except StoreError as problem:
        raise Failed(str(problem)) from None


def on_store(settings: Settings, work: Callable[[PgLink], T]) -> T:
    """Work on the store of the consoles; ends the command (exit code 1) when it can't be reached."""
    from storage.errors import StoreError

    with open_postgres(settings) as store:
        try:
            store.check()
            link = store.connect()
            try:
                return work(link)
            finally:
                link.close()
        except StoreError as problem:
            raise Failed(str(problem)) from None


def bring_up_to_date(store: PgStore) -> bool:
    """Make the tables or bring them up to date; False when the server can't be reached now.

    Ends the command (exit code 1) when a person has to mend something: a password, a newer version's tables.
    """
    import structlog

    from storage.errors import StoreError, StoreUnavailable

    try:
        store.migrate()
    except StoreUnavailable as problem:
        structlog.get_logger("tripline.console").warning("store_not_there_yet", problem=str(problem))
        return False
    except StoreError as problem:
        raise Failed(str(problem)) from None
    return True

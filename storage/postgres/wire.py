"""Consoles tell each other what changed: by NOTIFY, in the transaction that changed it, so that nobody hears of what
was undone or before it can be read. Who is not listening misses it: it is for live pages, not for state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec
import psycopg
import structlog
from msgspec import Struct

from storage.background import Background
from storage.errors import StoreError
from storage.link import Link
from storage.postgres.link import raise_ours
from storage.postgres.store import PgStore

_CHANNEL = "tripline_changes"
_MOST_BYTES = 7_000
"""PostgreSQL takes 8,000 bytes a message; JSON may write a byte as several."""
_LOOK_SECS, _RETRY_SECS = 0.5, 1.0
_log = structlog.get_logger("tripline.wire")


class Told(Struct, frozen=True, array_like=True):
    """What changed: names of agents and deals, sorts of news. ``origin``: who says so; they need not hear it."""

    origin: str
    agents: list[str]
    deals: list[str]
    kinds: list[str]


def tell(link: Link, told: Told) -> None:
    """Tell all who listen, when the caller's transaction is committed."""
    for agents in _pieces(told.agents):
        _send(link, Told(told.origin, agents, [], told.kinds))
    for deals in _pieces(told.deals):
        _send(link, Told(told.origin, [], deals, told.kinds))
    if not told.agents and not told.deals and told.kinds:
        _send(link, told)


def _send(link: Link, told: Told) -> None:
    link.execute("SELECT pg_notify(?, ?)", (_CHANNEL, msgspec.json.encode(told).decode()))


def _pieces(names: Iterable[str]) -> Iterator[list[str]]:
    piece: list[str] = []
    size = 0
    for name in sorted(names):
        length = len(msgspec.json.encode(name)) + 1
        if piece and size + length > _MOST_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(name)
        size += length
    if piece:
        yield piece


class Wire(Background):
    """Listens, in a thread of its own. ``heard`` is called there with what others told."""

    def __init__(self, store: PgStore, heard: Callable[[Told], None], own: Collection[str] = ()) -> None:
        super().__init__("tripline-wire")
        self._store = store
        self._heard = heard
        self._own = frozenset(own)
        self.is_listening = False

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except StoreError as problem:
                _log.info("not_listening", problem=str(problem))
            except Exception:  # the thread must outlive whatever happens
                _log.exception("wire_failed")
            self.is_listening = False
            self._stop.wait(_RETRY_SECS)

    def _listen(self) -> None:
        raw = self._store.server.connect(statement_timeout="0")
        try:
            raw.execute(f"LISTEN {_CHANNEL}".encode())
            self.is_listening = True
            while not self._stop.is_set():
                for notice in raw.notifies(timeout=_LOOK_SECS):
                    told = msgspec.json.decode(notice.payload, type=Told)
                    if told.origin not in self._own:
                        self._heard(told)
        except psycopg.Error as problem:
            raise_ours(problem)
        finally:
            raw.close()

"""One transaction of a console on the shared store: the keys are locked, what follows is published after the commit."""

from __future__ import annotations

from collections.abc import Collection

from events.codec import encode
from events.types import MAIN_ENGINE, ControlEvent
from governance.control import ControlRow
from governance.settings import Settings
from storage import control as control_store
from storage import publication, shared
from storage.postgres import PgLink, Told, lock_keys, tell
from storage.publication import Kind, Publication
from streams.authority import Authority, ForAgent
from streams.envelopes import split_key
from streams.kafka.partition import partition_of
from streams.kafka.spec import CONTROL
from streams.routing import ACTIONS
from streams.standalone.types import Changes

_HEARD = frozenset({"control", "finding", "approval"})
"""What is worth telling all consoles; refusals are too many."""


class OfficeRound(Authority):
    """An open transaction on the control rows of some keys. Use ``begin``, then decide, then ``commit``.

    Nobody else decides on these keys until it ends. ``now_ms`` is the store's clock, read behind the locks, so that
    for one key it does not go back from one console to the next.
    """

    link: PgLink

    def __init__(self, link: PgLink, settings: Settings) -> None:
        super().__init__(link, settings, MAIN_ENGINE, 0)
        self.publications: list[Publication] = []
        self.agents: set[str] = set()
        self._rows: dict[str, ControlRow] = {}

    def begin(self, keys: Collection[str], shared_keys: Collection[str] = ()) -> None:
        """Open the transaction. ``shared_keys`` are read here, and changed by nobody until it ends.

        Raises StoreError; then the transaction is to be rolled back.
        """
        link, wanted = self.link, {*keys, *shared_keys}
        with link.together():
            link.execute("BEGIN IMMEDIATE")
            lock_keys(link, keys, shared_keys)
            now = shared.ask_now(link)
            rows = control_store.ask_rows(link, wanted) if wanted else None
            self.ask()
        self.now_ms = int(now.fetchone()[0])
        self._rows = control_store.read_rows(rows) if rows is not None else {}

    def ask(self) -> None:
        """Ask for more, behind the locks and without waiting; for subclasses."""

    def row_of(self, key: str) -> ControlRow | None:
        """The row of a locked key; None when it was never controlled."""
        return self._rows.get(key)

    def rows(self) -> list[ControlRow]:
        """The rows of all locked keys."""
        return list(self._rows.values())

    def keep_row(self, row: ControlRow) -> None:
        """Remember a row that was written."""
        self._rows[row.key] = row

    def say(self, key: str, event: ForAgent) -> None:
        """Publish into the agent's input partition; decisions to those who follow them as well."""
        body = encode(event)
        self.publish("decision", ACTIONS, key, event.id, body)
        if isinstance(event, ControlEvent):
            self.publish("decision", CONTROL, key, event.id, body)

    def release_is_said(self, row: ControlRow) -> None:
        """The worker hands the release on when it has judged what lies before it; see ``findings``."""

    def publish(self, kind: Kind, topic: str, key: str, event_id: str, body: bytes) -> None:
        """Have a record written to Kafka after the commit, in the key's partition."""
        partition = partition_of(key, self.settings.kafka.partitions)
        self.publications.append(
            Publication(
                kind=kind, topic=topic, key=key, partition=partition, event_id=event_id, body=body,
                created_ms=self.now_ms,
            )
        )  # fmt: skip

    def commit(self) -> list[int]:
        """Make it durable; returns the numbers of what is to be published. Every console hears of decisions."""
        link = self.link
        with link.together():
            self.write()
            put = publication.put(link, self.publications)
            link.execute("COMMIT")
        return publication.numbers(put)

    def write(self) -> None:
        """Write what was gathered, without waiting; for subclasses."""
        kinds = {kind for kind, _ in self.changed} & _HEARD
        if kinds:
            agents = sorted({split_key(key)[1] for kind, key in self.changed if kind in _HEARD})
            tell(self.link, Told("", agents, [], sorted(kinds)))

    def changes(self) -> Changes:
        """What it changed, for pages and metrics."""
        named = {split_key(key)[1] for _, key in self.changed}
        return Changes(
            agents=frozenset(named | self.agents),
            deals=frozenset(),
            kinds=frozenset(kind for kind, _ in self.changed),
            counts=self.counts,
            wrong_records=self.wrong_records,
        )

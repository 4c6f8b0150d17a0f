"""Where the notifier reads what is to be told and writes what became of it: the store's outbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from governance.settings_types import Settings
from storage import outbox
from storage.outbox import Attempt, News, OutboxRow
from streams.standalone.round import Round
from streams.standalone.runtime import Runtime

STORE_SECS = 30.0
"""How long the runtime may take to write something down."""
OUTCOMES = {"sent": "sent", "trying": "failed", "failed": "dropped"}
"""As the metric has it: an attempt that will be made again has failed, one that will not is dropped."""


class Box(Protocol):
    """The outbox. Every method may raise ``sqlite3.Error`` or ``OSError`` when the store can't be reached."""

    def waiting(self, after_seq: int) -> list[OutboxRow]:
        """Rows that are not done with, after this one."""

    def tried(self) -> Mapping[tuple[int, str], tuple[str, int]]:
        """State and attempts by row and target, of rows that are not done with."""

    def recently_told(self, since_ms: int) -> list[tuple[OutboxRow, int]]:
        """Rows told since."""

    def record(self, news: Sequence[News]) -> None:
        """Write down what became of them, durably."""


class Reading:
    """Reads the outbox from the store's file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._link: sqlite3.Connection | None = None

    def waiting(self, after_seq: int) -> list[OutboxRow]:
        """Rows that are not done with, after this one."""
        return outbox.waiting(self._reader(), after_seq)

    def tried(self) -> Mapping[tuple[int, str], tuple[str, int]]:
        """State and attempts by row and target, of rows that are not done with."""
        return outbox.tried(self._reader())

    def recently_told(self, since_ms: int) -> list[tuple[OutboxRow, int]]:
        """Rows told since."""
        return outbox.recently_told(self._reader(), since_ms)

    def _reader(self) -> sqlite3.Connection:
        if self._link is None:
            self._link = sqlite3.connect(f"file:{self._path.as_posix()}?mode=ro", uri=True, check_same_thread=False)
        return self._link


class SqliteBox(Reading):
    """The outbox in the store's file, written by ``run``, which lends the writer's connection.

    ``run`` calls a function with the writer's connection inside one of its transactions and returns after its commit.
    """

    def __init__(self, path: Path, run: Callable[[Callable[[sqlite3.Connection], None]], None]) -> None:
        super().__init__(path)
        self._run = run

    def record(self, news: Sequence[News]) -> None:
        """Write down what became of them, durably."""
        self._run(lambda link: outbox.record(link, news))


class RuntimeBox(Reading):
    """The outbox of the embedded runtime; counts attempts by channel and outcome with the runtime's other counts."""

    def __init__(self, runtime: Runtime, settings: Settings) -> None:
        super().__init__(runtime.store.path)
        self._runtime = runtime
        self._channels = {target.name: target.url.partition(":")[0] for target in settings.notifications.targets}

    def record(self, news: Sequence[News]) -> None:
        """Write down what became of them in a round of the writer."""
        self._runtime.call(lambda round_: self._record(round_, news)).result(STORE_SECS)

    def _record(self, round_: Round, news: Sequence[News]) -> None:
        outbox.record(round_.core.link, news)
        for item in news:
            if isinstance(item, Attempt) and item.state != "skipped":
                round_.count("notification", self._channels.get(item.target, item.target), OUTCOMES[item.state])

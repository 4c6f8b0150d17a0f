"""What the weekly look at the model does, in a process of its own; see ``console.upkeep``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from console.cli.console import on_store
from console.cli.deals_backtest import one_core
from console.cli.deals_train import grid_of, read_history

if TYPE_CHECKING:
    from governance.settings_types import Settings
    from scoring.training.card import ModelFile
    from storage.link import Link

NICENESS = 10


@click.command()
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File for what was found.")
def look(out: Path) -> None:
    """Look at the model that scores, by settings as JSON on standard input. The server runs this by itself."""
    one_core()
    os.nice(NICENESS)
    from governance.settings_types import Settings
    from scoring.training.weekly import look as look_at

    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings)
    active, since_ms = _active(settings)
    with _logs(settings) as logs:
        history = read_history(settings, logs, None)
    found = look_at(active, grid_of(settings), history, since_ms)
    out.write_bytes(msgspec.json.encode(found))


def _active(settings: Settings) -> tuple[ModelFile | None, int]:
    """The model that scores and since when; None for the scorecard."""
    from scoring.model import SCORECARD
    from storage import models
    from storage.store import Store

    def work(link: Link) -> tuple[ModelFile | None, int]:
        used = models.uses(link)
        if models.active(used) == SCORECARD:
            return None, 0
        return models.find(link, models.active(used))[0].file, used[0].at_ms

    if settings.store.url:
        return on_store(settings, work)
    link = Store(Path(settings.server.data_dir)).connect()
    try:
        return work(link)
    finally:
        link.close()


@contextmanager
def _logs(settings: Settings) -> Iterator[tuple[Path, ...]]:
    """The deals' log as files where it is on Kafka; none where it is in the store."""
    if not settings.store.url:
        yield ()
        return
    from streams.kafka.dump import dump
    from streams.routing import CRM

    with tempfile.TemporaryDirectory(prefix="tripline-dump-") as folder:
        dump(settings.kafka, Path(folder), topics=(CRM,))
        yield tuple(sorted(Path(folder).glob(f"{CRM}-*.jsonl")))


if __name__ == "__main__":
    look()

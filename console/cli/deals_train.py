"""``tripline deals train``: tables learned from the log's own deals, with a card that says how good they are."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.common import Failed, load_settings, print_json, print_table, settings_options
from console.cli.deals_backtest import one_core
from console.text import plain

if TYPE_CHECKING:
    from events.types import ModelTables
    from governance.settings_types import Settings
    from scoring.training.card import ModelFile
    from scoring.training.rows import History

MODEL, CARD_TEXT, CARD_PAGE = "model.json", "card.md", "card.html"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
MOMENT = click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"))
EXAMPLES = """\b
Examples:
  tripline deals train --out model                    # from the log of the standalone store
  tripline deals train --log dump/crm.events.jsonl --out model
  tripline replay --from-kafka --keep dump --out replayed     # on Kafka: the log as files, one a partition
  tripline deals train --log dump/crm.events-0000.jsonl --log dump/crm.events-0001.jsonl --out model

\b
Exit codes: 0 done, 1 there is nothing to learn from or the log can't be read, 2 wrong usage.
"""


@click.command("train", epilog=EXAMPLES)
@click.option("--log", "logs", multiple=True, type=_FILE, help="Log file (.jsonl, .jsonl.gz); several are merged.")
@click.option("--until", type=MOMENT, help="Learn from what lies before [default: the log's end].")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the files.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
@settings_options
def train(
    logs: tuple[Path, ...], until: datetime | None, out: Path, as_json: bool, config: str | None, data_dir: str | None
) -> None:
    """Learn a model of deals from a log: without --log from that of the standalone store, also while it runs.

    Fewer than 80 closed deals move the hand scorecard's level; up to 1,000 move its steps; more are learned by additive
    boosting. Writes model.json (tables and card), card.md and card.html to --out. Nothing scores by it until it is
    promoted.
    """
    one_core()
    from scoring.training.errors import TrainingError
    from scoring.training.learn import learn

    settings = load_settings(config, {"server.data_dir": data_dir})
    history = read_history(settings, logs, until)
    try:
        found = learn(history, grid_of(settings))
    except TrainingError as problem:
        raise Failed(plain(problem, 1000)) from None
    write(found, out)
    if as_json:
        print_json(found.card)
        return
    say(found, out)


def grid_of(settings: Settings) -> ModelTables:
    """The scorecard on the grid of the settings' sales process."""
    from scoring.training.grid import grid
    from streams.deals import process_of

    return grid(process_of(settings.deals), settings.deals.silent_days)


def read_history(settings: Settings, logs: tuple[Path, ...], until: datetime | None) -> History:
    """The deals of files, or of the store. Ends the command when they can't be read."""
    from storage.errors import StoreError
    from storage.store import Store
    from streams.deal_sources import history_of_files, history_of_store
    from streams.replay.dump import NotADump

    until_ms = None if until is None else int(until.replace(tzinfo=UTC).timestamp() * 1000)
    bad: list[object] = []
    gc.disable()  # records hold no cycles; the collector would walk every one of them again and again
    try:
        if logs:
            history = history_of_files(logs, settings.deals, bad, until_ms)  # type: ignore[arg-type]
        else:
            store = Store(Path(settings.server.data_dir))
            if not store.path.exists():
                raise Failed(f"{store.path} is not there: name log files with --log, or the store with --data-dir")
            history = history_of_store(store, settings.deals, until_ms)
    except (OSError, EOFError, NotADump, StoreError) as problem:
        raise Failed(f"the log can't be read: {plain(problem, 1000)}") from None
    finally:
        gc.enable()
    if bad:
        click.echo(f"{len(bad):,} lines can't be read, and are left out", err=True)
    return history


def write(found: ModelFile, out: Path) -> None:
    """The model's files. Ends the command when they can't be written."""
    from console.backtest.files import write_json, write_text
    from console.models.card import markdown, page

    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / MODEL, found)
        write_text(out / CARD_TEXT, markdown(found.card))
        write_text(out / CARD_PAGE, page(found.card))
    except OSError as problem:
        raise Failed(f"{out} can't be written: {problem}") from None


def say(found: ModelFile, out: Path) -> None:
    """What was learned, in some lines."""
    from console.models.card import KIND_WORDS, figure

    card, held = found.card, found.card.held_out
    closed = card.won_deals + card.lost_deals
    click.echo(f"{card.hash}: {card.kind} ({KIND_WORDS[card.kind]}), from {closed:,} closed deals, {card.rows:,} rows.")
    click.echo(f"Held out from {held.since[:10]} on: {held.verdict}; {plain(held.why, 600)}.")
    rows = [
        (one.target, f"{f.rows:,}", figure(f.base_rate), figure(f.auc), figure(hand.auc), figure(f.brier),
         figure(hand.brier), figure(f.calibration_error), figure(hand.calibration_error))
        for one in held.targets for f, hand in ((one.model, one.scorecard),)
    ]  # fmt: skip
    columns = ("", "rows", "base rate", "AUC", "scorecard's", "Brier", "scorecard's", "ECE", "scorecard's")
    print_table(columns, rows, "No figure: too little has ended since.", columns[1:])
    for limit in card.limits:
        click.echo(f"  {plain(limit, 400)}")
    click.echo(f"{out / CARD_PAGE}")

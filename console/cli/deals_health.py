"""``tripline deals health``: how the model that scores is doing, by labels that have matured, and what has moved."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from console.cli.common import (
    DEFAULT_URL,
    PROBLEM,
    Failed,
    load_settings,
    person_server,
    print_json,
    print_table,
    settings_options,
)
from console.cli.deals_backtest import one_core
from console.cli.deals_train import MOMENT, grid_of, read_history, write
from console.text import plain

if TYPE_CHECKING:
    from governance.settings_types import Settings
    from scoring.training.card import Health, ModelFile

SHOWN_DRIFT, SHOWN_WEEKS = 8, 12
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    "health",
    epilog="\b\nExamples:\n  tripline deals health --tell --user maya\n"
    "  tripline deals health --model model/model.json --log dump/crm.events.jsonl --out proposal\n\n"
    "\b\nExit codes: 0 nothing needs anybody, 1 something does (or it can't be told why not), 2 wrong usage.\n"
    "Run it weekly: what matured since then is looked at anew.",
)
@click.option("--model", "file", type=_FILE, help="File of a model [default: the one that scores in the store].")
@click.option("--log", "logs", multiple=True, type=_FILE, help="Log file; several are merged [default: the store's].")
@click.option("--since", type=MOMENT, help="[default: since it scores, or the end of what it learned from]")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for a recalibration, if one helps."
)
@click.option("--tell", is_flag=True, help="Show it on the server's page and in its metrics; takes a person.")
@click.option("--user", envvar="TRIPLINE_USER", default="", help="With --tell: who you are.")
@click.option("--url", envvar="TRIPLINE_URL", default=DEFAULT_URL, show_default=True, help="With --tell: the server.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def health(
    file: Path | None,
    logs: tuple[Path, ...],
    since: datetime | None,
    out: Path | None,
    tell: bool,
    user: str,
    url: str,
    as_json: bool,
    config: str | None,
    data_dir: str | None,
) -> None:
    """Brier score, calibration error, log-loss and AUC of the model beside the scorecard, by labels that have matured
    since it scores; the population stability of each feature; and a recalibration, where one helps out of time.
    """
    one_core()
    if tell and not user:
        raise click.UsageError("--tell takes --user: it is a person who says so")
    from events.times import parse_ms
    from scoring.training.health import health as look
    from scoring.training.health import recalibrated

    settings = load_settings(config, {"server.data_dir": data_dir})
    model, since_ms = (_read(file), 0) if file is not None else _active(settings)
    history = read_history(settings, logs, None)
    since_ms = max(since_ms, parse_ms(model.card.made_until))
    if since is not None:
        since_ms = int(since.replace(tzinfo=UTC).timestamp() * 1000)
    hand = grid_of(settings)
    found = look(model, hand, history, since_ms)
    better = recalibrated(model, hand, history, since_ms) if out is not None else None
    if better is not None and out is not None:
        write(better, out)
    if tell:
        person_server(url, user).post("/v1/deals/models/health", msgspec.to_builtins(found))
    if as_json:
        print_json(found)
    else:
        _say(found)
        if file is None:
            _say_alerts(settings, found)
        if out is not None:
            told = f"{better.hash}: recalibrated, see {out}" if better else "No recalibration would help."
            click.echo(told)
    if found.alerts:
        raise click.exceptions.Exit(PROBLEM)


def _read(path: Path) -> ModelFile:
    from scoring.model import BadModel
    from scoring.training.card import ModelFile
    from streams.deal_promotion import PromotionRefused, check_file

    try:
        found = msgspec.json.decode(path.read_bytes(), type=ModelFile)
        check_file(found)
    except (OSError, msgspec.DecodeError, BadModel, PromotionRefused) as problem:
        raise Failed(f"{path} is no model: {plain(problem, 1000)}") from None
    return found


def _active(settings: Settings) -> tuple[ModelFile, int]:
    """The model that scores in the standalone store, and since when."""
    from scoring.model import SCORECARD
    from storage import models
    from storage.store import Store

    store = Store(Path(settings.server.data_dir))
    if not store.path.exists():
        raise Failed(f"{store.path} is not there: name the model's file with --model, or the store with --data-dir")
    link = store.connect()
    try:
        used = models.uses(link)
        if models.active(used) == SCORECARD:
            raise Failed("the hand scorecard scores: there is no model to look at; name a file with --model")
        return models.find(link, models.active(used))[0].file, used[0].at_ms
    finally:
        link.close()


def _say_alerts(settings: Settings, found: Health) -> None:
    """What people said of the alerts of the last 90 days of the store's log."""
    from events.times import DAY_MS, parse_ms
    from storage.alert_verdicts import MEASURED_DAYS, counts
    from storage.read import Reader
    from storage.store import Store

    reader = Reader.open(Store(Path(settings.server.data_dir)).path)
    try:
        every = counts(reader, parse_ms(found.until) - MEASURED_DAYS * DAY_MS)[0]
    finally:
        reader.close()
    told = f"{every.useful} useful, {every.known} known, {every.wrong} wrong" if every.judged else "none was judged"
    click.echo(f"Alerts in the {MEASURED_DAYS} days before: {every.given}; {told}.")


def _say(found: Health) -> None:
    from console.models.card import figure

    click.echo(
        f"{found.model} from {found.since[:10]} to {found.until[:10]}: {found.verdict}; {plain(found.why, 600)}."
    )
    rows = [
        (one.target, f"{f.rows:,}", figure(f.auc), figure(card.auc), figure(f.brier), figure(card.brier),
         figure(f.calibration_error), figure(card.calibration_error), figure(f.log_loss), figure(card.log_loss))
        for one in found.targets for f, card in ((one.model, one.scorecard),)
    ]  # fmt: skip
    columns = (
        "",
        "rows",
        "AUC",
        "scorecard's",
        "Brier",
        "scorecard's",
        "ECE",
        "scorecard's",
        "log-loss",
        "scorecard's",
    )
    print_table(columns, rows, "No label has matured since.", columns[1:])
    print_table(
        ("week", "rows", "lost in 14 days", "Brier", "log-loss", "scorecard's"),
        [
            (one.at[:10], one.model.rows, figure(one.model.base_rate), figure(one.model.brier),
             figure(one.model.log_loss), figure(one.scorecard_log_loss))
            for one in found.weeks[-SHOWN_WEEKS:]
        ],
        "No week has matured.",
        ("rows", "Brier", "log-loss", "scorecard's"),
    )  # fmt: skip
    print_table(
        ("feature", "population stability"),
        [(one.feature, figure(one.stability)) for one in found.drift[:SHOWN_DRIFT]],
        "No feature can be compared.",
        ("population stability",),
    )
    for alert in found.alerts:
        click.echo(f"! {plain(alert, 600)}")

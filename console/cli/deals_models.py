"""``tripline deals models`` and ``promote``: which models of deals there are, and which of them scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from console.cli.common import (
    NOT_FOUND,
    REFUSED,
    Failed,
    Server,
    load_settings,
    person_options,
    person_server,
    print_json,
    print_table,
    server_options,
)
from console.cli.console import on_store
from console.text import plain

if TYPE_CHECKING:
    from governance.settings_types import Settings
    from storage.link import Link
    from storage.models import Use

SHORT = 12
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_CONFIG = click.option(
    "--config",
    envvar="TRIPLINE_CONFIG",
    type=click.Path(dir_okay=False),
    help="Settings file; with a [store] (on Kafka) the command works on that store itself.",
)


@click.command("models", epilog="\b\nExamples:\n  tripline deals models\n  tripline deals models --json")
@_CONFIG
@server_options
def models(config: str | None, url: str, token: str, as_json: bool) -> None:
    """The models of deals: candidates, the active one, retired ones, with the figures of their cards."""
    settings = _on_kafka(config)
    told = _list_of(settings) if settings is not None else Server(url, token).get("/v1/deals/models")
    if as_json:
        print_json(told)
        return
    rows = [_row(one) for one in told["models"]]
    if told["active"] == "scorecard":
        click.echo("The hand scorecard scores.")
    columns = ("model", "", "kind", "closed deals", "learned until", "against the scorecard", "AUC", "Brier", "ECE")
    print_table(columns, rows, "No model was added; learn one: tripline deals train", ("closed deals", "AUC", "Brier"))
    for use in told["uses"][:5]:
        forced = ", forced" if use["forced"] else ""
        click.echo(f"{use['at'][:16]} version {use['version']}: {use['hash'][:SHORT]}{forced}, {plain(use['reason'])}")


@click.command(
    "promote",
    epilog="\b\nExamples:\n"
    '  tripline deals promote model/model.json --reason "better on 40 held-out deals" --user maya\n'
    '  tripline deals promote --back --reason "alerts look wrong" --user maya\n'
    '  tripline deals promote scorecard --reason "new process" --user maya',
)
@click.argument("model", required=False, default="")
@click.option("--back", is_flag=True, help="The model that scored before.")
@click.option("--force", is_flag=True, help="Although it is not shown to be better than the scorecard.")
@click.option("--reason", required=True, help="Why; kept and shown.")
@person_options
@_CONFIG
def promote(
    model: str, back: bool, force: bool, reason: str, user: str, url: str, as_json: bool, config: str | None
) -> None:
    """Have a model score deals: MODEL is the file that was learned, a hash (or its beginning) or "scorecard".

    Refused (exit code 4) while too few held-out deals have ended to tell, or when it was worse than the scorecard
    there; --force does it all the same. Reversible: --back. A running engine takes it without a restart.
    """
    if bool(model) == back:
        raise click.UsageError("name a model, or say --back; one of the two")
    settings = _on_kafka(config)
    file = Path(model) if model.endswith(".json") else None
    if file is not None and not file.is_file():
        raise Failed(f"{file}: there is no such file", NOT_FOUND)
    if settings is not None:
        told = _promote_on_kafka(settings, file, model, back=back, force=force, by=user, reason=reason)
    else:
        server = person_server(url, user)
        if file is not None:
            model = server.post("/v1/deals/models", _json_of(file))["hash"]
        body = {"model": model, "back": back, "force": force, "reason": reason}
        told = server.post("/v1/deals/models/promote", body)
    if as_json:
        print_json(told)
        return
    click.echo(f"{told['hash']} scores deals from the next record on (version {told['version']}).")


def _json_of(file: Path) -> Any:
    try:
        return msgspec.json.decode(file.read_bytes())
    except (OSError, msgspec.DecodeError) as problem:
        raise Failed(f"{file} can't be read: {plain(problem, 400)}; it is written by tripline deals train") from None


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    card = one["card"]
    figures: dict[str, float | None] = next(
        (each["model"] for each in card["held_out"]["targets"] if each["target"] == "lost"), {}
    )
    return (
        one["hash"][:SHORT],
        one["state"],
        one["kind"],
        f"{card['won_deals'] + card['lost_deals']:,}",
        card["made_until"][:10],
        card["held_out"]["verdict"],
        *("–" if figures.get(key) is None else f"{figures[key]:.3f}" for key in ("auc", "brier", "calibration_error")),
    )


# --- on Kafka: the store of the consoles -----------------------------------------------------------------------------


def _on_kafka(config: str | None) -> Settings | None:
    settings = load_settings(config)
    return settings if settings.store.url else None


def _list_of(settings: Settings) -> Any:
    from console.api.models import ModelList, listing
    from storage import models as stored

    def work(link: Link) -> ModelList:
        return listing(stored.find(link, ""), stored.uses(link))

    return msgspec.to_builtins(on_store(settings, work))


def _promote_on_kafka(
    settings: Settings, file: Path | None, model: str, *, back: bool, force: bool, by: str, reason: str
) -> Any:
    from scoring.model import BadModel
    from scoring.training.card import ModelFile
    from storage import models as stored
    from storage import shared
    from streams.deal_promotion import NoSuchModel, Promotion, PromotionRefused, check_file, promote_on_kafka

    def work(link: Link) -> Use:
        name = model
        if file is not None:
            found = msgspec.json.decode(file.read_bytes(), type=ModelFile)
            check_file(found)
            stored.add(link, found, shared.now_ms(link), by)
            name = found.hash
        asked = Promotion(by=by, reason=reason, model=name, back=back, force=force)
        return promote_on_kafka(link, asked, settings.kafka)

    try:
        return msgspec.to_builtins(on_store(settings, work))
    except NoSuchModel as problem:
        raise Failed(plain(problem, 1000), NOT_FOUND) from None
    except PromotionRefused as problem:
        raise Failed(plain(problem, 1000), REFUSED) from None
    except (BadModel, msgspec.DecodeError) as problem:
        raise Failed(f"{file}: {plain(problem, 1000)}") from None

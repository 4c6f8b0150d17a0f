"""``tripline deals quality``: how sound a CRM's data is, of a running Tripline or of a CSV export."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli.common import Failed, Server, load_settings, print_json, print_table, server_options
from console.text import plain

if TYPE_CHECKING:
    from events.adapters.tables import Row
    from events.errors import Refusal

SHOWN_GROUPS = 10


@click.command(
    epilog="\b\nExamples:\n  tripline deals quality\n  tripline deals quality export/ --csv findings.csv\n\n"
    "\b\nA folder holds deals (opportunities.csv, deals.csv or sales_pipeline.csv) and, where you have them, accounts, "
    "contacts, products and users (or sales_teams); .gz too."
)
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--as-of", metavar="DATE", help="The day of an export [default: the latest date in it].")
@click.option("--csv", "to_file", type=click.Path(dir_okay=False, path_type=Path), help="Write an export's findings.")
@click.option("--config", envvar="TRIPLINE_CONFIG", type=click.Path(dir_okay=False), help="Settings: [deals] stages.")
@server_options
def quality(
    folder: Path | None,
    as_of: str | None,
    to_file: Path | None,
    config: str | None,
    url: str,
    token: str,
    as_json: bool,
) -> None:
    """What is missing, contradictory, overdue or there twice; of all, each team and each owner.

    Without a folder it asks a running server, whose page /deals/quality shows the same.
    """
    if folder is None:
        if to_file or as_of:
            raise click.UsageError("--csv and --as-of are for a folder; a server's findings are at /deals/quality.csv")
        told: dict[str, Any] = Server(url, token).get("/v1/deals/quality")
    else:
        told = {"quality": _of_folder(folder, as_of, to_file, config), "trend": []}
    if as_json:
        print_json(told)
        return
    _say(told)


def _of_folder(folder: Path, as_of: str | None, to_file: Path | None, config: str | None) -> dict[str, Any]:
    import msgspec

    from console.quality import to_csv
    from scoring.quality import assess
    from scoring.quality_csv import BadExport, read_export
    from streams.deals import process_of

    process = process_of(load_settings(config).deals)
    try:
        export = read_export(_files(folder), process)
    except BadExport as problem:
        raise Failed(f"{folder}: {plain(problem, 1000)}") from None
    try:
        day = date.fromisoformat(as_of) if as_of else export.latest
    except ValueError:
        raise click.UsageError(f"--as-of: {plain(as_of)!r} is no date such as 2016-06-01") from None
    if day is None:
        raise Failed(f"{folder}: no deal has a date that can be read; say --as-of DATE")
    found = assess(export.deals, export.accounts, export.contacts, day, process, export.notes)
    if to_file is not None:
        try:
            to_file.write_text(to_csv(found), encoding="utf-8-sig", newline="")
        except OSError as problem:
            raise Failed(f"{to_file} can't be written: {problem.strerror}") from None
    told: dict[str, Any] = msgspec.to_builtins(found)
    return told


def _files(folder: Path) -> dict[str, Iterator[Row | Refusal]]:
    from events.adapters.tables import csv_rows
    from scoring.quality_csv import FILES
    from streams.replay.reader import open_log

    by_name = {path.name.removesuffix(".gz").removesuffix(".csv").casefold(): path for path in sorted(folder.iterdir())}
    found = {}
    for kind, names in FILES.items():
        path = next((by_name[name] for name in names if name in by_name), None)
        if path is not None:
            try:
                found[kind] = csv_rows(open_log(path))
            except OSError as problem:
                raise Failed(f"{path} can't be read: {problem.strerror}") from None
    if "deals" not in found:
        raise Failed(f"{folder} has no deals: one of {', '.join(f'{name}.csv' for name in FILES['deals'])} is needed")
    return found


def _say(told: dict[str, Any]) -> None:
    found = told["quality"]
    click.echo(f"{found['day']}: {found['all']['score']:.1f} of 100, {found['all']['deals']:,} deals.")
    for note in found["notes"]:
        click.echo(f"  {plain(note, 400)}")
    if len(told["trend"]) > 1:
        first = told["trend"][0]
        click.echo(f"  {found['all']['score'] - first['score']:+.1f} since {first['day']}")
    print_table(
        ("what", "deals", "of", "such as"),
        [(f["title"], f"{f['flawed']:,}", f"{f['seen']:,}", " ".join(f["examples"])) for f in found["all"]["flaws"]],
        "Nothing was found.",
        ("deals", "of"),
    )
    for title, groups in (("team", found["teams"]), ("owner", found["owners"])):
        if groups:
            click.echo()
            print_table(
                (title, "score", "deals", "most"), [_group(g) for g in groups[:SHOWN_GROUPS]], "", ("score", "deals")
            )
    for title, clusters in (("accounts", found["accounts"]), ("contacts", found["contacts"])):
        if clusters:
            click.echo(f"\n{len(clusters):,} {title} are probably there twice:")
            rows = [(" | ".join(one["names"]), one["why"]) for one in clusters[:SHOWN_GROUPS]]
            print_table(("names", "why"), rows, "")


def _group(group: dict[str, Any]) -> tuple[Any, ...]:
    most = group["flaws"][0] if group["flaws"] else None
    told = f"{most['title']} ({most['flawed']})" if most else ""
    return group["name"], f"{group['score']:.1f}", f"{group['deals']:,}", told

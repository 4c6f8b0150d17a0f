"""``tripline log``: the event log."""

from __future__ import annotations

from pathlib import Path

import click

from console.cli.common import Failed, load_settings, print_json, settings_options


@click.group(epilog="\b\nExample:\n  tripline log dump --out dump && tripline replay dump/*.jsonl --out again")
def log() -> None:
    """The event log: what producers sent and what Tripline decided, in order."""


@log.command(
    epilog="\b\nExamples:\n  tripline log dump --out dump\n  tripline log dump --data-dir .tripline --out dump"
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write into.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def dump(out: Path, as_json: bool, config: str | None, data_dir: str | None) -> None:
    """Write the input partitions as JSON Lines; replaying them gives what was live, byte for byte.

    Works while the server runs. One file a topic, and a manifest.
    """
    import sqlite3

    from storage.store import FILE, Store
    from streams.standalone.dump import dump as write

    settings = load_settings(config, {"server.data_dir": data_dir})
    folder = Path(settings.server.data_dir)
    if not (folder / FILE).exists():
        raise Failed(f"there is no store in {folder}; name its folder with --data-dir")
    try:
        counts = write(Store(folder), out)
    except (OSError, sqlite3.Error) as problem:
        raise Failed(f"the log can't be written to {out}: {problem}") from None
    if as_json:
        print_json({"folder": str(out), "records": counts})
        return
    for topic, count in counts.items():
        click.echo(f"{count:>12,}  {topic}")

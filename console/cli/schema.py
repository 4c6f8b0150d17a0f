"""``tripline schema export``."""

from __future__ import annotations

from pathlib import Path

import click

from console.cli.common import Failed, print_json


@click.group(epilog="\b\nExample:\n  tripline schema export --out schemas")
def schema() -> None:
    """JSON Schemas of all events, made from the record types."""


@schema.command(epilog="\b\nExamples:\n  tripline schema export --out schemas\n  tripline schema export --json")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write one file a type into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print all of them as one JSON object [default without --out].")
def export(out: Path | None, as_json: bool) -> None:
    """Export the JSON Schema of every event type."""
    from events.schema import export as files
    from events.schema import schemas

    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            for name, content in files().items():
                (out / name).write_bytes(content)
        except OSError as problem:
            raise Failed(f"{out} can't be written: {problem.strerror}") from None
        click.echo(f"{len(files())} schemas in {out}", err=True)
    if as_json or out is None:
        print_json(schemas())

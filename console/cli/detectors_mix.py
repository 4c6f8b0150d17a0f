"""``tripline detectors mix``: the windows of a log in which agents were least like their peers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.common import Failed, load_settings, print_json, print_table, settings_options
from console.text import plain
from events.times import MINUTE_MS, format_ms

if TYPE_CHECKING:
    from detectors.base import Action
    from detectors.batch.mix_forest import Result
    from streams.replay.reader import BadLine

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SHOWN, _SHOWN_FEATURES, _SHOWN_CHARS = 20, 3, 60
_COLUMNS = ("AGENT", "FROM (UTC)", "ACTIONS", "SCORE", "WHAT IS UNLIKE ITS PEERS")

EXAMPLE = """\b
Example:
  tripline detectors mix log.jsonl.gz --out strange.json

\b
Peers are the agents with the same `role` in the settings; without roles, all others. Nothing is judged by it and
nobody is told: it is a list to look at.
"""


@click.command("mix", epilog=EXAMPLE)
@click.argument("logs", nargs=-1, required=True, type=_FILE)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="JSON to write.")
@click.option("--window-minutes", default=60, show_default=True, type=click.IntRange(5, 1440), help="Their length.")
@click.option("--top", default=3, show_default=True, type=click.IntRange(1, 100), help="Windows of each agent.")
@click.option("--json", "as_json", is_flag=True, help="Print what is written.")
@settings_options
def mix(
    logs: tuple[Path, ...],
    out: Path,
    window_minutes: int,
    top: int,
    as_json: bool,
    config: str | None,
    data_dir: str | None,
) -> None:
    """Find the windows of LOGS (events, .jsonl or .jsonl.gz) in which an agent was least like its peers.

    An isolation forest learns what peers do in a window, and says for each of the agent's own how far apart it is, and
    by which numbers. Exit code 1: no agent has enough peers, or a line can't be read.
    """
    from detectors.batch.mix_forest import strangest, windows_of

    settings = load_settings(config, {"server.data_dir": data_dir})
    roles = {agent_id: agent.role for agent_id, agent in settings.agents.items()}
    bad: list[BadLine] = []
    windows = windows_of(_actions(logs, bad), window_minutes * MINUTE_MS)
    if bad:
        raise Failed(f"{bad[0].path}:{bad[0].line}: {plain(bad[0].problem.message, 300)}")
    result = strangest(windows, roles, top)
    if not result.windows:
        raise Failed(
            f"{len(windows):,} windows of {len({one.agent_id for one in windows}):,} agents: too few to compare peers; "
            "each agent needs two with the same role, and those at least 50 windows with 10 actions"
        )
    _write(result, out)
    _say(result, out, as_json=as_json)


def _actions(logs: tuple[Path, ...], bad: list[BadLine]) -> Iterator[Action]:
    from detectors.base import Action
    from events.catalogue import kind_of
    from events.types import ActionEvent
    from streams.replay.reader import OutOfOrder, read

    try:
        for items in read(logs, bad):
            for at_ms, source, event_id, _, item in items:
                event = item if isinstance(item, ActionEvent) else getattr(item, "event", None)
                if isinstance(event, ActionEvent):
                    yield Action(at_ms, at_ms, source, event_id, kind_of(event.data.action), event.data)
    except (OSError, EOFError, zlib.error) as problem:
        raise Failed(f"the log can't be read: {plain(str(problem))}") from None
    except OutOfOrder as problem:
        raise Failed(f"{problem} is far out of time order: sort it by time first") from None


def _plainly(result: Result) -> dict[str, object]:
    rows = [
        {
            "agent_id": one.agent_id, "peers": one.peers, "from": format_ms(one.at_ms), "actions": one.actions,
            "score": one.score, "rank": one.rank,
            "features": [{"name": f.name, "here": f.here, "peers": f.peers, "part": f.part} for f in one.features],
        }
        for one in result.windows
    ]  # fmt: skip
    return {"windows": rows, "seen": result.seen, "without_peers": result.alone}


def _write(result: Result, out: Path) -> None:
    import msgspec

    try:
        out.write_bytes(msgspec.json.format(msgspec.json.encode(_plainly(result)), indent=2) + b"\n")
    except OSError as problem:
        raise Failed(f"{out} can't be written: {problem.strerror}") from None


def _say(result: Result, out: Path, *, as_json: bool) -> None:
    if result.alone:
        click.echo(f"warning: {len(result.alone):,} agents have too few peers to be compared with", err=True)
    if as_json:
        print_json(_plainly(result))
        return
    rows = []
    for one in result.windows[:_SHOWN]:
        why = "; ".join(
            f"{plain(f.name, _SHOWN_CHARS)} {f.here:g} (peers {f.peers:g})" for f in one.features[:_SHOWN_FEATURES]
        )
        rows.append(
            [plain(one.agent_id, _SHOWN_CHARS), format_ms(one.at_ms)[:16], one.actions, f"{one.score:.2f}", why]
        )
    print_table(_COLUMNS, rows, "", ("ACTIONS", "SCORE"))
    click.echo(f"{len(result.windows):,} of {result.seen:,} windows are in {out}.")

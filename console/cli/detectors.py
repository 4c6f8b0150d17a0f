"""``tripline detectors``: which there are, their options, and what each may do."""

from __future__ import annotations

import inspect
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli.common import (
    DEFAULT_FILE,
    NOT_FOUND,
    REFUSED,
    Failed,
    load_settings,
    print_json,
    print_table,
    settings_options,
)
from console.cli.detectors_library import library
from console.cli.detectors_mix import mix
from console.cli.detectors_people import COMMANDS
from console.text import plain
from events.times import DAY_MS, parse_ms

if TYPE_CHECKING:
    from detectors.base import Detector
    from detectors.discovery import Judged
    from streams.replay import Report

RECENT_DAYS = 30
"""The log of a replay report may end so long ago."""
LEAST_MONTHS = 1.0
"""So many agent-months, each agent's first week left out, a report must have seen."""
MODES = {"shadow": "is kept, tells nobody", "warn": "tells people", "enforce": "asks for limits and stops"}


@click.group(
    epilog="""\b
Examples:
  tripline detectors list
  tripline detectors show action_rate
  tripline replay log.jsonl.gz --enforce all --report --out report
  tripline detectors mode record_loop enforce --report report/report.json
"""
)
def detectors() -> None:
    """What watches the agents: shadow is kept, warn tells people, enforce stops agents."""


detectors.add_command(library)
detectors.add_command(mix)
for _command in COMMANDS:
    detectors.add_command(_command)


@detectors.command("list", epilog="\b\nExample:\n  tripline detectors list --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def list_(as_json: bool, config: str | None, data_dir: str | None) -> None:
    """Every detector, its mode, its share of the budget of false stops, and what it catches."""
    from detectors.discovery import discover, modes
    from governance.stop_budget import shares_of

    settings = load_settings(config, {"server.data_dir": data_dir})
    running, by_name = _judged(settings), modes(settings)
    shares = shares_of(settings.budget, [name for name, judged in running.items() if judged.mode == "enforce"])
    rows = [
        {
            "detector": name,
            "mode": by_name[name] if name in running else "off",
            "own_modes": {key: settings.detectors.get(name, {}).get(key, {}) for key in ("agents", "roles")},
            "budget": shares.get(name, 0.0) * settings.budget.false_stops_per_agent_month,
            "judges": cls.judges,
            "acts": "at once" if cls.is_hard else "after learning",
            "state_bytes": cls.max_state_bytes,
            "catches": _first_line(cls),
        }
        for name, cls in discover().items()
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("detector", "mode", "budget a month", "judges", "acts", "state, at most", "catches"),
        [
            (
                row["detector"],
                _mode_in_words(row),
                f"{row['budget']:.4f}",
                row["judges"],
                row["acts"],
                f"{row['state_bytes']:,} B",
                row["catches"],
            )
            for row in rows
        ],
        "No detector.",
        right=("budget a month", "state, at most"),
    )


@detectors.command(epilog="\b\nExample:\n  tripline detectors show action_rate")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def show(name: str, as_json: bool, config: str | None, data_dir: str | None) -> None:
    """What a detector catches and cannot, and its options with their values."""
    from detectors.discovery import modes

    cls = _class_of(name)
    settings = load_settings(config, {"server.data_dir": data_dir})
    mode = modes(settings)[name] if name in _judged(settings) else "off"
    options = _options(cls, settings.detectors.get(name, {}))
    about = inspect.cleandoc(cls.__doc__ or "")
    if as_json:
        print_json({"detector": name, "mode": mode, "about": about, "options": options})
        return
    click.echo(f"{name}: {mode}{', ' + MODES[mode] if mode in MODES else ''}\n\n{about}\n")
    print_table(
        ("option", "value", "default", ""),
        [(one["option"], str(one["value"]), str(one["default"]), one["about"]) for one in options],
        "It has no options.",
    )


@detectors.command(
    epilog="""\b
Examples:
  tripline detectors mode record_loop warn
  tripline detectors mode record_loop enforce --report report/report.json
  tripline detectors mode action_rate warn --agent enrich-bot
  tripline detectors mode action_rate shadow --role "enriches accounts"
"""
)
@click.argument("name")
@click.argument("mode", type=click.Choice(list(MODES)))
@click.option("--agent", "agent_id", help="Only for this agent.")
@click.option("--role", help="Only for agents with this `role`; what is set for an agent itself goes first.")
@click.option(
    "--report",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The report.json of a replay in which it enforced, for a step up to enforce.",
)
@click.option(
    "--config", envvar="TRIPLINE_CONFIG", type=click.Path(dir_okay=False), help="The settings file to change."
)
def mode(name: str, mode: str, agent_id: str | None, role: str | None, report: Path | None, config: str | None) -> None:
    """Write a detector's mode into the settings file; it holds from the next start of the engine.

    A step up to enforce needs the report of a recent replay (tripline replay --enforce NAME --report) in which this
    detector enforced with the options that it has now. The report's figures are printed; whether its stops were right
    is for you to say. Exit code 4: refused.
    """
    _class_of(name)
    path = Path(config or DEFAULT_FILE)
    settings = load_settings(str(path) if path.exists() else None)
    if agent_id and role:
        raise click.UsageError("give --agent or --role, not both")
    place = ("agents", agent_id) if agent_id else ("roles", role) if role else None
    was = _mode_at(settings, name, place)
    if mode == "enforce" and was != "enforce":
        _check_report(name, _judged(settings).get(name), report)
    _write_mode(path, name, mode, place)
    now = _mode_at(load_settings(str(path)), name, place)
    if now != mode:
        raise Failed(f"{path} now says {mode}, but a TRIPLINE_ variable says {now}: change that")
    of = f" for {plain(place[1], 80)}" if place else ""
    click.echo(f"{name}{of}: {was} → {mode}, in {path}. It holds from the next start of the engine.")


# --- parts -----------------------------------------------------------------------------------------------------------


def _class_of(name: str) -> type[Detector]:
    from detectors.discovery import discover

    known = discover()
    if name not in known:
        raise Failed(f"there is no detector {plain(name, 40)}; there are {', '.join(known)}", NOT_FOUND)
    return known[name]


def _judged(settings: Any) -> dict[str, Judged]:
    from detectors.discovery import DetectorSettingsError, judged_with

    try:
        return judged_with(settings)
    except DetectorSettingsError as problem:
        raise Failed(str(problem)) from None


def _mode_in_words(row: dict[str, Any]) -> str:
    others = sum(len(table) for table in row["own_modes"].values())
    return f"{row['mode']}, {others} set apart" if others else str(row["mode"])


def _first_line(cls: type[Detector]) -> str:
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


def _options(cls: type[Detector], given: dict[str, Any]) -> list[dict[str, Any]]:
    import msgspec

    return [
        {
            "option": field.encode_name,
            "value": given.get(field.encode_name, default),
            "default": default,
            "about": _about(field.type),
        }
        for field in msgspec.structs.fields(cls.Config)
        for default in (None if field.default is msgspec.NODEFAULT else field.default,)
    ]


def _about(type_: Any) -> str:
    for note in getattr(type_, "__metadata__", ()):
        if getattr(note, "description", None):
            return str(note.description)
    return ""


def _check_report(name: str, judged: Judged | None, path: Path | None) -> None:
    """Say what the report saw; ends the command when it does not show this detector as it is now."""
    if judged is None:
        raise Failed(f"{name} is switched off: set is_enabled = true in [detectors.{name}] before", REFUSED)
    if path is None:
        how = f"tripline replay LOG… --enforce {name} --report --out report, then --report report/report.json"
        raise Failed(f"{name} may enforce once a replay has shown what it would stop: {how}", REFUSED)
    report = _read(path)
    shown = report.judged.get(name)
    if shown is None or shown.mode != "enforce":
        raise Failed(f"{path}: {name} did not enforce in that replay; replay with --enforce {name}", REFUSED)
    if shown.options != judged.options:
        raise Failed(f"{path}: {name} had other options in that replay; replay with the settings of now", REFUSED)
    if report.last is None:
        raise Failed(f"{path}: that replay saw no agent", REFUSED)
    age_days = (time.time() * 1000 - parse_ms(report.last)) / DAY_MS
    if age_days > RECENT_DAYS:
        raise Failed(
            f"{path}: its log ended {age_days:.0f} days ago; replay a log of the last {RECENT_DAYS} days", REFUSED
        )
    if report.settled_months < LEAST_MONTHS:
        raise Failed(
            f"{path}: it saw {report.settled_months:.2f} agent-months after first weeks; {LEAST_MONTHS:g} are needed "
            "to say how often it stops agents that do no wrong",
            REFUSED,
        )
    for rate in report.rates:
        if rate.detector == name:
            click.echo(
                f"In the replay: {rate.asks}: {rate.settled} after first weeks, "
                f"{rate.settled_per_month:.3f} an agent-month, with 95 % at most {rate.settled_upper:.3f}"
            )
    if not any(rate.detector == name for rate in report.rates):
        click.echo(f"In the replay it said nothing in {report.settled_months:.1f} agent-months")


def _read(path: Path) -> Report:
    import msgspec

    from streams.replay import Report

    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError) as problem:
        raise Failed(f"{path} is no report.json of tripline replay --report: {problem}") from None


def _mode_at(settings: Any, name: str, place: tuple[str, str] | None) -> str:
    """A detector's mode, or the one of an agent or a role where the settings have one."""
    from detectors.discovery import modes

    own = settings.detectors.get(name, {}).get(place[0], {}).get(place[1]) if place else None
    return str(own or modes(settings)[name])


def _write_mode(path: Path, name: str, mode: str, place: tuple[str, str] | None) -> None:
    """Change one value of a TOML file, which keeps its comments and order; whole or not at all."""
    import tomlkit

    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    if "detectors" not in document:
        document["detectors"] = tomlkit.table(is_super_table=True)
    tables: Any = document["detectors"]
    if name not in tables:
        tables[name] = tomlkit.table()
    if place is None:
        tables[name]["mode"] = mode
    else:
        tables[name].setdefault(place[0], tomlkit.table())[place[1]] = mode
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(tomlkit.dumps(document))
        out.flush()
        os.fsync(out.fileno())
    if path.exists():
        Path(fresh).chmod(path.stat().st_mode)
    Path(fresh).replace(path)

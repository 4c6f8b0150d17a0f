"""The report of a forecast's backtest: plain data (``report.json``) and one page of HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from console.backtest import plots
from console.backtest.files import local
from console.templating import environment_of
from scoring.backtest.forecast import Result
from scoring.backtest.forecast_figures import WHOLE, summary
from scoring.backtest.forecast_figures import Row as Said
from scoring.backtest.groups import Facts
from scoring.backtest.reading import Read
from scoring.money import digits

SHOWN_GROUPS = 6
TARGETS = {"wins": "Wins", "open_wins": "Wins of deals open at the origin", "amount": "Amount"}
SCOPES = {"each group": False, "all": True}


def forecast_report(
    file: str, read: Read, facts: Facts, result: Result, zone: ZoneInfo, horizon_days: int
) -> dict[str, Any]:
    """Everything that a reader needs to judge the figures. Amounts are in whole units of the currency."""
    unit = 10 ** digits(facts.currency)
    figures: dict[str, dict[str, Any]] = {}
    for target in TARGETS:
        for scope, is_whole in SCOPES.items():
            found = summary(result.rows, target, is_whole=is_whole)
            if found is not None:
                figures.setdefault(target, {})[scope] = _scaled(found, unit) if target == "amount" else found
    return {
        "log": {
            "file": file,
            "rows": read.rows,
            "dead_rows": len(read.dead),
            "cases": len(read.log.cases),
            "first": local(read.log.first_ms, zone),
            "last": local(read.log.last_ms, zone),
        },
        "notes": _notes(read, facts, result),
        "zone": zone.key,
        "currency": facts.currency,
        "horizon_days": horizon_days,
        "origins": [local(at_ms, zone) for at_ms in result.origins],
        "shocks": [shock._asdict() for shock in result.shocks],
        "groups": len({row.group for row in result.rows} - {WHOLE}),
        "figures": figures,
        "forecasts": [_row(row, zone, unit if row.target == "amount" else 1) for row in result.rows],
    }


def forecast_page(report: dict[str, Any]) -> str:
    """The page of such a report."""
    environment = environment_of(Path(__file__).parent)
    environment.filters["figure"] = lambda value, digits=2: "–" if value is None else f"{value:,.{digits}f}"
    environment.filters["share"] = lambda value: "–" if value is None else f"{value:.0%}"
    return environment.get_template("forecast.html").render(report=report, names=TARGETS, plots=_plots(report))


def _plots(report: dict[str, Any]) -> list[tuple[str, list[tuple[str, Markup]]]]:
    """For each target the whole first, then the groups with most wins."""
    found = []
    for target, name in TARGETS.items():
        by_group: dict[str, list[dict[str, Any]]] = {}
        for row in report["forecasts"]:
            if row["target"] == target:
                by_group.setdefault(row["group"], []).append(row)
        order = sorted(by_group, key=lambda group: (group != WHOLE, -sum(r["came"] for r in by_group[group]), group))
        pictures = [(group, plots.interval(by_group[group], f"{name}: {group}")) for group in order[:SHOWN_GROUPS]]
        if pictures:
            found.append((name, pictures))
    return found


def _scaled(found: dict[str, Any], unit: int) -> dict[str, Any]:
    peers = {name: each | {"crps": each["crps"] / unit} for name, each in found["peers"].items()}
    return found | {"crps": found["crps"] / unit, "mean_came": found["mean_came"] / unit, "peers": peers}


def _row(row: Said, zone: ZoneInfo, unit: int) -> dict[str, Any]:
    return {
        "origin": local(row.origin_ms, zone),
        "group": row.group,
        "target": row.target,
        "mean": row.said.mean / unit,
        "low": row.said.low / unit,
        "high": row.said.high / unit,
        "came": row.came / unit,
        "peers": {name: peer.mean / unit for name, peer in row.peers.items()},
    }


def _notes(read: Read, facts: Facts, result: Result) -> list[str]:
    notes = [*read.notes]
    if not facts.has_owners:
        notes.append("no owner is told: teams are drawn by a hash of the case, so they differ by chance alone")
    if not facts.has_amounts:
        notes.append("no amount is told: money can't be forecast")
    if facts.bad_amounts:
        notes.append(
            f"{facts.bad_amounts:,} amounts are negative or no number: those deals count as wins, not as money"
        )
    missing = len(result.origins) - result.learned
    if missing:
        notes.append(
            f"at {missing} of {len(result.origins)} Mondays too few wins or losses were known to learn from: there "
            "each state's rate is taken, and the figures say little"
        )
    return notes

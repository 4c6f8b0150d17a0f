"""The report as one page of HTML that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from console.backtest import plots
from console.templating import environment_of

SHOWN_CURVES = 12
TARGETS = ("lost", "lost_within_horizon", "slip")


def page(report: dict[str, Any]) -> str:
    """The page of a report as ``report_of`` makes it."""
    environment = environment_of(Path(__file__).parent)
    environment.filters["figure"] = _figure
    environment.filters["format_count"] = lambda count: f"{count:,}"
    return environment.get_template("report.html").render(
        report=report,
        names={
            "lost": "Lost in the end",
            "lost_within_horizon": f"Lost within {report['horizon_days']} days",
            "slip": "Not won by its close date (slip)",
        },
        targets=[_target(report, name) for name in TARGETS if report["figures"][name] is not None],
        alerts=_alerts(report["figures"]["alerts"]),
    )


def _target(report: dict[str, Any], name: str) -> dict[str, Any]:
    found = report["figures"][name]
    snapshots = found["by_snapshot"]
    labels = [row["snapshot"] for row in snapshots]
    by_auc = [(at, row["auc"]) for at, row in enumerate(snapshots) if row["auc"] is not None]
    tops = [
        (name, [(at, row[key]) for at, row in enumerate(snapshots) if row[key] is not None])
        for name, key in (("model", "top_5_of_80"), ("silence", "silence_top_5_of_80"))
    ]
    said = [(at, row["said"]) for at, row in enumerate(snapshots)]
    share = "share not won by then" if name == "slip" else "share lost"
    came = [(at, row["base_rate"]) for at, row in enumerate(snapshots)]
    return {
        "name": name,
        "figures": found,
        "reliability": plots.reliability(found["reliability"], name),
        "lift": plots.lift(found["lift"], found["base_rate"], name),
        "auc": plots.over_time([("AUC", by_auc)], ("snapshot", "AUC"), labels) if by_auc else "",
        "top": plots.over_time(tops, ("snapshot", share), labels),
        "rates": plots.over_time([("said", said), ("came", came)], ("snapshot", share), labels),
        "curves": _curves(report, name),
    }


def _curves(report: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The tables that say most, first the strongest."""
    weights = report["figures"]["weights"][name]
    tables = sorted(report["model"][name]["tables"], key=lambda each: (-weights[each["feature"]], each["feature"]))
    found = []
    for table in tables[:SHOWN_CURVES]:
        states = table["states"] or []
        legend = [(at % 6, state) for at, state in enumerate(states) if table["cuts"][at]]
        missing = None if table["states"] else table["missing"][0]
        found.append(
            {
                "feature": table["feature"],
                "weight": weights[table["feature"]],
                "plot": plots.curve(table),
                "legend": legend,
                "missing": missing,
            }
        )
    return found


def _alerts(found: dict[str, Any]) -> dict[str, Any] | None:
    if not found:
        return None
    rule, score, early = (found[name] for name in ("rule_14_days", "score_same_volume", "early_same_volume"))
    nothing = [0] * 12
    rows = [("silent for 14 days", rule), (f"p_lost ≥ {score['threshold']:.2f}, same volume", score)]
    rows.append((f"p_lost − p_soon / 4 ≥ {early['threshold']:.2f}, same volume", early))
    rows += [(f"p_lost ≥ {each['threshold']:.2f}", each) for each in found["score_at"]]
    return {
        "cases": found["cases"],
        "rows": rows,
        "plot": plots.leads(early["leads"] or nothing, rule["leads"] or nothing),
    }


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

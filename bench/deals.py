"""Deal risk on BPIC2017's development months: three cuts, alerts, and cold starts.

    python -m bench.deals [--log FILE] [--only cuts|cold] [--draws 20] [--cut UNTIL:TEST …]

**Cuts.** For each, all is trained on what was known at the first date, and judged on the Mondays up to the second:
``tripline deals backtest``'s model, beside full boosting (interactions allowed, the same features and labels) and the
rule "silent for 14 days". Alerts are looked at daily.
**Cold starts.** Of the cases closed before 2016-06-01, n are drawn (same seed each time), the model trains on these
alone, and is judged on the Mondays of the second cut; means over the draws. Nothing is chosen by these figures here.
**Wanted.** At the end each figure that was wanted, what came, and whether it holds; exit code 1 if one doesn't.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from events.adapters.mapping import Mapping, parse_mapping, zone_of
from events.adapters.tables import csv_rows
from scoring.backtest import anchor, figures, run, train
from scoring.backtest.clock import instant_ms, snapshots
from scoring.backtest.features import Frame, Reader
from scoring.backtest.log import NEVER, EventLog
from scoring.backtest.reading import read
from scoring.backtest.story import complete
from scoring.backtest.tables import Tables, chance

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT.parent / "shared" / "data" / "bpic2017" / "events.csv.gz"
MAPPING = ROOT / "docs" / "examples" / "bpic2017.toml"
CUTS = ("2016-05-01:2016-06-10", "2016-06-01:2016-07-18", "2016-07-01:2016-07-26")
COLD = (20, 40, 80, 200, 1_000)
COLD_CUT = CUTS[1]
HORIZON_DAYS = 14
ALERTS = (("rule", "rule_14_days"), ("p_lost", "score_same_volume"), ("early", "early_same_volume"))
ALERT_CUT = "2016-04-01:2016-07-26"
"""Alerts need months: in a few weeks most losses begin before them or end after them."""
Numbers = dict[str, float]
Check = tuple[str, float, str, float]
"""What was wanted: its name, what came, "at least" or "at most", the limit."""
CUT_LIMITS = (("auc", "≥", 0.789), ("ece", "≤", 0.022), ("top_5", "≥", 0.96), ("soon_auc", "≥", 0.842))
COLD_LIMITS = {
    40: (("auc", "≥", 0.75), ("ece", "≤", 0.065)),
    200: (("auc", "≥", 0.758), ("ece", "≤", 0.05)),
    1_000: (("auc", "≥", 0.77), ("ece", "≤", 0.03)),
}
"""Besides: never below the hand scorecard."""


class Bench:
    """The log, and questions to it."""

    def __init__(self, path: Path) -> None:
        self.mapping: Mapping = parse_mapping(MAPPING.read_text(encoding="utf-8"))
        self.zone = zone_of(self.mapping)
        with gzip.open(path) as stream:
            self.log: EventLog = read(csv_rows(stream), self.mapping).log

    def moments(self, cut: str) -> tuple[int, int]:
        """The cut and the last instant of "UNTIL:TEST"."""
        first, _, last = cut.partition(":")
        end = datetime.fromisoformat(last) + timedelta(days=1)
        return instant_ms(datetime.fromisoformat(first), self.zone), instant_ms(end, self.zone) - 1

    def test(self, cut: str) -> tuple[Frame, np.ndarray, np.ndarray]:
        """Rows to judge by, and their labels: lost, lost within the horizon."""
        cut_ms, until_ms = self.moments(cut)
        case, at_ms = self.log.open_at(snapshots(cut_ms, until_ms, "weekly", self.zone))
        is_ended, is_lost, is_soon = run.labels(self.log, case, at_ms, HORIZON_DAYS)
        reader = Reader(self.log, complete(self.mapping, self.log.known_at(cut_ms)), self.zone)
        return reader.rows(case[is_ended], at_ms[is_ended]), is_lost[is_ended], is_soon[is_ended]


def cuts(bench: Bench, wanted: tuple[str, ...]) -> list[Check]:
    """The table of the cuts, and of their alerts; what was wanted of them."""
    ours, full, rule, alerts = [], [], [], []
    for cut in wanted:
        cut_ms, until_ms = bench.moments(cut)
        began = time.process_time()
        result = run.run(bench.log, bench.mapping, bench.zone, run.Question(cut_ms, until_ms))
        secs = time.process_time() - began
        lost, soon = (result.report[name] for name in ("lost", "lost_within_horizon"))
        ours.append(_told(lost, soon))
        rule.append({"auc": lost["rule_14_days_auc"], "soon_auc": soon["rule_14_days_auc"]})
        challenger = result.report["challenger"]
        full.append(_told(*(challenger[name]["full_boosting"] for name in ("lost", "lost_within_horizon"))))
        alerts.append(result.report["alerts"])
        _line(f"{cut.replace(':', ' → ')}: tables", ours[-1], f"{secs:.0f} s of CPU, {lost['rows']:,} rows")
        _line("  full boosting", full[-1])
        _line("  silent for 14 days", rule[-1])
    for name, found in (("tables", ours), ("full boosting", full), ("silent for 14 days", rule)):
        _line(f"mean: {name}", _mean(found))
    cut_ms, until_ms = bench.moments(ALERT_CUT)
    long = run.run(bench.log, bench.mapping, bench.zone, run.Question(cut_ms, until_ms))
    for cut, found in zip((*wanted, ALERT_CUT), (*alerts, long.report["alerts"]), strict=True):
        for name, key in ALERTS:
            row = found[key]
            lead = "/".join(f"{days:.0f}" for days in row["lead_days"])
            alive = f"of {row['alive']} alive two weeks later {row['alive_precision']:.3f}"
            told = f"precision {row['precision']:.3f}  {alive}  recall {row['recall']:.3f}  lead {lead} days"
            print(f"alerts {cut} {name:<12} {row['alerted']:>5}  {told}")
    means = _mean(ours)
    found: list[Check] = [(f"mean of the cuts: {key}", means[key], sign, limit) for key, sign, limit in CUT_LIMITS]
    early, rule_ = long.report["alerts"]["early_same_volume"], long.report["alerts"]["rule_14_days"]
    return [
        *found,
        ("alerts: precision", early["precision"], "≥", 0.74),
        ("alerts: recall, the rule's at least", early["recall"], "≥", rule_["recall"]),
        ("alerts: median lead in days", early["lead_days"][1], "≥", 17.0),
    ]


def cold(bench: Bench, draws: int) -> list[Check]:
    """The table of cold starts, for loss in the end; what was wanted of them."""
    checks: list[Check] = []
    frame, is_lost, _ = bench.test(COLD_CUT)
    cut_ms, _ = bench.moments(COLD_CUT)
    known = bench.log.known_at(cut_ms)
    closed = np.flatnonzero(known.ended_ms != NEVER)
    draw = np.random.default_rng(figures.SEED)
    for count in COLD:
        found: dict[str, list[Numbers]] = {}
        for _ in range(draws):
            chosen = np.zeros(len(known.cases), dtype=bool)
            chosen[draw.choice(closed, count, replace=False)] = True
            for name, model in _cold_models(bench, known.only(chosen), cut_ms):
                scores = chance(model.scores(frame))
                found.setdefault(name, []).append(_cold_figures(scores, is_lost))
        for name, rows in found.items():
            _line(f"{count} closed: {name}", _mean(rows), f"AUC sd {np.std([row['auc'] for row in rows]):.3f}")
        chosen_, hand = (
            _mean(next(rows for name, rows in found.items() if name.startswith(of))) for of in ("chosen", "hand, not")
        )
        checks.append((f"{count} closed: auc, the hand scorecard's", chosen_["auc"], "≥", hand["auc"]))
        limits = COLD_LIMITS.get(count, ())
        checks += [(f"{count} closed: {key}", chosen_[key], sign, limit) for key, sign, limit in limits]
    return checks


def say_wanted(checks: list[Check]) -> bool:
    """Print what holds and what doesn't; whether all do."""
    good = [came >= limit if sign == "≥" else came <= limit for _, came, sign, limit in checks]
    for (name, came, sign, limit), is_good in zip(checks, good, strict=True):
        print(f"{'holds ' if is_good else 'MISSED'} {name:<52} {came:.4f} {sign} {limit:.4f}")
    return all(good)


def _cold_models(bench: Bench, known: EventLog, cut_ms: int) -> list[tuple[str, Tables]]:
    rows = train.gather(known, bench.mapping, bench.zone, cut_ms, HORIZON_DAYS)
    prior = anchor.hand(rows.risk, rows.states, rows.frame.names)
    chosen = train.train(known, bench.mapping, bench.zone, cut_ms, HORIZON_DAYS)
    anchored = train.fit_hand(rows, np.arange(len(rows.weight)), rows.is_lost)
    return [("hand, not fitted", prior), ("hand, fitted", anchored), (f"chosen ({chosen.kind})", chosen.lost)]


def _cold_figures(scores: np.ndarray, labels: np.ndarray) -> Numbers:
    return {
        "auc": figures.auc(scores, labels) or 0.0,
        "brier": figures.brier(scores, labels),
        "ece": figures.calibration_error(scores, labels),
    }


def _told(lost: dict[str, Any], soon: dict[str, Any]) -> Numbers:
    return {
        "auc": lost["auc"],
        "brier": lost["brier"],
        "ece": lost["calibration_error"],
        "top_5": lost["precision_top_5_of_80"],
        "soon_auc": soon["auc"],
        "soon_brier": soon["brier"],
        "soon_ece": soon["calibration_error"],
    }


def _mean(rows: list[Numbers]) -> Numbers:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _line(name: str, numbers: Numbers, more: str = "") -> None:
    told = "  ".join(f"{key} {value:.4f}" for key, value in numbers.items())
    print(f"{name:<36} {told}  {more}".rstrip(), flush=True)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--only", choices=("cuts", "cold"))
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cut", action="append", metavar="UNTIL:TEST", help="instead of the three, such as " + CUTS[0])
    asked = parser.parse_args()
    if not asked.log.exists():
        parser.error(f"{asked.log} is not there: name BPIC2017's events with --log")
    bench = Bench(asked.log)
    checks: list[Check] = []
    if asked.only != "cold":
        checks += cuts(bench, tuple(asked.cut or CUTS))
    if asked.only != "cuts":
        checks += cold(bench, asked.draws)
    return 0 if say_wanted(checks) else 1


if __name__ == "__main__":
    sys.exit(main())

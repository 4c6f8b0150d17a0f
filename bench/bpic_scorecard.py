"""How well the hand scorecard tells lost from won deals: AUC at Monday snapshots of a replayed event log.

    tripline import eventlog events.csv.gz --mapping docs/examples/bpic2017.toml --out bpic2017.jsonl
    tripline replay bpic2017.jsonl --config docs/examples/bpic2017-settings.toml --out report
    python -m bench.bpic_scorecard bpic2017.jsonl report

Scores are read from the replay's ``deal_risk.jsonl`` alone: at each Monday 08:00 UTC, the last score of a deal said
strictly before. Such a score knew nothing later, because replay gives records to the engine in the order of their
time. The log is read for one thing: when a deal was opened and closed, and how. A row is a deal that was open at the
snapshot and closed later in the log; deals that are never closed are left out, as they have no label. As comparison:
the days since the deal's last record before the snapshot, the plainest rule of all.

Snapshots go from 28 days after the first record (``--first``) to 56 days before the last one (``--until``): of deals
open later than that, mostly those that close soon would have a label. Nothing is fitted.
"""

from __future__ import annotations

import argparse
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from events.times import DAY_MS, parse_ms

MONDAY_MS = 4 * DAY_MS + 8 * 3_600_000
"""1970-01-05 08:00 UTC, a Monday."""
WEEK_MS = 7 * DAY_MS


class Life(NamedTuple):
    """What the log says of one deal: its records' times, and its end."""

    times: list[int]
    closed_ms: int | None
    is_won: bool


class Row(NamedTuple):
    """One deal at one snapshot."""

    week_ms: int
    p_lost: float
    p_lost_14d: float
    band: str
    silent_days: float
    is_lost: bool
    is_lost_14d: bool


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """The chance that a positive one has the higher score; ties count half."""
    order = sorted(range(len(scores)), key=lambda at: scores[at])
    ranks, start = 0.0, 0
    while start < len(order):
        end = start
        while end < len(order) and scores[order[end]] == scores[order[start]]:
            end += 1
        middle = (start + 1 + end) / 2
        ranks += middle * sum(labels[order[at]] for at in range(start, end))
        start = end
    positives = sum(labels)
    negatives = len(labels) - positives
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def brier(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Mean squared error of the probabilities."""
    return sum((score - label) ** 2 for score, label in zip(scores, labels, strict=True)) / len(scores)


def calibration_error(scores: Sequence[float], labels: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error over bins of equal width."""
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for score, label in zip(scores, labels, strict=True):
        cell = sums[min(int(score * bins), bins - 1)]
        cell[0] += score
        cell[1] += label
    return sum(abs(said - was) for said, was in sums.values()) / len(scores)


def read_lives(log: Path) -> dict[str, Life]:
    """When each deal had a record, and how it ended, out of the imported log."""
    times: dict[str, list[int]] = defaultdict(list)
    ends: dict[str, tuple[int, bool]] = {}
    for event in _lines(log):
        data = event["data"]
        at_ms = parse_ms(event["time"])
        times[data["deal_id"]].append(at_ms)
        changes = data.get("changes") or {}
        if "is_closed" in changes and changes["is_closed"][-1]:
            won = changes["is_won"]
            ends[data["deal_id"]] = at_ms, bool(won["after"] if isinstance(won, dict) else won[-1])
    return {deal: Life(found, *(ends.get(deal) or (None, False))) for deal, found in times.items()}


def read_scores(path: Path) -> dict[str, tuple[list[int], list[tuple[float, float, str]]]]:
    """Each deal's scores in the order in which they were said."""
    found: dict[str, tuple[list[int], list[tuple[float, float, str]]]] = defaultdict(lambda: ([], []))
    for event in _lines(path):
        data = event["data"]
        times, scores = found[data["deal_id"]]
        times.append(parse_ms(data["at"]))
        scores.append((data["p_lost"], data["p_lost_14d"], data["band"]))
    return found


def rows(log: Path, risks: Path, first_days: int, until_days: int) -> Iterator[Row]:
    """One row per snapshot and deal that was open then and closed later."""
    lives, scores = read_lives(log), read_scores(risks)
    all_times = [at for life in lives.values() for at in (life.times[0], life.times[-1])]
    begin, end = min(all_times) + first_days * DAY_MS, max(all_times) - until_days * DAY_MS
    weeks = range(begin + (MONDAY_MS - begin) % WEEK_MS, end, WEEK_MS)
    for deal, life in lives.items():
        if life.closed_ms is None or deal not in scores:
            continue
        times, said = scores[deal]
        for week in weeks:
            at = bisect_left(times, week)
            if at and life.times[0] < week <= life.closed_ms:
                silent = (week - life.times[bisect_left(life.times, week) - 1]) / DAY_MS
                is_soon = not life.is_won and life.closed_ms < week + 14 * DAY_MS
                yield Row(week, *said[at - 1], silent, not life.is_won, is_soon)


def report(found: Sequence[Row]) -> dict[str, Any]:
    """The figures of both targets, and the share lost in each band."""
    lost = [row.is_lost for row in found]
    soon = [row.is_lost_14d for row in found]
    p_lost, p_soon = [row.p_lost for row in found], [row.p_lost_14d for row in found]
    silent = [row.silent_days for row in found]
    weekly = defaultdict(list)
    for row in found:
        weekly[row.week_ms].append(row)
    by_week = sorted(auc([row.p_lost for row in one], [row.is_lost for row in one]) for one in weekly.values())
    bands: dict[str, list[bool]] = defaultdict(list)
    for row in found:
        bands[row.band].append(row.is_lost)
    return {
        "rows": len(found),
        "snapshots": [_date(min(weekly)), _date(max(weekly)), len(weekly)],
        "eventually_lost": _figures(p_lost, lost, silent),
        "lost_within_14_days": _figures(p_soon, soon, silent),
        "auc_by_week": {"lowest": by_week[0], "median": by_week[len(by_week) // 2], "highest": by_week[-1]},
        "bands": {band: {"rows": len(ends), "lost": sum(ends) / len(ends)} for band, ends in sorted(bands.items())},
    }


def _figures(scores: Sequence[float], labels: Sequence[bool], silent: Sequence[float]) -> dict[str, float]:
    return {
        "base": sum(labels) / len(labels),
        "auc": auc(scores, labels),
        "auc_days_silent": auc(silent, labels),
        "auc_rule_14_days": auc([float(days >= 14) for days in silent], labels),
        "brier": brier(scores, labels),
        "calibration_error": calibration_error(scores, labels),
    }


def _lines(path: Path) -> Iterable[Any]:
    with path.open("rb") as lines:
        for line in lines:
            yield json.loads(line)


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()


def main() -> None:
    """Read the arguments, print the report as JSON."""
    parser = argparse.ArgumentParser(description="AUC of the hand scorecard at Monday snapshots of a replay.")
    parser.add_argument("log", type=Path, help="what tripline import wrote")
    parser.add_argument("report", type=Path, help="the folder that tripline replay wrote")
    parser.add_argument("--first", type=int, default=28, help="days after the first record")
    parser.add_argument("--until", type=int, default=56, help="days before the last record")
    asked = parser.parse_args()
    found = list(rows(asked.log, asked.report / "deal_risk.jsonl", asked.first, asked.until))
    print(json.dumps(report(found), indent=1))


if __name__ == "__main__":
    main()

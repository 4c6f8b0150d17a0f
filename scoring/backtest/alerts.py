"""First alerts: looked at daily, a case is alerted once, when its score first reaches a threshold.

A loss that comes tomorrow can't be helped. So beside ``p_lost`` there is an *early* score, p_lost − p_soon / 4: with as
many alerts it gives up a little precision for time to act.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from events.times import DAY_MS
from scoring.backtest.log import NEVER, EventLog, Floats, Ints

SILENT_DAYS = 14.0
SOON_SHARE = 0.25
ALIVE_DAYS = 14
"""An alert about a deal that ends sooner comes too late to help: those that live on are judged beside all."""
THRESHOLDS = (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)


def first_over(case: Ints, at_ms: Ints, scores: Floats, threshold: float) -> tuple[Ints, Ints]:
    """Which cases are alerted, and when first. Rows must be in the order of time."""
    over = np.flatnonzero(scores >= threshold)
    alerted, first = np.unique(case[over], return_index=True)
    return alerted, at_ms[over[first]]


def judged(log: EventLog, seen: Ints, alerted: Ints, when: Ints) -> dict[str, Any]:
    """Precision, recall and lead of first alerts among ``seen`` cases whose outcome the log tells.

    ``alive``: alerted cases that were still open two weeks after the alert, and the share of them that was lost.
    ``lead_days``: quartiles of the days from the alert to the loss; ``leads``: counts by whole weeks, 0 to 11+.
    """
    has_end = log.ended_ms != NEVER
    lost_cases = int((log.is_lost & has_end)[seen].sum())
    is_told = has_end[alerted]
    alerted, when = alerted[is_told], when[is_told]
    is_right = log.is_lost[alerted]
    is_alive = log.ended_ms[alerted] - when >= ALIVE_DAYS * DAY_MS
    lead = (log.ended_ms[alerted] - when)[is_right] / DAY_MS
    return {
        "alerted": len(alerted),
        "alerted_unresolved": int((~is_told).sum()),
        "precision": float(is_right.mean()) if len(alerted) else None,
        "alive": int(is_alive.sum()),
        "alive_precision": float(is_right[is_alive].mean()) if is_alive.any() else None,
        "recall": float(is_right.sum() / lost_cases) if lost_cases else None,
        "lead_days": [float(each) for each in np.quantile(lead, (0.25, 0.5, 0.75))] if len(lead) else None,
        "leads": np.bincount(np.minimum(lead // 7, 11).astype(int), minlength=12).tolist() if len(lead) else None,
    }


def same_volume(case: Ints, scores: Floats, wanted: int) -> float:
    """The threshold at which as many cases are alerted as by the rule; looks at scores alone, at no outcome."""
    highest = np.full(int(case.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(highest, case, scores)
    ordered = np.sort(highest[np.isfinite(highest)])[::-1]
    return float(ordered[min(max(wanted, 1), len(ordered)) - 1]) if len(ordered) else 1.0


def compare(log: EventLog, case: Ints, at_ms: Ints, p_lost: Floats, p_soon: Floats, silence: Floats) -> dict[str, Any]:
    """The rule "silent for 14 days" beside both scores at the same volume, and ``p_lost`` at fixed thresholds."""
    seen = np.unique(case)
    rule = first_over(case, at_ms, silence, SILENT_DAYS)

    def told(scores: Floats, threshold: float) -> dict[str, Any]:
        return {"threshold": threshold} | judged(log, seen, *first_over(case, at_ms, scores, threshold))

    early = p_lost - SOON_SHARE * p_soon
    volume = len(rule[0])
    return {
        "cases": len(seen),
        "rule_14_days": judged(log, seen, *rule),
        "score_same_volume": told(p_lost, same_volume(case, p_lost, volume)),
        "early_same_volume": told(early, same_volume(case, early, volume)),
        "score_at": [told(p_lost, each) for each in THRESHOLDS],
    }

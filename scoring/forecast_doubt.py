"""How much wider an interval must be because the deviation that it rests on was itself learned from a few spans.

A normal quantity whose variance is not known follows Student's t. The draws here stay (log-)normal, so their deviation
is stretched until their 80 % interval is that of t. Spans that overlap tell less than as many that don't: weekly looks
at 28 days count a quarter each.

Reference: Abramowitz and Stegun, *Handbook of Mathematical Functions* (1964), 26.7.5: t by the normal quantile.
"""

from __future__ import annotations

from statistics import NormalDist

_HIGH = NormalDist().inv_cdf(0.9)
LOOK_DAYS = 7
"""Looks at the past lie so far apart."""


def stretch(freedom: float) -> float:
    """By how much the upper tenth of t with so many degrees of freedom lies farther out than a normal's; 1 or more.

    ``freedom``: what was learned from, in independent spans, the weight of the prior included; at least 2, where it is
    off by 2 %.
    """
    z, n = _HIGH, max(freedom, 2.0)
    return 1.0 + (z**2 + 1) / (4 * n) + (5 * z**4 + 16 * z**2 + 3) / (96 * n**2)


def independent(looks: int, days: float) -> float:
    """So many independent spans of ``days`` as weekly looks at overlapping ones are worth."""
    return looks * min(LOOK_DAYS / days, 1.0) if days > 0 else 0.0

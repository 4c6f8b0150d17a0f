"""How good forecasts were: rows beside what came and what peers said, and their figures."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt
from statistics import NormalDist
from typing import NamedTuple

from scoring.forecast import HIGH, Spread

WHOLE = "all"
PEERS = ("stage_weighted", "stage_in_time", "stage_and_births", "recent")
_NORMAL = NormalDist()


class Peer(NamedTuple):
    """A normal forecast; without a ``deviation`` it is a number alone."""

    mean: float
    deviation: float

    @property
    def interval(self) -> tuple[float, float]:
        """Its 80 % interval."""
        reach = _NORMAL.inv_cdf(HIGH) * self.deviation
        return self.mean - reach, self.mean + reach

    def crps(self, came: float) -> float:
        """In closed form (Gneiting and Raftery 2007)."""
        if self.deviation <= 0.0:
            return abs(came - self.mean)
        z = (came - self.mean) / self.deviation
        return self.deviation * (z * (2 * _NORMAL.cdf(z) - 1) + 2 * _NORMAL.pdf(z) - 1 / sqrt(pi))


class Row(NamedTuple):
    """A forecast of one group at one origin. ``target``: ``wins``, ``open_wins`` (of deals open at the origin) or
    ``amount`` (minor units)."""

    origin_ms: int
    group: str
    target: str
    said: Spread
    crps: float
    came: float
    peers: dict[str, Peer]


def summary(rows: Sequence[Row], target: str, *, is_whole: bool) -> dict[str, object] | None:
    """Coverage of the 80 % interval, CRPS, error, and the peers beside them; None without such rows."""
    chosen = [row for row in rows if row.target == target and (row.group == WHOLE) == is_whole]
    if not chosen:
        return None
    crps = _mean([row.crps for row in chosen])
    peers = {}
    for name in PEERS[: 2 if target == "open_wins" else None]:
        theirs = _mean([row.peers[name].crps(row.came) for row in chosen])
        has_interval = any(row.peers[name].deviation > 0.0 for row in chosen)
        inside = [row.peers[name].interval[0] <= row.came <= row.peers[name].interval[1] for row in chosen]
        peers[name] = {
            "crps": theirs,
            "coverage_80": _mean(inside) if has_interval else None,
            "mape": _mape([(row.peers[name].mean, row.came) for row in chosen]),
            "crps_below_by": 1.0 - crps / theirs if theirs else None,
        }
    return {
        "rows": len(chosen),
        "mean_came": _mean([row.came for row in chosen]),
        "crps": crps,
        "coverage_80": _mean([row.said.low <= row.came <= row.said.high for row in chosen]),
        "mape": _mape([(row.said.mean, row.came) for row in chosen]),
        "peers": peers,
    }


def _mean(of: Sequence[float]) -> float:
    return sum(of) / len(of)


def _mape(pairs: Sequence[tuple[float, float]]) -> float | None:
    told = [abs(said - came) / came for said, came in pairs if came > 0]
    return _mean(told) if told else None

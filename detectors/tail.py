"""How improbable a number is among those before it: a generalised Pareto tail over the largest ones.

Reference: Pickands (1975) for the tail above a high threshold; Hosking and Wallis (1987) for its moments; Siffer et
al., "Anomaly detection in streams with extreme value theory" (KDD 2017) for its use on streams.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from math import log, log10

_LN10 = log(10.0)
_MOST_SHAPE = 0.5
_LEAST_SPREAD = 1e-15


class UpperTail:
    """Keeps the largest numbers of a stream and says how improbable a new one is.

    Parameters: ``share`` of the numbers that form the tail; ``kept``, how many of the largest are stored, so that the
    tail is exact for kept/share numbers and its share shrinks after that; ``silent``, numbers before it says
    anything. State: ``kept`` floats.

    Limits: it never forgets the largest numbers; the shape is held in [0, .5], so a bounded tail is taken for an
    exponential one (less surprise, never more).
    """

    __slots__ = ("count", "kept", "share", "silent", "top")

    def __init__(self, share: float = 0.01, kept: int = 256, silent: int = 50) -> None:
        self.share = share
        self.kept = kept
        self.silent = silent
        self.count = 0
        self.top: list[float] = []

    def surprise(self, number: float) -> float:
        """−log10 of the chance to meet at least ``number``, judged by those before it; 0 below the tail. Then learn."""
        said = 0.0
        top, size = self.top, max(int(self.share * self.count), 2)
        if self.count > self.silent:
            size = min(size, len(top) - 1)
            threshold = top[-size - 1]
            if number > threshold:
                said = log10(self.count / size) + _log10_beyond(number, threshold, top[-size:])
        self.count += 1
        if len(top) < self.kept:
            insort(top, number)
        elif number > top[0]:
            del top[0]
            insort(top, number)
        return said


def _log10_beyond(number: float, threshold: float, tail: Sequence[float]) -> float:
    """−log10 of the chance that a number above ``threshold`` reaches ``number``, from the moments of ``tail``."""
    mean = sum(tail) / len(tail) - threshold
    variance = sum((each - threshold) ** 2 for each in tail) / len(tail) - mean * mean
    shape = 0.0
    if variance > _LEAST_SPREAD:
        shape = min(max(0.5 * (1.0 - mean * mean / variance), 0.0), _MOST_SHAPE)
    scale = max(mean * (1.0 - shape), 1e-9)
    excess = (number - threshold) / scale
    return excess / _LN10 if shape < 1e-6 else log10(1.0 + shape * excess) / shape

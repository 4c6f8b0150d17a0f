"""How surprising the order of an agent's calls is: a Markov chain of order two, smoothed by Witten and Bell."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import log

_START, _END = "", "\n"
_UNSEEN = 50.0
"""As many names of actions nobody called yet are thought possible."""


class OrderSurprise:
    """Learns sequences of names, and says the mean surprise of another one, in nats a call.

    Each order backs off to the one below with weight T / (n + T), T being the number of different names that followed
    (Witten and Bell, 1991); the lowest to one in (names + 50). Never infinite; an empty sequence has none (0.0).
    """

    def __init__(self, sequences: Iterable[Sequence[str]]) -> None:
        self._counts: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for names in sequences:
            for context, name in _steps(names):
                for order in range(3):
                    self._counts[context[2 - order :]][name] += 1

    def mean(self, names: Sequence[str]) -> float:
        """The mean of −log p over the calls and the end."""
        if not names:
            return 0.0
        steps = list(_steps(names))
        return sum(-log(self._probability(context, name)) for context, name in steps) / len(steps)

    def _probability(self, context: tuple[str, str], name: str) -> float:
        known = len(self._counts[()]) if () in self._counts else 0
        p = 1.0 / (known + _UNSEEN)
        for order in range(3):
            counts = self._counts.get(context[2 - order :])
            if counts:
                total, kinds = counts.total(), len(counts)
                p = (counts[name] + kinds * p) / (total + kinds)
        return p


def _steps(names: Sequence[str]) -> Iterable[tuple[tuple[str, str], str]]:
    first, second = _START, _START
    for name in (*names, _END):
        yield (first, second), name
        first, second = second, name

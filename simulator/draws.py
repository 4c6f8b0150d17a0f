"""Random draws that give the same figures on every machine and Python version.

Only ``Random.random()`` is used (the one method whose sequence Python promises to keep) and arithmetic that
IEEE 754 fixes to the last bit: the C library's ``exp``, ``log`` and ``sin`` may differ between machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from math import ldexp
from random import Random
from typing import TypeVar

T = TypeVar("T")

_LN2 = 0.6931471805599453
_PER_LN2 = 1.4426950408889634
_CHUNK = 24.0  # Poisson means above it are summed from parts, so that exp(-mean) stays far from underflow


def exp(x: float) -> float:
    """e to the x from additions, products and an exact power of two; right to about 15 digits."""
    n = int(x * _PER_LN2 + (0.5 if x >= 0 else -0.5))
    r = x - n * _LN2
    total = term = 1.0
    for k in range(1, 15):
        term *= r / k
        total += term
    return ldexp(total, n)


class Draws:
    """A stream of random draws for one entity, from the run's seed and the entity's names."""

    def __init__(self, seed: int, *names: object) -> None:
        text = "\x1f".join((str(seed), *map(str, names)))
        # Not for secrets: the simulator must be repeatable.
        self.random = Random(int.from_bytes(sha256(text.encode()).digest()[:16], "big")).random  # noqa: S311

    def below(self, n: int) -> int:
        """A whole number in [0, n)."""
        return int(self.random() * n)

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high], both ends included."""
        return low + int(self.random() * (high - low + 1))

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.random()

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One of the items, all alike likely."""
        return items[int(self.random() * len(items))]

    def normal(self) -> float:
        """A number with mean 0 and deviation 1, near enough to normal (a sum of 12 uniforms, within ±6)."""
        draw = self.random
        return sum([draw() for _ in range(12)]) - 6.0

    def poisson(self, mean: float) -> int:
        """A count with this mean."""
        count = 0
        while mean > _CHUNK:
            count += self._small_poisson(_CHUNK)
            mean -= _CHUNK
        return count + self._small_poisson(mean) if mean > 0 else count

    def _small_poisson(self, mean: float) -> int:
        rest = self.random()
        p = exp(-mean)
        count = 0
        while rest > p and count < 200:
            rest -= p
            count += 1
            p *= mean / count
        return count

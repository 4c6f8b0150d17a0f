"""Bags of features as bit masks, and the nearest of them: the distance is two operations on whole numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from detectors.run_trace import Bag, Feature

FARTHEST = 1.0


class Masks:
    """Bags as bit masks over the features that were learnt; a feature counted twice has two bits."""

    def __init__(self) -> None:
        self._bits: dict[tuple[Feature, int], int] = {}

    def learn(self, bag: Bag) -> int:
        """The mask of a bag of the library."""
        mask = 0
        for feature, count in bag.items():
            for level in range(count):
                mask |= 1 << self._bits.setdefault((feature, level), len(self._bits))
        return mask

    def knows(self, feature: Feature) -> bool:
        """Whether it is a feature of the library."""
        return (feature, 0) in self._bits

    def of(self, bag: Bag) -> tuple[int, int]:
        """The mask of another bag, and its size together with the features that nobody in the library has."""
        mask = size = 0
        for feature, count in bag.items():
            for level in range(count):
                size += 1
                bit = self._bits.get((feature, level))
                if bit is not None:
                    mask |= 1 << bit
        return mask, size


class Place(NamedTuple):
    """A bag of the library: its mask and size, the index of its run, and the bag itself."""

    mask: int
    size: int
    run: int
    bag: Bag


class DistinctBags:
    """Bags of the library, each different one once, with the groups (requests) it was seen in."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Place, set[str]]] = {}

    def add(self, place: Place, group: str) -> None:
        """Take one in."""
        self._found.setdefault(place.mask, (place, set()))[1].add(group)

    def outside(self, group: str | None) -> Iterator[tuple[Place, float]]:
        """Those that were seen in another group too, or all, as ``nearest_place`` wants them."""
        for place, groups in self._found.values():
            if group is None or groups != {group}:
                yield place, 0.0


class ActionUses:
    """How far each action's use is from the nearest good use of that action, whatever else their runs did.

    A use is that part of a bag which is about one action. The distance of a bag is the mean over its actions, weighted
    by the number of their features; an action that no good run used has distance 1. So a run that puts together what
    good runs only did apart is not far.

    Parameters
    ----------
    bags:
        The good runs' bags, each with its group: its own group is left out when one of them is measured.
    """

    def __init__(self, bags: Sequence[tuple[str, Bag]]) -> None:
        self._masks = Masks()
        self._uses: dict[str, DistinctBags] = {}
        for index, (group, bag) in enumerate(bags):
            for action, use in uses_of(bag).items():
                mask = self._masks.learn(use)
                place = Place(mask, mask.bit_count(), index, use)
                self._uses.setdefault(action, DistinctBags()).add(place, group)

    def distance(self, bag: Bag, without: str | None = None) -> tuple[float, float, Place | None, Bag]:
        """The mean distance; then the worst action's: its distance, its nearest good use, and its own."""
        total = weight = 0.0
        worst: tuple[float, Place | None, Bag] = (-1.0, None, {})
        for action, use in uses_of(bag).items():
            mask, size = self._masks.of(use)
            known = self._uses.get(action)
            distance, place = nearest_place(mask, size, known.outside(without) if known is not None else ())
            total += size * distance
            weight += size
            if distance > worst[0]:
                worst = (distance, place, use)
        return total / max(weight, 1.0), *worst


def uses_of(bag: Bag) -> dict[str, Bag]:
    """A bag by action."""
    uses: dict[str, Bag] = {}
    for feature, count in bag.items():
        uses.setdefault(feature[1], {})[feature] = count
    return uses


def nearest_place(mask: int, size: int, places: Iterable[tuple[Place, float]]) -> tuple[float, Place | None]:
    """The least weighted Jaccard distance plus penalty, and where it is; 1 and None when there is nothing."""
    least, nearest = 2.0 * FARTHEST, None
    for place, penalty in places:
        common = (mask & place.mask).bit_count()
        distance = 1.0 - common / (size + place.size - common) + penalty
        if distance < least:
            least, nearest = distance, place
    return (least, nearest) if nearest else (FARTHEST, None)

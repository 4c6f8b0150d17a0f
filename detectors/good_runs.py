"""How far a run is from the nearest confirmed good one: the library of good runs, and the distance.

The distance is 1 − Σ min / Σ max over the features of two bags (weighted Jaccard; Ružička 1958), so 0 for equal bags
and 1 for bags with nothing in common. Learns from good runs only: what bad ones look like is never asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import log
from typing import NamedTuple

from msgspec import Struct

from detectors.bag_masks import ActionUses, DistinctBags, Masks, Place, nearest_place
from detectors.requests import Request
from detectors.run_trace import Bag, Call, Feature, RunTrace

WHOLE, PREFIX, USES = "whole", "prefix", "uses"
_NEIGHBOURS = 15
_ENOUGH_ALIKE = 0.6
_UNLIKE_REQUEST = 0.5
_LEAST_USUAL = 0.01


class Run(Struct, frozen=True):
    """One run: its bags after each write and at its end, once without and once with its request.

    ``label`` tells a person which run it is (a line of a file, an id). A run without a write has no bags.
    """

    label: str
    request: str
    plain: tuple[Bag, ...]
    asked: tuple[Bag, ...]


class Nearest(NamedTuple):
    """The good run that is nearest to a bag, and how far it is; ``run`` is None when there is none."""

    distance: float
    run: Run | None
    bag: Bag
    nearest_bag: Bag


class Part(NamedTuple):
    """One of the sums that make the score: how far in units of what is usual among good runs."""

    name: str
    with_request: bool
    ratio: float
    nearest: Nearest


def run_of(calls: Iterable[Call], request: str = "", label: str = "") -> Run:
    """A run from its successful calls in order; ``request`` is the text the agent was asked, or empty."""
    plain, asked = RunTrace(), RunTrace(Request(request)) if request else None
    snapshots: list[tuple[Bag, Bag]] = []
    for call in calls:
        plain.add(call)
        if asked is not None:
            asked.add(call)
        if call.is_write:
            snapshots.append((dict(plain.bag), {} if asked is None else dict(asked.bag)))
    if snapshots:
        snapshots.append((dict(plain.bag), {} if asked is None else dict(asked.bag)))
    bags, with_request = zip(*snapshots, strict=True) if snapshots else ((), ())
    return Run(label, request, bags, with_request if request else ())


class _Requests:
    """Requests of the library by likeness: Jaccard of words, each weighted by how rare it is among them."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._count = len(runs)
        self._runs_with: dict[str, int] = {}
        words = [Request(run.request).words for run in runs]
        for found in words:
            for word in found:
                self._runs_with[word] = self._runs_with.get(word, 0) + 1
        self._by_text: dict[str, tuple[frozenset[str], float, list[int]]] = {}
        for index, run in enumerate(runs):
            if run.request:
                if run.request not in self._by_text:
                    self._by_text[run.request] = (words[index], self._weight(words[index]), [])
                self._by_text[run.request][2].append(index)

    def _weight(self, words: Iterable[str]) -> float:
        return sum(max(log((self._count + 1) / (self._runs_with.get(word, 0) + 0.5)), 0.0) for word in sorted(words))

    def nearest(self, request: str, without: str | None) -> list[tuple[int, float]]:
        """At most 15 runs of the most similar requests, each with its penalty for being less alike than the best."""
        words = Request(request).words
        weight = self._weight(words)
        alike = []
        for text, (others, other_weight, indices) in self._by_text.items():
            if text != without:
                common = self._weight(words & others)
                likeness = common / max(weight + other_weight - common, 1e-9)
                alike += [(-likeness, index) for index in indices]
        alike.sort()
        if not alike:
            return []
        best = -alike[0][0]
        near = [(index, -least) for least, index in alike[:_NEIGHBOURS] if -least >= _ENOUGH_ALIKE * best]
        return [(index, _UNLIKE_REQUEST * (best - likeness)) for index, likeness in near]


class GoodRuns:
    """The library: confirmed good runs, and how far they usually are from each other.

    A run is compared as a whole with whole runs, and after each of its writes (its worst counts) with what good runs
    looked like just after a write; both once against the whole library, and once, if its request is known, against
    the good runs of the most similar requests. Then each of its actions with good uses of that action in any run. Each
    of the five distances is divided by its mean among the good runs themselves, each left out with all runs of its
    request. The score is 1 + their sum.

    Limits: only what calls and arguments show. A write of the right kind on the wrong one of several records that
    were read, or in the wrong branch of an "if", looks like a good run. Runs that were not confirmed must not be in
    the library: with unreviewed ones in it, it tells next to nothing.

    Parameters
    ----------
    runs:
        Confirmed good runs, in any order; those without a write are not needed and left out.
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = tuple(run for run in runs if run.plain)
        self._requests = _Requests(self.runs)
        self._masks = {False: Masks(), True: Masks()}
        self._places: dict[tuple[str, bool], list[list[Place]]] = {}
        for with_request in (False, True):
            for name in (WHOLE, PREFIX):
                self._places[name, with_request] = [
                    self._learn(index, run, name, with_request) for index, run in enumerate(self.runs)
                ]
        self._distinct = {name: self._distinct_bags(name) for name in (WHOLE, PREFIX)}
        self._uses = {
            False: ActionUses([(_group(run), run.plain[-1]) for run in self.runs]),
            True: ActionUses([(_group(run), run.asked[-1]) for run in self.runs if run.asked]),
        }
        self._asked = [index for index, run in enumerate(self.runs) if run.asked]
        self._usual = {key: self._usual_distance(*key) for key in self._places}
        self._usual |= {(USES, with_request): self._usual_use(with_request) for with_request in (False, True)}

    def _learn(self, index: int, run: Run, name: str, with_request: bool) -> list[Place]:
        masks = self._masks[with_request]
        learnt = ((masks.learn(bag), bag) for bag in _bags(run, name, with_request))
        return [Place(mask, mask.bit_count(), index, bag) for mask, bag in learnt]

    def _distinct_bags(self, name: str) -> DistinctBags:
        bags = DistinctBags()
        for of_run in self._places[name, False]:
            for place in of_run:
                bags.add(place, _group(self.runs[place.run]))
        return bags

    def left_out(self, name: str, *, with_request: bool) -> list[float]:
        """How far each good run is from the others, those of its own request left out; ``name`` is whole or prefix."""
        found = (self._worst(run, name, with_request, _group(run)) for run in self.runs)
        return [nearest.distance for nearest in found if nearest is not None and nearest.run is not None]

    def nearest_prefix(self, bag: Bag) -> Nearest:
        """The good run that looked most like this just after one of its writes."""
        mask, size = self._masks[False].of(bag)
        return self._nearest(bag, nearest_place(mask, size, self._distinct[PREFIX].outside(None)))

    def knows(self, feature: Feature) -> bool:
        """Whether any good run has this feature (without requests)."""
        return self._masks[False].knows(feature)

    def _usual_distance(self, name: str, with_request: bool) -> float:
        return _mean(self.left_out(name, with_request=with_request))

    def _usual_use(self, with_request: bool) -> float:
        bags = ((_group(run), _bags(run, WHOLE, with_request)) for run in self.runs)
        return _mean([self._uses[with_request].distance(each[0], group)[0] for group, each in bags if each])

    def _nearest(self, bag: Bag, found: tuple[float, Place | None]) -> Nearest:
        distance, place = found
        if place is None:
            return Nearest(distance, None, bag, {})
        return Nearest(distance, self.runs[place.run], bag, place.bag)

    def score(self, run: Run) -> float:
        """How unlike a good run this one is: 1 or more; 0 for a run without a write, which can do no harm."""
        parts = self.parts(run)
        return 1.0 + sum(part.ratio for part in parts) if parts else 0.0

    def parts(self, run: Run) -> list[Part]:
        """The distances that make the score; without a request those without it count in its place."""
        if not run.plain:
            return []
        parts: list[Part] = []
        for with_request in (False, True):
            for name in (WHOLE, PREFIX):
                nearest = self._worst(run, name, with_request)
                if nearest is None:
                    parts.append(parts[0 if name == WHOLE else 1])
                else:
                    ratio = nearest.distance / self._usual[name, with_request]
                    parts.append(Part(name, with_request, ratio, nearest))
        return [*parts, self._use(run)]

    def _use(self, run: Run) -> Part:
        """Each action by itself: the nearest of its worst one stands for them."""
        with_request = bool(run.asked and self._asked)
        mean, distance, place, use = self._uses[with_request].distance(_bags(run, WHOLE, with_request)[0])
        index = None if place is None else self._asked[place.run] if with_request else place.run
        found = None if index is None else self.runs[index]
        nearest = Nearest(distance, found, use, {} if place is None else place.bag)
        return Part(USES, with_request, mean / self._usual[USES, with_request], nearest)

    def _worst(self, run: Run, name: str, with_request: bool, without: str | None = None) -> Nearest | None:
        """The farthest of the run's bags from their nearest; None where no request makes a comparison possible."""
        near = []
        if with_request:
            near = self._requests.nearest(run.request, without) if run.asked else []
            if not near:
                return None
        worst: Nearest | None = None
        for bag in _bags(run, name, with_request):
            mask, size = self._masks[with_request].of(bag)
            places = self._near_places(name, near) if with_request else self._distinct[name].outside(without)
            nearest = nearest_place(mask, size, places)
            if worst is None or nearest[0] > worst.distance:
                worst = self._nearest(bag, nearest)
        return worst

    def _near_places(self, name: str, near: list[tuple[int, float]]) -> Iterator[tuple[Place, float]]:
        for index, penalty in near:
            for place in self._places[name, True][index]:
                yield place, penalty


def _bags(run: Run, name: str, with_request: bool) -> tuple[Bag, ...]:
    bags = run.asked if with_request else run.plain
    return bags[-1:] if name == WHOLE else bags[:-1]


def _group(run: Run) -> str:
    """Runs of one group are left out together: those of the same request."""
    return run.request or run.label


def _mean(distances: Sequence[float]) -> float:
    return max(sum(distances) / len(distances), _LEAST_USUAL) if distances else 1.0

"""Scores for whole episodes: a request, and the calls an agent made to answer it (``tripline bench episodes``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from detectors.good_runs import PREFIX, USES, WHOLE, GoodRuns, Part, Run, run_of
from detectors.order_surprise import OrderSurprise
from detectors.run_trace import tool_call
from detectors.run_words import differences

_SURPRISE_WEIGHT = 0.001
"""Brings the surprise of any run without a write under 1, which is what the best one with a write has."""

_SCOPES = {WHOLE: "As a whole", PREFIX: "After one of its writes", USES: "In how it uses one of its tools"}


class Event(Struct, frozen=True):
    """One call of an episode. ``error``: the tool refused it or failed, so it changed nothing."""

    tool: str
    action: str
    arguments: dict[str, Any]
    error: bool


class Episode(Struct, frozen=True):
    """What is read of an episode whose end is not known. ``query`` is the request; without it less is seen."""

    events: list[Event]
    query: str | None = None


class Verdict(Struct, frozen=True):
    """An episode's score (higher is worse, 0 the least), and sentences that say where it comes from."""

    score: float
    reasons: list[str]


class EpisodeScorer:
    """Learns confirmed good episodes, and says of others how unlike them they are.

    An episode without a successful write can damage nothing: its score is .001 × the mean surprise of its order of
    calls, so below 1, and 0 when it has no call at all. Any other has 1 or more: see ``GoodRuns``.

    Parameters
    ----------
    good:
        Confirmed good episodes, each with a label that tells a person which it is.
    """

    def __init__(self, good: Iterable[tuple[str, Episode]]) -> None:
        episodes = list(good)
        self.library = GoodRuns(_run(episode, label) for label, episode in episodes)
        self._order = OrderSurprise(_names(episode) for _, episode in episodes)

    def score(self, episode: Episode) -> float:
        """The score alone; other episodes that are scored have no influence on it."""
        run = _run(episode)
        return self.library.score(run) if run.plain else self._harmless(episode)

    def judge(self, episode: Episode) -> Verdict:
        """The score with its reasons."""
        run = _run(episode)
        if not run.plain:
            calls = "nothing was called" if not episode.events else "no call that writes succeeded"
            return Verdict(self._harmless(episode), [f"Nothing can have been damaged: {calls}."])
        parts = self.library.parts(run)
        score = 1.0 + sum(part.ratio for part in parts)
        return Verdict(score, _reasons(max(parts, key=_ratio)))

    def _harmless(self, episode: Episode) -> float:
        return _SURPRISE_WEIGHT * self._order.mean(_names(episode))


def _run(episode: Episode, label: str = "") -> Run:
    calls = (tool_call(event.tool, event.action, event.arguments) for event in episode.events if not event.error)
    return run_of(calls, (episode.query or "").strip(), label)


def _names(episode: Episode) -> Sequence[str]:
    return [f"{event.tool}.{event.action}" for event in episode.events]


def _ratio(part: Part) -> float:
    return part.ratio


def _reasons(part: Part) -> list[str]:
    nearest = part.nearest
    if nearest.run is None:
        return ["No good run with a write is known to compare it with."]
    scope = _SCOPES[part.name]
    is_near = part.with_request and part.name != USES
    where = "among good runs of similar requests" if is_near else "among all good runs"
    asked = f' ("{nearest.run.request}")' if nearest.run.request else ""
    first = (
        f"{scope} it is {part.ratio:.1f} times as far as usual from the nearest {where}, {nearest.run.label}{asked}."
    )
    return [first, *differences(nearest.bag, nearest.nearest_bag)]

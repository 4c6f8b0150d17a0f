"""The weekly look at the model that scores: how it does, what would do better, and whether to change it.

A challenger is learned from everything known now. It takes the place of a model only when the *same way of learning*,
cut ``DUEL_DAYS`` ago, beats that model on the labels that have matured since, by more than the standard error; so both
are judged on rows that neither learned from. In place of the scorecard it has to be *better* by its own held-out rows,
as any promotion. A model that has become worse than the scorecard gives way to it.
"""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from events.times import DAY_MS, parse_ms
from events.types import ModelTables
from scoring.model import SCORECARD
from scoring.training.card import Looked, ModelFile, Verdict
from scoring.training.errors import TrainingError
from scoring.training.fit import export, fit
from scoring.training.health import health, recalibrated
from scoring.training.learn import learn, verdict_of
from scoring.training.measure import compare
from scoring.training.rows import History

DUEL_DAYS = 42
"""Four weeks of rows whose labels of 14 days have matured."""


def look(active: ModelFile | None, hand: ModelTables, history: History, since_ms: int = 0) -> Looked:
    """Look at the model that scores since ``since_ms`` (None: the scorecard). ``hand``: the scorecard on the grid."""
    try:
        challenger = learn(history, hand)
    except TrainingError as problem:
        return Looked(health=None, candidates=[], promote="", why=f"nothing can be learned yet: {problem}")
    full = challenger.card.held_out.full
    return replace(_judged(active, hand, history, since_ms, challenger), full=full)


def _judged(
    active: ModelFile | None, hand: ModelTables, history: History, since_ms: int, challenger: ModelFile
) -> Looked:
    if active is None:
        return _instead_of_the_scorecard(challenger)
    since_ms = max(since_ms, parse_ms(active.card.made_until))
    found = replace(health(active, hand, history, since_ms), full=challenger.card.held_out.full)
    better = recalibrated(active, hand, history, since_ms)
    verdict, why = duel(active, hand, history)
    if verdict == "better" and challenger.card.held_out.verdict == "better":
        told = f"a model learned anew does better on the last weeks: {why}"
        return Looked(health=found, candidates=[challenger], promote=challenger.hash, why=told)
    if better is not None and better.card.held_out.verdict == "better":
        told = f"its probabilities were off, and a recalibration helps out of time: {better.card.held_out.why}"
        return Looked(health=found, candidates=[better], promote=better.hash, why=told)
    if found.verdict == "worse":
        told = f"it is worse than the scorecard: {found.why}"
        return Looked(health=found, candidates=[], promote=SCORECARD, why=told)
    return Looked(health=found, candidates=[], promote="", why=f"no model learned anew does better: {why}")


def duel(active: ModelFile, hand: ModelTables, history: History) -> tuple[Verdict, str]:
    """The way of learning against the model that scores, on labels that matured since ``DUEL_DAYS`` ago."""
    cut_ms = history.until_ms - DUEL_DAYS * DAY_MS
    if parse_ms(active.card.made_until) > cut_ms:
        return "not matured", f"it learned within the last {DUEL_DAYS} days"
    before, known = history.known_at(cut_ms), history.known_at(history.until_ms)
    try:
        anew = export(fit(before, hand), before, hand, is_proven=False)
    except TrainingError as problem:
        return "not matured", str(problem)
    ended = known.is_ended & (known.frame.at_ms >= cut_ms)
    verdict, why = verdict_of(compare(anew, active.tables, known, cut_ms), len(np.unique(known.frame.case[ended])))
    return verdict, why.replace("the scorecard's", "that of the one that scores")


def _instead_of_the_scorecard(challenger: ModelFile) -> Looked:
    held = challenger.card.held_out
    if held.verdict != "better":
        return Looked(health=None, candidates=[], promote="", why=f"the scorecard goes on; learned anew: {held.why}")
    told = f"it does better than the scorecard on held-out deals: {held.why}"
    return Looked(health=None, candidates=[challenger], promote=challenger.hash, why=told)

"""What differs between a run and a good one, as sentences."""

from __future__ import annotations

from detectors.run_trace import Bag, Feature

_MOST_SENTENCES = 8
_RANK = {"grounding": 0, "origin": 1, "shape": 2, "argument": 3, "action": 4}
_GROUNDS = {"by id": "changed a record by its id", "new": "wrote something new"}


def differences(run: Bag, good: Bag, most: int = _MOST_SENTENCES) -> list[str]:
    """Sentences about features that only one of them has, or one of them several times; the weightiest first.

    What follows from another difference is left out: of a call that the other does not have, its arguments.
    """
    only_here = _more(run, good)
    only_there = _more(good, run)
    said = [_sentence(feature, run, good, is_here=True) for feature in _telling(only_here, good)]
    strange = sum(len(feature) == 1 for feature in run)
    if strange:
        said.append(f"Here were {strange} details that no good run has.")
    said += [_sentence(feature, run, good, is_here=False) for feature in _telling(only_there, run)]
    if len(said) > most:
        said[most - 1 :] = [f"{len(said) - most + 1} more differences."]
    return said or ["It has the same features."]


def _more(one: Bag, other: Bag) -> list[Feature]:
    more = [feature for feature, count in one.items() if count > other.get(feature, 0) and len(feature) > 1]
    return sorted(more, key=lambda feature: (_RANK[feature[0]], feature))


def _telling(features: list[Feature], other: Bag) -> list[Feature]:
    """Without the details of calls the other never made, and of arguments it never gave."""
    return [feature for feature in features if _tells(feature, other)]


def _tells(feature: Feature, other: Bag) -> bool:
    kind, action = feature[0], feature[1]
    if kind == "action":
        return True
    if ("action", action) not in other:
        return kind == "grounding"
    return kind != "shape" or ("argument", action, feature[2]) in other


def _sentence(feature: Feature, run: Bag, good: Bag, *, is_here: bool) -> str:
    here, there = ("Here", "there") if is_here else ("In the good run", "here")
    ending = f" several times, {there} once" if run.get(feature) and good.get(feature) else f", {there} not"
    return f"{here} {_deed(feature)}{ending}."


def _deed(feature: Feature) -> str:
    match feature:
        case ("action", name):
            return f"{name} was called"
        case ("argument", name, argument):
            return f"{name} was given {argument}"
        case ("shape", name, argument, shape):
            return f"the {argument} of {name} looked like: {shape}"
        case ("grounding", name, how, after):
            return f"{name} {_GROUNDS[how]} {after}"
        case ("origin", name, argument, origin):
            return f"the {argument} of {name} was: {origin}"
    raise ValueError(f"no kind of feature is called {feature[0]!r}")

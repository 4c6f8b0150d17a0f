"""Whom to talk to about a deal."""

from __future__ import annotations

from collections.abc import Sequence

from scoring.state import Person

STANDING = {"economic_buyer": 0, "decision_maker": 1, "champion": 2, "executive_sponsor": 3}
"""What a person's role counts; the least is the best."""
EXECUTIVE, ANYBODY = 4, 5


def best_person(people: Sequence[Person], times: Sequence[int]) -> Person:
    """Of the people known (at least one), the one with the best role, among those who took part last.

    ``times``: when each last took part, in ms.
    """
    best, best_ms, best_standing = people[0], 0, ANYBODY + 1
    for person, at_ms in zip(people, times, strict=True):
        standing = STANDING.get(person.role)
        if standing is None:
            standing = EXECUTIVE if person.executive else ANYBODY
        if standing < best_standing or (
            standing == best_standing and (at_ms > best_ms or (at_ms == best_ms and person < best))
        ):
            best, best_ms, best_standing = person, at_ms, standing
    return best

"""The evaluation of episode scores: which episodes it compares, and that none is scored by its own request."""

from __future__ import annotations

from bench.episodes import Judged, cross_validated, figures, folds, kinds
from detectors.episodes import Event


def judged(request: str, action: str, *, is_right: bool) -> Judged:
    calls = [Event("crm", "search_leads", {"query": "x"}, False)] if is_right else []
    calls.append(Event("crm", action, {"lead_id": "4711"}, False))
    return Judged(calls, request, correct=is_right, domain="crm", side_effect=not is_right)


EPISODES = [judged(f"request {n // 2}", "update_lead", is_right=n % 2 == 0) for n in range(40)]
IDLE = Judged([], "request 0", correct=False, domain="crm", side_effect=False)


def test_a_request_is_never_in_both_parts_and_every_row_is_tested_once() -> None:
    tested: list[int] = []
    for train, test in folds(EPISODES, seed=1):
        assert not {EPISODES[row].query for row in train} & {EPISODES[row].query for row in test}
        tested += test
    assert sorted(tested) == list(range(40))


def test_similar_requests_are_one_kind_and_stay_together() -> None:
    found = kinds(["move lead one to lost", "move lead two to lost", "move all two to won", "cancel the meeting"])
    assert len({found["move lead one to lost"], found["move lead two to lost"]}) == 1
    assert len(set(found.values())) == 3
    alike = [judged(f"move lead {n} to lost", "update_lead", is_right=True) for n in range(10)]
    sizes = [len(test) for _, test in folds([*alike, *EPISODES[:8]], seed=1, by_kind=True)]
    assert sum(sizes) == 18
    assert max(sizes) >= 10


def test_figures_of_a_perfect_and_of_a_blind_score() -> None:
    episodes = [*EPISODES, IDLE]
    found = figures(episodes, cross_validated(episodes, seed=1))["all"]
    assert found["with a call: AUC"] == 1.0
    assert found["with a call: found at 1%"] == 1.0
    assert found["with a call: episodes"] == found["with a write: episodes"] == 40
    assert figures(EPISODES, [2.0] * 40)["crm"]["with a write: AUC"] == 0.5

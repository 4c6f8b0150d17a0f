"""An agent's own mixture of actions and their order, and what no longer fits it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from math import log

import pytest

from detectors.action_mix import ActionMix, Config, MixState, _surprise
from detectors.base import Action, Evidence
from events.catalogue import kind_of
from events.times import DAY_MS, MINUTE_MS
from events.types import AgentAction

START_MS = 1_767_571_200_000
CYCLE = ("record.read", "record.update", "note.create", "task.create")


def act(number: int, name: str, at_ms: int | None = None) -> Action:
    at_ms = START_MS + number * 10 * MINUTE_MS if at_ms is None else at_ms
    data = AgentAction(agent_id="a", action=name, outcome="ok", object="Lead", record_ids=["r"])
    return Action(at_ms, at_ms, "/crm", f"e{number}", kind_of(name), data)


def usual(count: int, start: int = 0) -> Iterator[Action]:
    """Reads, then updates, a note and a task, always in this order; one in fifty is another one."""
    rng = random.Random(start)
    for number in range(start, start + count):
        yield act(number, CYCLE[number % 4] if rng.random() > 0.02 else rng.choice(CYCLE))


def after(actions: Iterable[Action], **options: float) -> tuple[ActionMix, MixState, list[Evidence]]:
    detector = ActionMix(Config(**options))  # type: ignore[arg-type]
    state = detector.new_state("a")
    return detector, state, [said for one in actions if (said := detector.observe(one, state)) is not None]


def test_its_usual_work_is_never_told_of() -> None:
    assert after(usual(6_000))[2] == []


def test_a_surprise_is_that_of_witten_and_bell() -> None:
    _, state, _ = after(act(n, name) for n, name in enumerate(("record.read", "record.update") * 3))
    read, update = state.kinds["record.read", "Lead"], state.kinds["record.update", "Lead"]
    p_update = (3 + 2 / 50) / (6 + 2)
    p_new = (0 + 2 / 50) / (6 + 2)
    assert _surprise(state, read, update) == pytest.approx(-log((3 + p_update) / (3 + 1)))
    assert _surprise(state, read, -1) == pytest.approx(-log((0 + p_new) / (3 + 1)))


@pytest.mark.parametrize(("every", "most"), [(1, 9), (2, 9), (5, 12), (10, 20)])
def test_a_new_kind_of_action_among_usual_ones_is_told(every: int, most: int) -> None:
    detector, state, said = after(usual(2_000))
    assert said == []
    strange = 0
    for number, one in enumerate(usual(60 * every, start=2_000)):
        is_strange = number % every == 0
        strange += is_strange
        told = detector.observe(act(2_000 + number, "record.delete") if is_strange else one, state)
        if told is not None:
            break
    assert told is not None
    assert 8 <= strange <= most
    assert "record.delete on Lead after" in told.summary
    assert told.observed >= told.limit


def test_the_same_actions_in_another_order_are_told() -> None:
    detector, state, _ = after(act(n, CYCLE[n % 4]) for n in range(2_000))
    said = [one for n in range(80) if (one := detector.observe(act(2_000 + n, CYCLE[-n % 4]), state)) is not None]
    assert len(said) == 1, "an episode is told once"


def test_one_strange_step_in_thirty_is_not_told() -> None:
    mixed = (act(n, "record.delete") if n > 2_000 and n % 30 == 0 else one for n, one in enumerate(usual(4_000)))
    assert after(mixed)[2] == []


def test_learning_stands_still_while_evidence_adds_up() -> None:
    detector, state, _ = after(usual(2_000))
    for number in range(40):
        detector.observe(act(2_000 + number, "record.delete"), state)
    learnt = state.counts.get(state.kinds.get(("record.delete", "Lead"), -2), 0)
    assert learnt <= 2
    assert state.frozen_ms > 0


def test_what_goes_on_for_a_week_is_learnt() -> None:
    detector, state, _ = after(usual(2_000))
    said = []
    for number in range(2_000, 5_000):
        name = "record.delete" if number % 2 else CYCLE[number % 4]
        told = detector.observe(act(number, name), state)
        said += [(number, told)] if told is not None else []
    assert len(said) == 1
    assert state.counts[state.kinds["record.delete", "Lead"]] > 100


def test_nothing_is_learnt_for_a_day_after_a_stop_but_after_a_release() -> None:
    detector, state, _ = after(usual(600))
    detector.stopped(state, START_MS + 600 * 10 * MINUTE_MS)
    before = state.total
    for one in usual(20, start=601):
        detector.observe(one, state)
    assert state.total == before
    detector.released(state, START_MS + 625 * 10 * MINUTE_MS)
    for one in usual(20, start=630):
        detector.observe(one, state)
    assert state.total == before + 20


def test_a_pause_begins_anew() -> None:
    _, state, _ = after(act(n, "record.read", START_MS + n * DAY_MS) for n in range(10))
    assert state.totals[0] == 10
    assert state.rows[state.kinds["record.read", "Lead"]] == {}


def test_an_agent_that_invents_names_stays_bounded() -> None:
    _, state, _ = after(act(n, f"odd.verb{n}") for n in range(500))
    assert len(state.kinds) == 22
    assert len(state.rows) == 24

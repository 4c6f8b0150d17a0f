"""The law of detectors: every class that discovery finds goes through all of this."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, inspect

from detectors.base import WANTED_RANK, Action, Evidence, Shared
from detectors.discovery import discover

_SPEC = importlib.util.spec_from_file_location("conformance_scenarios", Path(__file__).with_name("scenarios.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
scenarios = sys.modules.setdefault(_SPEC.name, importlib.util.module_from_spec(_SPEC))
_SPEC.loader.exec_module(scenarios)

DETECTORS = discover()
STATISTICAL = {name: cls for name, cls in DETECTORS.items() if not cls.is_hard}
CONTROLLED = {name: cls for name, cls in DETECTORS.items() if hasattr(cls, "stopped")}
each = pytest.mark.parametrize("cls", list(DETECTORS.values()), ids=list(DETECTORS))


def made(cls: Any) -> Any:
    """A detector with its defaults, or with what it needs before it can have an opinion at all."""
    return cls(scenarios.configs().get(cls.name), Shared())


def run(detector: Any, actions: Iterable[Action], state: Any) -> list[Evidence]:
    return [said for action in actions if (said := detector.observe(action, state)) is not None]


@each
def test_it_declares_what_the_engine_must_know(cls: Any) -> None:
    assert cls.name.isidentifier()
    assert cls.judges in ("attempts", "outcomes", "all", "reverts")
    assert 0 < cls.max_state_bytes <= 40_960
    assert issubclass(cls.Config, Struct)
    assert len(cls.__doc__.split()) > 40, "the docstring says what it catches, what it cannot, and its parameters"
    assert "Parameters" in cls.__doc__


@each
def test_each_option_has_a_description(cls: Any) -> None:
    for field in inspect.type_info(cls.Config).fields:
        assert isinstance(field.type, inspect.Metadata), f"{field.name} has no description"
        assert field.type.extra_json_schema["description"]


@each
def test_the_same_actions_give_the_same_opinions_and_the_same_bytes(cls: Any) -> None:
    results = []
    for _ in range(2):
        detector = made(cls)
        state = detector.new_state("a")
        said = run(detector, scenarios.hostile(1, 600), state)
        results.append((said, detector.dump(state)))
    assert results[0] == results[1]


@each
@pytest.mark.parametrize("seed", range(3))
def test_a_cut_anywhere_changes_nothing(cls: Any, seed: int) -> None:
    actions = [*scenarios.traffic(seed, 9, per_hour=8), *scenarios.hostile(seed, 200)]
    actions += [*scenarios.CAUGHT[cls.name]()][-200:]
    detector = made(cls)
    whole, cut = detector.new_state("a"), detector.new_state("a")
    rng = random.Random(seed)
    for action in actions:
        if rng.random() < 0.1:
            blob = detector.dump(cut)
            cut = detector.load("a", blob, cls.state_version)
            assert detector.dump(cut) == blob
        assert detector.observe(action, whole) == detector.observe(action, cut)
    assert detector.dump(whole) == detector.dump(cut)


@pytest.mark.parametrize("cls", list(CONTROLLED.values()), ids=list(CONTROLLED))
def test_a_stop_and_a_release_survive_a_cut(cls: Any) -> None:
    detector = made(cls)
    states = [detector.new_state("a"), detector.new_state("a")]
    at_ms = scenarios.START_MS
    for number, action in enumerate(scenarios.traffic(3, 3, per_hour=10)):
        at_ms = action.at_ms
        for index in range(2):
            if number == 300:
                detector.stopped(states[index], at_ms)
            if number == 400:
                detector.released(states[index], at_ms)
            if index:
                states[1] = detector.load("a", detector.dump(states[1]), cls.state_version)
        assert detector.observe(action, states[0]) == detector.observe(action, states[1])
    assert at_ms > scenarios.START_MS
    assert detector.dump(states[0]) == detector.dump(states[1])


@each
def test_one_agent_knows_nothing_of_another(cls: Any) -> None:
    detector = made(cls)
    alone, beside, other = (detector.new_state(name) for name in ("a", "a", "b"))
    calm = list(scenarios.traffic(2, 2))
    wild = list(scenarios.hostile(2, len(calm)))
    expected = run(detector, calm, alone)
    said = []
    for action, noise in zip(calm, wild, strict=False):
        detector.observe(noise, other)
        evidence = detector.observe(action, beside)
        if evidence is not None:
            said.append(evidence)
    assert said == expected[: len(said)]
    assert detector.dump(alone) == detector.dump(beside)


@each
def test_duplicates_and_disorder_do_not_raise(cls: Any) -> None:
    detector = made(cls)
    state = detector.new_state("a")
    actions = [*scenarios.traffic(4, 2), *scenarios.hostile(4, 500)] * 2
    random.Random(4).shuffle(actions)
    run(detector, actions, state)
    assert detector.dump(state)


FLOODS = {
    "10,000 distinct error texts and classes": lambda: (
        scenarios.act(scenarios.START_MS + n * 700, n, object=f"O{n % 60}é" * 30, **scenarios.error(f"E{n}", f"t{n}"))
        for n in range(10_000)
    ),
    "unique records and contacts": lambda: (
        scenarios.act(
            scenarios.START_MS + n * 700, n, action="email.send", record_ids=[f"r{n}"], recipient_ids=[f"c{n}"]
        )
        for n in range(10_000)
    ),
    "unique action names": lambda: (
        scenarios.act(scenarios.START_MS + n * 700, n, action=f"x{n}." + "ü" * 100) for n in range(10_000)
    ),
    "effects far in the past and the future": lambda: (
        scenarios.act(
            scenarios.START_MS + n * 700,
            n,
            effect_ms=scenarios.START_MS + (n % 7919 - 4000) * scenarios.HOUR_MS,
            is_backlog=n % 7919 < 3999,
        )
        for n in range(10_000)
    ),
    "months of load in every hour": lambda: (
        scenarios.act(scenarios.START_MS + n * 400_000, n, records=3_000_000_000) for n in range(10_000)
    ),
    "everything at once": lambda: scenarios.hostile(9, 10_000),
}


@each
@pytest.mark.parametrize("flood", list(FLOODS))
def test_state_stays_bounded_under(flood: str, cls: Any) -> None:
    detector = made(cls)
    state = detector.new_state("a")
    largest = 0
    for number, action in enumerate(FLOODS[flood]()):
        detector.observe(action, state)
        if number % 997 == 0:
            largest = max(largest, len(detector.dump(state)))
    largest = max(largest, len(detector.dump(state)))
    assert largest <= cls.max_state_bytes


@each
def test_in_the_first_week_ordinary_work_is_not_stopped(cls: Any) -> None:
    detector = made(cls)
    state = detector.new_state("a")
    said = run(detector, scenarios.traffic(7, 6.9, per_hour=30), state)
    assert [e for e in said if WANTED_RANK[e.wanted] >= WANTED_RANK["hold"]] == []


@pytest.mark.parametrize("cls", list(STATISTICAL.values()), ids=list(STATISTICAL))
def test_in_the_first_week_statistics_alone_stop_nobody(cls: Any) -> None:
    detector = made(cls)
    state = detector.new_state("a")
    said = run(detector, scenarios.traffic(8, 5, per_hour=6), state)
    spike = [scenarios.act(scenarios.START_MS + 5 * scenarios.DAY_MS + n * 3_000, n) for n in range(400)]
    said += run(detector, spike, state)
    assert said, "a spike is told"
    assert {e.wanted for e in said} <= {"notify", "throttle"}


@each
def test_it_stops_its_labelled_scenario_and_says_why(cls: Any) -> None:
    """Or asks for as much as it ever does: a class that never stops anybody says so in ``asks_at_most``."""
    detector = made(cls)
    state = detector.new_state("a")
    actions = list(scenarios.CAUGHT[cls.name]())
    most = getattr(cls, "asks_at_most", "suspend")
    stops = [(action, said) for action in actions if (said := detector.observe(action, state)) and said.wanted == most]
    assert stops, "not caught"
    action, said = stops[0]
    assert (action.source, action.event_id) in said.events
    assert len(said.summary.split()) >= 5
    assert said.summary[0].isupper() or said.summary[0].isdigit()
    assert said.would_clear
    assert said.unit
    assert said.severity == ("warning" if most == "notify" else "critical")
    assert said.observed >= said.limit


@each
def test_it_never_asks_for_more_than_it_says(cls: Any) -> None:
    detector = made(cls)
    most = WANTED_RANK[getattr(cls, "asks_at_most", "suspend")]
    for actions in (scenarios.hostile(5, 2_000), scenarios.CAUGHT[cls.name]()):
        said = run(detector, actions, detector.new_state("a"))
        assert all(WANTED_RANK[each.wanted] <= most for each in said)


@each
def test_what_the_gate_denied_is_not_counted(cls: Any) -> None:
    detector = made(cls)
    state, untouched = detector.new_state("a"), detector.new_state("a")
    denied = (
        scenarios.act(scenarios.START_MS + n, n, outcome="denied", action="contract.create", records=500)
        for n in range(2_000)
    )
    assert run(detector, denied, state) == []
    if cls.judges == "attempts":
        assert detector.dump(state) == detector.dump(untouched)

"""People who put an agent's changes right: what counts, for how much, and what one person can do."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Action, Evidence, PeerProfile, Shared
from detectors.human_revert import Config, HumanRevert, RevertState
from events.catalogue import kind_of
from events.times import DAY_MS, HOUR_MS
from events.types import AgentAction, Revert

START_MS = 1_767_571_200_000
UPDATE = kind_of("record.update")
KINDS = st.sampled_from(["undone", "overwritten", "deleted"])
ANSWERS = st.tuples(st.integers(0, 10**9), KINDS, st.text(max_size=200), st.integers(0, 10**12))


def revert(at_ms: int, number: int = 0, **said: object) -> Action:
    fields = {
        "agent_id": "a", "object": "Opportunity", "record_id": "r1", "kind": "undone", "by": "jo", "source": "/crm",
        "change_id": f"c-{number}", "fields": ["Amount"], "after_secs": 60, "written": 1, **said,
    }  # fmt: skip
    data = AgentAction(agent_id="a", action="record.update", outcome="ok", object="Opportunity")
    told = msgspec.convert(fields, Revert)
    return Action(at_ms, at_ms, "/crm", f"c-{number}", UPDATE, data, phase="revert", revert=told)


def run(detector: HumanRevert, state: RevertState, actions: Iterable[Action]) -> list[Evidence]:
    return [said for action in actions if (said := detector.observe(action, state)) is not None]


def ordinary(seed: int, count: int, share: float, kind: str = "undone") -> list[Action]:
    """An agent of whose changes this share is answered, four an hour, by ten people."""
    rng, found, written = random.Random(seed), [], 0
    for number in range(count):
        written += 1
        if rng.random() < share:
            at_ms = START_MS + number * HOUR_MS // 4
            found.append(revert(at_ms, number, by=f"user:{rng.randrange(10)}", written=written, kind=kind))
            written = 0
    return found


def wrong(count: int, people: int = 3, since_ms: int = START_MS + 200 * DAY_MS) -> list[Action]:
    return [revert(since_ms + n * HOUR_MS, 10_000 + n, by=f"user:{n % people}") for n in range(count)]


@pytest.mark.parametrize(("share", "kind"), [(0.005, "undone"), (0.03, "undone"), (0.1, "overwritten")])
def test_agents_whose_changes_are_answered_as_always_are_not_told_of(share: float, kind: str) -> None:
    told = 0
    for seed in range(20):
        detector = HumanRevert()
        told += bool(run(detector, detector.new_state("a"), ordinary(seed, 4_000, share, kind)))
    assert told == 0


def test_wrong_changes_are_told_at_the_third_and_held_at_the_sixth() -> None:
    detector = HumanRevert()
    state = detector.new_state("a")
    run(detector, state, ordinary(1, 4_000, 0.005))
    said = [(number, found) for number, each in enumerate(wrong(12), 1) if (found := detector.observe(each, state))]
    assert [(number, found.wanted) for number, found in said][:2] == [(3, "notify"), (6, "hold")]
    held = said[1][1]
    assert held.summary.startswith("People undid or overwrote 6 of the last ")
    assert "Amount; user:2 and 2 more" in held.summary
    assert held.details["who"] == "user:2"
    assert held.events[-1] == ("/crm", "c-10005")


def test_one_person_counts_three_times_and_never_gets_an_agent_held() -> None:
    detector = HumanRevert()
    state = detector.new_state("a")
    run(detector, state, ordinary(2, 4_000, 0.005))
    said = run(detector, state, wrong(500, people=1))
    assert {each.wanted for each in said} <= {"notify"}
    assert all(each.observed <= 3 * 3 for each in said), "three in seven days, for three weeks"
    said = run(detector, state, [revert(START_MS + 221 * DAY_MS + n, n, record_id=f"r{n}") for n in range(5_000)])
    assert {each.wanted for each in said} <= {"notify"}, "a bulk undo of one's own"


def test_who_overwrites_much_later_had_no_quarrel_with_the_value() -> None:
    detector = HumanRevert()
    state = detector.new_state("a")
    run(detector, state, ordinary(3, 4_000, 0.005))
    late = [msgspec.structs.replace(each.revert, kind="overwritten", after_secs=90_000) for each in wrong(30)]
    assert run(detector, state, [revert(START_MS + 200 * DAY_MS, n, **msgspec.structs.asdict(each))
                                 for n, each in enumerate(late) if each is not None]) == []  # fmt: skip


def test_an_agent_of_which_little_is_known_is_told_of_and_never_held() -> None:
    detector = HumanRevert()
    said = run(detector, detector.new_state("a"), wrong(30))
    assert {each.wanted for each in said} == {"notify"}


def test_peers_say_what_is_usual_and_one_of_them_moves_it_no_further_than_the_next() -> None:
    shared = Shared()
    detector = HumanRevert(shared=shared)
    assert detector.common_profile([[100, 500]] * 4) is None
    assert detector.common_profile([[100, 500]] * 5) == detector.common_profile([[100, 500]] * 4 + [[10_000, 10_000]])
    shared.peers = {"default/sales": PeerProfile(START_MS // DAY_MS, {"human_revert": (2_000, 500)})}
    lone, peer = detector.new_state("a"), detector.new_state("b")
    detector.join(peer, "default/sales")
    assert detector.shares(peer, START_MS)[0] == pytest.approx(0.3)
    assert detector.shares(lone, START_MS)[0] == pytest.approx(0.015)
    assert run(detector, lone, wrong(6, since_ms=START_MS)) != []
    assert run(detector, peer, wrong(6, since_ms=START_MS)) == []


def test_what_goes_on_for_a_week_and_nobody_minds_becomes_usual_but_never_more_than_half() -> None:
    detector = HumanRevert()
    state = detector.new_state("a")
    before = detector.shares(state, START_MS)
    said = run(detector, state, [revert(START_MS + n * 2 * HOUR_MS, n, by=f"user:{n % 40}") for n in range(2_000)])
    assert len(said) < 2_000 * 2 / 24 / 2, "less than every other day"
    after = detector.shares(state, START_MS)
    assert before[0] < after[0] <= 0.5


def test_a_release_answers_the_evidence() -> None:
    detector = HumanRevert()
    state = detector.new_state("a")
    run(detector, state, ordinary(1, 4_000, 0.005))
    assert run(detector, state, wrong(6))
    detector.released(state, START_MS + 201 * DAY_MS)
    assert detector.observe(revert(START_MS + 201 * DAY_MS, by="late", written=0), state) is None


@settings(max_examples=25, deadline=None)
@given(st.lists(ANSWERS, max_size=60))
def test_whatever_is_said_the_state_stays_small_and_survives_a_cut(said: list[tuple[int, str, str, int]]) -> None:
    detector = HumanRevert()
    whole, cut, at_ms = detector.new_state("a"), detector.new_state("a"), START_MS
    for number, (pause, kind, text, written) in enumerate(said):
        at_ms += pause
        action = revert(at_ms, number, kind=kind, by=text, fields=[text, "x" + text], written=written)
        blob = detector.dump(cut)
        assert len(blob) <= detector.max_state_bytes
        cut = detector.load("a", blob, detector.state_version)
        assert detector.observe(action, whole) == detector.observe(action, cut)


def test_a_typo_in_an_option_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"least_peple": 3}, Config)

"""How far a stop has got; silence is never containment."""

from __future__ import annotations

from typing import Any

import pytest

from governance.holding import FeedLife, GateBeat, Pending, StopFacts, hold

STOP, NOW = 1_000_000, 1_060_000


def gate(name: str, at_ms: int = NOW - 500, obeys_ms: int = STOP + 40) -> GateBeat:
    return GateBeat(gate=name, at_ms=at_ms, obeys_ms=obeys_ms)


def feed(alive_ms: int, **more: Any) -> FeedLife:
    return FeedLife(**{"system": "sf", "alive_ms": alive_ms, "heard_ms": NOW, **more})


def facts(**more: Any) -> StopFacts:
    return StopFacts(**{"stop_ms": STOP, "decided_ms": STOP + 40, "now_ms": NOW, **more})


@pytest.mark.parametrize(
    ("known", "state"),
    [
        ({"gates": [gate("a"), gate("b", obeys_ms=STOP)], "feeds": [feed(STOP + 9)]}, "requested"),
        ({"gates": [gate("a"), gate("b")]}, "enforced"),
        ({}, "enforced"),
        ({"feeds": [feed(STOP)]}, "enforced"),
        ({"feeds": [feed(STOP + 1), feed(STOP - 1, system="hub")]}, "enforced"),
        ({"feeds": [feed(STOP + 1, lost_ms=STOP + 5)]}, "enforced"),
        ({"feeds": [feed(STOP + 1)], "lease_actions": 3}, "verified"),
        ({"feeds": [feed(STOP + 1)]}, "contained"),
        ({"feeds": [feed(STOP + 1, lost_ms=STOP - 5)]}, "contained"),
        ({"feeds": [feed(STOP + 1), feed(5, system="old", heard_ms=STOP - 8 * 86_400_000)]}, "contained"),
        ({"feeds": [feed(STOP + 1)], "leaked": 1}, "leaking"),
        ({"gates": [gate("a", obeys_ms=0)], "leaked": 1}, "leaking"),
    ],
)
def test_each_state_takes_its_evidence(known: dict[str, Any], state: str) -> None:
    assert hold(facts(**known), 10_000).state == state


def test_it_is_seen_to_hold_up_to_what_the_slowest_feed_told_of() -> None:
    held = hold(facts(feeds=[feed(NOW - 5), feed(NOW - 20_000, system="hub")]), 10_000)
    assert (held.seen_to_ms, held.waits_for) == (NOW - 20_000, [])
    assert hold(facts(), 10_000).waits_for == ["no change feed of a CRM is connected"]
    quiet = hold(facts(feeds=[feed(NOW), feed(STOP, system="hub")]), 10_000)
    assert quiet.waits_for == ["the feed of hub has told of nothing since the stop"]
    lost = hold(facts(feeds=[feed(NOW, lost_ms=NOW)]), 10_000)
    assert lost.waits_for == ["the feed of sf lost changes after the stop"]


def test_gates_are_counted_and_one_that_does_not_answer_is_named() -> None:
    held = hold(facts(gates=[gate("a"), gate("b", obeys_ms=1), gate("c", at_ms=NOW - 10_001)]), 10_000)
    assert (held.gates, held.enforced_by, held.not_answering, held.enforced_ms) == (3, 1, ["c"], None)
    assert "1 of 3 gates don't obey it yet" in held.waits_for
    all_that_answer = hold(facts(gates=[gate("a"), gate("c", at_ms=NOW - 10_001)]), 10_000)
    assert (all_that_answer.enforced_by, all_that_answer.enforced_ms) == (1, STOP + 40)
    alone = hold(facts(), 10_000)
    assert (alone.gates, alone.enforced_by, alone.enforced_ms) == (1, 1, STOP + 40)


def test_what_is_pending_is_listed_and_does_not_hide_that_it_holds() -> None:
    mail = Pending(at_ms=STOP - 5, action="sequence.enroll", object="Contact", record_id="c1")
    held = hold(facts(feeds=[feed(NOW)], pending=[mail], in_flight=2), 10_000)
    assert (held.state, held.pending, held.in_flight) == ("contained", [mail], 2)

"""Who may do what, as a table; and lines that the policy could have instead."""

from __future__ import annotations

import pytest

from events.times import DAY_MS
from governance.policy.board import COLUMNS, Seen, proposals, rows
from governance.readiness import Measured, Stated, items, level_of
from tests.unit.governance.policy.policies import example

NOW_MS = 1_772_442_843_120
POLICY = example().policy


def cell(agent: str, kind: str) -> tuple[str, str]:
    (row,) = [each for each in rows(POLICY, {}, {}) if each.agent_id == agent]
    (found,) = [each for each in row.cells if each.kind == kind]
    return found.may, found.rule


@pytest.mark.parametrize(
    ("agent", "kind", "may"),
    [
        ("enrich-bot", "Change", ("autonomous", "delegation")),
        ("enrich-bot", "Reach people", ("none", "")),
        ("lead-router", "Owners", ("approval", "owner_reassignment")),
        ("old-importer", "Change", ("human_only", "mode")),
        ("outreach-drafter", "Reach people", ("autonomous", "delegation")),
        ("quote-helper", "Quotes, contracts", ("approval", "least")),
        ("call-notes", "Record calls", ("human_only", "call_recording")),
    ],
)
def test_a_cell_says_the_most_that_an_agent_may_and_by_which_rule(agent: str, kind: str, may: tuple[str, str]) -> None:
    assert cell(agent, kind) == may


def test_each_agent_has_a_cell_for_each_kind_and_what_was_seen_is_added_up() -> None:
    seen = {
        "enrich-bot": {
            "record.update": Seen(done=3, errors=1),
            "record.enrich": Seen(done=4),
            "own.thing": Seen(denied=2),
        }
    }
    found = rows(POLICY, seen, {"enrich-bot": 5})
    assert {tuple(each.kind for each in row.cells) for row in found} == {tuple(name for name, _ in COLUMNS)}
    (row,) = [each for each in found if each.agent_id == "enrich-bot"]
    by_kind = {each.kind: each for each in row.cells}
    assert (row.reverts, by_kind["Change"].seen) == (5, Seen(done=7, errors=1))
    assert (by_kind["Other"].may, by_kind["Other"].seen.denied) == ("none", 2)


def test_more_is_proposed_only_where_all_was_given_as_asked_and_readiness_allows_it() -> None:
    clean = {"quote-helper": {"quote.create": Seen(held=40, given=40)}}
    (found,) = proposals(POLICY, clean, {}, frozenset(), 3)
    assert (found.is_wider, found.lines) == (True, '[actions."quote.create"]\nleast = "autonomous"')
    spoilt = [
        ({"quote-helper": {"quote.create": one}}, {}, 3)
        for one in (Seen(given=29), Seen(given=40, edited=1), Seen(given=40, refused=1), Seen(given=40, errors=1))
    ]
    owners = {"lead-router": {"owner.reassign": Seen(given=400)}}  # never autonomous, however well it went
    for seen, reverts, level in [*spoilt, (clean, {"quote-helper": 1}, 3), (clean, {}, 2), (owners, {}, 4)]:
        assert proposals(POLICY, seen, reverts, frozenset(), level) == []


def test_less_is_proposed_where_rights_were_never_used() -> None:
    seen = {"enrich-bot": {"record.enrich": Seen(done=3), "record.read": Seen(allowed=1)}}
    (found,) = proposals(POLICY, seen, {}, frozenset({"enrich-bot"}), 2)
    assert (found.is_wider, found.lines) == (False, '[agents.enrich-bot]\nactions = ["record.enrich", "record.read"]')


def ready(**but: object) -> list[int]:
    """The level, then the items that are missing."""
    stated = {key: Stated(item=key, by="maya", at_ms=NOW_MS - DAY_MS, note="OPS-41") for key in
              ("rollback", "trust", "legal", "process")}  # fmt: skip
    known: dict[str, object] = {
        "now_ms": NOW_MS, "has_policy": True, "decisions": 10, "shadow_writes": 0, "unbounded": [], "untold": [],
        "has_target": True, "enforcing": ["action_rate"], "quality": 91.0, "drill_ms": NOW_MS - DAY_MS,
        "drill_passed": True, "stated": stated, **but,
    }  # fmt: skip
    found = items(Measured(**known))  # type: ignore[arg-type]
    return [level_of(found), *(one.number for one in found if one.state == "missing")]


@pytest.mark.parametrize(
    ("but", "expected"),
    [
        ({}, [4]),
        ({"shadow_writes": 1}, [2, 1]),
        ({"stated": {}}, [2, 2, 8, 9, 10]),
        ({"unbounded": ["bot"]}, [2, 3]),
        ({"quality": None}, [2, 4]),
        ({"has_policy": False}, [2, 3, 5, 6]),
        ({"has_target": False}, [3, 6]),
        ({"enforcing": []}, [3, 7]),
        ({"drill_ms": NOW_MS - 32 * DAY_MS}, [3, 10]),
        ({"drill_passed": False}, [3, 10]),
        ({"now_ms": NOW_MS + 89 * DAY_MS, "drill_ms": NOW_MS + 88 * DAY_MS}, [2, 2, 8, 9, 10]),
    ],
    ids=str,
)
def test_the_level_follows_from_the_ten_items(but: dict[str, object], expected: list[int]) -> None:
    assert ready(**but) == expected

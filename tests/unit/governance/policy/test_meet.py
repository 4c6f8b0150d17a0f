"""What holds while a wider version waits: never more than the old one, nor than the new one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from governance.policy import load, rule_on
from governance.policy.compare import compare, widens
from governance.policy.meet import meet
from governance.policy.worst import VERDICTS
from tests.unit.governance.policy.policies import Dice, example, policy_of, texts
from tests.unit.governance.policy.test_compare import MAIN, TEAM, mutated


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**48).map(Dice))
def test_neither_version_is_exceeded_and_taking_it_again_changes_nothing(dice: Dice) -> None:
    file = dice.file(dice.sound_delegation())
    old, new = policy_of(mutated(file, dice)), policy_of(mutated(file, dice))
    both = meet(old, new)
    assert not widens(compare(old, both))
    assert meet(both, new) is both
    for _ in range(10):
        ask, facts = dice.question()
        before, after, now = (VERDICTS.index(rule_on(each, ask, facts).verdict) for each in (old, new, both))
        assert now >= max(before, after)


def test_the_same_means_the_same_object() -> None:
    policy = example().policy
    assert meet(policy, policy) is policy
    assert meet(policy, load("policy.toml", texts(MAIN, teams__outreach=TEAM)).policy) is policy


def test_narrower_parts_hold_and_wider_ones_wait() -> None:
    text = (
        MAIN.replace("records_per_day = 2500", "records_per_day = 3000", 1)
        .replace('role = "note-taker"\nowner = "sami"', 'role = "note-taker"\nowner = "sami"\nmode = "off"', 1)
        .replace('approvers = ["role:manager", "role:operator"]', 'approvers = ["role:operator", "lea"]', 1)
        .replace('objects = ["Lead"]\n', 'objects = ["Lead", "Contact"]\nsegments = ["smb"]\n', 1)
    )
    old, new = example().policy, load("policy.toml", texts(text, teams__outreach=TEAM)).policy
    told = [(change.direction, change.path) for change in compare(old, meet(old, new))]
    assert sorted(told) == [
        ("narrows", "agents.call-notes.mode"), ("narrows", "agents.lead-router.scope"),
        ("narrows", "approvals.team.approvers"),
    ]  # fmt: skip
    assert [each.path for each in compare(meet(old, new), new)] == [
        "ceiling.records_per_day", "approvals.team.approvers", "agents.lead-router.scope",
    ]  # fmt: skip

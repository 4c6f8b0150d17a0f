"""What a policy grants, as the plain facts that go into the log."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from events.catalogue import kind_of
from events.types import Granted
from governance.policy import rule_on
from governance.policy.granted import granted
from tests.unit.governance.policy.policies import Dice, example, policy_of, policy_with


def test_the_example_says_who_may_do_what_and_what_takes_a_person() -> None:
    found = granted(example().policy)
    policy = example().policy
    assert set(found) == set(policy.agents)
    router = next(found[name] for name, grant in policy.agents.items() if grant.role == "router")
    assert "owner.reassign" in router.with_person
    assert "record.read" not in router.with_person
    assert router.objects == ["lead"]


def test_a_policy_that_is_switched_off_or_only_reads_grants_no_writes() -> None:
    for mode, least in (("off", set()), ("read_only", {"record.read"})):
        found = granted(policy_with('mode = "active"', f'mode = "{mode}"'))
        may = {name for one in found.values() for name in one.actions}
        assert least <= may
        assert "record.update" not in may


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**48).map(Dice))
def test_nothing_is_called_a_breach_that_the_policy_lets_an_agent_do_by_itself(dice: Dice) -> None:
    policy = policy_of(dice.file())
    facts_of = granted(policy)
    for ask, facts in (dice.question() for _ in range(20)):
        if rule_on(policy, ask, facts).verdict == "autonomous":
            mine = facts_of.get(ask.agent_id, Granted())
            assert ask.action in mine.actions
            assert ask.object is None or "*" in mine.objects or ask.object.casefold() in mine.objects
            assert ask.action not in mine.with_person
            touched = [f"{(ask.object or '').casefold()}.{name.casefold()}" for name in ask.fields or ()]
            for group in mine.fields if kind_of(ask.action).is_write else ():
                assert all(each in group or f"{each.partition('.')[0]}.*" in group for each in touched)
            assert all(owner.casefold() in group for group in mine.owners for owner in ask.owners or ())

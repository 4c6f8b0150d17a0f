"""What a new version widens and narrows, in words; and that nothing widens in silence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from governance.policy import load, rule_on
from governance.policy.compare import compare, widens
from governance.policy.shape import Bulk, Exclusions, PolicyFile, Role
from governance.policy.worst import MODES, VERDICTS
from tests.unit.governance.policy.policies import ACTIONS, EXAMPLE, Dice, example, policy_of, texts

MAIN = (EXAMPLE / "policy.toml").read_text(encoding="utf-8").partition("# --- Cases")[0]
TEAM = (EXAMPLE / "teams" / "outreach.toml").read_text(encoding="utf-8")


def changes(old: str, new: str) -> list[tuple[str, str, str]]:
    text = MAIN.replace(old, new, 1)
    assert text != MAIN
    after = load("policy.toml", texts(text, teams__outreach=TEAM)).policy
    return [(change.direction, change.path, change.words) for change in compare(example().policy, after)]


def test_the_same_policy_has_no_changes() -> None:
    assert compare(example().policy, example().policy) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("records = 20\n", "records = 25\n", ("widens", "bulk.records", "records from which on it is bulk: 20 → 25")),
        (
            'call_recording = "human_only"', 'call_recording = "approval"',
            ("widens", "exclusions.call_recording", "call recording: human_only → approval"),
        ),
        (
            'downstream = { one = "autonomous", few = "autonomous", many = "approval" }',
            'downstream = { one = "autonomous", few = "approval", many = "approval" }',
            ("narrows", "delegation.reversible.downstream.few", "reversible, downstream, few: autonomous → approval"),
        ),
        (
            'least = "approval"', 'least = "autonomous"',
            ("widens", 'actions."quote.create".least', "quote.create, least: approval → autonomous"),
        ),
        (
            "at_most = 50\n\n[actions.\"record.enrich\"]", "at_most = 40\n\n[actions.\"record.enrich\"]",
            ("narrows", 'actions."record.update".at_most', "record.update, at most: 50 → 40"),
        ),
        (
            'kind = "deal_value"\n', "",
            ("widens", 'fields."opportunity.gesamtwert__c".kind',
             "opportunity.gesamtwert__c, kind: deal_value → plain"),
        ),
        (
            'approvers = ["role:manager", "role:operator"]', 'approvers = ["role:operator"]',
            ("narrows", "approvals.team.approvers", "team, who approves: role:manager goes"),
        ),
        (
            'people = ["role:viewer"]', 'people = ["role:viewer", "lea"]',
            ("widens", "rights.sellers.people", "sellers, whose rights these are: lea comes in"),
        ),
        ('no_consent = "approval"', "", ("narrows", "exclusions.no_consent", "no consent: approval → human_only")),
        (
            "records_per_day = 2500", "records_per_day = 3000",
            ("widens", "ceiling.records_per_day", "all agents together, records per day: 2,500 → 3,000"),
        ),
        ("people = 2", "people = 1", ("widens", "approvals.two.people", "two, people that it takes: 2 → 1")),
        (
            'on = ["held", "denied", "above_level", "bulk", "external"]', 'on = ["held", "denied", "bulk", "external"]',
            ("widens", "routes.revops", "revops: nobody is told of “above_level” at log any more"),
        ),
        (
            'triggers = ["flow:stage-sync"]', 'triggers = ["flow:stage-sync", "flow:b"]',
            ("widens", "agents.stage-sync.triggers", "stage-sync, registered rules: flow:b comes in"),
        ),
        (
            'mode = "read_only"', 'mode = "active"',
            ("widens", "agents.old-importer.mode", "old-importer, mode: read_only → active"),
        ),
        (
            'role = "note-taker"\nowner = "sami"', 'role = "note-taker"\nowner = "lea"',
            ("changes", "agents.call-notes.owner", "call-notes, owner: sami → lea"),
        ),
        (
            '[agents.call-notes]\nrole = "note-taker"\nowner = "sami"\nlevel = 1\n', "",
            ("narrows", "agents.call-notes", "call-notes goes: it may nothing any more"),
        ),
        (
            '[agents.call-notes]', '[agents.more-notes]\nrole = "note-taker"\nowner = "jo"\n\n[agents.call-notes]',
            ("widens", "agents.more-notes",
             "more-notes comes in: role note-taker, level 1, call.record, call.summarize, note.create, record.read and "
             "task.create"),
        ),
        (
            'objects = ["Lead"]\n', 'objects = ["Lead"]\nsegments = ["smb"]\n',
            ("narrows", "agents.lead-router.scope",
             "lead-router, scope: lead with lead.* → lead with lead.*, segments smb"),
        ),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_change_is_told_in_words(old: str, new: str, told: tuple[str, str, str]) -> None:
    assert changes(old, new) == [told]


def test_a_lower_cap_narrows_each_agent_that_had_more() -> None:
    found = changes("max_level = 4 ", "max_level = 2 ")
    assert found == [
        ("narrows", "agents.enrich-bot.level", "enrich-bot, level: 4 → 2"),
        ("narrows", "agents.quote-helper.level", "quote-helper, level: 3 → 2"),
    ]


def mutated(file: PolicyFile, dice: Dice) -> PolicyFile:
    """The same policy with one thing changed at random."""
    role, bot = file.roles["r"], file.agents["bot"]
    name = dice.choice(list(file.actions))
    changed: list[Any] = [
        {"mode": dice.choice(MODES)},
        {"max_level": dice.randint(1, 4)},
        {"bulk": Bulk(records=dice.randint(1, 50), records_in_10_min=dice.randint(50, 200), deal_values=2)},
        {"exclusions": Exclusions(first_contact="approval")},
        {"delegation": dice.sound_delegation()},
        {"actions": {**file.actions, name: dice.entry()}},
        {"actions": {key: entry for key, entry in file.actions.items() if key != name}},
        {"fields": {}},
        {"scopes": {**file.scopes, "s": dice.scope()}},
        {"scopes": {**file.scopes, "t": dice.scope()}},
        {"budgets": {**file.budgets, "b": dice.budget()}},
        {"roles": {"r": Role(**{**_given(role), "actions": dice.some(ACTIONS, 1)})}},
        {"roles": {"r": Role(**{**_given(role), "triggers": []})}},
        {"agents": {**file.agents, "bot": dice.agent()}},
        {"agents": {**file.agents, "sub": replace(file.agents["sub"], parent="")}},
        {"agents": {"bot": bot}},
        {"rights": {}},
        {"ceiling": None},
        {"ceiling": dice.ceiling()},
        {"rights": {**file.rights, "some": dice.rights()}},
        {"rights": {"new": dice.rights()}},
    ]
    return replace(file, **dice.choice(changed))


def _given(role: Role) -> dict[str, Any]:
    return {name: getattr(role, name) for name in Role.__struct_fields__}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**48).map(Dice))
def test_nothing_widens_that_is_not_told(dice: Dice) -> None:
    file = dice.file(dice.sound_delegation())
    old, questions = policy_of(file), [dice.question() for _ in range(10)]
    for _ in range(3):
        new = policy_of(mutated(file, dice))
        told = compare(old, new)
        assert not told or old.hash != new.hash
        for ask, facts in questions:
            before, after = rule_on(old, ask, facts).verdict, rule_on(new, ask, facts).verdict
            assert widens(told) or VERDICTS.index(after) >= VERDICTS.index(before)

"""A stop is not walked around by another name: an agent shares the stops of its kin, and the rights of those above."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from events.types import By, Trigger
from governance.control import first_row
from governance.gate import GateDecision, GateRequest, Remembered, Rule, check, content_hash
from governance.kin import above, kin_of, under_parents
from governance.ports import AgentView
from governance.settings import SettingsError, parse_settings
from tests.unit.governance.policy.policies import example

NOW = 1_772_443_200_000
CONFIG = """
[people.lea]
role = "manager"
[agents.boss]
owner = "tomas"
actions = ["record.update", "record.read", "email.*"]
objects = ["Account", "Lead"]
irreversible = ["first_contact"]
max_records_per_operation = 5
[agents.sub]
owner = "tomas"
parent = "boss"
actions = ["*"]
objects = ["Lead", "Contact"]
irreversible = ["first_contact", "record.merge"]
max_records_per_operation = 9
[agents.leaf]
parent = "sub"
actions = ["record.*"]
[agents.one]
credential = "app-7"
actions = ["*"]
[agents.two]
credential = "app-7"
actions = ["*"]
[agents.free]
actions = ["*"]
owner = "tomas"
"""
SETTINGS = parse_settings(CONFIG)


def ask(agent_id: str, action: str = "record.update", **more: Any) -> GateRequest:
    return GateRequest(**{"agent_id": agent_id, "action": action, "object": "Lead", "record_ids": ["r1"], **more})


def answer(request: GateRequest, state: Any = "active", of: str = "boss", settings: Any = SETTINGS) -> GateDecision:
    row = replace(first_row(f"default/{of}", of), state=state, epoch=3, by=By("human", "maya"), reason="look")
    return check(request, AgentView(others={of: row}), settings, NOW)


@pytest.mark.parametrize("name", ["sub", "leaf"])
@pytest.mark.parametrize("action", ["record.update", "record.read"])
def test_who_is_below_a_stopped_agent_may_neither_write_nor_read(name: str, action: str) -> None:
    decision = answer(ask(name, action), "suspended")
    assert (decision.decision, decision.rule, decision.detail) == ("deny", Rule.SUSPENDED, "look")
    assert decision.reason == "denied: “boss”, above it, is suspended; only a person can release it"
    assert answer(ask(name, action)).decision == "allow"


def test_who_is_below_a_held_agent_waits_with_its_writes() -> None:
    assert (answer(ask("sub"), "held").decision, answer(ask("sub"), "held").rule) == ("hold", Rule.HELD)
    assert answer(ask("sub", "record.read"), "held").decision == "allow"


def test_a_retry_of_what_was_allowed_before_the_one_above_was_held_waits_too() -> None:
    request = ask("sub", request_id="q1")
    allowed = replace(answer(request), decision_id="d-1")
    answers = {"q1": Remembered(content_hash=content_hash(request), decision=allowed, at_ms=NOW)}
    row = replace(first_row("default/boss", "boss"), epoch=3, by=By("human", "maya"), reason="look")

    def retried(state: Any) -> GateDecision:
        return check(request, AgentView(others={"boss": replace(row, state=state)}, answers=answers), SETTINGS, NOW)

    assert [retried(state).decision for state in ("active", "held", "suspended")] == ["allow", "hold", "deny"]
    assert retried("active").is_repeated


def test_a_stop_of_the_one_below_does_not_stop_who_is_above() -> None:
    assert answer(ask("boss"), "suspended", of="sub").decision == "allow"


def test_the_same_credential_under_another_id_is_refused_in_both_directions() -> None:
    assert answer(ask("two"), "suspended", of="one").rule == Rule.SUSPENDED
    assert answer(ask("one"), "suspended", of="two").rule == Rule.SUSPENDED
    assert answer(ask("free"), "suspended", of="one").decision == "allow"


def test_the_same_owner_binds_where_the_settings_say_so() -> None:
    assert answer(ask("free"), "suspended").decision == "allow"
    strict = parse_settings(CONFIG + '[gate]\nstop_binds = ["owner"]')
    assert answer(ask("free"), "suspended", settings=strict).rule == Rule.SUSPENDED
    assert answer(ask("leaf"), "suspended", settings=strict).decision == "allow"


def test_a_parent_that_it_names_itself_only_takes_away() -> None:
    named = ask("free", parent_agent_id="boss")
    assert answer(named).decision == "allow"
    assert answer(named, "suspended").rule == Rule.SUSPENDED
    assert answer(ask("free", "note.create", parent_agent_id="boss")).rule == Rule.ACTION
    assert answer(ask("free", parent_agent_id="nobody-knows-it")).decision == "deny"
    assert kin_of(ask("sub", parent_agent_id="one"), SETTINGS, None) == kin_of(ask("sub"), SETTINGS, None) + (
        kin_of(ask("free", parent_agent_id="one"), SETTINGS, None)
    )


def test_its_table_is_at_most_that_of_each_agent_above_it() -> None:
    found = under_parents("sub", SETTINGS)
    assert found is not None
    assert (sorted(found.actions), found.objects, found.irreversible, found.max_records_per_operation) == (
        ["email.draft", "email.send", "record.read", "record.update"], ["Lead"], ["first_contact"], 5,
    )  # fmt: skip
    assert under_parents("boss", SETTINGS) is SETTINGS.agents["boss"]
    assert answer(ask("sub", "record.update", object="Contact")).rule == Rule.OBJECT
    assert answer(ask("leaf", "record.delete")).rule == Rule.ACTION


def test_parents_of_the_policy_count_as_well_and_a_claimed_one_decides_with_it() -> None:
    policy = example().policy
    assert above("enrich-trial", SETTINGS, policy) == ["enrich-bot"]
    settings = parse_settings(CONFIG + "[agents.stage-sync]\nactions = ['*']\n[agents.call-notes]\nactions = ['*']\n")
    given: dict[str, Any] = {
        "object": "Opportunity", "changes": {"r1": {"NextStep": (1, 2)}}, "authorized_by": "lea",
        "trigger": Trigger("prompt"),
    }  # fmt: skip
    alone, view = ask("stage-sync", **given), AgentView()
    assert check(alone, view, settings, NOW, policy=policy).decision == "allow"
    under = replace(alone, parent_agent_id="call-notes")
    decision = check(under, view, settings, NOW, policy=policy)
    assert (decision.decision, decision.policy_rule) == ("deny", "action")


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("[agents.a]\nparent = 'b'", "agents.a.parent: no agent is called 'b'"),
        ("[agents.a]\nparent = 'b'\n[agents.b]\nparent = 'a'", "agents.a.parent: goes round in a circle"),
    ],
)
def test_a_parent_must_be_there_and_not_its_own(toml: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        parse_settings(toml)

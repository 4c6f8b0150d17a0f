"""The gate under a policy: what it asks, and that a policy only takes away."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.catalogue import CATALOGUE
from events.types import By, Trigger
from governance.consent import Said
from governance.control import ControlRow
from governance.gate import GateDecision, GateRequest, Rule, check, content_hash, decode_request, operation_of
from governance.limits import Budgets
from governance.policy import Policy
from governance.policy.request import ask_of, belonging
from governance.ports import AgentView
from governance.settings import parse_settings
from tests.unit.governance.policy.policies import Dice, example, policy_of, policy_with

NOW = 1_772_443_200_000
POLICY = example().policy
SETTINGS = parse_settings(
    "[people.lea]\ncrm_user = 'user:lea'\nrole = 'manager'\n[people.sami]\n[people.max]\nis_active = false\n"
    + "".join(
        f"[agents.{name}]\nactions = ['*']\nirreversible = ['first_contact', 'email.send', 'owner.reassign', "
        "'record.merge', 'call.record', 'contract.create', 'discount.approve']\nmax_records_per_operation = 200\n"
        "max_recipients_per_operation = 200\nrecords_per_10_min = 1000\nrecords_per_day = 1000\n"
        "contacts_per_10_min = 500\ncontacts_per_day = 500\n"
        for name in POLICY.agents
    ).replace("'email.send', ", "")
)


def ask(agent_id: str = "enrich-bot", action: str = "record.enrich", **more: Any) -> GateRequest:
    given: dict[str, Any] = {
        "agent_id": agent_id, "action": action, "object": "Account", "record_ids": ["r1"],
        "changes": {"r1": {"Industry": ("a", "b")}}, "authorized_by": "user:lea", "trigger": Trigger("prompt"),
    }  # fmt: skip
    return GateRequest(**{**given, **more})


def said(contact_id: str, status: str = "granted", channel: str = "email", at_ms: int = NOW) -> Said:
    return Said(contact_id=contact_id, channel=channel, status=status, at_ms=at_ms)


def answer(request: GateRequest, view: AgentView | None = None, policy: Policy | None = POLICY) -> GateDecision:
    return check(request, view or AgentView(), SETTINGS, NOW, policy=policy)


def test_what_the_policy_allows_passes_with_its_version() -> None:
    decision = answer(ask())
    assert (decision.decision, decision.rule, decision.policy, decision.policy_rule) == (
        "allow", Rule.ALLOWED, POLICY.hash, "",
    )  # fmt: skip


def test_without_a_policy_nothing_is_different() -> None:
    decision = answer(ask("stage-sync", "record.merge"), policy=None)
    assert (decision.decision, decision.policy) == ("allow", "")


def test_what_is_left_to_people_is_denied_with_rule_reason_and_lines() -> None:
    decision = answer(ask("stage-sync"))
    assert (decision.decision, decision.rule, decision.policy_rule, decision.policy) == (
        "deny", Rule.POLICY, "action", POLICY.hash,
    )  # fmt: skip
    assert decision.reason == (
        "denied: it may not enrich records; the policy leaves it to people (roles.deal-keeper.actions)"
    )
    assert decision.stanza.startswith("[roles.deal-keeper]\nactions = [")


def test_what_needs_an_approval_is_held() -> None:
    decision = answer(ask(action="record.merge", changes={}))
    assert (decision.decision, decision.rule, decision.policy_rule) == ("hold", Rule.POLICY, "delegation")
    assert decision.reason.endswith("; a person must approve it (delegation.irreversible.record.one)")


def test_a_refusal_by_another_rule_names_the_version_too() -> None:
    row = ControlRow(
        key="default/enrich-bot", agent_id="enrich-bot", state="suspended", epoch=7, last_release_epoch=0, at_ms=NOW,
        reason="", by=By("human", "jo"),
    )  # fmt: skip
    decision = answer(ask(), AgentView(control=row))
    assert (decision.rule, decision.policy) == (Rule.SUSPENDED, POLICY.hash)


def test_an_agent_must_be_in_the_settings_and_in_the_policy() -> None:
    assert answer(ask("unheard-of")).rule == Rule.UNKNOWN_AGENT
    settings = parse_settings("[agents.unheard-of]\nactions = ['*']")
    decision = check(ask("unheard-of"), AgentView(), settings, NOW, policy=POLICY)
    assert (decision.decision, decision.policy_rule) == ("deny", "agent")


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"authorized_by": None}, "authorizer"),
        ({"authorized_by": "user:nobody"}, "authorizer"),
        ({"object": None}, "scope"),
        ({"changes": {}}, "scope"),
        ({"record_ids": ["r1", "r2"]}, "scope"),
        ({"records": 2}, "scope"),
        ({"changes": {"r1": {}}}, "scope"),
        ({"changes": {"r1": {"Industry": (1, 2)}, "r2": {"Phone": (1, 2)}}}, "scope"),
    ],
    ids=str,
)
def test_what_a_request_does_not_say_counts_as_the_worst(more: dict[str, Any], rule: str) -> None:
    decision = answer(ask(**more))
    assert (decision.decision, decision.policy_rule) == ("deny", rule)


@pytest.mark.parametrize("trigger", [None, Trigger("rule", "flow:other"), Trigger("prompt "), Trigger("agent")])
def test_a_trigger_that_nobody_registered_is_the_highest_level(trigger: Any) -> None:
    request = ask("stage-sync", "record.update", object="Opportunity", changes={"r1": {"NextStep": (1, 2)}})
    assert answer(request).decision == "allow"
    decision = answer(msgspec.structs.replace(request, trigger=trigger))
    assert (decision.decision, decision.policy_rule) == ("deny", "level")


def test_the_gate_counts_over_time_and_looks_up_whom_it_reaches() -> None:
    request = ask("stage-sync", "record.update", object="Opportunity", changes={"r1": {"Amount": (1, 2)}})
    view = AgentView(counters=Budgets())
    assert answer(request, view).decision == "allow"
    for number in range(3):
        assert isinstance(view.counters, Budgets)
        view.counters.admit(operation_of(ask(record_ids=[f"x{number}"], changes={})), NOW)
    decision = answer(request, view)
    assert (decision.decision, decision.policy_rule) == ("deny", "bulk_deal_values")
    mail = ask(
        "outreach-drafter", "meeting.schedule", object="Contact", changes={}, recipient_ids=["c1"], system="gmail"
    )
    assert (answer(mail).decision, answer(mail).policy_rule) == ("hold", "first_contact")
    unasked = answer(mail, AgentView(known={"c1"}))
    assert (unasked.decision, unasked.policy_rule) == ("hold", "no_consent")
    assert answer(mail, AgentView(known={"c1"}, said=[said("c1")])).decision == "allow"


@pytest.mark.parametrize("policy", [POLICY, None], ids=["policy", "none"])
def test_nobody_is_reached_who_refused_not_even_with_an_approval(policy: Policy | None) -> None:
    mail = ask(
        "outreach-drafter", "meeting.schedule", object="Contact", changes={}, recipient_ids=["c1", "C2@x.example"],
        system="gmail",
    )  # fmt: skip
    view = AgentView(known={"c1", "c2@x.example"}, said=[said("c1"), said("c2@x.example", "withdrawn")])
    for is_approved in (False, True):
        decision = check(mail, view, SETTINGS, NOW, policy=policy, is_approved=is_approved)
        assert (decision.decision, decision.rule) == ("deny", Rule.CONSENT)
    assert decision.reason == "denied: “c2@x.example” refused to be reached; nobody can approve that here"


@pytest.mark.parametrize(
    ("told", "rule"),
    [
        ([], "no_consent"),
        ([said("c1", at_ms=NOW + 1)], "no_consent"),
        ([said("c1", channel="sms")], "no_consent"),
        ([said("c1", channel="sms"), said("c1", "denied", channel="sms")], "no_consent"),
        ([said("c1", channel="E-Mail")], ""),
        ([said("c1", channel="all")], ""),
    ],
    ids=str,
)
def test_consent_is_for_a_channel_and_from_a_time_on_and_else_unknown(told: list[Said], rule: str) -> None:
    mail = ask(
        "outreach-drafter", "meeting.schedule", object="Contact", changes={}, recipient_ids=["c1"], system="gmail"
    )
    assert answer(mail, AgentView(known={"c1"}, said=told)).policy_rule == rule


@pytest.mark.parametrize(("who", "rule"), [("lea", "delegation"), ("sami", "rights"), ("max", "")])
def test_the_rights_of_whom_it_acts_for_are_looked_up_by_name_and_role(who: str, rule: str) -> None:
    assert answer(ask(action="record.merge", changes={}, authorized_by=who)).policy_rule == rule


OWNED = policy_with('segments = ["SMB"]', 'segments = ["SMB"]\nowners = ["lea"]')


@pytest.mark.parametrize(
    ("belonging", "more", "rule"),
    [
        ({"r1": {"owner": "user:lea", "segment": "smb"}}, {}, ""),
        ({"r1": {"owner": "user:jo", "segment": "smb"}}, {}, "scope"),
        ({"r1": {"owner": "user:lea", "segment": "key"}}, {}, "scope"),
        ({"r1": {"segment": "smb"}}, {}, "scope"),
        ({}, {}, "scope"),
        (
            {"r1": {"owner": "user:lea", "segment": "smb"}},
            {"record_ids": ["r1", "r2"], "changes": {key: {"Industry": (1, 2)} for key in ("r1", "r2")}}, "scope",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_owner_and_segment_are_those_that_the_crm_said_and_else_unknown(
    belonging: dict[str, dict[str, str]], more: dict[str, Any], rule: str
) -> None:
    assert answer(ask("enrich-trial", **more), AgentView(belonging=belonging), OWNED).policy_rule == rule


def test_what_an_operation_sets_counts_beside_what_is_there() -> None:
    known = {"r1": {"owner": "jo"}}
    moved = ask(changes={"r1": {"OwnerId": ("jo", "lea")}})
    assert belonging("owner", moved, operation_of(moved), known) == ("jo", "lea")
    made = ask(action="record.create", changes={"r1": {"Customer_Segment__c": (None, "SMB")}})
    assert belonging("segment", made, operation_of(made), {"r1": {"segment": "x"}}) == ("SMB",)
    assert belonging("owner", made, operation_of(made), known) is None
    cleared = ask(changes={"r1": {"OwnerId": ("jo", None)}})
    assert belonging("owner", cleared, operation_of(cleared), known) is None


def test_a_throttled_agent_has_a_tenth_of_the_policys_budget() -> None:
    row = ControlRow(
        key="default/stage-sync", agent_id="stage-sync", state="throttled", epoch=7, last_release_epoch=0, at_ms=NOW,
        reason="", by=By("detector", "x"),
    )  # fmt: skip
    records = [f"r{number}" for number in range(7)]
    request = ask(
        "stage-sync", "record.create", object="Opportunity", record_ids=records,
        changes={record: {"NextStep": (None, "x")} for record in records},
    )  # fmt: skip
    assert answer(request).policy_rule == "delegation"
    slowed = answer(request, AgentView(control=row))
    assert (slowed.decision, slowed.policy_rule) == ("deny", "budget")


def test_the_fields_of_all_records_count() -> None:
    request = ask(record_ids=["r1", "r2"], changes={"r1": {"A": (1, 2)}, "r2": {"B": (1, 2), "A": (1, 2)}})
    assert sorted(ask_of(request, operation_of(request)).fields or ()) == ["A", "B"]


def test_a_new_field_of_the_request_leaves_the_hashes_of_old_ones_as_they_were() -> None:
    old = b'{"agent_id":"a","action":"record.read","request_id":"r"}'
    fields = {
        "action": "record.read", "agent_id": "a", "authorized_by": None, "changes": {}, "external": None,
        "first_contact": None, "object": None, "recipient_ids": [], "recipients": 0, "record_ids": [], "records": 0,
        "request_id": None, "tenant": "default", "trigger": None,
    }  # fmt: skip
    wanted = hashlib.blake2b(msgspec.json.encode(fields), digest_size=16).hexdigest()
    assert content_hash(decode_request(old)) == wanted
    assert content_hash(decode_request(old[:-1] + b',"system":"crm"}')) != wanted


STRICTNESS = ("allow", "hold", "deny")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**48).map(Dice))
def test_a_policy_never_lets_through_what_the_gate_refuses_alone(dice: Dice) -> None:
    policy = policy_of(dice.file())
    for _ in range(10):
        request = ask(
            dice.choice(("bot", "enrich-bot", "stage-sync")),
            dice.choice(sorted(CATALOGUE)),
            record_ids=[f"r{number}" for number in range(dice.much())],
            recipient_ids=[f"c{number}" for number in range(dice.choice((0, 1, 60)))],
        )
        alone, under = answer(request, policy=None), answer(request, policy=policy)
        assert STRICTNESS.index(under.decision) >= STRICTNESS.index(alone.decision)
        assert under.policy == policy.hash

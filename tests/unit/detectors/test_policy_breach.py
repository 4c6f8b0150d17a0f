"""What is done past the gate: out of scope, other than admitted, without a decision, to people who opted out."""

from __future__ import annotations

from typing import Any

import pytest

from detectors.base import Action, Evidence, Shared
from detectors.blast_radius import BlastRadius
from detectors.blast_radius import Config as BlastConfig
from detectors.discovery import build
from detectors.policy_breach import BreachState, Config, PolicyBreach, Scope
from events.catalogue import kind_of
from events.types import After, AgentAction, Granted
from governance.settings import parse_settings

START_MS = 1_767_571_200_000
SCOPE = Scope(actions=["record.*", "email.send"], objects=["Lead"], irreversible=["discount.approve"])


def act(number: int, name: str = "record.update", phase: Any = "both", **said: Any) -> Action:
    at_ms = START_MS + number * 60_000
    fields = {"agent_id": "a", "action": name, "outcome": "ok", "object": "Lead", "record_ids": [f"r{number}"], **said}
    return Action(at_ms, at_ms, "/crm", f"e{number}", kind_of(name), AgentAction(**fields), False, phase)


def heard(*actions: Action, scope: Scope | None = SCOPE, **options: Any) -> list[Evidence]:
    return [said for action in actions if (said := PolicyBreach(Config(**options)).observe(action, state_of(scope)))]


def state_of(scope: Scope | None) -> BreachState:
    return _STATES.setdefault(id(scope), BreachState(scope))


_STATES: dict[int, BreachState] = {}


@pytest.fixture(autouse=True)
def afresh() -> None:
    _STATES.clear()


def wanted(said: list[Evidence]) -> list[str]:
    return [each.wanted for each in said]


def under(decision: str, number: int, name: str = "record.update", **said: Any) -> Action:
    return act(number, name, "outcome", decision_id=decision, **said)


def asked(decision: str, number: int, name: str = "record.update", **said: Any) -> Action:
    return act(number, name, "attempt", decision_id=decision, **said)


def test_what_the_table_lists_is_in_order() -> None:
    assert heard(act(1), act(2, "email.send", recipient_ids=["c"]), act(3, "record.read")) == []


def test_an_action_and_a_record_type_outside_the_table_are_told_once_a_day() -> None:
    said = heard(*(act(n, "task.create") for n in range(3)), act(5, object="Contract"), act(1_500, "task.create"))
    assert wanted(said) == ["notify"] * 3
    assert "task.create" in said[0].summary
    assert "Contract" in said[1].summary
    assert said[2].topic == said[0].topic


@pytest.mark.parametrize("scope", [None, Scope(objects=["Lead"])])
def test_without_a_declared_scope_nothing_is_out_of_it(scope: Scope | None) -> None:
    done = act(1, "task.create", object="Contract"), act(2, changes={"r": {"OwnerId": (1, 2)}})
    assert heard(*done, scope=scope) == []


def test_options_say_what_is_asked_for() -> None:
    assert wanted(heard(act(1, "task.create"), act(2, "task.create"), out_of_scope="hold")) == ["hold", "hold"]


def test_a_report_of_what_was_admitted_is_in_order_and_uses_the_decision_up() -> None:
    ids = ["r1", "r2"]
    said = heard(asked("d", 1, record_ids=ids, records=2), under("d", 2, record_ids=[*ids, "r1"]))
    assert said == []
    assert state_of(SCOPE).admitted == {}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"name": "record.delete"}, "admitted record.update, and under that decision record.delete"),
        ({"object": "Account"}, "another kind of record than Account"),
        ({"record_ids": ["r1", "r2"]}, "of 1 records, and it touched 2"),
    ],
)
def test_another_thing_than_was_admitted_is_told(said: dict[str, Any], words: str) -> None:
    scope = Scope(actions=["*"])
    found = heard(asked("d", 1), under("d", 2, **said), scope=scope)
    assert wanted(found) == ["notify"]
    assert words in found[0].summary


def test_what_cannot_be_undone_and_was_never_declared_is_stopped_under_another_decision() -> None:
    found = heard(asked("d", 1), under("d", 2, "contract.create"), asked("e", 3), under("e", 4, "discount.approve"))
    assert wanted(found) == ["suspend", "notify"]


def test_more_than_fifty_people_than_the_decision_covered_are_stopped_fewer_are_told() -> None:
    people = [f"c{n}" for n in range(51)]
    few = heard(asked("d", 1, "email.send", recipients=1), under("d", 2, "email.send", recipient_ids=people[:50]))
    many = heard(asked("e", 3, "email.send", recipients=50), under("e", 4, "email.send", recipient_ids=people))
    assert wanted(few + many) == ["notify", "suspend"]
    assert (many[0].observed, many[0].expected) == (51, 50)


def test_more_than_fifty_people_without_a_decision_are_held_where_the_table_allows_more() -> None:
    scope = Scope(actions=["*"], max_recipients_per_operation=200)
    assert wanted(heard(act(1, "email.send", recipients=51), scope=scope)) == ["hold"]
    assert heard(act(2, "email.send", recipients=50), scope=scope) == []
    covered = [asked("d", 3, "email.send", recipients=60), under("d", 4, "email.send", recipients=60)]
    assert heard(*covered, scope=scope) == []


def test_what_was_declared_irreversible_is_asked_for_by_an_agent_that_asks() -> None:
    scope = Scope(actions=["*"], irreversible=["discount.approve"])
    done = act(2, "discount.approve")
    assert heard(done, scope=scope) == [], "it never asks"
    assert wanted(heard(asked("d", 3), act(4, "discount.approve"), scope=scope)) == ["notify"]
    week = 7 * 1440
    assert heard(act(4 + week, "discount.approve"), scope=scope) == [], "it no longer asks"


def test_an_owner_changed_by_an_update_is_a_reassignment() -> None:
    change = {"r1": {"OwnerId": ("u1", "u2"), "Status": ("a", "b")}}
    said = heard(act(1, changes=change), act(2, "record.create", changes=change))
    assert [each.topic for each in said] == ["owner"]
    free = Scope(actions=["record.*"], irreversible=["owner.reassign"])
    assert heard(act(1, changes=change), scope=free) == []


def test_an_opt_out_taken_off_and_a_message_after_one_are_told() -> None:
    out = act(1, object="Contact", changes={"c1": {"HasOptedOutOfEmail": (False, True)}})
    scope = Scope(actions=["record.*", "email.send"])
    said = heard(
        out, act(2, "email.send", recipient_ids=["c2"]), act(3, "email.send", recipient_ids=["c1"]), scope=scope
    )
    assert [each.topic for each in said] == ["opted out"]
    off = act(4, object="Contact", changes={"c1": {"HasOptedOutOfEmail": (True, False)}})
    again = act(2_000, "email.send", recipient_ids=["c1"])
    assert [each.topic for each in heard(off, again, scope=scope)] == ["opt-out off"]
    unknown = act(2_001, object="Contact", changes={"c3": {"DoNotCall": After(False)}})
    assert heard(unknown, scope=scope) == [], "nobody says that it was on before"


def test_what_failed_or_was_denied_was_not_done() -> None:
    assert heard(act(1, "task.create", outcome="denied"), act(2, "task.create", outcome="error")) == []


@pytest.mark.parametrize(
    "action",
    [
        act(1, "owner.reassign"),
        act(2, "odd.thing"),
        act(3, "email.send", recipients=51),
        act(4, record_ids=[f"r{n}" for n in range(51)]),
    ],
    ids=["irreversible", "unknown", "people", "records"],
)
def test_what_blast_radius_stops_is_not_told_twice(action: Action) -> None:
    blast = BlastRadius(BlastConfig())
    said = blast.observe(action, blast.new_state("a"))
    assert said is not None
    assert said.wanted == "suspend"
    assert heard(action) == []


POLICY = {"a": Granted(actions=["email.send", "record.update"], objects=["lead"], with_person=["email.send"])}


@pytest.mark.parametrize(
    ("action", "topic"),
    [
        (act(1, "record.read"), "policy|record.read"),
        (act(1, object="Contract"), "policy|Contract"),
        (act(1, "email.send", recipients=1), "person|email.send"),
        (act(1), ""),
        (act(1, object="LEAD"), ""),
        (act(1, "email.send", "outcome", decision_id="x", recipients=1), ""),
    ],
)
def test_what_the_policy_does_not_grant_or_takes_a_person_is_told(action: Action, topic: str) -> None:
    detector = PolicyBreach(shared=Shared(granted=POLICY))
    said = detector.observe(action, detector.new_state("a"))
    assert (said.topic if said is not None else "") == topic


LIMITED = Granted(
    actions=["record.update", "owner.reassign"], objects=["*"], fields=[["lead.phone", "task.*"]], owners=[["user:1"]]
)


@pytest.mark.parametrize(
    ("said", "topic"),
    [
        ({"changes": {"r": {"Fax": (1, 2)}}}, "field|Fax"),
        ({"changes": {"r": {"Phone": (1, 2), "Fax": (1, 2)}}}, "field|Fax"),
        ({"changes": {"r": {"PHONE": (1, 2)}}, "owner_id": "User:1"}, ""),
        ({"changes": {"r": {"Due": (1, 2)}}, "object": "Task"}, ""),
        ({"owner_id": "user:2"}, "policy|owner"),
        ({"owner_id": None}, ""),
    ],
)
def test_fields_and_owners_outside_the_policys_scopes_are_told(said: dict[str, Any], topic: str) -> None:
    detector = PolicyBreach(shared=Shared(granted={"a": LIMITED}))
    state = detector.new_state("a")
    fine = act(1, object="Lead", changes={"r": {"Phone": (1, 2)}}, owner_id="user:1")
    assert detector.observe(fine, state) is None
    for at in (2, 3):  # told once a day, and looked at each time
        found = detector.observe(act(at, **{"object": "Lead", **said}), state)
        assert (found.topic if found is not None else "") == (topic if at == 2 else "")
    assert ("Lead", "Fax") not in state.fields


def test_a_policy_that_takes_a_field_away_is_heard_although_the_field_was_in_order() -> None:
    shared = Shared()
    detector, change = PolicyBreach(shared=shared), act(1, object="Lead", changes={"r": {"Fax": (1, 2)}})
    state = detector.new_state("a")
    assert detector.observe(change, state) is None
    shared.granted = {"a": LIMITED}
    detector.policy_changed(state)
    said = detector.observe(change, state)
    assert said is not None
    assert said.topic == "field|Fax"


def test_an_agent_that_the_policy_does_not_name_may_do_nothing() -> None:
    detector = PolicyBreach(shared=Shared(granted=POLICY))
    said = detector.observe(act(1), detector.new_state("b"))
    assert said is not None
    assert "names no such agent" in said.summary


def test_a_new_policy_looks_again_at_what_was_in_order() -> None:
    shared = Shared()
    detector = PolicyBreach(shared=shared)
    state = detector.new_state("a")
    assert detector.observe(act(1, "record.read"), state) is None
    shared.granted = POLICY
    detector.policy_changed(state)
    said = detector.observe(act(2, "record.read"), state)
    assert said is not None
    assert said.topic == "policy|record.read"


def test_scopes_come_from_the_agents_tables_and_options_go_first() -> None:
    settings = parse_settings('[agents.a]\nactions = ["record.read"]\nobjects = ["Lead"]\n', {})
    (found,) = (each for each in build(settings, Shared()) if isinstance(each, PolicyBreach))
    assert found.new_state("a").scope == Scope(actions=["record.read"], objects=["Lead"])
    assert found.new_state("b").scope is None
    assert found.observe(act(1), found.new_state("a")) is not None

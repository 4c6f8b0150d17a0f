"""What is lent, to whom, how much of it, and what ends it. Expected values are worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from events.types import By, Trigger
from governance.consent import Said
from governance.control import ControlRow, first_row
from governance.drills import bound_of, spread
from governance.gate import Remembered, operation_of
from governance.gate_types import BadRequest, GateRequest
from governance.lease_types import Lease, LeaseAsk, Owed, Refusal, content_of, decode_ask, decode_report
from governance.leases import (
    blindness,
    debit,
    give_back,
    grant,
    outstanding,
    renew,
    set_aside,
    settle,
    why_over,
)
from governance.limits import Budgets, SetAside
from governance.policy import load
from governance.settings import parse_settings
from tests.standalone.test_policy import POLICY

NOW_MS = 1_772_442_600_000
SETTINGS = parse_settings(
    """
[agents.bot]
actions = ["record.*", "email.send", "contract.create", "owner.reassign"]
irreversible = ["contract.create", "owner.reassign", "first_contact"]
records_per_10_min = 40
records_per_day = 100
lease_actions = 25
lease_records = 30
[agents.plain]
actions = ["record.*"]
[people.lea]
""",
    {},
)


class View:
    """What the gate knows."""

    is_control_known = True
    everybody: Budgets | None = None

    def __init__(self, row: ControlRow | None = None, stop_all: ControlRow | None = None) -> None:
        self.control, self.stop_all, self.counters = row, stop_all, Budgets()

    def row_of(self, agent_id: str) -> ControlRow | None:
        return None

    def said_by(self, contact_ids: Sequence[str]) -> Sequence[Said]:
        return ()

    def known_of(self, record_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        return {}

    def remembered(self, request_id: str) -> Remembered | None:
        return None

    def unknown_contacts(self, contact_ids: Sequence[str]) -> Sequence[str]:
        return ()


def a_row(state: Any, epoch: int, key: str = "default/bot") -> ControlRow:
    return replace(first_row(key, "bot"), state=state, epoch=epoch, by=By("human", "maya"))


def an_ask(**more: Any) -> LeaseAsk:
    given: dict[str, Any] = {
        "agent_id": "bot",
        "actions": ["record.update"],
        "request_id": "q",
        "object": "Lead",
        **more,
    }
    return LeaseAsk(**given)


def lent(view: View, ask: LeaseAsk | None = None, **more: Any) -> Lease | Refusal:
    return grant(ask or an_ask(record_credits=30), "l1", view, view.counters, SETTINGS, NOW_MS, **more)


def a_lease(view: View) -> Lease:
    found = lent(view)
    assert isinstance(found, Lease)
    return found


def an_update(*ids: str, **more: Any) -> GateRequest:
    given: dict[str, Any] = {"agent_id": "bot", "action": "record.update", "object": "Lead", **more}
    return GateRequest(record_ids=list(ids), **given)


def test_a_lease_holds_what_the_settings_and_the_budgets_leave():
    view = View()
    first = a_lease(view)
    assert (first.action_limit, first.record_limit, first.end_ms) == (25, 30, NOW_MS + 5_000)
    view.counters.set_aside["l1"] = set_aside(first)
    second = lent(view, an_ask(record_credits=30, request_id="q2"))
    assert isinstance(second, Lease)
    assert second.record_limit == 10
    view.counters.set_aside["l2"] = set_aside(second)
    third = lent(view, an_ask(request_id="q3"))
    assert isinstance(third, Refusal)
    assert (third.rule, "records_per_10_min" in third.stanza) == ("budget", True)


def test_records_set_aside_leave_a_window_with_the_leases_end():
    view = View()
    view.counters.set_aside["l1"] = set_aside(a_lease(view))
    nothing = operation_of(an_update("a"))
    end_ms = NOW_MS + 5_000
    assert view.counters.would_be("records", 600_000, nothing, end_ms + 599_999) == 31
    assert view.counters.would_be("records", 600_000, nothing, end_ms + 600_000) == 1
    assert view.counters.would_be("records", 86_400_000, nothing, end_ms + 600_000) == 31
    assert view.counters.would_be("reads", 600_000, nothing, end_ms) == 1


@pytest.mark.parametrize(
    ("ask", "rule"),
    [
        (an_ask(actions=["email.send"]), "never_leased"),
        (an_ask(actions=["contract.create"]), "never_leased"),
        (an_ask(actions=["record.update"], fields=["OwnerId"]), "never_leased"),
        (an_ask(actions=["record.update", "record.read"]), "mixed"),
        (an_ask(agent_id="plain"), "no_leases"),
        (an_ask(agent_id="nobody"), "no_leases"),
        (an_ask(records_per_action=51), "records_per_operation"),
    ],
)
def test_what_is_never_lent(ask: LeaseAsk, rule: str):
    found = lent(View(), ask)
    assert isinstance(found, Refusal)
    assert found.rule == rule
    assert rule != "no_leases" or "lease_actions = 25" in found.stanza


@pytest.mark.parametrize(("state", "rule"), [("suspended", "suspended"), ("held", "held"), ("releasing", "held")])
def test_an_agent_that_is_stopped_gets_no_lease_and_keeps_none(state: Any, rule: str):
    view = View()
    lease = a_lease(view)
    view.control = a_row(state, 1)
    found = lent(view)
    assert isinstance(found, Refusal)
    assert found.rule == rule
    assert why_over(lease, view, SETTINGS, NOW_MS) == f"the agent's state has changed since; it is {state}"
    assert isinstance(renew(lease, view, view.counters, SETTINGS, NOW_MS), Refusal)


def test_an_old_epoch_stays_over_after_the_release_and_after_a_stop_of_all():
    view = View(a_row("active", 3))
    lease = a_lease(view)
    assert why_over(lease, view, SETTINGS, NOW_MS) == ""
    view.control = a_row("active", 5)
    assert "state has changed" in why_over(lease, view, SETTINGS, NOW_MS)
    view.control, view.stop_all = a_row("active", 3), a_row("active", 2, "default/*")
    assert "state has changed" in why_over(lease, view, SETTINGS, NOW_MS)


def test_a_throttled_agent_gets_a_tenth():
    found = lent(View(a_row("throttled", 1)))
    assert isinstance(found, Lease)
    assert (found.action_limit, found.record_limit) == (2, 3)


def test_credits_come_back_only_for_what_is_settled():
    view = View()
    lease = a_lease(view)
    for number in range(1, 11):
        request = an_update(f"r{number}")
        lease = debit(lease, number, request, operation_of(request))
        view.counters.admit(operation_of(request), NOW_MS)
    view.counters.set_aside["l1"] = set_aside(lease)
    assert (lease.actions_left, lease.records_left) == (15, 20)
    same = renew(lease, view, view.counters, SETTINGS, NOW_MS + 1_000)
    assert isinstance(same, Lease)
    assert (same.action_limit, same.record_limit, same.end_ms) == (25, 30, NOW_MS + 6_000)
    more = renew(settle(lease, 4, 4), view, view.counters, SETTINGS, NOW_MS + 1_000)
    assert isinstance(more, Lease)
    assert (more.action_limit, more.record_limit) == (29, 34)
    assert outstanding([more], NOW_MS) == (19, 24)
    assert outstanding([more, give_back(more, NOW_MS)], more.end_ms) == (0, 0)


def test_the_end_the_policy_and_its_return_end_a_lease():
    view = View()
    lease = a_lease(view)
    assert why_over(lease, view, SETTINGS, NOW_MS + 4_999) == ""
    assert why_over(lease, view, SETTINGS, NOW_MS + 5_000) == "its time is over"
    assert (
        why_over(replace(lease, policy="other"), view, SETTINGS, NOW_MS) == "another version of the policy is in force"
    )
    assert why_over(give_back(lease, NOW_MS), view, SETTINGS, NOW_MS) == "it was given back"


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        (an_update("r1", object="Account"), 1),
        (an_update("r1", action="record.delete"), 1),
        (an_update("r1", agent_id="other"), 1),
        (an_update("r1", "r2"), 1),
        (an_update(), 1),
        (an_update("r1", changes={"r1": {"Industry": ("a", "b")}}), 1),
        (an_update("r1", recipient_ids=["x@example.com"]), 1),
        (an_update("r1", authorized_by="user:2"), 1),
        (an_update("r1"), 26),
    ],
)
def test_what_is_not_in_a_lease_ends_it_and_is_counted_all_the_same(request_: GateRequest, number: int):
    lease = replace(a_lease(View()), actions=number - 1)
    after = debit(lease, number, request_, operation_of(request_))
    assert after.wrong
    assert after.actions == number
    assert why_over(after, View(), SETTINGS, NOW_MS) == after.wrong
    inside = an_update("r1")
    assert debit(replace(lease, actions=0), 1, inside, operation_of(inside)).wrong == ""


@pytest.mark.parametrize(
    ("owed", "is_blind"),
    [
        (Owed(), False),
        (Owed(unreported_ms=NOW_MS - 29_999), False),
        (Owed(unreported_ms=NOW_MS - 30_000), True),
        (Owed(unjudged_ms=NOW_MS - 30_000), True),
    ],
)
def test_an_agent_is_blind_when_something_is_not_settled_in_time(owed: Owed, is_blind: bool):
    reason = blindness(owed, SETTINGS, NOW_MS)
    assert bool(reason) == is_blind
    found = lent(View(), blind=reason)
    assert isinstance(found, Refusal) == is_blind
    reads = lent(View(), an_ask(actions=["record.read"]), blind=reason)
    assert isinstance(reads, Lease)


def test_no_more_leases_than_the_settings_say():
    assert isinstance(lent(View(), others=7), Lease)
    found = lent(View(), others=8)
    assert isinstance(found, Refusal)
    assert found.rule == "too_many"


def test_the_request_id_is_no_part_of_what_is_asked():
    assert content_of(an_ask()) == content_of(an_ask(request_id="other"))
    assert content_of(an_ask()) != content_of(an_ask(action_credits=24))


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"agent_id": "bot", "actions": [], "request_id": "q"}', "actions"),
        (b'{"agent_id": "bot", "actions": ["a"], "request_id": "q", "epoch": 1}', "epoch"),
        (b'{"agent_id": "bot", "actions": ["a"], "request_id": "q", "action_credits": 0}', "action_credits"),
        (b'{"agent_id": "a", "agent_id": "b", "actions": ["a"], "request_id": "q"}', "agent_id"),
        (b"[]", ""),
    ],
)
def test_a_request_with_a_mistake_is_refused_with_its_place(raw: bytes, field: str):
    with pytest.raises(BadRequest) as refused:
        decode_ask(raw)
    assert refused.value.field == field


def test_a_report_with_a_mistake_is_refused_with_its_place():
    with pytest.raises(BadRequest) as refused:
        decode_report(b'{"agent_id": "bot", "used": 1, "debits": [{"n": 0, "operation": {}}]}')
    assert refused.value.field == "debits[0].n"


def test_the_spread_and_the_bound_of_a_drill_by_hand():
    assert (spread(range(1, 101)).p50, spread(range(1, 101)).p99, spread(range(1, 101)).max) == (50, 99, 100)
    assert spread([7]).p50 == spread([7]).p99 == 7
    # 25 credits against 16.6/s for 1 s (17 begun), 3 credits against plenty of time, and one in flight
    assert bound_of([25, 3], [16.6, 16.6], [1.0, 5.0], 1) == 17 + 3 + 1


CEILING = POLICY.replace("[delegation", "[ceiling]\nrecords_per_day = 9\ncontacts_per_day = 9\n[delegation")


def test_under_a_ceiling_for_all_agents_a_lease_is_what_all_of_them_leave() -> None:
    policy = load("p", lambda name: CEILING).policy
    ask = an_ask(record_credits=30, fields=["Phone"], authorized_by="lea", trigger=Trigger("prompt"))
    view = View()
    refused = lent(view, ask, policy=policy)
    assert isinstance(refused, Refusal), "nobody knows what all agents did"
    view.everybody = Budgets()
    view.everybody.admit(operation_of(an_update("a", "b")), NOW_MS)
    view.everybody.set_aside["l0"] = SetAside("records", 3, NOW_MS + 1)
    first = lent(view, ask, policy=policy)
    assert isinstance(first, Lease)
    assert (first.action_limit, first.record_limit) == (25, 4)
    assert view.everybody.set_aside.keys() == {"l0"}, "what was tried leaves nothing behind"
    view.everybody.set_aside["l1"] = set_aside(first)
    none_left = lent(view, ask, policy=policy)
    assert isinstance(none_left, Refusal)
    assert none_left.rule == "policy"
    more = renew(settle(first, 4, 4), view, view.counters, SETTINGS, NOW_MS + 1, policy=policy)
    assert isinstance(more, Lease)
    assert more.record_limit == 4, "no credits come back while the ceiling has no room"

"""Approvals: who may answer, what an answer is bound to, and that it lets pass one thing, once, in time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from events.types import Trigger
from governance.approvals import (
    Answer,
    Approval,
    Approver,
    Edit,
    Lapse,
    Touch,
    Use,
    Verdict,
    Why,
    asked_for,
    bound_hash,
    can_be_approved,
    decide,
)
from governance.gate import GateDecision, GateRequest, Rule, content_hash, operation_of
from governance.settings import parse_settings

NOW, MINUTE = 1_772_443_200_000, 60_000
SETTINGS = parse_settings("""
[people.maya]
name = "Maya Lind"
crm_user = "user:005M"
role = "operator"
[people.lea]
crm_user = "005L"
email = "lea@example.com"
role = "operator"
[people.jo]
role = "admin"
[agents.bot]
owner = "lea"
[gate]
approval_minutes = 20
""")
OPERATOR = frozenset({"viewer", "manager", "operator"})
MAYA, LEA, JO = (Approver(name=name, roles=OPERATOR) for name in ("maya", "lea", "jo"))
REQUEST = GateRequest(
    agent_id="bot", action="record.update", object="Deal", record_ids=["r1"],
    changes={"r1": {"Amount": ("100.00", "120.00"), "Stage": ("Proposal", "Negotiation")}}, recipient_ids=[],
    authorized_by="user:005J", trigger=Trigger("rule", "flow:1"), record_versions={"r1": "v7"}, request_id="q1",
)  # fmt: skip
HELD = GateDecision(decision="hold", reason="on hold: a price", rule=Rule.POLICY, epoch=3, decision_id="d1")


def asked(**more: Any) -> Approval:
    return replace(asked_for(REQUEST, HELD, SETTINGS, None, NOW), **more)


def answer(
    approval: Approval, says: Any = "approve", who: Approver = MAYA, at: int = NOW + MINUTE, **more: Any
) -> Verdict:
    fields = {"reason": "as agreed", "hash": approval.hash, "opened_ms": at - 9_000, "edit": None} | more
    said = Answer(approval_id=approval.id, says=says, who=who, **fields)
    return decide(approval, said, at, settings=SETTINGS, owners=("lea",))


def use(approval: Approval, request: GateRequest = REQUEST, at: int = NOW + 2 * MINUTE) -> Verdict:
    return decide(approval, Use(bound_hash(request), "d2"), at, settings=SETTINGS)


def test_an_approval_lets_its_content_pass_once() -> None:
    given_ = answer(asked())
    assert (given_.why, given_.approval.state, given_.approval.by) == (Why.APPROVED, "approved", "maya")
    used = use(given_.approval)
    assert (used.why, used.approval.state, used.approval.used_by) == (Why.USED, "used", "d2")
    again = use(used.approval)
    assert (again.why, again.is_changed) == (Why.ALREADY_USED, False)


@pytest.mark.parametrize(
    "altered",
    [
        {"agent_id": "bot2"}, {"action": "record.enrich"}, {"object": "deal"}, {"record_ids": ["r2"]},
        {"changes": {"r1": {"Amount": ("100.00", "120.01"), "Stage": ("Proposal", "Negotiation")}}},
        {"changes": {"r1": {"Amount": ("100.01", "120.00"), "Stage": ("Proposal", "Negotiation")}}},
        {"changes": {"r1": {"Amount": ("100.00", "120.00")}}}, {"recipient_ids": ["c1"]}, {"authorized_by": None},
        {"trigger": None}, {"record_versions": {"r1": "v8"}}, {"record_versions": UNSET}, {"tenant": "other"},
        {"system": "crm"}, {"records": 2},
    ],
)  # fmt: skip
def test_whatever_is_altered_is_another_content(altered: dict[str, Any]) -> None:
    given_ = answer(asked()).approval
    assert use(given_, replace(REQUEST, **altered)).why is Why.OTHER_CONTENT


@run(max_examples=40, deadline=None)
@given(at=st.integers(0, 400), bit=st.integers(0, 6))
def test_one_bit_of_any_text_is_another_hash(at: int, bit: int) -> None:
    text = "Äcme GmbH – “50 %” of €1,000.00 \u202e until Friday" * 8
    at %= len(text)
    other = text[:at] + chr(ord(text[at]) ^ 1 << bit) + text[at + 1 :]
    one, two = (replace(REQUEST, changes={"r1": {"Next": ("", each)}}) for each in (text, other))
    assert bound_hash(one) != bound_hash(two)


def test_the_ids_of_a_try_are_not_part_of_the_content() -> None:
    again = replace(REQUEST, request_id="q2", approval_id="d1")
    assert bound_hash(again) == bound_hash(REQUEST)
    assert content_hash(replace(REQUEST, approval_id="d1")) == content_hash(REQUEST)


def test_unanswered_means_no_and_unused_too() -> None:
    late = answer(asked(), at=NOW + 20 * MINUTE)
    assert (late.why, late.is_changed) == (Why.TOO_LATE, False)
    lapsed = decide(asked(), Lapse(), NOW + 20 * MINUTE, settings=SETTINGS)
    assert lapsed.approval.state == "expired"
    assert decide(asked(), Lapse(), NOW + 20 * MINUTE - 1, settings=SETTINGS).why is Why.NOTHING_DUE
    given_ = answer(asked(), at=NOW + 19 * MINUTE).approval
    assert use(given_, at=NOW + 39 * MINUTE - 1).why is Why.USED
    assert use(given_, at=NOW + 39 * MINUTE).why is Why.EXPIRED
    assert use(lapsed.approval).why is Why.EXPIRED


def test_what_waits_or_was_refused_lets_nothing_pass() -> None:
    assert use(asked()).why is Why.WAITS
    refused = answer(asked(), "refuse", reason="too dear")
    assert (refused.why, refused.approval.state) == (Why.REFUSED, "refused")
    assert (use(refused.approval).why, use(refused.approval).more) == (Why.WAS_REFUSED, "too dear")
    assert answer(refused.approval).why is Why.NOT_PENDING


@pytest.mark.parametrize("name", ["jo", "JO", "user:005J", "Jo Berg", "jo@example.com"])
@pytest.mark.parametrize("says", ["approve", "refuse"])
def test_nobody_answers_what_is_asked_in_his_own_name(name: str, says: str) -> None:
    people = parse_settings(
        '[people.jo]\nname = "Jo Berg"\ncrm_user = "user:005J"\nemail = "jo@example.com"\nrole = "admin"\n'
    )
    said = Answer(
        approval_id="d1", says=says, who=Approver(name=name, roles=OPERATOR), reason="ok",  # type: ignore[arg-type]
        hash=asked().hash, opened_ms=NOW,
    )  # fmt: skip
    assert decide(asked(), said, NOW + MINUTE, settings=people).why is Why.REQUESTER


def test_who_prompted_the_agent_has_asked() -> None:
    prompted = replace(REQUEST, authorized_by=None, trigger=Trigger("prompt", "user:005M"))
    assert answer(asked_for(prompted, HELD, SETTINGS, None, NOW)).why is Why.REQUESTER


@pytest.mark.parametrize("name", ["lea", "Lea", "005L", "lea@example.com"])
def test_the_agents_owner_does_not_answer(name: str) -> None:
    assert answer(asked(), who=Approver(name=name, roles=OPERATOR)).why is Why.OWNER


def test_it_takes_the_right() -> None:
    viewer = Approver(name="maya", roles=frozenset({"viewer"}))
    assert answer(asked(), who=viewer).why is Why.NO_RIGHT
    assert answer(asked(right=("maya",)), who=viewer).why is Why.APPROVED
    assert answer(asked(right=("Maya Lind", "role:admin")), who=viewer).why is Why.APPROVED
    assert answer(asked(right=("role:admin",)), who=MAYA).why is Why.NO_RIGHT


def test_it_takes_a_reason_and_what_the_person_saw() -> None:
    assert answer(asked(), reason="  ").why is Why.REASON_MISSING
    assert answer(asked(), hash="0" * 64).why is Why.CONFLICT


def test_two_people_are_two_different_ones() -> None:
    first = answer(asked(people=2))
    assert (first.why, first.approval.state) == (Why.FIRST_OF_TWO, "pending")
    assert use(first.approval).why is Why.WAITS
    assert answer(first.approval).why is Why.SAME_PERSON
    second = answer(first.approval, who=replace(JO, name="kim"))
    assert (second.why, second.approval.by_first, second.approval.by) == (Why.APPROVED, "maya", "kim")
    changed = answer(first.approval, who=replace(JO, name="kim"), edit=Edit(record_ids=["r1", "r2"]))
    assert (changed.why, changed.approval.by_first) == (Why.FIRST_OF_TWO, "kim")
    assert answer(changed.approval, who=replace(JO, name="kim")).why is Why.SAME_PERSON
    assert answer(changed.approval).why is Why.EDITED


def test_an_edit_is_bound_anew_and_what_was_asked_does_not_pass() -> None:
    less = Edit(changes={"r1": {"Amount": ("100.00", "110.00")}})
    given_ = answer(asked(), edit=less)
    assert (given_.why, given_.approval.state) == (Why.EDITED, "edited")
    assert use(given_.approval).why is Why.EDITED
    assert not use(given_.approval).is_changed
    assert use(given_.approval, given_.approval.request).why is Why.USED
    assert answer(asked(), edit=Edit(record_ids=["r1"])).why is Why.APPROVED


def test_a_record_that_was_changed_meanwhile_ends_it() -> None:
    for before in (asked(), answer(asked()).approval):
        touched = decide(before, Touch("jo changed it"), NOW + MINUTE, settings=SETTINGS).approval
        assert (use(touched).why, use(touched).more) == (Why.CHANGED, "jo changed it")
        assert not decide(touched, Touch("again"), NOW + MINUTE, settings=SETTINGS).is_changed
    assert answer(decide(asked(), Touch("x"), NOW, settings=SETTINGS).approval).why is Why.CHANGED
    used = use(answer(asked()).approval).approval
    assert decide(used, Touch("x"), NOW, settings=SETTINGS).why is Why.NOTHING_DUE


def test_only_an_exact_content_can_be_approved() -> None:
    def can(request: GateRequest, decision: GateDecision = HELD) -> bool:
        return can_be_approved(request, decision, operation_of(request))

    mail = GateRequest(agent_id="bot", action="email.send", recipient_ids=["c1"])
    assert can(REQUEST)
    assert can(mail)
    assert can(GateRequest(agent_id="bot", action="record.create", object="Deal"))
    assert not can(replace(REQUEST, changes={}))
    assert not can(replace(REQUEST, record_ids=["r1", "r2"]))
    assert not can(replace(REQUEST, records=5))
    assert not can(replace(mail, recipient_ids=[]))
    assert not can(replace(mail, recipients=2))
    assert not can(REQUEST, replace(HELD, rule=Rule.HELD))
    assert not can(REQUEST, replace(HELD, decision="deny"))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["approve", "refuse", "edit", "use", "use_edited", "use_other", "touch", "lapse"]),
        st.sampled_from(["maya", "lea", "kim"]),
        st.integers(0, 15),
    ),
    max_size=14,
)


@run(max_examples=200, deadline=None)
@given(steps=STEPS, people=st.sampled_from([1, 2]))
def test_no_order_of_steps_lets_pass_what_nobody_approved_or_twice(
    steps: list[tuple[str, str, int]], people: int
) -> None:
    """A model of its own: what has been said yes to, by whom, and until when."""
    less = Edit(changes={"r1": {"Amount": ("100.00", "110.00")}})
    approval, now, passed, other = asked(people=people), NOW, 0, replace(REQUEST, object="Lead")
    yes: dict[str, set[str]] = {}
    for step, who, minutes in steps:
        now += minutes * MINUTE
        before = approval
        if step in ("approve", "refuse", "edit"):
            person = Approver(name=who, roles=OPERATOR)
            edit = less if step == "edit" else None
            verdict = answer(approval, "refuse" if step == "refuse" else "approve", person, now, edit=edit)
            if verdict.is_changed and step != "refuse":
                yes.setdefault(verdict.approval.hash, set()).add(who)
        elif step.startswith("use"):
            content = {"use": REQUEST, "use_edited": approval.request, "use_other": other}[step]
            verdict = use(approval, content, now)
            if verdict.why is Why.USED:
                passed += 1
                assert len(yes[bound_hash(content)] - {"lea"}) >= people
                assert before.answered_ms is not None
                assert now < before.answered_ms + 20 * MINUTE
                assert not before.changed
        elif step == "touch":
            verdict = decide(approval, Touch("x"), now, settings=SETTINGS)
        else:
            verdict = decide(approval, Lapse(), now, settings=SETTINGS)
        assert verdict.is_changed == (verdict.approval != before)
        approval = verdict.approval
    assert passed <= 1
    assert all("lea" not in names for names in yes.values())

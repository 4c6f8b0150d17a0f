"""Approvals in the store, on both databases: found by content, counted, watched by record, with their history."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from governance.approvals import Approval, Lapse, Touch, Use, Verdict, Why, asked_for, bound_hash, decide
from governance.gate import GateDecision, GateRequest, Rule
from governance.settings import parse_settings
from storage import approvals
from storage.link import Link
from storage.read import Reader
from storage.read.approvals import ApprovalCounts

NOW, MINUTE = 1_772_443_200_000, 60_000
SETTINGS = parse_settings("")
AGENT: approvals.Who = ("agent", "bot")


@pytest.fixture
def open_one(link: Link) -> Any:
    def make(number: int = 1, *, records: tuple[str, ...] = ("r-1",), agent: str = "bot", at_ms: int = NOW) -> Approval:
        request = GateRequest(
            agent_id=agent, action="record.update", object="Lead", record_ids=list(records),
            changes={each: {"Phone": (number, 2)} for each in records}, request_id=f"q-{number}",
        )  # fmt: skip
        held = GateDecision(
            decision="hold", reason="on hold: look", rule=Rule.POLICY, epoch=0, decision_id=f"d-{number}"
        )
        made = asked_for(request, held, SETTINGS, None, at_ms)
        approvals.keep(link, Verdict(made, Why.WAITS, is_changed=True), "", AGENT, at_ms)
        return made

    return make


def test_what_was_kept_is_found_by_id_and_by_what_it_is_bound_to(link: Link, open_one: Any) -> None:
    made, other = open_one(1), open_one(2)
    assert approvals.find(link, "d-1") == made
    assert approvals.find(link, "d-9") is None
    assert approvals.of_content(link, "default/bot", other.hash, NOW) == other
    assert approvals.of_content(link, "default/other", other.hash, NOW) is None
    assert approvals.of_content(link, "default/bot", bound_hash(replace(made.asked, object="Deal")), NOW) is None
    assert approvals.of_content(link, "default/bot", made.hash, NOW + 30 * MINUTE) is None


def test_what_waits_is_counted_with_the_age_of_the_oldest(open_one: Any, link: Link, reader: Reader) -> None:
    assert reader.approval_counts(NOW) == ApprovalCounts(0, 0)
    open_one(1, at_ms=NOW)
    open_one(2, at_ms=NOW + 5)
    open_one(3, agent="crm", at_ms=NOW + 7)
    assert reader.approval_counts(NOW + 10) == ApprovalCounts(3, NOW)
    assert approvals.count_open(link, "default/bot") == 2
    assert [each.id for each in approvals.due(link, NOW + 30 * MINUTE + 5)] == ["d-1", "d-2"]


def test_what_is_over_is_not_open_and_its_records_are_watched_no_more(
    link: Link, open_one: Any, reader: Reader
) -> None:
    made = open_one(1, records=("r-1", "r-2"))
    assert approvals.watched(link) == {("default", "r-1"), ("default", "r-2")}
    assert approvals.about(link, "default", "r-2") == [made]
    lapsed = decide(made, Lapse(), NOW + 30 * MINUTE, settings=SETTINGS)
    approvals.keep(link, lapsed, made.state, ("system", ""), NOW + 30 * MINUTE)
    assert approvals.find(link, made.id).state == "expired"  # type: ignore[union-attr]
    assert approvals.watched(link) == set()
    assert approvals.due(link, NOW + 60 * MINUTE) == []
    assert reader.approval_counts(NOW + 1) == ApprovalCounts(0, 0)


def test_each_step_is_in_the_history_also_one_that_changed_nothing(link: Link, open_one: Any) -> None:
    made = open_one(1)
    early = decide(made, Use(made.hash, "d-5"), NOW + 1, settings=SETTINGS)
    approvals.keep(link, early, made.state, AGENT, NOW + 1)
    touched = decide(made, Touch("jo changed r-1"), NOW + 2, settings=SETTINGS)
    approvals.keep(link, touched, made.state, ("system", ""), NOW + 2, "jo changed r-1")
    assert approvals.find(link, made.id).changed == "jo changed r-1"  # type: ignore[union-attr]
    query = "SELECT seq, at_ms, state_before, state, by_kind, by_id, why, reason FROM approval_history ORDER BY seq"
    assert [tuple(row) for row in link.execute(query).fetchall()] == [
        (1, NOW, "", "pending", "agent", "bot", "waits", ""),
        (2, NOW + 1, "pending", "pending", "agent", "bot", "waits", ""),
        (3, NOW + 2, "pending", "pending", "system", "", "record_changed", "jo changed r-1"),
    ]


def test_the_oldest_that_are_over_are_dropped_with_their_history(link: Link, open_one: Any) -> None:
    for number in (1, 2, 3):
        made = open_one(number)
        if number < 3:
            lapsed = decide(made, Lapse(), NOW + 30 * MINUTE, settings=SETTINGS)
            approvals.keep(link, lapsed, made.state, ("system", ""), NOW)
    approvals.drop_before(link, "d-2")
    approvals.drop_before(link, "d-9", most=1)
    assert [approvals.find(link, f"d-{number}") is None for number in (1, 2, 3)] == [True, True, False]
    left = {row[0] for row in link.execute("SELECT approval_id FROM approval_history").fetchall()}
    assert left == {"d-3"}


def test_approvals_given_are_counted_by_person_and_time(link: Link, open_one: Any) -> None:
    for number in range(3):
        made = open_one(number)
        given = replace(made, state="approved", by="maya", answered_ms=NOW + number)
        approvals.keep(link, Verdict(given, Why.APPROVED, is_changed=True), "pending", ("human", "maya"), NOW)
    refused = replace(open_one(4), state="refused", by="maya", answered_ms=NOW + 4)
    approvals.keep(link, Verdict(refused, Why.REFUSED, is_changed=True), "pending", ("human", "maya"), NOW)
    assert approvals.given_since(link, "maya", NOW) == 2
    assert approvals.given_since(link, "jo", 0) == 0

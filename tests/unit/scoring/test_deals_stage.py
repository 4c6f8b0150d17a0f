from __future__ import annotations

import msgspec
import pytest

from events.times import format_ms
from events.types import CrmActivity, CrmChange
from governance.settings import Deals
from scoring.scorecard import logistic
from scoring.state import Status
from streams.records import output_id
from tests.unit.scoring.deals_log import CRM, DAY, PETRA, START_MS, Life, activity, change, risks

HOUR = 3_600_000


def kinds(outputs: list) -> list[str]:
    return [output.kind for output in outputs]


def test_a_new_deal_is_scored_at_once() -> None:
    life = Life()
    [risk] = risks(life.open())
    assert (risk.deal_id, risk.owner_id, risk.manager_id, risk.offset) == ("006A1", "lea", None, 0)
    assert risk.p_lost == logistic(risk.base + sum(reason.contribution for reason in risk.reasons))
    assert risk.cause == "The deal was opened"
    assert (risk.model.kind, risk.model.proven) == ("scorecard", False)


def test_a_record_that_moves_no_score_says_nothing() -> None:
    life = Life()
    life.open()
    assert risks(life.add(START_MS + HOUR, activity(participants=[PETRA]))) == []


def test_what_moved_the_score_is_said() -> None:
    life = Life()
    life.open(close_date="2026-03-13")
    pushed = life.add(START_MS + HOUR, change(close_date=("2026-03-13", "2026-03-27")))
    named = life.add(START_MS + 2 * HOUR, activity("call", "outbound", mentions=["competitor: Fernbrook"]))
    assert [risk.cause for risk in risks(pushed + named)] == [
        "Close date moved from 2026-03-13 to 2026-03-27",
        "Competitor named in a call",
    ]


def test_time_alone_moves_a_score_at_the_tick_after_the_cut() -> None:
    life = Life()
    life.open()
    assert risks(life.tick(START_MS + 2 * DAY - 1)) == []
    [risk] = risks(life.tick(START_MS + 2 * DAY + 5_000))
    assert risk.at == format_ms(START_MS + 2 * DAY + 5_000)
    assert "silence" not in [reason.feature for reason in risk.reasons]  # two days: no credit any more
    [fourteen] = risks(life.tick(START_MS + 14 * DAY))[-1:]
    assert fourteen.cause == "Nothing has happened on the deal for 14 days."


def test_activities_before_the_deal_is_known_wait_for_it() -> None:
    life = Life()
    assert life.add(START_MS, activity(participants=[PETRA])) == []
    assert life.state().status == Status.STUB
    assert kinds(life.tick(START_MS + 21 * DAY)) == ["marker"]
    [risk] = risks(life.open(at_ms=START_MS + 21 * DAY))
    assert "Buyer silent for 21 days" in risk.reasons[0].sentence


def test_records_that_are_about_no_deal_are_left_alone() -> None:
    life = Life()
    contact = CrmChange(object="Contact", record_id="003C9", op="update", changes={"name": ("a", "b")})
    quote = CrmChange(object="Quote", record_id="Q1", op="update", changes={"amount": ("1", "2")}, deal_id="006A1")
    assert life.add(START_MS, contact) == life.add(START_MS, quote) == []
    assert life.add(START_MS, CrmActivity(kind="email")) == []
    assert life.stage.keys == {}


def test_any_object_whose_record_is_the_deal_makes_a_deal() -> None:
    life = Life()
    data = CrmChange(object="Application", record_id="A1", deal_id="A1", op="create", changes={"stage": (None, "Demo")})
    assert len(risks(life.add(START_MS, data))) == 1


def test_a_deal_that_closes_leaves_the_open_set_at_the_next_tick() -> None:
    life = Life()
    life.open()
    life.tick(START_MS + 10_000)
    assert life.add(START_MS + HOUR, change(stage="Closed Won")) == []
    said = life.tick(START_MS + HOUR + 10_000)
    assert kinds(said) == ["score", "marker"]
    assert said[0].event.data.is_open is False  # type: ignore[attr-defined]
    assert kinds(life.tick(START_MS + 90 * DAY)) == ["marker"]


def test_a_deal_that_opens_and_closes_between_two_ticks_is_told_as_closed() -> None:
    life = Life()
    assert len(risks(life.open())) == 1
    life.add(START_MS + 1, change(stage="Closed Lost"))
    said = life.tick(START_MS + 10_000)
    assert kinds(said) == ["score", "marker"]
    assert (said[0].event.data.is_open, said[0].event.data.manager_id) == (False, "unassigned")  # type: ignore[attr-defined]
    assert kinds(life.tick(START_MS + 90 * DAY)) == ["marker"]
    assert life.tops() == []


def test_a_deal_that_is_closed_when_first_heard_of_is_never_told() -> None:
    life = Life()
    assert life.open(stage="Closed Lost") == []
    assert kinds(life.tick(START_MS + 10_000)) == ["marker"]


def test_a_reopened_deal_is_scored_again() -> None:
    life = Life()
    life.open()
    life.add(START_MS + DAY, change(stage="Closed Lost"))
    assert len(risks(life.add(START_MS + 2 * DAY, change(stage="Negotiation")))) == 1
    assert life.tick(START_MS + 3 * DAY)[-2].event.data.is_open  # type: ignore[attr-defined]


def test_one_score_a_tick_and_deal_goes_to_the_portfolio_however_often_it_changed() -> None:
    life = Life()
    life.open(name="Fleet telemetry renewal", account="Nordwind Logistik", close_date="2026-03-27", manager_id="jo")
    for number in range(5):
        life.add(START_MS + number + 1, change(amount=str(1000 - number * 100)))
    said = life.tick(START_MS + 10_000)
    assert kinds(said) == ["score", "marker"]
    score = said[0].event.data  # type: ignore[attr-defined]
    assert (score.manager_id, score.deal, score.account) == ("jo", "Fleet telemetry renewal", "Nordwind Logistik")
    assert (score.amount_minor, score.currency, score.close_date, score.stage) == (
        60_000,
        "EUR",
        "2026-03-27",
        "Negotiation",
    )
    assert kinds(life.tick(START_MS + 20_000)) == ["marker"]


def test_a_deal_that_changes_managers_leaves_the_first_portfolio() -> None:
    life = Life()
    life.open(manager_id="jo")
    life.tick(START_MS + 10_000)
    life.add(START_MS + HOUR, change(manager_id="hanna"))
    told = [(o.event.data.manager_id, o.event.data.is_open) for o in life.tick(START_MS + 2 * HOUR)[:2]]  # type: ignore[attr-defined]
    assert told == [("jo", False), ("hanna", True)]


def test_the_manager_comes_from_the_record_else_from_the_owner_else_nobody() -> None:
    life = Life(Deals(managers={"lea": "jo"}))
    life.open("d1")
    life.open("d2", owner_id="anton")
    life.open("d3", manager_id="hanna")
    told = {o.event.data.deal_id: o.event.data.manager_id for o in life.tick(START_MS + 10_000)[:3]}  # type: ignore[attr-defined]
    assert told == {"d1": "jo", "d2": "unassigned", "d3": "hanna"}


@pytest.mark.parametrize("gone", [None, "", 7])
def test_a_deal_whose_owner_vanishes_is_nobodys_and_its_owner_explains_nothing(gone: object) -> None:
    life = Life(Deals(managers={"lea": "jo"}))
    for number in range(10):
        life.open(f"won-{number}")
        life.add(START_MS + 1, change(f"won-{number}", stage="Closed Won"))
        life.open(f"lost-{number}", owner_id="anton")
        life.add(START_MS + 1, change(f"lost-{number}", stage="Closed Lost"))
    [owned] = risks(life.open("d1", START_MS + DAY))
    assert "owner_wins" in [reason.feature for reason in owned.reasons]
    life.tick(START_MS + DAY + 10_000)
    life.add(START_MS + 2 * DAY, change("d1", owner_id=("lea", gone)))
    told = [(o.event.data.manager_id, o.event.data.is_open) for o in life.tick(START_MS + 2 * DAY + 10_000)[:2]]  # type: ignore[attr-defined]
    assert told == [("jo", False), ("unassigned", True)]
    said = [one for one in risks(life.out) if one.deal_id == "d1"][-1]
    assert "owner_wins" not in [reason.feature for reason in said.reasons]


def test_a_link_is_made_of_the_address_and_the_deal() -> None:
    life = Life(Deals(link="https://crm.example/deal/{deal_id}/view"))
    life.open("00/6 A")
    said = life.tick(START_MS + 10_000)
    assert said[0].event.data.link == "https://crm.example/deal/00%2F6%20A/view"  # type: ignore[attr-defined]


def test_owners_who_win_more_often_lower_the_risk_from_the_next_day_on() -> None:
    life = Life()
    for number in range(10):
        life.open(f"won-{number}", owner_id="lea")
        life.add(START_MS + 1, change(f"won-{number}", stage="Closed Won"))
        life.open(f"lost-{number}", owner_id="anton")
        life.add(START_MS + 1, change(f"lost-{number}", stage="Closed Lost"))
    [today] = risks(life.open("today", START_MS + HOUR, owner_id="lea"))
    [later] = risks(life.open("later", START_MS + DAY, owner_id="lea"))
    assert "owner_wins" not in [reason.feature for reason in today.reasons]
    assert ("owner_wins", -0.25) in [(reason.feature, reason.contribution) for reason in later.reasons]


def test_eighty_closed_deals_prove_the_card() -> None:
    life = Life()
    for number in range(80):
        life.open(f"d{number}")
        life.add(START_MS + 1, change(f"d{number}", stage="Closed Won"))
    [today] = risks(life.open("today", START_MS + HOUR))
    [later] = risks(life.open("later", START_MS + DAY))
    assert (today.model.proven, later.model.proven) == (False, True)


def test_tenants_do_not_share_a_deal() -> None:
    life = Life()
    life.open()
    life.add(START_MS + 1, change(op="create", stage="Demo"), tenant="acme")
    assert sorted(life.stage.keys) == ["acme/006A1", "default/006A1"]
    said = life.tick(START_MS + 10_000)
    assert {output.key for output in said if output.kind == "score"} == {"acme/unassigned", "default/unassigned"}


def test_ids_are_those_of_the_engines_rule() -> None:
    life = Life()
    [output] = life.open()
    assert output.id == output.event.id == output_id(CRM, "deals", "default/006A1", 0, "risk")


def test_risks_are_plain_json_with_the_fields_of_the_contract() -> None:
    life = Life()
    [output] = life.open()
    found = msgspec.json.decode(msgspec.json.encode(output.event))
    assert found["type"] == "tripline.deal.risk.v1"
    assert {"deal_id", "at", "p_lost", "p_slip", "p_lost_14d", "p_won_by", "band", "reasons", "model"} <= set(
        found["data"]
    )
    assert set(found["data"]["p_won_by"]) == {"7", "14", "28"}


def test_a_tick_that_nothing_waits_for_costs_no_deal_anything() -> None:
    life = Life()
    for number in range(50):
        life.open(f"d{number}")
    life.tick(START_MS + 10_000)
    life.stage.snapshot()
    life.tick(START_MS + 20_000)
    assert len(life.stage.snapshot()) == 1  # the partition's own state alone


def test_the_next_due_time_is_at_once_when_scores_wait_else_the_first_timer() -> None:
    life = Life()
    assert life.stage.next_due_ms() is None
    life.open()
    assert life.stage.next_due_ms() == 0
    life.tick(START_MS + 10_000)
    assert life.stage.next_due_ms() == START_MS + 2 * DAY


@pytest.mark.parametrize("later_ms", [0, 1, 999, 1_000, 59_999, 60_000, 86_399_999, 10 * DAY + 61_001])
def test_what_is_said_carries_the_time_of_its_record(later_ms: int) -> None:
    life = Life()
    life.open()
    life.tick(START_MS + later_ms + 1)
    [risk] = risks(life.add(START_MS + later_ms + 1, change(next_step="")))[-1:]
    assert risk.at == format_ms(START_MS + later_ms + 1)


def test_a_closing_counts_as_what_it_was_when_it_is_counted_anew_after_a_recovery() -> None:
    life = Life()
    life.open(segment="Retail")
    barrier = life.stage.snapshot()
    life.add(START_MS + HOUR, change(stage="Closed Won"))
    life.add(START_MS + 2 * HOUR, change(segment="Industry", owner_id="max"))
    newer = [snapshot for snapshot in life.stage.snapshot() if snapshot.key]
    again = Life().stage
    resume = again.restore([*barrier, *newer])
    again.process([entry for entry in life.log if entry[0] >= resume])
    for stage in (again, life.stage):
        stage.outcomes.roll(10**6)
    assert again.outcomes.counts == life.stage.outcomes.counts
    assert any("Retail" in group for group in again.outcomes.counts)
    assert not any("Industry" in group for group in again.outcomes.counts)


def test_a_portfolio_that_is_newer_than_a_marker_tells_its_changes_at_the_next() -> None:
    life = Life()
    life.open(manager_id="maya")
    life.tick(START_MS + DAY)
    barrier = life.portfolio.snapshot()
    life.add(START_MS + DAY + HOUR, activity())
    life.tick(START_MS + DAY + 2 * HOUR)
    life.open("006B2", START_MS + DAY + 3 * HOUR, manager_id="maya")
    life.tick(START_MS + DAY + 4 * HOUR)
    scores = [entry for entry in life.portfolio_log if type(entry[2]).__name__ == "ScoreEvent"]
    ahead = Life().portfolio
    ahead.restore(barrier)
    ahead.process([(entry[0], entry[1], entry[2]) for entry in life.portfolio_log if entry[0] <= scores[-1][0]])
    newer = [snapshot for snapshot in ahead.snapshot() if snapshot.key]
    again = Life().portfolio
    resume = again.restore([*barrier, *newer])
    said = again.process([entry for entry in life.portfolio_log if entry[0] >= resume])
    assert [(output.kind, output.at_ms) for output in said] == [("top", START_MS + DAY + 4 * HOUR)]
    assert again.next_due_ms() is None

from __future__ import annotations

from typing import Any

import pytest

from events.times import format_ms
from events.types import Actor, After, CrmChange, Participant
from governance.settings_types import Deals
from scoring.features import EVERYTHING, Terms, apply_activity, apply_change, effect_ms
from scoring.stages import Process
from scoring.state import FAR_FUTURE, FAR_PAST, MAX_STATE_BYTES, Age, DealState, Status, dump
from streams.quality import facts_of
from tests.unit.scoring.deals_log import DAY, PETRA, START_MS, activity, change, human

TERMS = Terms(Process())
HOUR = 3_600_000


def opened(**fields: Any) -> DealState:
    state = DealState()
    apply_change(state, change(op="create", **({"stage": "Proposal"} | fields)), START_MS, TERMS)
    return state


def take(state: DealState, at_ms: int, *args: Any, **more: Any) -> None:
    apply_activity(state, activity(*args, **more), at_ms, at_ms)


def update(state: DealState, at_ms: int, **fields: Any) -> None:
    apply_change(state, change(**fields), at_ms, TERMS)


def test_a_mail_from_the_buyer_ends_both_silences() -> None:
    state = opened()
    take(state, START_MS + 3 * DAY, "email", "inbound")
    assert state.origins[Age.SILENCE] == state.origins[Age.BUYER] == START_MS + 3 * DAY
    assert state.has_buyer


def test_a_mail_to_the_buyer_ends_the_deals_silence_not_the_buyers() -> None:
    state = opened()
    take(state, START_MS + 3 * DAY, "email", "outbound")
    assert state.origins[Age.SILENCE] == START_MS + 3 * DAY
    assert state.origins[Age.BUYER] == START_MS
    assert not state.has_buyer


def test_a_colleagues_note_ends_the_silence_and_counts_as_no_contact() -> None:
    state = opened()
    take(state, START_MS + DAY, "note", "internal", logged_by=human())
    assert state.origins[Age.SILENCE] == START_MS + DAY
    assert state.touches == []


def test_a_note_by_an_agent_does_not_end_the_silence() -> None:
    state = opened()
    take(state, START_MS + DAY, "note", "internal", logged_by=Actor("agent", "notes-bot"))
    assert state.origins[Age.SILENCE] == START_MS


def test_a_change_by_an_agent_does_not_end_the_silence() -> None:
    state = opened()
    data = CrmChange(
        object="Opportunity", record_id="006A1", op="update", changes={"amount": (None, "5")}, actor=Actor("agent", "b")
    )
    apply_change(state, data, START_MS + DAY, TERMS)
    assert state.origins[Age.SILENCE] == START_MS


@pytest.mark.parametrize(
    ("said", "when"),
    [
        (START_MS - 4 * 60_000, START_MS),  # four minutes late: knowledge time
        (START_MS - 6 * 60_000, START_MS - 6 * 60_000),  # backlog: judged by its effect
        (START_MS + 365 * DAY, START_MS),  # nothing takes effect in the future
    ],
)
def test_a_record_counts_from_when_the_log_took_it_unless_it_is_backlog(said: int, when: int) -> None:
    assert effect_ms(format_ms(said), format_ms(START_MS), START_MS) == when


def test_a_time_that_cannot_be_read_falls_back_to_knowledge_time() -> None:
    assert effect_ms("yesterday", format_ms(START_MS), START_MS) == START_MS


def test_an_old_mail_that_is_imported_late_does_not_wake_a_silent_deal() -> None:
    state = opened()
    take(state, START_MS + 20 * DAY)
    apply_activity(state, activity(), START_MS + 5 * DAY, START_MS + 30 * DAY)
    assert state.origins[Age.BUYER] == START_MS + 20 * DAY
    assert state.touches == [START_MS + 5 * DAY, START_MS + 20 * DAY]


def test_the_longest_pause_between_contacts_is_kept() -> None:
    state = opened()
    for day in (1, 2, 20, 21):
        take(state, START_MS + day * DAY)
    assert state.longest_gap_ms == 18 * DAY


def test_people_are_kept_with_when_they_last_took_part() -> None:
    state = opened()
    for hour, contact in enumerate(("a", "b", "a", "c")):
        take(state, START_MS + hour * HOUR, participants=[Participant(contact_id=contact)])
    assert [person.contact_id for person in state.people] == state.people_ids == ["a", "b", "c"]
    assert state.people_ms == [START_MS + 2 * HOUR, START_MS + HOUR, START_MS + 3 * HOUR]


def test_an_executive_is_remembered() -> None:
    state = opened()
    take(state, START_MS + DAY, "meeting", participants=[Participant(contact_id="cfo", executive=True)])
    assert state.origins[Age.EXECUTIVE] == START_MS + DAY


def test_a_meeting_is_booked_and_cancelled() -> None:
    state = opened()
    when = START_MS + 5 * DAY
    take(state, START_MS, "meeting", "outbound", scheduled_for=format_ms(when))
    assert state.origins[Age.MEETING] == when
    take(state, START_MS + DAY, "meeting", "outbound", scheduled_for=format_ms(when), status="cancelled")
    assert state.origins[Age.MEETING] == FAR_PAST
    assert state.cancelled_ms == when


def test_a_competitor_is_remembered_by_name() -> None:
    state = opened()
    take(state, START_MS + DAY, "call", "outbound", mentions=["pricing", "competitor: Fernbrook"])
    assert state.origins[Age.COMPETITOR] == START_MS + DAY
    assert state.competitor == "Fernbrook"


def test_pushes_of_the_close_date_are_counted_with_their_days() -> None:
    state = opened(close_date="2026-03-13")
    update(state, START_MS + DAY, close_date=("2026-03-13", "2026-03-27"))
    update(state, START_MS + 2 * DAY, close_date="2026-03-20")  # earlier again: no push
    update(state, START_MS + 3 * DAY, close_date="2026-03-22")
    assert (state.pushes, state.pushed_days) == (2, 16)


@pytest.mark.parametrize("date", ["1970-01-01", "2199-01-01", "soon", "", None, 20260313, "2026-13-45"])
def test_a_close_date_that_cannot_be_is_unknown(date: Any) -> None:
    state = opened(close_date=date)
    assert state.origins[Age.CLOSE] == state.origins[Age.PACE] == FAR_FUTURE
    assert state.close_date == ""
    update(state, START_MS, close_date="2026-05-01")
    assert state.pushes == 0


def test_a_close_date_ends_with_its_day() -> None:
    state = opened(close_date="2026-03-03")
    assert format_ms(state.origins[Age.CLOSE]) == "2026-03-04T00:00:00Z"


def test_a_discount_is_measured_from_the_highest_amount() -> None:
    state = opened(amount="100.00", currency="EUR")
    update(state, START_MS, amount="160.00")
    update(state, START_MS, amount=("160.00", "148.00"))
    assert (state.first_minor, state.peak_minor, state.amount_minor) == (10_000, 16_000, 14_800)


def test_another_currency_starts_the_amounts_history_anew() -> None:
    state = opened(amount="100000", currency="EUR")
    update(state, START_MS, amount="12000000", currency="JPY")
    assert (state.first_minor, state.peak_minor, state.amount_minor) == (12_000_000, 12_000_000, 12_000_000)


def test_a_negative_amount_is_unknown_and_no_discount() -> None:
    state = opened(amount="100", currency="EUR")
    update(state, START_MS, amount="-100")
    assert state.amount_minor is None
    assert state.peak_minor == 10_000


def test_a_step_back_is_counted_and_a_stage_nobody_described_is_none() -> None:
    state = opened(stage="Negotiation")
    update(state, START_MS, stage="Proposal")
    update(state, START_MS, stage="Somewhere")
    update(state, START_MS, stage="Demo")
    assert state.regressions == 1


def test_the_stage_before_the_first_record_is_taken_from_that_record() -> None:
    state = DealState()
    apply_change(state, change(stage=("Negotiation", "Proposal")), START_MS, TERMS)
    assert state.regressions == 1


def test_a_new_owner_is_a_change_only_after_a_first_one() -> None:
    state = opened()
    update(state, START_MS, owner_id="lea")
    assert state.origins[Age.OWNER] == FAR_FUTURE
    update(state, START_MS + DAY, owner_id="anton")
    assert state.origins[Age.OWNER] == START_MS + DAY


def test_a_next_step_is_unknown_written_or_known_to_be_empty() -> None:
    state = opened()
    assert state.origins[Age.NEXT_STEP] == FAR_FUTURE
    update(state, START_MS + DAY, next_step="Call Petra")
    assert state.origins[Age.NEXT_STEP] == START_MS + DAY
    update(state, START_MS + 2 * DAY, next_step=None)
    assert state.origins[Age.NEXT_STEP] == FAR_PAST


def test_values_without_a_before_are_read_too() -> None:
    state = opened()
    data = CrmChange(object="Deal", record_id="1", op="update", changes={"stage": After("Demo"), "Amount": After("7")})
    apply_change(state, data, START_MS, TERMS)
    assert (state.stage, state.amount_minor) == ("Demo", 700)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"stage": "Closed Won"}, Status.WON),
        ({"stage": "closed lost"}, Status.LOST),
        ({"is_closed": True}, Status.LOST),
        ({"is_closed": True, "is_won": True}, Status.WON),
        ({"is_won": "true"}, Status.WON),
        ({"is_closed": False}, Status.OPEN),
    ],
)
def test_a_deal_closes_by_its_stage_or_its_flags(fields: dict[str, Any], status: Status) -> None:
    state = opened()
    update(state, START_MS, **fields)
    assert state.status == status


def test_a_deal_that_closes_before_it_opens_stays_closed() -> None:
    state = DealState()
    update(state, START_MS, stage="Closed Lost")
    apply_change(state, change(op="create", stage="Proposal"), START_MS, TERMS)
    assert state.status == Status.LOST


def test_a_closed_deal_is_reopened_by_an_update_to_an_open_stage() -> None:
    state = opened()
    update(state, START_MS, stage="Closed Lost")
    update(state, START_MS + DAY, stage="Proposal")
    assert state.status == Status.OPEN


def test_a_deleted_deal_comes_back_when_it_is_undeleted() -> None:
    state = opened()
    apply_change(state, change(op="delete"), START_MS, TERMS)
    assert state.status == Status.DELETED
    apply_change(state, change(op="undelete"), START_MS, TERMS)
    assert state.status == Status.OPEN


def test_a_hundred_records_at_one_instant_leave_a_bounded_state() -> None:
    state = opened(close_date="2026-03-13")
    for number in range(100):
        take(state, START_MS, participants=[Participant(contact_id=f"c{number}")])
        update(state, START_MS, close_date=f"2026-{4 + number % 2:02d}-13")
    assert len(state.touches) == 16
    assert len(state.people) == len(state.people_ms) == 8
    assert state.pushes == 51  # 13 March to April, then every second change goes from April to May


def test_the_largest_state_stays_below_what_is_declared() -> None:
    state = DealState()
    wide = "\U0001f600" * 5000
    fields = dict.fromkeys(("name", "account", "segment", "owner_id", "manager_id", "stage", "currency"), wide)
    update(state, START_MS, **fields, amount="9999999999999", close_date="2026-03-13")
    for number in range(40):
        at_ms = START_MS + number * DAY
        who = Participant(contact_id=f"{number}{wide}", role=wide, name=wide, executive=True)
        take(state, at_ms, "meeting", participants=[who], mentions=["competitor:" + wide])
        take(state, at_ms, "meeting", scheduled_for=format_ms(at_ms + 99 * DAY))
    state.bins = [99] * 40
    assert len(dump(state)) <= MAX_STATE_BYTES


def test_a_usual_deal_is_small() -> None:
    state = opened(name="Fleet telemetry renewal", account="Nordwind Logistik", amount="148000.00", currency="EUR")
    for day in range(20):
        take(state, START_MS + day * DAY, participants=[PETRA])
    assert len(dump(state)) < 700


def test_fresh_features_are_named_so_that_only_they_are_judged_again() -> None:
    state = opened()
    fresh = apply_activity(state, activity("email", "inbound"), START_MS, START_MS)
    assert fresh & (1 << Age.BUYER)
    assert not fresh & (1 << Age.EXECUTIVE)
    assert apply_activity(state, activity("meeting", status="cancelled"), START_MS, START_MS) == EVERYTHING


@pytest.mark.parametrize(
    ("field", "value", "is_bad"),
    [
        ("amount", "NaN", True),
        ("amount", -5, True),
        ("amount", "lots", True),
        ("amount", 1e14, True),
        ("amount", "48000.00", False),
        ("amount", None, False),
        ("amount", " ", False),
        ("close_date", "31/12", True),
        ("close_date", "1999-12-31", True),
        ("close_date", 20260302, True),
        ("close_date", "2026-04-30", False),
        ("close_date", None, False),
    ],
)
def test_a_value_that_cant_be_is_unknown_and_remembered_as_bad(field: str, value: Any, is_bad: bool) -> None:
    state = opened(amount="1000", close_date="2026-06-30")
    update(state, START_MS + DAY, **{field: value})
    assert (state.has_bad_amount, state.has_bad_date) == (is_bad and field == "amount", is_bad and field != "amount")
    ((_, told),) = [(deal.deal_id, deal) for deal in facts_of([("006A1", state)], Deals()).deals]
    assert (told.has_bad_amount, told.has_bad_date) == (state.has_bad_amount, state.has_bad_date)
    if is_bad:
        assert (state.amount_minor is None) is (field == "amount")
        assert (state.close_date == "") is (field == "close_date")
    update(state, START_MS + 2 * DAY, **{field: "5" if field == "amount" else "2026-05-01"})
    assert not state.has_bad_amount
    assert not state.has_bad_date

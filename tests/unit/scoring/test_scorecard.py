from __future__ import annotations

import math
from typing import Any

import pytest

from events.times import format_ms
from events.types import Participant
from scoring import tables
from scoring.features import Terms, apply_activity, apply_change
from scoring.scorecard import FEATURES, NEVER_MS, Scorecard, is_silent, next_change_ms, pack, unpack
from scoring.stages import Process
from scoring.state import Age, DealState
from tests.unit.scoring.deals_log import DAY, PETRA, START_MS, activity, change

PROCESS = Process()
CARD = Scorecard(PROCESS)
TERMS = Terms(PROCESS)


def opened(**fields: Any) -> DealState:
    state = DealState()
    apply_change(state, change(op="create", **({"stage": "Negotiation"} | fields)), START_MS, TERMS)
    return state


def told(state: DealState, now_ms: int) -> dict[str, float]:
    CARD.judge(state, now_ms)
    return dict(CARD.contributions(state))


def test_tables_are_well_formed() -> None:
    for table in tables.TABLES:
        assert list(table.cuts) == sorted(set(table.cuts)), table.name
        assert len(table.points) == len(table.cuts) + 1, table.name
    assert [table.name for table in tables.AGES][Age.BUYER] == "buyer_silence"
    assert len(set(FEATURES)) == len(FEATURES) == 23


def test_silence_never_lowers_the_risk_as_it_grows() -> None:
    for table in (tables.SILENCE, tables.AGES[Age.BUYER], tables.AGES[Age.STAGE], tables.AGES[Age.DEAL]):
        lost = [points[0] for points in table.points]
        assert lost == sorted(lost), table.name


@pytest.mark.parametrize("points", [(0, 0), (5, -3), (-7, 16), (-32, -8), (200, 300)])
def test_packed_points_add_up_and_come_apart(points: tuple[int, int]) -> None:
    assert unpack(pack(points)) == points
    assert unpack(pack(points) + pack((3, -2))) == (points[0] + 3, points[1] - 2)


def test_a_new_deal_in_negotiation_by_hand() -> None:
    # Just opened: silence < 2 d −2, buyer < 4 d −3, no meeting +1, late stage −3: −7 points = −.875; base −1.
    state = opened()
    assert told(state, START_MS) == {"silence": -0.25, "buyer_silence": -0.375, "meeting": 0.125, "stage": -0.375}
    assert CARD.scores(state).p_lost == 1 / (1 + math.exp(1.875))


def test_a_silent_deal_by_hand() -> None:
    # 16 days after the buyer's only mail, sent a day after opening, in Negotiation (11 days usual, answers in 4):
    # silence 14–21 d: 4 + 4 for the rule; buyer 16/4 = 4× the usual: 7; stage age 17/11 = 1.55×: 3;
    # no meeting 1; no contact in 14 days 2; one person in 30 days 0; stage −3. Sum 18 points = 2.25; base −1.
    state = opened()
    apply_activity(state, activity(participants=[PETRA]), START_MS + DAY, START_MS + DAY)
    now = START_MS + 17 * DAY
    assert told(state, now) == {
        "silence": 1.0,
        "buyer_silence": 0.875,
        "stage_age": 0.375,
        "meeting": 0.125,
        "touches_14d": 0.25,
        "stage": -0.375,
    }
    assert CARD.scores(state).p_lost == 1 / (1 + math.exp(-1.25))
    assert CARD.scores(state).band == "high"
    assert is_silent(state, now)


@pytest.mark.parametrize("day", [13.999, 14.0])
def test_the_plain_rule_bites_on_the_fourteenth_day(day: float) -> None:
    state = opened()
    now = START_MS + round(day * DAY)
    assert is_silent(state, now) == (day >= 14)
    assert told(state, now)["silence"] == (1.0 if day >= 14 else 0.375)


def test_another_number_of_silent_days_moves_the_rule() -> None:
    card = Scorecard(PROCESS, silent_days=7)
    state = opened()
    card.judge(state, START_MS + 7 * DAY)
    assert dict(card.contributions(state))["silence"] == 0.25 + 0.5
    card.judge(state, START_MS + 7 * DAY - 1)
    assert dict(card.contributions(state))["silence"] == 0.25


@pytest.mark.parametrize(
    ("feature", "fields", "contribution"),
    [
        ("pushes", {"close_date": ("2026-05-01", "2026-05-20")}, 0.375),
        ("discount", {"amount": ("160.00", "148.00")}, 0.125),  # 7.5 % off
        ("discount", {"amount": ("160.00", "100.00")}, 0.375),  # 37.5 % off
        ("amount_change", {"amount": "200.00"}, -0.25),  # 25 % more
        ("regressions", {"stage": "Proposal"}, 0.5),
        ("owner_change", {"owner_id": "anton"}, 0.25),
        ("next_step", {"next_step": ""}, 0.25),
        ("next_step", {"next_step": "Call"}, -0.125),
    ],
)
def test_each_change_contributes_what_its_table_says(feature: str, fields: dict[str, Any], contribution: float) -> None:
    state = opened(amount="160.00", currency="EUR", close_date="2026-05-01", owner_id="lea")
    assert feature not in told(state, START_MS)
    apply_change(state, change(**fields), START_MS, TERMS)
    assert told(state, START_MS)[feature] == contribution


def test_an_executive_a_meeting_and_a_competitor_contribute() -> None:
    state = opened()
    boss = Participant(contact_id="cfo", executive=True)
    apply_activity(state, activity("meeting", participants=[boss], mentions=["Competitor"]), START_MS, START_MS)
    booked = activity("meeting", "outbound", scheduled_for=format_ms(START_MS + 5 * DAY))
    apply_activity(state, booked, START_MS, START_MS)
    found = told(state, START_MS)
    assert (found["executive"], found["meeting"], found["competitor"]) == (-0.375, -0.375, 0.625)
    found = told(state, START_MS + 40 * DAY)
    assert (found["executive"], found["meeting"], found["competitor"]) == (-0.25, 0.125, 0.375)


def test_contacts_of_the_last_days_are_counted_exactly() -> None:
    state = opened()
    for day in range(1, 7):
        apply_activity(state, activity("call", "outbound"), START_MS + day * DAY, START_MS + day * DAY)
    assert told(state, START_MS + 6 * DAY)["touches_7d"] == -0.25  # six
    # The first left the window of 7 days exactly 7 days after it was made: five are left.
    assert told(state, START_MS + 8 * DAY - 1)["touches_7d"] == -0.25
    assert told(state, START_MS + 8 * DAY)["touches_7d"] == -0.125


def test_a_deal_of_two_days_is_not_blamed_for_having_no_contacts() -> None:
    found = told(opened(), START_MS + 2 * DAY)
    assert not {"touches_7d", "touches_14d", "buyers_30d"} & set(found)


def test_p_slip_is_certain_once_the_close_date_has_passed() -> None:
    state = opened(close_date="2026-03-10")
    assert CARD.judge(state, START_MS).p_slip < 1
    assert CARD.judge(state, state.origins[Age.CLOSE] - 1).p_slip < 1
    assert CARD.judge(state, state.origins[Age.CLOSE]).p_slip == 1.0


def test_p_slip_by_hand() -> None:
    # Close in 60 days from Negotiation, which usually takes 11: pace −8 slip points; silence 0, buyer −1,
    # meeting 1; stage 0: −8 with the base −4 makes −12 points = −1.5.
    state = opened(close_date="2026-05-01")
    scores = CARD.judge(state, START_MS)
    late = 1 / (1 + math.exp(1.5))
    assert scores.p_slip == scores.p_lost + (1 - scores.p_lost) * late


def test_without_a_close_date_nothing_can_slip() -> None:
    scores = CARD.judge(opened(), START_MS)
    assert scores.p_slip == scores.p_lost


def test_p_lost_14d_and_p_won_by_follow_from_p_lost_by_hand() -> None:
    # z = −1.875 (see above): p14 = p × logistic(−1 − .9375); remaining 11 days in Negotiation.
    scores = CARD.judge(opened(), START_MS)
    p = 1 / (1 + math.exp(1.875))
    assert scores.p_lost_14d == p * (1 / (1 + math.exp(1.9375)))
    assert scores.p_won_by == {h: (1 - p) * (1 - 2 ** (-int(h) / 11)) for h in ("7", "14", "28")}


@pytest.mark.parametrize("days", range(-5, 60, 3))
def test_the_chances_of_winning_never_contradict_the_chance_to_slip(days: int) -> None:
    state = opened(close_date="2026-04-15")
    scores = CARD.judge(state, state.origins[Age.CLOSE] - days * DAY)
    won = scores.p_won_by
    assert 0 <= won["7"] <= won["14"] <= won["28"] <= 1 - scores.p_lost
    assert scores.p_lost <= scores.p_slip
    for horizon, p_won in won.items():
        if 0 < days <= int(horizon):
            assert p_won >= 1 - scores.p_slip
        elif days > int(horizon):
            assert p_won <= 1 - scores.p_slip


def test_time_alone_moves_the_score_when_it_was_foretold_and_not_before() -> None:
    state = opened(close_date="2026-04-15")
    apply_activity(state, activity(participants=[PETRA]), START_MS + DAY, START_MS + DAY)
    now = START_MS + DAY
    for _ in range(25):
        due = next_change_ms(CARD, state, now)
        before = list(state.bins)
        CARD.judge(state, due - 1)
        assert state.bins == before
        CARD.judge(state, due)
        assert state.bins != before
        now = due


def test_a_deal_that_nothing_can_move_any_more_has_no_next_change() -> None:
    state = opened(close_date="2026-03-10")
    assert next_change_ms(CARD, state, START_MS + 200_000 * DAY) >= NEVER_MS // 2


def test_a_deal_before_its_own_opening_is_scored() -> None:
    state = opened(close_date="2026-03-10")
    assert 0 < CARD.judge(state, START_MS - 30 * DAY).p_lost < 1

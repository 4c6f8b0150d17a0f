from __future__ import annotations

from scoring.features import apply_activity, apply_change
from scoring.scorecard import Scorecard
from scoring.state import Age, DealState, dump
from scoring.whatif import what_if
from tests.unit.scoring.deals_log import DAY, PETRA, START_MS, activity, change
from tests.unit.scoring.test_scorecard import CARD, TERMS


def silent_deal() -> DealState:
    state = DealState()
    fields = {"stage": "Negotiation", "close_date": "2026-04-20"}
    apply_change(state, change(op="create", **fields), START_MS, TERMS)
    apply_activity(state, activity(participants=[PETRA]), START_MS + DAY, START_MS + DAY)
    return state


def rows(state: DealState, now_ms: int, card: Scorecard = CARD) -> dict[str, tuple[float, float]]:
    return {row.key: (row.p_lost, row.p_slip) for row in what_if(card, state, now_ms)}


def test_now_is_the_score_itself_and_the_deal_is_left_alone() -> None:
    state, now = silent_deal(), START_MS + 17 * DAY
    scores = CARD.judge(state, now)
    before = dump(state)
    assert rows(state, now)["now"] == (scores.p_lost, scores.p_slip)
    assert dump(state) == before


def test_an_answer_is_worth_what_the_record_of_one_would_be() -> None:
    state, now = silent_deal(), START_MS + 17 * DAY
    CARD.judge(state, now)
    found = rows(state, now)["buyer_answers"]
    apply_activity(state, activity(participants=[PETRA]), now, now)
    state.has_new_facts = False  # the pause that ends here is not counted: it is the silence that was ended
    scores = CARD.judge(state, now)
    assert found == (scores.p_lost, scores.p_slip)


def test_seven_days_of_nothing_are_the_score_in_seven_days() -> None:
    state, now = silent_deal(), START_MS + 17 * DAY
    found = rows(state, now)["nothing"]
    scores = CARD.judge(state, now + 7 * DAY)
    assert found == (scores.p_lost, scores.p_slip)


def test_good_news_lowers_and_both_lower_most() -> None:
    found = rows(silent_deal(), START_MS + 17 * DAY)
    assert found["both"][0] < min(found["buyer_answers"][0], found["meeting_booked"][0]) < found["now"][0]


def test_a_pushed_date_raises_the_loss_and_lowers_the_slip() -> None:
    state = silent_deal()
    found = rows(state, state.origins[Age.CLOSE] - 3 * DAY)
    assert found["pushed"][0] > found["now"][0]


def test_a_deal_without_a_close_date_cannot_push_it_and_a_closed_one_has_no_rows() -> None:
    state = DealState()
    apply_change(state, change(op="create", stage="Demo"), START_MS, TERMS)
    assert "pushed" not in rows(state, START_MS)
    apply_change(state, change(stage="Closed Won"), START_MS, TERMS)
    assert what_if(CARD, state, START_MS) == []

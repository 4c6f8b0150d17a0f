from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from events.times import format_ms
from events.types import Participant
from scoring.features import Terms, apply_activity, apply_change
from scoring.reasons import Explainer, recommended_action, short_date, whom
from scoring.scorecard import BASE, Scorecard, logistic
from scoring.stages import Process
from scoring.state import DealState
from tests.unit.scoring.deals_log import DAY, PETRA, START_MS, activity, change

PROCESS = Process()
TERMS = Terms(PROCESS)
CARD = Scorecard(PROCESS)


def opened(**fields: Any) -> DealState:
    state = DealState()
    apply_change(state, change(op="create", **({"stage": "Negotiation"} | fields)), START_MS, TERMS)
    return state


def take(state: DealState, at_ms: int, *args: Any, **more: Any) -> None:
    apply_activity(state, activity(*args, **more), at_ms, at_ms)


def said(state: DealState, now_ms: int) -> dict[str, str]:
    CARD.judge(state, now_ms)
    return {reason.feature: reason.sentence for reason in Explainer(CARD).reasons(state, now_ms)}


def busy() -> DealState:
    """A deal to which everything has happened."""
    state = opened(amount="160000", currency="EUR", close_date="2026-03-27", owner_id="lea", next_step="Call")
    take(state, START_MS + DAY, participants=[PETRA], mentions=["competitor: Fernbrook"])
    apply_change(state, change(amount="148000", close_date="2026-04-10"), START_MS + 2 * DAY, TERMS)
    apply_change(state, change(stage="Proposal", owner_id="anton"), START_MS + 3 * DAY, TERMS)
    take(state, START_MS + 3 * DAY, "meeting", "outbound", scheduled_for=format_ms(START_MS + 9 * DAY))
    take(state, START_MS + 4 * DAY, "meeting", status="cancelled")
    return state


@pytest.mark.parametrize("day", [4, 10, 17.5, 25, 40, 75, 200])
def test_p_lost_is_the_logistic_of_base_and_all_contributions_to_the_last_bit(day: float) -> None:
    state = busy()
    now = START_MS + int(day * DAY)
    scores = CARD.judge(state, now)
    reasons = Explainer(CARD).reasons(state, now)
    assert scores.p_lost == logistic(BASE + sum(reason.contribution for reason in reasons))
    assert scores.p_lost == logistic(sum((r.contribution for r in reversed(reasons)), start=BASE))


def test_sentences_hold_their_figures() -> None:
    found = said(busy(), START_MS + 17 * DAY)
    assert found["buyer_silence"] == "Buyer silent for 16 days; in Proposal buyers usually answer within 4."
    assert found["competitor"] == "A competitor (Fernbrook) was named 16 days ago."
    assert found["pushes"] == "The close date was pushed once, by 14 days."
    assert found["discount"] == "The amount was cut from €160,000 to €148,000."
    assert found["meeting"] == "No meeting is booked; the one on 11 Mar was cancelled."
    assert found["regressions"] == "It went back to an earlier stage once."
    assert found["owner_change"] == "The deal changed hands 14 days ago."
    assert found["silence"] == "Nothing has happened on the deal for 14 days."
    assert found["touches_14d"] == "No contact with the buyer in 14 days."


def test_a_deal_whose_buyer_never_wrote_says_so() -> None:
    found = said(opened(), START_MS + 9 * DAY)
    assert (
        found["buyer_silence"] == "The buyer has not written in 9 days; in Negotiation buyers usually answer within 4."
    )


def test_an_overdue_deal_names_the_date() -> None:
    state = opened(close_date="2026-03-10")
    assert said(state, START_MS + 9 * DAY)["close_date"] == "The close date, 2026-03-10, passed 1 day ago."


def test_reasons_that_raise_come_first_and_the_largest_of_each_first() -> None:
    state = busy()
    now = START_MS + 30 * DAY
    CARD.judge(state, now)
    found = [reason.contribution for reason in Explainer(CARD).reasons(state, now)]
    raising = [contribution for contribution in found if contribution > 0]
    lowering = [contribution for contribution in found if contribution < 0]
    assert found == raising + lowering
    assert raising == sorted(raising, reverse=True)
    assert lowering == sorted(lowering)
    assert 0.0 not in found


def test_what_was_remembered_changes_no_sentence() -> None:
    explainer = Explainer(CARD)
    for day in (5, 17, 5, 40, 17):
        for make in (busy, opened):
            state = make()
            now = START_MS + day * DAY + 1
            CARD.judge(state, now)
            assert explainer.reasons(state, now) == Explainer(CARD).reasons(state, now)


def test_the_action_follows_the_strongest_reason_and_names_who_decides() -> None:
    state = opened()
    take(state, START_MS, participants=[PETRA])
    take(state, START_MS + DAY, "call", "outbound", participants=[Participant(contact_id="003D", role="user")])
    now = START_MS + 18 * DAY
    CARD.judge(state, now)
    reasons = Explainer(CARD).reasons(state, now)
    assert reasons[0].feature == "silence"
    assert recommended_action(state, reasons) == "Call Petra Vogel, economic buyer."


@pytest.mark.parametrize(
    ("who", "text"),
    [
        ([], "the buyer"),
        ([Participant(contact_id="003C9")], "003C9"),
        ([Participant(contact_id="003C9", executive=True)], "003C9 (executive)"),
        ([Participant(contact_id="1", role="user"), Participant(contact_id="2", role="champion")], "2 (champion)"),
        ([PETRA, Participant(contact_id="2", role="champion")], "Petra Vogel (economic buyer)"),
    ],
)
def test_whom_to_talk_to_is_named_as_well_as_it_is_known(who: list[Participant], text: str) -> None:
    state = opened()
    take(state, START_MS, participants=who)
    assert whom(state) == text


def test_a_deal_without_a_raising_reason_needs_nothing() -> None:
    assert recommended_action(opened(), []) == "Nothing needs doing."


@pytest.mark.parametrize("at_ms", [0, START_MS, START_MS + 300 * DAY, 951_782_400_000, 4_102_358_400_000])
def test_short_dates_agree_with_the_calendar(at_ms: int) -> None:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    assert short_date(at_ms) == f"{moment.day} {moment:%b}"

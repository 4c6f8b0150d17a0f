from __future__ import annotations

from typing import Any

import pytest

from events.types import PortfolioScore, Reason
from scoring.alerts import MAX_DEALS, SPARE_DEALS, Book, Order, decide, dump, kind_of, load, take
from tests.unit.scoring.deals_log import DAY, START_MS


def score(deal_id: str, p_lost: float, amount: float | None = 1000.0, **more: Any) -> PortfolioScore:
    fields: dict[str, Any] = {
        "deal_id": deal_id,
        "manager_id": "jo",
        "owner_id": "lea",
        "p_lost": p_lost,
        "p_slip": p_lost,
        "p_lost_14d": p_lost / 2,
        "is_open": True,
        "amount_minor": None if amount is None else int(amount * 100),
        "currency": "EUR",
    }
    return PortfolioScore(**(fields | more))


class Desk:
    """A manager's book with its order, and a clock."""

    def __init__(self) -> None:
        self.book = Book()
        self.order = Order(self.book)
        self.now_ms = START_MS

    def take(self, *scores: PortfolioScore) -> None:
        for one in scores:
            take(self.book, self.order, one, self.now_ms)

    def decide(self, *scores: PortfolioScore, days: float = 0) -> list[str]:
        """Takes scores after some days; returns the deals that an alert is given for."""
        self.now_ms += int(days * DAY)
        self.take(*scores)
        told, self.is_new = decide(self.book, self.order, self.now_ms)
        return [one.row.score.deal_id for one in told]


def test_the_five_are_those_of_the_highest_value() -> None:
    desk = Desk()
    desk.decide(*(score(f"d{number}", 0.6, 1000 * (number + 1)) for number in range(8)))
    assert desk.book.top == ["d7", "d6", "d5", "d4", "d3"]


def test_the_value_by_hand() -> None:
    # Never seen: reference .35. Stake .6: new risk .25; fully savable; 1,000 € → 250.
    # Stake .8 at p_lost .8: new .45; savable (.95 − .8) / .25 = .6; 1,000 € → 270.
    # p_lost .4, p_slip .9: stake .525, new .175 → 175.
    desk = Desk()
    desk.take(score("a", 0.6), score("b", 0.8), score("c", 0.4, p_slip=0.9))
    assert [round(desk.book.rows[key].value, 6) for key in "abc"] == [250.0, 270.0, 175.0]


def test_standing_risk_counts_a_quarter_of_new_risk() -> None:
    desk = Desk()
    desk.take(score("a", 0.6))
    for _ in range(3):
        desk.now_ms += 8 * DAY
        desk.take(score("a", 0.6))
    assert round(desk.book.rows["a"].value, 6) == 150.0  # .6 / 4 × 1,000


def test_a_deal_enters_at_one_half_and_leaves_below_thirty_five() -> None:
    desk = Desk()
    assert desk.decide(score("a", 0.49)) == []
    assert desk.decide(score("a", 0.50)) == ["a"]
    desk.decide(score("a", 0.36))
    assert desk.book.top == ["a"]
    desk.decide(score("a", 0.34))
    assert desk.book.top == []
    desk.decide(score("a", 0.49))
    assert desk.book.top == []


def test_a_deal_is_not_alerted_again_within_seven_days() -> None:
    desk = Desk()
    assert desk.decide(score("a", 0.6)) == ["a"]
    desk.decide(score("a", 0.2), days=1)
    assert desk.decide(score("a", 0.6), days=5.9) == []
    desk.decide(score("a", 0.2))
    assert desk.decide(score("a", 0.6), days=0.1) == ["a"]


def test_a_new_strong_reason_arms_the_alert_again() -> None:
    desk = Desk()
    silent = Reason("silence", 1.0, "…")
    weak = Reason("pushes", 0.375, "…")
    strong = Reason("competitor", 0.625, "…")
    assert desk.decide(score("a", 0.6, reasons=[silent])) == ["a"]
    assert desk.decide(score("a", 0.7, reasons=[silent, weak]), days=1) == []
    assert desk.decide(score("a", 0.8, reasons=[silent, strong]), days=1) == ["a"]
    assert desk.decide(score("a", 0.81, reasons=[silent, strong]), days=1) == []


def test_a_deal_that_stays_is_not_repeated_every_week() -> None:
    desk = Desk()
    assert desk.decide(score("a", 0.6)) == ["a"]
    assert desk.decide(score("a", 0.61), days=30) == []


def test_hopeless_deals_go_to_the_close_out_list_and_come_back_below_ninety() -> None:
    desk = Desk()
    desk.decide(score("a", 0.95), score("b", 0.96, 5000.0), score("c", 0.6))
    assert desk.book.top == ["c"]
    assert [one.deal_id for one in desk.book.shown.close_out] == ["b", "a"]
    desk.decide(score("a", 0.91))
    assert desk.book.shown.close_out_deals == 2
    desk.decide(score("a", 0.89))
    assert [one.deal_id for one in desk.book.shown.close_out] == ["b"]
    assert desk.book.top == ["c", "a"]


def test_a_deal_that_is_not_open_any_more_leaves_everything() -> None:
    desk = Desk()
    desk.decide(score("a", 0.6), score("b", 0.97))
    desk.decide(score("a", 0.0, is_open=False), score("b", 0.0, is_open=False))
    assert (desk.book.top, desk.book.rows, desk.order.watched, desk.order.hopeless) == ([], {}, [], [])
    assert desk.book.known_deals == 0
    assert desk.is_new


def test_what_is_shown_is_new_only_when_it_changed() -> None:
    desk = Desk()
    desk.decide(score("a", 0.6))
    assert desk.is_new
    desk.decide(score("a", 0.6))
    assert not desk.is_new
    desk.decide(score("a", 0.61))
    assert desk.is_new


def test_amounts_of_five_currencies_are_ranked_by_their_rough_worth() -> None:
    desk = Desk()
    amounts = [("yen", 1_000_000, "JPY"), ("eur", 9_000, "EUR"), ("usd", 9_000, "USD"), ("sek", 90_000, "SEK")]
    for deal, amount, currency in amounts:
        minor = amount if currency == "JPY" else amount * 100
        desk.take(score(deal, 0.6, amount_minor=minor, currency=currency))
    desk.take(score("other", 0.6, 7_000.0, currency="XYZ"))
    desk.decide()
    assert desk.book.top == ["eur", "sek", "usd", "other", "yen"]  # 9,000, 8,100, 8,100, 7,000, 6,000


def test_an_unknown_amount_counts_like_the_mean_of_the_known() -> None:
    desk = Desk()
    desk.take(score("none", 0.6, None))
    assert round(desk.book.rows["none"].value) == 2_500  # nothing known: 10,000
    desk.take(score("a", 0.2, 1000.0), score("b", 0.2, 3000.0), score("none", 0.6, None))
    assert round(desk.book.rows["none"].value) == 500  # the mean of 1,000 and 3,000


@pytest.mark.parametrize(
    ("p_lost", "p_slip", "reasons", "kind"),
    [
        (0.6, 0.7, [Reason("silence", 1.0, "")], "deal_silent"),
        (0.6, 0.7, [Reason("silence", 0.375, "")], "deal_risk"),
        (0.6, 0.7, [Reason("pushes", 0.5, ""), Reason("silence", 1.0, "")], "deal_risk"),
        (0.4, 0.9, [], "deal_slip"),
        (0.6, 0.9, [], "deal_risk"),
    ],
)
def test_an_alert_says_what_it_is_about(p_lost: float, p_slip: float, reasons: list[Reason], kind: str) -> None:
    assert kind_of(score("a", p_lost, p_slip=p_slip, reasons=reasons)) == kind


def test_a_book_is_bounded_and_keeps_what_is_worth_most() -> None:
    desk = Desk()
    for number in range(MAX_DEALS + SPARE_DEALS):
        desk.take(score(f"d{number:05d}", 0.6, number + 1.0))
    assert len(desk.book.rows) == len(desk.order.watched) == MAX_DEALS
    assert min(desk.book.rows) == f"d{SPARE_DEALS:05d}"


def test_a_book_comes_back_from_its_bytes_with_its_order() -> None:
    desk = Desk()
    desk.decide(*(score(f"d{number}", 0.5 + number / 15, 1000 * number + 1) for number in range(8)))
    back = load(dump(desk.book))
    assert back == desk.book
    order = Order(back)
    assert (sorted(order.watched), sorted(order.hopeless)) == (desk.order.watched, desk.order.hopeless)
    assert order.watched == desk.order.watched

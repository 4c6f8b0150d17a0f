"""Numbers, times, money and states as pages say them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from console.web import words as w
from events.times import DAY_MS, parse_ms

NOW = parse_ms("2026-03-04T09:20:10+01:00")  # a Wednesday
CLOCK = w.Clock(NOW, ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-03-04T09:20:05+01:00", "09:20:05"),
        ("2026-03-03T17:42:00+01:00", "Tue 17:42"),
        ("2026-02-24T12:00:00+01:00", "24 Feb"),
        ("2025-12-24T12:00:00+01:00", "24 Dec 2025"),
        ("2026-03-03T23:30:00Z", "00:30:00"),  # in the page's zone it is today
    ],
)
def test_a_time_is_as_short_as_its_distance_allows(text: str, shown: str) -> None:
    assert CLOCK.time(parse_ms(text)) == shown


def test_an_unknown_time_is_a_dash() -> None:
    assert CLOCK.time(None) == "–"


def test_the_zone_is_named_with_its_distance() -> None:
    assert (CLOCK.zone_name, CLOCK.zone_offset) == ("CET", "UTC+1")
    assert (w.Clock(NOW).zone_name, w.Clock(NOW).zone_offset) == ("UTC", "")
    assert w.Clock(NOW, ZoneInfo("Asia/Kolkata")).zone_offset == "UTC+5:30"
    assert w.Clock(NOW, ZoneInfo("America/New_York")).zone_offset == "UTC−5"


def test_a_date_of_the_crm_says_how_far_it_is() -> None:
    assert CLOCK.date_text("2026-03-27") == "Fri 27 Mar"
    assert CLOCK.in_days("2026-03-27") == "in 23 days"
    assert CLOCK.in_days("2026-03-04") == "today"
    assert CLOCK.in_days("2026-03-03") == "1 day ago"
    assert (CLOCK.date_text("soon"), CLOCK.in_days("soon")) == ("–", "")


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (41, "41 ms"),
        (1_500, "1 s"),
        (240_000, "4 min"),
        (5 * 3_600_000, "5 h"),
        (DAY_MS, "24 h"),
        (3 * DAY_MS, "3 days"),
    ],
)
def test_a_span_has_one_unit(ms: int, shown: str) -> None:
    assert w.span(ms) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(1318, "1,318"), (0, "0"), (-4, "−4"), (2.5, "2.5"), (38.0, "38"), (None, "–")]
)
def test_a_number_has_thousands_a_real_minus_and_a_dash_for_unknown(value: float | None, shown: str) -> None:
    assert w.number(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.64, "64 %"), (0.0, "0 %"), (0.001, "< 1 %"), (0.998, "> 99 %"), (1.0, "100 %"), (None, "–")],
)
def test_a_percentage_never_claims_certainty_that_is_not_there(share: float | None, shown: str) -> None:
    assert w.percent(share) == shown


def test_points_have_a_sign() -> None:
    assert [w.points(change) for change in (0.17, -0.04, 0.001, None)] == ["+17", "−4", "0", "–"]


@pytest.mark.parametrize(
    ("probability", "step"), [(None, 1), (0.0, 1), (0.199, 1), (0.20, 2), (0.35, 3), (0.5, 4), (0.6, 5), (1.0, 5)]
)
def test_risk_has_five_steps(probability: float | None, step: int) -> None:
    assert w.risk_step(probability) == step


def test_money_is_in_whole_units_with_its_sign_or_code() -> None:
    assert w.money_minor(14_800_000, "EUR") == "€148,000"
    assert w.money_minor(None, "EUR") == "–"
    assert "1,500" in w.money_minor(1_500, "JPY")
    assert "SEK" in w.money_minor(150_000, "SEK")


def test_a_state_that_nobody_knows_is_never_shown_as_working() -> None:
    assert w.state("paused?").word == "Blind"


def test_what_is_known_to_be_empty_is_told_from_what_is_not() -> None:
    assert w.value(None) is None
    assert w.value("") is None
    assert w.value(0) == "0"
    assert w.value(False) == "no"
    assert w.value(["a", 1]) == '["a", 1]'


def test_people_are_shown_without_our_prefixes() -> None:
    assert w.person("user:005B2") == "005B2"
    assert w.person(None) == "–"
    assert w.initials("Maya Lindqvist") == "ML"
    assert w.initials("") == "?"

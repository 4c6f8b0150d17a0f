from decimal import Decimal
from typing import Any

import pytest

from scoring.money import decimal_text, parse_minor, rough_euros, shown


@pytest.mark.parametrize(
    ("value", "currency", "minor"),
    [
        ("48000.00", "EUR", 4_800_000),
        ("48000", "JPY", 48_000),
        ("1.2345", "KWD", 1_234),  # 1.2345 KWD lies half way; half even gives 1.234
        (48000, "EUR", 4_800_000),
        (0.1, "EUR", 10),
        (Decimal("2.5"), "EUR", 250),
        ("0", "EUR", 0),
        ("1e3", "EUR", 100_000),
    ],
)
def test_an_amount_is_read_into_minor_units_of_its_currency(value: Any, currency: str, minor: int) -> None:
    assert parse_minor(value, currency) == minor


@pytest.mark.parametrize(
    "value", ["-5.00", "NaN", "Infinity", "12 000", "", None, True, [], "1e30", "9" * 41, "€5", float("nan")]
)
def test_what_is_no_sound_amount_is_unknown(value: Any) -> None:
    assert parse_minor(value, "EUR") is None


def test_minor_units_become_the_decimal_string_they_were() -> None:
    assert decimal_text(4_800_000, "EUR") == "48000.00"
    assert decimal_text(5, "EUR") == "0.05"
    assert decimal_text(48_000, "JPY") == "48000"
    assert decimal_text(1_234, "KWD") == "1.234"


def test_sentences_show_whole_units_with_a_sign_where_the_currency_has_one() -> None:
    assert shown(14_800_000, "EUR") == "€148,000"
    assert shown(14_800_000, "SEK") == "148,000 SEK"
    assert shown(148_000, "JPY") == "¥148,000"


def test_amounts_of_five_currencies_become_comparable() -> None:
    amounts = [(10_000_000, "JPY"), (10_000_000, "EUR"), (10_000_000, "USD"), (10_000_000, "SEK"), (10_000_000, "XYZ")]
    assert [round(rough_euros(minor, unit)) for minor, unit in amounts] == [60_000, 100_000, 90_000, 9_000, 100_000]

"""Money: integer minor units inside, decimal strings outside, and rough rates for ranking only."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

MAX_MAJOR = 10**13
"""An amount beyond this is a slip of the keyboard: unknown."""

_DIGITS = dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV"), 0)
_DIGITS |= dict.fromkeys(("XAF", "XOF", "XPF"), 0)
_DIGITS |= dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)
_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹"}

ROUGH_EUR: Mapping[str, float] = {
    "EUR": 1.0, "USD": 0.9, "GBP": 1.15, "CHF": 1.05, "SEK": 0.09, "NOK": 0.085, "DKK": 0.134, "PLN": 0.23,
    "CZK": 0.04, "HUF": 0.0025, "JPY": 0.006, "CNY": 0.125, "INR": 0.0105, "KRW": 0.00065, "CAD": 0.65,
    "AUD": 0.6, "NZD": 0.54, "BRL": 0.16, "MXN": 0.05, "ZAR": 0.05, "SGD": 0.68, "HKD": 0.115, "TRY": 0.025,
    "AED": 0.245, "ILS": 0.25,
}  # fmt: skip
"""What one unit is worth in euros, to the order of magnitude: it ranks deals of several currencies, nothing else."""


def digits(currency: str) -> int:
    """How many decimals a currency's minor unit has (ISO 4217; 2 where it is not known)."""
    return _DIGITS.get(currency, 2)


def parse_minor(value: Any, currency: str) -> int | None:
    """An amount as the CRM wrote it in minor units; None when it is no sound amount.

    None for: no number, NaN, infinite, negative, or beyond ``MAX_MAJOR``. Below a minor unit it is rounded half even.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        return None
    if isinstance(value, str) and len(value) > 40:
        return None
    try:
        amount = Decimal(str(value))
        if not amount.is_finite() or amount < 0 or amount > MAX_MAJOR:
            return None
        return int(amount.scaleb(digits(currency)).quantize(Decimal(1), ROUND_HALF_EVEN))
    except InvalidOperation:
        return None


def decimal_text(minor: int, currency: str) -> str:
    """The decimal string of an amount: 4800000 EUR → "48000.00"."""
    places = digits(currency)
    return f"{Decimal(minor).scaleb(-places):.{places}f}"


def shown(minor: int, currency: str) -> str:
    """An amount as a sentence shows it, in whole units: "€148,000", "148,000 SEK"."""
    whole = round(minor / 10 ** digits(currency))
    sign = _SIGNS.get(currency)
    if sign:
        return f"{sign}{whole:,}"
    return f"{whole:,} {currency}" if currency else f"{whole:,}"


def rough_euros(minor: int, currency: str) -> float:
    """About how much an amount is worth; an unknown currency counts like the euro. For ranking only."""
    scale: int = 10 ** digits(currency)
    return minor / scale * ROUGH_EUR.get(currency, 1.0)

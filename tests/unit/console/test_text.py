"""Text of agents is made harmless, and plain text stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.text import MARK, cell, plain

FORBIDDEN = {chr(code) for code in (*range(32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


@pytest.mark.parametrize("text", ["Opportunity 006A1", "Zoë – €148,000", "日本語", "emoji 🎉", "=1+2", "a_b*c~d"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", f"{MARK}[31mred{MARK}[0m"),
        ("invoice\u202egnp.exe", f"invoice{MARK}gnp.exe"),
        ("a\u2066b\u2069", f"a{MARK}b{MARK}"),
        ("zero\u200bwidth", f"zero{MARK}width"),
        ("tag\U000e0041", f"tag{MARK}"),
        ("two\nlines\ttab", "two⏎lines tab"),
        ("no\u00a0break", "no break"),
        ("\u3164", MARK),
    ],
)
def test_what_steers_or_hides_becomes_visible(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_long_text_is_cut() -> None:
    assert plain("x" * 300) == "x" * 255 + "…"
    assert plain("x" * 256) == "x" * 256
    assert plain("abcdef", 3) == "ab…"


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)"])
def test_a_cell_is_no_formula(text: str) -> None:
    assert cell(text) == "'" + text
    assert cell("Opportunity") == "Opportunity"


@given(st.text())
def test_nothing_forbidden_gets_through(text: str) -> None:
    assert not FORBIDDEN & set(plain(text))
    assert plain(plain(text)) == plain(text)

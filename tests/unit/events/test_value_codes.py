"""What changes look like, as numbers worked out by hand."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from events.types import After, AgentAction
from events.value_codes import MOST_CHANGES, NUMBER, TEXT, Value, changes_of, codes_of

TODAY = 20_458  # 2026-01-05


def test_an_amount_that_loses_a_digit() -> None:
    form, value, step = codes_of("48000.00", "4800.00", TODAY)
    assert form == 2 << 12 | 6  # a number, in a text, with decimals
    assert value == 1 << 48 | 4096 + 4 * 6  # 4800 = .59 * 2**13
    assert step == 16 + 2  # a tenth: not below .01 and not below .1


@pytest.mark.parametrize(
    ("before", "after", "value"),
    [
        (16_000, 17_000, 1),  # the next power of four, by a small step
        ("-80.5", "-41", 1),
        (100, 50, 1),
        (100, 49, 4096 + 4 * 3),
        (100, 200, 4096 + 4 * 4),
        (100, -100, 4096 + 4 * 3 + 1),
        (0, 5, 4096 + 4 * 1),
        (None, 5, 4096 + 4 * 1),
        (5, 0, 4096 + 2),
    ],
)
def test_a_number_within_a_factor_of_two_kept_its_size(before: object, after: object, value: int) -> None:
    assert codes_of(before, after, TODAY)[1] == 1 << 48 | value


def test_a_field_that_becomes_blank_and_one_that_was() -> None:
    assert codes_of("Proposal", None, TODAY) == (0, 0, 1)
    assert codes_of("Proposal", "", TODAY) == (0, 0, 1)
    assert codes_of(None, True, TODAY) == (1 << 12 | 1 << 10, 2, 1)


@pytest.mark.parametrize(("day", "code"), [("2026-01-05", 0), ("2026-01-12", 3), ("2026-01-04", 33), ("2027-01-05", 9)])
def test_a_date_is_seen_from_today(day: str, code: int) -> None:
    assert codes_of("2026-01-05", day, TODAY) == (3 << 12 | 1, 2 << 48 | code, 64 + code)


def test_texts_differ_by_letters_and_length() -> None:
    new = Value("Call 2 legal")  # 12 bytes: four bits; a digit, small, large, a space
    assert (new.kind, new.form) == (TEXT, (1 | 2 | 4 | 8) << 4 | 4)
    assert Value("x" * 64).hash != Value("y" * 64).hash
    assert Value("x" * 65).hash == Value("y" * 65).hash


@pytest.mark.parametrize("text", ["007", "+49", "1.2345", "1234567890123", ".5", "5.", "-", "1e5"])
def test_what_is_no_number_is_a_text(text: str) -> None:
    assert Value(text).kind == TEXT


def test_numbers_of_any_size_have_a_code() -> None:
    assert Value(10**400).kind == NUMBER
    assert codes_of(0, 5, TODAY)[2] == 3
    assert codes_of(-2, 5, TODAY)[2] == 4
    assert codes_of("5", 5, TODAY)[2] == 16 + 6  # 1: above .95, below 1.05


def test_changes_come_in_order_and_are_few() -> None:
    changes = {"b": {"x": (1, 2)}, "a": {"z": After(3), "y": (4, 5)}}
    data = AgentAction(agent_id="a", action="record.update", outcome="ok", changes=changes)
    assert [(name, after) for name, _, after in changes_of(data)] == [("y", 5), ("z", 3), ("x", 2)]
    many = AgentAction(
        agent_id="a", action="record.update", outcome="ok", changes={f"r{n}": {"x": (1, 2)} for n in range(40)}
    )
    assert len(list(changes_of(many))) == MOST_CHANGES
    assert list(changes_of(AgentAction(agent_id="a", action="x", outcome="ok", changes=UNSET))) == []

"""Whatever is in a file: it is a policy, or mistakes in words; nothing else happens."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from governance.policy import PolicyError, load
from governance.settings_errors import Problem
from tests.unit.governance.policy.policies import FIXTURES, Dice, texts

GOOD = re.sub(r"(?m)^# .*\n", "", (FIXTURES / "owner-unknown.toml").read_text(encoding="utf-8"))
WORDS = [
    "0",
    "-1",
    "true",
    '""',
    '"*"',
    "[]",
    "{}",
    "[[]]",
    "1979-05-27",
    "nan",
    '"\\u202e"',
    "1e400",
    "[{}]",
    '{"" = 1}',
]


def damaged(dice: Dice) -> str:
    """A good file with a value, a line or a name made wrong."""
    lines = GOOD.split("\n")
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(lines))
        name, equals, _ = lines[at].partition(" = ")
        lines[at] = dice.choice(
            (
                f"{name}{equals}{dice.choice(WORDS)}" if equals else f"[{dice.choice(WORDS)}]",
                f"{name}x{equals}1" if equals else "",
                "",
                dice.choice(lines),
            )
        )
    return "\n".join(lines)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**48).map(Dice))
def test_a_damaged_file_is_read_or_refused_in_words(dice: Dice) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        load("policy.toml", texts(damaged(dice)))
    except PolicyError as refused:
        problems = refused.problems
        assert problems
    assert all(one.what and one.hint and str(one).isprintable() for one in problems)

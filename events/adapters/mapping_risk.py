"""The ``[risk]`` table of a mapping: what ``tripline deals backtest`` may learn from, in the log's own words."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Name = Annotated[str, Meta(min_length=1, max_length=256)]


class State(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose move it is. A case comes into it by an activity of ``begins``, if it is in one of ``after`` then (empty:
    whatever it is in); the first state that fits, in the order of the file, is taken. ``move`` is who has to act."""

    name: Name
    begins: list[Name]
    after: list[Name] = []
    move: Literal["us", "buyer", ""] = ""


class Mark(Struct, frozen=True, forbid_unknown_fields=True):
    """Activities to remember: how many, and the days since the last; with ``first``, since the first as well; with
    ``by_state``, by whose move it is, too. ``answers`` names the mark that it answers: adds the days that took."""

    activities: list[Name]
    first: bool = False
    by_state: bool = False
    answers: str = ""


class Balance(Struct, frozen=True, forbid_unknown_fields=True):
    """How many are open: those that ``opens`` began less those that ``closes`` ended (never below 0)."""

    opens: list[Name]
    closes: list[Name]


class Risk(Struct, frozen=True, forbid_unknown_fields=True):
    """``first_state`` is that of a new case; ``buyer`` are the buyer's moves (default: inbound touches)."""

    first_state: Name = "early"
    states: list[State] = []
    marks: dict[Name, Mark] = {}
    balances: dict[Name, Balance] = {}
    buyer: list[Name] = []

"""How an event log's activities become a deal's stages, touches and outcome: one TOML file a log.

See ``docs/examples/bpic2017.toml`` for a complete one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

from events.adapters.mapping_risk import Balance, Mark, Name, Risk, State
from events.errors import BadEvent, BadReason


class Columns(Struct, frozen=True, forbid_unknown_fields=True):
    """The log's columns (CSV header names; for XES attribute keys, those of the trace with ``case:`` before)."""

    case: Name
    activity: Name
    timestamp: Name
    owner: str = ""
    amount: str = ""
    name: str = ""
    close_date: str = ""


class Clock(Struct, frozen=True, forbid_unknown_fields=True):
    """``zone`` (IANA name) holds for timestamps without one; ``format`` is strptime's, empty for ISO 8601."""

    zone: str = "UTC"
    format: str = ""


class Touch(Struct, frozen=True, forbid_unknown_fields=True):
    """An activity that is a contact or work on the deal."""

    kind: Literal["email", "call", "meeting", "task", "note"]
    direction: Literal["inbound", "outbound", "internal"]


class Outcome(Struct, frozen=True, forbid_unknown_fields=True):
    """Activities that end a deal. The first of them decides; nothing at or after it is used."""

    won: list[Name]
    lost: list[Name]
    won_stage: Name = "Closed Won"
    lost_stage: Name = "Closed Lost"


class Mapping(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole mapping file. ``other`` says what an activity is that no table names: an internal task, or nothing."""

    source: Name
    columns: Columns
    outcome: Outcome
    stages: dict[str, Name] = {}
    touches: dict[str, Touch] = {}
    ignore: list[str] = []
    other: Literal["task", "ignore"] = "task"
    time: Clock = Clock()
    system: Name = "eventlog"
    object: Name = "Opportunity"
    first_stage: Name = "New"
    currency: str = ""
    risk: Risk = Risk()


def parse_mapping(text: str, where: str = "mapping.toml") -> Mapping:
    """The mapping of a TOML text. Raises BadEvent, whose message names ``where`` and the key."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise _bad(where, "", f"not TOML: {problem}") from None
    try:
        mapping = msgspec.convert(tables, Mapping)
    except msgspec.ValidationError as problem:
        raise _bad(where, "", _with_present(_with_suggestion(str(problem)), tables)) from None
    zone_of(mapping, where)
    twice = _named_twice(mapping)
    if twice:
        raise _bad(where, twice[0], f"the activity {twice[0]!r} is in {twice[1]} and in {twice[2]}; keep one")
    _check_risk(mapping.risk, where)
    return mapping


def zone_of(mapping: Mapping, where: str = "mapping.toml") -> ZoneInfo:
    """The time zone of a mapping. Raises BadEvent when there is no such zone."""
    try:
        return ZoneInfo(mapping.time.zone)
    except (ZoneInfoNotFoundError, ValueError):
        message = f"{mapping.time.zone!r} is no IANA time zone such as Europe/Amsterdam"
        raise _bad(where, "time.zone", message) from None


def _named_twice(mapping: Mapping) -> tuple[str, str, str] | None:
    places: dict[str, str] = {}
    tables: dict[str, Iterable[str]] = {
        "stages": mapping.stages,
        "touches": mapping.touches,
        "ignore": mapping.ignore,
        "outcome.won": mapping.outcome.won,
        "outcome.lost": mapping.outcome.lost,
    }
    for table, names in tables.items():
        for name in names:
            if name in places:
                return name, places[name], table
            places[name] = table
    return None


def _check_risk(risk: Risk, where: str) -> None:
    """States and marks name each other: each name must exist."""
    states = {risk.first_state, *(state.name for state in risk.states)}
    for number, state in enumerate(risk.states, 1):
        for name in state.after:
            if name not in states:
                place = f"risk.states[{number}].after"
                raise _bad(where, place, f"there is no state {name!r}; there are {', '.join(sorted(states))}")
    for name, mark in risk.marks.items():
        if mark.answers and mark.answers not in risk.marks:
            place, have = f"risk.marks.{name}.answers", ", ".join(sorted(risk.marks))
            raise _bad(where, place, f"there is no mark {mark.answers!r}; there are {have}")


def _with_suggestion(text: str) -> str:
    """A decoder's complaint, with the key that was probably meant."""
    unknown = text.partition("unknown field `")[2].partition("`")[0]
    tables = (Mapping, Columns, Outcome, Clock, Risk, State, Mark, Balance)
    known = {name for table in tables for name in table.__struct_fields__}
    near = difflib.get_close_matches(unknown, known, 1) if unknown else []
    return f"{text}; did you mean {near[0]}?" if near else text


def _with_present(text: str, tables: dict[str, Any]) -> str:
    """A complaint about a missing key, with the keys that are there."""
    if "missing required field" not in text:
        return text
    found: Any = tables
    for key in text.rpartition(" - at `$.")[2].rstrip("`").split(".") if " - at `$." in text else []:
        found = found.get(key, {}) if isinstance(found, dict) else {}
    have = ", ".join(found) if isinstance(found, dict) and found else "nothing"
    return f"{text}; there is: {have}"


def _bad(where: str, field: str, message: str) -> BadEvent:
    place = f"{where}: {field}" if field else where
    return BadEvent(BadReason.BAD_VALUE, f"{place}: {message}", field)

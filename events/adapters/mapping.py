"""How an event log's activities become a deal's stages, touches and outcome: one TOML file a log.

See ``docs/examples/bpic2017.toml`` for a complete one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from events.errors import BadEvent, BadReason

Name = Annotated[str, Meta(min_length=1, max_length=256)]


class Columns(Struct, frozen=True, forbid_unknown_fields=True):
    """The log's columns (CSV header names; for XES attribute keys, those of the trace with ``case:`` before)."""

    case: Name
    activity: Name
    timestamp: Name
    owner: str = ""
    amount: str = ""
    name: str = ""


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


def parse_mapping(text: str, where: str = "mapping.toml") -> Mapping:
    """The mapping of a TOML text. Raises BadEvent, whose message names ``where`` and the key."""
    try:
        mapping = msgspec.convert(tomllib.loads(text), Mapping)
    except tomllib.TOMLDecodeError as problem:
        raise _bad(where, "", f"not TOML: {problem}") from None
    except msgspec.ValidationError as problem:
        raise _bad(where, "", _with_suggestion(str(problem))) from None
    zone_of(mapping, where)
    twice = _named_twice(mapping)
    if twice:
        raise _bad(where, twice[0], f"the activity {twice[0]!r} is in {twice[1]} and in {twice[2]}; keep one")
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


def _with_suggestion(text: str) -> str:
    """A decoder's complaint, with the key that was probably meant."""
    unknown = text.partition("unknown field `")[2].partition("`")[0]
    known = {*Mapping.__struct_fields__, *Columns.__struct_fields__, *Outcome.__struct_fields__, "zone", "format"}
    near = difflib.get_close_matches(unknown, known, 1) if unknown else []
    return f"{text}; did you mean {near[0]}?" if near else text


def _bad(where: str, field: str, message: str) -> BadEvent:
    place = f"{where}: {field}" if field else where
    return BadEvent(BadReason.BAD_VALUE, f"{place}: {message}", field)

"""Structured-mode CloudEvents JSON to records and back, one event or a block of lines at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
from msgspec import UNSET, Struct

from events import rows, strict, times
from events.errors import BadEvent, BadReason, Refusal
from events.explain import HINTS, explain, guess_agent
from events.types import (
    ActionEvent,
    ActivityEvent,
    ChangeEvent,
    ConsentEvent,
    Event,
    InputEvent,
    LogEvent,
    MarkerEvent,
    MuteEvent,
    OutputEvent,
    TickEvent,
)


class Lines(Struct, frozen=True):
    """A block of lines, read: events with their times, in the block's order, and what was refused."""

    events: list[Any]
    times_ms: list[int]
    refusals: list[Refusal]

    def in_order(self) -> Iterator[Any]:
        """Of a block without blank lines: for each line its event, or its Refusal."""
        refused = {refusal.index: refusal for refusal in self.refusals}
        events = iter(self.events)
        for place in range(len(self.events) + len(refused)):
            refusal = refused.get(place)
            yield next(events) if refusal is None else refusal


class Limits(Struct, frozen=True, kw_only=True):
    """How large an event and a request body may be, and how many events a body may hold."""

    max_event_bytes: int = 1_048_576
    max_body_bytes: int = 8_388_608
    max_events: int = 50_000


DEFAULT_LIMITS = Limits()
INPUT_CLASSES: tuple[type[Event], ...] = get_args(InputEvent)
EVENT_TYPES: dict[str, type[Event]] = {
    str(kind.__struct_config__.tag): kind for kind in dict.fromkeys((*get_args(LogEvent), *get_args(OutputEvent)))
}
"""Every known event type by the attribute ``type``."""
INPUT_TYPES = [str(kind.__struct_config__.tag) for kind in INPUT_CLASSES]

_DECODER: msgspec.json.Decoder[LogEvent | OutputEvent] = msgspec.json.Decoder(LogEvent | OutputEvent)
_ENCODER = msgspec.json.Encoder()
_ANYTHING = msgspec.json.Decoder()
_OPTIONAL_ATTRIBUTES = frozenset(Event.__struct_fields__) - {"specversion", "id", "source", "time"}
_PROBLEMS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def encode(event: Event) -> bytes:
    """The event as one structured-mode JSON object; equal events give equal bytes."""
    return _ENCODER.encode(event)


def time_ms(event: Event) -> int:
    """The event's own time in milliseconds since 1970 UTC."""
    return times.parse_ms(event.time)


def decode(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Read one structured-mode event of any known type.

    Returns the event, an instance of one of the classes in ``events.types``.
    Raises BadEvent when it is not exactly one well-formed event; the message names the field.
    """
    if len(raw) > limits.max_event_bytes:
        raise too_large(raw, limits)
    try:
        event = _read(raw)
    except _PROBLEMS as problem:
        raise _refused(raw, problem) from None
    try:
        _check_keys(raw, event)
        check_content(event)
    except BadEvent as problem:
        problem.agent_id = problem.agent_id or guess_agent(raw)
        raise
    return event


def decode_input(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Read one event that a producer may send: an InputEvent with ids that are not empty.

    Raises BadEvent as ``decode`` does, and for the types that only Tripline writes.
    """
    event = decode(raw, limits)
    try:
        check_producer(event)
    except BadEvent as problem:
        problem.agent_id = problem.agent_id or guess_agent(raw)
        raise
    return event


def decode_lines(block: bytes, limits: Limits = DEFAULT_LIMITS) -> Lines:
    r"""Read many events at once, one a line, at the least cost an event; blank lines are skipped.

    Accepts and refuses exactly what ``decode`` does. A refusal's index is its line's place in the block, from 0.
    Best with blocks of 64 to 256 kB that end with a line's end (\n or \r\n).
    """
    lines = block.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    read = _read_together(block, lines) if len(block) <= limits.max_event_bytes else None
    return read or _read_one_by_one(lines, limits)


def _read_together(block: bytes, lines: list[bytes]) -> Lines | None:
    """Lines that are all in order, checked together; None to look at each by itself."""
    try:
        events = list(map(_DECODER.decode, lines))
        again = bytearray(len(block) + 64)  # encoding into room that is there costs half
        _ENCODER.encode_into(events, again)
        kinds = set(map(type, events))
        is_sound = again[1:-1] == b",".join(lines) or (kinds <= _INPUTS and strict.same_colons(block, again))
        if not is_sound and not strict.are_strict(block, lines):
            return None
        if {event.datacontenttype for event in events} - _PLAIN_CONTENT:
            return None
        return Lines(events, _times_of(events), [])
    except (*_PROBLEMS, BadEvent, times.BadTime):
        return None


def times_of(events: list[Any]) -> list[int]:
    """The events' own times in ms; raises BadTime when one of their times does not parse."""
    kinds: set[Any] = set(map(type, events))
    for kind in kinds & _MORE_TIMES.keys():
        for name in _MORE_TIMES[kind]:
            for text in {getattr(event.data, name) for event in events if type(event) is kind} - _NO_TIME:
                times.parse_ms(text)
    return [times.parse_ms(event.time) for event in events]


_times_of = rows.times_reader() or times_of


def _read_one_by_one(lines: list[bytes], limits: Limits) -> Lines:
    found = Lines([], [], [])
    for index, line in enumerate(lines):
        if line.strip():
            try:
                event = decode(line, limits)
            except BadEvent as problem:
                found.refusals.append(Refusal(index, line, problem))
            else:
                found.events.append(event)
                found.times_ms.append(times.parse_ms(event.time))
    return found


def check_content(event: Event) -> None:
    """Refuse what the record types can't say: times that don't parse, a content type that isn't JSON."""
    _check_time("", "time", event.time)
    kind = event.datacontenttype
    if kind is not UNSET and kind != "application/json" and not is_json(kind):
        message = f"datacontenttype: {kind[:60]!r} is not supported; send application/json"
        raise BadEvent(BadReason.UNSUPPORTED_CONTENT_TYPE, message, "datacontenttype")
    _check_more_times(event)


def check_producer(event: Event) -> None:
    """Refuse what a producer may not send: system and output types, empty record ids, a tenant with a slash."""
    if not isinstance(event, INPUT_CLASSES):
        name = event.__struct_config__.tag
        message = f"type: {name} is written by Tripline alone; a producer may send {', '.join(INPUT_TYPES)}"
        raise BadEvent(BadReason.TYPE_NOT_ALLOWED, message, "type")
    if event.tenant is not UNSET and "/" in event.tenant:
        raise BadEvent(BadReason.BAD_VALUE, f"tenant: must be {HINTS['tenant']}", "tenant")
    if type(event) is ActionEvent:
        for name in ("record_ids", "recipient_ids"):
            ids = getattr(event.data, name)
            if ids is not UNSET and "" in ids:
                at = ids.index("")
                message = f"data.{name}[{at}]: an id may not be empty; leave it out or send its count"
                raise BadEvent(BadReason.BAD_VALUE, message, f"data.{name}[{at}]", event.data.agent_id)


def is_json(content_type: str) -> bool:
    """Whether a media type is JSON: application/json, text/json or anything +json, parameters aside."""
    media = content_type.partition(";")[0].strip().lower()
    return media in ("application/json", "text/json") or media.endswith("+json")


_MORE_TIMES: dict[Any, tuple[str, ...]] = {
    ChangeEvent: ("committed_at",),
    ActivityEvent: ("occurred_at", "scheduled_for"),
    ConsentEvent: ("effective_at",),
    TickEvent: ("at",),
    MarkerEvent: ("at",),
    MuteEvent: ("until",),
}


_INPUTS: frozenset[Any] = frozenset(INPUT_CLASSES)
"""Their encoder writes no key that was not read, as the count of colons needs."""
_NO_TIME: frozenset[Any] = frozenset((UNSET, None))
_PLAIN_CONTENT: frozenset[Any] = frozenset((UNSET, "application/json"))


def _check_more_times(event: Event) -> None:
    for name in _MORE_TIMES.get(type(event), ()):
        text = getattr(event.data, name)  # type: ignore[attr-defined]
        if text is not UNSET and text is not None:
            _check_time("data.", name, text)


def _check_time(place: str, name: str, text: str) -> None:
    try:
        times.parse_ms(text)
    except times.BadTime as problem:
        field = place + name
        raise BadEvent(BadReason.BAD_TIME, f"{field}: {problem}"[:400], field) from None


def _read(raw: bytes) -> Any:
    """The event; an optional attribute that is null counts as absent (CloudEvents JSON format 1.0.2, §2.2)."""
    try:
        return _DECODER.decode(raw)
    except msgspec.ValidationError:
        found = _ANYTHING.decode(raw)
        if not isinstance(found, dict):
            raise
        nulls = {name for name in _OPTIONAL_ATTRIBUTES if found.get(name, "") is None}
        if not nulls:
            raise
        return _DECODER.decode(_ENCODER.encode({name: found[name] for name in found if name not in nulls}))


def _check_keys(raw: bytes, event: Event) -> None:
    """Refuse duplicate keys; cheap when the event is written as we would, or has no field that we don't know."""
    again = _ENCODER.encode(event)
    if again != raw and not (type(event) in _INPUTS and strict.same_colons(raw, again)):
        strict.check_strictly(raw)


def too_large(raw: bytes, limits: Limits) -> BadEvent:
    """The refusal of an event beyond ``limits.max_event_bytes``."""
    message = f"the event has {len(raw)} bytes; at most {limits.max_event_bytes} are taken: split it"
    return BadEvent(BadReason.TOO_LARGE, message, "", guess_agent(raw))


def _refused(raw: bytes, problem: Exception) -> BadEvent:
    if not raw.strip():
        return BadEvent(BadReason.EMPTY, "the event is empty; send one complete CloudEvents object")
    try:
        strict.check_utf8(raw)
    except BadEvent as better:
        better.agent_id = guess_agent(raw)
        return better
    return explain(raw, problem, list(EVENT_TYPES))

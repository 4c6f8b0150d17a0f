"""Request bodies: one event, a batch (JSON array), or JSON Lines, each item read or refused by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from events.errors import BadEvent, BadReason, Refusal
from events.explain import explain
from events.structured import DEFAULT_LIMITS, EVENT_TYPES, Limits, check_producer, decode_input, decode_lines

Decode = Callable[[bytes, Limits], Any]
ONE, BATCH, LINES = "application/cloudevents+json", "application/cloudevents-batch+json", "application/x-ndjson"
_LINES = frozenset((LINES, "application/jsonl", "application/jsonlines", "application/x-jsonlines", "text/plain"))
_ONE = frozenset((ONE, "application/json", ""))
BLOCK_BYTES = 128 * 1024
"""Items are read together in blocks of this size: larger ones leave the processor's cache."""
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])


class Accepted(Struct, frozen=True):
    """One item of a body that was read: its place (from 0), its own bytes (for the log), and the event."""

    index: int
    raw: bytes
    event: Any


def decode_body(
    body: bytes, content_type: str, limits: Limits = DEFAULT_LIMITS, decode: Decode = decode_input
) -> Iterator[Any]:
    """The events of a body in order, each an InputEvent or a Refusal; see ``read_body``."""
    for item in read_body(body, content_type, limits, decode):
        yield item.event if isinstance(item, Accepted) else item


def read_body(
    body: bytes, content_type: str, limits: Limits = DEFAULT_LIMITS, decode: Decode = decode_input
) -> Iterator[Accepted | Refusal]:
    """The items of a body in order, each read (with its bytes) or refused by itself.

    ``content_type``: application/cloudevents+json or application/json (one event, or a batch when the body is an
    array), application/cloudevents-batch+json, application/x-ndjson (JSON Lines; blank lines are skipped but counted).
    Raises BadEvent, before the first item, when the body as a whole can't be taken.
    """
    if len(body) > limits.max_body_bytes:
        message = f"the body has {len(body)} bytes; at most {limits.max_body_bytes} are taken: send smaller batches"
        raise BadEvent(BadReason.TOO_LARGE, message)
    parts = _parts(body, content_type.partition(";")[0].strip().lower())
    if len(parts) > limits.max_events:
        message = f"the body has {len(parts)} events; at most {limits.max_events} are taken: send smaller batches"
        raise BadEvent(BadReason.TOO_LARGE, message)
    return _items(parts, limits, decode)


def _items(parts: list[tuple[int, bytes]], limits: Limits, decode: Decode) -> Iterator[Accepted | Refusal]:
    if decode is not decode_input:
        yield from _each(parts, limits, decode)
        return
    for block in _blocks(parts):
        yield from _read_block(block, limits)


def _each(parts: list[tuple[int, bytes]], limits: Limits, decode: Decode) -> Iterator[Accepted | Refusal]:
    for index, raw in parts:
        try:
            yield Accepted(index, raw, decode(raw, limits))
        except BadEvent as problem:
            yield Refusal(index, raw, problem)


def _blocks(parts: list[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """The items in groups of at most BLOCK_BYTES, or of one."""
    block, size = list[tuple[int, bytes]](), 0
    for part in parts:
        if block and size + len(part[1]) > BLOCK_BYTES:
            yield block
            block, size = [], 0
        block.append(part)
        size += len(part[1])
    if block:
        yield block


def _read_block(parts: list[tuple[int, bytes]], limits: Limits) -> Iterator[Accepted | Refusal]:
    """What ``decode_input`` makes of each item, at half the cost where all is well."""
    block = b"\n".join([raw for _, raw in parts])
    if len(parts) == 1 or block.count(b"\n") >= len(parts):  # an item of an array may hold a line's end
        yield from _each(parts, limits, decode_input)
        return
    for (index, raw), found in zip(parts, decode_lines(block, limits).in_order(), strict=True):
        if isinstance(found, Refusal):
            yield Refusal(index, raw, found.error)
            continue
        try:
            check_producer(found)
        except BadEvent:
            yield from _each([(index, raw)], limits, decode_input)  # once more, for all that its refusal says
        else:
            yield Accepted(index, raw, found)


def _parts(body: bytes, media: str) -> list[tuple[int, bytes]]:
    if media in _LINES:
        return [(at, line) for at, line in enumerate(body.split(b"\n")) if line.strip()]
    if media == BATCH or (media in _ONE and body.lstrip()[:1] == b"["):
        return _array(body)
    if media in _ONE:
        return [(0, body)]
    message = f"content-type: {media[:60]!r} is not supported; send {ONE}, {BATCH} or {LINES}"
    raise BadEvent(BadReason.UNSUPPORTED_CONTENT_TYPE, message, "content-type")


def _array(body: bytes) -> list[tuple[int, bytes]]:
    try:
        return [(at, bytes(raw)) for at, raw in enumerate(_raw_list.decode(body))]
    except (msgspec.MsgspecError, RecursionError) as problem:
        error = explain(body, problem, list(EVENT_TYPES))
        error.message = f"the batch must be a JSON array of events: {error.message}"
        raise error from None

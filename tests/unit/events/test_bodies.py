"""Request bodies: one event, a batch, JSON Lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import bodies
from events.codec import Accepted, BadEvent, BadReason, Limits, Refusal, decode, decode_body, decode_input, read_body
from tests.unit.events.samples import ACTION, CHANGE, TICK, bent, raw

ONE, BATCH, LINES = "application/cloudevents+json", "application/cloudevents-batch+json", "application/x-ndjson"


@pytest.mark.parametrize("content_type", [ONE, "application/json", "", "Application/CloudEvents+JSON; charset=UTF-8"])
def test_one_event_is_read(content_type: str) -> None:
    assert list(decode_body(raw(ACTION), content_type)) == [decode(raw(ACTION))]


@pytest.mark.parametrize("content_type", [BATCH, "application/json", ONE])
def test_an_array_is_a_batch_and_each_item_is_answered_for(content_type: str) -> None:
    body = b"[" + raw(ACTION) + b",  " + bent("data.records", -1) + b" , 7, " + raw(CHANGE) + b"]"
    first, second, third, fourth = read_body(body, content_type)
    assert first == Accepted(0, raw(ACTION), decode(raw(ACTION)))
    assert isinstance(second, Refusal)
    assert (second.index, second.raw, second.error.field) == (1, bent("data.records", -1), "data.records")
    assert isinstance(third, Refusal)
    assert isinstance(fourth, Accepted)


def test_lines_count_the_blank_ones_and_keep_the_bytes() -> None:
    spaced = raw(ACTION).replace(b'"id"', b'  "id"')
    items = list(read_body(b"\n" + spaced + b"\n\n{\n" + raw(CHANGE), LINES))
    assert [(item.index, item.raw) for item in items] == [(1, spaced), (3, b"{"), (4, raw(CHANGE))]
    assert [type(item) for item in items] == [Accepted, Refusal, Accepted]


def test_system_events_are_refused_unless_another_reader_is_given() -> None:
    assert isinstance(next(read_body(raw(TICK), ONE)), Refusal)
    assert isinstance(next(read_body(raw(TICK), ONE, decode=decode)), Accepted)


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"{}", "application/xml", BadReason.UNSUPPORTED_CONTENT_TYPE),
        (b"[{}", BATCH, BadReason.NOT_JSON),
        (b"{}", BATCH, BadReason.WRONG_TYPE),
        (b"[" * 100_000, BATCH, BadReason.TOO_DEEP),
        (b"x" * 8_388_609, LINES, BadReason.TOO_LARGE),
        (b"{}\n" * 50_001, LINES, BadReason.TOO_LARGE),
    ],
)
def test_a_body_that_can_not_be_divided_is_refused_as_a_whole(body: bytes, content_type: str, reason: str) -> None:
    with pytest.raises(BadEvent) as caught:
        read_body(body, content_type)
    assert caught.value.reason == reason


def test_an_event_of_a_batch_has_its_own_limit() -> None:
    limits = Limits(max_event_bytes=len(raw(CHANGE)))
    kinds = [type(item) for item in read_body(raw(ACTION) + b"\n" + raw(CHANGE), LINES, limits)]
    assert kinds == [Refusal, Accepted]


def test_an_empty_batch_has_no_items() -> None:
    assert list(read_body(b"[]", BATCH)) == list(read_body(b"\n", LINES)) == []


ITEMS = [
    raw(ACTION), raw(CHANGE), bent("data.records", -1), raw(TICK), b"{", b"7", b" " + raw(ACTION) + b"\r",
    bent("data.record_ids", ["006A1", ""]), bent("tenant", "a/b"), bent("time", "2026-03-02"), b'{"a":' * 70,
    raw(ACTION).replace(b'"id"', b'"id": "x", "id"'), raw(ACTION).replace(b"dealbot", b"\xff"), bent("subject", None),
]  # fmt: skip


def told(item: Accepted | Refusal) -> tuple[Any, ...]:
    if isinstance(item, Accepted):
        return (item.index, item.raw, item.event)
    error = item.error
    return (item.index, item.raw, error.reason, error.message, error.field, error.agent_id)


def one_by_one(items: list[bytes], limits: Limits) -> list[tuple[Any, ...]]:
    """What each item is by itself; the slow way."""
    found: list[Accepted | Refusal] = []
    for index, item in enumerate(items):
        try:
            found.append(Accepted(index, item, decode_input(item, limits)))
        except BadEvent as problem:
            found.append(Refusal(index, item, problem))
    return [told(item) for item in found]


@given(st.lists(st.sampled_from(ITEMS), max_size=12), st.sampled_from([1, 700, 4_000, bodies.BLOCK_BYTES]))
def test_items_of_a_body_are_read_as_each_by_itself(items: list[bytes], block_bytes: int) -> None:
    limits = Limits(max_event_bytes=2_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "BLOCK_BYTES", block_bytes)
        assert [told(item) for item in read_body(b"\n".join(items), LINES, limits)] == one_by_one(items, limits)


@given(st.lists(st.sampled_from([ACTION, CHANGE, TICK]), max_size=8), st.sampled_from([None, 1]))
def test_a_batch_over_several_lines_is_read_as_one_on_a_line(events: list[dict[str, Any]], indent: int | None) -> None:
    body = json.dumps(events, indent=indent).encode()
    items = list(read_body(body, BATCH))
    assert [item.index for item in items] == list(range(len(events)))
    assert [isinstance(item, Refusal) for item in items] == [event is TICK for event in events]
    assert [item.event for item in items if isinstance(item, Accepted)] == [
        decode(raw(event)) for event in events if event is not TICK
    ]

"""Laws of the codec: whatever comes in, it is read or refused with a BadEvent; modes and blocks agree."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import (
    BadEvent,
    Refusal,
    decode,
    decode_binary,
    decode_input,
    decode_lines,
    encode,
    read_body,
    time_ms,
    to_structured,
)
from events.times import parse_ms
from tests.unit.events.samples import ACTION, INPUTS, TICK, raw

SEEDS = [raw(event) for event in (*INPUTS, TICK)]
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
words = st.sampled_from(
    [b"NaN", b"-1", b"1e999", b"null", b'"', b"\\", b"\\u003a", b"\xff", b"\xed\xa0\x80", b"[", b"]", b"{", b"}",
     b'"id":"x",', b'"data":{},', b":", b",", b"\n", b"\x00", b"\\ud800", b"99999999999999999999999", b"1" * 5000]
)  # fmt: skip


def outcome(read: Any, *given_: Any) -> Any:
    """What came of it: the event, or the refusal's code; any other exception is the test's failure."""
    try:
        return read(*given_)
    except BadEvent as problem:
        refused = problem
    assert 0 < len(refused.message) < 5_000
    assert refused.agent_id is None or len(refused.agent_id) <= 256
    return refused.reason


@st.composite
def near_valid(draw: st.DrawFn) -> bytes:
    """An event with a few splices: pieces cut out, doubled, or replaced by trouble."""
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        data = data[:start] + draw(words | st.just(data[start:end] * 2) | st.just(b"")) + data[end:]
    return data


@st.composite
def bent_events(draw: st.DrawFn) -> dict[str, Any]:
    """An event of which one field has any value at all, or is gone."""
    event = json.loads(draw(st.sampled_from(SEEDS)))
    node = draw(st.sampled_from([event, event["data"]]))
    name = draw(st.sampled_from(sorted(node)) | st.text(max_size=8))
    node[name] = draw(values)
    return event


@given(st.binary(max_size=300))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (decode, decode_input):
        outcome(read, data)
    for kind in ("application/json", "application/x-ndjson", "application/cloudevents-batch+json"):
        items = outcome(read_body, data, kind)
        assert all(items) if not isinstance(items, str) else True


@settings(max_examples=300)
@given(near_valid())
def test_near_valid_events_are_read_or_refused_and_alike_in_a_block(data: bytes) -> None:
    found = outcome(decode, data)
    if b"\n" in data or not data.strip():
        return
    read = decode_lines(SEEDS[0] + b"\n" + data + b"\n")
    if isinstance(found, str):
        assert [refused.error.reason for refused in read.refusals] == [found]
    else:
        assert read.events == [decode(SEEDS[0]), found]
        assert read.times_ms[1] == time_ms(found)


@settings(max_examples=300)
@given(bent_events())
def test_what_is_read_is_written_and_read_again_alike(event: dict[str, Any]) -> None:
    found = outcome(decode, raw(event))
    if not isinstance(found, str):
        assert decode(encode(found)) == found
        assert encode(decode(encode(found))) == encode(found)
        assert parse_ms(found.time) == time_ms(found)


@given(bent_events(), st.sampled_from([None, 1]), st.booleans())
def test_how_it_is_written_changes_nothing(event: dict[str, Any], indent: int | None, is_ascii: bool) -> None:
    other = json.dumps(dict(reversed(event.items())), indent=indent, ensure_ascii=is_ascii).encode("utf-8", "replace")
    plain = raw(event)
    assert outcome(decode, other) == outcome(decode, plain)


@given(bent_events(), st.data())
def test_a_key_given_twice_is_always_refused(event: dict[str, Any], data: st.DataObject) -> None:
    """Write some object of the event with one of its keys doubled: nothing of the kind is ever read."""
    path = data.draw(st.sampled_from(list(objects_in(event))))
    text = doubled(event, path, data.draw(st.integers(0, 50))).encode()
    assert isinstance(outcome(decode, text), str)
    assert decode_lines(text + b"\n" + SEEDS[0]).refusals


@given(bent_events())
def test_binary_mode_gives_what_structured_mode_gives(event: dict[str, Any]) -> None:
    attributes = {name: value for name, value in event.items() if name != "data"}
    if any(not isinstance(value, str) for value in attributes.values()):
        return  # a header can only be a text
    if any(not name.isascii() or name != name.lower() for name in attributes):
        return  # a header's name is in small letters
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items() if name != "datacontenttype"]
    found = outcome(decode_binary, [*headers, ("content-type", b"application/json")], raw(event.get("data")))
    expected = outcome(decode, raw({"datacontenttype": "application/json", **event}))
    if event.get("datacontenttype", "application/json") == "application/json":
        assert found == expected


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20)), max_size=5), st.binary(max_size=100))
def test_random_headers_are_read_or_refused(headers: list[tuple[str, bytes]], body: bytes) -> None:
    outcome(to_structured, [(f"ce_{name}", value) for name, value in headers], body)
    outcome(decode_binary, headers, body)


@given(
    st.lists(st.sampled_from([*SEEDS, b"{", b"", b'{"id":1,"id":2}', raw({**ACTION, "x": 1})]), max_size=12), st.data()
)
def test_where_a_block_is_cut_changes_nothing(lines: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines)))
    whole = decode_lines(b"".join(line + b"\n" for line in lines))
    parts = [decode_lines(b"".join(line + b"\n" for line in part)) for part in (lines[:at], lines[at:])]
    assert whole.events == parts[0].events + parts[1].events
    shifted: list[Refusal] = [*parts[0].refusals]
    assert [refused.raw for refused in whole.refusals] == [refused.raw for refused in shifted + parts[1].refusals]
    assert [refused.index for refused in whole.refusals] == [
        *(refused.index for refused in shifted),
        *(refused.index + at for refused in parts[1].refusals),
    ]


def objects_in(node: Any, path: tuple[Any, ...] = ()) -> Any:
    """The paths of all objects that have a key."""
    if isinstance(node, dict):
        if node:
            yield path
        for key, child in node.items():
            yield from objects_in(child, (*path, key))
    elif isinstance(node, list):
        for at, child in enumerate(node):
            yield from objects_in(child, (*path, at))


def doubled(node: Any, path: tuple[Any, ...] | None, nth: int) -> str:
    """The node as JSON, where the object at ``path`` has its nth key (counted around) twice."""
    if isinstance(node, dict):
        pairs = [
            f"{json.dumps(key)}:{doubled(child, path[1:] if path and path[0] == key else None, nth)}"
            for key, child in node.items()
        ]
        if path == ():
            pairs.append(pairs[nth % len(pairs)])
        return "{" + ",".join(pairs) + "}"
    if isinstance(node, list):
        parts = [doubled(child, path[1:] if path and path[0] == at else None, nth) for at, child in enumerate(node)]
        return "[" + ",".join(parts) + "]"
    return json.dumps(node)

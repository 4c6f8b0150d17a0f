"""Where in a text a byte is, and which field a refusal is about."""

from __future__ import annotations

import json

import pytest

from events.errors import BadEvent
from events.place import path_at, told_place
from events.structured import decode_input

_EVENT = json.dumps(
    {
        "specversion": "1.0", "id": "a", "source": "/x", "type": "tripline.agent.action.v1",
        "time": "2026-03-02T09:14:03.120Z",
        "data": {"agent_id": "bot", "action": "record.update", "outcome": "ok", "object": "Lead",
                 "record_ids": ["r1"], "authorized_by": "u"},
    }
)  # fmt: skip
_LAST = '"authorized_by": "u"'


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'{"data": {"changes": {"r1": {"Amount": [1, ?', "data.changes.r1.Amount[1]"),
        (b'{"a": {"b": "x?', "a.b"),
        (b'{"a": {"b": "?', "a.b"),
        (b'{"a": {"b": 1}, "c": ?', "c"),
        (b'{"a": {"b": [[], {"x": 1}]}, "c": [{}, ?', "c[1]"),
        (b'[{"a": 1}, {"a": ?', "[1].a"),
        (b'{"a": ",{[", "b": ?', "b"),
        (b'{"a\\"{b": {"c": ?', 'a\\"{b.c'),
        (b'{"a": 1, ?', ""),
        (b'{"a": {"b": 1, ?', "a"),
        (b"?", ""),
        (b"]]}}?", ""),
        (b"[" * 20 + b"?", "[0][0][0][0][0][0][0][0]…"),
    ],
)
def test_the_field_that_holds_a_byte_is_named(text: bytes, place: str) -> None:
    assert path_at(text + b"}]", text.rindex(b"?")) == place


@pytest.mark.parametrize(
    ("said", "what", "field"),
    [
        ("Expected `str`, got `int` - at `$.data.record_ids[1]`", "Expected `str`, got `int`", "data.record_ids[1]"),
        ("Object missing required field `id`", "Object missing required field `id`", "id"),
        ("Object contains unknown field `x` - at `$.a`", "Object contains unknown field `x`", "a.x"),
        ("Expected `object`, got `array`", "Expected `object`, got `array`", ""),
    ],
)
def test_a_decoders_complaint_is_taken_apart(said: str, what: str, field: str) -> None:
    assert told_place(said) == (what, field)


@pytest.mark.parametrize(
    ("old", "new", "reason", "field"),
    [
        ('"r1"', "NaN", "not_json", "data.record_ids[0]"),
        (_LAST, '"records": NaN', "not_json", "data.records"),
        (_LAST, '"records": 1e999', "bad_value", "data.records"),
        (_LAST, '"changes": {"r0": {}, "r1": {"A": [1, 2], "Amount": [1, 1e999]}}', "bad_value",
         "data.changes.r1.Amount[1]"),
        (_LAST, '"changes": {"r1": {"A": [1, 2], "Amount": [1, 2, 3]}}', "bad_value", "data.changes.r1.Amount"),
        (_LAST, '"changes": {"r0": {"A": [1, 2]}, "r1": {"Amount": 5}}', "wrong_type", "data.changes.r1.Amount"),
        (_LAST, '"x": ' + "[" * 500 + "]" * 500, "too_deep", "data.x[0][0][0][0][0][0]…"),
        (_LAST, '"authorized_by": "\xff"', "not_utf8", "data.authorized_by"),
        (_LAST, '"unknown": "\xff"', "not_utf8", "data.unknown"),
        ('"outcome": "ok",', '"outcome": "ok",,', "not_json", "data"),
    ],
)  # fmt: skip
def test_a_refusal_names_its_field(old: str, new: str, reason: str, field: str) -> None:
    assert old in _EVENT
    with pytest.raises(BadEvent) as refused:
        decode_input(_EVENT.replace(old, new).encode("latin-1"))
    assert (refused.value.reason.value, refused.value.field) == (reason, field)
    assert refused.value.message.startswith(f"{field}: ")

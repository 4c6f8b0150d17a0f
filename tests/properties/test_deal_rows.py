"""Rows of changes and activities are what the events are: whatever the compiled reader takes, the codec takes alike."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from events.codec import decode, time_ms
from events.rows import DEAL_ROW, event_of, scanner
from events.types import Actor, ChangeEvent, CrmActivity, CrmChange, Participant
from tests.properties.test_rows import any_texts, opt_texts, shuffled, texts, times, values

SCANNER = scanner(with_deals=True)
pytestmark = pytest.mark.skipif(SCANNER is None, reason="not compiled: make compile")
canonical = msgspec.msgpack.Encoder(order="deterministic")

names = st.one_of(st.sampled_from(["Opportunity", "006A1", "user:005B2"]), texts)
maybe = st.one_of(opt_texts, st.sampled_from(["006A1", "salesforce", "x" * 41, "x" * 5_000]))
actors = st.fixed_dictionaries(
    {"kind": st.sampled_from(["human", "agent", ""])}, optional={"id": opt_texts, "x": texts}
)
moments = st.one_of(times, st.none(), st.just("soon"))
people = st.lists(
    st.fixed_dictionaries(
        {},
        optional={"contact_id": maybe, "role": maybe, "executive": st.sampled_from([True, False, None]), "name": maybe},
    ),
    max_size=4,
)
pairs = st.one_of(st.tuples(values, values).map(list), st.just({"after": 3}), st.just([1]), st.just([[1], 2]))
changed = st.fixed_dictionaries(
    {"object": names, "record_id": names, "op": st.sampled_from(["create", "update", "delete", "gap", "sell"])},
    optional={
        "changes": st.dictionaries(any_texts, pairs, max_size=5),
        "actor": actors, "deal_id": maybe, "owner_id": maybe, "committed_at": moments, "system": maybe,
        "origin": maybe, "transaction": maybe, "index": st.one_of(st.integers(-2, 300), st.just(2**54), st.just(1.0)),
    },
)  # fmt: skip
happened = st.fixed_dictionaries(
    {"kind": st.sampled_from(["email", "call", "meeting", "task", "note", "fax"])},
    optional={
        "deal_id": maybe, "direction": st.sampled_from(["inbound", "outbound", "internal", None, "up"]),
        "participants": people, "occurred_at": moments, "scheduled_for": moments, "logged_by": actors, "system": maybe,
        "mentions": st.lists(any_texts, max_size=4), "status": st.sampled_from(["done", "planned", "cancelled", None]),
    },
)  # fmt: skip
kinds = st.one_of(
    st.tuples(st.just("tripline.crm.change.v1"), changed), st.tuples(st.just("tripline.crm.activity.v1"), happened)
)
rests = st.fixed_dictionaries(
    {"specversion": st.just("1.0"), "id": texts.filter(bool), "source": texts.filter(bool), "time": times},
    optional={"subject": texts, "partitionkey": texts, "datacontenttype": st.just("application/json"),
              "tenant": st.just("acme"), "sequence": st.just("7")},
)  # fmt: skip


def row_of(line: bytes) -> Any:
    """The row of a line, or None; a row must say what the codec reads, and the codec must read it."""
    assert SCANNER is not None
    (found,) = SCANNER.scan(line, 7) or [None]
    try:
        event = decode(line)
    except Exception:  # what the codec refuses must not be a row
        assert found is None
        return None
    if found is None:
        return None
    at_ms, source, event_id, place, row = found
    assert (at_ms, source, event_id, place) == (time_ms(event), event.source, event.id, 7)
    assert type(row) is DEAL_ROW
    assert type(row.data) is type(event.data)
    assert row.data == event.data
    assert msgspec.json.encode(row.data) == msgspec.json.encode(event.data)  # in the line's order, true is not 1
    assert event_of(row) == event
    assert row.raw == line.rstrip(b"\r")
    assert row.time == event.time
    assert row.id_hash == xxh3_64_intdigest(f"{event.source}\0{event.id}".encode())
    assert row.content_hash == xxh3_64_intdigest(canonical.encode(event.data))
    is_change = type(event) is ChangeEvent
    assert row.is_activity != is_change
    assert row.is_by_agent == (is_change and isinstance(event.data.actor, Actor) and event.data.actor.kind == "agent")
    assert event.tenant is event.sequence is msgspec.UNSET
    return row


@given(kind=kinds, rest=rests, seed=st.integers(0, 1000), is_dense=st.booleans(), is_ascii=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_row_says_what_the_codec_reads(kind: Any, rest: dict[str, Any], seed: int, is_dense: bool, is_ascii: bool):
    event = {"type": kind[0], **shuffled({**rest, "data": kind[1]}, random.Random(seed))}
    separators = (",", ":") if is_dense else (", ", ": ")
    row_of(json.dumps(event, separators=separators, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass"))


CHANGE = (
    '{"specversion":"1.0","id":"a-1","source":"/crm","type":"tripline.crm.change.v1","time":"2026-03-02T09:14:03.120Z",'
    '"subject":"deal/006A1","partitionkey":"006A1","datacontenttype":"application/json","data":{"object":"Opportunity",'
    '"record_id":"006A1","op":"update","changes":{"stage":["Demo","Proposal"],"amount":[null,"48000.00"],"Größe":[1.5,'
    'true]},"actor":{"kind":"human","id":"user:1"},"deal_id":"006A1","committed_at":"2026-03-02T09:14:03.120Z",'
    '"system":"salesforce"}}'
)
ACTIVITY = (
    '{"specversion":"1.0","id":"a-2","source":"/mail","type":"tripline.crm.activity.v1","time":"2026-03-02T09:14:03.120Z",'
    '"data":{"kind":"email","direction":"inbound","deal_id":"006A1","participants":[{"contact_id":"003A","role":'
    '"champion","executive":false,"name":"Petra"},{}],"occurred_at":"2026-03-02T09:14:02Z","scheduled_for":null,'
    '"logged_by":{"kind":"agent","id":"bot"},"system":"mail","mentions":["price"],"status":"done"}}'
)
edits = st.tuples(
    st.integers(0, 700), st.integers(0, 3), st.sampled_from(b'"{}[],:\\0159.eE-+ntf \t\xc3\x00')
)  # fmt: skip


@given(base=st.sampled_from([CHANGE, ACTIVITY]), edits=st.lists(edits, min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_a_damaged_line_is_a_row_only_if_the_codec_still_reads_the_same(base: str, edits: list[tuple[int, int, int]]):
    line = bytearray(base.encode())
    for place, kind, byte in edits:
        at = place % len(line)
        if kind == 0:
            line[at] = byte
        elif kind == 1:
            line.insert(at, byte)
        elif kind == 2:
            del line[at]
        else:
            line[at:at] = line[at : at + 12]
    if b"\n" not in line:
        row_of(bytes(line))


@pytest.mark.parametrize("line", [CHANGE, ACTIVITY])
def test_the_usual_line_is_a_row_with_keys_in_any_order_and_spaces_between(line: str):
    assert row_of(line.encode()) is not None
    assert row_of(line.encode() + b"\r") is not None
    for seed in range(30):
        event = shuffled(json.loads(line), random.Random(seed))
        first = {"type": event.pop("type"), **event}  # whose data is it? Behind it, a line is left to the codec
        assert row_of(json.dumps(first, ensure_ascii=False).encode()) is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"update"', '"sell"'),
        ('"a-1"', '"a-\\u0031"'),
        ('"record_id":"006A1"', '"record_id":""'),
        ('"record_id":"006A1",', ""),
        ('"stage":["Demo"', '"amount":["Demo"'),
        ('"stage":["Demo","Proposal"]', '"stage":{"after":"Proposal"}'),
        ('"stage":["Demo"', '"stage":[["Demo"]'),
        ('"stage":["Demo"', '"stage":[1e999'),
        ('"kind":"human"', '"kind":"human","kind":"human"'),
        ('"id":"user:1"', '"id":null'),
        ('{"kind":"human","id":"user:1"}', "null"),
        ('"committed_at":"2026-03-02T09:14:03.120Z"', '"committed_at":"soon"'),
        ('"system":"salesforce"', '"system":"salesforce","system":"salesforce"'),
        ('"system":"salesforce"', '"shoe_size":44'),
        ('"system":"salesforce"', '"index":-1'),
        ('"subject":"deal/006A1"', '"tenant":"acme"'),
        ('"subject":"deal/006A1"', '"sequence":"7"'),
        ("2026-03-02T09:14:03.120Z", "2026-03-02T09:14:03.120"),
        ("Größe", "\ud800"),
    ],
)
def test_what_is_not_plain_is_left_to_the_codec(old: str, new: str):
    assert old in CHANGE
    assert row_of(CHANGE.replace(old, new, 1).encode("utf-8", "surrogatepass")) is None


def test_what_is_shared_between_lines_is_not_mixed_up():
    for actor in ("human", "agent", "human"):
        row = row_of(CHANGE.replace('"human"', f'"{actor}"').encode())
        assert row.is_by_agent == (actor == "agent")
    for number in range(10_000):  # more texts than are kept
        row = row_of(ACTIVITY.replace("006A1", f"006A{number}").encode()) if number % 50 == 0 else None
        assert row is None or row.data.deal_id == f"006A{number}"


def test_a_reader_of_actions_takes_no_deals():
    plain = scanner()
    assert plain is not None
    assert plain.scan(CHANGE.encode()) == [None]


def test_the_reader_knows_the_fields_of_the_records_in_their_order():
    from events import _rows  # type: ignore[attr-defined] # noqa: PLC0415 - compiled

    for fields, kind in (
        (_rows.CHANGE_KINDS, CrmChange), (_rows.ACTIVITY_KINDS, CrmActivity), (_rows.PERSON_KINDS, Participant),
        (_rows.ACTOR_KINDS, Actor),
    ):  # fmt: skip
        assert tuple(fields) == kind.__struct_fields__

"""Rows are what the events are: whatever the compiled reader takes, the codec takes, and both say the same."""

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
from events.rows import ROW, event_of, scanner
from events.types import AgentAction
from events.value_codes import DATE, Value, changes_of, codes_of

SCANNER = scanner()
pytestmark = pytest.mark.skipif(SCANNER is None, reason="not compiled: make compile")
canonical = msgspec.msgpack.Encoder(order="deterministic")

texts = st.text(st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=("Cc", "Cs")), max_size=40)
any_texts = st.one_of(texts, st.text(max_size=12))
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**19), 10**19),
    st.integers(-300, 70_000),
    st.floats(allow_nan=False, allow_infinity=False),
    any_texts,
    st.dates().map(str),
    st.from_regex(r"-?[0-9]{1,13}(\.[0-9]{1,4})?", fullmatch=True),
    st.sampled_from(
        ["2026-02-31", "2026-03-01T10:00:00Z", "2026-13-01", "0000-01-01", "-0.0", "007", "+49 40 5550", "x" * 65]
    ),
)
changes = st.dictionaries(
    any_texts, st.dictionaries(any_texts, st.tuples(values, values).map(list), max_size=5), max_size=5
)
opt_texts = st.one_of(st.none(), any_texts)
OPTIONAL: dict[str, Any] = {
    "agent_version": opt_texts,
    "object": opt_texts,
    "record_ids": st.lists(any_texts, max_size=12),
    "changes": changes,
    "records": st.one_of(st.integers(0, 300), st.integers(0, 2**53)),
    "recipients": st.integers(0, 70_000),
    "recipient_ids": st.lists(any_texts, max_size=20),
    "external": st.booleans(),
    "first_contact": st.booleans(),
    "authorized_by": opt_texts,
    "trigger": st.one_of(st.none(), st.fixed_dictionaries({"kind": texts.filter(bool)}, optional={"ref": opt_texts})),
    "error": st.one_of(st.none(), st.fixed_dictionaries({"code": texts})),
    "decision_id": opt_texts,
    "owner_id": opt_texts,
    "deal_id": opt_texts,
    "tool": opt_texts,
}
data = st.fixed_dictionaries(
    {
        "agent_id": texts.filter(bool),
        "action": st.sampled_from(["record.update", "email.send", "frobnicate"]),
        "outcome": st.sampled_from(["ok", "ok", "ok", "error", "denied"]),
    },
    optional=OPTIONAL,
)
times = st.one_of(
    st.datetimes().map(lambda t: t.isoformat(timespec="milliseconds") + "Z"),
    st.sampled_from(
        ["2026-02-28T23:59:59Z", "2024-02-29T00:00:00Z", "2026-03-31T10:00:00.5Z", "2026-02-29T00:00:00Z", "2026-04-31T"
         "00:00:00Z", "2026-03-02T24:00:00Z", "2026-03-02T10:00:00+01:00", "2026-03-02t10:00:00z", "2026-03-02T10:00Z",
         "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z", "2026-03-02T10:00:60Z", "2026-03-02T10:00:00.1234Z"]
    ),
)  # fmt: skip
events = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "id": texts.filter(bool),
        "source": texts.filter(bool),
        "type": st.just("tripline.agent.action.v1"),
        "time": times,
        "data": data,
    },
    optional={"subject": texts, "partitionkey": texts, "datacontenttype": st.just("application/json"),
              "tenant": st.just("acme"), "sequence": st.just("7")},
)  # fmt: skip


def shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict):
        pairs = [(key, shuffled(item, rng)) for key, item in value.items()]
        rng.shuffle(pairs)
        return dict(pairs)
    return value


def codes(said: AgentAction, name: str, before: Any, after: Any) -> tuple[int, int, int, int, bool]:
    """A change as a row has it: of a date, the day itself."""
    new, (form, value, step) = Value(after), codes_of(before, after, 0)
    digest = xxh3_64_intdigest(f"{said.object}\x1f{name}".encode("utf-8", "surrogatepass"))
    return digest, form, new.day if new.kind == DATE else value, step, new.kind == DATE


def check(line: bytes) -> bool:
    """Whether the line is a row; if so, all that it says must be what the codec reads."""
    assert SCANNER is not None
    (found,) = SCANNER.scan(line, 7) or [None]
    if found is None:
        return False
    event = decode(line)  # a row of a line that the codec refuses would raise here
    said = event.data
    at_ms, source, event_id, place, row = found
    assert (at_ms, source, event_id, place) == (time_ms(event), event.source, event.id, 7)
    assert type(row) is ROW
    assert event_of(row) == event
    assert row.raw == line.rstrip(b"\r")
    assert (row.agent_id, row.action, row.object, row.decision_id) == (
        said.agent_id, said.action, said.object, said.decision_id
    )  # fmt: skip
    ids = said.record_ids if said.record_ids is not msgspec.UNSET else None
    assert row.ids == (-1 if ids is None else len(ids))
    assert row.digests == [
        xxh3_64_intdigest(f"{said.object}\x1f{one}".encode("utf-8", "surrogatepass")) for one in (ids or [])[:8]
    ]
    assert row.has_owner == isinstance(said.owner_id, str)
    assert not row.has_owner or row.owner == xxh3_64_intdigest(said.owner_id.encode())
    assert row.cells == -1 or row.codes == [codes(said, *change) for change in changes_of(said)]
    count = sum(map(len, said.changes.values())) if said.changes is not msgspec.UNSET else 0
    assert (row.cells == -1) == (count > 8)
    assert row.records == (-1 if said.records is msgspec.UNSET else said.records)
    assert row.is_external == (said.external is True)
    assert row.id_hash == xxh3_64_intdigest(f"{event.source}\0{event.id}".encode())
    assert row.content_hash == xxh3_64_intdigest(canonical.encode(said))
    assert said.outcome == "ok"
    return True


@given(event=events, seed=st.integers(0, 1000), is_dense=st.booleans(), is_ascii=st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_row_says_what_the_codec_reads(event: dict[str, Any], seed: int, is_dense: bool, is_ascii: bool):
    separators = (",", ":") if is_dense else (", ", ": ")
    text = json.dumps(shuffled(event, random.Random(seed)), separators=separators, ensure_ascii=is_ascii)
    line = text.encode("utf-8", "surrogatepass")
    try:
        decode(line)
    except Exception:  # what the codec refuses must not be a row
        assert SCANNER is not None
        assert SCANNER.scan(line) == [None]
    else:
        check(line)


PLAIN = (
    '{"specversion":"1.0","id":"a-1","source":"/crm","type":"tripline.agent.action.v1","time":"2026-03-02T09:14:03.120Z",'
    '"subject":"agent/bot","partitionkey":"bot","datacontenttype":"application/json","data":{"agent_id":"bot",'
    '"agent_version":"1.4.0","action":"record.update","object":"Opportunity","record_ids":["006A1"],"changes":{"006A1":'
    '{"StageName":["Proposal","Negotiation"],"Amount":[48000,52000.5],"Größe":[null,true]}},"records":1,"recipients":0,'
    '"recipient_ids":[],"external":false,"first_contact":false,"authorized_by":"user:1","trigger":{"kind":"rule","ref":'
    '"flow:x"},"reviewed_by":null,"outcome":"ok","error":null,"run_id":"r-1","decision_id":null,"system":"sf"}}'
).encode()


@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, len(PLAIN) - 1), st.integers(0, 3), st.sampled_from(b'"{}[],:\\0159.eE-+ntf \t\xc3\x00')
        ),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=500, deadline=None)
def test_a_damaged_line_is_a_row_only_if_the_codec_still_reads_the_same(edits: list[tuple[int, int, int]]):
    line = bytearray(PLAIN)
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
        try:
            decode(bytes(line))
        except Exception:
            assert SCANNER is not None
            assert SCANNER.scan(bytes(line)) == [None]
        else:
            check(bytes(line))


def test_the_usual_line_is_a_row_with_keys_in_any_order_and_spaces_between():
    assert check(PLAIN)
    assert check(PLAIN + b"\r")
    for seed in range(30):
        event = shuffled(json.loads(PLAIN), random.Random(seed))
        assert check(json.dumps(event, ensure_ascii=False).encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"ok"', '"error"'),
        ('"a-1"', '"a-\\u0031"'),
        ('"records":1', '"records":-1'),
        ('"records":1', '"records":1.0'),
        ('"records":1', '"records":01'),
        ('"records":1', '"records":null'),
        ('"run_id":"r-1"', '"run_id":"r-1","run_id":"r-2"'),
        ('"run_id":"r-1"', '"shoe_size":44'),
        ('"Amount":[48000', '"Amount":[48000.'),
        ('"Amount":[48000', '"Amount":[.5'),
        ('"Amount":[48000', '"Amount":[1e999'),
        ('"Amount":[48000', '"Amount":[-0'),
        ('"Amount":[48000', '"Amount":[{"a":1}'),
        ('"Amount":[48000', '"StageName":[48000'),
        ('"specversion":"1.0"', '"specversion":"1.1"'),
        ('"subject":"agent/bot"', '"tenant":"acme"'),
        ('"record_ids":["006A1"]', '"record_ids":["006A1",]'),
        ('"record_ids":["006A1"]', '"record_ids":[6]'),
        ("2026-03-02T09:14:03.120Z", "2026-03-02T09:14:03.120"),
        ("bot", "\ud800"),
    ],
)
def test_what_is_not_plain_is_left_to_the_codec(old: str, new: str):
    assert old in PLAIN.decode()
    line = PLAIN.decode().replace(old, new, 1).encode("utf-8", "surrogatepass")
    assert SCANNER is not None
    assert SCANNER.scan(line) == [None]


def test_lines_of_a_block_keep_their_places():
    assert SCANNER is not None
    found = SCANNER.scan(PLAIN + b"\n\nnonsense\n" + PLAIN, 4)
    assert [None if item is None else item[3] for item in found] == [4, None, None, 7]
    assert SCANNER.scan(b"") == []


def test_the_reader_knows_the_fields_of_the_record_in_their_order():
    from events import _rows  # type: ignore[attr-defined] # noqa: PLC0415 - compiled

    assert tuple(name.decode() for name in _rows.FIELD_NAMES) == AgentAction.__struct_fields__

"""What the codec reads, what it refuses, and how it says why."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from events.codec import BadEvent, BadReason, Limits, decode, decode_input, decode_lines, encode, time_ms
from events.types import ActionEvent, ActivityEvent, After, ChangeEvent, ConsentEvent, FindingEvent, TickEvent
from tests.unit.events.samples import ACTION, ACTIVITY, CHANGE, CONSENT, INPUTS, TICK, bent, raw

ACTION_RAW = raw(ACTION)


def refusal(data: bytes, read: Any = decode_input) -> BadEvent:
    with pytest.raises(BadEvent) as caught:
        read(data)
    return caught.value


@pytest.mark.parametrize(
    ("event", "kind"),
    [(ACTION, ActionEvent), (CHANGE, ChangeEvent), (ACTIVITY, ActivityEvent), (CONSENT, ConsentEvent)],
)
def test_every_kind_of_input_is_read_as_its_class(event: dict[str, Any], kind: type) -> None:
    assert type(decode_input(raw(event))) is kind


def test_an_action_is_read_field_by_field() -> None:
    event = decode(ACTION_RAW)
    assert (event.id, event.source, event.data.agent_id) == ("a-000001", "/crm/salesforce/00D1", "dealbot")
    assert event.data.changes == {"006A1": {"StageName": ("Proposal", "Negotiation"), "Amount": After("5.00")}}
    assert event.data.reviewed_by is None


def test_the_time_is_milliseconds_since_1970() -> None:
    assert time_ms(decode(bent("time", "1970-01-02T00:00:00.007Z"))) == 86_400_007
    assert time_ms(decode(bent("time", "1970-01-02T01:00:00+01:00"))) == 86_400_000


def test_field_order_and_spaces_do_not_matter() -> None:
    turned = json.dumps(dict(reversed(ACTION.items())), indent=3).encode()
    assert decode(turned) == decode(ACTION_RAW)


def test_encoding_and_reading_again_gives_the_same_event_and_the_same_bytes() -> None:
    for event in (*INPUTS, TICK):
        once = decode(raw(event))
        assert decode(encode(once)) == once
        assert encode(decode(encode(once))) == encode(once)


def test_unknown_attributes_and_fields_are_let_through() -> None:
    assert decode(bent("traceparent", "00-ab")) == decode(ACTION_RAW)
    assert decode(bent("data.crm_specific", {"a": [{"b": 1}]})) == decode(ACTION_RAW)


@pytest.mark.parametrize(
    "path", ["specversion", "id", "source", "type", "time", "data", "data.agent_id", "data.outcome"]
)
def test_a_missing_field_is_named(path: str) -> None:
    error = refusal(bent(path))
    assert (error.reason, error.field) == (BadReason.MISSING_FIELD, path)
    assert path in error.message


@pytest.mark.parametrize(
    ("path", "value", "reason", "field"),
    [
        ("specversion", "0.3", BadReason.UNSUPPORTED_SPECVERSION, "specversion"),
        ("specversion", 1.0, BadReason.UNSUPPORTED_SPECVERSION, "specversion"),
        ("type", "tripline.agent.action.v9", BadReason.UNKNOWN_TYPE, "type"),
        ("type", 7, BadReason.UNKNOWN_TYPE, "type"),
        ("id", "", BadReason.BAD_VALUE, "id"),
        ("id", 7, BadReason.WRONG_TYPE, "id"),
        ("source", "", BadReason.BAD_VALUE, "source"),
        ("time", "2026-03-02T09:14:03.120", BadReason.BAD_TIME, "time"),
        ("time", "2026-03-02", BadReason.BAD_TIME, "time"),
        ("time", "2026-02-30T09:14:03Z", BadReason.BAD_TIME, "time"),
        ("time", "2026-W10-1T09:14:03Z", BadReason.BAD_TIME, "time"),
        ("time", "2026-01-01T00:00:00+00:00Z", BadReason.BAD_TIME, "time"),
        ("time", 1_772_442_843, BadReason.WRONG_TYPE, "time"),
        ("time", None, BadReason.WRONG_TYPE, "time"),
        ("datacontenttype", "text/xml", BadReason.UNSUPPORTED_CONTENT_TYPE, "datacontenttype"),
        ("tenant", "", BadReason.BAD_VALUE, "tenant"),
        ("tenant", "a/b", BadReason.BAD_VALUE, "tenant"),
        ("data", [], BadReason.WRONG_TYPE, "data"),
        ("data", None, BadReason.WRONG_TYPE, "data"),
        ("data.agent_id", "", BadReason.BAD_VALUE, "data.agent_id"),
        ("data.records", -1, BadReason.BAD_VALUE, "data.records"),
        ("data.records", 1.5, BadReason.WRONG_TYPE, "data.records"),
        ("data.records", "1", BadReason.WRONG_TYPE, "data.records"),
        ("data.records", True, BadReason.WRONG_TYPE, "data.records"),
        ("data.recipients", -3, BadReason.BAD_VALUE, "data.recipients"),
        ("data.outcome", "fine", BadReason.BAD_VALUE, "data.outcome"),
        ("data.record_ids", "006A1", BadReason.WRONG_TYPE, "data.record_ids"),
        ("data.record_ids", ["006A1", ""], BadReason.BAD_VALUE, "data.record_ids[1]"),
        ("data.recipient_ids", [""], BadReason.BAD_VALUE, "data.recipient_ids[0]"),
        ("data.trigger.kind", 7, BadReason.WRONG_TYPE, "data.trigger.kind"),
    ],
)
def test_a_wrong_value_is_refused_with_its_code_and_field(path: str, value: Any, reason: str, field: str) -> None:
    error = refusal(bent(path, value))
    assert (error.reason, error.field) == (reason, field)
    assert field in error.message


@pytest.mark.parametrize(
    ("event", "path"),
    [(ACTIVITY, "data.occurred_at"), (ACTIVITY, "data.scheduled_for"), (CHANGE, "data.committed_at")],
)
def test_the_times_inside_data_need_a_zone_too(event: dict[str, Any], path: str) -> None:
    error = refusal(bent(path, "2026-03-02T09:14:03", event))
    assert (error.reason, error.field) == (BadReason.BAD_TIME, path)


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/vnd.x+json"])
def test_json_content_types_are_taken(kind: str) -> None:
    assert decode(bent("datacontenttype", kind)).data == decode(ACTION_RAW).data


@pytest.mark.parametrize("name", ["subject", "partitionkey", "datacontenttype", "tenant", "sequence", "loggedat"])
def test_an_optional_attribute_that_is_null_counts_as_absent(name: str) -> None:
    absent = {key: value for key, value in ACTION.items() if key != name}
    assert decode(bent(name, None)) == decode(raw(absent))
    assert decode_lines(bent(name, None)).events == [decode(raw(absent))]


def test_an_attribute_that_is_null_hides_no_other_mistake() -> None:
    both = bent("subject", None).replace(b'"records":1', b'"records":-1')
    assert refusal(both).field == "data.records"
    twice = bent("subject", None).replace(b'"subject":null', b'"subject":"a","subject":null')
    assert refusal(twice).reason == BadReason.DUPLICATE_KEY


def test_what_came_and_what_would_be_right_are_both_said() -> None:
    assert refusal(bent("data.outcome", "fine")).message == (
        "data.outcome: invalid enum value 'fine'; it came as \"fine\"; it must be one of ok, error, denied"
    )
    assert "did you mean tripline.agent.action.v1?" in refusal(bent("type", "tripline.agent.actions.v1")).message


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("place", ["data.records", "data.unknown_field", "unknown_attribute"])
def test_numbers_that_are_not_json_are_refused_wherever_they_stand(word: str, place: str) -> None:
    error = refusal(bent(place, "@@").replace(b'"@@"', word.encode()))
    assert error.reason == BadReason.NOT_JSON
    assert "NaN" in error.message


@pytest.mark.parametrize("data", [b"", b"  \n", b"\n"])
def test_nothing_is_called_empty(data: bytes) -> None:
    assert refusal(data).reason == BadReason.EMPTY


@pytest.mark.parametrize(
    "data", [ACTION_RAW[:100], ACTION_RAW + b"x", ACTION_RAW + ACTION_RAW, b"{'a':1}", b"<xml/>", b"\xef\xbb\xbf{}"]
)
def test_what_is_not_one_json_value_is_refused(data: bytes) -> None:
    assert refusal(data).reason == BadReason.NOT_JSON


@pytest.mark.parametrize("data", [b"[]", b"7", b'"text"', b"null"])
def test_what_is_not_an_object_is_refused(data: bytes) -> None:
    assert refusal(data).reason == BadReason.WRONG_TYPE


@pytest.mark.parametrize("place", ["data.agent_version", "data.unknown_field", "unknown_attribute"])
def test_invalid_utf8_is_refused_wherever_it_stands(place: str) -> None:
    error = refusal(bent(place, "@@").replace(b"@@", b"\xff\xfe"))
    assert error.reason == BadReason.NOT_UTF8


def test_deep_nesting_is_refused_in_known_and_unknown_fields() -> None:
    for place in ("data.unknown_field", "unknown_attribute"):
        for depth in (70, 5_000, 200_000):
            deep = bent(place, "@@").replace(b'"@@"', b"[" * depth + b"]" * depth)
            assert refusal(deep).reason == BadReason.TOO_DEEP
    assert decode(bent("unknown_attribute", "@@").replace(b'"@@"', b"[" * 60 + b"]" * 60))
    change = bent("data.changes", {"006A1": {"x": [None, "@@"]}})
    assert decode(change.replace(b'"@@"', b"[" * 8 + b"]" * 8))
    assert refusal(change.replace(b'"@@"', b"[" * 9 + b"]" * 9)).reason == BadReason.WRONG_TYPE


def test_many_brackets_in_a_text_are_not_nesting() -> None:
    assert decode(bent("unknown_attribute", "[{" * 500))


def test_an_event_larger_than_the_limit_is_refused_before_it_is_read() -> None:
    error = refusal(b"x" * 1_048_577)
    assert error.reason == BadReason.TOO_LARGE
    with pytest.raises(BadEvent):
        decode(ACTION_RAW, Limits(max_event_bytes=len(ACTION_RAW) - 1))
    assert decode(ACTION_RAW, Limits(max_event_bytes=len(ACTION_RAW)))


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (b'"id":"a-000001"', b'"id":"a-000001","id":"a-000002"', "id"),
        (b'"agent_id":"dealbot"', b'"agent_id":"dealbot","agent_id":"other"', "data.agent_id"),
        (b'"kind":"rule"', b'"kind":"rule","kind":"prompt"', "data.trigger.kind"),
        (b'"StageName":[', b'"StageName":["a","b"],"StageName":[', "data.changes.006A1.StageName"),
        (b'"after":"5.00"', b'"after":"5.00","after":"6.00"', "data.changes.006A1.Amount.after"),
        (b'"run_id":"r-77"', b'"run_id":"r-77","zz":[{"b":1},{"b":1,"b":2}]', "data.zz[1].b"),
        (b'"id":"a-000001"', b'"id" : "a-000001", "id"\t:"b"', "id"),
        (b'"id":"a-000001"', b'"i\\u0064":"x","id":"a-000001"', "id"),
        (b'"run_id":"r-77"', b'"run_id":"\\u003a\\u003a","run_id":"r"', "data.run_id"),
        (b'"run_id":"r-77"', b'"run_id":null,"run_id":"r"', "data.run_id"),
        (b'"error":null', b'"error":{"code":"x","code":"y"}', "data.error.code"),
    ],
)
def test_a_duplicate_key_is_refused_at_any_depth_and_named(old: bytes, new: bytes, field: str) -> None:
    data = ACTION_RAW.replace(old, new)
    assert data != ACTION_RAW
    error = refusal(data)
    assert (error.reason, error.field) == (BadReason.DUPLICATE_KEY, field)
    assert decode_lines(data + b"\n" + ACTION_RAW).refusals[0].error.field == field


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.run_id", 'say "x": "y"'),
        ("data.run_id", ":::"),
        ("data.run_id", 'a\\":b'),
        ("x:y", '":'),
        ("data.é", "ü:"),
    ],
)
def test_colons_and_quotes_in_texts_are_not_taken_for_keys(path: str, value: str) -> None:
    assert decode(bent(path, value)).data.agent_id == "dealbot"


def test_an_error_without_code_is_not_taken_for_a_duplicate_nor_hides_one() -> None:
    assert decode(bent("data.error", {"code": "", "message": "no"})).data.error.message == "no"
    twice = bent("data.error", {"message": "no"}).replace(b'"message":"no"', b'"message":"a","message":"b"')
    assert refusal(twice).reason == BadReason.DUPLICATE_KEY


def test_what_only_tripline_writes_is_refused_from_producers() -> None:
    assert type(decode(raw(TICK))) is TickEvent
    error = refusal(raw(TICK))
    assert (error.reason, error.field) == (BadReason.TYPE_NOT_ALLOWED, "type")


def test_the_agent_is_told_where_the_rest_can_not_be_read() -> None:
    assert refusal(bent("data.records", -1)).agent_id == "dealbot"
    assert refusal(bent("time")).agent_id == "dealbot"
    assert refusal(bent("unknown", "@").replace(b"@", b"\xff")).agent_id == "dealbot"
    assert refusal(ACTION_RAW[:-1]).agent_id == "dealbot"
    assert refusal(b"{}").agent_id is None


def test_a_refusal_survives_pickling() -> None:
    error = refusal(bent("data.records", -1))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (again.reason, again.message, again.field, again.agent_id) == (
        error.reason,
        error.message,
        error.field,
        "dealbot",
    )


def test_a_finding_can_be_read_back() -> None:
    finding = {
        "specversion": "1.0", "id": "f-1", "source": "/tripline", "type": "tripline.finding.v1",
        "time": "2026-03-02T09:20:00Z",
        "data": {
            "finding_id": "f-1", "detector": "action_rate", "mode": "enforce", "agent_id": "dealbot",
            "agent_version": None, "at": "2026-03-02T09:20:00Z", "severity": "critical", "action_taken": "suspend",
            "basis_epoch": 6,
            "evidence": {"summary": "s", "observed": 61, "expected": 38.0, "limit": 61, "unit": "actions/5 min",
                         "events": [["/crm", "a-1"]], "would_clear": "60"},
        },
    }  # fmt: skip
    event = decode(raw(finding))
    assert type(event) is FindingEvent
    assert event.data.evidence.events == [("/crm", "a-1")]


def test_a_block_of_lines_gives_what_each_line_gives_alone() -> None:
    good = [raw(ACTION), raw(CHANGE), raw(ACTIVITY), raw(TICK), encode(decode(raw(ACTION)))]
    read = decode_lines(b"\n".join(good) + b"\n")
    assert read.events == [decode(line) for line in good]
    assert read.times_ms == [time_ms(event) for event in read.events]
    assert read.refusals == []


def test_a_bad_line_is_refused_alone_and_its_place_told() -> None:
    block = b"\n".join([ACTION_RAW, b"", b"{", raw(CHANGE), bent("data.records", -1), b"  ", raw(CONSENT)])
    read = decode_lines(block)
    assert [event.id for event in read.events] == ["a-000001", "c-1", "k-1"]
    assert [(refused.index, refused.error.reason) for refused in read.refusals] == [
        (2, BadReason.NOT_JSON),
        (4, BadReason.BAD_VALUE),
    ]
    assert read.refusals[0].raw == b"{"


def test_two_events_on_one_line_are_refused_and_line_ends_of_windows_are_not() -> None:
    assert [refused.index for refused in decode_lines(ACTION_RAW + ACTION_RAW + b"\n").refusals] == [0]
    assert len(decode_lines(ACTION_RAW + b"\r\n" + ACTION_RAW + b"\r\n").events) == 2
    assert decode_lines(b"").events == []


def test_a_block_larger_than_an_event_may_be_is_still_read_line_by_line() -> None:
    limits = Limits(max_event_bytes=len(ACTION_RAW))
    read = decode_lines(ACTION_RAW + b"\n" + ACTION_RAW + b" \n", limits)
    assert len(read.events) == 1
    assert read.refusals[0].error.reason == BadReason.TOO_LARGE

"""Binary mode: attributes in headers, and which of the two modes a message is in."""

from __future__ import annotations

import json

import pytest

from events.codec import BadEvent, BadReason, Limits, decode, decode_binary, to_structured
from tests.unit.events.samples import ACTION, raw

BODY = raw(ACTION["data"])
KAFKA = [
    (f"ce_{name}", str(value).encode()) for name, value in ACTION.items() if name not in ("data", "datacontenttype")
]
JSON = ("content-type", b"application/json")


def refusal(headers: list[tuple[str, bytes]], body: bytes) -> BadEvent:
    with pytest.raises(BadEvent) as caught:
        decode_binary(headers, body)
    return caught.value


def test_kafka_headers_and_body_give_the_structured_event() -> None:
    assert decode_binary([*KAFKA, JSON], BODY) == decode(raw(ACTION))


def test_http_headers_are_percent_decoded_and_names_may_have_capitals() -> None:
    headers = {f"Ce-{name[3:].title()}": value.decode() for name, value in KAFKA}
    headers["Ce-Subject"] = "agent/d%C3%A9al%20bot"
    event = decode_binary({**headers, "Content-Type": "application/json"}, BODY)
    assert event.subject == "agent/déal bot"
    assert event.data == decode(raw(ACTION)).data


def test_a_structured_message_is_not_confused_by_mirrored_headers() -> None:
    mirrored = [(name, b"something else") for name, _ in KAFKA]
    headers = [*mirrored, ("content-type", b"application/cloudevents+json; charset=UTF-8")]
    assert decode_binary(headers, raw(ACTION)) == decode(raw(ACTION))


def test_without_a_content_type_the_body_is_taken_for_json_data() -> None:
    assert decode_binary(KAFKA, BODY) == decode(raw(ACTION))


def test_the_log_gets_structured_bytes() -> None:
    whole = json.loads(
        to_structured([*KAFKA, JSON, ("ce_loggedat", b"2026-01-01T00:00:00Z"), ("ce_logoffset", b"7")], BODY)
    )
    assert whole["data"] == ACTION["data"]
    assert whole["logoffset"] == 7


@pytest.mark.parametrize(
    ("extra", "reason", "field"),
    [
        (("content-type", b"application/avro"), BadReason.UNSUPPORTED_CONTENT_TYPE, "content-type"),
        (("ce_id", b"again"), BadReason.BAD_HEADER, "id"),
        (("ce_data", b"{}"), BadReason.BAD_HEADER, "data"),
        (("ce_traceparent", b"\xff"), BadReason.BAD_HEADER, "headers"),
        (("ce_logoffset", b"seven"), BadReason.WRONG_TYPE, "logoffset"),
    ],
)
def test_headers_that_make_no_sense_are_refused(extra: tuple[str, bytes], reason: str, field: str) -> None:
    error = refusal([*KAFKA, extra], BODY)
    assert (error.reason, error.field) == (reason, field)


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_a_tombstone_is_refused(body: bytes) -> None:
    assert refusal(KAFKA, body).reason == BadReason.EMPTY


@pytest.mark.parametrize("body", [BODY + b',"tenant":"other"', BODY[:-1], b"{} {}", b"[" * 100_000])
def test_a_body_can_not_smuggle_attributes_into_the_envelope(body: bytes) -> None:
    assert refusal(KAFKA, body).reason in (BadReason.NOT_JSON, BadReason.TOO_DEEP)


def test_a_missing_attribute_is_named() -> None:
    error = refusal([pair for pair in KAFKA if pair[0] != "ce_time"], BODY)
    assert (error.reason, error.field) == (BadReason.MISSING_FIELD, "time")


def test_a_body_beyond_the_limit_is_refused() -> None:
    with pytest.raises(BadEvent) as caught:
        decode_binary(KAFKA, BODY, Limits(max_event_bytes=100))
    assert caught.value.reason == BadReason.TOO_LARGE

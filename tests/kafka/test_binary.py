"""Records in CloudEvents' binary mode are judged as the same events in structured mode are."""

from __future__ import annotations

import base64
import json
from itertools import islice

from events.codec import decode, encode
from events.times import parse_ms
from governance.settings import parse_settings
from simulator import mixed_org, simulate
from streams.kafka.worker.lane import STRAY_HEADER, Lane
from streams.kafka.worker.recovery import make_lane
from streams.records import Partition
from streams.routing import CRM
from tests.kafka.records import FakeRecord

START_MS = 1_772_409_600_000
ATTRIBUTES = ("specversion", "id", "source", "type", "time", "subject", "partitionkey")


def lane(topic: str = CRM, index: int = 0, partitions: int = 1) -> Lane:
    return make_lane(
        parse_settings(None, {}, {"kafka.partitions": partitions}), Partition("main", topic, "id-1", index)
    )


def deals() -> list[bytes]:
    events = (event for event in simulate(mixed_org(3), 5, START_MS, 1) if type(event).__name__ == "ChangeEvent")
    return [encode(event) for event in islice(events, 40)]


def binary(value: bytes, **more: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The body and headers of the same event in binary mode."""
    fields = json.loads(value)
    headers = {f"ce_{name}": str(fields[name]).encode() for name in ATTRIBUTES if name in fields}
    headers |= {"content-type": b"application/json", **more}
    return json.dumps(fields["data"]).encode(), list(headers.items())


def records(values: list[bytes], is_binary: bool) -> list[FakeRecord]:
    made = []
    for offset, value in enumerate(values):
        body, headers = binary(value) if is_binary else (value, [])
        made.append(FakeRecord(offset, parse_ms(decode(value).time), body, headers))
    return made


def test_the_same_events_in_either_mode_give_the_same_bytes():
    values = deals()
    structured, other = lane(), lane()
    said = [one.value for one in structured.take(records(values, is_binary=False))]
    assert [one.value for one in other.take(records(values, is_binary=True))] == said
    assert said
    assert other.stage.snapshot() == structured.stage.snapshot()


def test_binary_mode_that_cannot_be_read_goes_to_dead_letters_with_its_field():
    good = deals()[0]
    body, headers = binary(good)
    bad_bytes = [(name, b"\xff" if name == "ce_source" else value) for name, value in headers]
    no_time = [(name, value) for name, value in headers if name != "ce_time"]
    broken = [FakeRecord(0, START_MS, body, bad_bytes), FakeRecord(1, START_MS, body, no_time)]
    broken += [FakeRecord(2, START_MS, b"{not json", headers), FakeRecord(3, START_MS, body, headers)]
    one = lane()
    letters = [decode(out.value).data for out in one.take(broken) if out.topic == "dead.letters"]
    assert [letter.reason for letter in letters] == ["bad_header", "missing_field", "not_json"]
    assert "time" in letters[1].message
    assert base64.b64decode(letters[0].raw) == body
    assert one.counts["dead_letter", "bad_header"] == 1
    assert one.keys == 1, "the good one after them was judged"


def test_a_stray_in_binary_mode_goes_home_as_it_is():
    value = deals()[0]
    body, headers = binary(value)
    homes = [lane(index=index, partitions=2) for index in range(2)]
    sent = [home.take([FakeRecord(0, START_MS, body, headers)]) for home in homes]
    astray = [out for outs in sent for out in outs if out.topic == CRM]
    assert len(astray) == 1
    assert astray[0].value == body
    assert astray[0].headers[:-1] == headers
    assert astray[0].headers[-1][0] == STRAY_HEADER

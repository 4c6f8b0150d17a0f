"""What a dead letter keeps of a record in Kafka."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from streams.kafka.worker.decoding import kept


def record(value: bytes | None, **headers: bytes) -> Any:
    return SimpleNamespace(offset=1, timestamp=1, key=None, value=value, headers=list(headers.items()))


def test_a_structured_record_is_kept_as_it_came() -> None:
    assert kept(record(b"{x", traceparent=b"00")) == (b"{x", {})
    assert kept(record(None)) == (b"", {})


def test_a_binary_record_is_kept_in_structured_mode() -> None:
    raw, attributes = kept(record(b'{"a": 1}', ce_specversion=b"1.0", ce_id=b"7"))
    assert json.loads(raw) == {"datacontenttype": "application/json", "specversion": "1.0", "id": "7", "data": {"a": 1}}
    assert attributes == {}


def test_what_cant_be_made_structured_keeps_its_attributes_beside_its_body() -> None:
    attributes = {"ce_specversion": "1.0", "ce_id": "\\xff", "content-type": "application/json"}
    given = {"ce_specversion": b"1.0", "ce_id": b"\xff", "content-type": b"application/json", "trace": b"x"}
    assert kept(record(b"{", **given)) == (b"{", attributes)

"""Mutes and expectations, waiting and agreed, and what people said of findings: nothing is ever taken out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from governance.widening import Widening
from storage.link import Link
from storage.sql import insert, upsert
from storage.tables import finding_verdict, widening

_PUT = upsert(widening)
_PUT_VERDICT = insert(finding_verdict, or_ignore=True)
_ONE = "SELECT body FROM widening WHERE id = ?"
_OPEN = (
    "SELECT body FROM widening WHERE key = ? AND state IN ('waiting', 'agreed') AND until_ms > ? ORDER BY asked_ms, id"
)
_FINDING = "SELECT body FROM finding WHERE id = ?"
_decode = msgspec.json.Decoder(Widening).decode


class Said(Struct, frozen=True, kw_only=True):
    """What a person said of a finding: wrong, or (with a second person) expected."""

    finding_id: str
    verdict: str
    key: str
    detector: str
    by: str
    reason: str
    at_ms: int


def read(body: str | bytes) -> Widening:
    """A widening from its row."""
    return _decode(body)


def find(link: Link, id_: str) -> Widening | None:
    """One by its id."""
    row = link.execute(_ONE, (id_,)).fetchone()
    return None if row is None else _decode(row[0])


def open_of(link: Link, key: str, now_ms: int) -> list[Widening]:
    """Those of an agent that wait or hold."""
    return [
        found for (body,) in link.execute(_OPEN, (key, now_ms)) if (found := _decode(body)).state_at(now_ms) != "lapsed"
    ]


def put(link: Link, one: Widening) -> None:
    """Write one as it is now."""
    body = msgspec.json.encode(one).decode()
    link.execute(_PUT, (one.id, one.key, one.kind, one.state, one.asked_ms, one.until_ms, body))


def finding_body(link: Link, finding_id: str) -> str | None:
    """The event of a finding, as JSON."""
    row = link.execute(_FINDING, (finding_id,)).fetchone()
    return None if row is None else str(row[0])


def say(link: Link, said: Said) -> bool:
    """Keep what was said of a finding; False when the same was said before."""
    values: Sequence[object] = (
        said.finding_id, said.verdict, said.key, said.detector, said.by, said.reason, said.at_ms
    )  # fmt: skip
    return bool(link.execute(_PUT_VERDICT, tuple(values)).rowcount)

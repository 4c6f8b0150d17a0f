"""CloudEvents envelopes for what Tripline itself says."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, TypeVar

from msgspec import UNSET, Struct

from events.errors import BadEvent
from events.times import format_ms
from events.types import DEFAULT_TENANT, DeadLetter, DeadLetterEvent, Event

E = TypeVar("E", bound=Event)


def split_key(key: str) -> tuple[str, str]:
    """A state key "tenant/id" as (tenant, id); the id may contain slashes itself."""
    tenant, _, name = key.partition("/")
    return tenant, name


def make_key(tenant: str, name: str) -> str:
    """The state key of a name: its tenant, a slash, the name."""
    return f"{tenant}/{name}"


def envelope(kind: type[E], engine_id: str, event_id: str, at_ms: int, key: str, data: Struct) -> E:
    """The envelope of an output or a system record: written by engine ``engine_id`` at log time ``at_ms``."""
    tenant, name = split_key(key)
    return kind(
        specversion="1.0",
        id=event_id,
        source=f"/tripline/{engine_id}",
        time=format_ms(at_ms),
        partitionkey=name,
        datacontenttype="application/json",
        data=data,  # type: ignore[call-arg]
        tenant=UNSET if tenant == DEFAULT_TENANT else tenant,
    )


def dead_letter(
    engine_id: str, letter_id: str, at_ms: int, key: str, raw: bytes, problem: BadEvent, origin: dict[str, Any]
) -> DeadLetterEvent:
    """What is kept of a record that can't be read: why, where from, and its bytes."""
    data = DeadLetter(
        reason=str(problem.reason),
        message=problem.message,
        origin=origin,
        raw=base64.b64encode(raw).decode(),
        at=format_ms(at_ms),
        agent_id=problem.agent_id,
    )
    return envelope(DeadLetterEvent, engine_id, letter_id, at_ms, key, data)


def line_letter(
    engine_id: str, at_ms: int, key: str, raw: bytes, problem: BadEvent, file: str, line: int
) -> DeadLetterEvent:
    """The dead letter of a line of a file; the same line gives the same id."""
    letter_id = f"{file}:{line}:{hashlib.blake2b(raw, digest_size=16).hexdigest()}"
    return dead_letter(engine_id, letter_id, at_ms, key, raw, problem, {"file": file, "line": line})

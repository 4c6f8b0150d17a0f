"""CloudEvents envelopes for what Tripline itself says."""

from __future__ import annotations

from typing import TypeVar

from msgspec import UNSET, Struct

from events.times import format_ms
from events.types import DEFAULT_TENANT, Event

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

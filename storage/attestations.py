"""What people stated of readiness: kept, each with who said it and when."""

from __future__ import annotations

from governance.readiness import Stated
from storage.link import Link
from storage.sql import upsert
from storage.tables import attestation

_PUT = upsert(attestation)


def put(link: Link, said: Stated) -> None:
    """Keep what a person stated."""
    link.execute(_PUT, (said.item, said.at_ms, said.by, said.note))

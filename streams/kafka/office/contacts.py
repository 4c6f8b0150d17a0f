"""Learns from the CRM's events whom somebody was in touch with, so that every gate tells first contacts from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from events.codec import BadEvent, decode
from storage.gate import know_contacts
from storage.postgres import PgStore
from streams.contacts import Met, met_in
from streams.kafka.office.held import Held

_SIGN = b"tripline.crm.activity"
"""Stands in every record that may name somebody; most others are not even read."""


class Contacts:
    """Takes records of ``crm.events``; those that can't be read are the workers' to report."""

    def __init__(self, store: PgStore) -> None:
        self._held = Held(store)

    def handle(self, records: Sequence[Any]) -> None:
        """Remember the contacts of these records; returns when that is durable. Raises StoreError."""
        met: dict[tuple[str, str], Met] = {}
        for record in records:
            if record.value and _SIGN in record.value:
                for one in _met(record):
                    met.setdefault(one[:2], one)
        if met:
            found = [met[key] for key in sorted(met)]
            self._held.run(lambda link: know_contacts(link, found))

    def close(self) -> None:
        """Give the connection back."""
        self._held.close()


def _met(record: Any) -> Sequence[Met]:
    try:
        return list(met_in(decode(record.value), record.timestamp))
    except BadEvent:
        return ()

"""Learns from the CRM's events whom somebody was in touch with, so that every gate tells first contacts from others.

And which records were changed: approvals about them that were asked before are over, once the event is here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from events.codec import BadEvent, decode, time_ms
from governance.settings import Settings
from storage import approvals
from storage.gate import know_contacts
from storage.postgres import PgLink, PgStore
from streams import approving
from streams.contacts import Met, met_in
from streams.kafka.office.held import Held
from streams.kafka.office.round import OfficeRound
from streams.standalone.types import Changes

_SIGN = b"tripline.crm.activity"
"""Stands in every record that may name somebody; most others are not even read."""
_CHANGED = b"tripline.crm.change"
_Touched = tuple[str, str, int, str]
"""Tenant, record, when, and what was done in words."""


class Contacts:
    """Takes records of ``crm.events``; those that can't be read are the workers' to report."""

    def __init__(self, settings: Settings, store: PgStore, decided: Callable[[Changes], None]) -> None:
        self._settings = settings
        self._held = Held(store)
        self._decided = decided

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
        self._end_approvals([record for record in records if record.value and _CHANGED in record.value])

    def _end_approvals(self, records: Sequence[Any]) -> None:
        """Approvals about records that were changed are over."""
        watched = self._held.run(approvals.watched) if records else set()
        touched = [one for record in records for one in _touched(record, watched)] if watched else []
        if touched:
            self._decided(self._held.run(lambda link: self._touch(link, touched)).changes())

    def _touch(self, link: PgLink, touched: Sequence[_Touched]) -> OfficeRound:
        round_ = OfficeRound(link, self._settings)
        round_.begin({found.key for tenant, each, _, _ in touched for found in approvals.about(link, tenant, each)})
        for tenant, each, at_ms, what in touched:
            approving.touch(round_, tenant, each, at_ms, what)
        round_.commit()
        return round_

    def close(self) -> None:
        """Give the connection back."""
        self._held.close()


def _met(record: Any) -> Sequence[Met]:
    try:
        return list(met_in(decode(record.value), record.timestamp))
    except BadEvent:
        return ()


def _touched(record: Any, watched: Collection[tuple[str, str]]) -> Iterator[_Touched]:
    try:
        event = decode(record.value)
    except BadEvent:
        return
    for tenant, each, what in approving.changed_in(event):
        if (tenant, each) in watched:
            yield tenant, each, time_ms(event), what

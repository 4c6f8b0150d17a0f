"""Learns from the CRM's events whom somebody was in touch with, so that every gate tells first contacts from others;
and what contacts allowed, and where records belong, see ``streams.whereabouts``.

And which records were changed: approvals about them that were asked before are over, once the event is here. And
what agents did in the CRM, against what the gates let pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from events.codec import BadEvent, decode, time_ms
from events.types import Event
from governance.containment import identities, seen_in
from governance.settings import Settings
from storage import approvals
from storage.gate import know_contacts
from storage.postgres import PgLink, PgStore
from streams import approving, containing, reverting
from streams.contacts import Met, met_in
from streams.kafka.office.held import Held
from streams.kafka.office.round import OfficeRound
from streams.standalone.types import Changes
from streams.whereabouts import Learned

_SIGN = b"tripline.crm.activity"
"""Stands in every record that may name somebody; most others are not even read."""
_CHANGED = b"tripline.crm.change"
_CONSENT = b"tripline.crm.consent"
_Touched = tuple[str, str, int, str]
"""Tenant, record, when, and what was done in words."""


class Contacts:
    """Takes records of ``crm.events``; those that can't be read are the workers' to report."""

    def __init__(self, settings: Settings, store: PgStore, decided: Callable[[Changes], None]) -> None:
        self._settings = settings
        self._has_policy = bool(settings.policy.file)
        self._held = Held(store)
        self._decided = decided
        self._identities = identities(settings)

    def handle(self, records: Sequence[Any]) -> None:
        """Take these records; returns when what comes of them is durable. Raises StoreError."""
        met: dict[tuple[str, str], Met] = {}
        learned = Learned(self._settings)
        for record in records:
            if record.value and _SIGN in record.value:
                for one in _met(record):
                    met.setdefault(one[:2], one)
            elif record.value and (_CONSENT in record.value or (self._has_policy and _CHANGED in record.value)):
                _learn(learned, record)
        if met:
            found = [met[key] for key in sorted(met)]
            self._held.run(lambda link: know_contacts(link, found))
        if learned:
            self._held.run(learned.write)
        self._end_approvals([record for record in records if record.value and _CHANGED in record.value])
        self._watch_agents([event for record in records if (event := _told(record)) is not None])

    def _watch_agents(self, events: Sequence[Event]) -> None:
        """Whether the feed is alive, what agents did, and what people undid of it."""
        if events:
            self._decided(self._held.run(lambda link: self._look(link, events)).changes())

    def _look(self, link: PgLink, events: Sequence[Event]) -> OfficeRound:
        round_ = OfficeRound(link, self._settings)
        keys = {one.key for event in events if (one := seen_in(event, self._identities)) is not None}
        keys |= reverting.keys_of(link, self._settings, events, self._identities)
        round_.begin(keys, containing.stop_alls(keys))
        containing.look(round_, events, self._identities)
        reverting.look(round_, events, self._identities)
        round_.commit()
        return round_

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


def _learn(learned: Learned, record: Any) -> None:
    with contextlib.suppress(BadEvent):
        learned.take(decode(record.value))


def _told(record: Any) -> Event | None:
    """A change or an activity; what can't be read is the workers' to report."""
    value = record.value
    if not value or not (_CHANGED in value or _SIGN in value):
        return None
    try:
        event: Event = decode(value)
    except BadEvent:
        return None
    return event


def _touched(record: Any, watched: Collection[tuple[str, str]]) -> Iterator[_Touched]:
    try:
        event = decode(record.value)
    except BadEvent:
        return
    for tenant, each, what in approving.changed_in(event):
        if (tenant, each) in watched:
            yield tenant, each, time_ms(event), what

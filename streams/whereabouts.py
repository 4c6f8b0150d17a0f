"""What events of the CRM say of records and contacts that the gate's scopes ask about: owners, segments, consent.

It is learned from the CRM's own events alone, never from what an agent reports. Owners and segments are kept while a
policy is set; what was said before is not known, and counts as the worst.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import UNSET

from events.codec import time_ms
from events.times import parse_ms
from events.types import After, ChangeEvent, ConsentEvent, Event, tenant_of
from governance.operation import canonical_contact, canonical_id
from governance.policy.worst import belonging_of_field
from governance.settings_types import Settings
from storage import whereabouts
from storage.link import Link
from storage.whereabouts import Allowed, Belonging

_WHAT = ("owner", "segment")


class Learned:
    """What the events of one transaction say. Parameters: settings."""

    __slots__ = ("_allowed", "_belonging", "_with_records")

    def __init__(self, settings: Settings) -> None:
        self._with_records = bool(settings.policy.file)
        self._belonging: list[Belonging] = []
        self._allowed: list[Allowed] = []

    def take(self, event: Event) -> None:
        """Look at an event of ``crm.events``."""
        if type(event) is ConsentEvent:
            self._allowed.append(_allowed(event))
        elif self._with_records and type(event) is ChangeEvent:
            self._belonging += _belonging(event)

    def write(self, link: Link) -> None:
        """Remember it."""
        if self._belonging or self._allowed:
            # in one order, so that nobody waits in a circle; the sort keeps the log's order of one record
            belonging = sorted(self._belonging, key=lambda row: row[:3])
            whereabouts.know(link, belonging, sorted(self._allowed, key=lambda row: row[:4]))

    def __bool__(self) -> bool:
        """Whether there is anything to remember."""
        return bool(self._belonging or self._allowed)


def _allowed(event: ConsentEvent) -> Allowed:
    data = event.data
    at_ms = parse_ms(data.effective_at) if isinstance(data.effective_at, str) else time_ms(event)
    channel, purpose = data.channel.strip().casefold(), data.purpose.strip().casefold()
    return tenant_of(event), canonical_contact(data.contact_id), channel, purpose, data.status, at_ms


def _belonging(event: ChangeEvent) -> Iterator[Belonging]:
    data, at_ms = event.data, time_ms(event)
    tenant, record_id = tenant_of(event), canonical_id(data.record_id)
    if data.op == "gap":  # the source lost what changed: nothing is known any more
        yield from ((tenant, record_id, what, None, at_ms) for what in _WHAT)
        return
    found: dict[str, str | None] = {}
    is_of_record = data.deal_id is UNSET or data.deal_id == data.record_id
    if is_of_record and isinstance(data.owner_id, str):
        found["owner"] = data.owner_id or None
    changes: Mapping[str, object] = data.changes if data.changes is not UNSET else {}
    for field, change in changes.items():
        if what := belonging_of_field(field):
            after = change.after if isinstance(change, After) else change[1]  # type: ignore[index]
            found[what] = after if isinstance(after, str) and after else None
    yield from ((tenant, record_id, what, value, at_ms) for what, value in found.items())

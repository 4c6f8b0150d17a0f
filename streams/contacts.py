"""Whom somebody was in touch with, as the CRM says: the gate asks it about first contacts."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from events.types import DEFAULT_TENANT, ActivityEvent, Event
from governance.operation import canonical_contact

Met = tuple[str, str, int]
"""Tenant, the contact in canonical spelling, since when."""


def met_in(event: Event, now_ms: int) -> Iterator[Met]:
    """The contacts that somebody is in touch with by an activity; an agent's own word does not count."""
    if type(event) is not ActivityEvent or event.data.participants is UNSET:
        return
    by = event.data.logged_by
    if by is UNSET or by.kind == "agent":
        return
    tenant = DEFAULT_TENANT if event.tenant is UNSET else event.tenant
    for one in event.data.participants:
        if one.contact_id:
            yield tenant, canonical_contact(one.contact_id), now_ms

"""What contacts allowed: whether a message may go to them. What nobody recorded is unknown, which is no consent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

Consent = Literal["granted", "unknown", "refused"]
"""From the best to the worst; of several people, the worst holds."""
CONSENTS: tuple[Consent, ...] = ("granted", "unknown", "refused")

_CHANNELS = {
    "email.send": "email",
    "sequence.enroll": "email",
    "meeting.schedule": "email",
    "contract.create": "email",
    "sms.send": "sms",
    "call.place": "phone",
    "call.record": "call_recording",
}
_SAME = {
    "mail": "email",
    "e-mail": "email",
    "text": "sms",
    "call": "phone",
    "telephone": "phone",
    "recording": "call_recording",
}
_ALL = frozenset(("*", "all", "any"))


class Said(Struct, frozen=True, gc=False):
    """What one contact (canonical) said of a channel for one purpose, and from when on it holds."""

    contact_id: str
    channel: str
    status: str
    at_ms: int


def consent_of(action: str, contact_ids: Iterable[str], said: Sequence[Said], now_ms: int) -> dict[str, Consent]:
    """What each contact allows of an action, those left out whose consent is unknown.

    A refusal for any purpose is one for all, since nobody knows the purpose of a message: refused beats granted. An
    action whose channel isn't known is refused by a refusal on any channel, and allowed by none. A consent that begins
    later is none yet; a refusal counts at once.
    """
    channel = _CHANNELS.get(action, "")
    found: dict[str, Consent] = {}
    wanted = set(contact_ids)
    for one in said:
        if one.contact_id not in wanted:
            continue
        name = one.channel.strip().casefold()
        name = _SAME.get(name, name)
        is_mine = name in _ALL or (name == channel if channel else one.status != "granted")
        if not is_mine:
            continue
        if one.status != "granted":
            found[one.contact_id] = "refused"
        elif channel and one.at_ms <= now_ms:
            found.setdefault(one.contact_id, "granted")
    return found


def worst_of(contact_ids: Iterable[str], found: dict[str, Consent]) -> Consent:
    """What all of them allow together; of nobody: unknown."""
    each = [found.get(contact_id, "unknown") for contact_id in contact_ids]
    return max(each, key=CONSENTS.index, default="unknown")

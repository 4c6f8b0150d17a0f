"""What an operation really is, worked out from what it lists; what the agent claims can only make it worse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from events.catalogue import CATALOGUE, ActionKind, kind_of

_CHECK_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_LONG_ID, _SHORT_ID = 18, 15
_KEYED = re.compile(r"[^\s:=]+:[^\s:=]+=.")
_OWNER_FIELDS = frozenset({"owner_id", "ownerid", "owner", "hubspot_owner_id"})
_MAKES_NEW = frozenset({"create", "schedule", "enroll", "call", "send", "place", "record", "draft", "make", "write"})


class Operation(Struct, frozen=True, kw_only=True):
    """An operation as the gate counts it.

    ``record_ids`` and ``recipient_ids`` are canonical and distinct. ``records`` and ``recipients`` may be more than
    are listed where the agent says so. ``implied`` are further actions that it amounts to, such as a change of owner
    by way of an update.
    """

    kind: ActionKind
    record_ids: tuple[str, ...]
    recipient_ids: tuple[str, ...]
    records: int
    recipients: int
    implied: tuple[str, ...] = ()
    names_no_record: bool = False
    names_no_recipient: bool = False

    @property
    def is_write(self) -> bool:
        """Whether it changes anything; an unknown action does."""
        return self.kind.is_write

    @property
    def is_external(self) -> bool:
        """Whether it reaches people outside: by its name, or because it lists recipients."""
        return self.kind.is_external or self.recipients > 0


def describe(
    action: str,
    record_ids: Iterable[str],
    changes: Mapping[str, Any],
    recipient_ids: Iterable[str],
    claimed_records: int = 0,
    claimed_recipients: int = 0,
) -> Operation:
    """The operation behind a request. Claims count where they are larger than what is listed."""
    kind = kind_of(action)
    records = tuple(dict.fromkeys([canonical_id(each) for each in (*record_ids, *changes)]))
    recipients = tuple(dict.fromkeys([canonical_contact(each) for each in recipient_ids]))
    is_reaching = kind.is_external and action != "contract.create"
    return Operation(
        kind=kind,
        record_ids=records,
        recipient_ids=recipients,
        records=max(len(records), claimed_records, 1),
        recipients=max(len(recipients), claimed_recipients, 1 if is_reaching else 0),
        implied=("owner.reassign",) if changes and action != "owner.reassign" and _changes_owner(kind, changes) else (),
        names_no_record=not records and kind.is_write and not _makes_something_new(kind),
        names_no_recipient=is_reaching and not recipients,
    )


def canonical_id(record_id: str) -> str:
    """One spelling per record: no outer blanks; an 18-character Salesforce id becomes its 15-character form.

    The last three of the 18 say which of the 15 are capitals, so they are cut only when they fit.
    """
    text = record_id.strip()
    if len(text) == _LONG_ID and text.isascii() and text.isalnum() and checksum(text[:_SHORT_ID]) == text[-3:].upper():
        return text[:_SHORT_ID]
    return text


def keyed_id(object_: str, field: str, value: str) -> str:
    """What stands for a record that is known by a field's value alone, as long as nobody knows its id. The value keeps
    its capitals: where the CRM tells them apart they are several records, and to count one twice harms nobody."""
    return f"{object_.casefold()}:{field.casefold()}={value}"


def is_keyed_id(record_id: str) -> bool:
    """Whether it stands for a record that is known by a field's value: no CRM's own id looks like that."""
    return _KEYED.match(record_id) is not None


def checksum(short_id: str) -> str:
    """The three characters that Salesforce appends to a 15-character id."""
    parts = (short_id[start : start + 5] for start in range(0, _SHORT_ID, 5))
    return "".join(_CHECK_ALPHABET[sum(1 << at for at, char in enumerate(part) if char.isupper())] for part in parts)


def canonical_contact(contact_id: str) -> str:
    """One spelling per person: as a record id; an address without regard to capitals."""
    text = canonical_id(contact_id)
    return text.casefold() if "@" in text else text


def is_known(action: str) -> bool:
    """Whether the wire contract names the action."""
    return action in CATALOGUE


def _makes_something_new(kind: ActionKind) -> bool:
    return kind.is_known and kind.name.partition(".")[2] in _MAKES_NEW


def _changes_owner(kind: ActionKind, changes: Mapping[str, Any]) -> bool:
    if not kind.is_write or kind.name == "record.create":
        return False
    for fields in changes.values():
        if isinstance(fields, Mapping) and not _OWNER_FIELDS.isdisjoint([field.casefold() for field in fields]):
            return True
    return False

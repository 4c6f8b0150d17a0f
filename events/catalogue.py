"""What each kind of action means: does it write, does it leave the house, can it be undone.

Source of the irreversible set: first outbound to a new contact, contract creation, bulk modification, call
recording, any communication to more than 50 contacts, price or discount approval, owner reassignment.
Those that depend on the operation (first contact, bulk, recipients) are judged per action, not here.
"""

from __future__ import annotations

from msgspec import Struct


class ActionKind(Struct, frozen=True, gc=False):
    """The standing properties of an action's name."""

    name: str
    is_write: bool
    is_external: bool
    is_reversible: bool
    is_known: bool = True


def _kind(name: str, *, write: bool, external: bool = False, reversible: bool = True) -> ActionKind:
    return ActionKind(name, write, external, reversible)


_READS = ("record.read", "report.run", "suggestion.make", "brief.write", "call.summarize", "email.draft")
_WRITES = (
    "record.create",
    "record.update",
    "record.delete",
    "record.undelete",
    "record.enrich",
    "task.create",
    "note.create",
    "quote.create",
    "tool.call",
)
_EXTERNAL = ("email.send", "sms.send", "call.place", "meeting.schedule", "sequence.enroll")
_IRREVERSIBLE = ("owner.reassign", "record.merge", "discount.approve")
_IRREVERSIBLE_EXTERNAL = ("call.record", "contract.create")

CATALOGUE: dict[str, ActionKind] = {
    kind.name: kind
    for kind in (
        *(_kind(name, write=False) for name in _READS),
        *(_kind(name, write=True) for name in _WRITES),
        *(_kind(name, write=True, external=True) for name in _EXTERNAL),
        *(_kind(name, write=True, reversible=False) for name in _IRREVERSIBLE),
        *(_kind(name, write=True, external=True, reversible=False) for name in _IRREVERSIBLE_EXTERNAL),
    )
}
"""Every action name of the wire contract."""


def kind_of(name: str) -> ActionKind:
    """The properties of an action; an unknown name is a write of the highest risk."""
    known = CATALOGUE.get(name)
    return known if known is not None else ActionKind(name, True, True, False, False)

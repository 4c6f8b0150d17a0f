"""Upserts: whether a record is there is not known before, so making it and changing it have to be allowed both."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from console.proxy.asked import Asked, Fields, NotParsed, Together, at_most


class Kinds(Struct, frozen=True, kw_only=True):
    """What kinds of records amount to: the action of a new one (``creates``) and of a changed one (``reaches``), where
    it is another than ``record.…``."""

    creates: Mapping[str, str]
    reaches: Mapping[str, str]


def upserted(
    system: str, object_: str, changes: Mapping[str, Fields], kinds: Kinds, recipients: tuple[str, ...]
) -> Together:
    """An upsert of records by their made-up ids, which reaches these: each counts as one that nobody knows. Raises
    NotParsed."""
    at_most(len(changes))
    if len({each.casefold() for each in changes}) != len(changes):
        raise NotParsed("a record is there twice, perhaps in other capitals", "send each record once")
    plain = object_.casefold()
    actions = (kinds.reaches.get(plain, "record.update"), kinds.creates.get(plain, "record.create"))

    def part(action: str) -> Asked:
        return Asked(
            action=action, object=object_, record_ids=tuple(changes), changes=changes, recipient_ids=recipients,
            system=system, is_keyed=True,
        )  # fmt: skip

    return Together(parts=tuple(part(action) for action in dict.fromkeys(actions)))

"""The policy in force and its versions: kept so that every decision's version can be read again."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from governance.policy.model import Policy, with_hash
from storage.errors import StoreMismatch
from storage.link import Link
from storage.sql import insert, upsert
from storage.tables import policy_force, policy_version

_PUT = upsert(policy_force)
_PUT_VERSION = insert(policy_version, or_ignore=True)
_FORCE = "SELECT base, wide, until_ms, change_id FROM policy_force WHERE tenant = ?"
_VERSION = "SELECT body FROM policy_version WHERE hash = ?"
_decode = msgspec.json.Decoder(Policy).decode


class Standing(Struct, frozen=True, kw_only=True):
    """Versions by their hashes: ``base`` holds without an end, ``wide`` ("": none) until ``until_ms``."""

    base: str
    wide: str = ""
    until_ms: int = 0
    change_id: str = ""


def standing(link: Link, tenant: str) -> Standing | None:
    """What is in force; None before the first policy."""
    row = link.execute(_FORCE, (tenant,)).fetchone()
    return None if row is None else Standing(base=row[0], wide=row[1], until_ms=row[2], change_id=row[3])


def put_standing(link: Link, tenant: str, one: Standing, now_ms: int) -> None:
    """Put another one in force."""
    link.execute(_PUT, (tenant, one.base, one.wide, one.until_ms, one.change_id, now_ms))


def put_version(link: Link, policy: Policy, origin: Literal["file", "both"], now_ms: int) -> bool:
    """Keep a version, once; False when it was there."""
    body = msgspec.json.encode(msgspec.structs.replace(policy, memo={})).decode()
    return bool(link.execute(_PUT_VERSION, (policy.hash, now_ms, origin, body)).rowcount)


def version(link: Link, hash_: str) -> Policy:
    """A version by its hash. Raises StoreMismatch when it is not there, or not what its hash says."""
    row = link.execute(_VERSION, (hash_,)).fetchone()
    if row is None:
        raise StoreMismatch(f"the store does not have version {hash_[:12]} of the policy")
    found = with_hash(_decode(row[0]))
    if found.hash != hash_:
        raise StoreMismatch(f"the store's version {hash_[:12]} of the policy was changed: it is {found.hash[:12]} now")
    return found

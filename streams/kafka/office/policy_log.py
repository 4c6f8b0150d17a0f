"""The version of the policy in force, and what it grants, as a record in every input partition of the agents.

The leader looks at what is in force in the store, so that it is said once, by one console, also when a time is over.
"""

from __future__ import annotations

from events.codec import encode
from events.types import DEFAULT_TENANT, PolicyEvent, PolicyVersion
from governance.policy import Policy
from governance.policy.granted import granted
from governance.settings import Settings
from storage import policies as store
from storage import shared
from storage.postgres import PgLink
from storage.publication import Publication
from streams.envelopes import envelope, make_key
from streams.kafka.office.round import OfficeRound
from streams.policy_change import POLICY_KEY
from streams.routing import ACTIONS

_EVERYBODY = make_key(DEFAULT_TENANT, "*")
_KNOWN = "SELECT name, value FROM meta WHERE name IN ('policy_hash', 'policy_version')"
_SET = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class PolicyLog:
    """Says each version once. Parameters: the settings; where they name no policy, one that was said ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._said: str | None = None

    def look(self, link: PgLink) -> OfficeRound | None:
        """Say what is in force if that was not said yet; the round that did it. Raises StoreError."""
        hash_ = self._hash(link)
        if hash_ is None or hash_ == self._said:
            return None
        round_ = OfficeRound(link, self._settings)
        round_.begin({POLICY_KEY})
        hash_ = self._hash(link)
        known: dict[str, str] = dict(link.execute(_KNOWN).fetchall())
        if hash_ is not None and hash_ != known.get("policy_hash", ""):
            policy = store.version(link, hash_) if hash_ else None
            self._say(round_, int(known.get("policy_version", 0)) + 1, hash_, policy)
        round_.commit()
        self._said = hash_
        return round_

    def _hash(self, link: PgLink) -> str | None:
        """The version in force, "" for none; None before the first one is in the store."""
        if not self._settings.policy.file:
            return ""
        standing = store.standing(link, DEFAULT_TENANT)
        if standing is None:
            return None
        return standing.wide if standing.wide and shared.now_ms(link) < standing.until_ms else standing.base

    def _say(self, round_: OfficeRound, version: int, hash_: str, policy: Policy | None) -> None:
        for name, value in (("policy_hash", hash_), ("policy_version", str(version))):
            round_.link.execute(_SET, (name, value))
        data = PolicyVersion(version=version, hash=hash_, granted=granted(policy) if policy is not None else None)
        id_ = f"policy-{version}"
        body = encode(envelope(PolicyEvent, round_.engine_id, id_, round_.now_ms, _EVERYBODY, data))
        for partition in range(self._settings.kafka.partitions):
            round_.publications.append(
                Publication(
                    kind="decision", topic=ACTIONS, key=_EVERYBODY, partition=partition, event_id=id_, body=body,
                    created_ms=round_.now_ms,
                )
            )  # fmt: skip

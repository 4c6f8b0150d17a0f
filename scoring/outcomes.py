"""Who wins how often, as of the last midnight (UTC): counts by owner and segment, shrunk to everybody's rate.

A deal that closes today counts from tomorrow on, so that a score depends on the day it is made, not on the order of
records within it. Bounded: beyond ``MAX_GROUPS`` owners and segments, new ones count for everybody's rate alone.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

MAX_GROUPS = 8_192
OWN_WEIGHT = 8.0
"""A group's own rate weighs as much as everybody's once this many of its deals have closed."""
PRIOR_WINS, PRIOR_DEALS = 1.0, 4.0
"""Everybody's rate starts at a quarter, worth four deals."""


class Closed(Struct, array_like=True, gc=False):
    """A deal that closed on ``day`` (days since 1970)."""

    day: int
    tenant: str
    owner: str
    segment: str
    is_won: bool


class Outcomes(Struct, array_like=True):
    """Wins and closed deals by group ("tenant", "tenant/o/owner", "tenant/s/segment"), and those not yet counted."""

    counts: dict[str, tuple[int, int]] = {}
    pending: list[Closed] = []

    def close(self, closed: Closed) -> None:
        """Note a closed deal; it counts from the next day on."""
        self.pending.append(closed)

    def roll(self, day: int) -> None:
        """Count what closed before ``day``."""
        if not self.pending or min(closed.day for closed in self.pending) >= day:
            return
        for closed in self.pending:
            if closed.day < day:
                self._count(closed)
        self.pending = [closed for closed in self.pending if closed.day >= day]

    def closed_deals(self, tenant: str) -> int:
        """How many of the tenant's deals have closed."""
        return self.counts.get(tenant, (0, 0))[1]

    def points_above(self, group: str, tenant: str) -> int:
        """The group's shrunk win rate less everybody's, in percentage points; 0 for a group without closed deals."""
        wins, deals = self.counts.get(group, (0, 0))
        if not deals:
            return 0
        all_wins, all_deals = self.counts.get(tenant, (0, 0))
        rate = (all_wins + PRIOR_WINS) / (all_deals + PRIOR_DEALS)
        own = (wins + OWN_WEIGHT * rate) / (deals + OWN_WEIGHT)
        return round(100.0 * (own - rate))

    def _count(self, closed: Closed) -> None:
        groups = [closed.tenant]
        if closed.owner:
            groups.append(owner_group(closed.tenant, closed.owner))
        if closed.segment:
            groups.append(segment_group(closed.tenant, closed.segment))
        for group in groups:
            if group in self.counts or len(self.counts) < MAX_GROUPS or group == closed.tenant:
                wins, deals = self.counts.get(group, (0, 0))
                self.counts[group] = (wins + closed.is_won, deals + 1)

    def dump(self) -> bytes:
        """As bytes; equal outcomes give equal bytes."""
        return _encoder.encode(self)

    @classmethod
    def load(cls, blob: bytes) -> Outcomes:
        """From the bytes of ``dump``."""
        return _decoder.decode(blob)


def owner_group(tenant: str, owner: str) -> str:
    """The group of an owner's deals."""
    return f"{tenant}/o/{owner}"


def segment_group(tenant: str, segment: str) -> str:
    """The group of a segment's deals."""
    return f"{tenant}/s/{segment}"


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Outcomes)

"""Leases as pages and the API show them."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, select

from events.times import format_ms
from governance.lease_types import Lease
from storage.read.tenants import keys_of
from storage.tables import lease

_decoder = msgspec.json.Decoder(Lease)


class LeaseRow(Struct, frozen=True, kw_only=True):
    """A lease. ``state``: open, returned, ended, wrong; whether a stop has ended it is the agent's state to say."""

    lease_id: str
    agent_id: str
    holder: str
    state: str
    wrong: str
    is_write: bool
    actions_allowed: list[str]
    object: str | None
    epoch: int
    granted: str
    ends: str
    action_limit: int
    record_limit: int
    actions: int
    records: int
    settled_actions: int
    renewals: int

    @classmethod
    def of(cls, one: Lease, now_ms: int) -> LeaseRow:
        """A lease as it is shown."""
        returned = one.returned_ms is not None
        state = "returned" if returned else "wrong" if one.wrong else "ended" if now_ms >= one.end_ms else "open"
        return cls(
            lease_id=one.lease_id, agent_id=one.ask.agent_id, holder=one.ask.holder, state=state, wrong=one.wrong,
            is_write=one.is_write, actions_allowed=one.ask.actions, object=one.ask.object, epoch=one.epoch,
            granted=format_ms(one.granted_ms), ends=format_ms(one.end_ms), action_limit=one.action_limit,
            record_limit=one.record_limit, actions=one.actions, records=one.records,
            settled_actions=one.settled_actions, renewals=one.renewals,
        )  # fmt: skip


def newest(connection: Connection, tenant: str, agent_id: str | None, most: int) -> list[Lease]:
    """The leases that end last."""
    mine = keys_of(lease.c.key, tenant, agent_id)
    query = select(lease.c.body).where(*mine).order_by(lease.c.end_ms.desc(), lease.c.lease_id).limit(most)
    return [_decoder.decode(body) for (body,) in connection.execute(query)]


def living(connection: Connection, tenant: str, now_ms: int) -> list[Lease]:
    """Leases that were not given back and whose time is not over."""
    query = select(lease.c.body).where(*keys_of(lease.c.key, tenant), lease.c.is_open, lease.c.end_ms > now_ms)
    return [_decoder.decode(body) for (body,) in connection.execute(query)]

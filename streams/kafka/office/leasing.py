"""Leases on Kafka: one transaction that has the agent locked, as a round of checks; what follows is produced behind it.

*Judged* is what the workers have saved, see ``storage.shared.judged_to``: some seconds late.
"""

from __future__ import annotations

from collections.abc import Sequence

from events.types import tenant_of
from governance.gate import GateRequest
from governance.lease_types import LeaseAsk, What
from streams.envelopes import make_key
from streams.kafka.office.standing import GateRound, Standing
from streams.leasing import Leased, Leasing, Outcome, Reported, count
from streams.routing import ACTIONS


class OfficeLeasing(Leasing):
    """Leases in an open round of the gate."""

    def __init__(self, round_: GateRound) -> None:
        super().__init__(round_.link, round_.settings, round_.now_ms, round_.policy)
        self._round = round_

    def gating(self, request: GateRequest) -> Standing:
        """A check of this request, as of now."""
        return Standing(self._round, request)

    def new_id(self) -> str:
        """An id for a lease."""
        return self._round.ids.next(self.now_ms)

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Have outcomes published after the commit; stages drop what they have seen before."""
        for _, raw, event in outcomes:
            key = make_key(tenant_of(event), event.data.agent_id)
            self._round.publish("admission", ACTIONS, key, event.id, raw)

    def judge(self) -> None:
        """The workers do."""


def grant(round_: GateRound, ask: LeaseAsk) -> Leased:
    """A lease, or why there is none."""
    round_.open_for([GateRequest(agent_id=ask.agent_id, action="record.read", tenant=ask.tenant)])
    leased = OfficeLeasing(round_).grant(ask)
    count(round_, "grant", leased)
    return leased


def report(round_: GateRound, reported: Reported, what: What) -> Leased | None:
    """Take what a holder did. None: there is no such lease."""
    told = reported.report
    round_.open_for([GateRequest(agent_id=told.agent_id, action="record.read", tenant=told.tenant)])
    leased = OfficeLeasing(round_).report(reported, what)
    if leased is not None:
        count(round_, what, leased)
    return leased

"""Leases inside the writer's thread: what a holder reports is judged in the round that takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from events.times import MINUTE_MS
from events.types import Event
from governance.gate import GateRequest
from governance.lease_types import LeaseAsk, What
from governance.policy import Policy
from storage import leases as lease_store
from streams.leasing import Leased, Leasing, Outcome, Reported, count
from streams.standalone.gatekeeper import Check
from streams.standalone.round import Round
from streams.standalone.types import AHEAD_MS, Prepared, too_far_ahead

Prepare = Callable[[Sequence[tuple[bytes, Event]]], list[Prepared]]


class RoundLeasing(Leasing):
    """Leases in an open round. ``prepare`` hashes and routes events, as for those that producers send."""

    def __init__(self, round_: Round, policy: Policy | None, prepare: Prepare) -> None:
        super().__init__(round_.core.link, round_.core.settings, round_.now_ms, policy)
        self._round = round_
        self._prepare = prepare

    def gating(self, request: GateRequest) -> Check:
        """A check of this request, as of now."""
        return Check(self._round, request, request.key)

    def new_id(self) -> str:
        """An id for a lease."""
        return self._round.core.ids.next(self.now_ms)

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Append outcomes that are new; one dated too far ahead is kept as a dead letter."""
        round_, fresh = self._round, []
        recent, ahead_ms = round_.core.recent, self.now_ms + AHEAD_MS
        for at, item in enumerate(self._prepare([(raw, event) for _, raw, event in outcomes])):
            if item.effect_ms > ahead_ms:
                refused, origin = too_far_ahead(item.effect_ms, self.now_ms), {"http": "/v1/leases", "outcome": at}
                round_.dead_letter(item.raw, refused.reason, refused.message, origin, outcomes[at][2].data.agent_id)
            elif recent.known.get(item.id_hash) is None:
                recent.add(item.id_hash, item.content_hash)
                fresh.append(item)
        if fresh:
            round_.append_all(fresh)

    def judge(self) -> None:
        """Judge what was appended."""
        self._round.judge()


def grant(round_: Round, ask: LeaseAsk, policy: Policy | None, prepare: Prepare) -> Leased:
    """A lease, or why there is none."""
    leased = RoundLeasing(round_, policy, prepare).grant(ask)
    count(round_, "grant", leased)
    return leased


def report(round_: Round, reported: Reported, what: What, policy: Policy | None, prepare: Prepare) -> Leased | None:
    """Take what a holder did. None: there is no such lease."""
    leased = RoundLeasing(round_, policy, prepare).report(reported, what)
    if leased is not None:
        count(round_, what, leased)
    return leased


def override(round_: Round, key: str, minutes: int, by: str, reason: str) -> int:
    """A person lets a blind agent go on; until when."""
    until_ms = round_.now_ms + minutes * MINUTE_MS
    lease_store.override(round_.link, key, round_.now_ms, until_ms, by, reason)
    return until_ms

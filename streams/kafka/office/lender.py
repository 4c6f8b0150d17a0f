"""A console's desk for leases: transactions on a thread of their own, answers when what follows is in the log."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from events.times import MINUTE_MS
from governance.lease_types import LeaseAsk, What
from governance.settings import Settings
from storage import leases as lease_store
from storage import shared
from storage.errors import StoreUnavailable
from storage.postgres import PgLink, PgStore
from streams.gating import DecisionIds
from streams.kafka.office import leasing
from streams.kafka.office.held import Held
from streams.kafka.office.post import Post
from streams.kafka.office.standing import Counted, GateRound
from streams.leasing import Leased, Reported
from streams.policies import PolicyInForce
from streams.standalone.types import Changes

_PATIENCE_SECS = 1.5
_STATEMENT_LIMIT = "1200ms"
T = TypeVar("T")


class Lender:
    """Parameters: settings; the store; where records go; the policy; up to when the workers have saved what they
    judged; and who hears what changed. Nothing is lent while records can't be written."""

    def __init__(
        self,
        settings: Settings,
        store: PgStore,
        post: Post,
        policies: PolicyInForce,
        saved_ms: Callable[[], int],
        changed: Callable[[Changes], None],
    ) -> None:
        self._settings = settings
        self._post = post
        self._policies = policies
        self._saved_ms = saved_ms
        self._changed = changed
        self._held = Held(store, statement_timeout=_STATEMENT_LIMIT, lock_timeout=_STATEMENT_LIMIT)
        self._counted, self._ids = Counted(), DecisionIds()
        self._done: list[int] = []
        self._thread = ThreadPoolExecutor(1, "tripline-leases")

    def grant(self, ask: LeaseAsk) -> Future[Leased]:
        """A lease, or why there is none."""
        return self._thread.submit(lambda: self._run(ask.key, lambda round_: leasing.grant(round_, ask)))

    def report(self, reported: Reported, what: What) -> Future[Leased | None]:
        """Take what a holder did; in the log when the answer comes. Fails when it is not, and may be sent again."""
        key = reported.report.key
        return self._thread.submit(lambda: self._run(key, lambda round_: leasing.report(round_, reported, what)))

    def override(self, key: str, minutes: int, by: str, reason: str) -> Future[int]:
        """A person lets a blind agent go on; until when."""

        def write(link: PgLink) -> int:
            now_ms = shared.now_ms(link)
            until_ms = now_ms + minutes * MINUTE_MS
            lease_store.override(link, key, now_ms, until_ms, by, reason)
            return until_ms

        return self._thread.submit(lambda: self._held.run(write))

    def stop(self) -> None:
        """Finish what was asked, and end."""
        self._thread.shutdown()
        self._held.close()

    def _run(self, key: str, made: Callable[[GateRound], T]) -> T:
        if self._post.trouble:
            raise StoreUnavailable(f"the brokers can't be written to: {self._post.trouble}")
        try:
            found, round_, seqs = self._held.run(lambda link: self._transact(link, made))
        except BaseException:
            self._counted.forget({key})
            raise
        if round_.publications:
            self._post.send(round_.publications).result(_PATIENCE_SECS)
            self._done += seqs
        self._changed(round_.changes())
        return found

    def _transact(self, link: PgLink, made: Callable[[GateRound], T]) -> tuple[T, GateRound, list[int]]:
        policy = self._policies.policy
        round_ = GateRound(link, self._settings, self._counted, self._ids, policy, self._saved_ms())
        round_.published, self._done = self._done, []
        try:
            found = made(round_)
            return found, round_, round_.commit()
        except BaseException:
            self._done = [*round_.published, *self._done]
            raise

"""What one console does for all: ends throttles and approvals, tells people, says the policy in the log.

Another one takes over when it dies.

The leader holds a lock of the store with a connection of its own; the lock goes with the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import structlog

from events.times import DAY_MS, HOUR_MS
from governance.settings import Settings
from storage import approvals, containment, outbox, shared
from storage import gate as gate_store
from storage import leases as lease_store
from storage.background import Background
from storage.errors import StoreError
from storage.outbox import Attempt, News, OutboxRow
from storage.postgres import PgLink, PgStore
from storage.postgres.link import lock_number
from streams import approving, containing
from streams.kafka.office.held import Held
from streams.kafka.office.policy_log import PolicyLog
from streams.kafka.office.round import OfficeRound
from streams.sinks.boxes import OUTCOMES
from streams.sinks.notifications import Notifier, Observe
from streams.standalone.types import Changes

_LOCK = "tripline: lead"
_LOOK_SECS, _TIDY_ROUNDS = 1.0, 60
_ALIVE = {"tcp_keepalives_idle": "4", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "2"}
"""The server notices within 8 s that a leader's machine is gone, and gives its lock to another one."""
_OVERLAP, _PAGE = 2_000, 1_000
"""Numbers of the outbox that are looked at again, and rows beyond those that are read at once."""
_TRY_LOCK = "SELECT pg_try_advisory_lock(?::bigint)"
_log = structlog.get_logger("tripline.leader")


class Leader(Background):
    """The thread. ``changed`` hears what ends by itself, and of attempts to notify; ``observe`` times those."""

    def __init__(
        self, settings: Settings, store: PgStore, changed: Callable[[Changes], None], observe: Observe | None
    ) -> None:
        super().__init__("tripline-leader")
        self._settings = settings
        self._store = store
        self._changed = changed
        self._observe = observe
        self._lead = Held(store, **_ALIVE)
        self._work = Held(store)
        self._notifier: Notifier | None = None
        self._policy_log = PolicyLog(settings)
        self._rounds = 0
        self.is_leading = False

    def wake(self) -> None:
        """There may be something to tell."""
        notifier = self._notifier
        if notifier is not None:
            notifier.wake()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except StoreError as problem:
                self._resign(str(problem))
            except Exception as problem:  # the thread must outlive whatever happens
                _log.exception("leader_failed")
                self._resign(repr(problem))
            self._stop.wait(_LOOK_SECS)
        self._resign("stopping")
        self._lead.close()
        self._work.close()

    def _turn(self) -> None:
        was_leading = self.is_leading
        self.is_leading = self._lead.run(lambda link: _leads(link, was_leading))
        if not self.is_leading:
            return
        if not was_leading:
            self._begin()
        for task in (self._expire, self._policy_log.look):
            round_ = self._work.run(task)
            if round_ is not None:
                self._changed(round_.changes())
        self._rounds += 1
        if self._rounds % _TIDY_ROUNDS == 0:
            self._work.run(self._drop_old)

    def _begin(self) -> None:
        _log.info("leading")
        box = PgBox(self._store, self._settings, self._changed)
        self._notifier = Notifier(self._settings, box, observe=self._observe)
        self._notifier.start()

    def _resign(self, why: str) -> None:
        if self.is_leading:
            _log.warning("not_leading_any_more", why=why)
        self.is_leading = False
        self._lead.close()
        notifier, self._notifier = self._notifier, None
        if notifier is not None:
            notifier.close()

    def _expire(self, link: PgLink) -> OfficeRound | None:
        now_ms = shared.now_ms(link)
        throttled, waiting = shared.expired(link, now_ms), {each.key for each in approvals.due(link, now_ms)}
        unmatched = containment.due_keys(link, now_ms)
        if not throttled and not waiting and not unmatched:
            return None
        round_ = OfficeRound(link, self._settings)
        round_.begin({*throttled, *waiting, *unmatched}, containing.stop_alls(unmatched))
        round_.expire_throttles(round_.rows())
        approving.expire(round_, waiting)
        containing.settle(round_, unmatched)
        round_.commit()
        return round_

    def _drop_old(self, link: PgLink) -> None:
        before_ms = shared.now_ms(link) - self._settings.engine.retention_days * DAY_MS
        gate_store.drop_before(link, before_ms)
        approvals.drop_before(link, gate_store.decision_prefix(before_ms))
        lease_store.drop_before(link, before_ms)
        containment.drop_before(link, before_ms)
        containment.forget_gates(link, shared.now_ms(link) - HOUR_MS)


class PgBox:
    """The outbox in the shared store; counts attempts by channel and outcome."""

    def __init__(self, store: PgStore, settings: Settings, changed: Callable[[Changes], None]) -> None:
        self._held = Held(store)
        self._changed = changed
        self._channels = {target.name: target.url.partition(":")[0] for target in settings.notifications.targets}
        self._given: set[int] = set()

    def waiting(self, after_seq: int) -> list[OutboxRow]:
        """Rows that are not done with and were not given before.

        Not simply those after ``after_seq``: a transaction that got a lower number may commit later.
        """
        low = max(0, max(self._given, default=0) - _OVERLAP)
        rows = self._held.run(lambda link: outbox.waiting(link, low, _OVERLAP + _PAGE))
        fresh = [row for row in rows if row.seq not in self._given]
        self._given = {seq for seq in self._given if seq > low} | {row.seq for row in fresh}
        return fresh

    def tried(self) -> Mapping[tuple[int, str], tuple[str, int]]:
        """State and attempts by row and target, of rows that are not done with."""
        return self._held.run(outbox.tried)

    def recently_told(self, since_ms: int) -> list[tuple[OutboxRow, int]]:
        """Rows told since."""
        return self._held.run(lambda link: outbox.recently_told(link, since_ms))

    def record(self, news: Sequence[News]) -> None:
        """Write down what became of them, durably."""

        def write(link: PgLink) -> None:
            link.execute("BEGIN IMMEDIATE")
            outbox.record(link, news)
            link.execute("COMMIT")

        self._held.run(write)
        counts: dict[tuple[str, ...], int] = {}
        for item in news:
            if isinstance(item, Attempt) and item.state != "skipped":
                what = ("notification", self._channels.get(item.target, item.target), OUTCOMES[item.state])
                counts[what] = counts.get(what, 0) + 1
        if counts:
            nobody = frozenset[str]()
            self._changed(Changes(agents=nobody, deals=nobody, kinds=nobody, counts=counts, wrong_records=[]))


def _leads(link: PgLink, was_leading: bool) -> bool:
    """Whether this connection holds the lock; asking again while it does would count twice."""
    if was_leading:
        return link.execute("SELECT true").fetchone()[0]  # type: ignore[no-any-return, index]
    return link.execute(_TRY_LOCK, (lock_number(_LOCK),)).fetchone()[0]  # type: ignore[no-any-return, index]

"""The gate on Kafka: decides in a transaction of the store, answers when the admissions are in the log.

Checks that wait are decided together, in one transaction that holds the locks of their agents: two gates never decide
on one agent at the same time, a stop is obeyed from its commit on, and admissions are numbered without a gap. What is
admitted is produced behind the commit; the answer leaves when it is acknowledged. Store or brokers not there: denied.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

import structlog
from msgspec import Struct

from governance.gate import GateDecision, GateRequest
from governance.settings import Settings
from storage import publication
from storage.actions import ActionRows
from storage.errors import StoreError
from storage.postgres import PgLink, PgStore
from storage.publication import Publication
from streams.gating import DecisionIds, blind
from streams.kafka.office.held import Held
from streams.kafka.office.post import Post
from streams.kafka.office.standing import Counted, GateRound
from streams.policies import PolicyInForce
from streams.standalone.types import Changes

TOGETHER = 100
GATHER_SECS = 0.002
PATIENCE_SECS = 1.5
"""A check that was not decided, or whose admission is not in the log, within this is answered: denied."""
_STATEMENT_LIMIT = "1200ms"
_TIDY_SECS, _IDLE_SECS = 0.05, 0.2
_MOST_DENIALS = 10_000
"""Refusals that are counted for pages while the store is slow; more are only decided."""
T = TypeVar("T")
_log = structlog.get_logger("tripline.gate")


class Check(Struct, eq=False):
    """One check that waits; ``told`` hears the decision, once."""

    request: GateRequest
    told: Callable[[GateDecision], None]
    began: float

    @property
    def is_late(self) -> bool:
        """Whether it has waited for too long."""
        return time.monotonic() - self.began > PATIENCE_SECS


class Gate:
    """The gate's thread. Parameters: settings; the store, and whether it may be used; where admissions go.

    ``changed`` hears what a round changed; ``deliver`` is called when answers were told. Each round has the policy
    in force at its begin. ``saved_ms``: the workers have judged and saved all that came before.
    """

    def __init__(
        self,
        settings: Settings,
        store: PgStore,
        post: Post,
        is_open: Callable[[], bool],
        changed: Callable[[Changes], None],
        deliver: Callable[[], None],
        policies: PolicyInForce,
        saved_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._settings = settings
        self._policies = policies
        self._saved_ms = saved_ms
        self._post = post
        self._is_open = is_open
        self._changed = changed
        self._deliver = deliver
        self._held = Held(store, statement_timeout=_STATEMENT_LIMIT, lock_timeout=_STATEMENT_LIMIT)
        self._counted = Counted()
        self._ids = DecisionIds()
        self._waiting: deque[Check] = deque()
        self._sent: dict[Future[None], tuple[list[tuple[Check, GateDecision]], float]] = {}
        self._published: deque[int] = deque()
        self._denials: deque[tuple[str, int]] = deque()
        self._wake = threading.Event()
        self._began = 0.0
        self._busy = 0
        self._is_committing = False
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="tripline-gate", daemon=True)

    # --- for callers --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ask(self, request: GateRequest, told: Callable[[GateDecision], None]) -> bool:
        """Decide; False when it was denied at once, since the gate is closing."""
        if self._stop:
            told(blind(request, self._settings))
            return False
        self._waiting.append(Check(request, told, time.monotonic()))
        self._wake.set()
        return True

    def stop(self) -> None:
        """Answer what waits, and end."""
        self._stop = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE_SECS + 2)

    def count_refusals(self, link: PgLink) -> None:
        """Count what was refused since the last call in the agents' totals; the rows are shared with the sinks."""
        denials = _drained(self._denials)
        if not denials:
            return
        rows = ActionRows()
        for key, at_ms in denials:
            rows.denied(key, at_ms)
        link.execute("BEGIN IMMEDIATE")
        rows.write_rows(link)
        link.execute("COMMIT")

    @property
    def trouble(self) -> str:
        """Why it denies all writes, in words; "" when it does not."""
        return self._post.trouble if self._thread.is_alive() else "its thread has ended"

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not (self._stop and not self._waiting and not self._sent):
            try:
                self._turn()
            except Exception:  # the thread must outlive whatever happens; its checks were denied
                _log.exception("gate_failed")
        self._tidy()
        self._held.close()

    def _turn(self) -> None:
        is_woken = bool(self._waiting) or self._wake.wait(_TIDY_SECS if self._sent or self._published else _IDLE_SECS)
        self._wake.clear()
        self._gather()
        checks = self._collect()
        if checks:
            self._round(checks)
        self._give_up_late()
        if not is_woken:
            self._tidy()

    def _gather(self) -> None:
        """While several ask at once, rounds keep a distance: a commit costs as much for one as for many."""
        left = self._began + GATHER_SECS - time.monotonic()
        if self._busy > 1 and left > 0:
            time.sleep(left)

    def _collect(self) -> list[Check]:
        checks: list[Check] = []
        while self._waiting and len(checks) < TOGETHER:
            checks.append(self._waiting.popleft())
        self._busy = len(checks)
        self._began = time.monotonic()
        if not checks:
            return checks
        if self._stop or self._post.trouble or not self._is_open():
            self._deny(checks)
            return []
        late = [check for check in checks if check.is_late]
        self._deny(late)
        return [check for check in checks if check not in late]

    def _round(self, checks: Sequence[Check]) -> None:
        was_connected, self._is_committing = self._held.is_connected, False
        published = _drained(self._published)
        try:
            decided, round_, letters, seqs = self._held.run(lambda link: self._decide(link, checks, published))
        except Exception as problem:
            self._published.extend(published)
            self._counted.forget({check.request.key for check in checks})
            if was_connected and not self._held.is_connected and not self._is_committing:
                self._round(checks)  # the store was away and may be back: nothing was decided on the old connection
                return
            if not isinstance(problem, StoreError):
                _log.exception("gate_round_failed", checks=len(checks))
            self._apart(checks, problem)
            return
        admitted = [(check, decision) for check, decision in decided if _is_in_log(decision)]
        for check, decision in decided:
            if not _is_in_log(decision):
                check.told(decision)
        self._deliver()
        self._send(admitted, letters, seqs)
        if len(self._denials) < _MOST_DENIALS:
            self._denials.extend(round_.denials)
        self._changed(round_.changes())

    def _decide(
        self, link: PgLink, checks: Sequence[Check], published: Sequence[int]
    ) -> tuple[list[tuple[Check, GateDecision]], GateRound, list[Publication], list[int]]:
        round_ = GateRound(link, self._settings, self._counted, self._ids, self._policies.policy, self._saved_ms())
        round_.published = published
        round_.open_for([check.request for check in checks])
        decided = [(check, round_.decide(check.request)) for check in checks]
        letters = publication.admitted_to(link, sorted(round_.repeated)) if round_.repeated else []
        self._is_committing = True
        seqs = [one.seq for one in letters] + round_.commit()
        return decided, round_, [*letters, *round_.publications], seqs

    def _apart(self, checks: Sequence[Check], problem: BaseException) -> None:
        """One caller's data must not take the others with it; a store that is gone takes them all."""
        if isinstance(problem, StoreError) or len(checks) == 1:
            self._deny(checks)
            return
        for check in checks:
            self._round([check])

    # --- answers ------------------------------------------------------------------------------------------------

    def _send(self, admitted: list[tuple[Check, GateDecision]], letters: list[Publication], seqs: list[int]) -> None:
        if not letters:
            for check, decision in admitted:
                check.told(decision)
            self._deliver()
            return
        sent = self._post.send(letters)
        self._sent[sent] = (admitted, time.monotonic())
        sent.add_done_callback(lambda done: self._acknowledged(done, seqs))

    def _acknowledged(self, sent: Future[None], seqs: list[int]) -> None:
        """In the post's thread: the admissions are in the log, or nobody knows."""
        problem = sent.exception()
        if problem is None:
            self._published.extend(seqs)
        found = self._sent.pop(sent, None)
        if found is None:
            return
        for check, decision in found[0]:
            check.told(decision if problem is None else blind(check.request, self._settings))
        self._deliver()

    def _give_up_late(self) -> None:
        """Who waits for too long is told no; the admission stays, and is written when that works again."""
        now = time.monotonic()
        for sent, (_, since) in list(self._sent.items()):
            if now - since > PATIENCE_SECS and (found := self._sent.pop(sent, None)) is not None:
                self._deny([check for check, _ in found[0]])

    def _deny(self, checks: Sequence[Check]) -> None:
        for check in checks:
            check.told(blind(check.request, self._settings))
        if checks:
            self._deliver()

    def _tidy(self) -> None:
        """What is in the log needs no publication any more; while checks come, their rounds see to it."""
        seqs = _drained(self._published)
        if not seqs:
            return
        try:
            self._held.run(lambda link: publication.done(link, seqs))
        except StoreError:
            self._published.extend(seqs)


def _is_in_log(decision: GateDecision) -> bool:
    """Whether the answer has to wait for an admission."""
    return decision.decision == "allow"


def _drained(waiting: deque[T]) -> list[T]:
    """What waits, taken out."""
    return [waiting.popleft() for _ in range(len(waiting))]

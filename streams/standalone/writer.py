"""The writer thread: the only one that judges, and the only one that writes the store's file.

Each round takes what waits, most urgent first: control, gate checks, ticks, then a slice of events; it is one
transaction, and callers hear after its commit. When the store fails, everybody is told so at once, gates refuse
writes, and the thread tries to open the store again until it works.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from storage.errors import StoreError, StoreUnavailable
from streams.records import Entry
from streams.routing import ACTIONS
from streams.standalone.core import Core
from streams.standalone.jobs import Delivery, Job
from streams.standalone.mailbox import Mailbox
from streams.standalone.round import Round
from streams.standalone.sweep import Sweeper
from streams.standalone.types import Changes, Closed

SLICE = 500
SLICE_WITH_GATE = 100
"""Events judged in one round, and while gate checks come in: a check waits for at most one round."""
GATES_AT_ONCE = 100
GATHER_SECS = 0.001
_GATE_LULL_SECS = 1.0
_IDLE_SECS = 0.5
_FIRST_RETRY_SECS, _LAST_RETRY_SECS = 0.2, 5.0
_SWEEP_SECS, _SWEEP_WITH_GATE_SECS = 0.008, 0.001
"""How long a round goes on with a snapshot."""
_log = structlog.get_logger("tripline.writer")


class Writer:
    """The thread and its queues.

    ``open_core`` makes the memory from the store; ``on_commit`` hears of each commit: what changed, and the records
    of agent.actions that are durable now.
    """

    def __init__(
        self,
        open_core: Callable[[], Core],
        on_commit: Callable[[Round, Changes, list[Entry]], None],
        on_open: Callable[[Core], None],
    ) -> None:
        self._open_core = open_core
        self._on_commit = on_commit
        self._on_open = on_open
        self.core: Core | None = None
        self._sweeper: Sweeper
        self.trouble = ""
        self.control: deque[Job] = deque()
        self.gates: deque[Job] = deque()
        self.calls: deque[Job] = deque()
        self.deliveries: deque[Delivery] = deque()
        self.boxes: tuple[Mailbox, ...] = ()
        self.queued_events = 0
        self.judged_to_ms = 0
        self.restarts = 0
        self._wake = threading.Event()
        self._stop = False
        self._last_gate = 0.0
        self._began = 0.0
        self._gates_before = 0
        self._retry_secs = _FIRST_RETRY_SECS
        self._kept_counts: dict[str, int] = {}
        self._in_hand: float | None = None
        self._not_before = 0.0
        self._thread = threading.Thread(target=self._run, name="tripline-writer", daemon=True)

    # --- for callers --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the store (problems are the caller's), then start the thread."""
        self._take_core(self._open_core())
        self._thread.start()

    def stop(self, timeout_secs: float = 30.0) -> None:
        """Finish what waits, take a last snapshot, end."""
        self._stop = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_secs)
        self._refuse_waiting()  # what came between the last look and the end

    @property
    def is_running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def put(self, queue: deque[Job], job: Job) -> bool:
        """Queue a job; False when it has failed at once."""
        if self._stop:
            job.fail(Closed("the runtime is stopping"))
            return False
        queue.append(job)
        self._wake.set()
        return True

    def deliver(self, delivery: Delivery) -> None:
        """Queue a batch of events."""
        if self._stop:
            delivery.next_slice(len(delivery.items)).fail(Closed("the runtime is stopping"))
            return
        self.queued_events += len(delivery.items)
        self.deliveries.append(delivery)
        self._wake.set()

    def oldest_unjudged_secs(self) -> float | None:
        """How long the oldest event that is not judged has waited."""
        received = self._in_hand
        if received is None:
            try:
                received = self.deliveries[0].received
            except IndexError:
                return None
        return time.monotonic() - received

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                if not self._turn():
                    return
            except Exception as problem:  # the thread must outlive whatever happens; gates deny meanwhile
                _log.exception("writer_failed")
                self._lose(problem)

    def _turn(self) -> bool:
        if self.core is None and not self._try_again():
            return not self._stop
        self._let_gather()
        jobs = self._collect()
        if jobs:
            self._do(jobs)
            self._in_hand = None
            self._deliver()
        elif self._stop:
            self._close()
            return False
        elif self._sweeper.is_due():
            self._do(())
        else:
            self._wait()
        return True

    def _wait(self) -> None:
        """Sleep until there is work; a lull of the gate is the time to file what it decided."""
        core = self.core
        has_unfiled = core is not None and core.decided.has_work
        is_woken = self._wake.wait(core.decided.wait_secs if core is not None and has_unfiled else _IDLE_SECS)
        self._wake.clear()
        if has_unfiled and not is_woken:
            self._do(())

    def _let_gather(self) -> None:
        """While several ask the gate at once, rounds keep a distance: a commit costs as much for one as for many."""
        if self._gates_before > 1 and not self.control and not self._stop:
            left = self._began + GATHER_SECS - time.monotonic()
            if left > 0:
                time.sleep(left)

    def _collect(self) -> list[Job]:
        jobs: list[Job] = []
        while self.control:
            jobs.append(self.control.popleft())
        gates = self.gates
        self._gates_before = min(len(gates), GATES_AT_ONCE)
        while gates and len(jobs) < GATES_AT_ONCE:
            jobs.append(gates.popleft())
        self._began = time.monotonic()
        if jobs:
            self._last_gate = self._began
        while self.calls and len(jobs) < 2 * GATES_AT_ONCE:
            jobs.append(self.calls.popleft())
        jobs.extend(self._collect_events(len(jobs)))
        return jobs

    def _collect_events(self, busy_with: int) -> list[Job]:
        """Slices of the batches that wait. A round full of gate checks takes a few events too: nobody starves."""
        has_gates = time.monotonic() - self._last_gate < _GATE_LULL_SECS
        room = SLICE_WITH_GATE if has_gates else SLICE
        found: list[Job] = []
        while self.deliveries and room > 0:
            delivery = self.deliveries[0]
            if delivery.has_failed:
                self.queued_events -= len(delivery.items) - delivery.taken
                self.deliveries.popleft()
                continue
            if self._in_hand is None:
                self._in_hand = delivery.received
            slice_ = delivery.next_slice(room)
            room -= max(1, len(slice_))
            self.queued_events -= len(slice_)
            found.append(slice_)
            if delivery.is_taken:
                self.deliveries.popleft()
        return found

    def _do(self, jobs: Sequence[Job]) -> None:
        """Run jobs in one round; when one of them breaks it, find out which."""
        core = self.core
        if core is None:
            for job in jobs:
                job.fail(StoreUnavailable(self.trouble))
            return
        try:
            round_ = Round(core)
            round_.begin()
            for job in jobs:
                job.run(round_)
            round_.judge()
            entries = _entries(core)
            self._snapshot(round_)
            changed = round_.commit()
        except sqlite3.Error as problem:
            self._lose(problem)
            for job in jobs:
                job.fail(StoreUnavailable(f"the store could not be written: {problem}"))
            return
        except Exception as problem:  # one caller's data must not take the others with it
            _log.exception("round_failed", jobs=len(jobs))
            self._retry_apart(jobs, problem)
            return
        self._committed(core, round_, jobs, changed, entries)

    def _snapshot(self, round_: Round) -> None:
        if self._sweeper.is_due():
            is_gate_busy = time.monotonic() - self._last_gate < _GATE_LULL_SECS
            if self._sweeper.step(_SWEEP_WITH_GATE_SECS if is_gate_busy else _SWEEP_SECS):
                round_.count("snapshot")

    def _committed(
        self, core: Core, round_: Round, jobs: Sequence[Job], changed: Changes, entries: list[Entry]
    ) -> None:
        self.trouble, self._retry_secs = "", _FIRST_RETRY_SECS
        self._sweeper.committed()
        for lane in core.lanes.values():
            core.events_since_snapshot += len(lane.appended_times)
            lane.committed()
        self.judged_to_ms = round_.now_ms
        for job in jobs:
            job.succeed()
        self._deliver()
        self._on_commit(round_, changed, entries)

    def _retry_apart(self, jobs: Sequence[Job], problem: BaseException) -> None:
        self._abandon()
        pieces: list[Sequence[Job]] = [[job] for job in jobs]
        if len(jobs) == 1:
            pieces = [[piece] for piece in jobs[0].split()]
            if not pieces:
                jobs[0].fail(problem)
        for piece in pieces:
            if self.core is None and not self._reopen():
                for job in piece:
                    job.fail(StoreUnavailable(self.trouble))
                continue
            self._do(piece)

    # --- the store ----------------------------------------------------------------------------------------------

    def _take_core(self, core: Core) -> None:
        core.counts.update(self._kept_counts)
        self._sweeper = Sweeper(core)
        self.core = core
        self._on_open(core)

    def _lose(self, problem: BaseException) -> None:
        """The store failed: nothing in memory can be trusted to be durable."""
        self.trouble = str(problem) or type(problem).__name__
        self.restarts += 1
        _log.error("store_lost", problem=self.trouble)
        self._abandon()
        self._wait_longer()

    def _abandon(self) -> None:
        core, self.core = self.core, None
        if core is None:
            return
        self._kept_counts = core.counts
        try:
            if core.link.in_transaction:
                core.link.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # the connection is closed next, which rolls back
        core.link.close()

    def _wait_longer(self) -> None:
        self._not_before = time.monotonic() + self._retry_secs
        self._retry_secs = min(2 * self._retry_secs, _LAST_RETRY_SECS)

    def _try_again(self) -> bool:
        """Open the store again when it is time; until then refuse what comes, at once."""
        left = self._not_before - time.monotonic()
        if left <= 0 and self._reopen():
            return True
        self._refuse_waiting()
        if not self._stop:
            self._wake.wait(max(0.0, min(left, _IDLE_SECS)))
            self._wake.clear()
        return False

    def _reopen(self) -> bool:
        try:
            self._take_core(self._open_core())
        except (sqlite3.Error, StoreError, OSError) as problem:
            self.trouble = str(problem)
            _log.error("store_not_opened", problem=self.trouble)
            self._wait_longer()
            return False
        return True

    def _refuse_waiting(self) -> None:
        problem = StoreUnavailable(f"the store can't be used: {self.trouble}")
        for queue in (self.control, self.gates, self.calls):
            while queue:
                queue.popleft().fail(problem)
        while self.deliveries:
            delivery = self.deliveries.popleft()
            slice_ = delivery.next_slice(len(delivery.items))
            self.queued_events -= len(slice_)
            slice_.fail(problem)
        self._deliver()

    def _deliver(self) -> None:
        for box in self.boxes:
            box.deliver()

    def _close(self) -> None:
        """Save all states, so that the next start has nothing to read again."""
        core = self.core
        if core is None:
            return
        try:
            core.link.execute("BEGIN IMMEDIATE")
            self._sweeper.finish()
            core.decided.file(core.link)
            core.link.execute("COMMIT")
        except sqlite3.Error as problem:
            self._lose(problem)
            return
        core.link.close()


def _entries(core: Core) -> list[Entry]:
    """The records of agent.actions that the open round appended."""
    lane = core.lanes[ACTIONS]
    base = lane.next_offset - len(lane.appended_events)
    events: list[Any] = lane.appended_events
    return list(zip(range(base, lane.next_offset), lane.appended_times, events, strict=True))

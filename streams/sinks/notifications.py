"""The notifier: reads the outbox, tells people, and writes down what became of it. At least once, in order per agent.

One thread owns all state; each attempt runs in a thread of its own, so that a target that hangs holds up nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue

import structlog
from msgspec import MsgspecError, Struct

from governance.ports import Notice
from governance.quiet import QuietHours
from governance.settings_types import Settings
from storage.outbox import End, News, OutboxRow
from streams.sinks.boxes import Box, RuntimeBox
from streams.sinks.dispatch import MOST_AT_ONCE, Dispatcher, Routes, Send
from streams.sinks.notices import notice_of
from streams.sinks.senders import Sender, make_senders
from streams.standalone.runtime import Runtime

POLL_SECS = 5.0
"""The outbox is looked at this often even when nobody wakes the notifier."""
HUNG_MS = 30_000
"""An attempt that takes longer is counted as failed; its thread is left to end by itself."""
_RETRY_STORE_SECS = 1.0
_WORTH_TELLING = frozenset({"control", "finding", "alert"})

_log = structlog.get_logger("tripline.notifier")


class NotifierStatus(Struct, frozen=True, kw_only=True):
    """How the notifier is doing: messages not done with, targets that failed last, rows given up since the start."""

    waiting: int
    failing_targets: tuple[str, ...]
    given_up: int
    is_store_reachable: bool


Observe = Callable[[str, bool, float], None]
"""Called after each attempt: target, whether it accepted, and seconds since the message was ready."""


class Notifier:
    """Tells people what the outbox holds. ``start``, ``wake`` after a commit that may have added rows, ``close``."""

    def __init__(
        self,
        settings: Settings,
        box: Box,
        *,
        senders: Mapping[str, Sender] | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        observe: Observe | None = None,
    ) -> None:
        self._box = box
        self._senders = senders if senders is not None else make_senders(settings.notifications)
        self._clock_ms = clock_ms
        self._observe = observe
        self._coalesce_ms = settings.notifications.coalesce_minutes * 60_000
        self._dispatcher = Dispatcher(
            settings.notifications, Routes(settings.notifications, settings.agents), QuietHours(settings)
        )
        self._inbox: SimpleQueue[tuple[Send, str | None] | None] = SimpleQueue()
        self._on_the_way: dict[int, tuple[Send, int]] = {}
        self._hung: dict[str, int] = {}
        self._unwritten: list[News] = []
        self._last_seq = 0
        self._given_up = 0
        self._is_store_reachable = True
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="tripline-notifier", daemon=True)

    def start(self) -> None:
        """Start the thread; rows from before a restart are told first."""
        threading.Thread(target=self._prepare, name="tripline-notifier-prepare", daemon=True).start()
        self._thread.start()

    def wake(self) -> None:
        """There may be new rows. Returns at once; any thread may call it."""
        self._inbox.put(None)

    def close(self, timeout_secs: float = 2.0) -> None:
        """Stop. What is on its way may still arrive; it is told again after a restart, since nobody wrote it down."""
        self._closing.set()
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_secs)

    def status(self) -> NotifierStatus:
        """How it is doing now."""
        return NotifierStatus(
            waiting=len(self._dispatcher.messages),
            failing_targets=tuple(sorted(self._dispatcher.suspects)),
            given_up=self._given_up,
            is_store_reachable=self._is_store_reachable,
        )

    # --- the thread ---------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        recovered = False
        while not self._closing.is_set():
            try:
                if not recovered:
                    self._recover()
                    recovered = True
                self._fetch()
                self._start_due()
                self._write_down()
                self._is_store_reachable = True
            except Exception as problem:  # whatever the store's trouble is, people must be told when it is over
                self._is_store_reachable = False
                _log.warning("notifier_store_unreachable", problem=type(problem).__name__)
                self._start_due()
                self._closing.wait(_RETRY_STORE_SECS)
            self._take_results(self._wait_secs())

    def _prepare(self) -> None:
        for sender in self._senders.values():
            sender.prepare()

    def _recover(self) -> None:
        since_ms = self._clock_ms() - self._coalesce_ms
        for row, done_ms in self._box.recently_told(since_ms):
            notice = _read(row)
            if notice is not None and not notice.is_urgent:
                self._dispatcher.remember_told(notice, done_ms)
        self._tried = dict(self._box.tried())

    def _fetch(self) -> None:
        while rows := self._box.waiting(self._last_seq):
            for row in rows:
                tried = {target: found for (seq, target), found in self._tried.items() if seq == row.seq}
                self._dispatcher.add(row.seq, _read(row), self._clock_ms(), tried)
                self._last_seq = row.seq
        self._tried = {}

    def _start_due(self) -> None:
        now_ms = self._clock_ms()
        for serial, (send, started_ms) in list(self._on_the_way.items()):
            if now_ms - started_ms > HUNG_MS:
                del self._on_the_way[serial]
                self._hung[send.target] = self._hung.get(send.target, 0) + 1
                self._ended(send, "no answer in 30 s")
        for send in self._dispatcher.due(now_ms):
            if self._hung.get(send.target, 0) >= MOST_AT_ONCE:
                self._ended(send, "earlier attempts still hang")
                continue
            self._on_the_way[send.serial] = (send, now_ms)
            name = f"tripline-notify-{send.target}"
            threading.Thread(target=self._attempt, args=(send,), name=name, daemon=True).start()

    def _attempt(self, send: Send) -> None:
        sender = self._senders.get(send.target)
        try:
            error = sender.send(send.notice) if sender is not None else "no such target"
        except Exception as problem:  # a sender of somebody else's; its text may hold the address
            error = type(problem).__name__
        self._inbox.put((send, error))

    def _take_results(self, wait_secs: float) -> None:
        try:
            item = self._inbox.get(timeout=wait_secs)
            while True:
                if item is not None:
                    self._took(*item)
                item = self._inbox.get_nowait()
        except Empty:
            return

    def _took(self, send: Send, error: str | None) -> None:
        if self._on_the_way.pop(send.serial, None) is not None:
            self._ended(send, error)
            return
        self._hung[send.target] = max(0, self._hung.get(send.target, 0) - 1)
        self._dispatcher.result(send, error is None, self._clock_ms(), error, is_late=True)

    def _ended(self, send: Send, error: str | None) -> None:
        now_ms = self._clock_ms()
        self._dispatcher.result(send, error is None, now_ms, error)
        if self._observe is not None:
            self._observe(send.target, error is None, max(0, now_ms - send.ready_ms) / 1000)
        if error is not None:
            _log.warning("notification_not_accepted", target=send.target, notice_id=send.notice.id, error=error)

    def _write_down(self) -> None:
        self._unwritten += self._dispatcher.take_news()
        if not self._unwritten:
            return
        self._box.record(self._unwritten)
        for item in self._unwritten:
            if isinstance(item, End) and item.state == "failed":
                self._given_up += len(item.seqs)
                _log.error("notification_given_up", rows=len(item.seqs))
        self._unwritten = []

    def _wait_secs(self) -> float:
        if self._closing.is_set():
            return 0.0
        now_ms = self._clock_ms()
        times = [now_ms + round(POLL_SECS * 1000), *(at + HUNG_MS for _, at in self._on_the_way.values())]
        if self._unwritten or not self._is_store_reachable:
            times.append(now_ms)  # the pause was made already
        next_ms = self._dispatcher.next_ms(now_ms)
        if next_ms is not None:
            times.append(next_ms)
        return max(0.0, (min(times) - now_ms) / 1000)


def notify_from(
    runtime: Runtime, settings: Settings, observe: Callable[[str, bool, float], None] | None = None
) -> Notifier:
    """A started notifier on the embedded runtime's outbox. Close it before the runtime."""
    notifier = Notifier(settings, RuntimeBox(runtime, settings), observe=observe)
    runtime.subscribe(lambda changes: notifier.wake() if changes.kinds & _WORTH_TELLING else None)
    notifier.start()
    return notifier


def _read(row: OutboxRow) -> Notice | None:
    try:
        return notice_of(row)
    except MsgspecError as problem:
        _log.error("outbox_row_unreadable", seq=row.seq, problem=str(problem))
        return None

"""Which message goes to which target when: order, repeats, retries and fallbacks. Pure: no clock, no threads.

One message an agent and target at a time, in order, so that a flood about one agent holds up nobody else. What is
not urgent is told at most once per agent and kind in the coalescing time; what comes meanwhile is told together
afterwards. An alert about a deal that comes in its manager's quiet hours waits for the digest in the same way. A
target that has not accepted in time gets its fallback tried as well; a target that failed last time gets it at once,
and one try at a time until it works again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct

from governance.ports import Notice
from governance.quiet import QuietHours
from governance.settings_types import AgentSettings, Notifications
from storage.outbox import Attempt, End, Hold, News
from streams.sinks.notices import OF_DEALS, merged, most_lines

LOG = "log"
LONGEST_RETRY_MS = 3_600_000
MOST_AT_ONCE = 8
"""Messages on their way to one target at the same time."""
DeliveryState = Literal["waiting", "sending", "sent", "failed", "skipped"]
_OVER = ("sent", "failed", "skipped")
_STATES: dict[str, DeliveryState] = {"trying": "waiting", "sent": "sent", "failed": "failed", "skipped": "skipped"}


class Delivery(Struct):
    """A message's way to one target. ``fallback_ms`` is when the target's stand-in is tried."""

    target: str
    next_ms: int
    fallback_ms: int
    state: DeliveryState = "waiting"
    attempts: int = 0


class Message(Struct):
    """What is told, for which rows of the outbox. It is open for more until its first attempt."""

    number: int
    notice: Notice
    seqs: list[int]
    more: list[Notice]
    ready_ms: int
    deliveries: dict[str, Delivery]
    is_open: bool = True

    def text(self) -> Notice:
        """The notice to send."""
        return merged(self.notice, self.more, len(self.seqs))


class Send(Struct, frozen=True):
    """An attempt to make now; ``serial`` tells attempts apart."""

    serial: int
    number: int
    target: str
    notice: Notice
    ready_ms: int


class Routes:
    """Who hears what: targets by kind and agent, and who stands in for whom."""

    def __init__(self, settings: Notifications, agents: Mapping[str, AgentSettings]) -> None:
        self.targets = settings.targets
        self.has_log = settings.log
        self.agents = agents
        self.stand_ins = {target.fallback_of: target.name for target in settings.targets if target.fallback_of}

    def first(self, notice: Notice) -> list[str]:
        """The targets that hear of it first."""
        agent = self.agents.get(notice.subject.partition("/")[2])
        wanted = set(agent.notify) if agent is not None and agent.notify else None
        names = [
            target.name
            for target in self.targets
            if not target.fallback_of and notice.kind in target.kinds and (wanted is None or target.name in wanted)
        ]
        return [LOG, *names] if self.has_log else names


class Dispatcher:
    """The state of all messages that are not done with. ``take_news`` gives what is to be written down."""

    def __init__(self, settings: Notifications, routes: Routes, quiet: QuietHours | None = None) -> None:
        self.settings = settings
        self.routes = routes
        self.quiet = quiet
        self.messages: dict[int, Message] = {}
        self.lanes: dict[tuple[str, str], deque[Message]] = {}
        self.open: dict[tuple[str, str], Message] = {}
        self.last_told: dict[tuple[str, str], int] = {}
        self.suspects: set[str] = set()
        self.sending: dict[str, int] = {}
        self.news: list[News] = []
        self._number = 0
        self._serial = 0

    # --- what comes in ------------------------------------------------------------------------------------------

    def add(
        self, seq: int, notice: Notice | None, now_ms: int, tried: Mapping[str, tuple[str, int]] | None = None
    ) -> None:
        """Take a row of the outbox. ``tried``: state and attempts by target, from before a restart."""
        targets = self.routes.first(notice) if notice is not None else []
        if notice is None or not targets:
            why = "told by another message" if notice is None else "no target wants it"
            self.news.append(End(seqs=(seq,), state="dropped", at_ms=now_ms, error=why))
            return
        group = (notice.subject, notice.kind)
        waiting = self.open.get(group)
        if waiting is not None and waiting.is_open and not notice.is_urgent and not waiting.notice.is_urgent:
            waiting.seqs.append(seq)
            if len(waiting.more) < most_lines(notice.kind):
                waiting.more.append(notice)
            self._hold(seq, notice, waiting.ready_ms, now_ms)
            return
        ready_ms = self._ready_ms(notice, group, now_ms)
        self._hold(seq, notice, ready_ms, now_ms)
        self._put(seq, notice, ready_ms, targets, tried or {})

    def remember_told(self, notice: Notice, at_ms: int) -> None:
        """Something was told before a restart: repeats are held back as if there had been none."""
        group = (notice.subject, notice.kind)
        self.last_told[group] = max(at_ms, self.last_told.get(group, 0))

    def result(
        self, send: Send, is_accepted: bool, now_ms: int, error: str | None = None, *, is_late: bool = False
    ) -> None:
        """An attempt has ended. ``is_late``: it was given up before, and has ended after all."""
        message = self.messages.get(send.number)
        if not is_late:
            self.sending[send.target] = max(0, self.sending.get(send.target, 0) - 1)
        if is_accepted:
            self.suspects.discard(send.target)
        else:
            self.suspects.add(send.target)
        if message is None:
            return
        delivery = message.deliveries[send.target]
        if delivery.state in _OVER or (is_late and not is_accepted):
            return
        delivery.attempts += 1
        if is_accepted:
            self._accepted(message, delivery, now_ms)
        else:
            self._failed(message, delivery, now_ms, error)
        self._finish(message, now_ms)

    # --- what goes out ------------------------------------------------------------------------------------------

    def due(self, now_ms: int) -> list[Send]:
        """The attempts to make now; each must be answered by ``result``."""
        self._call_stand_ins(now_ms)
        return list(self._sends(now_ms))

    def next_ms(self, now_ms: int) -> int | None:
        """When ``due`` may have something new without anything coming in; None when nothing waits."""
        times = [*self._stand_in_times(now_ms), *self._attempt_times(now_ms)]
        return min(times, default=None)

    def take_news(self) -> list[News]:
        """What became of attempts and rows since the last call."""
        news, self.news = self.news, []
        return news

    # --- inside -------------------------------------------------------------------------------------------------

    def _ready_ms(self, notice: Notice, group: tuple[str, str], now_ms: int) -> int:
        if notice.is_urgent:
            return now_ms
        last = self.last_told.get(group)
        ready = now_ms if last is None else max(now_ms, last + self.settings.coalesce_minutes * 60_000)
        ready = self._awake_ms(notice, ready)
        self.last_told[group] = ready
        return ready

    def _awake_ms(self, notice: Notice, at_ms: int) -> int:
        """When a manager may be told of a deal; everybody else may be told of everything at any time."""
        if notice.kind not in OF_DEALS or self.quiet is None:
            return at_ms
        return self.quiet.ready_ms(notice.subject.partition("/")[2], notice.at_ms, at_ms)

    def _hold(self, seq: int, notice: Notice, ready_ms: int, now_ms: int) -> None:
        if notice.kind in OF_DEALS and ready_ms > now_ms:
            self.news.append(Hold(seqs=(seq,), until_ms=ready_ms))

    def _put(
        self, seq: int, notice: Notice, ready_ms: int, targets: Iterable[str], tried: Mapping[str, tuple[str, int]]
    ) -> None:
        self._number += 1
        message = Message(self._number, notice, [seq], [], ready_ms, {})
        self.messages[message.number] = message
        self.open[notice.subject, notice.kind] = message
        for target in targets:
            state, attempts = tried.get(target, ("trying", 0))
            self._deliver(message, target, ready_ms, attempts, _STATES[state])
        for target, (state, attempts) in tried.items():
            if target not in message.deliveries and state == "trying" and target in self.routes.stand_ins.values():
                self._deliver(message, target, ready_ms, attempts)
        self._finish(message, ready_ms, was_sent=any(state == "sent" for state, _ in tried.values()))

    def _deliver(
        self, message: Message, target: str, now_ms: int, attempts: int = 0, state: DeliveryState = "waiting"
    ) -> None:
        patience = 0 if target in self.suspects else round(self.settings.accept_secs * 1000)
        message.deliveries[target] = Delivery(target, now_ms, now_ms + patience, state, attempts)
        if state == "waiting":
            self.lanes.setdefault((message.notice.subject, target), deque()).append(message)

    def _call_stand_ins(self, now_ms: int) -> None:
        for message in list(self.messages.values()):
            if message.ready_ms > now_ms:
                continue
            for delivery in list(message.deliveries.values()):
                stand_in = self.routes.stand_ins.get(delivery.target)
                if stand_in is None or stand_in in message.deliveries:
                    continue
                is_late = delivery.state in ("waiting", "sending") and now_ms >= delivery.fallback_ms
                if is_late or delivery.state == "failed":
                    message.is_open = False
                    self._deliver(message, stand_in, now_ms)

    def _sends(self, now_ms: int) -> Iterator[Send]:
        for (_, target), lane in self.lanes.items():
            message = next((each for each in lane if each.ready_ms <= now_ms), None)
            if message is None:
                continue
            delivery = message.deliveries[target]
            if delivery.state != "waiting" or delivery.next_ms > now_ms or not self._is_free(target):
                continue
            delivery.state = "sending"
            message.is_open = False
            self.sending[target] = self.sending.get(target, 0) + 1
            self._serial += 1
            yield Send(self._serial, message.number, target, message.text(), message.ready_ms)

    def _stand_in_times(self, now_ms: int) -> Iterator[int]:
        for message in self.messages.values():
            for delivery in message.deliveries.values():
                stand_in = self.routes.stand_ins.get(delivery.target)
                if stand_in is not None and stand_in not in message.deliveries and delivery.state not in _OVER:
                    yield max(message.ready_ms, delivery.fallback_ms)
            if message.ready_ms > now_ms:
                yield message.ready_ms

    def _attempt_times(self, now_ms: int) -> Iterator[int]:
        for (_, target), lane in self.lanes.items():
            message = next((each for each in lane if each.ready_ms <= now_ms), None)
            if message is not None and message.deliveries[target].state == "waiting" and self._is_free(target):
                yield message.deliveries[target].next_ms

    def _is_free(self, target: str) -> bool:
        return self.sending.get(target, 0) < (1 if target in self.suspects else MOST_AT_ONCE)

    def _accepted(self, message: Message, delivery: Delivery, now_ms: int) -> None:
        self._end(message, delivery, "sent")
        self.news.append(
            Attempt(
                seqs=tuple(message.seqs),
                target=delivery.target,
                at_ms=now_ms,
                state="sent",
                attempts=delivery.attempts,
                accepted_ms=now_ms,
            )
        )
        for other in self._line_of(delivery.target):
            needless = message.deliveries.get(other)
            if needless is not None and needless.state in ("waiting", "sending") and other != delivery.target:
                self._end(message, needless, "skipped")
                self._note(message, needless, now_ms, "another of its line has accepted")

    def _failed(self, message: Message, delivery: Delivery, now_ms: int, error: str | None) -> None:
        if delivery.attempts >= self.settings.max_attempts:
            self._end(message, delivery, "failed")
        else:
            wait = self.settings.retry_secs * 1000 * 2 ** min(delivery.attempts - 1, 20)
            delivery.state = "waiting"
            delivery.next_ms = self._awake_ms(message.notice, now_ms + min(round(wait), LONGEST_RETRY_MS))
        self._note(message, delivery, now_ms, error)

    def _note(self, message: Message, delivery: Delivery, now_ms: int, error: str | None) -> None:
        self.news.append(
            Attempt(
                seqs=tuple(message.seqs),
                target=delivery.target,
                at_ms=now_ms,
                state=delivery.state if delivery.state in ("sent", "failed", "skipped") else "trying",
                attempts=delivery.attempts,
                next_try_ms=delivery.next_ms,
                error=error,
            )
        )

    def _line_of(self, target: str) -> set[str]:
        """The target, those that it stands in for, and those that stand in for it."""
        line = {target}
        backwards = {stand_in: first for first, stand_in in self.routes.stand_ins.items()}
        for step in (self.routes.stand_ins, backwards):
            at: str | None = target
            while (at := step.get(at or "")) is not None and at not in line:
                line.add(at)
        return line

    def _end(self, message: Message, delivery: Delivery, state: DeliveryState) -> None:
        delivery.state = state
        name = (message.notice.subject, delivery.target)
        lane = self.lanes.get(name)
        if lane is not None and message in lane:
            lane.remove(message)
            if not lane:
                del self.lanes[name]

    def _finish(self, message: Message, now_ms: int, *, was_sent: bool = False) -> None:
        states = [delivery.state for delivery in message.deliveries.values()]
        if any(state not in _OVER for state in states):
            return
        stand_ins = self.routes.stand_ins
        if any(
            delivery.state == "failed" and stand_ins.get(target, target) not in message.deliveries
            for target, delivery in message.deliveries.items()
        ):
            return  # a stand-in is still to be called
        is_told = was_sent or "sent" in states
        self.news.append(End(seqs=tuple(message.seqs), state="sent" if is_told else "failed", at_ms=now_ms))
        del self.messages[message.number]
        group = (message.notice.subject, message.notice.kind)
        if self.open.get(group) is message:
            del self.open[group]

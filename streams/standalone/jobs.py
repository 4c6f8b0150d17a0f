"""What the writer thread is asked to do. A job runs inside a round; its caller hears after the commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from streams import approving, containing
from streams.routing import ACTIONS, CRM
from streams.standalone.bands import bands
from streams.standalone.round import Round
from streams.standalone.types import (
    ACCEPTED,
    AHEAD_MS,
    DUPLICATE,
    ENGINE_FAULT,
    ID_REUSED,
    ItemResult,
    OriginOf,
    Prepared,
    no_origin,
    too_far_ahead,
)
from streams.ticks import tick_event

T = TypeVar("T")


class Job(Protocol):
    """A piece of work for one round."""

    def run(self, round_: Round) -> None:
        """Do it inside the open transaction."""

    def succeed(self) -> None:
        """It is durable: answer."""

    def fail(self, problem: BaseException) -> None:
        """It did not happen: say so."""

    def split(self) -> Sequence[Job]:
        """The same work in smaller pieces, to find the one that fails; empty when it can't be split."""


class Call(Generic[T]):
    """Runs a function in a round; its result goes to the future after the commit."""

    __slots__ = ("_result", "function", "future")

    def __init__(self, function: Callable[[Round], T]) -> None:
        self.function = function
        self.future: Future[T] = Future()
        self._result: Any = None

    def run(self, round_: Round) -> None:
        """Call it."""
        self._result = self.function(round_)

    def succeed(self) -> None:
        """Give its result to the future."""
        answer(self.future, self._result)

    def fail(self, problem: BaseException) -> None:
        """Give the problem to the future."""
        refuse(self.future, problem)

    def split(self) -> Sequence[Job]:
        """It can't be split."""
        return ()


class Delivery:
    """A batch of events of one caller, taken in slices over one or more rounds.

    ``origin_of``: for the dead letter of an event that is refused; None: what is refused gets no dead letter.
    """

    __slots__ = ("after", "future", "has_failed", "items", "open_slices", "origin_of", "received", "results", "taken")

    def __init__(
        self,
        items: Sequence[Prepared],
        received: float,
        after: Callable[[Round], None] | None = None,
        origin_of: OriginOf | None = no_origin,
    ) -> None:
        self.items = items
        self.received = received
        self.after = after
        self.origin_of = origin_of
        self.future: Future[list[ItemResult]] = Future()
        self.results: list[ItemResult] = [ACCEPTED] * len(items)
        self.taken = 0
        self.open_slices = 0
        self.has_failed = False

    def next_slice(self, most: int) -> Slice:
        """The next piece of at most ``most`` events."""
        start, self.taken = self.taken, min(len(self.items), self.taken + most)
        self.open_slices += 1
        return Slice(self, start, self.taken)

    @property
    def is_taken(self) -> bool:
        """Whether every event has gone into a slice."""
        return self.taken >= len(self.items)


class Slice:
    """Some events of a delivery, appended and judged in one round."""

    __slots__ = ("_found", "delivery", "end", "is_last", "is_poison", "start")

    def __init__(self, delivery: Delivery, start: int, end: int) -> None:
        self.delivery = delivery
        self.start = start
        self.end = end
        self.is_last = end >= len(delivery.items)
        self.is_poison = False
        self._found: list[tuple[int, ItemResult]] = []

    def __len__(self) -> int:
        return self.end - self.start

    def run(self, round_: Round) -> None:
        """Append what is new, answer what is not; nothing when an earlier slice of the delivery failed."""
        self._found = []
        if self.delivery.has_failed:
            return
        if self.is_poison:
            self._give_up(round_)
            return
        items: Sequence[Prepared] = self.delivery.items[self.start : self.end]
        ahead_ms = round_.now_ms + AHEAD_MS
        if max([item.effect_ms for item in items], default=0) > ahead_ms or not round_.core.recent.add_all(items):
            items = self._fresh(items, round_)
        if items:
            round_.append_all(items)
        if self.is_last and self.delivery.after is not None:
            self.delivery.after(round_)

    def _fresh(self, items: Sequence[Prepared], round_: Round) -> list[Prepared]:
        """Those that are new; the others are answered one by one."""
        ahead_ms, recent = round_.now_ms + AHEAD_MS, round_.core.recent
        fresh: list[Prepared] = []
        for index, item in enumerate(items, start=self.start):
            content = recent.known.get(item.id_hash)
            if (content is None or self._is_news(index, item, content, round_)) and item.effect_ms <= ahead_ms:
                fresh.append(item)
                recent.add(item.id_hash, item.content_hash)
            elif content != item.content_hash and item.effect_ms > ahead_ms:
                self._refuse(round_, index, too_far_ahead(item.effect_ms, round_.now_ms))
        return fresh

    def _is_news(self, index: int, item: Prepared, content: int, round_: Round) -> bool:
        """An id that is known: the same event again is answered, another content is told by the stage or refused."""
        if content == item.content_hash:
            round_.count("duplicate")
            self._found.append((index, DUPLICATE))
            return False
        if ACTIONS in item.topics:
            return True
        if item.effect_ms <= round_.now_ms + AHEAD_MS:
            said_id, source = item.event.id[:80], item.event.source[:80]
            message = f"id: {said_id!r} was used before with another content by {source!r}; give it an id of its own"
            self._refuse(round_, index, ItemResult("refused", ID_REUSED, message, "id"))
        return False

    def _refuse(self, round_: Round, index: int, result: ItemResult) -> None:
        item, origin_of = self.delivery.items[index], self.delivery.origin_of
        if origin_of is not None:
            agent_id = getattr(item.event.data, "agent_id", None)  # type: ignore[attr-defined]
            tenant = item.event.tenant if isinstance(item.event.tenant, str) else "default"
            round_.dead_letter(item.raw, result.reason, result.message, origin_of(index), agent_id, tenant)
        self._found.append((index, result))

    def _give_up(self, round_: Round) -> None:
        message = "the engine could not judge this event; its log says why"
        self._refuse(round_, self.start, ItemResult("refused", ENGINE_FAULT, message))
        if self.is_last and self.delivery.after is not None:
            self.delivery.after(round_)

    def succeed(self) -> None:
        """Note the answers; the last slice answers the caller."""
        delivery = self.delivery
        for index, result in self._found:
            delivery.results[index] = result
        delivery.open_slices -= 1
        if delivery.is_taken and delivery.open_slices == 0:
            answer(delivery.future, delivery.results)

    def fail(self, problem: BaseException) -> None:
        """The whole delivery fails; what of it is durable is a duplicate when it comes again."""
        self.delivery.open_slices -= 1
        self.delivery.has_failed = True
        refuse(self.delivery.future, problem)

    def split(self) -> Sequence[Job]:
        """Halves; a single event that fails is given up as a dead letter."""
        if len(self) == 1:
            if self.is_poison:
                return ()
            self.is_poison = True
            return (self,)
        middle = (self.start + self.end) // 2
        self.delivery.open_slices += 1
        first, second = Slice(self.delivery, self.start, middle), Slice(self.delivery, middle, self.end)
        first.is_last = False
        second.is_last = self.is_last
        return (first, second)


class TickJob:
    """The clock reached a boundary: a tick for each topic, and throttles that end."""

    __slots__ = ("tick_ms",)

    def __init__(self, tick_ms: int) -> None:
        self.tick_ms = tick_ms

    def run(self, round_: Round) -> None:
        """Append the tick."""
        core = round_.core
        event = tick_event(core.engine_id, self.tick_ms)
        for topic in (ACTIONS, CRM):
            round_.append(topic, event)
        round_.expire_throttles(core.control.values())
        approving.expire(round_)
        containing.settle(round_, unfiled=core.decided.unfiled)
        round_.bands = bands(core.lanes[ACTIONS].stage, core.tick_ms, self.tick_ms)
        core.tick_ms = self.tick_ms
        round_.count("tick")

    def succeed(self) -> None:
        """Nobody waits."""

    def fail(self, problem: BaseException) -> None:
        """The next tick does it."""

    def split(self) -> Sequence[Job]:
        """It can't be split."""
        return ()


def answer(future: Future[Any], result: Any) -> None:
    """Resolve a future, unless its caller gave up."""
    try:  # noqa: SIM105 - once a gate check
        future.set_result(result)
    except InvalidStateError:
        pass


def refuse(future: Future[Any], problem: BaseException) -> None:
    """Fail a future, unless it is settled."""
    with suppress(InvalidStateError):
        future.set_exception(problem)

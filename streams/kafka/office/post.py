"""Writes records to Kafka from any thread: acknowledged by all in-sync copies, or the future fails.

The clients are asynchronous, so they live in a loop in a thread of their own. A producer that fails is thrown away
and made again; what was on its way then has failed, and whoever sent it sends it again (same event ids).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import structlog
from aiokafka.errors import KafkaError

from governance.settings import Kafka
from streams.kafka.admin import topic_ids
from streams.kafka.connect import KafkaProblem
from streams.kafka.spec import CONTROL, DEAD_LETTERS
from streams.kafka.worker.clients import producer
from streams.routing import ACTIONS, CRM

SLOW_SECS = 1.0
"""Records that wait longer for their acknowledgement mean that nothing can be written now."""
_RETRY_SECS, _PING_SECS, _PING_LIMIT_SECS, _STOP_SECS = 0.5, 1.0, 3.0, 2.0
_NEEDED = (ACTIONS, CRM, CONTROL, DEAD_LETTERS)
_log = structlog.get_logger("tripline.post")


class Letter(Protocol):
    """A record to write. ``topic`` is without the prefix."""

    @property
    def topic(self) -> str:
        """The topic."""

    @property
    def key(self) -> str:
        """The record's key."""

    @property
    def partition(self) -> int:
        """The partition of the key."""

    @property
    def body(self) -> bytes:
        """The value."""


class NotWritten(Exception):
    """Records could not be written, or nobody knows whether they were."""


class LoopThread:
    """An event loop in a thread."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def stop(self) -> None:
        """End the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_STOP_SECS)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


class Post:
    """One producer. Parameters: the cluster; the loop; ``linger_ms``, how long it waits for more to send at once."""

    def __init__(self, kafka: Kafka, loop: LoopThread, linger_ms: int = 0) -> None:
        self._kafka = kafka
        self._loop = loop
        self._linger_ms = linger_ms
        self._producer: Any = None
        self._trouble = f"not connected to {kafka.bootstrap} yet"
        self._numbers = itertools.count()
        self._on_the_way: dict[int, float] = {}
        self._keeping: Future[Any] | None = None
        self._broken: asyncio.Event = asyncio.Event()
        self.waiting = 0
        """Records on their way."""

    def start(self) -> None:
        """Connect in the background, and stay connected."""
        self._keeping = self._loop.submit(self._keep())

    def stop(self) -> None:
        """Disconnect; what is on its way may arrive or not."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(Exception):
                self._loop.submit(self._drop()).result(_STOP_SECS + 1)

    @property
    def trouble(self) -> str:
        """Why nothing can be written now, in words; "" when it can."""
        if self._trouble:
            return self._trouble
        oldest = self.oldest_secs()
        return f"records are not acknowledged since {oldest:.1f} s" if oldest > SLOW_SECS else ""

    def oldest_secs(self) -> float:
        """How long the oldest record on its way has waited; 0 when there is none."""
        with contextlib.suppress(StopIteration, RuntimeError):  # it may change meanwhile
            return time.monotonic() - next(iter(self._on_the_way.values()))
        return 0.0

    def send(self, letters: Sequence[Letter]) -> Future[None]:
        """Write records; done when all are acknowledged. Fails with NotWritten."""
        return self._loop.submit(self._send(letters))

    # --- in the loop --------------------------------------------------------------------------------------------

    async def _send(self, letters: Sequence[Letter]) -> None:
        current = self._producer
        if current is None:
            raise NotWritten(self._trouble)
        number = next(self._numbers)
        self._on_the_way[number] = time.monotonic()
        self.waiting += len(letters)
        try:
            sent = []
            for one in letters:
                name, key = self._kafka.prefix + one.topic, one.key.encode("utf-8", "surrogatepass")
                sent.append(await current.send(name, value=one.body, key=key, partition=one.partition))
            await asyncio.gather(*sent)
        except KafkaError as problem:
            self._broke(current, problem)
            raise NotWritten(f"a record could not be written: {problem!r}") from problem
        finally:
            self.waiting -= len(letters)
            del self._on_the_way[number]

    def _broke(self, current: Any, problem: BaseException) -> None:
        if current is self._producer:
            self._trouble = f"a record could not be written: {problem!r}"
            self._broken.set()

    async def _keep(self) -> None:
        while True:
            try:
                await self._connect()
                await self._watch()
            except (KafkaProblem, KafkaError, OSError) as problem:
                advice = f"; {problem.advice}" if isinstance(problem, KafkaProblem) else ""
                self._trouble = f"{problem}{advice}"
            _log.warning("broker_lost", problem=self._trouble)
            await self._drop()
            await asyncio.sleep(_RETRY_SECS)

    async def _connect(self) -> None:
        await asyncio.to_thread(topic_ids, self._kafka, _NEEDED)
        self._broken = asyncio.Event()
        made = producer(self._kafka, self._linger_ms)
        try:
            await made.start()
            for topic in _NEEDED:
                await made.partitions_for(self._kafka.prefix + topic)
        except BaseException:
            await _stopped(made)
            raise
        self._producer, self._trouble = made, ""
        _log.info("broker_met", bootstrap=self._kafka.bootstrap)

    async def _watch(self) -> None:
        """Until it broke: ask the broker now and then whether it is there."""
        while not self._broken.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._broken.wait(), _PING_SECS)
            is_there = False
            with contextlib.suppress(TimeoutError):
                is_there = await asyncio.wait_for(self._producer.client.force_metadata_update(), _PING_LIMIT_SECS)
            if not self._broken.is_set():
                self._trouble = "" if is_there else f"no broker answers at {self._kafka.bootstrap}"

    async def _drop(self) -> None:
        current, self._producer = self._producer, None
        self._trouble = self._trouble or "disconnected"
        if current is not None:
            await _stopped(current)


async def _stopped(current: Any) -> None:
    """Stop a producer that may be unable to write what it still has."""
    with contextlib.suppress(TimeoutError, KafkaError, OSError):
        await asyncio.wait_for(current.stop(), _STOP_SECS)

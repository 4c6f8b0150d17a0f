"""Follows a topic in a group that several consoles share; what a handler took is durable before it is committed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from governance.settings import Kafka
from storage.errors import StoreError
from streams.kafka.office.post import LoopThread
from streams.kafka.worker.clients import member

_TOGETHER = 500
_POLL_MS = 500
_SESSION_SECS = 8.0
_RETRY_SECS, _STOP_SECS = 0.5, 3.0
_log = structlog.get_logger("tripline.following")

Handle = Callable[[Sequence[Any]], None]
"""Takes records (topic, partition, offset, timestamp, key, value, headers), durably, in a thread of its own. May raise
StoreError: it gets the same again."""


class Following:
    """One consumer. Parameters: the cluster; topic and group, without the prefix; the loop; the handler."""

    def __init__(self, kafka: Kafka, topic: str, group: str, loop: LoopThread, handle: Handle) -> None:
        self._kafka = kafka
        self._topic = kafka.prefix + topic
        self._group = kafka.prefix + group
        self._loop = loop
        self._handle = handle
        self._thread = ThreadPoolExecutor(1, f"tripline-{group}")
        self._running: Future[Any] | None = None
        self._is_stopping = False
        self.trouble = "not connected yet"
        """Why it does not follow, in words; "" when it does."""
        self.lag = 0
        """Records that wait in its partitions, as far as it knows."""

    def start(self) -> None:
        """Begin to follow, in the background."""
        self._running = self._loop.submit(self._run())

    def stop(self) -> None:
        """Finish what is in hand, leave the group."""
        self._is_stopping = True
        if self._running is not None:
            with contextlib.suppress(Exception):
                self._running.result(_STOP_SECS)
            self._running.cancel()
        self._thread.shutdown()

    # --- in the loop --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._is_stopping:
            try:
                await self._follow()
            except (KafkaError, OSError) as problem:
                self.trouble = f"{self._topic} can't be followed: {problem!r}"
                _log.warning("not_following", topic=self._topic, problem=repr(problem))
            except Exception as problem:  # it must outlive whatever happens
                self.trouble = f"{self._topic} can't be followed: {problem!r}"
                _log.exception("following_failed", topic=self._topic)
            if not self._is_stopping:
                await asyncio.sleep(_RETRY_SECS)

    async def _follow(self) -> None:
        consumer = member(self._kafka, self._topic, self._group, _SESSION_SECS)
        try:
            await consumer.start()
            while not self._is_stopping:
                self.trouble = ""
                batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_TOGETHER)
                if batches:
                    await self._take(consumer, batches)
                self.lag = _lag(consumer)
        finally:
            with contextlib.suppress(TimeoutError, KafkaError, OSError):
                await asyncio.wait_for(consumer.stop(), _STOP_SECS)

    async def _take(self, consumer: Any, batches: dict[Any, list[Any]]) -> None:
        records = [record for batch in batches.values() for record in batch]
        ends = {place: batch[-1].offset + 1 for place, batch in batches.items()}
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._handle, records)
                break
            except StoreError as problem:
                self.trouble = f"what is in {self._topic} waits for the store: {problem}"
                await asyncio.sleep(_RETRY_SECS)
            if self._is_stopping:
                return
        with contextlib.suppress(
            CommitFailedError, IllegalStateError
        ):  # somebody else has them now, and takes them again
            await consumer.commit(ends)


def _lag(consumer: Any) -> int:
    found = 0
    for place in consumer.assignment():
        state = consumer._subscription.subscription.assignment.state_value(place)
        if state is not None and state.highwater is not None and state.has_valid_position:
            found += max(0, state.highwater - state.position)
    return found

"""Keeps a lease while it is held: a thread, or a task, that reports to the gate and renews."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

import httpx

from tripline_client.leases import Hold, Message

_JSON = {"content-type": "application/json"}
_PATIENCE_SECS = 2.0
"""How long the end of a block waits for the last report to be taken."""


class _Base:
    def __init__(self, hold: Hold, drop: Callable[[Hold], None]) -> None:
        self.hold = hold
        self._drop = drop

    @property
    def problem(self) -> str:
        """Why there is no lease now, or why the last one was not renewed; "" when all is well."""
        return self.hold.problem

    @property
    def stanza(self) -> str:
        """The lines of configuration that would allow it, where there are any."""
        return self.hold.stanza

    @property
    def is_held(self) -> bool:
        """Whether there is a lease that lives."""
        held = self.hold.current
        return held is not None and not held.is_over()

    def _is_last(self, message: Message) -> bool:
        """Whether nothing else is to be sent in this round: what a lease that is over leaves goes first."""
        return message.lease is None or message.lease is self.hold.current


class Lease(_Base):
    """A lease that is held, see ``Tripline.lease``. Use it in a ``with``; its end gives the lease back."""

    def __init__(self, hold: Hold, http: httpx.Client, drop: Callable[[Hold], None]) -> None:
        super().__init__(hold, drop)
        self._http = http
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tripline-lease", daemon=True)

    def __enter__(self) -> Lease:
        self.beat()
        self._thread.start()
        return self

    def __exit__(self, kind: object, problem: object, trace: object) -> None:
        self.close()

    def close(self, patience_secs: float = _PATIENCE_SECS) -> None:
        """Give it back; what was not told in time is not, and its credits count as spent."""
        self.hold.close()
        self._drop(self.hold)
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(patience_secs)
        end = time.monotonic() + patience_secs
        while (message := self.hold.next()) is not None and time.monotonic() < end:
            if not self._send(message):
                time.sleep(0.05)

    def beat(self) -> None:
        """Report and renew now."""
        while (message := self.hold.next()) is not None:
            if not self._send(message) or self._is_last(message):
                return

    def _run(self) -> None:
        while not self._stop.wait(self.hold.pause_secs):
            self.beat()

    def _send(self, message: Message) -> bool:
        try:
            answer = self._http.post(message.path, content=message.content(), headers=_JSON)
        except (httpx.HTTPError, RuntimeError):  # not reached, or the client was closed
            self.hold.failed(message)
            return False
        self.hold.answered(message, answer.status_code, answer.content)
        return True


class AsyncLease(_Base):
    """The same for asyncio; see ``Lease``."""

    def __init__(self, hold: Hold, http: httpx.AsyncClient, drop: Callable[[Hold], None]) -> None:
        super().__init__(hold, drop)
        self._http = http
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> AsyncLease:
        await self.beat()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, kind: object, problem: object, trace: object) -> None:
        await self.close()

    async def close(self, patience_secs: float = _PATIENCE_SECS) -> None:
        """Give it back; see ``Lease.close``."""
        self.hold.close()
        self._drop(self.hold)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        end = time.monotonic() + patience_secs
        while (message := self.hold.next()) is not None and time.monotonic() < end:
            if not await self._send(message):
                await asyncio.sleep(0.05)

    async def beat(self) -> None:
        """Report and renew now."""
        while (message := self.hold.next()) is not None:
            if not await self._send(message) or self._is_last(message):
                return

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.hold.pause_secs)
            await self.beat()

    async def _send(self, message: Message) -> bool:
        try:
            answer = await self._http.post(message.path, content=message.content(), headers=_JSON)
        except (httpx.HTTPError, RuntimeError):  # not reached, or the client was closed
            self.hold.failed(message)
            return False
        self.hold.answered(message, answer.status_code, answer.content)
        return True

"""Routes that are called a thousand times a second, as functions that two ways share.

The lane (``console.lane``) calls them straight from the socket, the guard for all that the lane does not take.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from console.answers import Answer
from console.auth import Caller
from console.bridge import Bridge
from console.heads import Head

Finish = Callable[[Future[Any] | None], Answer]


class Begun(NamedTuple):
    """A request that the runtime has: what answers it, who waits for that, and how it becomes an answer.

    ``finish`` is called once, on the event loop, with the future when it is done, or None when it took too long.
    """

    future: Future[Any]
    bridge: Bridge
    finish: Finish

    async def answer(self) -> Answer:
        """The answer, when it is there."""
        return self.finish(await self.bridge.settled(self.future))


HotRoute = Callable[[bytes, Head, Caller], Begun | None]
"""Body, head and caller to what has begun. None: this request is for the application, and nothing was done yet.

Raises Refused, in which case nothing was done either.
"""

"""Waiting for the runtime's transaction on behalf of somebody who wants to know whether it was done."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeVar

from console.errors import Refused

CONTROL_SECS = 10.0
"""How long a person waits for what the runtime decides."""
T = TypeVar("T")


async def in_time(asked: Future[T], secs: float = CONTROL_SECS, *, then: str = "look") -> T:
    """What the runtime answers; it goes on when nobody waits any more. Raises Refused (503) when it takes too long.

    ``then``: what to do again, as a verb.
    """
    try:
        async with asyncio.timeout(secs):
            return await asyncio.shield(asyncio.wrap_future(asked))
    except TimeoutError:
        raise Refused(503, "not_known", f"no answer in time: nobody knows yet if it was done; {then} again") from None

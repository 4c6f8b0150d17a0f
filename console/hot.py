"""Routes that are called a thousand times a second, as functions that two ways share.

The lane (``console.lane``) calls them straight from the socket, the guard for all that the lane does not take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from console.answers import Answer
from console.auth import Caller
from console.heads import Head

Reply = Callable[[Answer], None]
HotRoute = Callable[[bytes, Head, Caller, Reply], bool]
"""Body, head, caller, and who is told the answer: once, later, on the running loop.

False: this request is for the application, and nothing was done yet. Raises Refused; then nothing was done either.
"""


async def answer_by(route: HotRoute, body: bytes, head: Head, caller: Caller) -> Answer | None:
    """The answer, when it is there; None when the route leaves the request to the application."""
    told: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    if not route(body, head, caller, lambda answer: None if told.done() else told.set_result(answer)):
        return None
    return await told

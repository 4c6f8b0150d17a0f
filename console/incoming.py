"""The body of a request, whole or not at all."""

from __future__ import annotations

import asyncio

from litestar.types import Receive

from console.errors import Refused


async def read_body(receive: Receive, limit: int, secs: float) -> bytes:
    """The whole body. Raises Refused when it is larger than ``limit`` bytes or takes longer than ``secs``."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(secs):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refused(400, "bad_request", "the request ended before its body did")
                chunks.append(message["body"])
                size += len(message["body"])
                if size > limit:
                    raise too_large(limit)
                if not message["more_body"]:
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        raise Refused(408, "too_slow", f"the body did not arrive within {secs:g} s") from None


def too_large(limit: int) -> Refused:
    """413, and the connection ends: nobody reads the rest."""
    return Refused(413, "too_large", f"the body is larger than {limit} bytes", headers={"Connection": "close"})

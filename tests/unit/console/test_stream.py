"""The stream of changes: merged, bounded, filtered, and ended when the server stops."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from console.sse import MAX_LISTENERS, MAX_NAMES, Hub, Notice, TooManyListeners

T = TypeVar("T")


def alone(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread of its own: the browser tests leave a running loop in the main one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def take(stream: object, count: int) -> list[bytes]:
    return [await asyncio.wait_for(anext(stream), 5) for _ in range(count)]  # type: ignore[call-overload]


def test_changes_from_another_thread_reach_a_listener_merged_into_one_notice() -> None:
    async def run() -> bytes:
        hub = Hub(gap_secs=0.0)
        stream = hub.listen()
        await take(stream, 1)

        def publish() -> None:
            for number in range(1_000):
                hub.publish(agents=[f"a{number % 3}"], kinds=["finding"])

        thread = threading.Thread(target=publish)
        thread.start()
        await asyncio.to_thread(thread.join)
        messages = b"".join(await take(stream, 1))
        hub.close()
        return messages

    told = alone(run())
    assert told.startswith(b"event: overview\n")
    assert json.loads(told.split(b"data: ")[1].split(b"\n")[0])["kinds"] == ["finding"]


def test_a_listener_hears_of_its_own_agent_only() -> None:
    notice = Notice()
    notice.add(["a", "b"], ["d"], ["risk"])
    assert notice.messages("a", None).count(b"event: agent\n") == 1
    assert notice.messages("c", None).count(b"event: agent\n") == 0
    assert notice.messages(None, "d").count(b"event: deal\n") == 1
    assert notice.messages("c", "x").count(b"event: overview\n") == 1


def test_a_notice_is_bounded() -> None:
    notice = Notice()
    notice.add((f"a{number}" for number in range(10_000)), [], [])
    assert len(notice.agents) == MAX_NAMES
    assert notice.is_cut
    assert b"event: agent\n" in notice.messages("a-that-was-cut", None)


def test_silence_is_broken_by_a_heartbeat() -> None:
    async def run() -> list[bytes]:
        hub = Hub(heartbeat_secs=0.01)
        return await take(hub.listen(), 2)

    assert alone(run())[1].startswith(b": ")


def test_closing_ends_every_stream() -> None:
    async def run() -> list[bytes]:
        hub = Hub()
        stream = hub.listen()
        got = await take(stream, 1)
        hub.close()
        got += [message async for message in stream]
        assert hub.listeners == 0
        return got

    assert len(alone(run())) == 1


def test_listeners_are_bounded() -> None:
    async def run() -> None:
        hub = Hub()
        streams = [hub.listen() for _ in range(MAX_LISTENERS)]
        for stream in streams:
            await take(stream, 1)
        with pytest.raises(TooManyListeners):
            hub.listen()

    alone(run())

"""Results of another thread reach the event loop: all of them, once, and with one wake-up for many."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from console.bridge import Bridge


def in_thread(work: Any) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_future_that_is_done_already_is_told_later_not_at_once() -> None:
    async def run() -> list[Any]:
        heard: list[Any] = []
        future: Future[int] = Future()
        future.set_result(7)
        Bridge().when_done(future, heard.append)
        before = list(heard)
        await asyncio.sleep(0.01)
        return [before, [each.result() for each in heard]]

    assert asyncio.run(run()) == [[], [7]]


def test_many_results_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[int, list[int]]:
        loop, wakes, heard = asyncio.get_running_loop(), [], list[int]()
        wake = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *call: (wakes.append(call), wake(*call)))
        bridge = Bridge(1.0)
        futures: list[Future[int]] = [Future() for _ in range(50)]
        for future in futures:
            bridge.when_done(future, lambda done: heard.append(done.result() if done is not None else -1))
        in_thread(lambda: [future.set_result(at) for at, future in enumerate(futures)])
        await asyncio.sleep(0)
        while len(heard) < 50:
            await asyncio.sleep(0)
        return len(wakes), heard

    wakes, heard = asyncio.run(run())
    assert wakes == 1
    assert heard == list(range(50))


def test_one_who_fails_to_listen_keeps_nothing_from_the_others() -> None:
    async def run() -> list[str]:
        heard: list[str] = []
        bridge = Bridge()
        futures: list[Future[str]] = [Future(), Future()]
        bridge.when_done(futures[0], lambda _: heard.append(str(1 / 0)))
        bridge.when_done(futures[1], lambda done: heard.append(done.result() if done is not None else ""))
        in_thread(lambda: [future.set_result("told") for future in futures])
        await asyncio.sleep(0.01)
        return heard

    assert asyncio.run(run()) == ["told"]


def test_who_waited_too_long_hears_none_and_nothing_after_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.bridge.SWEEP_SECS", 0.0)

    async def run() -> list[Any]:
        future: Future[int] = Future()
        bridge, heard = Bridge(0.0), list[Any]()
        bridge.when_done(future, heard.append)
        while not heard:
            await asyncio.sleep(0)
        future.set_result(1)
        await asyncio.sleep(0.01)
        return [*heard, await bridge.settled(Future())]

    assert asyncio.run(run()) == [None, None]


def test_settled_gives_the_future_with_its_problem() -> None:
    async def run() -> str:
        future: Future[int] = Future()
        waiting = asyncio.ensure_future(Bridge(5.0).settled(future))
        await asyncio.sleep(0)
        in_thread(lambda: future.set_exception(ValueError("the disk is full")))
        settled = await waiting
        assert settled is future
        return str(settled.exception())

    assert asyncio.run(run()) == "the disk is full"


def test_a_loop_that_is_closed_is_not_woken() -> None:
    future: Future[int] = Future()

    async def run() -> None:
        Bridge().when_done(future, lambda _: None)

    asyncio.run(run())
    future.set_result(1)

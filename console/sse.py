"""Server-sent events: small notices that something changed, so that pages ask for what they show.

A notice says what changed, never what it is now. Each listener has one pending notice into which changes are
merged, so that a slow listener costs a bounded amount of memory, and nobody is told more than four times a second.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable

import msgspec
from msgspec import Struct, field

MIN_GAP_SECS = 0.25
HEARTBEAT_SECS = 15.0
MAX_LISTENERS = 200
MAX_NAMES = 100
RETRY_MS = 2_000


class Notice(Struct, kw_only=True):
    """What changed since the last notice. More than 100 names of a sort are left out and ``is_cut`` is set."""

    agents: set[str] = field(default_factory=set)
    deals: set[str] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)
    is_cut: bool = False

    def add(self, agents: Iterable[str], deals: Iterable[str], kinds: Iterable[str]) -> None:
        """Merge further changes in."""
        self.agents.update(agents)
        self.deals.update(deals)
        self.kinds.update(kinds)
        if len(self.agents) > MAX_NAMES or len(self.deals) > MAX_NAMES:
            self.is_cut = True
            self.agents = set(sorted(self.agents)[:MAX_NAMES])
            self.deals = set(sorted(self.deals)[:MAX_NAMES])

    def messages(self, agent: str | None, deal: str | None) -> bytes:
        """The notice as SSE: ``overview`` always, ``agent`` and ``deal`` when they (or the one asked for) changed."""
        body = msgspec.json.encode(
            {
                "agents": sorted(self.agents),
                "deals": sorted(self.deals),
                "kinds": sorted(self.kinds),
                "is_cut": self.is_cut,
            }
        )
        names = ["overview"]
        if self.is_cut or (self.agents if agent is None else agent in self.agents):
            names.append("agent")
        if self.is_cut or (self.deals if deal is None else deal in self.deals):
            names.append("deal")
        return b"".join(b"event: " + name.encode() + b"\ndata: " + body + b"\n\n" for name in names)


class TooManyListeners(Exception):
    """All places for listeners are taken."""


class Hub:
    """Hands changes from the runtime's thread to the listeners on the event loop.

    Parameters: ``gap_secs`` is the least time between two notices of a listener, ``heartbeat_secs`` the longest
    silence: proxies and browsers close what they think dead.
    """

    def __init__(self, gap_secs: float = MIN_GAP_SECS, heartbeat_secs: float = HEARTBEAT_SECS) -> None:
        self._gap_secs = gap_secs
        self._heartbeat_secs = heartbeat_secs
        self._lock = threading.Lock()
        self._arrived: Notice | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[_Listener] = set()
        self._is_closed = False

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def publish(self, agents: Iterable[str] = (), deals: Iterable[str] = (), kinds: Iterable[str] = ()) -> None:
        """Tell everybody, soon. May be called from any thread; costs next to nothing when nobody listens."""
        if not self._listeners or self._loop is None:
            return
        with self._lock:
            is_first = self._arrived is None
            self._arrived = self._arrived or Notice()
            self._arrived.add(agents, deals, kinds)
        if is_first:
            try:
                self._loop.call_soon_threadsafe(self._hand_out)
            except RuntimeError:  # the loop has been closed: nobody listens any more
                self._listeners.clear()

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        self._is_closed = True
        for listener in self._listeners:
            listener.wake.set()

    def listen(self, agent: str | None = None, deal: str | None = None) -> AsyncIterator[bytes]:
        """A stream for one listener. Raises TooManyListeners at once."""
        if len(self._listeners) >= MAX_LISTENERS:
            raise TooManyListeners
        self._loop = asyncio.get_running_loop()
        return self._stream(agent, deal)

    async def _stream(self, agent: str | None, deal: str | None) -> AsyncIterator[bytes]:
        listener = _Listener()
        self._listeners.add(listener)
        try:
            yield f"retry: {RETRY_MS}\n: listening\n\n".encode()
            while not self._is_closed:
                if await listener.woken(self._heartbeat_secs):
                    if listener.notice is not None:
                        notice, listener.notice = listener.notice, None
                        yield notice.messages(agent, deal)
                        await asyncio.sleep(self._gap_secs)
                else:
                    yield b": still here\n\n"
        finally:
            self._listeners.discard(listener)

    def _hand_out(self) -> None:
        with self._lock:
            arrived, self._arrived = self._arrived, None
        if arrived is None:
            return
        for listener in self._listeners:
            listener.notice = listener.notice or Notice()
            listener.notice.add(arrived.agents, arrived.deals, arrived.kinds)
            listener.wake.set()


class _Listener:
    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.notice: Notice | None = None

    async def woken(self, secs: float) -> bool:
        """True when there is something, False after ``secs`` of silence."""
        try:
            async with asyncio.timeout(secs):
                await self.wake.wait()
        except TimeoutError:
            return False
        self.wake.clear()
        return True

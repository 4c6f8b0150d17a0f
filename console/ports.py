"""What the console needs of the runtime: ``streams.standalone.runtime.Runtime`` has it, tests bring a fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from events.types import Event
from governance.control import ControlRequest, Decision
from governance.gate import GateDecision, GateRequest
from streams.standalone.types import Changed, ItemResult


class Clock(Protocol):
    """The runtime's clock, which the demo runs faster."""

    def now_ms(self) -> int:
        """The log's time now, in milliseconds since 1970."""


class Status(Protocol):
    """How the runtime is doing."""

    @property
    def judged_to_ms(self) -> int:
        """Log time up to which everything is judged and stored; 0 = nothing yet."""

    @property
    def oldest_unjudged_ms(self) -> int | None:
        """How long the oldest record that waits has waited, in milliseconds; None when none waits."""

    @property
    def queued(self) -> int:
        """Events that wait."""

    @property
    def wal_bytes(self) -> int:
        """Size of the store's write-ahead log."""

    @property
    def degraded(self) -> Sequence[str]:
        """What is wrong, in words; empty = nothing."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How often what happened since the start; a name is ``what:label:label``, see ``console.observe``."""


class Runtime(Protocol):
    """A running engine. Every method may be called from any thread and returns at once."""

    @property
    def clock(self) -> Clock:
        """Its clock."""

    def ingest(
        self, events: Sequence[tuple[bytes, Event]], *, after: Callable[[Any], None] | None = None
    ) -> Future[list[ItemResult]]:
        """Take events; the future is done when they are judged and durable. Raises Busy when they should wait.

        ``after`` is called with the round in the transaction of the last of them.
        """

    def dead_letter(
        self,
        raw: bytes,
        reason: str,
        message: str,
        origin: dict[str, Any] | None = None,
        agent_id: str | None = None,
    ) -> Future[int]:
        """Keep what could not be read."""

    def check(self, request: GateRequest) -> Future[GateDecision]:
        """Decide whether an agent may do something; an admission is durable when the future is done."""

    def control(self, request: ControlRequest) -> Future[Decision]:
        """Ask the authority for a state."""

    def status(self) -> Status:
        """How it is now; cheap."""

    def subscribe(self, callback: Callable[[Sequence[Changed]], None]) -> Callable[[], None]:
        """Call back, in the runtime's thread, after each round; returns what ends it."""

    def close(self) -> None:
        """Finish what was taken, and stop."""

"""What the console needs of the runtime: the embedded one has it, tests bring a fake."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from governance.gate import GateDecision, GateRequest

from events.types import Event
from governance.control import ControlRequest, Decision


class Changes(Protocol):
    """What one round of the runtime changed."""

    @property
    def agents(self) -> Collection[str]:
        """Ids of agents of which something new is known."""

    @property
    def deals(self) -> Collection[str]:
        """Ids of deals of which something new is known."""

    @property
    def kinds(self) -> Collection[str]:
        """Sorts of news: finding, control, risk, alert, tick, …"""

    @property
    def counts(self) -> Mapping[tuple[str, ...], int]:
        """How often what happened, such as ("finding", detector, mode); see ``console.observe``."""

    @property
    def wrong_records(self) -> Sequence[tuple[str, int]]:
        """Per detector's stop that was applied: the detector, and the distinct records written in the burst."""


class ItemResult(Protocol):
    """What became of one event of a batch."""

    @property
    def is_duplicate(self) -> bool:
        """True when it had been taken before, so that it was dropped."""


class Status(Protocol):
    """How the runtime is."""

    @property
    def judged_to_ms(self) -> int:
        """Log time up to which everything is judged and stored."""

    @property
    def oldest_unjudged_ms(self) -> int | None:
        """When the oldest record that waits arrived; None when none waits."""

    @property
    def degraded_reasons(self) -> Sequence[str]:
        """Why it is not well: backlog, wal, disk, store; empty = well."""


class Busy(Protocol):
    """Raised by ``ingest`` when producers should wait. ``retry_secs`` is for how long."""

    retry_secs: float


class Runtime(Protocol):
    """A running engine. Every method may be called from any thread and returns at once."""

    def now_ms(self) -> int:
        """The time by the runtime's clock, which the demo runs faster."""

    def ingest(self, events: Sequence[tuple[bytes, Event]]) -> Future[Sequence[ItemResult]]:
        """Take events; the future is done when they are judged and durable."""

    def dead_letter(
        self, raw: bytes, reason: str, message: str, origin: Mapping[str, Any], agent_id: str | None
    ) -> Future[None]:
        """Keep what could not be read."""

    def settle_dead_letters(self, ids: Sequence[int]) -> Future[None]:
        """Mark dead letters as re-driven."""

    def check(self, request: GateRequest) -> Future[GateDecision]:
        """Decide whether an agent may do something; an admission is durable when the future is done."""

    def control(self, request: ControlRequest) -> Future[Decision]:
        """Ask the authority for a state."""

    def status(self) -> Status:
        """How it is now; cheap."""

    def subscribe(self, callback: Callable[[Changes], None]) -> Callable[[], None]:
        """Call back, in the runtime's thread, after each round; returns what ends it."""

    def close(self) -> None:
        """Finish what was taken, and stop."""

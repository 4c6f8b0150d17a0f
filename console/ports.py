"""What the console needs of the runtime: ``streams.standalone.runtime.Runtime`` has it, tests bring a fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from events.types import Event
from governance.approvals import Answer, Verdict
from governance.control import ControlRequest, Decision
from governance.drills import DrillResult
from governance.gate import GateRequest
from governance.lease_types import LeaseAsk, What
from governance.policy import Policy
from storage.models import Use
from storage.quality import QualityRow
from streams.authority import Authority
from streams.deal_promotion import Promotion, PromotionRefused
from streams.leasing import Leased, Reported
from streams.policies import PolicyInForce
from streams.standalone.mailbox import HandOver, Mailbox
from streams.standalone.types import Changes, ItemResult, OriginOf, no_origin

T = TypeVar("T")


class Status(Protocol):
    """How the runtime is doing."""

    @property
    def judged_to_ms(self) -> int:
        """Log time up to which everything is judged and stored; 0 = nothing yet."""

    @property
    def oldest_unjudged_ms(self) -> int | None:
        """When the oldest event that waits arrived; None when none waits."""

    @property
    def queue(self) -> int:
        """Events that wait."""

    @property
    def wal_bytes(self) -> int:
        """Size of the store's write-ahead log."""

    @property
    def log_bytes(self) -> int:
        """Size of the event log."""

    @property
    def degraded_reasons(self) -> Sequence[str]:
        """What is wrong, as codes; empty = nothing."""

    @property
    def troubles(self) -> Sequence[str]:
        """What is wrong, in words."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a person should mend although all works, in words."""

    @property
    def control_counts(self) -> Mapping[str, int]:
        """Agents by control state."""

    @property
    def suspended_by(self) -> Mapping[str, int]:
        """Suspended agents by who stopped them: detector, human, drill."""

    @property
    def stop_all(self) -> bool:
        """Whether everything is stopped."""

    @property
    def restarts(self) -> int:
        """How often a runtime was started on this store before."""


class Runtime(Protocol):
    """A running engine. Every method may be called from any thread and returns at once."""

    @property
    def policy(self) -> Policy | None:
        """The autonomy policy in force; None without one."""

    @property
    def policies(self) -> PolicyInForce:
        """Where the policy comes from: its files, the version in force, and what waits for two people."""

    def now_ms(self) -> int:
        """The log's time now, in milliseconds since 1970; the demo's runs faster."""

    def ingest(
        self, events: Sequence[tuple[bytes, Event]], *, origin_of: OriginOf | None = no_origin
    ) -> Future[list[ItemResult]]:
        """Take events; the future is done when they are judged and durable. Raises Busy when they should wait.

        ``origin_of`` goes into the dead letter of an event that is refused; None: it gets none.
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

    def settle_dead_letters(self, ids: Sequence[int]) -> Future[None]:
        """Mark dead letters as re-driven."""

    def keep_quality(self, rows: Sequence[QualityRow]) -> Future[None]:
        """Store a day's scores of the CRM's data."""

    def mailbox(self, hand_over: HandOver) -> Mailbox:
        """Where answers to ``ask`` go; one for each event loop."""

    def ask(self, request: GateRequest, box: Mailbox, token: Any) -> None:
        """Decide whether an agent may do something; the admission is durable when the answer comes to the box."""

    def decide(self, key: str, function: Callable[[Authority], T]) -> Future[T]:
        """Decide something about an agent in one transaction."""

    def promote(self, asked: Promotion) -> Future[Use | PromotionRefused]:
        """Have a model score deals; a refusal is the answer, and nothing has changed then."""

    def answer_approval(self, given: Answer) -> Future[Verdict | None]:
        """A person's answer to an approval; None when there is none of this id."""

    def control(self, request: ControlRequest) -> Future[Decision]:
        """Ask the authority for a state."""

    def lease(self, ask: LeaseAsk) -> Future[Leased]:
        """A lease, or why there is none."""

    def report_lease(self, reported: Reported, what: What) -> Future[Leased | None]:
        """Take what the holder of a lease did, then renew it or give it back. None: there is no such lease."""

    def override_lease(self, key: str, minutes: int, by: str, reason: str) -> Future[int]:
        """A person lets a blind agent go on; until when."""

    def keep_drill(self, result: DrillResult) -> Future[None]:
        """Keep what a drill measured."""

    def status(self) -> Status:
        """How it is now; cheap."""

    def subscribe(self, callback: Callable[[Changes], None]) -> Callable[[], None]:
        """Call back, in the runtime's thread, after each round; returns what ends it."""

    def close(self) -> None:
        """Finish what was taken, and stop."""

"""The demo's script: an agent that goes rogue, buyers who write, and what the pages show of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from console.demo.organisation import ROGUE
from events.times import MINUTE_MS, SECOND_MS
from events.types import ActionEvent, Actor, CrmActivity, Event
from governance.gate import GateDecision, Rule
from simulator import Simulation
from simulator.draws import Draws
from simulator.scenarios import ROGUE_RUN, wrong_value
from simulator.work import SYSTEM, Step
from simulator.world import OpenDeal, Record

ROGUE_PER_MINUTE = 27
"""About ten times its usual rate, in simulated time."""
ATTEMPTS_AFTER_STOP = 40
"""So often the rogue agent tries again after it was refused."""
FIRST_MAIL_MS = 12 * MINUTE_MS
MAIL_EVERY_MS = 35 * MINUTE_MS
MAX_ANSWERS = 6
Timed = tuple[int, Event]


class Answer(Struct, frozen=True):
    """What the gate answered when somebody played the agent."""

    at_ms: int
    decision: str
    reason: str


class Demo:
    """What the pages know of the demo, and the buttons they have.

    Parameters: ``auto_secs`` real seconds after which the agent goes rogue by itself (None: never); ``curl_lines``
    to paste as the agent. ``is_running`` and the times are set by ``begin``.
    """

    agent_id = ROGUE

    def __init__(self, simulation: Simulation, seed: int, speed: float, auto_secs: float | None) -> None:
        self.speed = speed
        self.rogue_at: int | None = None
        self.answers: list[Answer] = []
        self.is_stopped = False
        self._lines: list[str] = []
        self._auto_secs = auto_secs
        self._auto_at = 0.0
        self._is_rogue = False
        self._tries_left = 0
        self._asked_to = threading.Event()
        self._simulation = simulation
        self._worker = simulation.second_worker(ROGUE, "rogue")
        self._draws = Draws(seed, "demo", "rogue")
        self._next_ms = 0
        self._targets = 0
        self._values: dict[str, tuple[Record, str, Any]] = {}

    # --- for the pages ------------------------------------------------------------------------------------------

    @property
    def can_go_rogue(self) -> bool:
        """Whether the button does something now."""
        return not (self._is_rogue or self.is_stopped or self._asked_to.is_set())

    @property
    def rogue_in_s(self) -> int | None:
        """Real seconds until it happens by itself."""
        if self._auto_at == 0.0 or self._is_rogue or self.rogue_at is not None:
            return None
        return max(1, round(self._auto_at - time.monotonic()))

    @property
    def curl_lines(self) -> list[str]:
        """What to paste once the agent is stopped."""
        return self._lines if self.is_stopped else []

    def go_rogue(self) -> bool:
        """Let the agent go wild; False when it is already, or is stopped."""
        if not self.can_go_rogue:
            return False
        self._asked_to.set()
        return True

    def answered(self, at_ms: int, decision: GateDecision) -> None:
        """Somebody asked the gate as the agent."""
        said = Answer(at_ms, decision.decision, decision.reason)
        self.answers = [said, *self.answers][:MAX_ANSWERS]

    # --- for the script -----------------------------------------------------------------------------------------

    def begin(self, curl_lines: Sequence[str]) -> None:
        """The first page is up: the count-down begins."""
        self._lines = list(curl_lines)
        if self._auto_secs is not None:
            self._auto_at = time.monotonic() + self._auto_secs

    def rogue_actions(self, now_ms: int) -> list[Timed]:
        """What the rogue agent tries up to now: its own kind of work, far too fast, with wrong values."""
        self._start_if_due(now_ms)
        found: list[Timed] = []
        while self._is_rogue and self._next_ms <= now_ms:
            found.extend(self._try(self._next_ms))
            pause = MINUTE_MS // ROGUE_PER_MINUTE
            self._next_ms += self._draws.between(pause // 2, pause * 3 // 2)
        return found

    def heard(self, event: ActionEvent, decision: GateDecision) -> None:
        """The gate answered the simulated agent."""
        if event.data.agent_id != ROGUE:
            return
        changed = self._values.pop(event.id, None)
        if decision.decision == "allow":
            if self.is_stopped:  # somebody released it: the fault is mended
                self.is_stopped = self._is_rogue = False
                self.rogue_at = None
                self._auto_at = 0.0
            if changed is not None:
                record, name, value = changed
                record.fields[name] = value
            return
        if decision.rule is Rule.SUSPENDED:
            self.is_stopped = True
        if changed is not None:
            self._tries_left -= 1
            self._is_rogue = self._is_rogue and self._tries_left > 0

    def _start_if_due(self, now_ms: int) -> None:
        is_time = self._auto_at and time.monotonic() >= self._auto_at and self.rogue_at is None
        if not (is_time or self._asked_to.is_set()) or self._is_rogue:
            return
        self._asked_to.clear()
        if self.is_stopped:
            return
        self._is_rogue = True
        self._tries_left = ATTEMPTS_AFTER_STOP
        self.rogue_at = self._next_ms = now_ms

    def _try(self, at_ms: int) -> list[Timed]:
        accounts = self._simulation.world.accounts
        record = accounts[self._targets % len(accounts)]
        self._targets += 1
        name = ("industry", "industry", "employees", "segment", "industry", "website")[self._targets % 6]
        value = wrong_value(name)
        if record.fields[name] == value:
            name, value = "phone", wrong_value("phone")
        step = Step(
            action="record.update",
            object="Account",
            records=[record],
            changes={record.id: {name: (record.fields[name], value)}},
        )
        timed = self._worker.do(at_ms, step, ROGUE_RUN)
        self._values[timed[0][1].id] = (record, name, value)
        return timed


class Buyers:
    """Buyers of the deals that the manager is looking at write now and then.

    Parameters: ``top`` gives the ids of those deals, best first.
    """

    def __init__(self, simulation: Simulation, seed: int, begins_ms: int, top: Callable[[], Sequence[str]]) -> None:
        self._simulation = simulation
        self._draws = Draws(seed, "demo", "buyers")
        self._next_ms = begins_ms + FIRST_MAIL_MS
        self._top = top
        self._wrote: set[str] = set()
        self._count = 0

    def mails(self, now_ms: int) -> list[Timed]:
        """The mails that came in up to now."""
        found: list[Timed] = []
        while self._next_ms <= now_ms:
            deal = self._pick()
            if deal is not None:
                found.append((self._next_ms, self._mail(deal, self._next_ms)))
            self._next_ms += MAIL_EVERY_MS + self._draws.below(10 * MINUTE_MS)
        return found

    def _pick(self) -> OpenDeal | None:
        """The first of the five whose buyer has not written yet, else any open deal."""
        deals = self._simulation.world.open_deals
        for deal_id in self._top():
            if deal_id in deals and deal_id not in self._wrote:
                return deals[deal_id]
        return self._draws.pick(self._simulation.world.deal_list) if deals else None

    def _mail(self, deal: OpenDeal, at_ms: int) -> Event:
        self._wrote.add(deal.id)
        self._count += 1
        envelope = self._simulation.envelope
        contact = deal.writer = deal.contacts[0]
        data = CrmActivity(
            kind="email",
            deal_id=deal.id,
            direction="inbound",
            participants=[contact.participant()],
            occurred_at=envelope.time_text(at_ms - 20 * SECOND_MS),
            logged_by=Actor("automation", "mail-sync"),
            system=SYSTEM,
        )
        return envelope.activity(at_ms, f"{deal.id}-mail-{self._count:04d}", data)

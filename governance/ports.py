"""What the pure core needs from outside, as Protocols: a clock, what the gate looks at, somebody to tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from governance.consent import Said
from governance.control import ControlRow
from governance.gate_types import GateView, Remembered
from governance.limits import Budgets, Counters
from governance.settings_types import NotificationKind

__all__ = ["AgentView", "Clock", "Counters", "GateView", "Notice", "Notifier", "Remembered"]


class Clock(Protocol):
    """The runtime's clock: wall time, or the simulator's in the demo. The log takes its records at its time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""

    def wait_secs(self, until_ms: int) -> float:
        """Real seconds until the clock shows ``until_ms``; 0 when it does already."""


class Notice(Struct, frozen=True, kw_only=True):
    """Something that people are told. ``subject`` is the agent or manager whose thread it belongs to."""

    id: str
    kind: NotificationKind
    subject: str
    title: str
    body: str
    at_ms: int
    is_urgent: bool = False
    link: str = ""


class Notifier(Protocol):
    """Sends notices."""

    def send(self, target: str, notice: Notice) -> bool:
        """Send to one target; True when the target has accepted it."""


class AgentView:
    """A GateView over plain values in memory: what a runtime keeps per agent, and what tests use.

    Parameters: the rows, ``known`` contacts in canonical spelling (shared by the tenant's agents), the agent's
    budgets and its remembered answers; ``said``, what contacts allowed; ``belonging``, owner and segment by record;
    ``others``, the rows of other agents by id; ``everybody``, the counters of all agents together.
    """

    def __init__(
        self,
        *,
        control: ControlRow | None = None,
        stop_all: ControlRow | None = None,
        known: set[str] | frozenset[str] = frozenset(),
        counters: Counters | None = None,
        answers: dict[str, Remembered] | None = None,
        is_control_known: bool = True,
        said: Sequence[Said] = (),
        belonging: Mapping[str, Mapping[str, str]] | None = None,
        others: Mapping[str, ControlRow] | None = None,
        everybody: Budgets | None = None,
    ) -> None:
        self.control = control
        self.stop_all = stop_all
        self.known = known
        self.counters: Counters = counters if counters is not None else Budgets()
        self.answers = answers if answers is not None else {}
        self.is_control_known = is_control_known
        self.said = said
        self.belonging = belonging or {}
        self.others = others or {}
        self.everybody: Budgets | None = everybody if everybody is not None else Budgets()

    def row_of(self, agent_id: str) -> ControlRow | None:
        """The row of another agent."""
        return self.others.get(agent_id)

    def remembered(self, request_id: str) -> Remembered | None:
        """The answer given under this request id."""
        return self.answers.get(request_id)

    def unknown_contacts(self, contact_ids: Sequence[str]) -> Sequence[str]:
        """Those that are not known yet."""
        return [each for each in contact_ids if each not in self.known]

    def said_by(self, contact_ids: Sequence[str]) -> Sequence[Said]:
        """What these contacts allowed and refused."""
        return [each for each in self.said if each.contact_id in contact_ids]

    def known_of(self, record_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Where these records belong."""
        return {each: self.belonging[each] for each in record_ids if each in self.belonging}

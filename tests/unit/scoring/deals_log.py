"""Records of a deal's life, and logs of them, for the tests of scoring and of the deals and portfolio stages."""

from __future__ import annotations

from typing import Any

from events.times import DAY_MS, format_ms
from events.types import ActivityEvent, Actor, ChangeEvent, CrmActivity, CrmChange, Participant
from governance.settings import Deals
from streams.deals import DealsStage
from streams.portfolio import PortfolioStage
from streams.records import Entry, Output, Partition
from streams.ticks import tick_event

START_MS = 1_772_442_000_000  # 2026-03-02T09:00:00Z
DAY = DAY_MS
CRM = Partition("test", "crm.events", "crm-1")
PORTFOLIO = Partition("test", "portfolio", "portfolio-1")
PETRA = Participant(contact_id="003C9", role="economic_buyer", name="Petra Vogel")


def change(deal_id: str = "006A1", op: str = "update", **fields: Any) -> CrmChange:
    """A change of a deal; a field is its value after, or a (before, after) pair."""
    pairs = {name: value if isinstance(value, tuple) else (None, value) for name, value in fields.items()}
    return CrmChange(object="Opportunity", record_id=deal_id, deal_id=deal_id, op=op, changes=pairs)  # type: ignore[arg-type]


def activity(
    kind: str = "email", direction: str | None = "inbound", deal_id: str = "006A1", **more: Any
) -> CrmActivity:
    """An activity around a deal; a mail from the buyer unless said otherwise."""
    return CrmActivity(kind=kind, direction=direction, deal_id=deal_id, **more)  # type: ignore[arg-type]


def event(data: CrmChange | CrmActivity, number: int, at_ms: int, tenant: str | None = None) -> Any:
    """The envelope of a change or an activity."""
    kind = ChangeEvent if isinstance(data, CrmChange) else ActivityEvent
    more: dict[str, Any] = {} if tenant is None else {"tenant": tenant}
    return kind(specversion="1.0", id=f"e-{number}", source="/crm", time=format_ms(at_ms), data=data, **more)  # type: ignore[arg-type]


def human(user: str = "user:1") -> Actor:
    """A colleague."""
    return Actor("human", user)


class Life:
    """A log that grows: each record is given to the stage as it is written, so that steps can be looked at."""

    def __init__(self, settings: Deals | None = None) -> None:
        self.stage = DealsStage(CRM, settings or Deals())
        self.portfolio = PortfolioStage(PORTFOLIO, settings or Deals())
        self.log: list[Entry] = []
        self.out: list[Output] = []
        self.portfolio_log: list[Entry] = []
        self.portfolio_out: list[Output] = []

    def add(self, at_ms: int, data: CrmChange | CrmActivity, tenant: str | None = None) -> list[Output]:
        """One record at log time ``at_ms``; returns what the deals stage said."""
        return self._give((len(self.log), at_ms, event(data, len(self.log), at_ms, tenant)))

    def tick(self, at_ms: int) -> list[Output]:
        """A tick; scores and markers go on to the portfolio."""
        return self._give((len(self.log), at_ms, tick_event("test", at_ms)))

    def open(self, deal_id: str = "006A1", at_ms: int = START_MS, **fields: Any) -> list[Output]:
        """A deal in Negotiation of €100,000, opened at ``at_ms``."""
        usual = {"stage": "Negotiation", "amount": "100000.00", "currency": "EUR", "owner_id": "lea"}
        return self.add(at_ms, change(deal_id, "create", **(usual | fields)))

    def state(self, deal_id: str = "006A1") -> Any:
        """The deal's state."""
        return self.stage.deal_state(f"default/{deal_id}")

    def alerts(self) -> list[Any]:
        """The data of all alerts so far."""
        return [output.event.data for output in self.portfolio_out if output.kind == "alert"]  # type: ignore[attr-defined]

    def tops(self) -> list[Any]:
        """The data of all rankings so far."""
        return [output.event.data for output in self.portfolio_out if output.kind == "top"]  # type: ignore[attr-defined]

    def _give(self, entry: Entry) -> list[Output]:
        self.log.append(entry)
        said = self.stage.process([entry])
        self.out += said
        for output in said:
            if output.kind in ("score", "marker"):
                record = (len(self.portfolio_log), output.at_ms, output.event)
                self.portfolio_log.append(record)  # type: ignore[arg-type]
                self.portfolio_out += self.portfolio.process([record])  # type: ignore[list-item]
        return said


def risks(outputs: list[Output]) -> list[Any]:
    """The data of the risks among outputs."""
    return [output.event.data for output in outputs if output.kind == "risk"]  # type: ignore[attr-defined]

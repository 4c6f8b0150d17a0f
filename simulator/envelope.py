"""Wraps what happened into CloudEvents with stable ids."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from events.times import DAY_MS, MINUTE_MS, format_ms
from events.types import ActionEvent, ActivityEvent, AgentAction, ChangeEvent, CrmActivity, CrmChange

JSON = "application/json"


class Envelope:
    """Makes the events of one organisation: sources, subjects, keys and texts of times."""

    def __init__(self, org_name: str, tenant: str) -> None:
        self.base = f"/sim/{org_name}"
        self.crm_source = f"{self.base}/crm"
        self._tenant: str | UnsetType = UNSET if tenant == "default" else tenant
        self._minute = -1
        self._text = ""

    def time_text(self, at_ms: int) -> str:
        """RFC 3339 in UTC with milliseconds. Times come nearly in order, so the minute's text is kept."""
        minute, rest = divmod(at_ms, MINUTE_MS)
        if minute != self._minute:
            self._minute = minute
            self._text = format_ms(at_ms - rest)[:17]
        return f"{self._text}{rest // 1000:02d}.{rest % 1000:03d}Z"

    def date_text(self, day: int) -> str:
        """A day since 1970 as 2026-03-27."""
        return format_ms(day * DAY_MS)[:10]

    def action(self, at_ms: int, event_id: str, data: AgentAction) -> ActionEvent:
        """One attempt of an agent."""
        return ActionEvent(
            specversion="1.0", id=event_id, source=f"{self.base}/agents", time=self.time_text(at_ms),
            subject=f"agent/{data.agent_id}", partitionkey=data.agent_id, datacontenttype=JSON,
            tenant=self._tenant, data=data,
        )  # fmt: skip

    def change(self, at_ms: int, event_id: str, data: CrmChange) -> ChangeEvent:
        """One changed record, as the CRM's change feed says it."""
        key = data.deal_id or f"{data.object}:{data.record_id}"
        return ChangeEvent(
            specversion="1.0", id=event_id, source=self.crm_source, time=self.time_text(at_ms),
            subject=f"{data.object}/{data.record_id}", partitionkey=key, datacontenttype=JSON,
            tenant=self._tenant, data=data,
        )  # fmt: skip

    def activity(self, at_ms: int, event_id: str, data: CrmActivity) -> ActivityEvent:
        """Something that happened around a deal."""
        deal = data.deal_id or ""
        return ActivityEvent(
            specversion="1.0", id=event_id, source=f"{self.base}/mail", time=self.time_text(at_ms),
            subject=f"deal/{deal}", partitionkey=deal, datacontenttype=JSON, tenant=self._tenant, data=data,
        )  # fmt: skip

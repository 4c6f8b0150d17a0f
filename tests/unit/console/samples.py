"""Events as producers send them."""

from __future__ import annotations

import json
from typing import Any


def action(id_: str = "a-1", agent: str = "dealbot", **data: Any) -> dict[str, Any]:
    """One action of an agent."""
    return {
        "specversion": "1.0", "id": id_, "source": "/crm/salesforce/00D1", "type": "tripline.agent.action.v1",
        "time": "2026-03-02T09:14:03.120Z",
        "data": {"agent_id": agent, "action": "record.update", "outcome": "ok", **data},
    }  # fmt: skip


def change(id_: str = "c-1") -> dict[str, Any]:
    """One change in the CRM."""
    return {
        "specversion": "1.0", "id": id_, "source": "/crm/salesforce/00D1", "type": "tripline.crm.change.v1",
        "time": "2026-03-02T09:14:03Z", "data": {"object": "Opportunity", "record_id": "006A1", "op": "update"},
    }  # fmt: skip


def lines(*events: dict[str, Any]) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


ONE = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
LINES = {"content-type": "application/x-ndjson"}

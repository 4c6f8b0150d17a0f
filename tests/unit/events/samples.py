"""Events as producers write them, to be bent by the tests."""

from __future__ import annotations

import copy
import json
from typing import Any

ACTION: dict[str, Any] = {
    "specversion": "1.0",
    "id": "a-000001",
    "source": "/crm/salesforce/00D1",
    "type": "tripline.agent.action.v1",
    "time": "2026-03-02T09:14:03.120Z",
    "subject": "agent/dealbot",
    "partitionkey": "dealbot",
    "datacontenttype": "application/json",
    "data": {
        "agent_id": "dealbot",
        "agent_version": "1.4.0",
        "action": "record.update",
        "object": "Opportunity",
        "record_ids": ["006A1"],
        "changes": {"006A1": {"StageName": ["Proposal", "Negotiation"], "Amount": {"after": "5.00"}}},
        "records": 1,
        "recipients": 0,
        "recipient_ids": [],
        "external": False,
        "first_contact": False,
        "authorized_by": "user:005B2",
        "trigger": {"kind": "rule", "ref": "flow:stage-sync"},
        "reviewed_by": None,
        "outcome": "ok",
        "error": None,
        "run_id": "r-77",
        "deal_id": "006A1",
    },
}
CHANGE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "c-1",
    "source": "/crm/salesforce/00D1",
    "type": "tripline.crm.change.v1",
    "time": "2026-03-02T09:14:03Z",
    "data": {
        "object": "Opportunity",
        "record_id": "006A1",
        "op": "update",
        "changes": {"stage": ["Proposal", "Negotiation"], "amount": ["48000.00", "52000.00"]},
        "actor": {"kind": "agent", "id": "dealbot"},
        "deal_id": "006A1",
        "committed_at": "2026-03-02T09:14:02.900Z",
    },
}
ACTIVITY: dict[str, Any] = {
    "specversion": "1.0",
    "id": "v-1",
    "source": "/outreach",
    "type": "tripline.crm.activity.v1",
    "time": "2026-03-02T09:00:00Z",
    "data": {
        "kind": "email",
        "direction": "inbound",
        "deal_id": "006A1",
        "participants": [{"contact_id": "003C9", "role": "economic_buyer", "executive": True}],
        "occurred_at": "2026-03-02T08:55:00Z",
        "scheduled_for": None,
        "logged_by": {"kind": "human", "id": "user:005B2"},
    },
}
CONSENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "k-1",
    "source": "/crm",
    "type": "tripline.crm.consent.v1",
    "time": "2026-03-02T09:00:00Z",
    "data": {"contact_id": "003C9", "channel": "email", "purpose": "sales", "status": "granted"},
}
TICK: dict[str, Any] = {
    "specversion": "1.0",
    "id": "t-1",
    "source": "/tripline",
    "type": "tripline.system.tick.v1",
    "time": "2026-03-02T09:00:00Z",
    "data": {"at": "2026-03-02T09:00:00Z"},
}
INPUTS = [ACTION, CHANGE, ACTIVITY, CONSENT]
_GONE: Any = object()


def raw(event: Any) -> bytes:
    """The event as compact JSON."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def bent(path: str, value: Any = _GONE, event: dict[str, Any] | None = None) -> bytes:
    """An event (the action) with one field set, or taken away, by its dotted path."""
    found = copy.deepcopy(event or ACTION)
    node = found
    *parents, last = path.split(".")
    for name in parents:
        node = node[name]
    if value is _GONE:
        del node[last]
    else:
        node[last] = value
    return raw(found)

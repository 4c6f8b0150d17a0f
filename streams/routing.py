"""Which input topics a producer's event goes to, and under which key."""

from __future__ import annotations

from msgspec import UNSET

from events.types import (
    ActionEvent,
    AdmissionEvent,
    ChangeEvent,
    ConsentEvent,
    ControlEvent,
    Event,
    MarkerEvent,
    ReleaseEvent,
    ScoreEvent,
    tenant_of,
)
from streams.envelopes import make_key

ACTIONS = "agent.actions"
CRM = "crm.events"
PORTFOLIO = "portfolio"
INPUT_TOPICS = (ACTIONS, CRM, PORTFOLIO)

_ACTIONS = (ACTIONS,)
_CRM = (CRM,)
_BOTH = (CRM, ACTIONS)
_PORTFOLIO = (PORTFOLIO,)


def topics_of(event: Event) -> tuple[str, ...]:
    """The input topics of an event; a change made by an agent's identity goes to that agent as well."""
    if isinstance(event, ActionEvent | AdmissionEvent | ReleaseEvent | ControlEvent):
        return _ACTIONS
    if isinstance(event, ScoreEvent | MarkerEvent):
        return _PORTFOLIO
    if isinstance(event, ChangeEvent):
        actor = event.data.actor
        return _BOTH if actor is not UNSET and actor.kind == "agent" else _CRM
    return _CRM


def crm_key(event: Event) -> str:
    """The key of a record in topic crm.events: its deal, else the record or the contact it is about."""
    data = event.data  # type: ignore[attr-defined]
    deal_id = getattr(data, "deal_id", None)
    if deal_id:
        return make_key(tenant_of(event), deal_id)
    if isinstance(event, ChangeEvent):
        return make_key(tenant_of(event), f"{event.data.object}:{event.data.record_id}")
    if isinstance(event, ConsentEvent):
        return make_key(tenant_of(event), f"contact:{event.data.contact_id}")
    return make_key(tenant_of(event), "")

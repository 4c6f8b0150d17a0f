"""Which input topics a producer's event goes to, and under which key."""

from __future__ import annotations

from msgspec import UNSET

from events.types import (
    ActionEvent,
    AdmissionEvent,
    ChangeEvent,
    ControlEvent,
    Event,
    FeedbackEvent,
    MarkerEvent,
    MuteEvent,
    ReleaseEvent,
    RevertEvent,
    ScoreEvent,
)

ACTIONS = "agent.actions"
CRM = "crm.events"
PORTFOLIO = "portfolio"
INPUT_TOPICS = (ACTIONS, CRM, PORTFOLIO)

_ACTIONS = (ACTIONS,)
_CRM = (CRM,)
_BOTH = (CRM, ACTIONS)
_PORTFOLIO = (PORTFOLIO,)


_BY_KIND: dict[type[Event], tuple[str, ...]] = {
    ActionEvent: _ACTIONS,
    AdmissionEvent: _ACTIONS,
    ReleaseEvent: _ACTIONS,
    ControlEvent: _ACTIONS,
    MuteEvent: _ACTIONS,
    FeedbackEvent: _ACTIONS,
    RevertEvent: _ACTIONS,
    ScoreEvent: _PORTFOLIO,
    MarkerEvent: _PORTFOLIO,
}


def topics_of(event: Event) -> tuple[str, ...]:
    """The input topics of an event; a change made by an agent's identity goes to that agent as well."""
    if isinstance(event, ChangeEvent):
        actor = event.data.actor
        return _BOTH if actor is not UNSET and actor.kind == "agent" else _CRM
    return _BY_KIND.get(type(event), _CRM)

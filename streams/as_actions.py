"""Records that are no agent's word, as the detectors see them: what the gate admitted, what a person undid."""

from __future__ import annotations

from detectors.base import Action
from events.catalogue import kind_of
from events.types import AdmissionEvent, AgentAction, RevertEvent

_UPDATE = "record.update"


def action_of_admission(at_ms: int, event: AdmissionEvent) -> Action:
    """What the gate let pass, as an attempt."""
    said = event.data
    data = AgentAction(
        agent_id=said.agent_id,
        action=said.action,
        outcome="ok",
        object=said.object,
        record_ids=said.record_ids,
        records=said.records,
        recipient_ids=said.recipient_ids,
        recipients=said.recipients,
        external=said.external,
        first_contact=said.first_contact,
        authorized_by=said.authorized_by,
        decision_id=said.decision_id,
        reviewed_by=said.reviewed_by,
    )
    return Action(at_ms, at_ms, event.source, event.id, kind_of(said.action), data, False, "attempt")


def action_of_revert(at_ms: int, event: RevertEvent) -> Action:
    """The agent's change that a person undid or overwrote; the event is the person's change."""
    said = event.data
    data = AgentAction(
        agent_id=said.agent_id, action=_UPDATE, outcome="ok", object=said.object, record_ids=[said.record_id]
    )
    return Action(at_ms, at_ms, said.source, said.change_id, kind_of(_UPDATE), data, phase="revert", revert=said)

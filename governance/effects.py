"""What an agent set up and what may still happen: which CRM could undo it, and what stands against that.

An agent's word for what it did is not enough to delete anything: a rogue agent could name what a person set up. So the
CRM is asked who made a thing, and who changed it since; only what is the agent's alone is cancelled.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from governance.operation import canonical_id
from governance.settings_containment import CrmSettings
from governance.settings_types import Settings

Kind = Literal["enrolment", "meeting", "flow", "job", "mail", "automation"]
_KINDS: dict[str, Kind] = {
    "flow": "flow", "flowdefinition": "flow", "crontrigger": "job", "scheduledjob": "job", "scheduledemail": "mail",
    "marketingemail": "mail", "marketing_email": "mail",
}  # fmt: skip
_BY_HAND: dict[tuple[str, Kind], str] = {
    ("hubspot", "enrolment"): "HubSpot documents no call that takes a contact out of a sequence: unenroll it there",
    ("hubspot", "flow"): "HubSpot's documented calls do not say who made a workflow: turn it off there",
    ("hubspot", "job"): "HubSpot documents no call that ends a job: end it there",
    ("hubspot", "automation"): "HubSpot's documented calls do not say who made it: turn it off there",
    ("salesforce", "mail"): "Salesforce documents no call that takes a scheduled mail back: cancel it there",
    ("salesforce", "automation"): "Salesforce documents no call that does no more than turn it off: do it under Setup",
}
_SALESFORCE_ID = 15


class NotPossible(Exception):
    """It can't be cancelled, or must not be; the message says why, and what a person can do."""


class Effect(Struct, frozen=True, kw_only=True):
    """One thing to be cancelled. ``made_by``: the agent's user in the CRM; nobody else may have touched it."""

    kind: Kind
    record_id: str
    made_by: str


def plan(action: str, what: str, record_id: str, agent_id: str, settings: Settings) -> tuple[str, Effect]:
    """Which table of ``crm`` can cancel what an agent set up, and what to ask of it. Raises NotPossible."""
    if not record_id:
        raise NotPossible("its record was not named: look for it in the CRM")
    kind = kind_of(action, what)
    agent = settings.agents.get(agent_id)
    made_by = agent.crm_user.rpartition(":")[2] if agent is not None else ""
    if not made_by:
        raise NotPossible(f"agents.{agent_id}.crm_user is not named, so who set it up can't be told")
    fit = sorted(name for name, crm in settings.crm.items() if _fits(record_id, crm))
    if len(fit) != 1:
        found = f"{', '.join(fit)} could hold it" if fit else "no table of crm has ids of this form"
        raise NotPossible(f"{found}: cancel it by hand")
    by_hand = _BY_HAND.get((settings.crm[fit[0]].kind, kind))
    if by_hand is not None:
        raise NotPossible(by_hand)
    return fit[0], Effect(kind=kind, record_id=canonical_id(record_id), made_by=made_by)


def kind_of(action: str, what: str) -> Kind:
    """Of what sort it is."""
    if action == "sequence.enroll":
        return "enrolment"
    if action == "meeting.schedule":
        return "meeting"
    return _KINDS.get(what.lower(), "automation")


def check_own(effect: Effect, *users: object) -> None:
    """Raises NotPossible unless the CRM names the agent's user, and nobody else, as who made and changed it."""
    for user in users:
        named = str(user) if user else ""
        if canonical_id(named) != canonical_id(effect.made_by):
            who = f"{named[:80]} made or changed it" if named else "the CRM does not say who made it"
            raise NotPossible(f"{who}: left as it is, for it may be a person's")


def _fits(record_id: str, crm: CrmSettings) -> bool:
    """Whether a record's id has the form of this CRM's."""
    plain = canonical_id(record_id)
    if crm.kind == "hubspot":
        return plain.isascii() and plain.isdigit()
    return len(plain) == _SALESFORCE_ID and plain.isascii() and plain.isalnum() and not plain.isdigit()

"""Rules of the gate: whom an operation reaches, whether they allow it, and whether it is for the first time."""

from __future__ import annotations

import msgspec

from governance.consent import Consent, consent_of, worst_of
from governance.gate_types import GateDecision, Rule
from governance.rules.case import Case, deny, hold, some_of
from governance.settings_checks import FIRST_CONTACT


def consent(case: Case) -> GateDecision | None:
    """Nobody is reached who refused to be."""
    operation = case.operation
    if not operation.recipients:
        return None
    refused = [each for each in operation.recipient_ids if _consents(case).get(each) == "refused"]
    if not refused:
        return None
    return deny(case, Rule.CONSENT, f"{some_of(refused)} refused to be reached; nobody can approve that here")


def _consents(case: Case) -> dict[str, Consent]:
    """What those whom it reaches allow; looked up once."""
    if case.view is None:
        return {}
    if not case.consents:
        ids = case.operation.recipient_ids
        said = case.view.said_by(ids) if ids else ()
        case.consents.append(consent_of(case.request.action, ids, said, case.now_ms) if said else {})
    return case.consents[0]


def consent_of_all(case: Case) -> Consent:
    """The least that any of those allow whom it reaches."""
    operation = case.operation
    is_listed = bool(operation.recipients) and operation.recipients <= len(operation.recipient_ids)
    return worst_of(operation.recipient_ids, _consents(case)) if is_listed else "unknown"


def first_contact(case: Case) -> GateDecision | None:
    """A first message to somebody is looked at by a person."""
    reason = reaches_new_people(case)
    if not reason or FIRST_CONTACT in case.agent.irreversible:
        return None
    if case.is_approved and case.settings.gate.first_contact == "hold":
        return None
    answer = deny if case.settings.gate.first_contact == "deny" else hold
    decision = answer(case, Rule.FIRST_CONTACT, f"{reason}; a person must look at it")
    return msgspec.structs.replace(decision, is_first_contact=True)


def reaches_new_people(case: Case) -> str:
    """Whom it reaches for the first time, in words; "" when nobody."""
    operation = case.operation
    if not operation.recipients or case.view is None:
        return ""
    if operation.names_no_recipient or operation.recipients > len(operation.recipient_ids):
        return "it does not say whom it reaches"
    if not case.reached:
        new = case.view.unknown_contacts(operation.recipient_ids)
        case.reached.append(f"first message to {some_of(new)}" if new else "")
    return case.reached[0]

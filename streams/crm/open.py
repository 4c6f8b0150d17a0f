"""The CRMs of the settings."""

from __future__ import annotations

from collections.abc import Mapping

from governance.settings import Settings
from streams.crm.calls import Calls
from streams.crm.hubspot import HubSpot
from streams.crm.hubspot_effects import HubSpotEffects
from streams.crm.ports import CancelPort, CrmPort
from streams.crm.salesforce import Salesforce
from streams.crm.salesforce_effects import SalesforceEffects


def crms(settings: Settings) -> Mapping[str, CrmPort]:
    """A port for each CRM, by its table's name."""
    found: dict[str, CrmPort] = {}
    for name, crm in settings.crm.items():
        calls = Calls(crm.url, name)
        found[name] = Salesforce(crm, name, calls) if crm.kind == "salesforce" else HubSpot(crm, name, calls)
    return found


def cancellers(settings: Settings) -> Mapping[str, CancelPort]:
    """What takes back what agents set up, by the table's name. Each makes one attempt: when to try again is kept."""
    found: dict[str, CancelPort] = {}
    for name, crm in settings.crm.items():
        calls, is_salesforce = Calls(crm.url, name, attempts=1), crm.kind == "salesforce"
        found[name] = SalesforceEffects(crm, name, calls) if is_salesforce else HubSpotEffects(crm, name, calls)
    return found

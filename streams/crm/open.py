"""The CRMs of the settings."""

from __future__ import annotations

from collections.abc import Mapping

from governance.settings import Settings
from streams.crm.calls import Calls
from streams.crm.hubspot import HubSpot
from streams.crm.ports import CrmPort
from streams.crm.salesforce import Salesforce


def crms(settings: Settings) -> Mapping[str, CrmPort]:
    """A port for each CRM, by its table's name."""
    found: dict[str, CrmPort] = {}
    for name, crm in settings.crm.items():
        calls = Calls(crm.url, name)
        found[name] = Salesforce(crm, name, calls) if crm.kind == "salesforce" else HubSpot(crm, name, calls)
    return found

"""HubSpot: delete a refresh token, write the canary. A private app's token can't be revoked from outside.

References: HubSpot, "OAuth: Delete refresh token" (DELETE /oauth/v1/refresh-tokens/{token}, 204); "CRM objects: Update"
(PATCH /crm/v3/objects/{type}/{id}).
"""

from __future__ import annotations

from urllib.parse import quote

from governance.settings_containment import CredentialSettings, CrmSettings
from streams.crm.calls import Calls, bearer_of, secret_of


class HubSpot:
    """One account. Parameters: its table in the settings; the table's name; how it is called."""

    def __init__(self, settings: CrmSettings, name: str, calls: Calls) -> None:
        self._settings = settings
        self._name = name
        self._calls = calls

    def write_canary(self, value: str) -> None:
        """Write the time into the canary's property. Raises CrmFailed."""
        of = self._settings
        path = f"/crm/v3/objects/{quote(of.canary_object, safe='')}/{quote(of.canary_record, safe='')}"
        body = {"properties": {of.canary_field: value}}
        self._calls.send("PATCH", path, "to write the canary", json=body, headers=bearer_of(of, self._name))

    def take_away(self, credential: CredentialSettings) -> str:
        """Delete the agent's refresh token. Raises CrmFailed."""
        token = secret_of(credential.token, credential.token_file, "credentials")
        path = f"/oauth/v1/refresh-tokens/{quote(token, safe='')}"
        self._calls.send("DELETE", path, "to delete a refresh token")
        return "refresh token deleted; an access token that it has already works for up to 30 minutes more"

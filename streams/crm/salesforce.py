"""Salesforce: revoke a token, freeze a user, write the canary.

References: Salesforce, "Revoke OAuth Tokens" (POST /services/oauth2/revoke); Object Reference, "UserLogin" (IsFrozen);
REST API Developer Guide, "sObject Rows" (PATCH answers 204).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from governance.settings_containment import CredentialSettings, CrmSettings
from streams.crm.calls import Calls, bearer_of, secret_of
from streams.crm.ports import CrmFailed


class Salesforce:
    """One organisation. Parameters: its table in the settings; the table's name; how it is called."""

    def __init__(self, settings: CrmSettings, name: str, calls: Calls) -> None:
        self._settings = settings
        self._name = name
        self._calls = calls
        self._data = f"/services/data/{settings.api_version}"

    def write_canary(self, value: str) -> None:
        """Write the time into the canary's field. Raises CrmFailed."""
        of = self._settings
        path = f"{self._data}/sobjects/{quote(of.canary_object, safe='')}/{quote(of.canary_record, safe='')}"
        self._calls.send(
            "PATCH",
            path,
            "to write the canary",
            json={of.canary_field: value},
            headers=bearer_of(self._settings, self._name),
        )

    def take_away(self, credential: CredentialSettings) -> str:
        """Revoke the agent's token, or freeze its user. Raises CrmFailed."""
        return self._freeze(credential.user) if credential.lever == "freeze_user" else self._revoke(credential)

    def _revoke(self, credential: CredentialSettings) -> str:
        token = secret_of(credential.token, credential.token_file, "credentials")
        self._calls.send("POST", "/services/oauth2/revoke", "to revoke a token", data={"token": token})
        return "token revoked; revoking a refresh token ends its access tokens, too"

    def _freeze(self, user: str) -> str:
        query = f"SELECT Id, IsFrozen FROM UserLogin WHERE UserId = '{user}'"  # noqa: S608 - letters and digits alone
        bearer = bearer_of(self._settings, self._name)
        what = "to find the user's login"
        found: Any = self._calls.send("GET", f"{self._data}/query", what, params={"q": query}, headers=bearer).json()
        rows = found.get("records") if isinstance(found, dict) else None
        if not rows or not isinstance(rows[0], dict) or not str(rows[0].get("Id", "")).isalnum():
            raise CrmFailed(f"to freeze a user at {self._name}: there is no login of {user}; check `user`")
        if rows[0].get("IsFrozen") is True:
            return "the user was frozen already"
        path = f"{self._data}/sobjects/UserLogin/{rows[0]['Id']}"
        self._calls.send("PATCH", path, "to freeze the user", json={"IsFrozen": True}, headers=bearer)
        return "user frozen; sessions that are open may last until they end: end them under Session Management"

"""Rules between CRMs, credentials and agents."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from governance.settings_containment import CredentialSettings, CrmSettings
from governance.settings_types import Settings

Found = Iterator[tuple[tuple[str, ...], str]]
LEVERS = {"salesforce": ("revoke_token", "freeze_user"), "hubspot": ("delete_refresh_token",)}
"""What can be done at each CRM. HubSpot has no way to revoke a private app's token from outside."""


def credential_problems(settings: Settings) -> Found:
    """Every contradiction among the tables of CRMs and credentials."""
    for name, crm in settings.crm.items():
        yield from _crm(("crm", name), crm)
    for name, one in settings.credentials.items():
        yield from _credential(("credentials", name), one, settings)


def _crm(path: tuple[str, ...], crm: CrmSettings) -> Found:
    place = urlsplit(crm.url)
    is_local = place.hostname in ("127.0.0.1", "::1", "localhost")
    if not place.hostname or place.scheme not in ("https", "http") or (place.scheme == "http" and not is_local):
        yield (*path, "url"), "is not an https address such as https://acme.my.salesforce.com"
    if bool(crm.token) == bool(crm.token_file):
        yield (*path, "token_file"), "either it or token is needed, not both"
    canary = (crm.canary_object, crm.canary_record, crm.canary_field)
    if any(canary) and not all(canary):
        yield (*path, "canary_record"), "canary_object, canary_record and canary_field go together"


def _credential(path: tuple[str, ...], one: CredentialSettings, settings: Settings) -> Found:
    if one.agent not in settings.agents:
        yield (*path, "agent"), f"no agent is called {one.agent!r}"
    crm = settings.crm.get(one.crm)
    if crm is None:
        yield (*path, "crm"), f"no crm is called {one.crm!r}"
    elif one.lever not in LEVERS[crm.kind]:
        yield (*path, "lever"), f"{crm.kind} has no {one.lever}, only {' and '.join(LEVERS[crm.kind])}"
    if one.lever == "freeze_user":
        if not one.user.startswith("005") or not one.user.isalnum() or len(one.user) not in (15, 18):
            yield (*path, "user"), "is needed to freeze a user: an id of 15 or 18 characters, 005…"
    elif bool(one.token) == bool(one.token_file):
        yield (*path, "token_file"), "either it or token is needed, not both"

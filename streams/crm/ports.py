"""What is asked of a CRM, whichever it is."""

from __future__ import annotations

from typing import Protocol

from governance.settings_containment import CredentialSettings


class CrmFailed(Exception):
    """The CRM did not do it; the message says what it answered and what to do, and holds no secret."""


class CrmPort(Protocol):
    """One CRM. Both are safe to be asked again: doing it twice is doing it once."""

    def write_canary(self, value: str) -> None:
        """Write the canary record, so that its change comes back in the feed. Raises CrmFailed."""

    def take_away(self, credential: CredentialSettings) -> str:
        """Take a credential away; what was done, in words. Raises CrmFailed."""

"""What is asked of a CRM, whichever it is."""

from __future__ import annotations

from typing import Protocol

from governance.effects import Effect
from governance.settings_containment import CredentialSettings


class CrmFailed(Exception):
    """The CRM did not do it; the message says what it answered and what to do, and holds no secret.

    ``status``: the HTTP status, 0 without one. ``is_passing``: it may go another time, ``wait_secs`` later.
    """

    def __init__(self, text: str, *, status: int = 0, is_passing: bool = False, wait_secs: float = 0.0) -> None:
        super().__init__(text)
        self.status = status
        self.is_passing = is_passing
        self.wait_secs = wait_secs


class Gone(Exception):
    """There is nothing left that could happen; the message says what the CRM told instead."""


class CrmPort(Protocol):
    """One CRM. Both are safe to be asked again: doing it twice is doing it once."""

    def write_canary(self, value: str) -> None:
        """Write the canary record, so that its change comes back in the feed. Raises CrmFailed."""

    def take_away(self, credential: CredentialSettings) -> str:
        """Take a credential away; what was done, in words. Raises CrmFailed."""


class CancelPort(Protocol):
    """One CRM, as far as it takes back what an agent set up. Safe to be asked again."""

    def cancel(self, effect: Effect, now_ms: int) -> str:
        """Cancel one thing; what was done, in words. Makes one attempt.

        Raises CrmFailed, Gone, and NotPossible (see ``governance.effects``) when it is not the agent's alone.
        """

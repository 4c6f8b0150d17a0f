"""What can go wrong, as exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tripline_client.messages import Decision


class TriplineError(Exception):
    """Any problem with the gate; the action was not, and must not be, done."""


class NotAllowed(TriplineError):
    """The gate's answer is not "allow". ``decision`` is its answer."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(f"{decision.reason} (decision {decision.decision_id})")
        self.decision = decision


class Denied(NotAllowed):
    """The agent may not do this. ``decision.stanza`` holds the lines of configuration that would allow it, if any."""


class Held(NotAllowed):
    """A person has to approve this first."""


class Unavailable(TriplineError):
    """The gate could not be asked, or could not decide: treat it as denied."""


class BadRequest(TriplineError):
    """The gate does not understand the request: a mistake of the caller, named with its field."""


class LeaseOver(TriplineError):
    """The lease under which it was admitted has ended before it began: don't do it."""

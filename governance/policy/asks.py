"""What a policy is asked, what is known besides, and how it rules."""

from __future__ import annotations

from msgspec import Struct

from governance.consent import Consent
from governance.policy.shape import Authorizer, Verdict


class Ask(Struct, frozen=True, kw_only=True):
    """What an agent is about to do. None is "not known", and counts as the worst.

    ``records`` and ``recipients`` are distinct ones of this operation. ``fields`` are those it changes, unqualified.
    ``implied``: further actions that it amounts to. ``owners``, ``segments``: of all records that it touches.
    """

    agent_id: str
    action: str
    object: str | None = None
    fields: tuple[str, ...] | None = None
    records: int = 1
    recipients: int = 0
    implied: tuple[str, ...] = ()
    trigger: str | None = None
    trigger_ref: str = ""
    system: str | None = None
    owners: tuple[str, ...] | None = None
    segments: tuple[str, ...] | None = None


class Facts(Struct, frozen=True, kw_only=True):
    """What is known of the agent and those it reaches; None is "not known", and counts as the worst.

    ``first_contact``: whether somebody is reached for the first time. The counts are distinct records and people in
    the window, and records read, with this operation. ``divisor``: a throttled agent's budgets are divided by it.
    ``acts_for``: the names by which a policy's rights know the authorizer. ``consent``: of all those it reaches.
    ``records_of_all``, ``contacts_of_all``: of all agents together in 24 hours, with this operation.
    """

    first_contact: bool | None = None
    authorizer: Authorizer = "unknown"
    acts_for: tuple[str, ...] = ()
    consent: Consent = "unknown"
    is_approved: bool = False
    records_10_min: int | None = None
    records_day: int | None = None
    contacts_10_min: int | None = None
    contacts_day: int | None = None
    reads_10_min: int | None = None
    reads_day: int | None = None
    records_of_all: int | None = None
    contacts_of_all: int | None = None
    divisor: int = 1


class Step(Struct, frozen=True):
    """One rule's say: its name, the most that it allows, the line of the policy, and why, as a sentence."""

    rule: str
    verdict: Verdict
    path: str
    why: str


class Ruling(Struct, frozen=True, kw_only=True):
    """What the policy says. ``rule``, ``path`` and ``why`` are those of the step that decided.

    ``allows``: the lines of the policy that would allow it; "" where none can. ``approval``: the table of who may
    approve. ``routes``: who is to be told. ``policy``: the version that decided.
    """

    verdict: Verdict
    rule: str
    path: str
    why: str
    steps: tuple[Step, ...]
    policy: str
    level: int
    is_above_level: bool = False
    allows: str = ""
    approval: str = ""
    routes: tuple[str, ...] = ()

"""One request with everything that the rules of the gate look at, and the answers that they give."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct

from governance.consent import Consent
from governance.control import ControlRow, effective
from governance.gate_types import GateDecision, GateRequest, GateView, Rule
from governance.kin import Kin, kin_of, under_parents
from governance.operation import Operation
from governance.policy.model import Policy
from governance.policy.shape import Authorizer
from governance.settings_types import AgentSettings, Person, Settings


class Case(Struct, frozen=True, kw_only=True):
    """What the rules look at; what costs a look-up is looked up once, by the first rule that needs it."""

    request: GateRequest
    operation: Operation
    view: GateView | None
    settings: Settings
    agent: AgentSettings
    control: ControlRow | None
    stop_all: ControlRow | None
    epoch: int
    state: str
    names: tuple[str, ...]
    now_ms: int
    policy: Policy | None = None
    version: str = ""
    is_approved: bool = False
    kin: tuple[Kin, ...] = ()
    claimed: str = ""
    """The agent that set it to work, as it says itself."""
    reached: list[str] = []
    """Whom it reaches for the first time, in words, once that was looked up; "" for nobody."""
    above: list[int] = []
    """The level that the policy saw, where it is above the agent's."""
    consents: list[dict[str, Consent]] = []
    """What those whom it reaches allow, once that was looked up."""


def case_of(
    request: GateRequest,
    view: GateView | None,
    settings: Settings,
    now_ms: int,
    operation: Operation,
    policy: Policy | None,
    *,
    is_approved: bool,
) -> Case:
    """What the rules look at, of one request."""
    own, stop_all = (view.control, view.stop_all) if view is not None else (None, None)
    control = effective(own, stop_all)
    claimed = (request.parent_agent_id or "") if request.parent_agent_id is not UNSET else ""
    return Case(
        request=request,
        operation=operation,
        view=view,
        settings=settings,
        agent=under_parents(request.agent_id, settings, claimed) or AgentSettings(actions=["*"]),
        control=control,
        stop_all=stop_all,
        epoch=own.epoch if own is not None else 0,
        state=control.state if control is not None else "active",
        names=(request.action, *operation.implied),
        now_ms=now_ms,
        policy=policy,
        version=policy.hash if policy is not None else "",
        is_approved=is_approved,
        claimed=claimed,
        kin=kin_of(request, settings, policy),
    )


def name_of(case: Case) -> str:
    """The agent in a sentence."""
    return f"“{case.request.agent_id}”"


def some_of(names: Sequence[str]) -> str:
    """The first of some names, and how many more."""
    return "“" + names[0] + "”" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def deny(case: Case, rule: Rule, reason: str, lines: str = "", *, detail: str = "", finding: str = "") -> GateDecision:
    """A refusal; ``lines`` would allow it."""
    return GateDecision(
        decision="deny",
        reason=f"denied: {reason}",
        rule=rule,
        epoch=case.epoch,
        stanza=lines,
        detail=detail,
        finding=finding,
        policy=case.version,
    )


def hold(case: Case, rule: Rule, reason: str, *, detail: str = "") -> GateDecision:
    """It waits for a person."""
    return GateDecision(
        decision="hold",
        reason=f"on hold: {reason}",
        rule=rule,
        epoch=case.epoch,
        detail=detail,
        policy=case.version,
    )


def person_of(case: Case) -> tuple[str, Person] | None:
    """For whom it acts, when that is somebody whom the settings know: by name or by the id in the CRM."""
    wanted, found = case.request.authorized_by, None
    if wanted:
        for key, person in case.settings.people.items():
            if wanted in (key, person.crm_user):
                found = key, person
    return found


def known_authorizer(case: Case) -> Authorizer:
    """Whether the settings know for whom it acts."""
    found = person_of(case)
    return "unknown" if found is None else "active" if found[1].is_active else "inactive"


def acts_for(case: Case) -> tuple[str, ...]:
    """The names by which a policy's rights know for whom it acts."""
    found = person_of(case)
    return () if found is None or not found[1].is_active else (found[0], f"role:{found[1].role}")

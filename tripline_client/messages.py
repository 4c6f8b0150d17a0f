"""What is sent to Tripline, and what it answers. No I/O."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from tripline_client.errors import BadRequest, Denied, Held, Unavailable

Changes = Mapping[str, Mapping[str, Sequence[Any]]]
"""By record id and field: [before, after]."""
ONLY_REPORTED = frozenset({"agent_version", "deal_id", "owner_id", "reviewed_by", "run_id", "tool"})
"""Details that an action's record has and the gate does not ask for."""
_MOST_TEXT = 500
_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _TOO_LARGE, _UNPROCESSABLE = 400, 401, 403, 413, 422
_OK = 200
_PLAIN = frozenset({str, int, float, bool, type(None)})
_DEEP = 6


@dataclass(frozen=True)
class Decision:
    """The gate's answer: ``decision`` is allow, hold or deny; ``reason`` says why, ``rule`` which rule decided.

    ``approval_id``: the approval that a held operation waits for; asking the same again uses it once a person gave it.
    """

    decision: str
    decision_id: str
    reason: str
    rule: str
    epoch: int
    stanza: str = ""
    policy: str = ""
    policy_rule: str = ""
    approval_id: str = ""

    @property
    def is_allowed(self) -> bool:
        """Whether the agent may do it now."""
        return self.decision == "allow"


@dataclass(frozen=True)
class Operation:
    """One operation that an agent is about to do, as it is asked for and reported."""

    agent_id: str
    action: str
    details: dict[str, Any]
    request_id: str = field(default_factory=lambda: os.urandom(16).hex())

    def question(self) -> dict[str, Any]:
        """The body of ``POST /v1/gate/check``. The same operation has the same request id, so asking again is safe."""
        asked = {name: value for name, value in self.details.items() if name not in ONLY_REPORTED}
        return {"agent_id": self.agent_id, "action": self.action, "request_id": self.request_id, **asked}

    def report(self, outcome: str, error: Mapping[str, str] | None, decision: Decision, more: dict[str, Any]) -> bytes:
        """A CloudEvents record of what came of it; sent twice it counts once."""
        data = {"agent_id": self.agent_id, "action": self.action, "outcome": outcome, **self.details, **more}
        if decision.decision_id:
            data["decision_id"] = decision.decision_id
        if error is not None:
            data["error"] = dict(error)
        event = {
            "specversion": "1.0",
            "id": f"act-{self.request_id}",
            "source": f"/agents/{self.agent_id}",
            "type": "tripline.agent.action.v1",
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),  # noqa: UP017
            "datacontenttype": "application/json",
            "data": data,
        }
        return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def operation(agent_id: str, action: str, defaults: Mapping[str, Any], details: Mapping[str, Any]) -> Operation:
    """An operation; what is None is left out. Raises BadRequest for what is no JSON."""
    given = {name: value for name, value in {**defaults, **details}.items() if value is not None}
    for name in ("record_ids", "recipient_ids"):
        if name in given:
            if isinstance(given[name], str):
                raise BadRequest(f"{name}: give a list of ids, not one text")
            given[name] = [str(one) for one in given[name]]
    if not _is_plain(given, _DEEP):
        try:
            json.dumps(given)
        except (TypeError, ValueError) as problem:
            raise BadRequest(f"what describes {action} can't be sent: {problem}") from None
    return Operation(agent_id, action, given)


def _is_plain(value: Any, depth: int) -> bool:
    """Whether JSON can surely say it; a third of what writing it to find out would cost. False: not known."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    inner: Any = value
    if kind is dict:
        for name in value:
            if type(name) is not str:
                return False
        inner = value.values()
    if depth == 0 or kind not in (dict, list):
        return False
    for each in inner:  # noqa: SIM110 - a generator would cost what this saves
        if not (type(each) in _PLAIN or _is_plain(each, depth - 1)):
            return False
    return True


def decision_of(status: int, body: bytes) -> Decision:
    """The gate's answer. Raises BadRequest, Unavailable."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Unavailable(f"the gate answered {status} with something that is no decision")
    if status in (_BAD_REQUEST, _TOO_LARGE, _UNPROCESSABLE):
        raise BadRequest(f"{said.get('field') or 'request'}: {said.get('message') or said.get('error') or status}")
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        raise BadRequest(f"the gate does not take this token: {said.get('message') or status}")
    if said.get("decision") not in ("allow", "hold", "deny") or (status != _OK and said.get("decision") == "allow"):
        raise Unavailable(f"the gate answered {status}: {said.get('message') or said.get('reason') or 'no decision'}")
    return Decision(
        decision=said["decision"],
        decision_id=str(said.get("decision_id") or ""),
        reason=str(said.get("reason") or said["decision"]),
        rule=str(said.get("rule") or ""),
        epoch=int(said.get("epoch") or 0),
        stanza=str(said.get("stanza") or ""),
        policy=str(said.get("policy") or ""),
        policy_rule=str(said.get("policy_rule") or ""),
        approval_id=str(said.get("approval_id") or ""),
    )


def refuse(decision: Decision) -> None:
    """Raise what the decision means, unless it allows."""
    if decision.decision == "hold":
        raise Held(decision)
    if not decision.is_allowed:
        raise Denied(decision)


def error_of(problem: BaseException) -> dict[str, str]:
    """An exception as an action's error: its code where it has one, else its class; its message, shortened."""
    code = getattr(problem, "code", None) or getattr(problem, "status_code", None) or type(problem).__name__
    return {"code": str(code)[:_MOST_TEXT], "message": str(problem)[:_MOST_TEXT]}

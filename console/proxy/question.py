"""An operation as the gate is asked for it, and the gate's no as an answer; for whoever asks it, over HTTP or not."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol

import msgspec
import structlog

from console.errors import Refused
from console.proxy.asked import Asked, Fields, NotParsed

_MOST_DRAFTS = 10_000
_log = structlog.get_logger("tripline.proxy")


class Said(Protocol):
    """The gate's answer, as a client or the gate itself has it."""

    @property
    def decision(self) -> str:
        """allow, hold or deny."""

    @property
    def decision_id(self) -> str:
        """Its id."""

    @property
    def reason(self) -> str:
        """Why, as a sentence."""

    @property
    def rule(self) -> str:
        """Which rule decided."""

    @property
    def policy_rule(self) -> str:
        """Which rule of the policy."""

    @property
    def approval_id(self) -> str:
        """The approval that it waits for."""

    @property
    def stanza(self) -> str:
        """The lines of configuration that would allow it."""


def details_of(asked: Asked, drafts: list[str], said: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the question. ``drafts``: an id for each new record; ``said``: further fields."""
    changes = {record_id: after(fields) for record_id, fields in asked.changes.items()}
    changes |= zip(drafts, map(after, asked.created), strict=True)
    found = {
        "object": asked.object,
        "record_ids": list(asked.record_ids),
        "changes": changes,
        "recipient_ids": list(asked.recipient_ids),
        "records": asked.records,
        "system": asked.system,
    }
    return {**{name: value for name, value in found.items() if value}, **said}


def after(fields: Fields) -> dict[str, dict[str, Any]]:
    """New values as changes whose values before are not known."""
    return {name: {"after": value} for name, value in fields.items()}


def refused_by(asked: Asked, said: Said) -> Refused:
    """403 with the gate's reason, its rule, and what would allow it."""
    _log.info("proxy.refused", action=asked.action, object=asked.object, decision=said.decision_id, rule=said.rule)
    more = {
        "rule": said.rule,
        "decision_id": said.decision_id,
        "policy_rule": said.policy_rule,
        "approval_id": said.approval_id,
        "allowed_by": said.stanza,
    }
    code = "held" if said.decision == "hold" else "denied"
    return refusal(asked, code, said.reason, **{name: value for name, value in more.items() if value})


def refusal(asked: Asked, code: str, reason: str, **more: str) -> Refused:
    """403 for an operation."""
    about = {"action": asked.action, "object": asked.object}
    return Refused(403, code, reason, {"rule": more.pop("rule", code), **more, **about})


def not_parsed(problem: NotParsed) -> Refused:
    """403 for a request of which nobody can tell what it does."""
    _log.info("proxy.not_parsed", problem=str(problem))
    message = f"denied: nobody can tell what this does: {problem}"
    return Refused(
        403, "not_parsed", message, {"rule": "not_parsed", **({"known": problem.hint} if problem.hint else {})}
    )


class Drafts:
    """Ids for records that are not there yet, so that the gate counts each, and judges its fields.

    What was refused keeps its ids, so that asking again after a person's approval is the same question. At most 10,000
    contents wait so; beyond that, and after a restart, an approval has to be asked for again.
    """

    def __init__(self) -> None:
        self._start = secrets.token_hex(4)
        self._number = 0
        self._waiting: OrderedDict[bytes, list[str]] = OrderedDict()

    def take(self, created: tuple[Fields, ...]) -> list[str]:
        """An id for each of them; nobody else gets the same."""
        ids = self._waiting.pop(_digest(created), None) if created else []
        if ids is None:
            ids = [f"new-{self._start}-{self._number + at}" for at in range(len(created))]
            self._number += len(created)
        return ids

    def give_back(self, created: tuple[Fields, ...], ids: list[str]) -> None:
        """They are not made now."""
        if created:
            self._waiting[_digest(created)] = ids
            if len(self._waiting) > _MOST_DRAFTS:
                self._waiting.popitem(last=False)


def _digest(created: tuple[Fields, ...]) -> bytes:
    return blake2b(msgspec.json.encode(created, order="sorted"), digest_size=16).digest()

"""Asks the gate for each operation, lets it pass or not, and reports what came of it."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec
import structlog

from console.errors import Refused
from console.proxy.asked import Asked, Done, Fields, NotParsed, Problem
from tripline_client import AsyncTripline, BadRequest, Decision, LeaseOver, NotAllowed, Unavailable

MOST_AT_ONCE = 64
"""Operations under way at once; more wait, and are not admitted before it is their turn."""
RECHECK_SECS = 0.25
"""An answer of the gate that is older than this is asked for again before anything is sent on."""
_MOST_DRAFTS = 10_000
_STOPS = ("suspended", "stop_all")
_log = structlog.get_logger("tripline.proxy")

Do = Callable[[str], Awaitable[Done]]
"""Does it; is given the id of the decision ("" for a read that the gate was not asked for)."""


class Gatekeeper:
    """Lets the operations of one agent pass when the gate allows them.

    Parameters
    ----------
    gate:
        The client of the agent; its defaults (``authorized_by``, ``trigger``) hold for each operation.
    reads_without_gate:
        Whether reads go on while the gate can't be asked. Only when it has answered before, and did not say then that
        the agent is stopped.
    """

    def __init__(self, gate: AsyncTripline, *, reads_without_gate: bool = False) -> None:
        self._gate = gate
        self._reads_without_gate = reads_without_gate
        self._may_read = False
        self._drafts = Drafts()
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def let(self, asked: Asked, said: Mapping[str, Any], do: Do) -> Done:
        """Ask, do it when it is allowed, and report. ``said``: further fields of the question. Raises Refused (403)."""
        async with self._slots:
            drafts = self._drafts.take(asked.created)
            try:
                return await self._through(asked, _details(asked, drafts, said), do)
            except NotAllowed as refused:
                self._drafts.give_back(asked.created, drafts)
                raise self._refused(asked, refused.decision) from None
            except LeaseOver as problem:
                raise _refusal(asked, "denied", str(problem)) from None
            except BadRequest as problem:
                raise _refusal(asked, "denied", f"denied: the gate does not take the question: {problem}") from None
            except Unavailable as problem:
                if asked.is_write or not (self._reads_without_gate and self._may_read):
                    _log.warning("proxy.gate_unavailable", action=asked.action, problem=str(problem))
                    reason = "denied: the gate can't be asked, so nothing may pass; try again later"
                    raise _refusal(asked, "gate_unavailable", reason) from None
            _log.warning("proxy.read_without_gate", object=asked.object)
            return await do("")

    async def _through(self, asked: Asked, details: dict[str, Any], do: Do) -> Done:
        done: Done | None = None
        try:
            async with self._gate.act(asked.action, **details) as act:
                self._heard(act.decision)
                await act.reconfirm(RECHECK_SECS)
                done = await do(act.decision.decision_id)
                act.more.update(_made(asked, details, done), **({"tool": asked.tool} if asked.tool else {}))
                if done.problem is not None:
                    raise done.problem
        except Problem:
            if done is None:
                raise
        assert done is not None  # noqa: S101 - narrows: the block ended, or raised what `done` holds
        _log.info(
            "proxy.done", action=asked.action, object=asked.object, decision=act.decision.decision_id,
            problem=done.problem.code if done.problem is not None else "",
        )  # fmt: skip
        return done

    def _heard(self, decision: Decision) -> None:
        self._may_read = decision.rule not in _STOPS

    def _refused(self, asked: Asked, decision: Decision) -> Refused:
        self._heard(decision)
        _log.info(
            "proxy.refused", action=asked.action, object=asked.object, decision=decision.decision_id, rule=decision.rule
        )
        more = {
            "rule": decision.rule,
            "decision_id": decision.decision_id,
            "policy_rule": decision.policy_rule,
            "approval_id": decision.approval_id,
            "allowed_by": decision.stanza,
        }
        kind = "held" if decision.decision == "hold" else "denied"
        return _refusal(asked, kind, decision.reason, **{name: value for name, value in more.items() if value})


def not_parsed(problem: NotParsed) -> Refused:
    """403 for a request of which nobody can tell what it does."""
    _log.info("proxy.not_parsed", problem=str(problem))
    message = f"denied: nobody can tell what this does: {problem}"
    return Refused(
        403, "not_parsed", message, {"rule": "not_parsed", **({"known": problem.hint} if problem.hint else {})}
    )


def _refusal(asked: Asked, code: str, reason: str, **more: str) -> Refused:
    about = {"action": asked.action, "object": asked.object}
    return Refused(403, code, reason, {"rule": more.pop("rule", code), **more, **about})


def _after(fields: Fields) -> dict[str, dict[str, Any]]:
    """New values as changes whose values before are not known."""
    return {name: {"after": value} for name, value in fields.items()}


def _details(asked: Asked, drafts: list[str], said: Mapping[str, Any]) -> dict[str, Any]:
    """The operation as the gate is asked for it."""
    changes = {record_id: _after(fields) for record_id, fields in asked.changes.items()}
    changes |= zip(drafts, map(_after, asked.created), strict=True)
    found = {
        "object": asked.object,
        "record_ids": list(asked.record_ids),
        "changes": changes,
        "recipient_ids": list(asked.recipient_ids),
        "records": asked.records,
        "system": asked.system,
    }
    return {**{name: value for name, value in found.items() if value}, **said}


def _made(asked: Asked, details: Mapping[str, Any], done: Done) -> dict[str, Any]:
    """What the report says of new records instead: their ids, where the answer names all of them."""
    if not asked.created or len(done.made) != len(asked.created):
        return {}
    changes = dict(zip(done.made, map(_after, asked.created), strict=True))
    return {"record_ids": [*details.get("record_ids", ()), *done.made], "changes": changes}


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

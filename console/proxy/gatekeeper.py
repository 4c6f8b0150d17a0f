"""Asks the gate for each operation, lets it pass or not, and reports what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from console.errors import Refused
from console.proxy.asked import Asked, Done, Problem
from console.proxy.question import Drafts, after, details_of, refusal, refused_by
from tripline_client import AsyncAct, AsyncTripline, BadRequest, Decision, LeaseOver, NotAllowed, Unavailable

MOST_AT_ONCE = 64
"""Operations under way at once; more wait, and are not admitted before it is their turn."""
RECHECK_SECS = 0.25
"""An answer of the gate that is older than this is asked for again before anything is sent on."""
NOT_SENT = "not_sent"
"""The code where it was allowed, and nothing was sent."""
_QUICK_SECS, _MOST_ROUNDS = 0.25, 3
"""Asking for all parts again may take so long; else the first are old once more, and it is tried again, so often."""
_STOPS = ("suspended", "stop_all")
_log = structlog.get_logger("tripline.proxy")

Do = Callable[[str], Awaitable[Done]]
"""Does it; is given the id of the decision ("" for a read that the gate was not asked for)."""
DoPart = Callable[[AsyncAct | None], Awaitable[Done]]
Allowed = tuple[Asked, AsyncAct | None]
"""What was allowed; None for a read that the gate was not asked for."""


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
        return await self.let_all((asked,), said, do)

    async def let_all(self, parts: Sequence[Asked], said: Mapping[str, Any], do: Do) -> Done:
        """Ask for each, do them together when all are allowed, and report each. Raises Refused (403): of those that
        were allowed before, it is then reported that they failed, as nothing was done."""
        async with self._slots:
            return await self._part(parts, (), said, do)

    async def _part(self, parts: Sequence[Asked], before: tuple[Allowed, ...], said: Mapping[str, Any], do: Do) -> Done:
        """The part after those that were allowed before, and all that come after it."""
        refused: list[Refused] = []
        at = len(before)

        async def go_on(act: AsyncAct | None) -> Done:
            try:
                if at + 1 < len(parts):
                    return (await self._part(parts, (*before, (parts[at], act)), said, do)).of(at)
                await self._reconfirm((*before, (parts[at], act)))
            except Refused as problem:
                refused.append(problem)
                return Done(
                    answer=None, problem=Problem(NOT_SENT, "a part of the request was refused, so nothing was sent")
                )
            return (await do(act.decision.decision_id if act is not None else "")).of(at)

        done = await self._asked(parts[at], said, go_on)
        if refused:
            raise refused[0]
        return done

    async def _reconfirm(self, allowed: Sequence[Allowed]) -> None:
        """Right before all is done: asks again for what was allowed too long ago. Raises Refused."""
        for _ in range(_MOST_ROUNDS):
            began = time.monotonic()
            for asked, act in allowed:
                try:
                    if act is not None:
                        await act.reconfirm(RECHECK_SECS)
                except NotAllowed as refused:
                    raise self._refused(asked, refused.decision) from None
                except (LeaseOver, BadRequest, Unavailable) as problem:
                    code = "gate_unavailable" if isinstance(problem, Unavailable) else "denied"
                    reason = f"denied: it was allowed, and not confirmed right before it was to be done: {problem}"
                    raise refusal(asked, code, reason) from None
            if time.monotonic() - began < _QUICK_SECS:
                return
        raise refusal(allowed[0][0], "gate_unavailable", "denied: the gate answers too slowly; send fewer at once")

    async def _asked(self, asked: Asked, said: Mapping[str, Any], do: DoPart) -> Done:
        drafts = self._drafts.take(asked.created)
        try:
            return await self._through(asked, details_of(asked, drafts, said), do)
        except NotAllowed as refused:
            self._drafts.give_back(asked.created, drafts)
            raise self._refused(asked, refused.decision) from None
        except LeaseOver as problem:
            raise refusal(asked, "denied", str(problem)) from None
        except BadRequest as problem:
            raise refusal(asked, "denied", f"denied: the gate does not take the question: {problem}") from None
        except Unavailable as problem:
            if asked.is_write or not (self._reads_without_gate and self._may_read):
                _log.warning("proxy.gate_unavailable", action=asked.action, problem=str(problem))
                reason = "denied: the gate can't be asked, so nothing may pass; try again later"
                raise refusal(asked, "gate_unavailable", reason) from None
        _log.warning("proxy.read_without_gate", object=asked.object)
        return await do(None)

    async def _through(self, asked: Asked, details: dict[str, Any], do: DoPart) -> Done:
        done: Done | None = None
        try:
            async with self._gate.act(asked.action, **details) as act:
                self._heard(act.decision)
                done = await do(act)
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
        """Keep whether it is stopped; an answer that says neither leaves it as it was."""
        if decision.is_allowed or decision.rule in _STOPS:
            self._may_read = decision.is_allowed

    def _refused(self, asked: Asked, decision: Decision) -> Refused:
        self._heard(decision)
        return refused_by(asked, decision)


def _made(asked: Asked, details: Mapping[str, Any], done: Done) -> dict[str, Any]:
    """What the report says of records whose ids were not known: these, where the answer names all of them."""
    values = tuple(asked.changes.values()) if asked.is_keyed else asked.created
    if not values or len(done.made) != len(values):
        return {}
    changes = dict(zip(done.made, map(after, values), strict=True))
    known = () if asked.is_keyed else details.get("record_ids", ())
    return {"record_ids": [*known, *done.made], "changes": changes}

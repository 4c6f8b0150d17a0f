"""The clients: one for plain code and one for asyncio, of the same shape."""

from __future__ import annotations

import asyncio
import functools
import inspect
import ssl
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import httpx

from tripline_client.errors import LeaseOver, Unavailable
from tripline_client.keeping import AsyncLease, Lease
from tripline_client.leases import Held, Hold, Scope, now
from tripline_client.messages import Decision, Operation, decision_of, error_of, operation, refuse

P = ParamSpec("P")
T = TypeVar("T")
CHECK_PATH, EVENTS_PATH = "/v1/gate/check", "/v1/events"
_HEADERS = {"content-type": "application/cloudevents+json"}
_OK, _TOO_MANY, _SERVER_ERROR, _MOST_TEXT = 200, 429, 500, 500
MOST_KEPT = 10_000
"""Reports that could not be sent yet; beyond these the oldest is dropped and counted."""
_FIRST_PAUSE_SECS, _LAST_PAUSE_SECS = 0.05, 1.0


class _Base:
    """What both clients know.

    Reports wait in ``unreported`` until Tripline has taken them; ``lost`` counts those that it refuses for good, and
    those that were too many to keep.
    """

    def __init__(
        self,
        url: str,
        *,
        agent_id: str,
        token: str = "",
        timeout_secs: float = 2.0,
        attempts: int = 2,
        tls: ssl.SSLContext | None = None,
        **defaults: Any,
    ) -> None:
        self.agent_id = agent_id
        self.unreported: deque[bytes] = deque()
        self.lost = 0
        self.problem = ""
        """What was wrong with the last report that was lost."""
        self._url = url.rstrip("/")
        self._attempts = max(1, attempts)
        self._defaults = defaults
        self._holds: tuple[Hold, ...] = ()
        self._options: dict[str, Any] = {
            "timeout": timeout_secs,
            "verify": True if tls is None else tls,
            "headers": {"authorization": f"Bearer {token}"} if token else {},
        }

    def _operation(self, action: str, details: Mapping[str, Any]) -> Operation:
        return operation(self.agent_id, action, self._defaults, details)

    def _hold(self, actions: tuple[str, ...], asked: dict[str, Any]) -> Hold:
        """A new hold of a lease, with the client's defaults for what all its operations have."""
        given = {name: asked.pop(name, self._defaults.get(name)) for name in ("authorized_by", "trigger", "system")}
        details = {name: value for name, value in given.items() if value is not None}
        object_, fields = asked.pop("object", self._defaults.get("object")), frozenset(asked.pop("fields", ()))
        scope = Scope(actions=frozenset(actions), object=object_, fields=fields, details=details, **asked)
        hold = Hold(self.agent_id, scope)
        self._holds = (*self._holds, hold)
        return hold

    def _drop(self, hold: Hold) -> None:
        self._holds = tuple(each for each in self._holds if each is not hold)

    def _admit(self, asked: Operation) -> tuple[Held, Decision] | None:
        """Admit under a lease that is held; None when the gate has to be asked."""
        for hold in self._holds:
            admitted = hold.admit(asked)
            if admitted is not None:
                return admitted
        return None

    def _heard(self, decision: Decision) -> Decision:
        for hold in self._holds:
            hold.heard(decision.epoch)
        return decision

    def _is_settled(self, answer: httpx.Response) -> bool:
        """Whether a report need not be sent again: taken, known already, or refused for good."""
        status = answer.status_code
        if status >= _SERVER_ERROR or status == _TOO_MANY:
            return False
        if status != _OK:
            self.lost += 1
            self.problem = f"Tripline answered {status} to a report: {answer.text[:_MOST_TEXT]}"
        return True

    def _keep(self, report: bytes) -> None:
        if len(self.unreported) >= MOST_KEPT:
            self.unreported.popleft()
            self.lost += 1
        self.unreported.append(report)


class _BaseAct:
    """What both sorts of blocks have: an operation, the answer to it, and the lease that admitted it, if one did."""

    decision: Decision

    def __init__(self, asked: Operation) -> None:
        self._asked = asked
        self._held: Held | None = None
        self._asked_at = 0.0
        self.more: dict[str, Any] = {}
        """Add what is known only afterwards, such as the ids of records that were created."""

    def confirm(self) -> None:
        """Call it right before the write leaves, if time may have passed: raises LeaseOver when the operation was
        admitted under a lease that has ended since, such as while the machine slept."""
        if self._held is not None and self._held.is_over():
            raise LeaseOver(f"the lease is over ({self._held.over}): the operation may not begin any more")

    def _is_old(self, after_secs: float) -> bool:
        """Whether the gate was asked longer ago than this. Raises LeaseOver."""
        self.confirm()
        return self._held is None and now().boot - self._asked_at > after_secs

    def _admit_by(self, gate: _Base) -> bool:
        """Admit it under a lease that is held; False when the gate has to be asked."""
        admitted = gate._admit(self._asked)
        if admitted is None:
            return False
        self._held, self.decision = admitted
        return True

    def _outcome(self, problem: BaseException | None) -> bytes | None:
        """The report of how it ended; None when its lease reports it."""
        error = None if problem is None else error_of(problem)
        outcome = "ok" if problem is None else "error"
        report = self._asked.report(outcome, error, self.decision, self.more)
        if self._held is None:
            return report
        self._held.tell(report)
        return None


class Tripline(_Base):
    """Asks one Tripline for one agent. May be shared by threads; close it, or use it in a ``with``.

    Parameters
    ----------
    url:
        Where Tripline is, such as ``http://127.0.0.1:8787``.
    agent_id:
        The agent that acts.
    token:
        An API token with ``gate`` and ``ingest``, where Tripline asks for one.
    timeout_secs:
        How long one attempt may take, in seconds.
    attempts:
        How often a question is asked when the gate does not answer. It is one question: it has one request id.
    tls:
        For a certificate authority of your own. Making one takes 50 ms: clients may share it.
    defaults:
        What each operation has unless it says otherwise: ``authorized_by``, ``trigger``, ``system``, ``run_id``, …
    """

    def __init__(self, url: str, *, agent_id: str, **more: Any) -> None:
        super().__init__(url, agent_id=agent_id, **more)
        self._http = httpx.Client(base_url=self._url, **self._options)
        self._sending = threading.Lock()

    def __enter__(self) -> Tripline:
        return self

    def __exit__(self, kind: object, problem: object, trace: object) -> None:
        self.close()

    def close(self, patience_secs: float = 2.0) -> None:
        """Send what waits to be reported, for so long at most; then disconnect."""
        self.flush(patience_secs)
        self._http.close()

    def check(self, action: str, **details: Any) -> Decision:
        """May the agent do this? Details are the fields of ``POST /v1/gate/check``: object, record_ids, changes,
        recipient_ids, authorized_by, trigger, system, …

        An answer other than "allow" is returned, not raised. Raises Unavailable, BadRequest.
        """
        return self._ask(self._operation(action, details))

    def act(self, action: str, **details: Any) -> Act:
        """A block in which the agent does this. Raises Denied, Held, Unavailable or BadRequest before it begins; when
        it ends its outcome is reported: ok, or the error that left it."""
        return Act(self, self._operation(action, details))

    def guarded(self, action: str, **details: Any) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """A decorator: each call of the function is an ``act``. A detail that is callable is called with the function's
        arguments, by name: ``record_ids=lambda lead_id, **_: [lead_id]``."""

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            describe = _describer(function, details)

            @functools.wraps(function)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
                with self.act(action, **describe(args, kwargs)):
                    return function(*args, **kwargs)

            return guarded

        return decorate

    def lease(self, *actions: str, **asked: Any) -> Lease:
        """Hold a lease (``with gate.lease("record.update", object="Lead", fields=["Industry"]):``): ``act`` and
        ``guarded`` then admit what is within it without asking the gate, and report in the background.

        ``fields`` may be changed; ``records_per_action`` (1) at most; ``action_credits`` (25) and ``record_credits``
        (25) are wanted at a time; ``holder`` names you to people. Never raises for want of a lease: then the gate is
        asked for each operation, and ``lease.problem`` says why.
        """
        return Lease(self._hold(actions, asked), self._http, self._drop)

    def flush(self, patience_secs: float = 2.0) -> int:
        """Send what waits to be reported; returns how many reports wait still."""
        end, pause = time.monotonic() + patience_secs, _FIRST_PAUSE_SECS
        with self._sending:
            while self.unreported:
                report = self.unreported[0]
                if not self._post(report):
                    if time.monotonic() + pause > end:
                        break
                    time.sleep(pause)
                    pause = min(2 * pause, _LAST_PAUSE_SECS)
                    continue
                self.unreported.popleft()
        return len(self.unreported)

    # --- parts ------------------------------------------------------------------------------------------------------

    def _ask(self, asked: Operation) -> Decision:
        problem: Exception | None = None
        for _ in range(self._attempts):
            try:
                answer = self._http.post(CHECK_PATH, json=asked.question())
            except httpx.HTTPError as failed:
                problem = failed
                continue
            return self._heard(decision_of(answer.status_code, answer.content))
        raise Unavailable(f"the gate at {self._url} can't be asked: {problem!r}") from problem

    def _post(self, report: bytes) -> bool:
        try:
            answer = self._http.post(EVENTS_PATH, content=report, headers=_HEADERS)
        except httpx.HTTPError:
            return False
        return self._is_settled(answer)

    def _report(self, report: bytes) -> None:
        self._keep(report)
        self.flush(0.0)


class Act(_BaseAct):
    """One operation of an agent, see ``Tripline.act``. ``decision`` is the gate's answer, once it has begun."""

    def __init__(self, gate: Tripline, asked: Operation) -> None:
        super().__init__(asked)
        self._gate = gate

    def __enter__(self) -> Act:
        if not self._admit_by(self._gate):
            self._ask()
        return self

    def reconfirm(self, after_secs: float = 0.25) -> None:
        """As ``confirm``, for what the gate was asked for as well: asks again, as the same operation, when its answer
        is older than this. Raises LeaseOver, Denied, Held or Unavailable; then don't do it."""
        if self._is_old(after_secs):
            self._ask()

    def _ask(self) -> None:
        self._asked_at = now().boot
        decision = self._gate._ask(self._asked)
        refuse(decision)
        self.decision = decision

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        report = self._outcome(problem)
        if report is not None:
            self._gate._report(report)


class AsyncTripline(_Base):
    """The same for asyncio; see ``Tripline``."""

    def __init__(self, url: str, *, agent_id: str, **more: Any) -> None:
        super().__init__(url, agent_id=agent_id, **more)
        self._http = httpx.AsyncClient(base_url=self._url, **self._options)
        self._sending = asyncio.Lock()

    async def __aenter__(self) -> AsyncTripline:
        return self

    async def __aexit__(self, kind: object, problem: object, trace: object) -> None:
        await self.close()

    async def close(self, patience_secs: float = 2.0) -> None:
        """Send what waits to be reported, for so long at most; then disconnect."""
        await self.flush(patience_secs)
        await self._http.aclose()

    async def check(self, action: str, **details: Any) -> Decision:
        """May the agent do this? See ``Tripline.check``."""
        return await self._ask(self._operation(action, details))

    def act(self, action: str, **details: Any) -> AsyncAct:
        """A block (``async with``) in which the agent does this; see ``Tripline.act``."""
        return AsyncAct(self, self._operation(action, details))

    def guarded(self, action: str, **details: Any) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
        """A decorator for coroutine functions; see ``Tripline.guarded``."""

        def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
            describe = _describer(function, details)

            @functools.wraps(function)
            async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
                async with self.act(action, **describe(args, kwargs)):
                    return await function(*args, **kwargs)

            return guarded

        return decorate

    def lease(self, *actions: str, **asked: Any) -> AsyncLease:
        """Hold a lease (``async with``); see ``Tripline.lease``."""
        return AsyncLease(self._hold(actions, asked), self._http, self._drop)

    async def flush(self, patience_secs: float = 2.0) -> int:
        """Send what waits to be reported; returns how many reports wait still."""
        end, pause = time.monotonic() + patience_secs, _FIRST_PAUSE_SECS
        async with self._sending:
            while self.unreported:
                report = self.unreported[0]
                if not await self._post(report):
                    if time.monotonic() + pause > end:
                        break
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LAST_PAUSE_SECS)
                    continue
                self.unreported.popleft()
        return len(self.unreported)

    # --- parts ------------------------------------------------------------------------------------------------------

    async def _ask(self, asked: Operation) -> Decision:
        problem: Exception | None = None
        for _ in range(self._attempts):
            try:
                answer = await self._http.post(CHECK_PATH, json=asked.question())
            except httpx.HTTPError as failed:
                problem = failed
                continue
            return self._heard(decision_of(answer.status_code, answer.content))
        raise Unavailable(f"the gate at {self._url} can't be asked: {problem!r}") from problem

    async def _post(self, report: bytes) -> bool:
        try:
            answer = await self._http.post(EVENTS_PATH, content=report, headers=_HEADERS)
        except httpx.HTTPError:
            return False
        return self._is_settled(answer)

    async def _report(self, report: bytes) -> None:
        self._keep(report)
        await self.flush(0.0)


class AsyncAct(_BaseAct):
    """One operation of an agent, see ``AsyncTripline.act``."""

    def __init__(self, gate: AsyncTripline, asked: Operation) -> None:
        super().__init__(asked)
        self._gate = gate

    async def __aenter__(self) -> AsyncAct:
        if not self._admit_by(self._gate):
            await self._ask()
        return self

    async def reconfirm(self, after_secs: float = 0.25) -> None:
        """See ``Act.reconfirm``."""
        if self._is_old(after_secs):
            await self._ask()

    async def _ask(self) -> None:
        self._asked_at = now().boot
        decision = await self._gate._ask(self._asked)
        refuse(decision)
        self.decision = decision

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        report = self._outcome(problem)
        if report is not None:
            await self._gate._report(report)


def _describer(
    function: Callable[..., Any], details: Mapping[str, Any]
) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """What describes a call of a function: details that are callable are asked with its arguments, by name."""
    signature = inspect.signature(function)

    def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        return {name: detail(**given) if callable(detail) else detail for name, detail in details.items()}

    return describe

"""The next lever: credentials taken away in the CRM, and canaries that show whether its feed is alive.

A request is a row, made in the transaction of whoever asks; a thread of its own carries it out and says what came of
it. Everything it does may be done twice, so a crash in between only means that it is done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Literal

import structlog
from xxhash import xxh3_128_hexdigest

from events.times import format_ms
from events.types import EvidenceData
from governance.settings import Settings
from storage import containment, revocations
from storage.background import Background
from storage.link import Link
from storage.revocations import Revocation
from streams.authority import Authority
from streams.crm.ports import CrmFailed, CrmPort
from streams.envelopes import split_key

_LOOK_SECS, _PATIENCE_SECS = 1.0, 30.0
_RESULT_CHARS = 500
_log = structlog.get_logger("tripline.levers")

Decide = Callable[[str, Callable[[Authority], Any]], Future[Any]]
"""Decides something about an agent in one transaction, as ``console.ports.Runtime.decide``."""
Read = Callable[[Callable[[Link], Any]], Any]
"""Reads the store."""


def ask(authority: Authority, key: str, by_kind: Literal["human", "detector"], by: str, reason: str) -> list[str]:
    """Have all credentials of an agent taken away; their names, none where the settings name none."""
    agent_id, now_ms = split_key(key)[1], authority.now_ms
    mine = sorted(name for name, one in authority.settings.credentials.items() if one.agent == agent_id)
    for name in mine:
        if not revocations.is_asked(authority.link, key, name, now_ms):
            id_ = xxh3_128_hexdigest(f"{key}\x1f{name}\x1f{now_ms}".encode())
            revocations.ask(
                authority.link,
                Revocation(
                    id=id_, key=key, credential=name, state="asked", asked_ms=now_ms, done_ms=None, by_kind=by_kind,
                    by_id=by, reason=reason, result="",
                ),
            )  # fmt: skip
    if mine:
        authority.changed.add(("control", key))
    return mine


def ask_once(authority: Authority, key: str, since_ms: int, reason: str) -> None:
    """The same by itself, once after each stop."""
    agent_id = split_key(key)[1]
    mine = [name for name, one in authority.settings.credentials.items() if one.agent == agent_id]
    if any(not revocations.is_asked(authority.link, key, name, since_ms) for name in mine):
        ask(authority, key, "detector", "gate", reason)


class Levers(Background):
    """The thread. Parameters: settings; how to read the store and to decide; the CRMs; whether it is this process's
    turn; the clock."""

    def __init__(
        self,
        settings: Settings,
        read: Read,
        decide: Decide,
        ports: Mapping[str, CrmPort],
        is_active: Callable[[], bool],
        now_ms: Callable[[], int],
    ) -> None:
        super().__init__("tripline-levers", stop_secs=2.0)
        self._settings = settings
        self._read = read
        self._decide = decide
        self._crms = ports
        self._is_active = is_active
        self._now_ms = now_ms
        self._canary_at = 0.0

    @classmethod
    def of(
        cls, settings: Settings, read: Read, decide: Decide, is_active: Callable[[], bool], now_ms: Callable[[], int]
    ) -> Levers | None:
        """The thread, with the CRMs of the settings; None where there are none."""
        if not settings.crm:
            return None
        from streams.crm.open import crms  # noqa: PLC0415 - httpx loads slowly, and most have no [crm]

        return cls(settings, read, decide, crms(settings), is_active, now_ms)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECS):
            try:
                if self._is_active():
                    self.look()
            except Exception:  # the thread must outlive whatever happens; what waits is tried again
                _log.exception("levers_failed")

    def look(self) -> None:
        """Carry out what waits, and see to the canaries."""
        for one in self._read(revocations.asked):
            self._pull(one)
        if time.monotonic() - self._canary_at >= self._settings.containment.canary_secs:
            self._send_canaries()

    def _pull(self, one: Revocation) -> None:
        credential = self._settings.credentials.get(one.credential)
        try:
            if credential is None:
                raise CrmFailed(f"[credentials.{one.credential}] is not in the settings any more")
            state, result = "done", self._crms[credential.crm].take_away(credential)
        except CrmFailed as problem:
            state, result = "failed", str(problem)
        _log.info("credential", agent=split_key(one.key)[1], credential=one.credential, state=state)
        self._decide(one.key, lambda authority: _say(authority, one, state, result[:_RESULT_CHARS])).result(
            _PATIENCE_SECS
        )

    def _send_canaries(self) -> None:
        """Write the canaries of systems whose feeds have told of nothing since an agent was stopped."""
        for tenant, name in self._read(lambda link: containment.quiet_systems(link, self._systems())):
            problem, self._canary_at = "", time.monotonic()
            try:
                self._crms[name].write_canary(f"Tripline: is the feed alive? {format_ms(self._now_ms())}")
            except CrmFailed as failed:
                problem = str(failed)[:_RESULT_CHARS]
            system = self._settings.crm[name].system or name

            def note(authority: Authority, at: tuple[str, str] = (tenant, system), error: str = problem) -> None:
                containment.canary_sent(authority.link, *at, authority.now_ms, error or None)

            self._decide(f"{tenant}/*", note).result(_PATIENCE_SECS)

    def _systems(self) -> dict[str, str]:
        """The CRMs with a canary: by their table's name, what the feed calls them."""
        return {name: crm.system or name for name, crm in self._settings.crm.items() if crm.canary_record}


def _say(authority: Authority, one: Revocation, state: str, result: str) -> None:
    if not revocations.settle(authority.link, one.id, state, authority.now_ms, result):
        return
    authority.changed.add(("control", one.key))
    authority.count("revocation", state)
    agent_id = split_key(one.key)[1]
    done = f"its credential {one.credential} was taken away: {result}"
    failed = f"its credential {one.credential} could NOT be taken away: {result}"
    evidence = EvidenceData(
        summary=done if state == "done" else failed,
        observed=1,
        expected=1,
        limit=1,
        unit="credentials",
        events=[],
        would_clear="",
        details={"by": one.by_id, "reason": one.reason},
    )
    severity: Literal["warning", "critical"] = "warning" if state == "done" else "critical"
    if authority.warn(f"revocation:{one.id}", one.key, agent_id, evidence, severity=severity):
        authority.count("finding", "gate", "warn")

"""What a stopped agent had set up is cancelled in the CRM: the containment's next step, by itself or when asked for.

As with the levers, a request is a row, made in the transaction of whoever asks; a thread of its own carries it out and
keeps every attempt. All of it may be done twice: a CRM is asked how things are before anything is cancelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal

import structlog
from sqlalchemy import Engine
from xxhash import xxh3_128_hexdigest

from events.times import HOUR_MS, MINUTE_MS
from events.types import EvidenceData
from governance.effects import NotPossible, plan
from governance.holding import Pending
from governance.kin import bound_by
from governance.settings import Settings
from storage import cancellations
from storage.background import Background
from storage.cancellations import Cancellation, Try
from storage.read.containment import pending
from storage.read.store import reading
from streams.authority import Authority
from streams.crm.ports import CancelPort, CrmFailed, Gone
from streams.envelopes import make_key, split_key
from streams.levers import Decide, Levers, Read

MOST = 500
"""Things of one stop that are cancelled."""
ATTEMPTS = 5
_FIRST_WAIT_SECS, _GROWS = 2.0, 4
_LOOK_SECS, _PATIENCE_SECS = 1.0, 30.0
_FIND_AGAIN_MS, _FIND_OFTEN_MS, _FIND_LATER_MS, _FIND_FOR_MS = 5_000, MINUTE_MS, MINUTE_MS, HOUR_MS
"""What an agent did is in the tables a little later than it is done, and reports may be late: so long is looked, and
after a minute no more often than once a minute, for a stop of all is one of many agents."""
_TEXT_CHARS = 300
_ALL = "/*"
_MAY_BE_DONE = frozenset({"cancelled", "later", "gave_up"})
_log = structlog.get_logger("tripline.cancelling")
_WORDS = {"refused": "refused", "impossible": "not possible", "gave_up": "never answered"}


def threads(
    settings: Settings,
    read: Read,
    decide: Decide,
    engine: Callable[[], Engine],
    is_active: Callable[[], bool],
    now_ms: Callable[[], int],
) -> list[Background]:
    """What reaches CRMs in the background: levers, and what cancels; none where the settings name no CRM.

    ``engine``: makes one that reads what agents did; ``is_active``: whether it is this process's turn.
    """
    levers = Levers.of(settings, read, decide, is_active, now_ms)
    if levers is None:
        return []
    from streams.crm.open import cancellers  # noqa: PLC0415 - httpx loads slowly, and most have no [crm]

    return [levers, Cancelling(settings, read, decide, engine, cancellers(settings), is_active, now_ms)]


def ask(
    authority: Authority, key: str, since_ms: int, wanted: Iterable[Pending], by_kind: Literal["human", "detector"],
    by: str, reason: str,
) -> int:  # fmt: skip
    """Have things cancelled that an agent had set up before a stop; how many of them were not asked for yet."""
    now_ms, number = authority.now_ms, 0
    for one in wanted:
        id_ = xxh3_128_hexdigest("\x1f".join((key, str(since_ms), one.action, one.object, one.record_id)).encode())
        number += cancellations.ask(
            authority.link,
            Cancellation(
                id=id_, key=key, since_ms=since_ms, action=one.action, object=one.object, record_id=one.record_id,
                effect_ms=one.at_ms, reviewed_by=one.reviewed_by, state=cancellations.OPEN, attempts=0, asked_ms=now_ms,
                due_ms=now_ms, done_ms=None, by_kind=by_kind, by_id=by, reason=reason, result="",
            ),
        )  # fmt: skip
    if number:
        authority.changed.add(("control", key))
    return number


class Cancelling(Background):
    """The thread. Parameters: as of ``threads``, and the CRMs."""

    def __init__(
        self,
        settings: Settings,
        read: Read,
        decide: Decide,
        engine: Callable[[], Engine],
        ports: Mapping[str, CancelPort],
        is_active: Callable[[], bool],
        now_ms: Callable[[], int],
    ) -> None:
        super().__init__("tripline-cancelling", stop_secs=2.0)
        self._settings = settings
        self._read = read
        self._decide = decide
        self._make_engine = engine
        self._engine: Engine | None = None
        self._crms = ports
        self._is_active = is_active
        self._now_ms = now_ms
        self._found: dict[tuple[str, int], int] = {}
        """Stops that were looked at, and when: of those that last."""
        self._kin: dict[str, tuple[str, ...]] = {}
        self._unsaid: set[str] = set()
        """What was tried, and could not be noted: the CRM may have done it."""

    def stop(self) -> None:
        """End it, and give its connections back."""
        super().stop()
        if self._engine is not None:
            self._engine.dispose()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECS):
            try:
                if self._is_active():
                    self.look()
            except Exception:  # the thread must outlive whatever happens; what waits is tried again
                _log.exception("cancelling_failed")

    def look(self) -> None:
        """Ask for what stopped agents had set up, where the settings say so; carry out what is due."""
        try:
            if any(crm.cancel_on_stop for crm in self._settings.crm.values()):
                self._find()
        except Exception:  # what was asked for is carried out all the same
            _log.exception("cancelling_not_found")
        for one in self._read(lambda link: cancellations.due(link, self._now_ms())):
            if self._stop.is_set():
                return
            self._carry_out(one)

    def _find(self) -> None:
        now_ms, lasting = self._now_ms(), self._stops()
        self._found = {stop: at_ms for stop, at_ms in self._found.items() if stop in set(lasting)}
        for key, since_ms in lasting:
            last = self._found.get((key, since_ms))
            again_ms = _FIND_AGAIN_MS if now_ms - since_ms < _FIND_OFTEN_MS else _FIND_LATER_MS
            if last is not None and (now_ms - since_ms > _FIND_FOR_MS or now_ms - last < again_ms):
                continue
            self._found[key, since_ms] = now_ms
            wanted = [one for one in self._pending(key, since_ms) if self._is_by_itself(key, one)]
            asked = self._read(partial(cancellations.of_stop, key=key, since_ms=since_ms)) if wanted else ()
            known = {(one.action, one.object, one.record_id) for one in asked}
            new = [one for one in wanted if (one.action, one.object, one.record_id) not in known]
            done = self._read(partial(cancellations.done, key=key)) if new else ()
            new = [one for one in new if (one.action, one.object, one.record_id, one.at_ms) not in done]
            if new:
                self._ask(key, since_ms, new)

    def _stops(self) -> list[tuple[str, int]]:
        """Agents that are stopped, and since when: by themselves; else, of those with a user in a CRM, with the agents
        whose stop is theirs, too, or with all."""
        rows: dict[str, int] = dict(self._read(cancellations.stopped))
        found = {key: at_ms for key, at_ms in rows.items() if not key.endswith(_ALL)}
        named = [agent_id for agent_id, agent in self._settings.agents.items() if agent.crm_user]
        for tenant in {split_key(key)[0] for key in rows}:
            for agent_id in named:
                key = make_key(tenant, agent_id)
                since = [rows[each] for each in self._stops_of(key) if each in rows]
                if since and key not in found:
                    found[key] = min(since)
        return list(found.items())

    def _stops_of(self, key: str) -> list[str]:
        """The keys of the stops that stop an agent: its own first."""
        tenant, agent_id = split_key(key)
        if agent_id not in self._kin:
            self._kin[agent_id] = bound_by(agent_id, self._settings)
        return [key, *(make_key(tenant, each) for each in self._kin[agent_id]), f"{tenant}{_ALL}"]

    def _ask(self, key: str, since_ms: int, new: Sequence[Pending]) -> None:
        def asked(authority: Authority) -> None:
            if cancellations.holds(authority.link, self._stops_of(key), since_ms):
                ask(authority, key, since_ms, new, "detector", "gate", "the agent was stopped")

        self._decide(key, asked).result(_PATIENCE_SECS)

    def _pending(self, key: str, stop_ms: int) -> list[Pending]:
        if self._engine is None:
            self._engine = self._make_engine()
        with reading(self._engine) as connection:
            return pending(connection, key, stop_ms, MOST)

    def _is_by_itself(self, key: str, one: Pending) -> bool:
        """Whether nobody need ask: its CRM is to cancel by itself, or no CRM can, which is to be said."""
        try:
            name, _ = plan(one.action, one.object, one.record_id, split_key(key)[1], self._settings)
        except NotPossible:
            return True
        return self._settings.crm[name].cancel_on_stop

    def _carry_out(self, one: Cancellation) -> None:
        state, text, wait_secs = self._try(one)
        _log.info("cancellation", agent=split_key(one.key)[1], id=one.id, attempt=one.attempts + 1, state=state)
        text = text[:_TEXT_CHARS]
        if state in _MAY_BE_DONE:
            self._unsaid.add(one.id)
        self._decide(one.key, lambda authority: _note(authority, one, state, text, wait_secs)).result(_PATIENCE_SECS)
        self._unsaid.discard(one.id)

    def _try(self, one: Cancellation) -> tuple[str, str, float]:
        """What came of it, in words, and after how long to try again."""
        try:
            name, effect = plan(one.action, one.object, one.record_id, split_key(one.key)[1], self._settings)
            if one.by_kind != "human":
                self._check_by_itself(one)
            return "cancelled", self._crms[name].cancel(effect, self._now_ms()), 0.0
        except NotPossible as reason:
            return "impossible", str(reason), 0.0
        except Gone as gone:
            if one.attempts or one.id in self._unsaid:  # an answer of the CRM may have been lost
                return "cancelled", f"{gone}, after an earlier attempt", 0.0
            return "impossible", f"{gone}: nothing to cancel", 0.0
        except CrmFailed as failed:
            return _failed(failed, one.attempts)
        except Exception as problem:  # one thing that nobody thought of must not keep the others waiting
            _log.exception("cancellation_failed", id=one.id)
            return _failed(CrmFailed(f"it failed here ({type(problem).__name__})", is_passing=True), one.attempts)

    def _check_by_itself(self, one: Cancellation) -> None:
        """Raises NotPossible for what only a person may have cancelled."""
        if one.reviewed_by:
            raise NotPossible(f"{one.reviewed_by[:80]} approved it: a person may ask for it")
        if not self._read(lambda link: cancellations.holds(link, self._stops_of(one.key), one.since_ms)):
            raise NotPossible("the agent was released before it was tried")


def _failed(failed: CrmFailed, attempts: int) -> tuple[str, str, float]:
    if not failed.is_passing:
        return "refused", str(failed), 0.0
    if attempts + 1 >= ATTEMPTS:
        return "gave_up", f"{failed}, {ATTEMPTS} times; ask again later", 0.0
    return "later", str(failed), max(failed.wait_secs, _FIRST_WAIT_SECS * _GROWS**attempts)


def _note(authority: Authority, one: Cancellation, state: str, text: str, wait_secs: float) -> None:
    made = Try(authority.now_ms, state, text)
    if cancellations.note(authority.link, one, made, authority.now_ms + int(1000 * wait_secs)) is None:
        return
    authority.changed.add(("control", one.key))
    if state == "later":
        return
    authority.count("cancellation", state)
    rest = cancellations.of_stop(authority.link, one.key, one.since_ms)
    if all(each.state != cancellations.OPEN for each in rest):
        _say(authority, one, rest)


def _say(authority: Authority, one: Cancellation, rest: Sequence[Cancellation]) -> None:
    """Once all of a stop is over, people are told of it together."""
    counts = Counter(each.state for each in rest)
    done = counts[cancellations.CANCELLED]
    text = f"of {len(rest)} things that it had set up, {done} were cancelled in the CRM"
    left = [f"{counts[state]} {words}" for state, words in _WORDS.items() if counts[state]]
    if len(rest) >= MOST:
        left.append(f"there may be more, for at most {MOST} are looked for")
    evidence = EvidenceData(
        summary=f"{text}; see to the others: {', '.join(left)}" if left else text,
        observed=len(rest) - done,
        expected=0,
        limit=0,
        unit="pending effects",
        events=[],
        would_clear="",
        details={"by": one.by_id, "reason": one.reason},
    )
    asked_ms = max(each.asked_ms for each in rest)
    id_ = f"cancellation:{one.key}:{one.since_ms}:{asked_ms}"
    if authority.warn(id_, one.key, split_key(one.key)[1], evidence):
        authority.count("finding", "gate", "warn")

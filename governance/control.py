"""The control authority: one pure function that decides whether an agent is active, throttled, held or suspended.

The store keeps one row an agent, and ``tenant/*`` for "stop all". Engine and people send requests; whoever holds the
store calls ``decide`` inside the transaction that writes the row, so that two requests never decide on the same row.

The rules:

1. The epoch grows by one with every change and never shrinks. Who obeys the row ignores lower epochs.
2. Tightening takes the tighter of what is and what is wanted. Anybody may tighten an agent; only a person stops all.
3. A detector's request whose basis lies before the last release is recorded, not applied; so is one that is older
   than 24 hours of log time (a history that is read again must not stop today's agents).
4. Loosening: a person, with a reason, naming the current epoch (else a conflict), and not the agent's owner. The
   row becomes *releasing* and active once the engine has judged all that lies before the release in the agent's
   log (``confirm_release``). A hold or suspension asked for meanwhile wins, whatever its basis within rule 3.
   A throttle asked for meanwhile is only recorded: a releasing agent's writes wait already, which is tighter.
5. Only throttling ends by itself (``expire``).
6. "Stop all" takes one person, ending it takes two. It ends at once: a trip meanwhile has the agent's own row.
7. Who trips again waits: after the second trip of 30 days nobody releases for 10 minutes, and for three times as long
   with each more, at most a day. A person who stops it meanwhile does not shorten that.
8. A release may be watched: then the agent is throttled for a while before it is active, and what a detector asks for
   meanwhile counts double, a throttle as a hold, a hold as a suspension (``is_watched``).
9. A throttle that does not help becomes a hold: the third that detectors ask for in 24 hours, an extension counted as
   one, since a person last released it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from events.times import DAY_MS, HOUR_MS, MINUTE_MS, format_ms
from events.types import By, Control

State = Literal["active", "throttled", "held", "suspended", "releasing"]
Asked = Literal["active", "throttled", "held", "suspended"]

STATE_RANK: dict[str, int] = {"active": 0, "throttled": 1, "held": 2, "releasing": 2, "suspended": 3}
"""How tight a state is; a releasing agent's writes wait as a held one's do."""
STALE_MS = 24 * HOUR_MS
THROTTLE_MS = 30 * MINUTE_MS
"""How long a throttle lasts when its request names no end."""
TRIPS_MS = 30 * DAY_MS
"""Over so long trips are counted."""
THROTTLED_MS = DAY_MS
"""Over so long throttles are counted, …"""
THROTTLES_UNTIL_HOLD = 3
"""… and so many of them are a hold."""
_FIRST_WAIT_MS, _WAIT_FACTOR, _LONGEST_WAIT_MS = 10 * MINUTE_MS, 3, DAY_MS
_DOUBLED: dict[Asked, Asked] = {"throttled": "held", "held": "suspended"}
_STOPPED = frozenset({"held", "suspended"})
WANTED_STATE: dict[str, Asked] = {"throttle": "throttled", "hold": "held", "suspend": "suspended"}
"""The state that a finding's ``action_taken`` asks for; "none" and "notify" ask for nothing."""


class Why(StrEnum):
    """Why the authority decided as it did."""

    TIGHTENED = "tightened"
    EXTENDED = "throttle_extended"
    RELEASING = "releasing"
    RELEASED = "released"
    WATCHED = "released_watched"
    TOO_SOON = "too_soon"
    EXPIRED = "throttle_expired"
    ALREADY_AS_TIGHT = "already_as_tight"
    BEFORE_LAST_RELEASE = "before_last_release"
    TOO_OLD = "too_old"
    NOT_STOPPED = "not_stopped"
    ALREADY_RELEASING = "already_releasing"
    NOTHING_DUE = "nothing_due"
    ONLY_A_PERSON = "only_a_person"
    REASON_MISSING = "reason_missing"
    CONFLICT = "conflict"
    NOT_THE_OWNER = "not_the_owner"
    NEEDS_TWO = "needs_two"


SENTENCES: dict[Why, str] = {
    Why.TIGHTENED: "Done.",
    Why.EXTENDED: "It stays throttled for longer.",
    Why.RELEASING: "Release accepted; it is active once everything it did before has been judged.",
    Why.RELEASED: "It is active again.",
    Why.WATCHED: "It works again, throttled and watched for a while.",
    Why.TOO_SOON: "It was stopped more than once in 30 days, so it has to wait.",
    Why.EXPIRED: "The throttle has ended.",
    Why.ALREADY_AS_TIGHT: "It is stopped at least as tightly already.",
    Why.BEFORE_LAST_RELEASE: "Recorded only: this was seen before a person last released the agent.",
    Why.TOO_OLD: "Recorded only: the cause is more than 24 hours old.",
    Why.NOT_STOPPED: "It is not stopped.",
    Why.ALREADY_RELEASING: "Its release is under way already.",
    Why.NOTHING_DUE: "Nothing to do.",
    Why.ONLY_A_PERSON: "Only a person can release.",
    Why.REASON_MISSING: "A release needs a reason.",
    Why.CONFLICT: "Its state has changed since you looked; look again before you release.",
    Why.NOT_THE_OWNER: "The agent's owner cannot release it; ask somebody else.",
    Why.NEEDS_TWO: "Ending a stop of all agents takes two different people.",
}
_REFUSED = frozenset(
    {Why.ONLY_A_PERSON, Why.REASON_MISSING, Why.CONFLICT, Why.NOT_THE_OWNER, Why.NEEDS_TWO, Why.TOO_SOON}
)


class ControlRow(Struct, frozen=True, kw_only=True):
    """The state of one agent, or with the key ``tenant/*`` of all. ``expires_ms`` only while throttled."""

    key: str
    agent_id: str
    state: State
    epoch: int
    last_release_epoch: int
    at_ms: int
    by: By
    reason: str
    finding_id: str | None = None
    expires_ms: int | None = None


class ControlRequest(Struct, frozen=True, kw_only=True):
    """What somebody wants. ``at_ms`` is the log time of the cause; ``wanted`` "active" asks for a release.

    ``basis_epoch`` is the epoch that the requester knew. ``second`` is the other person of a stop-all's end.
    ``expires_ms`` ends a throttle, None takes 30 minutes.
    """

    key: str
    agent_id: str
    wanted: Asked
    basis_epoch: int
    by: By
    reason: str
    at_ms: int
    finding_id: str | None = None
    second: By | None = None
    expires_ms: int | None = None


class Trips(Struct, frozen=True):
    """How often a detector stopped an agent in the last 30 days, this time included, and when it last did.

    ``throttles``: how often detectors throttled it in the last 24 hours.
    """

    count: int = 0
    last_ms: int = 0
    throttles: int = 0

    @property
    def release_from_ms(self) -> int:
        """Before this nobody releases it."""
        return self.last_ms + wait_ms(self.count)


class Decision(Struct, frozen=True, kw_only=True):
    """What was decided: the row as it is now, whether it changed, and why.

    ``recorded_only``: the request is kept as history and changed nothing. ``from_ms``: when it was asked too soon,
    from when on it can be asked.
    """

    row: ControlRow
    changed: bool
    recorded_only: bool
    why: Why
    from_ms: int | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the requester did something that is not allowed, as against something needless."""
        return self.why in _REFUSED

    @property
    def sentence(self) -> str:
        """The reason in words for a person."""
        said = SENTENCES[self.why]
        return said if self.from_ms is None else f"{said} It can be released from {format_ms(self.from_ms)} on."


def decide(
    row: ControlRow | None,
    request: ControlRequest,
    now_ms: int,
    *,
    owner: str = "",
    stale_ms: int = STALE_MS,
    trips: Trips = Trips(),  # noqa: B008 - frozen
) -> Decision:
    """Apply a request to the row; see the module's rules.

    Parameters: ``row`` None for an agent never controlled. ``now_ms`` is log time. ``owner`` is who answers for the
    agent and so may not release it. ``stale_ms``: a detector's request older than this is recorded only. ``trips``
    of the agent: a release and a detector's throttle need them.
    """
    row = row if row is not None else first_row(request.key, request.agent_id)
    if request.wanted == "active":
        return _release(row, request, now_ms, owner, trips)
    if is_stop_all(row.key) and request.by.kind != "human":
        return _no(row, Why.ONLY_A_PERSON)
    if request.by.kind == "detector":
        if now_ms - request.at_ms > stale_ms:
            return _no(row, Why.TOO_OLD)
        if request.basis_epoch < row.last_release_epoch:
            return _no(row, Why.BEFORE_LAST_RELEASE)
        if is_watched(row, now_ms):
            request = replace(request, wanted=_DOUBLED.get(request.wanted, request.wanted))
        if request.wanted == "throttled" and trips.throttles + 1 >= THROTTLES_UNTIL_HOLD:
            reason = f"{request.reason} (throttled {trips.throttles} times in 24 hours already)"
            request = replace(request, wanted="held", reason=reason, expires_ms=None)
    return _tighten(row, request, now_ms)


def confirm_release(row: ControlRow, epoch: int, now_ms: int, *, watch_ms: int = 0) -> Decision:
    """The engine has judged all that lies before the release of this epoch: the agent is active.

    A confirmation of another epoch than the row's is of a release that a trip has overtaken, and changes nothing.
    ``watch_ms``: it is throttled and watched for so long first.
    """
    if row.state != "releasing" or row.epoch != epoch:
        return _no(row, Why.NOTHING_DUE)
    released = replace(
        row,
        state="throttled" if watch_ms else "active",
        epoch=row.epoch + 1,
        last_release_epoch=row.epoch,
        at_ms=now_ms,
        expires_ms=now_ms + watch_ms if watch_ms else None,
    )
    return _yes(released, Why.WATCHED if watch_ms else Why.RELEASED)


def is_watched(row: ControlRow, now_ms: int) -> bool:
    """Whether the row is what a watched release left, and its time is not over; nothing has changed it since."""
    return (
        row.state == "throttled"
        and 0 < row.last_release_epoch == row.epoch - 1
        and row.expires_ms is not None
        and now_ms < row.expires_ms
    )


def wait_ms(trips: int) -> int:
    """How long after its last trip an agent can't be released that tripped so often in 30 days."""
    if trips < 2:
        return 0
    wait = _FIRST_WAIT_MS
    for _ in range(min(trips - 2, 10)):
        wait *= _WAIT_FACTOR
    return min(_LONGEST_WAIT_MS, wait)


def trips_in(changes: Iterable[tuple[str, str, int]], now_ms: int) -> Trips:
    """The trips in an agent's history: (state, kind of decider, when) of each change, the oldest first.

    A detector's stop is a trip where it stops what was not stopped: a hold that becomes a suspension is one trip, and
    so is what overtakes a release. Of throttles every one counts that a detector asked for and got, an extension too;
    a person's release forgets them.
    """
    count = last_ms = throttles = 0
    was_stopped = False
    for state, by_kind, at_ms in changes:
        if state == "releasing":
            throttles = 0
        throttles += state == "throttled" and by_kind == "detector" and at_ms > now_ms - THROTTLED_MS
        is_stopped = state in _STOPPED
        if is_stopped and by_kind == "detector" and at_ms > now_ms - TRIPS_MS:
            count += not was_stopped
            last_ms = at_ms
        was_stopped = is_stopped or state == "releasing"
    return Trips(count, last_ms, throttles)


def expire(row: ControlRow, now_ms: int) -> Decision:
    """End a throttle whose time is over; nothing else ends by itself."""
    if row.state != "throttled" or row.expires_ms is None or now_ms < row.expires_ms:
        return _no(row, Why.NOTHING_DUE)
    return _yes(
        replace(
            row,
            state="active",
            epoch=row.epoch + 1,
            at_ms=now_ms,
            reason="the throttle's time is over",
            expires_ms=None,
        ),
        Why.EXPIRED,
    )


def effective(row: ControlRow | None, stop_all: ControlRow | None) -> ControlRow | None:
    """The row that decides for an agent: its own, or "stop all" where that is tighter."""
    if stop_all is None or STATE_RANK[stop_all.state] == 0:
        return row
    if row is None or STATE_RANK[stop_all.state] > STATE_RANK[row.state]:
        return stop_all
    return row


def newest(known: ControlRow | None, heard: ControlRow) -> ControlRow:
    """What a gate keeps when it hears of a row: lower epochs are ignored, whatever order they come in."""
    return heard if known is None or heard.epoch > known.epoch else known


def first_row(key: str, agent_id: str) -> ControlRow:
    """The row of an agent that was never controlled: active, epoch 0."""
    return ControlRow(
        key=key,
        agent_id=agent_id,
        state="active",
        epoch=0,
        last_release_epoch=0,
        at_ms=0,
        by=By("human", ""),
        reason="",
    )


def is_stop_all(key: str) -> bool:
    """Whether the key is the one that stops every agent of its tenant."""
    return key.endswith("/*")


def stop_all_key(tenant: str) -> str:
    """The key that stops every agent of the tenant."""
    return f"{tenant}/*"


def control_of(row: ControlRow) -> Control:
    """The row as the data of a ``tripline.control.v1`` event."""
    return Control(
        agent_id=row.agent_id,
        state=row.state,
        epoch=row.epoch,
        at=format_ms(row.at_ms),
        by=row.by,
        reason=row.reason,
        finding_id=row.finding_id,
        expires_at=None if row.expires_ms is None else format_ms(row.expires_ms),
    )


def _tighten(row: ControlRow, request: ControlRequest, now_ms: int) -> Decision:
    wanted, current = STATE_RANK[request.wanted], STATE_RANK[row.state]
    expires_ms = None
    why = Why.TIGHTENED
    if request.wanted == "throttled":
        expires_ms = request.expires_ms if request.expires_ms is not None else now_ms + THROTTLE_MS
    if row.state == "throttled" == request.wanted:
        if row.expires_ms is not None and (expires_ms or 0) <= row.expires_ms:
            return _no(row, Why.ALREADY_AS_TIGHT)
        why = Why.EXTENDED
    elif wanted < current or (wanted == current and row.state != "releasing"):
        return _no(row, Why.ALREADY_AS_TIGHT)
    tightened = replace(
        row,
        state=request.wanted,
        # A basis above the row's epoch: the store was restored from an older copy. Gates must not ignore this one.
        epoch=max(row.epoch, request.basis_epoch if request.by.kind == "detector" else 0) + 1,
        at_ms=now_ms,
        by=request.by,
        reason=request.reason.strip() or "no reason given",
        finding_id=request.finding_id,
        expires_ms=expires_ms,
    )
    return _yes(tightened, why)


def _release(row: ControlRow, request: ControlRequest, now_ms: int, owner: str, trips: Trips) -> Decision:
    refusal = _refusal(row, request, owner)
    if refusal is not None:
        return _no(row, refusal)
    if row.state in _STOPPED and now_ms < trips.release_from_ms and not is_stop_all(row.key):
        return replace(_no(row, Why.TOO_SOON), from_ms=trips.release_from_ms)
    ends_at_once = is_stop_all(row.key)
    released = replace(
        row,
        state="active" if ends_at_once else "releasing",
        epoch=row.epoch + 1,
        last_release_epoch=row.epoch + 1 if ends_at_once else row.last_release_epoch,
        at_ms=now_ms,
        by=request.by,
        reason=_with_second(request),
        finding_id=None,
        expires_ms=None,
    )
    return _yes(released, Why.RELEASED if ends_at_once else Why.RELEASING)


def _refusal(row: ControlRow, request: ControlRequest, owner: str) -> Why | None:
    rules = (
        (request.by.kind != "human" or not request.by.id.strip(), Why.ONLY_A_PERSON),
        (not request.reason.strip(), Why.REASON_MISSING),
        (request.basis_epoch != row.epoch, Why.CONFLICT),
        (row.state == "active", Why.NOT_STOPPED),
        (row.state == "releasing", Why.ALREADY_RELEASING),
        (bool(owner) and request.by.id == owner, Why.NOT_THE_OWNER),
        (is_stop_all(row.key) and not _is_another_person(request), Why.NEEDS_TWO),
    )
    return next((why for is_broken, why in rules if is_broken), None)


def _is_another_person(request: ControlRequest) -> bool:
    second = request.second
    if second is None or second.kind != "human" or not second.id.strip():
        return False
    return second.id.strip().casefold() != request.by.id.strip().casefold()


def _with_second(request: ControlRequest) -> str:
    reason = request.reason.strip()
    return f"{reason} (with {request.second.id})" if is_stop_all(request.key) and request.second else reason


def _yes(row: ControlRow, why: Why) -> Decision:
    return Decision(row=row, changed=True, recorded_only=False, why=why)


def _no(row: ControlRow, why: Why) -> Decision:
    return Decision(row=row, changed=False, recorded_only=True, why=why)

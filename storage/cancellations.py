"""What agents set up and what is to be cancelled in the CRM: each thing once a stop, with every attempt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from storage.link import Link
from storage.sql import insert, quoted
from storage.tables import cancellation

OPEN, CANCELLED = "asked", "cancelled"
_MOST_TRIES = 20
_NAMES = [column.name for column in cancellation.columns]
_PUT = insert(cancellation, or_ignore=True)
_DUE = (
    f"SELECT {quoted(_NAMES)} FROM cancellation WHERE state = 'asked' AND due_ms <= ? "  # noqa: S608 - our own names
    "ORDER BY due_ms, id LIMIT ?"
)
_OF_STOP = f"SELECT {quoted(_NAMES)} FROM cancellation WHERE key = ? AND since_ms = ?"  # noqa: S608
_AGAIN = (
    "UPDATE cancellation SET state = 'asked', attempts = 0, asked_ms = ?, due_ms = ?, done_ms = NULL, by_kind = ?, "
    "by_id = ?, reason = ? WHERE id = ? AND state IN ('refused', 'impossible', 'gave_up')"
)
_TAKE_OVER = (
    "UPDATE cancellation SET by_kind = ?, by_id = ?, reason = ? WHERE id = ? AND state = 'asked' AND by_kind <> 'human'"
)
_NOTE = (
    "UPDATE cancellation SET state = ?, attempts = attempts + 1, due_ms = ?, done_ms = ?, result = ?, tries = ? "
    "WHERE id = ? AND state = 'asked' AND attempts = ? AND asked_ms = ?"
)
_STOPPED = (
    "SELECT key, at_ms FROM control WHERE state = 'suspended' "
    "ORDER BY CASE WHEN agent_id = '*' THEN 0 ELSE 1 END, at_ms DESC LIMIT 1000"
)
_DONE = "SELECT action, object, record_id, effect_ms FROM cancellation WHERE key = ? AND state = 'cancelled'"
_HOLDS = "SELECT 1 FROM control WHERE key = ? AND state = 'suspended' AND at_ms = ?"


class Try(Struct, frozen=True):
    """One attempt: when, and what came of it. ``state``: later, or how it ended."""

    at_ms: int
    state: str
    text: str


class Cancellation(Struct, frozen=True, kw_only=True):
    """One thing that an agent set up before a stop (``since_ms``).

    ``state``: asked; or cancelled, refused (by the CRM), impossible (``result`` says why), gave_up (it never answered).
    ``attempts``: since it was last asked for; ``tries``: all, the oldest first. ``reviewed_by``: who approved it.
    """

    id: str
    key: str
    since_ms: int
    action: str
    object: str
    record_id: str
    effect_ms: int
    reviewed_by: str
    state: str
    attempts: int
    asked_ms: int
    due_ms: int
    done_ms: int | None
    by_kind: str
    by_id: str
    reason: str
    result: str
    tries: tuple[Try, ...] = ()


_tries = msgspec.json.Decoder(tuple[Try, ...])


def ask(link: Link, one: Cancellation) -> bool:
    """Keep that it is wanted; False when it was asked for before. What a person asks for again is tried again, and what
    Tripline asked for by itself and has not done yet is the person's from then on."""
    values = [getattr(one, name) for name in _NAMES]
    values[_NAMES.index("tries")] = "[]"
    if link.execute(_PUT, values).rowcount > 0:
        return True
    if one.by_kind != "human":
        return False
    again = (one.asked_ms, one.due_ms, one.by_kind, one.by_id, one.reason, one.id)
    if link.execute(_AGAIN, again).rowcount > 0:
        return True
    return link.execute(_TAKE_OVER, (one.by_kind, one.by_id, one.reason, one.id)).rowcount > 0


def due(link: Link, now_ms: int, most: int = 20) -> list[Cancellation]:
    """What is to be tried now, the longest waiting first."""
    return [_read(row) for row in link.execute(_DUE, (now_ms, most)).fetchall()]


def of_stop(link: Link, key: str, since_ms: int) -> list[Cancellation]:
    """All of a stop."""
    return [_read(row) for row in link.execute(_OF_STOP, (key, since_ms)).fetchall()]


def note(link: Link, one: Cancellation, made: Try, due_ms: int) -> Cancellation | None:
    """An attempt was made: ``later`` to be tried at ``due_ms``, else how it ended.

    None when another process has said so before, or it was asked for anew meanwhile; also when it was not possible as
    long as nobody had asked for it, and a person has now.
    """
    is_over = made.state != "later"
    state, done_ms = (made.state, made.at_ms) if is_over else (OPEN, None)
    tries = (*one.tries, made)[-_MOST_TRIES:]
    values = (
        state,
        due_ms,
        done_ms,
        made.text,
        msgspec.json.encode(tries).decode(),
        one.id,
        one.attempts,
        one.asked_ms,
    )
    where, more = (" AND by_kind = ?", (one.by_kind,)) if state == "impossible" else ("", ())
    if not link.execute(_NOTE + where, (*values, *more)).rowcount:
        return None
    return replace(
        one, state=state, attempts=one.attempts + 1, due_ms=due_ms, done_ms=done_ms, result=made.text, tries=tries
    )


def stopped(link: Link) -> list[tuple[str, int]]:
    """What is stopped, and since when: ``tenant/*`` where all are, and the newest of agents, a thousand in all."""
    return [(key, at_ms) for key, at_ms in link.execute(_STOPPED).fetchall()]


def holds(link: Link, keys: Iterable[str], since_ms: int) -> bool:
    """Whether the stop of that time, which is one of these keys', still lasts."""
    return any(link.execute(_HOLDS, (key, since_ms)).fetchone() is not None for key in keys)


def done(link: Link, key: str) -> set[tuple[str, str, str, int]]:
    """What was cancelled of an agent, after whichever stop: action, object, record and when it was set up."""
    return {(action, what, id_, at_ms) for action, what, id_, at_ms in link.execute(_DONE, (key,)).fetchall()}


def _read(row: Sequence[object]) -> Cancellation:
    fields = dict(zip(_NAMES, row, strict=True))
    return Cancellation(**{**fields, "tries": _tries.decode(str(fields["tries"]))})  # type: ignore[arg-type]

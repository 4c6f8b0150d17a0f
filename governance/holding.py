"""How far a stop has got: requested, enforced by n of m gates, seen to hold in the CRM, contained.

Silence is never containment: that nothing was seen says something only up to the newest change that every feed told of
after the stop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from events.times import DAY_MS

FEED_COUNTS_MS = 7 * DAY_MS
"""A system whose feed told nothing for so long, when the stop came, is not waited for."""
State = Literal["requested", "enforced", "verified", "contained", "leaking"]


class GateBeat(Struct, frozen=True, kw_only=True):
    """What a gate last said: when, the newest control decision that it obeys, and why it denies all writes."""

    gate: str
    at_ms: int
    obeys_ms: int
    trouble: str = ""


class FeedLife(Struct, frozen=True, kw_only=True):
    """The change feed of one system ("": not named): the newest change that it told of, and when it told that.

    ``lost_ms``: when it last said that it had lost changes. ``canary_…``: the record that is written to see it live.
    """

    system: str
    alive_ms: int
    heard_ms: int
    lost_ms: int | None = None
    canary_sent_ms: int | None = None
    canary_back_ms: int | None = None
    canary_error: str | None = None


class Pending(Struct, frozen=True, kw_only=True):
    """Something that the agent set up and that may still happen. ``reviewed_by``: who approved it, "" for nobody.

    ``state``: what came of cancelling it, "" when nobody asked for that; ``result``: in words. See
    ``storage.cancellations``.
    """

    at_ms: int
    action: str
    object: str
    record_id: str
    reviewed_by: str = ""
    state: str = ""
    result: str = ""


class StopFacts(Struct, frozen=True, kw_only=True):
    """What is known of a stop that lasts.

    ``stop_ms``: when it was caused; ``decided_ms``: when it was decided. ``gates`` is empty where one server is the
    gate and the authority. ``lease_actions``: what leases still allow, until ``lease_end_ms``. ``cancellations``: by
    state.
    """

    stop_ms: int
    decided_ms: int
    now_ms: int
    gates: Sequence[GateBeat] = ()
    feeds: Sequence[FeedLife] = ()
    leaked: int = 0
    in_flight: int = 0
    last_leaked_ms: int | None = None
    lease_actions: int = 0
    lease_end_ms: int | None = None
    pending: Sequence[Pending] = ()
    cancellations: Mapping[str, int] = {}


class Holding(Struct, frozen=True, kw_only=True):
    """How far a stop has got.

    ``state``: *leaking* when the CRM told of a change after the stop that no gate let pass. ``enforced_ms``: since when
    all gates that answer refuse; None = not all do. ``not_answering``: gates that were not heard of in time; they let
    nothing pass, since gates decide in the store. ``seen_to_ms``: up to when a change would have been seen; None = not
    every feed told of something after the stop, so nothing is known. ``waits_for``: why it is not contained, in words.
    ``cancellations``: what it had set up and was to be cancelled, how many by state.
    """

    state: State
    stop_ms: int
    gates: int
    enforced_by: int
    enforced_ms: int | None
    not_answering: list[str]
    seen_to_ms: int | None
    leaked: int
    in_flight: int
    last_leaked_ms: int | None
    lease_actions: int
    pending: list[Pending]
    cancellations: dict[str, int]
    waits_for: list[str]


def hold(facts: StopFacts, answer_ms: int) -> Holding:
    """How far a stop has got. ``answer_ms``: a gate that was not heard of for so long does not answer."""
    late = [gate for gate in facts.gates if facts.now_ms - gate.at_ms > answer_ms]
    answering = [gate for gate in facts.gates if gate not in late]
    obeying = [gate for gate in answering if gate.obeys_ms >= facts.decided_ms]
    is_alone = not facts.gates
    is_enforced = len(obeying) == len(answering)
    seen_to = seen_to_ms(facts)
    waits_for = list(_waits(facts, len(answering) - len(obeying), seen_to))
    state: State = "requested"
    if facts.leaked:
        state = "leaking"
    elif is_enforced:
        state = "enforced" if seen_to is None else "verified" if waits_for else "contained"
    return Holding(
        state=state,
        stop_ms=facts.stop_ms,
        gates=max(1, len(facts.gates)),
        enforced_by=1 if is_alone else len(obeying),
        enforced_ms=facts.decided_ms if is_enforced else None,
        not_answering=[gate.gate for gate in late],
        seen_to_ms=seen_to,
        leaked=facts.leaked,
        in_flight=facts.in_flight,
        last_leaked_ms=facts.last_leaked_ms,
        lease_actions=facts.lease_actions,
        pending=list(facts.pending),
        cancellations=dict(facts.cancellations),
        waits_for=waits_for,
    )


def seen_to_ms(facts: StopFacts) -> int | None:
    """Up to when every feed would have told of a change; None when one of them told of nothing after the stop.

    A feed that lost changes after the stop proves nothing of it any more.
    """
    oldest = facts.stop_ms - FEED_COUNTS_MS
    counted = [feed for feed in facts.feeds if feed.heard_ms > oldest or (feed.canary_sent_ms or 0) > facts.stop_ms]
    ends = [feed.alive_ms for feed in counted]
    if not ends or min(ends) <= facts.stop_ms or any(_has_gap(feed, facts) for feed in counted):
        return None
    return min(ends)


def _has_gap(feed: FeedLife, facts: StopFacts) -> bool:
    return feed.lost_ms is not None and feed.lost_ms > facts.stop_ms


def _waits(facts: StopFacts, behind: int, seen_to: int | None) -> list[str]:
    found = []
    if behind:
        found.append(f"{behind} of {len(facts.gates)} gates don't obey it yet")
    if facts.lease_actions:
        found.append(f"leases still allow {facts.lease_actions} operations")
    if facts.leaked:
        found.append(f"{facts.leaked} changes leaked")
    if seen_to is None:
        found.append(_unseen(facts))
    return found


def _unseen(facts: StopFacts) -> str:
    if not facts.feeds:
        return "no change feed of a CRM is connected"
    lost = [feed.system or "the CRM" for feed in facts.feeds if _has_gap(feed, facts)]
    if lost:
        return f"the feed of {', '.join(lost)} lost changes after the stop"
    quiet = [feed.system or "the CRM" for feed in facts.feeds if feed.alive_ms <= facts.stop_ms]
    return f"the feed of {', '.join(quiet) or 'the CRM'} has told of nothing since the stop"

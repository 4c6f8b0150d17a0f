"""The policy in force, inside an open transaction: what a file takes away, and what two people agree to add.

What narrows holds from the transaction on, for every gate on this store. What widens is asked for by one person, with
a reason and an end, and confirmed by another one; at its end the version before is back.
"""

from __future__ import annotations

from msgspec import Struct

from events.types import DEFAULT_TENANT
from governance import widening as pure
from governance.approvals import names_of
from governance.policy import Policy
from governance.policy.compare import Change, compare
from governance.policy.force import Force, narrowed, owners_of
from governance.widening import Decided, Why, Widening
from storage import policies as store
from storage import widenings
from storage.link import Link
from storage.policies import Standing
from streams.authority import Authority
from streams.widening import keep

POLICY_KEY = f"{DEFAULT_TENANT}/*policy"
"""What is locked while somebody changes which version is in force; no agent's key."""
MOST_LINES = 200
"""So many wider lines are kept with a request, the others as their number."""


class Wider(Struct, frozen=True, kw_only=True):
    """A person asks that a version be in force until ``until_ms``, with all that it adds."""

    policy: Policy
    by: str
    reason: str
    until_ms: int


def read(link: Link, known: Force | None = None) -> Force | None:
    """What is in force; None before the first policy. ``known``: what was read before, which is not read again."""
    found = store.standing(link, DEFAULT_TENANT)
    if found is None:
        return None
    if known is not None and found == _standing(known):
        return known
    return Force(
        base=store.version(link, found.base),
        wide=store.version(link, found.wide) if found.wide else None,
        until_ms=found.until_ms,
        change_id=found.change_id,
    )


def settle(authority: Authority, found: Policy, known: Force | None, *, is_start: bool, is_shared: bool) -> Force:
    """Take over what a version that was found in the files takes away; the first one of all is in force as it is.

    ``is_shared``: other consoles have files of their own. One of them that starts with a version which was known
    before (``is_start``) takes nothing away: its files may be behind.
    """
    force = read(authority.link, known)
    is_new = store.put_version(authority.link, found, "file", authority.now_ms)
    if force is None:
        return _put(authority, Force(base=found))
    if is_start and is_shared and not is_new:
        return force
    after = narrowed(force, found, authority.now_ms)
    return force if _standing(after) == _standing(force) else _put(authority, after)


def ask(authority: Authority, wanted: Wider, id_: str) -> Decided:
    """A first person's request; it waits for a second one, who sees these lines."""
    force = read(authority.link)
    base = force.base if force is not None else wanted.policy
    lines = [change for change in compare(base, wanted.policy) if change.direction == "widens"]
    asked = Widening(
        id=id_, kind="policy", key=POLICY_KEY, agent_id="*", detector="", until_ms=wanted.until_ms,
        reason=wanted.reason.strip(), by=wanted.by, asked_ms=authority.now_ms, subject=wanted.policy.hash,
        topic=base.hash, lines=in_words(lines), owners=tuple(owners_of(base, wanted.policy, lines)),
    )  # fmt: skip
    if not lines:
        return Decided(asked, Why.NOTHING_WIDER)
    store.put_version(authority.link, wanted.policy, "file", authority.now_ms)
    open_now = len(widenings.open_of(authority.link, POLICY_KEY, authority.now_ms))
    return keep(authority, pure.ask(asked, open_now))


def confirm(authority: Authority, id_: str, person: str) -> Decided | None:
    """A second person's word, and the version is in force. None: there is no such request."""
    asked = _find(authority.link, id_)
    if asked is None:
        return None
    names = names_of(authority.settings, person)
    owner = next((person for each in asked.owners if names & names_of(authority.settings, each)), "")
    decided = pure.confirm(asked, person, owner, authority.now_ms)
    if not decided.is_taken:
        return decided
    force = read(authority.link)
    if force is None or force.base.hash != asked.topic:
        return Decided(asked, Why.STALE)
    version = store.version(authority.link, asked.subject)
    _put(authority, Force(base=force.base, wide=version, until_ms=asked.until_ms, change_id=id_))
    return keep(authority, decided)


def end(authority: Authority, id_: str, person: str, reason: str) -> Decided | None:
    """One person takes it back: from now on the version before holds. None: there is no such request."""
    known = _find(authority.link, id_)
    if known is None:
        return None
    decided = pure.end(known, person, reason, authority.now_ms)
    force = read(authority.link)
    if decided.is_taken and force is not None and force.change_id == id_:
        _put(authority, Force(base=force.base))
    return keep(authority, decided)


def in_words(lines: list[Change]) -> tuple[str, ...]:
    """Wider lines as they are kept and shown."""
    told = [f"{change.path}: {change.words}" for change in lines[:MOST_LINES]]
    more = len(lines) - len(told)
    return (*told, f"and {more:,} more") if more else tuple(told)


def _find(link: Link, id_: str) -> Widening | None:
    found = widenings.find(link, id_)
    return found if found is not None and found.kind == "policy" else None


def _put(authority: Authority, force: Force) -> Force:
    for policy in (force.base, force.wide):
        if policy is not None:
            store.put_version(authority.link, policy, "both", authority.now_ms)
    store.put_standing(authority.link, DEFAULT_TENANT, _standing(force), authority.now_ms)
    authority.changed.add(("policy", POLICY_KEY))
    return force


def _standing(force: Force) -> Standing:
    return Standing(
        base=force.base.hash, wide=force.wide.hash if force.wide is not None else "", until_ms=force.until_ms,
        change_id=force.change_id,
    )  # fmt: skip

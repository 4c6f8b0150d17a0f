"""People who undo what agents wrote, inside an open transaction, shared by the runtimes.

What counts is ``governance.reverts``'s. Each time a person changes back or overwrites what an agent wrote, a record
(``tripline.system.revert.v1``) goes into the agent's input partition; the detector ``human_revert`` judges by that, so
a replay of the log judges as it was judged live. Why it is so: docs/adr/0019-people-who-undo-are-a-record.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xxhash import xxh3_128_hexdigest

from events.times import HOUR_MS
from events.types import ChangeEvent, Event, Revert, RevertEvent, tenant_of
from governance.containment import agent_of, effect_ms
from governance.reverts import Book, Found, is_by_a_person, record_of
from governance.settings_types import Settings
from storage import reverts as store
from storage.link import Link
from streams.authority import Authority
from streams.envelopes import envelope, split_key

DETECTOR = "human_revert"
LATE_MS = HOUR_MS
"""What the feed tells later than this may be history that is read again."""


def is_on(settings: Settings) -> bool:
    """Whether anybody judges by it."""
    return settings.detectors.get(DETECTOR, {}).get("is_enabled", True) is not False


def keys_of(link: Link, settings: Settings, events: Sequence[Event], known: Mapping[str, str]) -> set[str]:
    """The agents that these events are about: who wrote, and whose values people change."""
    if not is_on(settings):
        return set()
    changes = [event for event in events if type(event) is ChangeEvent]
    wrote = {f"{tenant_of(event)}/{by}" for event in changes if (by := agent_of(event.data.actor, known)) is not None}
    records = sorted({record_of(event) for event in changes if is_by_a_person(event, known)})
    return wrote | {value.key for value in store.values_of(link, records)}


def look(authority: Authority, events: Sequence[Event], known: Mapping[str, str]) -> bool:
    """Take events of the CRM's feed; whether something was said. ``known``: agents by their users in the CRM."""
    if not is_on(authority.settings):
        return False
    taken = [one for event in events if (one := _taken(authority, event, known)) is not None]
    if not taken or (store.is_empty(authority.link) and all(by is None for _, by in taken)):
        return False
    values = store.values_of(authority.link, sorted({record_of(event) for event, _ in taken}))
    keys = {value.key for value in values} | {f"{tenant_of(event)}/{by}" for event, by in taken if by is not None}
    if not keys:
        return False
    book = Book(values, store.counted_of(authority.link, sorted(keys)))
    has_said = False
    for event, by in taken:
        if by is not None:
            book.by_agent(event, by, authority.now_ms)
            continue
        for found in book.by_person(event, authority.now_ms):
            _say(authority, found)
            has_said = True
    store.write(authority.link, book.kept, book.gone, book.counted)
    return has_said


def _taken(authority: Authority, event: Event, known: Mapping[str, str]) -> tuple[ChangeEvent, str | None] | None:
    """A change by an agent (whom) or a person (None) that is not history."""
    if type(event) is not ChangeEvent or event.data.op == "gap":
        return None
    by = agent_of(event.data.actor, known)
    if by is None and not is_by_a_person(event, known):
        return None
    return (event, by) if authority.now_ms - effect_ms(event) < LATE_MS else None


def _say(authority: Authority, found: Found) -> None:
    change, data, agent_id = found.event, found.event.data, split_key(found.key)[1]
    said = Revert(
        agent_id=agent_id,
        object=data.object,
        record_id=data.record_id,
        kind=found.kind,
        by=data.actor.id,  # type: ignore[union-attr] # who is unknown is no person
        source=change.source,
        change_id=change.id,
        fields=list(found.fields),
        after_secs=found.after_ms // 1000,
        written=found.written,
    )
    id_ = xxh3_128_hexdigest(
        f"{authority.engine_id}\x1frevert\x1f{found.key}\x1f{change.source}\x1f{change.id}".encode()
    )
    authority.say(found.key, envelope(RevertEvent, authority.engine_id, id_, authority.now_ms, found.key, said))

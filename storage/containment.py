"""What the CRM told of agents that no gate let pass, the life of its feed, and what the gates obey."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from governance.containment import Admitted, Kind, SeenWrite
from governance.operation import canonical_contact, canonical_id
from storage.gate import Row
from storage.link import Link
from storage.sql import insert, quoted
from storage.tables import gate_decision, outside_write

_NAMES = [column.name for column in gate_decision.columns]
_ADMITTED = ("at_ms", "record_ids", "recipient_ids", "object")
_PLACES = [_NAMES.index(name) for name in _ADMITTED]
_KEY, _DECISION = map(_NAMES.index, ("key", "decision"))
_BETWEEN = (
    f"SELECT {quoted(_ADMITTED)} FROM gate_decision "  # noqa: S608 - names are our own
    "WHERE key = ? AND at_ms >= ? AND at_ms <= ? AND decision = 'allow' ORDER BY at_ms DESC LIMIT ?"
)
_MOST_ADMITTED = 50_000
_WRITE = insert(outside_write, or_ignore=True)
_COUNT = (
    "INSERT INTO outside_count (key, kind, since_ms, number, first_ms, last_ms) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (key, kind, since_ms) DO UPDATE SET number = outside_count.number + excluded.number, "
    "last_ms = CASE WHEN excluded.last_ms > outside_count.last_ms THEN excluded.last_ms "
    "ELSE outside_count.last_ms END"
)
_NUMBER = "SELECT number FROM outside_count WHERE key = ? AND kind = ? AND since_ms = ?"
_WAIT = "INSERT INTO unmatched_write (key, due_ms, body) VALUES (?, ?, ?)"
_DUE_KEYS = "SELECT DISTINCT key FROM unmatched_write WHERE due_ms <= ?"
_DUE = "SELECT id, body FROM unmatched_write WHERE due_ms <= ? AND key = ? ORDER BY due_ms, id LIMIT ?"
_CHANGES = "SELECT state, by_kind, decided_ms FROM control_history WHERE key = ? AND changed ORDER BY seq"
_HEARD = (
    "INSERT INTO crm_feed (tenant, system, alive_ms, heard_ms, gap_ms) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (tenant, system) DO UPDATE SET "
    "alive_ms = CASE WHEN excluded.alive_ms > crm_feed.alive_ms THEN excluded.alive_ms ELSE crm_feed.alive_ms END, "
    "heard_ms = CASE WHEN excluded.alive_ms > crm_feed.alive_ms THEN excluded.heard_ms ELSE crm_feed.heard_ms END, "
    "gap_ms = coalesce(excluded.gap_ms, crm_feed.gap_ms)"
)
_BEAT = (
    "INSERT INTO gate_beat (gate, at_ms, obeys_ms, trouble) "
    "SELECT ?, ?, coalesce(max(at_ms), 0), ? FROM control WHERE true "
    "ON CONFLICT (gate) DO UPDATE SET at_ms = excluded.at_ms, obeys_ms = excluded.obeys_ms, trouble = excluded.trouble"
)
_ALIVE = "SELECT alive_ms FROM crm_feed WHERE tenant = ? AND system = ?"
_CANARY = (
    "INSERT INTO crm_feed (tenant, system, alive_ms, heard_ms, canary_sent_ms, canary_error) VALUES (?, ?, 0, 0, ?, ?) "
    "ON CONFLICT (tenant, system) DO UPDATE SET canary_sent_ms = excluded.canary_sent_ms, "
    "canary_error = excluded.canary_error"
)
_writes = msgspec.json.Decoder(list[SeenWrite])
_ids = msgspec.json.Decoder(list[str])


def history(link: Link, key: str) -> list[tuple[str, str, int]]:
    """All changes of a control row, the oldest first: state, what sort of decider, when."""
    return link.execute(_CHANGES, (key,)).fetchall()


def admitted(link: Link, key: str, from_ms: int, to_ms: int) -> Iterator[Admitted]:
    """What an agent was let do between two times, both included; at most the newest 50,000."""
    for row in link.execute(_BETWEEN, (key, from_ms, to_ms, _MOST_ADMITTED)):
        yield _admitted(*row)


def admitted_in(rows: Iterable[Row], key: str) -> Iterator[Admitted]:
    """The same among decisions that are not filed yet."""
    for row in rows:
        if row[_KEY] == key and row[_DECISION] == "allow":
            yield _admitted(*[row[place] for place in _PLACES])


def keep(link: Link, kind: Kind, since_ms: int, writes: Sequence[SeenWrite], now_ms: int) -> tuple[int, int]:
    """Keep what was seen outside the gate, each event once: how many were new, and how many there are by now.

    ``since_ms``: the stop that they came after, or the ten minutes in which shadow writes are counted together.
    """
    new = 0
    for one in writes:
        values = (
            one.key, one.event_id, kind, one.agent_id, one.identity, now_ms, one.effect_ms, one.object,
            one.ids[0] if one.ids else "", one.op,
        )  # fmt: skip
        new += link.execute(_WRITE, values).rowcount
    if new:
        times = [one.effect_ms for one in writes]
        link.execute(_COUNT, (writes[0].key, kind, since_ms, new, min(times), max(times)))
    found = link.execute(_NUMBER, (writes[0].key, kind, since_ms)).fetchone()
    return new, int(found[0]) if found else 0


def wait(link: Link, key: str, due_ms: int, writes: Sequence[SeenWrite]) -> None:
    """Look for decisions on these again when they are due."""
    link.execute(_WAIT, (key, due_ms, msgspec.json.encode(writes).decode()))


def due_keys(link: Link, now_ms: int) -> list[str]:
    """Agents of which something is due."""
    return [key for (key,) in link.execute(_DUE_KEYS, (now_ms,))]


def take_due(link: Link, key: str, now_ms: int, most: int = 50) -> list[SeenWrite]:
    """What is due of an agent; it is taken out."""
    found = link.execute(_DUE, (now_ms, key, most)).fetchall()
    link.executemany("DELETE FROM unmatched_write WHERE id = ?", [(id_,) for id_, _ in found])
    return [one for _, body in found for one in _writes.decode(body)]


def heard(link: Link, tenant: str, system: str, alive_ms: int, now_ms: int, gap_ms: int | None = None) -> None:
    """The feed of a system told of a change at ``alive_ms``; ``gap_ms``: it says that it lost some."""
    link.execute(_HEARD, (tenant, system, alive_ms, now_ms, gap_ms))


def beat(link: Link, gate: str, now_ms: int, trouble: str) -> None:
    """A gate says that it is there; it obeys the newest control decision that it finds."""
    link.execute(_BEAT, (gate, now_ms, trouble))


def forget_gate(link: Link, gate: str) -> None:
    """A gate has ended as it should."""
    link.execute("DELETE FROM gate_beat WHERE gate = ?", (gate,))


def forget_gates(link: Link, before_ms: int) -> None:
    """Gates that were not heard of since a time are gone."""
    link.execute("DELETE FROM gate_beat WHERE at_ms < ?", (before_ms,))


def quiet_systems(link: Link, systems: Mapping[str, str]) -> list[tuple[str, str]]:
    """Tenants and names of those systems whose feed has told of nothing since the newest stop that lasts.

    ``systems``: by name, what the feed calls them.
    """
    found = []
    stops = "SELECT key, at_ms FROM control WHERE state = 'suspended'"
    newest: dict[str, int] = {}
    for key, at_ms in link.execute(stops).fetchall():
        tenant = key.partition("/")[0]
        newest[tenant] = max(newest.get(tenant, 0), at_ms)
    for tenant, at_ms in sorted(newest.items()):
        for name, system in sorted(systems.items()):
            alive = link.execute(_ALIVE, (tenant, system)).fetchone()
            if alive is None or alive[0] <= at_ms:
                found.append((tenant, name))
    return found


def canary_sent(link: Link, tenant: str, system: str, now_ms: int, error: str | None) -> None:
    """A canary was written, or could not be."""
    link.execute(_CANARY, (tenant, system, now_ms, error))


def canary_back(link: Link, tenant: str, system: str, now_ms: int) -> None:
    """A canary came back in the feed."""
    link.execute("UPDATE crm_feed SET canary_back_ms = ? WHERE tenant = ? AND system = ?", (now_ms, tenant, system))


def drop_before(link: Link, at_ms: int, most: int = 200) -> None:
    """Drop some of the oldest writes, counts and cancellations."""
    link.execute(
        "DELETE FROM outside_write WHERE (key, event_id) IN "
        "(SELECT key, event_id FROM outside_write WHERE at_ms < ? ORDER BY at_ms LIMIT ?)",
        (at_ms, most),
    )
    link.execute("DELETE FROM outside_count WHERE last_ms < ?", (at_ms,))
    link.execute(
        "DELETE FROM cancellation WHERE id IN "
        "(SELECT id FROM cancellation WHERE state <> 'asked' AND due_ms < ? ORDER BY due_ms LIMIT ?)",
        (at_ms, most),
    )


def _admitted(at_ms: int, record_ids: str | None, recipient_ids: str | None, what: str | None) -> Admitted:
    ids = {canonical_id(each) for each in (_ids.decode(record_ids) if record_ids else ())}
    ids |= {canonical_contact(each) for each in (_ids.decode(recipient_ids) if recipient_ids else ())}
    return Admitted(at_ms, frozenset(ids), what or "")

"""The outbox: each event waits once, and what became of it at each target is kept."""

from __future__ import annotations

from events.types import By
from governance.control import ControlRow
from storage import control, outbox
from storage.link import Link
from storage.outbox import Attempt, End, Hold
from storage.read import Reader
from storage.read.counts import oldest_unsent_ms

NOW_MS = 1_772_442_600_000


def put(link: Link, *ids: str) -> list[int]:
    for id_ in ids:
        control.put(link, id_, "control", "default/bot", NOW_MS - 5, NOW_MS, {"id": id_})
    return [row.seq for row in outbox.waiting(link)]


def test_an_event_waits_once_in_order_until_it_is_told(link: Link) -> None:
    first, second = put(link, "a", "b", "a")
    assert [(row.id, row.body) for row in outbox.waiting(link)] == [("a", '{"id":"a"}'), ("b", '{"id":"b"}')]
    assert [row.seq for row in outbox.waiting(link, first)] == [second]
    outbox.record(link, [End(seqs=(first,), state="sent", at_ms=NOW_MS + 9)])
    assert [row.seq for row in outbox.waiting(link)] == [second]
    assert [(row.id, done_ms) for row, done_ms in outbox.recently_told(link, NOW_MS)] == [("a", NOW_MS + 9)]
    assert outbox.recently_told(link, NOW_MS + 9) == []


def test_the_last_attempt_at_each_target_is_known_while_the_row_waits(link: Link) -> None:
    (seq,) = put(link, "a")
    tries = [
        Attempt(seqs=(seq,), target="chat", at_ms=NOW_MS, state="trying", attempts=1, next_try_ms=7, error="down"),
        Attempt(seqs=(seq,), target="chat", at_ms=NOW_MS + 1, state="sent", attempts=2, accepted_ms=NOW_MS + 2),
        Attempt(seqs=(seq,), target="mail", at_ms=NOW_MS, state="failed", attempts=12),
    ]
    outbox.record(link, tries)
    assert outbox.tried(link) == {(seq, "chat"): ("sent", 2), (seq, "mail"): ("failed", 12)}
    assert link.execute("SELECT attempts FROM outbox").fetchall() == [(3,)]
    outbox.record(link, [End(seqs=(seq,), state="failed", at_ms=NOW_MS, error="mail")])
    assert outbox.tried(link) == {}


def test_what_waits_for_a_digest_is_not_late_until_the_digest_has_come(link: Link, reader: Reader) -> None:
    link.execute("BEGIN")
    control.put(link, "n", "notification", "default/eva", NOW_MS, NOW_MS, {"id": "n"})
    (seq,) = [row.seq for row in outbox.waiting(link)]
    outbox.record(link, [Hold(seqs=(seq,), until_ms=NOW_MS + 5)])
    link.execute("COMMIT")
    assert [row.seq for row in outbox.waiting(link)] == [seq], "it is told after a restart, too"
    assert (oldest_unsent_ms(reader, NOW_MS + 4), oldest_unsent_ms(reader, NOW_MS + 5)) == (0, NOW_MS)
    link.execute("BEGIN")
    outbox.record(link, [Attempt(seqs=(seq,), target="chat", at_ms=0, state="trying", attempts=1, next_try_ms=1 << 50)])
    link.execute("COMMIT")
    assert oldest_unsent_ms(reader, NOW_MS) == NOW_MS, "an attempt that failed is"


def test_a_control_row_comes_back_as_it_was_stored(link: Link) -> None:
    row = ControlRow(
        key="default/bot", agent_id="bot", state="releasing", epoch=4, last_release_epoch=2, at_ms=NOW_MS,
        by=By("human", "maya"), reason="looked into it", finding_id=None, expires_ms=None,
    )  # fmt: skip
    control.store(link, row, 17)
    assert list(control.load(link)) == [(row, 17)]
    control.store(link, row, None)
    assert list(control.load(link)) == [(row, None)]

"""The log: what was appended is read back from any offset; it has no gaps; old segments go whole."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import log, snapshots
from storage.errors import StoreMismatch
from storage.link import Link

TOPIC = "agent.actions"


def fill(link: Link, sizes: list[int], topic: str = TOPIC) -> None:
    offset = 0
    for size in sizes:
        log.append(
            link,
            topic,
            offset,
            list(range(offset, offset + size)),
            [b"%d" % n for n in range(offset, offset + size)],
            b"",
        )
        offset += size


def test_an_empty_log_begins_at_zero(link: Link) -> None:
    assert log.bounds(link, TOPIC) == (0, 0)
    assert list(log.read(link, TOPIC)) == []
    assert log.last_at_ms(link, TOPIC) == 0


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 7), min_size=1, max_size=12), place=st.integers(0, 90))
def test_reading_from_any_offset_gives_the_rest(sizes: list[int], place: int) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute(
        "CREATE TABLE log_segment (topic, partition, base_offset INTEGER, count, first_at_ms, last_at_ms, format, blob, ids, "  # noqa: E501
        "PRIMARY KEY (topic, partition, base_offset))"
    )
    fill(connection, sizes)
    end = sum(sizes)
    expected = [(n, n, b"%d" % n) for n in range(min(place, end), end)]
    assert [(r.offset, r.at_ms, r.raw) for r in log.read(connection, TOPIC, place)] == expected
    one = log.read_one(connection, TOPIC, place)
    assert (one.raw if one else None) == (b"%d" % place if place < end else None)


def test_topics_do_not_mix(link: Link) -> None:
    fill(link, [3])
    fill(link, [1, 1], "crm.events")
    assert log.bounds(link, TOPIC) == (0, 3)
    assert log.bounds(link, "crm.events") == (0, 2)


def test_a_gap_is_never_read_over(link: Link) -> None:
    fill(link, [2, 2, 2])
    link.execute("DELETE FROM log_segment WHERE base_offset = 2")
    with pytest.raises(StoreMismatch, match="2 is missing, 4 follows"):
        list(log.read(link, TOPIC))


def test_a_segment_of_an_unknown_format_is_refused(link: Link) -> None:
    fill(link, [1])
    link.execute("UPDATE log_segment SET format = 7")
    with pytest.raises(StoreMismatch, match="format 7"):
        list(log.read(link, TOPIC))


def test_retention_takes_whole_old_segments_and_never_the_newest(link: Link) -> None:
    fill(link, [2, 2, 2])
    assert log.drop_before(link, TOPIC, at_ms=3, below_offset=6) == 1
    assert log.bounds(link, TOPIC) == (2, 6)
    assert log.drop_before(link, TOPIC, at_ms=100, below_offset=6) == 1
    assert log.bounds(link, TOPIC) == (4, 6)


def test_retention_keeps_what_a_recovery_would_read(link: Link) -> None:
    fill(link, [2, 2, 2])
    assert log.drop_before(link, TOPIC, at_ms=100, below_offset=3) == 1
    assert log.bounds(link, TOPIC) == (2, 6)


def test_an_older_state_that_comes_late_never_replaces_a_newer_one(link: Link) -> None:
    snapshots.save(link, "agents", "t1", [("default/a", 200, b"new")])
    snapshots.save(link, "agents", "t1", [("default/a", 150, b"zombie")])
    assert snapshots.load(link, "agents", "t1") == [snapshots.Kept("default/a", 200, b"new")]


def test_states_and_marks_of_another_topic_are_refused(link: Link) -> None:
    snapshots.save(link, "agents", "t1", [("default/a", 1, b"")])
    snapshots.mark(link, TOPIC, "t1", snapshots.Mark(5, 3, 9))
    assert snapshots.marked(link, TOPIC, "t1") == snapshots.Mark(5, 3, 9)
    with pytest.raises(StoreMismatch, match="made anew"):
        snapshots.load(link, "agents", "t2")
    with pytest.raises(StoreMismatch, match="belongs to topic t1"):
        snapshots.marked(link, TOPIC, "t2")


def test_a_state_that_is_forgotten_is_gone(link: Link) -> None:
    snapshots.save(link, "agents", "t1", [("default/a", 1, b"x"), ("default/b", 1, b"y")])
    snapshots.forget(link, "agents", ["default/a"])
    assert [kept.key for kept in snapshots.load(link, "agents", "t1")] == ["default/b"]

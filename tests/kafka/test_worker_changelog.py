"""Which snapshots a recovery takes: schedules that break a naive choice, without a broker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from events.codec import encode
from governance.settings import parse_settings
from streams.kafka.connect import KafkaProblem
from streams.kafka.worker.changelog import (
    PART_BYTES,
    Barrier,
    Reading,
    Recovered,
    barrier_key,
    encode_barrier,
    key_of,
    snapshot_records,
)
from streams.kafka.worker.desk import Desk
from streams.kafka.worker.recovery import make_lane
from streams.keyed import META_KEY
from streams.records import Partition, Snapshot
from streams.ticks import tick_event
from tests.kafka.records import FakeRecord

PLACE = Partition("main", "agent.actions", "id-1", 2)
A, B, C = b"term-aaa", b"term-bbb", b"term-ccc"


def state(term: bytes, number: int, key: str, next_offset: int, blob: bytes, topic_id: str = "id-1") -> Any:
    ((raw_key, value),) = snapshot_records(term, number, topic_id, Snapshot(key, next_offset, blob)).items()
    return raw_key, value, 0


def barrier(term: bytes, resume: int, **more: Any) -> Any:
    said = Barrier(
        engine_id="main", topic="agent.actions", topic_id="id-1", index=2, resume=resume, meta_next=resume,
        meta=f"meta {resume}".encode(), sent=0, fed={},
    )  # fmt: skip
    for name, value in more.items():
        setattr(said, name, value)
    return barrier_key(term), encode_barrier(said), 0


def read(*records: Any) -> Recovered:
    reading = Reading(PLACE, "agents-state")
    reading.take(records)
    return reading.finish()


def test_a_late_snapshot_of_an_owner_that_lost_the_partition_changes_nothing():
    """Schedule 1: A's (k, 150) and its barrier land after B's (k, 200)."""
    found = read(
        state(A, 1, "k", 100, b"100"), barrier(A, 100),
        state(B, 1, "k", 200, b"200"), barrier(B, 200),
        state(A, 2, "k", 150, b"150"), barrier(A, 150),
    )  # fmt: skip
    assert found.all_snapshots() == [Snapshot("k", 200, b"200"), Snapshot(META_KEY, 200, b"meta 200")]
    assert found.barrier is not None
    assert found.barrier.resume == 200
    assert {(one.keys, one.next_offset) for one in found.superseded} >= {
        ((key_of(A, 1, "k"),), 100),
        ((key_of(A, 2, "k"),), 150),
    }


def test_half_a_barrier_counts_for_nothing():
    """A crash between snapshots: what lies beyond the last barrier is judged again, from the older state."""
    found = read(
        state(A, 1, "k", 100, b"100"), state(A, 1, "j", 90, b"90"), barrier(A, 100),
        state(A, 2, "k", 180, b"180"),
    )  # fmt: skip
    assert found.snapshots == [Snapshot("k", 100, b"100"), Snapshot("j", 90, b"90")]
    assert found.barrier is not None
    assert found.barrier.resume == 100


def test_half_a_barrier_alone_is_no_state():
    found = read(state(A, 1, "k", 100, b"100"))
    assert found.barrier is None
    assert found.all_snapshots() == []
    assert [one.keys for one in found.superseded] == [(key_of(A, 1, "k"),)]


def test_tombstones_and_compaction_leave_the_same_choice():
    old, new = state(A, 1, "k", 100, b"100"), state(B, 1, "k", 200, b"200")
    whole = [old, barrier(A, 100), new, barrier(B, 200), (old[0], None, 0), (barrier_key(A), None, 0)]
    assert read(*whole).all_snapshots() == read(new, barrier(B, 200)).all_snapshots()
    assert read(*whole).superseded == read(new, barrier(B, 200)).superseded


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ((barrier(A, 100, topic_id="id-0"),), "made anew"),
        ((state(A, 1, "k", 100, b"", "id-0"), barrier(A, 100)), "made anew"),
        ((barrier(A, 100, engine_id="green"),), "engine green"),
        ((barrier(A, 100, index=1),), "partition 1"),
        ((barrier(A, 100, format=9),), "format 9"),
        (((barrier_key(A), b"\xc1", 0),), "can't be read"),
        (((b"other", b"x", 7),), "offset 7"),
    ],
)
def test_what_is_not_ours_is_refused_with_what_to_do(records: Any, said: str):
    with pytest.raises(KafkaProblem, match=said) as problem:
        read(*records)
    assert problem.value.advice


class Log:
    """Takes the place of a producer: each record is acknowledged when the test says so."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, asyncio.Future[None]]] = []

    async def send(self, topic: str, value: Any = None, key: Any = None, partition: Any = None, headers: Any = None):
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent.append((topic, key, future))
        return future

    def acknowledge(self) -> None:
        for _, _, future in self.sent:
            if not future.done():
                future.set_result(None)


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def desk_with(outputs: Log, states: Log) -> Desk:
    lane = make_lane(parse_settings(None, {}, {"kafka.partitions": 3}), Partition("main", "crm.events", "id-1", 0))
    desk = Desk(lane, read(), outputs, states, "p.")
    desk.take([FakeRecord(0, 60_000, encode(tick_event("main", 60_000)))])
    return desk


def test_snapshots_wait_for_outputs_and_the_barrier_for_the_snapshots():
    """Schedule 16: nothing is saved whose outputs are not acknowledged."""

    async def run() -> None:
        outputs, states = Log(), Log()
        desk = desk_with(outputs, states)
        saving = asyncio.create_task(desk.save())
        await turns()
        assert [topic for topic, _, _ in outputs.sent] == ["p.portfolio"] * 3
        assert states.sent == []
        outputs.acknowledge()
        await turns()
        assert [topic for topic, _, _ in states.sent] == ["p.deals-state"]
        assert desk.covered is None
        states.acknowledge()
        await saving
        assert desk.covered == 1

    asyncio.run(run())


def parts(term: bytes, number: int, key: str, next_offset: int, blob: bytes) -> list[Any]:
    made = snapshot_records(term, number, "id-1", Snapshot(key, next_offset, blob))
    assert len(made) == 3
    assert max(map(len, made.values())) <= PART_BYTES
    return [(raw_key, value, 0) for raw_key, value in made.items()]


def test_a_large_state_is_written_in_parts_and_comes_back_whole():
    old, new = bytes(2_500_000), b"x" * 2_500_000
    first, second = parts(A, 1, "k", 100, old), parts(B, 1, "k", 180, new)
    found = read(*first, barrier(A, 100), *reversed(second), barrier(B, 200))
    assert found.snapshots == [Snapshot("k", 180, new)]
    assert found.places["k"].keys == tuple(key for key, _, _ in second)
    assert (tuple(key for key, _, _ in first), 100) in {(one.keys, one.next_offset) for one in found.superseded}


def test_a_large_state_of_which_a_part_is_missing_counts_for_nothing():
    first, torn = parts(A, 1, "k", 100, bytes(2_500_000)), parts(B, 1, "k", 90, b"x" * 2_500_000)
    found = read(*first, *torn[1:], barrier(A, 100))
    assert found.snapshots == [Snapshot("k", 100, bytes(2_500_000))]
    assert (tuple(key for key, _, _ in torn[1:]), 90) in {(one.keys, one.next_offset) for one in found.superseded}


def test_a_large_state_of_the_partition_itself_is_that_of_its_barrier():
    mine, others = parts(B, 7, META_KEY, 200, b"m" * 2_500_000), parts(A, 7, META_KEY, 100, b"n" * 2_500_000)
    known = [*others, barrier(A, 100, meta=b"", meta_number=7), *mine, barrier(B, 200, meta=b"", meta_number=7)]
    assert read(*known).all_snapshots() == [Snapshot(META_KEY, 200, b"m" * 2_500_000)]
    with pytest.raises(KafkaProblem, match="own state is not there"):
        read(*mine[1:], barrier(B, 200, meta=b"", meta_number=7))

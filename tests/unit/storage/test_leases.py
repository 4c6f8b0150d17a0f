"""Leases, what is not settled of them, and drills: the same on SQLite and PostgreSQL."""

from __future__ import annotations

from governance.drills import DrillResult, spread
from governance.lease_types import Lease, LeaseAsk
from governance.operation import describe
from storage import drills, leases
from storage.link import Link
from storage.read import Reader

KEY = "default/bot"
NOW_MS = 1_772_442_600_000


def a_lease(id_: str = "l1", request_id: str = "q1", end_ms: int = NOW_MS + 5_000) -> Lease:
    ask = LeaseAsk(agent_id="bot", actions=["record.update"], request_id=request_id, object="Lead")
    return Lease(
        lease_id=id_, ask=ask, is_write=True, epoch=1, stop_epoch=0, action_limit=25, record_limit=25,
        granted_ms=NOW_MS, end_ms=end_ms,
    )  # fmt: skip


def an_update(*ids: str) -> tuple[str, object]:
    return "record.update", describe("record.update", ids, {}, ())


def test_a_lease_comes_back_as_it_was_stored_and_is_held_until_it_is_given_back(link: Link, reader: Reader) -> None:
    first, second = a_lease(), a_lease("l2", "q2", NOW_MS + 1)
    leases.store(link, first)
    leases.store(link, second)
    assert leases.find(link, "l1") == first
    assert leases.find(link, "l9") is None
    assert {one.lease_id for one in leases.held(link, KEY, NOW_MS)} == {"l1", "l2"}
    assert [one.lease_id for one in leases.held(link, KEY, NOW_MS + 1)] == ["l1"]
    assert leases.held(link, "default/other", 0) == []
    leases.store(link, Lease(**{**_fields(first), "returned_ms": NOW_MS}))
    assert [one.lease_id for one in leases.held(link, KEY, NOW_MS)] == ["l2"]
    assert [one.lease_id for one in reader.leases(None, 9)] == ["l1", "l2"]


def _fields(one: Lease) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__struct_fields__}


def test_a_request_for_a_lease_is_found_again(link: Link) -> None:
    leases.store(link, a_lease())
    found = leases.asked_before(link, KEY, "q1")
    assert found is not None
    assert found[0].lease_id == "l1"
    assert leases.asked_before(link, KEY, "q2") is None
    assert leases.asked_before(link, "default/other", "q1") is None


def test_what_is_owed_is_what_has_no_outcome_or_no_judgement(link: Link) -> None:
    lease = a_lease()
    leases.add_debits(link, lease, [(1, *an_update("a")), (2, *an_update("b", "c"))], NOW_MS)  # type: ignore[list-item]
    leases.add_debits(link, lease, [(3, *an_update("d"))], NOW_MS + 10)  # type: ignore[list-item]
    assert leases.owed(link, KEY, NOW_MS + 20, NOW_MS + 20).unreported_ms == NOW_MS
    leases.add_outcomes(link, "l1", [1, 2], NOW_MS + 20)
    owed = leases.owed(link, KEY, NOW_MS + 20, NOW_MS - 1)
    assert (owed.unreported_ms, owed.unjudged_ms) == (NOW_MS + 10, NOW_MS)
    assert leases.take_settled(link, "l1", NOW_MS - 1) == (0, 0)
    assert leases.take_settled(link, "l1", NOW_MS + 20) == (2, 3)
    assert leases.take_settled(link, "l1", NOW_MS + 20) == (0, 0)
    assert list(leases.debits(link, "l1")) == [3]
    assert leases.owed(link, KEY, NOW_MS + 10 + 86_400_000, 0).unreported_ms is None


def test_a_person_may_override_for_a_while(link: Link) -> None:
    leases.override(link, KEY, NOW_MS, NOW_MS + 60_000, "maya", "the host crashed")
    assert leases.overridden_until(link, KEY, NOW_MS + 59_999) == NOW_MS + 60_000
    assert leases.overridden_until(link, KEY, NOW_MS + 60_000) == 0
    assert leases.overridden_until(link, "default/other", NOW_MS) == 0


def test_the_oldest_leases_go_with_what_was_never_settled(link: Link) -> None:
    old, young = a_lease(f"{NOW_MS:012x}-a"), a_lease(f"{NOW_MS + 9:012x}-b", "q2")
    for one in (old, young):
        leases.store(link, one)
        leases.add_debits(link, one, [(1, *an_update("a"))], NOW_MS)  # type: ignore[list-item]
    leases.drop_before(link, NOW_MS + 5)
    assert leases.find(link, old.lease_id) is None
    assert leases.debits(link, old.lease_id) == {}
    assert leases.find(link, young.lease_id) == young
    assert list(leases.debits(link, young.lease_id)) == [1]


def a_drill(id_: str, at: str) -> DrillResult:
    none = spread([])
    return DrillResult(
        id=id_, at=at, by="maya", scenario="kill_switch", trips=3, gates=1, has_partition=False, rate_per_sec=50,
        credits=0, ttl_ms=5_000, report_ms=250, exceeded=0, failed=0, admitted_after=spread([0, 1, 0]),
        bound=spread([1]), detect_ms=none, contain_ms=none, verify_ms=none,
    )  # fmt: skip


def test_drills_are_kept_once_and_come_back_the_newest_first(link: Link, reader: Reader) -> None:
    first, last = a_drill("a", "2026-11-23T10:00:00Z"), a_drill("b", "2026-11-23T11:00:00Z")
    for one in (last, first, first):
        drills.put(link, one)
    assert reader.drills(5) == [last, first]
    assert reader.drills(1) == [last]

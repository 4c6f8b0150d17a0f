"""What one console does for all, and who does it when that one is gone."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from storage.postgres.link import lock_number
from streams.kafka.office.runtime import OfficeRuntime
from tests.kafka.deciding import Offices, by_person, now_ms
from tests.kafka.working import until

HELD = "FROM pg_locks WHERE locktype = 'advisory' AND classid = ?::bigint::oid AND objid = ?::bigint::oid"
NUMBER = lock_number("tripline: lead") % (1 << 64)


def leaders(offices: Offices) -> list[OfficeRuntime]:
    return [one for one in offices.opened if one.is_leading]


def holder(offices: Offices) -> Any:
    """Which of the server's processes holds the leader's lock; 0 = none."""
    return offices.one(f"SELECT coalesce(max(pid), 0) {HELD}", NUMBER >> 32, NUMBER & 0xFFFFFFFF)


def throttle(offices: Offices, agent: str) -> None:
    """A person slows an agent down for half a second."""
    wanted = replace(by_person(agent, "throttled", 0), expires_ms=now_ms() + 500)
    assert offices.opened[-1].control(wanted).result(5).row.state == "throttled"


def test_a_throttle_ends_once_and_people_are_told_once(offices: Offices):
    offices.open()
    offices.open()
    until(lambda: len(leaders(offices)) == 1, "one of them leads", 10)
    throttle(offices, "bot")
    until(lambda: offices.state() == "active", "the throttle has ended", 10)
    row = offices.row()
    assert row is not None
    assert (row.epoch, row.reason) == (2, "the throttle's time is over")
    offices.opened[1].control(by_person("rogue", "suspended", 0)).result(5)
    told = "SELECT count(*) FROM outbox WHERE state = 'sent'"
    until(lambda: offices.one(told) == 2, "people were told of the throttle and of the stop", 15)
    assert offices.one("SELECT count(*) FROM notification") == 2
    until(lambda: [control.state for _, control in offices.controls()] == ["throttled", "active"], "it is published")


def test_another_one_leads_when_the_leader_loses_its_connection_or_goes(offices: Offices):
    offices.open()
    until(lambda: len(leaders(offices)) == 1, "it leads", 10)
    offices.open()
    lost = holder(offices)
    assert offices.one("SELECT pg_terminate_backend(?::int)", lost)
    until(lambda: holder(offices) not in (0, lost), "somebody holds the lock again", 10)
    until(lambda: len(leaders(offices)) == 1, "one of them leads", 10)
    (leader,) = leaders(offices)
    (other,) = [one for one in offices.opened if one is not leader]
    leader.close()
    offices.opened.remove(leader)
    until(lambda: leaders(offices) == [other], "the other one leads", 10)
    throttle(offices, "rogue")
    until(lambda: offices.state("rogue") == "active", "throttles end still", 10)

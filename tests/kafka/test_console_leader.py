"""What one console does for all, and who does it when that one is gone."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from governance.effects import Effect
from governance.settings_containment import CredentialSettings
from storage.postgres.link import lock_number
from storage.sql import insert_many
from storage.tables import action
from streams import cancelling, levers
from streams.kafka.office.runtime import OfficeRuntime
from tests.kafka.deciding import Offices, by_person, now_ms, settings_with
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


CRM = """
[containment]
canary_secs = 3600
[crm.hub]
kind = "hubspot"
url = "https://api.example"
token = "ours"
cancel_on_stop = true
[credentials.app]
agent = "bot"
crm = "hub"
lever = "delete_refresh_token"
token = "theirs"
"""


class Crm:
    """What one console asks of the CRM."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def take_away(self, credential: CredentialSettings) -> str:
        self.asked.append("revoke")
        return "deleted"

    def cancel(self, effect: Effect, at_ms: int) -> str:
        self.asked.append(f"{effect.kind} {effect.record_id}")
        return "deleted"


def meeting(offices: Offices, record: str) -> None:
    """The agent has scheduled a meeting, as the sinks write it down."""
    at_ms = now_ms()
    values = {
        "key": "default/bot", "at_ms": at_ms, "offset": int(record), "effect_ms": at_ms, "agent_id": "bot",
        "kind": "report", "action": "meeting.schedule", "object": "meetings", "record_ids": f'["{record}"]',
        "outcome": "ok", "records": 1, "recipients": 0, "is_external": False, "source": "/a", "event_id": record,
    }  # fmt: skip
    insert_many(offices.store(), action, [tuple(values.get(column.name) for column in action.columns)])


def test_the_leader_alone_reaches_the_crms_and_the_next_one_goes_on(
    offices: Offices, monkeypatch: pytest.MonkeyPatch
) -> None:
    crms: list[Crm] = []

    def open_crm(_: Any) -> dict[str, Crm]:
        crms.append(Crm())
        return {"hub": crms[-1]}

    monkeypatch.setattr("streams.crm.open.crms", open_crm)
    monkeypatch.setattr("streams.crm.open.cancellers", lambda _: {"hub": crms[-1]})
    for module in (levers, cancelling):
        monkeypatch.setattr(module, "_LOOK_SECS", 0.05)
    settings = settings_with(offices.settings.kafka, offices.settings.store.url, text=CRM)
    bot = replace(settings.agents["bot"], crm_user="user:55")
    offices.settings = replace(settings, agents={**settings.agents, "bot": bot})
    one, two = offices.open(), offices.open()
    until(lambda: len(leaders(offices)) == 1, "one of them leads", 10)
    leader, other = (one, two) if one.is_leading else (two, one)
    theirs = dict(zip(offices.opened, crms, strict=True))

    def ask() -> list[str]:
        return other.decide(
            "default/bot", lambda authority: levers.ask(authority, "default/bot", "human", "maya", "it leaks")
        ).result(10)

    meeting(offices, "70")
    assert ask() == ["app"]
    other.control(by_person("bot", "suspended", 0)).result(10)
    until(lambda: offices.one("SELECT count(*) FROM revocation WHERE state = 'done'") == 1, "it is taken away", 20)
    done = "SELECT count(*) FROM cancellation WHERE state = 'cancelled'"
    until(lambda: offices.one(done) == 1, "what it had set up is cancelled", 20)
    assert sorted(theirs[leader].asked) == ["meeting 70", "revoke"]
    assert theirs[other].asked == []

    leader.close()
    leader.store.close()
    offices.opened.remove(leader)
    meeting(offices, "71")
    assert ask() == ["app"]
    until(lambda: offices.one("SELECT count(*) FROM revocation WHERE state = 'done'") == 2, "the next one does it", 20)
    until(lambda: offices.one(done) == 2, "it goes on with what is found later", 20)
    assert sorted(theirs[other].asked) == ["meeting 71", "revoke"]
    assert len(theirs[leader].asked) == 2

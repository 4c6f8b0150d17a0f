"""Does a stop hold in the CRM: leaked actions, shadow writes, and what was in flight."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from events.times import format_ms
from events.types import ActionEvent, Actor, AgentAction, ChangeEvent, CrmChange
from governance.effects import Effect
from governance.gate import GateRequest
from governance.holding import Pending
from governance.settings_containment import CredentialSettings
from storage.cancellations import of_stop
from storage.read.containment import pending
from storage.read.store import open_engine, reading
from streams import cancelling, levers
from streams.crm.ports import CrmFailed
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.standalone.test_runtime import rows

Start = Callable[..., Runtime]
BOT = Actor("agent", "bot")
TOML = """
[agents.bot]
actions = ["record.*"]
crm_user = "user:005B9"
[agents.lender]
actions = ["record.*"]
lease_actions = 5
lease_records = 5
"""


def change(
    at_ms: int,
    id_: str,
    record: str = "r1",
    who: Actor = BOT,
    **more: Any,
) -> ChangeEvent:
    data = CrmChange(object="Lead", record_id=record, op=more.pop("op", "update"), actor=who, **more)
    return ChangeEvent(specversion="1.0", id=id_, source="/crm", time=format_ms(at_ms), data=data)


def tell(runtime: Runtime, *events: ChangeEvent) -> None:
    runtime.ingest([(b"", event) for event in events]).result(10)


def admit(runtime: Runtime, record: str, agent: str = "bot") -> str:
    request = GateRequest(agent_id=agent, action="record.update", object="Lead", record_ids=[record])
    return runtime.check(request).result(10).decision


def outside(runtime: Runtime) -> list[tuple[Any, ...]]:
    return rows(runtime, "SELECT kind, agent_id, record_id FROM outside_write ORDER BY effect_ms, record_id")


def findings(runtime: Runtime) -> list[tuple[str, str]]:
    return rows(runtime, "SELECT severity, summary FROM finding WHERE detector = 'gate' ORDER BY at_ms, id")


def test_a_change_after_the_stop_is_leaked_once_and_told(start: Start, clock: ManualClock) -> None:
    runtime = start(toml=TOML)
    now = clock.now_ms()
    tell(runtime, change(now - 1, "before"))
    runtime.suspend("bot", "maya", "look").result(10)
    clock.move(2_000)
    user = Actor("human", "user:005B9")
    tell(runtime, change(now - 5, "old", "r2"), change(now + 1_000, "one"), change(now + 1_500, "two", "r3", user))
    tell(runtime, change(now + 1_000, "one"), change(now + 1_000, "jo", "r4", Actor("human", "jo")))
    assert outside(runtime) == [("leaked", "bot", "r1"), ("leaked", "bot", "r3")]
    (found,) = findings(runtime)
    assert found[0] == "critical"
    assert "after it was stopped: 2 so far, such as update of Lead r1" in found[1]
    told = rows(runtime, "SELECT body FROM outbox WHERE kind = 'notification' AND body LIKE '%finding%'")
    assert len([body for (body,) in told if "after it was stopped" in body]) == 1
    assert runtime.status().counts["outside_write.leaked"] == 2


def test_what_was_admitted_before_the_stop_was_in_flight(start: Start, clock: ManualClock) -> None:
    runtime = start(toml=TOML)
    assert admit(runtime, "r1") == "allow"
    clock.move(1_000)
    runtime.suspend("bot", "maya", "look").result(10)
    clock.move(1_000)
    tell(runtime, change(clock.now_ms(), "late"), change(clock.now_ms(), "other", "r2"))
    assert outside(runtime) == [("in_flight", "bot", "r1"), ("leaked", "bot", "r2")]


def test_what_comes_out_after_the_release_is_leaked_when_it_was_done_before(start: Start, clock: ManualClock) -> None:
    runtime = start(toml=TOML)
    runtime.suspend("bot", "maya", "look").result(10)
    stopped = clock.now_ms()
    clock.move(60_000)
    row: Any = runtime.call(lambda round_: round_.row_of("default/bot")).result(10)
    runtime.release("bot", row.epoch, "maya", "looked").result(10)
    clock.move(60_000)
    tell(runtime, change(stopped + 30_000, "late"), change(clock.now_ms(), "new", "r2"))
    assert outside(runtime) == [("leaked", "bot", "r1")]


def test_a_change_without_a_decision_is_a_shadow_write_after_the_grace_period(start: Start, clock: ManualClock) -> None:
    runtime = start(toml=TOML)
    now = clock.now_ms()
    tell(runtime, change(now, "asked"), change(now, "unasked", "r2"), change(now, "x", "r3", Actor("agent", "nobody")))
    tell(runtime, change(now - 2 * 3_600_000, "history", "r5"))
    clock.move(30_000)
    assert admit(runtime, "r1") == "allow"  # as a lease's report, which comes after the change
    runtime.tick().result(10)
    assert outside(runtime) == []
    clock.move(30_000)
    runtime.tick().result(10)
    assert outside(runtime) == [("shadow", "bot", "r2")]
    ((severity, summary),) = findings(runtime)
    assert (severity, "without a decision of the gate: 1 in ten minutes" in summary) == ("warning", True)
    runtime.tick().result(10)
    assert len(outside(runtime)) == 1


def test_who_has_leases_is_called_leaking_only_when_no_report_came(start: Start, clock: ManualClock) -> None:
    runtime = start(toml=TOML)
    runtime.suspend("lender", "maya", "look").result(10)
    clock.move(100)
    tell(runtime, change(clock.now_ms(), "one", "r1", Actor("agent", "lender")))
    assert outside(runtime) == []
    clock.move(60_000)
    runtime.tick().result(10)
    assert outside(runtime) == [("leaked", "lender", "r1")]


def test_the_feeds_life_is_the_newest_time_it_told_of_and_never_ahead(start: Start, clock: ManualClock) -> None:
    runtime = start(toml=TOML)
    now, jo = clock.now_ms(), Actor("human", "jo")
    tell(runtime, change(now - 5_000, "a", who=jo, system="sf"), change(now + 60_000, "b", who=jo, system="hub"))
    clock.move(1_000)
    tell(runtime, change(now - 9_000, "c", who=jo, system="sf"), change(now, "d", who=jo, system="hub", op="gap"))
    feeds = rows(runtime, "SELECT system, alive_ms, heard_ms, gap_ms FROM crm_feed ORDER BY system")
    assert feeds == [("hub", now, now, now + 1_000), ("sf", now - 5_000, now, None)]


LEVERS = (
    TOML
    + """
[containment]
revoke_on_leak = true
canary_secs = 1
[crm.sf]
kind = "salesforce"
url = "https://acme.example"
token = "ours"
canary_object = "Task"
canary_record = "00T1"
canary_field = "Description"
[credentials.bot-sf]
agent = "bot"
crm = "sf"
lever = "freeze_user"
user = "005B9000001abcd"
"""
)


class FakeCrm:
    """Fails as often as it is told."""

    def __init__(self) -> None:
        self.failures = 1
        self.taken: list[str] = []
        self.canaries: list[str] = []

    def write_canary(self, value: str) -> None:
        self.canaries.append(value)

    def take_away(self, credential: CredentialSettings) -> str:
        if self.failures:
            self.failures -= 1
            raise CrmFailed("to freeze the user at sf: 401; renew it")
        self.taken.append(credential.user)
        return "user frozen"


def until(is_true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def test_the_next_lever_is_pulled_once_by_itself_and_again_when_a_person_asks(
    start: Start, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = FakeCrm()
    monkeypatch.setattr("streams.crm.open.crms", lambda settings: {"sf": crm})
    monkeypatch.setattr(levers, "_LOOK_SECS", 0.02)
    runtime = start(toml=LEVERS)
    runtime.suspend("bot", "maya", "look").result(10)
    until(lambda: crm.canaries, "a canary is written while the feed is silent")
    clock.move(1_000)
    user = Actor("human", "user:005B9")
    tell(runtime, change(clock.now_ms(), "canary", "00T1", user, system="sf"))
    back = rows(runtime, "SELECT alive_ms, canary_back_ms, canary_error FROM crm_feed WHERE system = 'sf'")
    assert back == [(clock.now_ms(), clock.now_ms(), None)]
    assert outside(runtime) == []

    def states() -> list[tuple[str, str]]:
        return rows(runtime, "SELECT state, by_kind FROM revocation ORDER BY asked_ms, id")

    for number in range(3):
        tell(runtime, change(clock.now_ms(), f"leak-{number}", "r1"))
        until(lambda: states() == [("failed", "detector")], "it is tried once")
    said = [
        text for severity, text in findings(runtime) if "could NOT be taken away" in text and severity == "critical"
    ]
    assert len(said) == 1
    clock.move(1_000)
    asked = runtime.decide("default/bot", lambda round_: levers.ask(round_, "default/bot", "human", "maya", "stop it"))
    assert asked.result(10) == ["bot-sf"]
    until(lambda: states() == [("failed", "detector"), ("done", "human")], "it is tried again")
    assert crm.taken == ["005B9000001abcd"]
    until(lambda: runtime.status().counts.get("revocation.done") == 1, "it is counted")


CANCELS = """
[agents.bot]
actions = ["*"]
crm_user = "user:0055g00000abcde"
[crm.sf]
kind = "salesforce"
url = "https://acme.example"
token = "ours"
cancel_on_stop = true
"""
FIRST, SECOND, LEAD, RULE = "00U5g00000abcde", "00U5g00000abcdf", "00Q5g00000abcde", "03d5g00000abcde"


class FakeCancels:
    """Fails as it is told, by record; what it is not told of is cancelled."""

    def __init__(self) -> None:
        self.failures = {
            FIRST: [CrmFailed("to delete the meeting at sf: 503", is_passing=True, wait_secs=0.5)],
            LEAD: [CrmFailed("to take it out at sf: 403", status=403)],
        }
        self.asked: list[str] = []

    def cancel(self, effect: Effect, now_ms: int) -> str:
        self.asked.append(effect.record_id)
        if self.failures.get(effect.record_id):
            raise self.failures[effect.record_id].pop()
        return "done"


def set_up(runtime: Runtime, at_ms: int, action: str, what: str, record: str, reviewed_by: str | None = None) -> None:
    """The agent says that it has set something up."""
    data = AgentAction(
        agent_id="bot", action=action, object=what, record_ids=[record], outcome="ok", reviewed_by=reviewed_by
    )  # fmt: skip
    event = ActionEvent(specversion="1.0", id=f"did-{record}", source="/bot", time=format_ms(at_ms), data=data)
    runtime.ingest([(b"", event)]).result(10)


def test_a_stop_cancels_what_the_agent_had_set_up_and_a_person_may_ask_again(
    start: Start, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = FakeCancels()
    monkeypatch.setattr("streams.crm.open.cancellers", lambda settings: {"sf": crm})
    monkeypatch.setattr(cancelling, "_LOOK_SECS", 0.02)
    runtime = start(toml=CANCELS)
    now = clock.now_ms()
    set_up(runtime, now, "meeting.schedule", "Event", FIRST)
    set_up(runtime, now, "meeting.schedule", "Event", SECOND, "maya")
    set_up(runtime, now, "sequence.enroll", "Lead", LEAD)
    set_up(runtime, now, "record.create", "ValidationRule", RULE)
    engine = open_engine(runtime.store.path)

    def found() -> list[Pending]:
        with reading(engine) as connection:
            return pending(connection, "default/bot", now)

    until(lambda: len(found()) == 4, "what it did is in the tables")
    clock.move(1_000)
    assert crm.asked == []
    runtime.suspend("bot", "maya", "look").result(10)
    since = rows(runtime, "SELECT at_ms FROM control WHERE key = 'default/bot'")[0][0]

    def states() -> dict[str, str]:
        return dict(rows(runtime, "SELECT record_id, state FROM cancellation"))

    wanted = {FIRST: "asked", SECOND: "impossible", LEAD: "refused", RULE: "impossible"}

    until(lambda: states() == wanted and FIRST in crm.asked, "each is tried")
    clock.move(2_500)
    until(lambda: states()[FIRST] == "cancelled", "what passes is tried again")
    asked_of_crm = sorted(crm.asked)
    assert asked_of_crm == sorted([FIRST, FIRST, LEAD])
    kept = {one.record_id: one for one in runtime.call(lambda r: of_stop(r.link, "default/bot", since)).result(10)}
    assert [each.state for each in kept[FIRST].tries] == ["later", "cancelled"]
    assert "maya approved it" in kept[SECOND].result
    said = [text for _, text in findings(runtime) if "things that it had set up" in text]
    assert said == [
        "of 4 things that it had set up, 1 were cancelled in the CRM; see to the others: 1 refused, 2 not possible"
    ]

    clock.move(1_000)
    by_maya = runtime.decide(
        "default/bot",
        lambda round_: cancelling.ask(round_, "default/bot", since, found(), "human", "maya", "all of it"),
    )
    assert by_maya.result(10) == 3  # one is cancelled already
    wanted = {FIRST: "cancelled", SECOND: "cancelled", LEAD: "cancelled", RULE: "impossible"}
    until(lambda: states() == wanted, "a person's word lets the approved one go, too")
    assert sorted(crm.asked) == sorted([*asked_of_crm, SECOND, LEAD])
    until(lambda: runtime.status().counts.get("cancellation.cancelled") == 3, "it is counted")
    engine.dispose()


@pytest.mark.parametrize("stopped", ["*", "boss", "twin"])
def test_a_stop_that_is_the_agents_too_cancels_what_it_had_set_up(
    start: Start, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    crm = FakeCancels()
    monkeypatch.setattr("streams.crm.open.cancellers", lambda settings: {"sf": crm})
    monkeypatch.setattr(cancelling, "_LOOK_SECS", 0.02)
    monkeypatch.setattr(cancelling, "_FIND_AGAIN_MS", 0)
    more = 'parent = "boss"\ncredential = "one"\n'
    others = '[agents.boss]\nactions = ["*"]\n[agents.twin]\nactions = ["*"]\ncredential = "one"\n'
    runtime = start(toml=CANCELS.replace("[crm.sf]", f"{more}{others}[crm.sf]"))
    set_up(runtime, clock.now_ms(), "meeting.schedule", "Event", SECOND)
    runtime.suspend("stranger", "maya", "look").result(10)
    clock.move(1_000)
    assert crm.asked == []
    runtime.suspend(stopped, "maya", "look").result(10)

    def states() -> list[tuple[str, str, str]]:
        return rows(runtime, "SELECT key, record_id, state FROM cancellation")

    done = [("default/bot", SECOND, "cancelled")]
    until(lambda: states() == done, "the CRM is asked for it, though the agent has no stop of its own")
    clock.move(1_000)
    runtime.suspend("bot", "maya", "its own, now").result(10)
    time.sleep(0.3)
    assert (states(), crm.asked) == (done, [SECOND]), "what was cancelled after another stop is not asked for again"

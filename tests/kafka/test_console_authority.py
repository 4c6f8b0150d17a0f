"""The control authority of consoles on Kafka: findings in, decisions out, whoever dies in between."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

from events.codec import decode, encode
from events.times import DAY_MS, HOUR_MS, format_ms
from events.types import DeadLetterEvent, MuteEvent
from governance.widening import Widening
from streams import widening
from streams.kafka.partition import partition_of
from tests.kafka.deciding import Offices, a_finding, by_person, counted, now_ms
from tests.kafka.working import until


def test_a_finding_that_asks_for_it_suspends_and_is_published_to_both_topics(offices: Offices):
    offices.open()
    offices.find("f-1")
    until(lambda: offices.state() == "suspended", "it is suspended", 20)
    row = offices.row()
    assert row is not None
    assert (row.epoch, row.by.id, row.finding_id) == (1, "action_rate", "f-1")
    counted(1, lambda: len(offices.controls()), "the decision is published")
    counted(1, lambda: len(offices.controls("agent.actions")), "and lies in the agent's input")
    (published,), (judged,) = offices.controls(), offices.controls("agent.actions")
    assert published == judged
    assert published[0] == "control:default/bot:1"
    assert (published[1].state, published[1].epoch, published[1].finding_id) == ("suspended", 1, "f-1")
    until(lambda: offices.one("SELECT count(*) FROM publication") == 0, "nothing is left to publish")
    told = {(kind, id_) for kind, id_ in offices.store().execute("SELECT kind, id FROM outbox")}
    assert told == {("notification", "f-1"), ("control", "main:control:default/bot:1")}


def test_findings_again_change_nothing_and_two_consoles_share_them(offices: Offices):
    offices.open()
    offices.open()
    agents = [f"agent-{number}" for number in range(12)]
    for _ in range(3):
        for agent in agents:
            offices.find(f"f-{agent}", agent)
    until(lambda: all(offices.state(agent) == "suspended" for agent in agents), "all are suspended", 20)
    offices.find("f-last", "agent-0", asks="notify")
    until(lambda: offices.one("SELECT count(*) FROM finding") == 13, "all are taken")
    assert [offices.row(agent).epoch for agent in agents] == [1] * 12
    assert offices.one("SELECT count(*) FROM control_history") == 12
    until(lambda: offices.one("SELECT count(*) FROM publication") == 0, "nothing is left to publish")
    assert all(len(offices.controls(agent=agent)) == 1 for agent in agents)


def test_what_is_old_or_seen_before_a_release_or_by_a_green_engine_is_recorded_only(offices: Offices):
    offices.open()
    offices.find("f-old", at_ms=now_ms() - DAY_MS - HOUR_MS)
    offices.find("f-green", engine="green")
    offices.find("f-shadow", mode="shadow", asks="none")
    until(lambda: offices.one("SELECT count(*) FROM finding") == 3, "all are stored", 20)
    assert offices.row() is None
    status = dict(offices.store().execute("SELECT id, status FROM finding").fetchall())
    assert status == {"f-old": "recorded", "f-green": "shadow", "f-shadow": "shadow"}
    assert offices.one("SELECT count(*) FROM outbox") == 0
    offices.find("f-1")
    until(lambda: offices.state() == "suspended", "it is suspended")
    let_go(offices)
    offices.find("f-late", basis=1)
    until(lambda: offices.one("SELECT count(*) FROM finding WHERE id = 'f-late'") == 1, "it is stored")
    assert offices.state() == "active"
    assert offices.one("SELECT why FROM control_history WHERE finding_id = 'f-late'") == "before_last_release"


def let_go(offices: Offices) -> None:
    """A person releases the agent, and the worker hands the release on."""
    row = offices.row()
    offices.opened[0].control(by_person("bot", "active", row.epoch)).result(5)
    until(lambda: len(offices.releases()) > 0, "the release is in the log")
    offices.echo(offices.releases()[-1])
    until(lambda: offices.state() == "active", "it is active again")


def test_a_release_is_active_when_the_active_engine_has_handed_it_on_and_a_trip_before_it_wins(offices: Offices):
    office = offices.open()
    offices.find("f-1")
    until(lambda: offices.state() == "suspended", "it is suspended", 20)
    refused = office.control(by_person("bot", "active", 0)).result(5)
    assert refused.why == "conflict"
    assert office.control(by_person("bot", "active", 1)).result(5).row.state == "releasing"
    until(lambda: len(offices.releases()) == 1, "the release is in the log")
    release = offices.releases()[0]
    assert (release.id, release.data.epoch) == ("release:default/bot:2", 2)
    offices.echo(release, engine="green")
    offices.find("f-2", basis=1)
    offices.echo(release)
    until(lambda: offices.state() == "suspended", "the trip wins", 20)
    offices.find("f-3", "rogue")
    until(lambda: offices.state("rogue") == "suspended", "what comes later is taken as well")
    assert (offices.row().epoch, offices.row().finding_id) == (3, "f-2")
    let_go(offices)
    assert [control.state for _, control in offices.controls()] == [
        "suspended", "releasing", "suspended", "releasing", "active"
    ]  # fmt: skip
    assert [control.epoch for _, control in offices.controls()] == [1, 2, 3, 4, 5]


def test_a_decision_whose_console_was_killed_before_publishing_is_published_under_its_id(offices: Offices):
    killed = subprocess.run([sys.executable, "-c", KILLED, offices.settings.store.url], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (offices.state(), offices.one("SELECT count(*) FROM publication")) == ("suspended", 2)
    assert offices.controls() == []
    offices.open()
    until(lambda: offices.one("SELECT count(*) FROM publication") == 0, "somebody else has published it", 20)
    ((event_id, control),) = offices.controls()
    assert (event_id, control.state, control.epoch) == ("control:default/bot:1", "suspended", 1)
    assert offices.controls("agent.actions") == [(event_id, control)]


KILLED = """
import os, signal, sys
from governance.settings import parse_settings
from storage.postgres import PgStore
from streams.kafka.office.round import OfficeRound
from tests.kafka.deciding import by_person

settings = parse_settings(None, {}, {"kafka.partitions": 3})
round_ = OfficeRound(PgStore(sys.argv[1]).connect(), settings)
round_.begin(["default/bot"])
round_.request(by_person("bot", "suspended", 0))
round_.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_cannot_be_read_goes_to_the_dead_letters_and_holds_up_nobody(offices: Offices):
    offices.open()
    offices.put("agent.findings", "default/bot", b"nonsense")
    offices.find("f-1")
    until(lambda: offices.state() == "suspended", "it is suspended", 20)

    def letters() -> list[Any]:
        return [decode(record.value) for record in offices.cluster.read("dead.letters")]

    counted(1, lambda: len(letters()), "there is a dead letter")
    (letter,) = letters()
    assert isinstance(letter, DeadLetterEvent)
    assert (letter.data.reason, letter.data.origin["topic"]) == ("not_json", "agent.findings")


def test_an_event_ahead_that_is_tried_again_gets_no_second_dead_letter(offices: Offices):
    office = offices.open()
    at = format_ms(now_ms() + 365 * DAY_MS)
    raw = (
        f'{{"specversion":"1.0","id":"y-1","source":"/crm","type":"tripline.agent.action.v1","time":"{at}",'
        '"data":{"agent_id":"bot","action":"record.update","outcome":"ok"}}'
    ).encode()
    first = office.ingest([(raw, decode(raw))]).result(20)
    again = office.ingest([(raw, decode(raw))], origin_of=None).result(20)
    assert [result.reason for result in (*first, *again)] == ["time_ahead", "time_ahead"]
    counted(1, lambda: len(offices.cluster.read("dead.letters")), "there is one dead letter")


def test_a_finding_is_about_the_agent_that_it_names_whatever_its_key(offices: Offices):
    offices.open()
    offices.put("agent.findings", "default/other", encode(a_finding("f-1", "bot")))
    until(lambda: offices.state() == "suspended", "it is suspended", 20)
    assert offices.row("other") is None


def test_people_and_findings_at_once_at_two_consoles_give_one_row_of_epochs(offices: Offices):
    """Schedule 7: whoever decides, decides on the row as it is; the log of decisions has no hole and no fork."""
    first, second = offices.open(), offices.open()
    futures = []
    for number in range(12):
        offices.find(f"f-{number}", basis=99)
        epoch = getattr(offices.row(), "epoch", 0)
        for office, name in ((first, "maya"), (second, "jo")):
            futures.append(office.control(by_person("bot", "active", epoch, name)))
            futures.append(office.control(by_person("bot", "suspended", 0, name)))
    decisions = [future.result(10) for future in futures]
    until(lambda: offices.one("SELECT count(*) FROM finding") == 12, "all findings are taken", 20)
    changed = [decision.row.epoch for decision in decisions if decision.changed]
    assert len(changed) == len(set(changed))
    until(lambda: offices.one("SELECT count(*) FROM publication") == 0, "all is published", 20)
    published = [control for _, control in offices.controls()]
    row = offices.row()
    assert row is not None
    epochs = [control.epoch for control in published]
    assert epochs == sorted(set(epochs))
    assert (published[-1].epoch, published[-1].state) == (row.epoch, row.state)
    history = offices.store().execute("SELECT epoch FROM control_history WHERE changed ORDER BY seq").fetchall()
    assert [epoch for (epoch,) in history] == epochs


def test_a_mute_that_two_people_agreed_to_lies_in_its_agents_input(offices: Offices):
    """Asked for at one console, confirmed at another."""
    first, second = offices.open(), offices.open()
    until_ms = now_ms() + HOUR_MS
    wanted = Widening(
        id="w-1", kind="mute", key="default/bot", agent_id="bot", detector="action_rate", until_ms=until_ms,
        reason="an import", by="maya", asked_ms=0,
    )  # fmt: skip
    asked = first.decide("default/bot", lambda at: widening.ask(at, wanted)).result(10)
    again = second.decide("w-1", lambda at: widening.confirm(at, "w-1", "Maya")).result(10)
    agreed = second.decide("w-1", lambda at: widening.confirm(at, "w-1", "jo")).result(10)
    assert [one.why for one in (asked, again, agreed)] == ["asked", "same_person", "agreed"]

    def mutes() -> list[Any]:
        return [one for one in offices.cluster.read("agent.actions") if isinstance(decode(one.value), MuteEvent)]

    counted(1, lambda: len(mutes()), "it lies in the agent's input")
    (record,) = mutes()
    assert record.partition == partition_of("default/bot", offices.settings.kafka.partitions)
    said = decode(record.value).data
    assert (said.detector, said.until, said.by, said.second) == ("action_rate", format_ms(until_ms), "maya", "jo")

"""The gates of consoles on Kafka under a policy: the same rules, and its version in answer, row and log."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from detectors.base import Shared
from events.codec import decode
from events.times import DAY_MS
from events.types import AdmissionEvent, Granted, PolicyEvent, Trigger
from streams import policy_change
from streams.agents import AgentsStage
from streams.policy_change import POLICY_KEY, Wider
from streams.records import Partition
from tests.kafka.deciding import Offices, a_check, asked, settings_with
from tests.kafka.working import until
from tests.standalone.test_policy import POLICY


def versions(offices: Offices) -> list[tuple[int, str, dict[str, Granted]]]:
    """The versions in the log that every partition has, and what a worker's detectors know of each."""
    shared = Shared()
    found: dict[int, dict[int, Any]] = {}
    for record in offices.cluster.read("agent.actions"):
        event = decode(record.value)
        if isinstance(event, PolicyEvent):
            found.setdefault(event.data.version, {})[record.partition] = event
    said = []
    for version, copies in sorted(found.items()):
        if len(copies) == offices.settings.kafka.partitions:
            stage = AgentsStage(Partition("main", "agent.actions", "t", 0), [], {}, shared)
            stage.process([(0, 1, copies[0])])
            said.append((version, copies[0].data.hash, shared.granted or {}))
    return said


def test_a_console_obeys_the_policy_and_follows_its_file(offices: Offices, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    text = f'\n[people.lea]\n[policy]\nfile = "{path}"\npoll_secs = 3600\n'
    offices.settings = settings_with(offices.settings.kafka, offices.settings.store.url, text=text)
    office = offices.open()
    check = a_check(
        records=("r-1",), object="Lead", changes={"r-1": {"Phone": (1, 2)}}, authorized_by="lea",
        trigger=Trigger("prompt"),
    )  # fmt: skip
    allowed = asked(office, check)
    assert allowed.decision == "allow"
    assert len(allowed.policy) == 64
    records = [decode(record.value) for record in offices.cluster.read("agent.actions")]
    assert [event.data.policy for event in records if isinstance(event, AdmissionEvent)] == [allowed.policy]
    assert offices.one("SELECT policy FROM gate_decision WHERE decision_id = ?", allowed.decision_id) == allowed.policy
    until(lambda: len(versions(offices)) == 1, "the policy is in each partition of the log", 10)
    ((version, hash_, knows),) = versions(offices)
    assert (version, hash_) == (1, allowed.policy)
    assert "record.update" in knows["bot"].actions
    path.write_text(POLICY.replace("Lead.Phone", "Lead.Fax"))
    office.policies.look()
    denied = asked(office, check)
    assert (denied.decision, denied.rule, denied.policy_rule) == ("deny", "policy", "scope")
    assert denied.policy != allowed.policy
    until(lambda: [each[:2] for each in versions(offices)][1:] == [(2, denied.policy)], "and so is the next one", 10)
    path.write_text("format = 9")
    office.policies.look()
    assert asked(office, check).policy == denied.policy
    assert "stays in force" in office.status().warnings[0]


def test_what_two_people_agree_to_is_in_force_at_every_console_until_its_end(offices: Offices, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    text = f'\n[people.lea]\n[policy]\nfile = "{path}"\npoll_secs = 3600\n'
    offices.settings = settings_with(offices.settings.kafka, offices.settings.store.url, text=text)
    first, second = offices.open(), offices.open()
    check = a_check(
        records=("r-1",), object="Lead", changes={"r-1": {"Fax": (1, 2)}}, authorized_by="lea",
        trigger=Trigger("prompt"),
    )  # fmt: skip
    path.write_text(POLICY.replace('fields = ["Lead.Phone"]', 'fields = ["Lead.Phone", "Lead.Fax"]'))
    first.policies.look()
    assert asked(first, check).policy_rule == "scope"
    found = first.policies.found
    assert found is not None
    wanted = Wider(policy=found, by="maya", reason="a pilot", until_ms=first.now_ms() + DAY_MS)
    first.decide(POLICY_KEY, lambda at: policy_change.ask(at, wanted, "w1")).result(10)
    taken = second.decide(POLICY_KEY, lambda at: policy_change.confirm(at, "w1", "jo")).result(10)
    assert taken is not None
    assert taken.is_taken
    for office in (first, second):
        office.policies.look()
        assert asked(office, check).decision == "allow"
    second.decide(POLICY_KEY, lambda at: policy_change.end(at, "w1", "jo", "enough")).result(10)
    first.policies.look()
    assert asked(first, check).policy_rule == "scope"


def test_all_agents_at_all_gates_together_stay_below_the_ceiling_by_not_one(offices: Offices, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    ceiling = "[ceiling]\nrecords_per_day = 12\ncontacts_per_day = 0\n"
    path.write_text(POLICY.replace("[bulk]", ceiling + "[bulk]") + '[agents.rogue]\nrole = "helper"\nowner = "lea"\n')
    text = f'\n[people.lea]\n[policy]\nfile = "{path}"\npoll_secs = 3600\n'
    offices.settings = settings_with(offices.settings.kafka, offices.settings.store.url, text=text)
    gates = [offices.open(), offices.open()]

    def ask_all(agent: str) -> list[tuple[str, str]]:
        answers = []
        for number in range(10):
            record = f"{agent}-{number}"
            check = a_check(
                agent, (record,), object="Lead", changes={record: {"Phone": (1, 2)}}, authorized_by="lea",
                trigger=Trigger("prompt"),
            )  # fmt: skip
            found = asked(gates[number % 2], check)
            answers.append((found.decision, found.policy_rule))
        return answers

    with ThreadPoolExecutor(2) as pool:
        answers = [one for found in pool.map(ask_all, ("bot", "rogue")) for one in found]
    assert answers.count(("allow", "")) == 12
    assert answers.count(("deny", "ceiling")) == 8

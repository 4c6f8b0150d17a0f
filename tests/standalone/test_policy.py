"""The runtime under a policy: its version is in every decision, and changes with its files, without a restart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from events.types import AdmissionEvent, ChangeEvent, Consent, ConsentEvent, CrmChange, Trigger
from governance.gate import GateDecision, GateRequest
from governance.policy import PolicyError
from governance.settings import parse_settings
from storage import gate as gate_store
from streams.envelopes import envelope
from streams.replay import replay
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime, engine_stages
from tests.standalone.conftest import NOW_MS
from tests.standalone.fakes import action_event
from tests.standalone.test_runtime import rows

Start = Callable[..., Runtime]
POLICY = """format = 1
max_level = 1
[bulk]
records_in_10_min = 100
[delegation.reversible]
record = { one = "autonomous" }
[actions."record.update"]
reversibility = "reversible"
blast_radius = "record"
[scopes.leads]
objects = ["Lead"]
fields = ["Lead.Phone"]
[budgets.small]
records_per_10_min = 100
records_per_day = 100
[approvals.team]
approvers = ["role:operator"]
[roles.helper]
actions = ["record.update"]
scopes = ["leads"]
budget = "small"
approval = "team"
[agents.bot]
role = "helper"
owner = "lea"
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def governed(start: Start, policy: Path) -> Callable[[], Runtime]:
    toml = f"""
[people.lea]
[agents.bot]
actions = ["record.*"]
records_per_10_min = 1000
records_per_day = 5000
[agents.other]
actions = ["record.*"]
[policy]
file = "{policy}"
poll_secs = 3600
"""
    return lambda: start(toml=toml)


def ask(runtime: Runtime, field: str = "Phone", request_id: str | None = None, **more: Any) -> GateDecision:
    request = GateRequest(
        agent_id="bot", action="record.update", object="Lead", record_ids=["r1"], changes={"r1": {field: (1, 2)}},
        authorized_by="lea", request_id=request_id, **{"trigger": Trigger("prompt"), **more},
    )  # fmt: skip
    found: Any = runtime.check(request).result(10)
    return found


def test_the_version_is_in_answers_rows_and_the_log(governed: Callable[[], Runtime]) -> None:
    runtime = governed()
    allowed, denied = ask(runtime), ask(runtime, "Fax")
    version = runtime.policies.policy.hash if runtime.policies.policy is not None else ""
    assert [(one.decision, one.policy_rule, one.policy) for one in (allowed, denied)] == [
        ("allow", "", version), ("deny", "scope", version),
    ]  # fmt: skip
    runtime.close()
    link = runtime.store.connect()
    gate_store.file_all(link)
    assert link.execute("SELECT DISTINCT policy FROM gate_decision").fetchall() == [(version,)]
    link.close()


def test_the_admission_in_the_log_names_the_version(governed: Callable[[], Runtime], tmp_path: Path) -> None:
    runtime = governed()
    assert ask(runtime).decision == "allow"
    runtime.dump(tmp_path / "out")
    from events.codec import decode  # noqa: PLC0415

    lines = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*actions*")).splitlines()
    admitted = [event for event in map(decode, lines) if isinstance(event, AdmissionEvent)]
    assert [event.data.policy for event in admitted] == [ask(runtime).policy]


def test_a_new_version_is_in_force_without_a_restart_and_one_with_mistakes_changes_nothing(
    governed: Callable[[], Runtime], policy: Path
) -> None:
    runtime = governed()
    first = ask(runtime)
    policy.write_text(POLICY.replace('"Lead.Phone"', '"Lead.Fax"'))
    runtime.policies.look()
    second, added = ask(runtime), ask(runtime, "Fax")
    assert (first.decision, second.decision, second.policy_rule) == ("allow", "deny", "scope")
    assert (added.decision, added.policy_rule) == ("deny", "scope")  # what is taken away holds, what is added waits
    assert first.policy != second.policy
    policy.write_text(POLICY.replace('role = "helper"', 'role = "hepler"'))
    runtime.policies.look()
    assert (ask(runtime).decision, ask(runtime).policy) == ("deny", second.policy)
    warning, waits = runtime.status().warnings
    assert "stays in force: 1 line for two people to agree to" in waits
    assert warning == (
        f"the policy's new version has mistakes, {second.policy[:12]} stays in force: policy.toml: agents.bot.role: no "
        "role is called 'hepler'; did you mean helper?"
    )
    assert runtime.status().degraded_reasons == []
    policy.write_text(POLICY)
    runtime.policies.look()
    assert (ask(runtime).policy, runtime.status().warnings) == (
        second.policy,
        [f"the policy's new version {first.policy[:12]} gives more than {second.policy[:12]}, which stays in force: 1 "
         "line for two people to agree to"],
    )  # fmt: skip


def test_what_is_done_past_the_gate_is_judged_by_the_policy_of_then_live_and_in_a_replay(
    start: Start, policy: Path, clock: ManualClock, tmp_path: Path
) -> None:
    toml = f'[people.lea]\n[agents.bot]\n[policy]\nfile = "{policy}"\npoll_secs = 3600\n'
    runtime = start(toml=toml, stages=engine_stages)
    for number, of in enumerate(("Account", "Lead", "Contact")):
        if of == "Contact":
            policy.write_text(POLICY.replace('["Lead"]', '["Contact"]').replace("Lead.Phone", "Contact.Fax"))
            runtime.policies.look()
        runtime.ingest([(b"", action_event("bot", number, clock.now_ms(), object=of))]).result(10)
    runtime.ingest([(b"", action_event("bot", 9, clock.now_ms(), object="Lead"))]).result(10)
    live = sorted(body.encode() for (body,) in rows(runtime, "SELECT body FROM finding"))
    runtime.dump(tmp_path / "dump")
    replay(sorted((tmp_path / "dump").glob("*.jsonl")), parse_settings(toml, {}), tmp_path / "out")
    assert sorted((tmp_path / "out" / "findings.jsonl").read_bytes().splitlines()) == live
    topics = [json.loads(body)["data"]["evidence"]["topic"] for body in live]
    breaches = sorted(topic for topic in topics if topic.startswith("policy|"))
    assert breaches == ["policy|Account", "policy|Contact", "policy|Lead"]  # Contact waits for two people


def test_a_retry_gets_its_answer_with_the_version_that_decided_also_after_a_restart(
    governed: Callable[[], Runtime], policy: Path
) -> None:
    runtime = governed()
    first = ask(runtime, request_id="q")
    runtime.close()
    policy.write_text(POLICY.replace("records_per_day = 100", "records_per_day = 101"))
    again = ask(governed(), request_id="q")
    assert (again.is_repeated, again.decision_id, again.policy) == (True, first.decision_id, first.policy)


def test_nothing_starts_with_a_policy_that_has_mistakes(governed: Callable[[], Runtime], policy: Path) -> None:
    policy.write_text(POLICY.replace("format = 1", "format = 9"))
    with pytest.raises(PolicyError, match="format: may not be 9; it is 1"):
        governed()
    policy.unlink()
    with pytest.raises(PolicyError, match="there is no such file"):
        governed()


def test_without_a_policy_decisions_name_none(start: Start) -> None:
    runtime = start()
    assert ask(runtime).policy == ""
    runtime.close()
    assert rows(runtime, "SELECT DISTINCT policy FROM gate_decision") in ([], [(None,)])


def test_owners_and_consent_are_learned_from_the_crms_events_and_survive_a_restart(
    governed: Callable[[], Runtime], policy: Path
) -> None:
    policy.write_text(POLICY.replace('fields = ["Lead.Phone"]', 'fields = ["Lead.Phone"]\nowners = ["jo"]'))
    runtime = governed()
    unknown = ask(runtime)
    assert (unknown.decision, unknown.policy_rule) == ("deny", "scope")
    change = CrmChange(object="Lead", record_id="r1", op="update", owner_id="jo")
    refusal = Consent(contact_id="C1", channel="sms", purpose="sales", status="withdrawn")
    events = [
        envelope(ChangeEvent, "crm", "change", NOW_MS, "default/r1", change),
        envelope(ConsentEvent, "crm", "refusal", NOW_MS, "default/C1", refusal),
    ]
    runtime.ingest([(b"", event) for event in events]).result(10)
    assert ask(runtime).decision == "allow"
    runtime.close()
    runtime = governed()
    assert ask(runtime).decision == "allow"
    reaching = GateRequest(
        agent_id="bot", action="record.update", object="Lead", record_ids=["r1"], recipient_ids=["C1"]
    )
    found: Any = runtime.check(reaching).result(10)
    assert (found.decision, found.rule) == ("deny", "consent")


def test_an_agent_that_acts_above_its_level_is_a_finding_once_a_day(
    governed: Callable[[], Runtime], clock: ManualClock
) -> None:
    runtime = governed()
    assert ask(runtime).decision == "allow"
    assert rows(runtime, "SELECT count(*) FROM finding") == [(0,)]
    by_itself: dict[str, Any] = {"trigger": None}
    for number in range(3):
        clock.move(1_000)
        refused = ask(runtime, **by_itself, request_id=f"q{number}")
        assert (refused.decision, refused.policy_rule) == ("deny", "level")
    assert rows(runtime, "SELECT agent_id, detector, mode, summary FROM finding") == [
        ("bot", "gate", "warn", "bot acts at level 4 (autonomous), set off by nothing that we know; it has level 1")
    ]
    runtime.close()
    runtime = governed()
    ask(runtime, **by_itself)
    assert rows(runtime, "SELECT count(*) FROM finding") == [(1,)]
    ask(runtime, trigger=Trigger("schedule", "nightly"))
    clock.move(86_400_000)
    ask(runtime, **by_itself)
    assert rows(runtime, "SELECT count(*) FROM finding") == [(3,)]


def test_all_agents_together_have_a_ceiling_also_over_a_restart_and_when_it_comes_later(
    governed: Callable[[], Runtime], policy: Path, clock: ManualClock
) -> None:
    """``governed`` knows one agent in its settings; what another one did is in the same store."""
    both = POLICY + '[agents.other]\nrole = "helper"\nowner = "lea"\n'
    policy.write_text(both)
    runtime = governed()

    def write(record: str, agent_id: str = "bot") -> str:
        request = GateRequest(
            agent_id=agent_id, action="record.update", object="Lead", record_ids=[record],
            changes={record: {"Phone": (1, 2)}}, authorized_by="lea", trigger=Trigger("prompt"),
        )  # fmt: skip
        found: Any = runtime.check(request).result(10)
        return str(found.policy_rule or found.decision)

    assert [write("r1"), write("r2", "other")] == ["allow", "allow"]
    policy.write_text(both.replace("[bulk]", "[ceiling]\nrecords_per_day = 3\ncontacts_per_day = 0\n[bulk]"))
    runtime.policies.look()
    assert [write("r2"), write("r3", "other"), write("r4"), write("r4", "other")] == [
        "allow", "allow", "ceiling", "ceiling",
    ]  # fmt: skip
    runtime.close()
    runtime = governed()
    assert [write("r1", "other"), write("r4")] == ["allow", "ceiling"]
    clock.move(86_400_001)
    assert write("r4") == "allow"

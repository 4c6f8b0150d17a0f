"""Approvals in the runtime: asked at the gate, answered by a person, used once, and decided anew at their use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from events.times import DAY_MS
from events.types import Actor, ChangeEvent, CrmChange, Trigger
from governance.approvals import Answer, Approval, Approver, Edit, Verdict, Why, bound_hash
from governance.gate import GateDecision, GateRequest
from storage import approvals
from storage.outbox import waiting
from streams import policy_change
from streams.envelopes import envelope
from streams.policy_change import POLICY_KEY, Wider
from streams.sinks.notices import notice_of
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.standalone.test_policy import POLICY
from tests.standalone.test_runtime import rows

Start = Callable[..., Runtime]
MINUTE = 60_000
REQUEST = GateRequest(
    agent_id="bot", action="record.update", object="Lead", record_ids=["r1"], changes={"r1": {"Phone": ("1", "2")}},
    authorized_by="lea", trigger=Trigger("prompt"), record_versions={"r1": "v7"},
)  # fmt: skip


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    text = POLICY.replace('one = "autonomous"', 'one = "approval"')
    path.write_text(text.replace("records_per_10_min = 100", "records_per_10_min = 1"))
    return path


@pytest.fixture
def governed(start: Start, policy: Path) -> Callable[[], Runtime]:
    toml = f"""
[people.lea]
role = "operator"
[people.maya]
role = "operator"
[agents.bot]
owner = "lea"
actions = ["record.*"]
[policy]
file = "{policy}"
poll_secs = 3600
"""
    return lambda: start(toml=toml)


def ask(runtime: Runtime, request: GateRequest = REQUEST, **more: Any) -> GateDecision:
    return runtime.check(replace(request, **more)).result(10)


def agree_to_the_files(runtime: Runtime) -> None:
    """Two people agree that the wider version which was found is in force."""
    runtime.policies.look()
    wider = runtime.policies.found
    assert wider is not None
    asked = Wider(policy=wider, by="maya", reason="as agreed", until_ms=runtime.now_ms() + DAY_MS)
    runtime.decide(POLICY_KEY, lambda at: policy_change.ask(at, asked, "wider")).result(10)
    decided = runtime.decide(POLICY_KEY, lambda at: policy_change.confirm(at, "wider", "jo")).result(10)
    assert decided is not None
    assert decided.is_taken
    runtime.policies.refresh()


def found(runtime: Runtime, id_: str) -> Approval:
    kept: Any = runtime.call(lambda round_: approvals.find(round_.link, id_)).result(10)
    return kept


def say(runtime: Runtime, id_: str, says: Any = "approve", who: str = "maya", **more: Any) -> Verdict:
    fields = {"reason": "as agreed", "hash": found(runtime, id_).hash, "opened_ms": runtime.now_ms() - 9_000} | more
    person = Approver(name=who, roles=frozenset({"operator"}))
    verdict = runtime.answer_approval(Answer(approval_id=id_, says=says, who=person, **fields)).result(10)
    assert verdict is not None
    return verdict


def admitted(runtime: Runtime) -> list[str]:
    return [id_ for (id_,) in rows(runtime, "SELECT decision_id FROM gate_decision WHERE decision = 'allow'")]


def test_what_was_approved_passes_once_with_the_same_request_or_its_id(
    governed: Callable[[], Runtime], clock: ManualClock
) -> None:
    runtime = governed()
    held = ask(runtime, request_id="q1")
    assert (held.decision, held.rule, held.approval_id) == ("hold", "policy", held.decision_id)
    assert ask(runtime, request_id="q1").approval_id == held.approval_id
    assert ask(runtime, approval_id=held.approval_id).decision == "hold"
    assert say(runtime, held.approval_id).why is Why.APPROVED
    clock.move(1)
    allowed = ask(runtime, request_id="q1")
    assert (allowed.decision, allowed.rule, allowed.approved_by) == ("allow", "approval", "maya")
    replayed = ask(runtime, approval_id=held.approval_id)
    assert (replayed.decision, replayed.rule) == ("deny", "approval")
    assert "used already" in replayed.reason
    assert ask(runtime, request_id="q1").is_repeated
    assert admitted(runtime) == [allowed.decision_id]
    assert found(runtime, held.approval_id).used_by == allowed.decision_id


def test_each_attack_is_refused_with_its_reason(governed: Callable[[], Runtime], clock: ManualClock) -> None:
    runtime = governed()
    id_ = ask(runtime).approval_id
    assert say(runtime, id_, who="lea").why is Why.REQUESTER
    assert say(runtime, id_, hash="0" * 64).why is Why.CONFLICT
    assert say(runtime, id_).why is Why.APPROVED
    altered = ask(runtime, approval_id=id_, changes={"r1": {"Phone": ("1", "3")}})
    assert (altered.decision, altered.rule) == ("deny", "approval")
    assert "Not the same: changes" in altered.reason
    newer = ask(runtime, approval_id=id_, record_versions={"r1": "v8"})
    assert "changed since" in newer.reason
    assert "no such approval" in ask(runtime, approval_id="of-nobody").reason
    clock.move(30 * MINUTE)
    late = ask(runtime, approval_id=id_)
    assert (late.decision, late.rule) == ("deny", "approval")
    assert "not used in time" in late.reason
    runtime.tick().result(10)
    assert found(runtime, id_).state == "expired"
    assert admitted(runtime) == []


def test_everything_is_decided_anew_at_its_use(governed: Callable[[], Runtime], policy: Path) -> None:
    runtime = governed()
    id_ = ask(runtime).approval_id
    say(runtime, id_)
    runtime.suspend("bot", "maya", "look").result(10)
    stopped = ask(runtime, approval_id=id_)
    assert (stopped.decision, stopped.rule, found(runtime, id_).state) == ("deny", "suspended", "approved")
    row: Any = runtime.call(lambda round_: round_.row_of("default/bot")).result(10)
    runtime.release("bot", row.epoch, "maya", "looked").result(10)
    text = policy.read_text()
    policy.write_text(text.replace('one = "approval"', 'one = "human_only"'))
    runtime.policies.look()
    assert ask(runtime, approval_id=id_).rule == "policy"
    policy.write_text(text)
    agree_to_the_files(runtime)
    other = ask(runtime, record_ids=["r2"], changes={"r2": {"Phone": ("1", "2")}}, record_versions={})
    say(runtime, other.approval_id)
    assert ask(runtime, approval_id=id_).decision == "allow"
    spent = ask(
        runtime, record_ids=["r2"], changes={"r2": {"Phone": ("1", "2")}}, record_versions={},
        approval_id=other.approval_id,
    )  # fmt: skip
    assert (spent.decision, spent.rule) == ("deny", "policy")
    assert found(runtime, other.approval_id).state == "approved"


def a_change(runtime: Runtime, at_ms: int) -> ChangeEvent:
    data = CrmChange(object="Lead", record_id="r1", op="update", actor=Actor("human", "jo"))
    return envelope(ChangeEvent, "crm", f"change-{at_ms}", at_ms, "default/r1", data)


def test_a_record_changed_between_approval_and_write_is_refused(
    governed: Callable[[], Runtime], clock: ManualClock
) -> None:
    runtime = governed()
    id_ = ask(runtime).approval_id
    runtime.ingest([(b"", a_change(runtime, clock.now_ms() - MINUTE))]).result(10)
    assert found(runtime, id_).changed == ""
    say(runtime, id_)
    clock.move(1_000)
    runtime.ingest([(b"", a_change(runtime, clock.now_ms()))]).result(10)
    assert found(runtime, id_).changed == "human jo changed it"
    refused = ask(runtime, approval_id=id_)
    assert (refused.decision, refused.rule) == ("deny", "approval")
    assert "human jo changed it" in refused.reason
    again = ask(runtime, record_versions={"r1": "v8"})
    assert (again.decision, again.approval_id != id_) == ("hold", True)


def test_an_edit_goes_through_the_gate_and_only_the_edited_content_passes(governed: Callable[[], Runtime]) -> None:
    runtime = governed()
    id_ = ask(runtime).approval_id
    outside = say(runtime, id_, edit=Edit(changes={"r1": {"Fax": ("1", "2")}}))
    assert (outside.why, outside.is_changed) == (Why.EDIT_REFUSED, False)
    assert "Lead.fax" in outside.more
    unlisted = say(runtime, id_, edit=Edit(changes={}))
    assert (unlisted.why, unlisted.more) == (Why.EDIT_REFUSED, "it does not list all that it touches")
    assert say(runtime, id_, edit=Edit(changes={"r1": {"Phone": ("1", "4")}})).why is Why.EDITED
    asked_again = ask(runtime)
    assert (asked_again.decision, asked_again.rule) == ("deny", "approval")
    content = asked_again.approved_content
    assert content is not None
    assert content.changes == {"r1": {"Phone": ("1", "4")}}
    assert bound_hash(content) == found(runtime, id_).hash
    assert ask(runtime, content, approval_id=id_).decision == "allow"


def test_an_approval_that_still_waits_holds_also_what_is_autonomous_by_now(
    governed: Callable[[], Runtime], policy: Path
) -> None:
    runtime = governed()
    id_ = ask(runtime).approval_id
    policy.write_text(policy.read_text().replace('one = "approval"', 'one = "autonomous"'))
    agree_to_the_files(runtime)
    waiting = ask(runtime, approval_id=id_)
    assert (waiting.decision, waiting.rule) == ("hold", "approval")
    assert ask(runtime).decision == "allow"


def test_a_write_that_the_gate_lets_pass_ends_approvals_about_its_record(governed: Callable[[], Runtime]) -> None:
    runtime = governed()
    first, second = ask(runtime), ask(runtime, changes={"r1": {"Phone": ("1", "9")}})
    say(runtime, first.approval_id)
    assert ask(runtime).decision == "allow"
    assert found(runtime, second.approval_id).changed == "bot was let write to it"
    assert say(runtime, second.approval_id).why is Why.CHANGED


def test_it_survives_a_restart_and_its_steps_are_kept(governed: Callable[[], Runtime]) -> None:
    runtime = governed()
    id_ = ask(runtime).approval_id
    say(runtime, id_, who="lea")
    runtime.close()
    runtime = governed()
    say(runtime, id_)
    assert ask(runtime, approval_id=id_).decision == "allow"
    query = "SELECT state_before, state, by_kind, by_id, why, reason FROM approval_history ORDER BY seq"
    steps: Any = runtime.call(lambda round_: round_.link.execute(query).fetchall()).result(10)
    assert steps == [
        ("", "pending", "agent", "bot", "waits", ""),
        ("pending", "pending", "human", "lea", "requester", "as agreed"),
        ("pending", "approved", "human", "maya", "approved", "as agreed"),
        ("approved", "used", "agent", "bot", "used", ""),
    ]


def told(runtime: Runtime) -> list[str]:
    notices = [notice_of(row) for row in runtime.call(lambda round_: waiting(round_.link)).result(10)]
    return [f"{notice.kind}: {notice.title}" for notice in notices if notice is not None]


def test_people_are_told_of_what_waits_and_of_who_approves_in_haste(governed: Callable[[], Runtime]) -> None:
    runtime = governed()
    ids = []
    for number in range(50):
        name = f"r{number}"
        held = ask(runtime, record_ids=[name], changes={name: {"Phone": ("1", "2")}}, record_versions={})
        ids.append(held.approval_id)
    assert told(runtime)[0] == "approval: bot waits for an approval: update records, Lead"
    for id_ in ids:
        say(runtime, id_)
    findings = [line for line in told(runtime) if line.startswith("finding")]
    assert findings == ["finding: bot: maya gave 50 approvals within a minute"]
    last = ask(runtime, record_ids=["r99"], changes={"r99": {"Phone": ("1", "2")}}, record_versions={})
    say(runtime, last.approval_id, who="kim", opened_ms=runtime.now_ms() - 1_200)
    assert "finding: bot: kim approved what bot asked 1.2 s after opening it" in told(runtime)
    say(runtime, ask(runtime).approval_id, "refuse", who="pat", opened_ms=runtime.now_ms())
    assert not any("pat" in line for line in told(runtime))


def test_an_agent_that_asks_for_everything_is_held_without_more_requests(governed: Callable[[], Runtime]) -> None:
    runtime = governed()
    for number in range(101):
        name = f"r{number}"
        held = ask(runtime, record_ids=[name], changes={name: {"Phone": ("1", "2")}}, record_versions={})
    assert (held.decision, held.approval_id) == ("hold", "")
    assert "open already" in held.detail

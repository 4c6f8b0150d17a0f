"""Approvals on Kafka: asked at one console, answered at another, used once over all gates, ended by the CRM's feed."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from events.codec import decode, encode
from events.types import Actor, AdmissionEvent, ChangeEvent, CrmChange
from governance.approvals import Answer, Approver
from storage import approvals
from streams.envelopes import envelope
from tests.kafka.deciding import Offices, a_check, asked, now_ms
from tests.kafka.working import until


def say(office: Any, id_: str, offices: Offices, who: str = "maya") -> str:
    found = approvals.find(offices.store(), id_)
    assert found is not None
    answer = Answer(
        approval_id=id_, says="approve", who=Approver(name=who, roles=frozenset({"operator"})), reason="ok",
        hash=found.hash, opened_ms=now_ms() - 5_000,
    )  # fmt: skip
    verdict = office.answer_approval(answer).result(10)
    assert verdict is not None
    return str(verdict.why)


def test_an_approval_given_at_one_console_lets_pass_once_at_another(offices: Offices) -> None:
    one, two = offices.open(), offices.open()
    check = replace(a_check(records=("r-1",), action="email.send"), recipient_ids=["new@example.com"])
    held = asked(one, check)
    assert (held.decision, held.rule) == ("hold", "first_contact")
    assert asked(two, check).approval_id == held.approval_id
    assert say(two, held.approval_id, offices, who="olga") == "not_the_owner"
    assert say(two, held.approval_id, offices) == "approved"
    allowed = asked(one, replace(check, approval_id=held.approval_id))
    assert (allowed.decision, allowed.approved_by) == ("allow", "maya")
    replayed = asked(two, replace(check, approval_id=held.approval_id))
    assert (replayed.decision, replayed.rule) == ("deny", "approval")
    admitted = [decode(record.value) for record in offices.cluster.read("agent.actions")]
    assert [e.data.decision_id for e in admitted if isinstance(e, AdmissionEvent)] == [allowed.decision_id]

    other = replace(check, record_ids=["r-2"], recipient_ids=["b@example.com"])
    waits = asked(one, other).approval_id
    at_ms = now_ms() + 1_000
    data = CrmChange(object="Lead", record_id="r-2", op="update", actor=Actor("human", "jo"))
    offices.put("crm.events", "default/r-2", encode(envelope(ChangeEvent, "crm", "c-1", at_ms, "default/r-2", data)))
    until(lambda: approvals.find(offices.store(), waits).changed == "human jo changed it", "the change is seen", 20)  # type: ignore[union-attr]
    assert say(two, waits, offices) == "record_changed"
    offices.store().execute("UPDATE approval SET expires_ms = 1, body = replace(body, ?, ?) WHERE id = ?", (
        f'"expires_ms":{approvals.find(offices.store(), waits).expires_ms}', '"expires_ms":1', waits,  # type: ignore[union-attr]
    ))  # fmt: skip
    until(lambda: approvals.find(offices.store(), waits).state == "expired", "the leader ends it", 20)  # type: ignore[union-attr]

"""What the gate decided is found again: by agent, by request id, in order, and the oldest goes first."""

from __future__ import annotations

from typing import Any

from governance.gate import GateDecision, GateRequest, Rule
from governance.operation import describe
from storage import gate
from storage.link import Link

KEY = "default/bot"
NOW_MS = 1_772_442_600_000


def a_row(number: int, decision: Any = "allow", *, request_id: str | None = None, at_ms: int = NOW_MS) -> gate.Row:
    request = GateRequest(
        agent_id="bot", action="email.send", recipient_ids=["c1"], request_id=request_id, trigger=None
    )
    operation = describe("email.send", [f"r{number}"], {}, ["c1"], 1, 1)
    answer = GateDecision(
        decision=decision, reason="because", rule=Rule.ALLOWED if decision == "allow" else Rule.SUSPENDED, epoch=2,
        decision_id=f"{gate.decision_prefix(at_ms + number)}-{number}",
    )  # fmt: skip
    seq = number if decision == "allow" else None
    return gate.decision_row(request, KEY, operation, answer, at_ms + number, offset=seq, seq=seq)


def test_admissions_are_counted_and_come_back_in_order(link: Link) -> None:
    gate.file_decisions(link, [a_row(1), a_row(2, "deny"), a_row(3)])
    gate.file_decisions(link, [a_row(4)])
    assert gate.seq_of(link, KEY) == 4
    assert gate.seq_of(link, "default/other") == 0
    found = list(gate.admitted_since(link, KEY, NOW_MS + 1))
    assert [(at_ms, operation.record_ids, operation.recipient_ids) for at_ms, operation in found] == [
        (NOW_MS + 3, ("r3",), ("c1",)),
        (NOW_MS + 4, ("r4",), ("c1",)),
    ]


def test_the_last_answer_under_a_request_id_is_remembered(link: Link) -> None:
    first, last = a_row(1, "deny", request_id="q1"), a_row(2, request_id="q1")
    gate.file_decisions(link, [first, last, a_row(3)])
    found = gate.remembered(link, KEY, "q1")
    assert found == gate.remembered_row(last)
    assert found is not None
    assert (found.decision.decision, found.at_ms) == ("allow", NOW_MS + 2)
    assert gate.remembered(link, "default/other", "q1") is None
    assert sorted(gate.asked_since(link, KEY, NOW_MS)) == [("q1", NOW_MS + 1), ("q1", NOW_MS + 2)]


def test_what_was_left_unfiled_is_filed_once(link: Link) -> None:
    gate.keep_unfiled(link, 1, [a_row(1), a_row(2, "hold")])
    gate.keep_unfiled(link, 2, [a_row(3)])
    gate.file_all(link)
    gate.file_all(link)
    assert gate.seq_of(link, KEY) == 3
    assert link.execute("SELECT count(*) FROM gate_decision").fetchone() == (3,)


def test_contacts_are_known_to_their_tenant_from_the_first_touch(link: Link) -> None:
    gate.know_contacts(link, [("default", "c1", 5), ("default", "c1", 9), ("acme", "c2", 5)])
    assert gate.unknown_contacts(link, "default", ["c1", "c2", "C1"]) == ["c2", "C1"]
    assert link.execute("SELECT first_ms FROM known_contact WHERE contact_id = 'c1'").fetchall() == [(5,)]


def test_the_oldest_decisions_go_a_piece_at_a_time(link: Link) -> None:
    gate.file_decisions(link, [a_row(number) for number in range(1, 8)])
    gate.drop_before(link, NOW_MS + 6, most=3)
    kept = [row[0] for row in link.execute("SELECT seq FROM gate_decision ORDER BY seq").fetchall()]
    assert kept == [4, 5, 6, 7]
    gate.drop_before(link, NOW_MS + 6, most=30)
    assert link.execute("SELECT min(seq) FROM gate_decision").fetchone() == (6,)

"""WorkBench episodes to actions: names, records, errors, and the stated clock."""

from __future__ import annotations

import json
from typing import Any

from events.adapters.workbench import read
from events.codec import Refusal, decode_input, encode
from events.types import ActionError, ActionEvent, After, AgentAction, Trigger

CRM = "customer_relationship_manager"


def episode(model: str, idx: int, *calls: tuple[str, str, dict[str, Any], bool]) -> bytes:
    events = [{"tool": tool, "action": name, "arguments": given, "error": error} for tool, name, given, error in calls]
    return json.dumps({"domain": "email", "model": model, "idx": idx, "query": "?", "events": events}).encode()


def actions(*lines: bytes) -> list[AgentAction]:
    found = []
    for item in read(lines):
        assert isinstance(item, ActionEvent)
        found.append(item.data)
    return found


def one(tool: str, name: str, given: dict[str, Any], error: bool = False) -> AgentAction:
    return actions(episode("gpt", 7, (tool, name, given, error)))[0]


def test_an_update_names_the_record_the_field_and_the_value_after() -> None:
    action = one(CRM, "update_customer", {"customer_id": "48", "field": "status", "new_value": "Won"})
    assert (action.action, action.object, action.record_ids) == ("record.update", "Contact", ["48"])
    assert action.changes == {"48": {"status": After("Won")}}
    assert (action.agent_id, action.outcome, action.tool) == ("gpt", "ok", f"{CRM}.update_customer")


def test_an_update_in_its_own_way_keeps_what_it_set() -> None:
    assert one(CRM, "update_customer", {"customer_id": "48", "status": "Won"}).changes == {
        "48": {"status": After("Won")}
    }


def test_mail_has_a_recipient_even_when_its_address_is_not_told() -> None:
    sent = one("email", "send_email", {"recipient": "a@example.com", "subject": "s", "body": "b"})
    assert (sent.action, sent.recipient_ids) == ("email.send", ["a@example.com"])
    replied = one("email", "reply_email", {"email_id": "204", "body": "b"})
    assert (replied.action, replied.recipients, replied.record_ids) == ("email.send", 1, ["204"])


def test_a_tool_that_the_agent_invented_is_a_tool_call() -> None:
    action = one("crm", "delete_leads", {"owner": "x"}, error=True)
    assert (action.action, action.tool, action.outcome) == ("tool.call", "crm.delete_leads", "error")
    assert action.error == ActionError("tool_error", "crm.delete_leads failed")


def test_an_episode_is_a_run_that_a_person_asked_for() -> None:
    action = one("calendar", "search_events", {"query": "x"})
    assert action.run_id == "gpt/email/7"
    assert action.trigger == Trigger("prompt", "gpt/email/7")


def test_the_clock_runs_on_weekdays_twelve_episodes_a_day() -> None:
    call = ("email", "search_emails", {}, False)
    lines = [episode("gpt", idx, call, call) for idx in range(14)]
    times = [item.time for item in read(lines) if isinstance(item, ActionEvent)]
    assert times[:3] == ["2023-12-01T08:00:00Z", "2023-12-01T08:00:05Z", "2023-12-01T08:40:00Z"]
    assert times[22:25] == ["2023-12-01T15:20:00Z", "2023-12-01T15:20:05Z", "2023-12-04T08:00:00Z"]


def test_agents_work_at_the_same_time_and_the_output_is_in_time_order() -> None:
    call = ("email", "search_emails", {}, False)
    lines = [episode("b", 0, call), episode("b", 1, call), episode("a", 0, call)]
    ids = [item.id for item in read(lines) if isinstance(item, ActionEvent)]
    assert ids == ["a/email/0/0", "b/email/0/0", "b/email/1/0"]


def test_a_line_that_is_no_episode_is_refused_and_the_rest_is_read() -> None:
    items = list(read([b"{}\n", b"\n", b"\xff\n", episode("gpt", 1, ("email", "search_emails", {}, False))]))
    assert [item.index for item in items if isinstance(item, Refusal)] == [1, 3]
    assert len(items) == 3


def test_its_events_can_be_sent() -> None:
    for item in read([episode("gpt", 1, ("email", "search_emails", {}, True))]):
        assert isinstance(item, ActionEvent)
        assert decode_input(encode(item)) == item

"""Bags of features: what writes, what values look like, and where they come from."""

from __future__ import annotations

from typing import Any

import pytest

from detectors.requests import Request
from detectors.run_trace import RunTrace, is_id, shape_of, text_of, tool_call


def trace(*calls: tuple[str, str, dict[str, Any]], request: str = "") -> RunTrace:
    made = RunTrace(Request(request) if request else None)
    for tool, action, arguments in calls:
        made.add(tool_call(tool, action, arguments))
    return made


def origins(of: RunTrace) -> dict[tuple[str, str], str]:
    return {(f[1], f[2]): f[3] for f in of.bag if f[0] == "origin"}


@pytest.mark.parametrize(
    ("action", "writes"),
    [
        ("update_customer", True),
        ("createTask", True),
        ("email.send", True),
        ("record.update", True),
        ("search_updates", False),
        ("get_updated_records", False),
        ("total_visits_count", False),
        ("weather", False),
        ("", False),
    ],
)
def test_the_first_verb_of_a_name_says_whether_it_writes(action: str, writes: bool) -> None:
    assert tool_call("t", action, {}).is_write is writes


@pytest.mark.parametrize(
    ("argument", "value", "shape"),
    [
        ("customer_id", "00000017", "id"),
        ("customer_id", "00000003", "id below ten"),
        ("customer_id", "0" * 5_000, "id below ten"),
        ("taskId", "TASK_ID", "id text"),
        ("paid", "3", "number"),
        ("to", "Ann@Acme.com", "@acme.com"),
        ("to", "ann@acme.com, bob@acme.com", "addresses"),
        ("due", "2026-01-05", "date"),
        ("start", "2026-01-05 09:00:00", "time"),
        ("start", "2026-01-05T09:00:00", "time with T"),
        ("start", "2026-13-05", "text"),
        ("start", "2026-01-05 soon", "text"),
        ("growth", "-3.5%", "number"),
        ("note", "call back", "text"),
    ],
)
def test_a_value_is_kept_as_its_shape_only(argument: str, value: str, shape: str) -> None:
    assert shape_of(argument, value) == shape


def test_ids_are_told_by_the_last_word_of_the_name() -> None:
    assert [name for name in ("id", "Id", "customer_id", "recordIds", "paid", "idea", "valid") if is_id(name)] == [
        "id", "Id", "customer_id", "recordIds",
    ]  # fmt: skip


def test_no_value_of_an_argument_is_in_the_bag() -> None:
    made = trace(("crm", "find_email", {"name": "Zebulon"}), ("crm", "update_lead", {"lead_id": "98431", "x": "Quux"}))
    assert not any(secret in str(made.bag) for secret in ("Zebulon", "zebulon", "98431", "Quux", "quux"))


def test_a_write_is_grounded_in_what_was_read_before() -> None:
    made = trace(
        ("crm", "update_lead", {"lead_id": "17"}),
        ("mail", "search_mails", {"query": "x"}),
        ("crm", "update_lead", {"lead_id": "18"}),
        ("crm", "search_leads", {"query": "x"}),
        ("crm", "update_lead", {"lead_id": "19"}),
        ("crm", "create_lead", {"status": "new"}),
    )
    assert [f[1:] for f in made.bag if f[0] == "grounding"] == [
        ("crm.update_lead", "by id", "without a read"),
        ("crm.update_lead", "by id", "after a read elsewhere"),
        ("crm.update_lead", "by id", "after a read there"),
        ("crm.create_lead", "new", "after a read there"),
    ]


def test_written_values_have_an_origin_in_the_run() -> None:
    made = trace(
        ("people", "find_email_address", {"name": "Ann"}),
        ("crm", "search_leads", {"status": "Proposal", "since": "2026-01-05"}),
        ("crm", "update_lead", {"lead_id": "17", "to": "ann.lee@acme.com"}),
        ("crm", "update_lead", {"was": "proposal", "by": "2026-01-05 10:00"}),
        ("crm", "create_note", {"text": "proposal ann", "half": "ann xyz", "little": "ann x y"}),
        ("crm", "create_note", {"none": "q", "by": "2026-02-01"}),
    )
    assert origins(made) == {
        ("crm.update_lead", "lead_id"): "after a read there",
        ("crm.update_lead", "to"): "looked up by name",
        ("crm.update_lead", "was"): "used before",
        ("crm.update_lead", "by"): "a date used before",
        ("crm.create_note", "text"): "all words known",
        ("crm.create_note", "half"): "most words known",
        ("crm.create_note", "little"): "some words known",
        ("crm.create_note", "none"): "no word known",
        ("crm.create_note", "by"): "a date from nowhere",
    }


def test_with_a_request_its_words_dates_weekdays_and_spans_are_origins_also_of_reads() -> None:
    made = trace(
        ("crm", "search_leads", {"status": "Lost", "since": "2026-03-05", "min": "2026-03-06", "max": "2026-04-17"}),
        request="Call the lost leads since 5 March or a Monday, and those of the last six weeks",
    )
    assert origins(made) == {
        ("crm.search_leads", "status"): "in the request",
        ("crm.search_leads", "since"): "a date in the request",
        ("crm.search_leads", "min"): "a span in the request",
        ("crm.search_leads", "max"): "a span in the request",
    }
    on_monday = trace(("crm", "search_leads", {"since": "2026-03-09"}), request="leads of Monday")
    assert origins(on_monday)["crm.search_leads", "since"] == "a weekday in the request"


def test_repeated_writes_count_twice_at_most_and_reads_once() -> None:
    calls = [("crm", "search_leads", {"query": "x"}), ("crm", "delete_lead", {"lead_id": "17"})] * 5
    made = trace(*calls)
    assert made.bag["action", "crm.delete_lead"] == 2
    assert made.bag["action", "crm.search_leads"] == 1


@pytest.mark.parametrize(
    ("text", "days", "weekdays", "spans"),
    [
        ("due on December 4 or 5 jan", {(12, 4), (1, 5)}, set(), set()),
        ("since 2026-02-03", {(2, 3)}, set(), set()),
        ("Mondays and friday", set(), {0, 4}, set()),
        ("six weeks, 3 days, a month, last week", set(), set(), {42, 3, 30, 7}),
        ("in 99999999 weeks and 12345 days", set(), set(), set()),
        ("", set(), set(), set()),
    ],
)
def test_a_request_is_taken_apart(text: str, days: set[tuple[int, int]], weekdays: set[int], spans: set[int]) -> None:
    request = Request(text)
    assert (request.days, request.weekdays, request.spans) == (days, weekdays, spans)


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), ([], ""), ({}, ""), ("  a ", "a"), (3, "3"), (False, "false"), (["a"], '["a"]')]
)
def test_values_of_any_kind_become_texts(value: Any, text: str) -> None:
    assert text_of(value) == text

"""Event logs to deals: stages, touches, the first outcome, and nothing after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from events.adapters.base import DataIssue, IssueKind
from events.adapters.eventlog import read
from events.adapters.mapping import parse_mapping
from events.adapters.tables import Row, csv_rows, xes_rows
from events.codec import BadEvent, BadReason, Refusal, decode_input, encode
from events.types import ActivityEvent, After, ChangeEvent, Event

MAPPING = """
source = "/import/test"
first_stage = "New"
[columns]
case = "case"
activity = "what"
timestamp = "when"
[time]
zone = "Europe/Amsterdam"
[outcome]
won = ["signed"]
lost = ["refused", "gone"]
[stages]
"offered" = "Offer"
[touches]
"called" = { kind = "call", direction = "outbound" }
"answered" = { kind = "email", direction = "inbound" }
"""


def events(table: str, mapping: str = MAPPING) -> list[Any]:
    """The events of a table of "case what when" lines."""
    rows = [line.split(maxsplit=2) for line in table.strip().splitlines()]
    data = [b"case,what,when\n", *(f"{case},{what},{when}\n".encode() for case, what, when in rows)]
    return [item for item in read(csv_rows(data), parse_mapping(mapping)) if isinstance(item, Event)]


def told(event: Any) -> Any:
    """An event in short."""
    if isinstance(event, ChangeEvent):
        return event.time, event.data.op, event.data.changes["stage"]  # type: ignore[index]
    assert isinstance(event, ActivityEvent)
    return event.time, event.data.kind, event.data.direction


def test_a_case_becomes_a_deal_from_its_first_event_to_its_outcome() -> None:
    found = events("""
        d1 called   2016-01-04 09:00:00
        d1 offered  2016-01-04 10:00:00.5
        d1 answered 2016-07-04 10:00:00
        d1 signed   2016-07-05 10:00:00
    """)
    assert [told(event) for event in found] == [
        ("2016-01-04T08:00:00Z", "create", (None, "New")),
        ("2016-01-04T08:00:00Z", "call", "outbound"),
        ("2016-01-04T09:00:00.500Z", "update", ("New", "Offer")),
        ("2016-07-04T08:00:00Z", "email", "inbound"),
        ("2016-07-05T08:00:00Z", "update", ("Offer", "Closed Won")),
    ]
    assert found[-1].data.changes["is_won"] == After(True)
    assert found[-1].data.changes["is_closed"] == (False, True)


def test_the_first_outcome_decides_and_nothing_at_or_after_it_is_used() -> None:
    found = events("""
        d1 offered  2016-01-04 09:00:00
        d1 called   2016-01-05 09:00:00
        d1 gone     2016-01-05 09:00:00
        d1 answered 2016-01-05 09:00:00
        d1 signed   2016-01-06 09:00:00
        d1 called   2016-01-07 09:00:00
    """)
    assert [told(event) for event in found] == [
        ("2016-01-04T08:00:00Z", "create", (None, "Offer")),
        ("2016-01-05T08:00:00Z", "update", ("Offer", "Closed Lost")),
    ]


def test_a_case_that_begins_with_its_outcome_is_created_and_closed() -> None:
    found = events("d1 refused 2016-01-04 09:00:00")
    assert [told(event)[1:] for event in found] == [("create", (None, "New")), ("update", ("New", "Closed Lost"))]


def test_what_happens_at_one_instant_keeps_its_order_where_ids_decide() -> None:
    steps = "\n".join(f"d1 {what} 2016-01-04 09:00:00" for what in ["called", "offered"] + ["answered"] * 20)
    found = events(steps)
    assert [event.id for event in found] == sorted(event.id for event in found)
    assert [told(event)[1] for event in found[:4]] == ["create", "call", "update", "email"]


def test_rows_in_any_order_give_events_in_time_order() -> None:
    found = events("""
        d2 called  2016-01-04 09:30:00
        d1 offered 2016-01-04 10:00:00
        d1 called  2016-01-04 09:00:00
    """)
    assert [event.time[11:16] for event in found] == ["08:00", "08:00", "08:30", "08:30", "09:00"]


def test_the_same_stage_again_is_no_change_and_a_step_back_is_one() -> None:
    two = MAPPING.replace('"offered" = "Offer"', '"offered" = "Offer"\n"drafted" = "Draft"')
    found = events(
        """
        d1 drafted 2016-01-04 09:00:00
        d1 offered 2016-01-04 10:00:00
        d1 offered 2016-01-04 11:00:00
        d1 drafted 2016-01-04 12:00:00
    """,
        two,
    )
    assert [told(event)[2] for event in found] == [(None, "Draft"), ("Draft", "Offer"), ("Offer", "Draft")]


def test_an_activity_without_a_name_in_the_mapping_is_a_task_or_nothing_and_reported() -> None:
    rows = [Row(2, {"case": "d1", "what": "checked", "when": "2016-01-04 09:00:00"})]
    items = list(read(rows, parse_mapping(MAPPING), "log.csv"))
    issue = next(item for item in items if isinstance(item, DataIssue) and item.kind == IssueKind.UNMAPPED)
    assert (issue.file, issue.column, issue.value) == ("log.csv", "what", "checked")
    assert [told(item)[1] for item in items if isinstance(item, Event)] == ["create", "task"]
    without = read(rows, parse_mapping('other = "ignore"\n' + MAPPING))
    assert [told(item)[1] for item in without if isinstance(item, Event)] == ["create"]


def test_owner_amount_and_name_are_told_when_the_mapping_names_their_columns() -> None:
    mapping = MAPPING.replace("[columns]", 'currency = "EUR"\n[columns]\nowner = "o"\namount = "a"\nname = "n"')
    row = Row(2, {"case": "d1", "what": "called", "when": "2016-01-04 09:00:00", "o": "u1", "a": "5000", "n": "Loan"})
    create = next(item for item in read([row], parse_mapping(mapping)) if isinstance(item, ChangeEvent))
    assert create.data.changes == {
        "name": (None, "Loan"),
        "stage": (None, "New"),
        "is_closed": (None, False),
        "amount": (None, "5000.00"),
        "currency": (None, "EUR"),
        "owner_id": (None, "u1"),
    }


@pytest.mark.parametrize(
    ("row", "reason", "field"),
    [
        (b"d1,called,yesterday", BadReason.BAD_TIME, "when"),
        (b"d1,called,", BadReason.MISSING_FIELD, "when"),
        (b",called,2016-01-04", BadReason.MISSING_FIELD, "case"),
        (b"d1,called", BadReason.BAD_VALUE, ""),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_the_rest_is_read(row: bytes, reason: str, field: str) -> None:
    lines = [b"case,what,when\n", row + b"\n", b"d2,called,2016-01-04 09:00:00\n"]
    items = list(read(csv_rows(lines), parse_mapping(MAPPING)))
    refused = [item for item in items if isinstance(item, Refusal)]
    assert [(each.index, each.error.reason, each.error.field) for each in refused] == [(2, reason, field)]
    assert refused[0].error.message.startswith("line 2: ")
    assert len([item for item in items if isinstance(item, Event)]) == 2


def test_its_events_can_be_sent() -> None:
    for event in events("d1 called 2016-01-04 09:00:00\nd1 signed 2016-01-05 09:00:00"):
        assert decode_input(encode(event)) == event


XES = b"""<?xml version="1.0" encoding="UTF-8"?>
<log xmlns="http://www.xes-standard.org/"><string key="concept:name" value="the log"/>
 <trace><string key="concept:name" value="d1"/><int key="amount" value="7"/>
  <event><string key="concept:name" value="called"/>
   <date key="time:timestamp" value="2016-01-04T09:00:00+01:00"/></event>
  <event><string key="concept:name" value="signed"/>
   <date key="time:timestamp" value="2016-01-05T09:00:00+01:00"/></event>
 </trace>
 <trace><string key="concept:name" value="d2"/>
  <event><string key="concept:name" value="answered"/><date key="time:timestamp" value="2016-01-04T09:30:00Z"/></event>
 </trace>
</log>"""


@pytest.mark.parametrize("chunk", [1, 100, 10_000])
def test_an_xes_file_gives_rows_with_the_attributes_of_trace_and_event(chunk: int) -> None:
    rows = list(xes_rows(XES[at : at + chunk] for at in range(0, len(XES), chunk)))
    assert rows[0] == Row(
        1,
        {
            "case:concept:name": "d1",
            "case:amount": "7",
            "concept:name": "called",
            "time:timestamp": "2016-01-04T09:00:00+01:00",
        },
    )
    assert [row.values["case:concept:name"] for row in rows if isinstance(row, Row)] == ["d1", "d1", "d2"]


def test_an_xes_log_becomes_deals_too() -> None:
    mapping = MAPPING.replace('"case"', '"case:concept:name"').replace('"what"', '"concept:name"')
    mapping = parse_mapping(mapping.replace('"when"', '"time:timestamp"'))
    found = [told(item)[:2] for item in read(xes_rows([XES]), mapping) if isinstance(item, Event)]
    assert found == [
        ("2016-01-04T08:00:00Z", "create"),
        ("2016-01-04T08:00:00Z", "call"),
        ("2016-01-04T09:30:00Z", "create"),
        ("2016-01-04T09:30:00Z", "email"),
        ("2016-01-05T08:00:00Z", "update"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        XES[:-20],
        b"not xml",
        b'<!DOCTYPE log [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><log>&b;</log>',
        b"",
    ],
)
def test_xml_that_is_broken_or_declares_entities_is_refused(data: bytes) -> None:
    assert isinstance(list(xes_rows([data]))[-1], Refusal)


def test_csv_may_have_a_byte_order_mark_quotes_and_another_delimiter() -> None:
    lines = ["\ufeffcase;what;when\n".encode(), b'd1;"a;b";2016-01-04\n']
    assert list(csv_rows(lines, ";")) == [Row(2, {"case": "d1", "what": "a;b", "when": "2016-01-04"})]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[columns]", "[colums]", "did you mean columns?"),
        ("[time]\nzone", "[time]\nzon", "did you mean zone?"),
        ("Europe/Amsterdam", "Europe/Amsterdamm", "no IANA time zone"),
        ('case = "case"', "case = 7", "$.columns.case"),
        ('direction = "inbound"', 'direction = "in"', "$.touches"),
        ('lost = ["refused", "gone"]', 'lost = ["signed"]', "outcome.won and in outcome.lost"),
        ("[columns]", "[columns", "not TOML"),
        ('source = "/import/test"', "", "missing required field `source`"),
    ],
)
def test_a_mistake_in_the_mapping_is_told_with_the_file_and_the_key(old: str, new: str, said: str) -> None:
    with pytest.raises(BadEvent) as caught:
        parse_mapping(MAPPING.replace(old, new), "my.toml")
    assert caught.value.message.startswith("my.toml")
    assert said in caught.value.message


def test_the_mapping_in_the_docs_is_right() -> None:
    path = Path(__file__).resolve().parents[3] / "docs" / "examples" / "bpic2017.toml"
    mapping = parse_mapping(path.read_text(encoding="utf-8"))
    assert mapping.outcome.won == ["A_Pending"]
    assert mapping.outcome.lost == ["A_Cancelled", "A_Denied"]


def test_close_dates_are_told_when_they_change_and_as_days() -> None:
    mapping = MAPPING.replace('timestamp = "when"', 'timestamp = "when"\nclose_date = "due"')
    table = b"""case,what,when,due
d1,called,2016-01-04 09:00:00,2016-03-31
d1,answered,2016-01-05 09:00:00,2016-03-31
d1,offered,2016-01-06 09:00:00,2016-04-30 23:30:00+00:00
d1,called,2016-01-07 09:00:00,
d1,called,2016-01-08 09:00:00,soon
d1,signed,2016-01-09 09:00:00,2016-01-09
"""
    found = [
        item
        for item in read(csv_rows(table.splitlines(keepends=True)), parse_mapping(mapping))
        if isinstance(item, ChangeEvent)
    ]
    changed = [(event.time[:10], dict(event.data.changes)) for event in found if event.data.changes]
    dates = [(day, changes["close_date"]) for day, changes in changed if "close_date" in changes]
    assert dates == [
        ("2016-01-04", (None, "2016-03-31")),
        ("2016-01-06", ("2016-03-31", "2016-05-01")),  # the day there, where it is two hours later
        ("2016-01-08", ("2016-05-01", "soon")),
    ]

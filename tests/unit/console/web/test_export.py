"""Exports: what a spreadsheet would execute is text, and nothing is lost."""

from __future__ import annotations

import csv
import io

from console.web.export import to_csv
from events.types import Trigger
from storage.read.types import ActionRow


def _row(**more: object) -> ActionRow:
    told = {
        "cursor": "1.1.1", "kind": "report", "at_ms": 1_772_612_410_000, "effect_ms": 1_772_612_410_000, "offset": 1,
        "agent_id": "bot", "event_id": "a-1", "source": "/crm", "action": "record.update", "outcome": "ok",
        "object": "Account", "record_ids": ["001A1"], "changes": {"001A1": {"Name": ["Acme", "Acme Ltd"]}},
        "records": 1, "recipients": 0, "is_external": False, "authorized_by": "user:1",
        "trigger": Trigger("prompt", "refresh"),
    }  # fmt: skip
    return ActionRow(**{**told, **more})


def _lines(*rows: ActionRow) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(list(rows)))))


def test_each_changed_field_is_a_line_with_before_and_after() -> None:
    found = _lines(_row(changes={"001A1": {"Name": ["Acme", "Acme Ltd"], "Phone": ["1", None]}}))
    assert [(line["field"], line["before"], line["after"]) for line in found] == [
        ("Name", "Acme", "Acme Ltd"),
        ("Phone", "'1" if found[1]["before"].startswith("'") else "1", ""),
    ]
    assert found[0]["time"] == "2026-03-04T08:20:10Z"


def test_several_records_name_the_record_before_the_field() -> None:
    found = _lines(_row(record_ids=["a", "b"], changes={"a": {"X": [1, 2]}, "b": {"X": [3, 4]}}))
    assert [(line["field"], line["before"], line["after"]) for line in found] == [("a.X", "1", "2"), ("b.X", "3", "4")]


def test_an_operation_without_changes_has_one_line() -> None:
    assert len(_lines(_row(changes={}))) == 1


def test_an_unknown_value_before_is_empty() -> None:
    found = _lines(_row(changes={"001A1": {"Name": {"after": "Acme"}}}))
    assert (found[0]["before"], found[0]["after"]) == ("", "Acme")


def test_no_cell_starts_a_formula() -> None:
    evil = ['=HYPERLINK("http://x","y")', "+1", "-2+3", "@SUM(A1)", " =1+1", "\t=1", "\uff1d1", "\u2212cmd"]
    for text in evil:
        line = _lines(
            _row(
                authorized_by=text, object=text, agent_id=text, record_ids=[text], changes={text: {text: [text, text]}}
            )
        )[0]
        for name in ("authorized_by", "object", "agent_id", "record_ids", "field", "before", "after"):
            assert line[name].startswith("'"), (name, text)


def test_numbers_stay_numbers() -> None:
    found = _lines(_row(changes={"001A1": {"Amount": [-5, 7.5]}}))
    assert (found[0]["before"], found[0]["after"]) == ("-5", "7.5")

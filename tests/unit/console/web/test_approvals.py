"""A form's answer as an edit: what stays as it is shown stays what it was, however it is written."""

from __future__ import annotations

from typing import Any

import pytest

from console.errors import Refused
from console.web.approvals import edit_of
from events.types import After
from governance.approvals import edited
from governance.gate import GateRequest

HOSTILE = "one\ntwo \u202eevil \x1b[0m"
REQUEST = GateRequest(
    agent_id="bot", action="record.update", record_ids=["a", "b"], recipient_ids=["x@y.example"],
    changes={"a": {"Note": ("", HOSTILE), "Size": (1, 2), "Tags": After(["x"])}, "b": {"Open": (True, False)}},
)  # fmt: skip
SHOWN = {
    "record:0": "yes", "record:1": "yes", "to:0": "yes", "field:0": "one⏎two \ufffdevil \ufffd[0m", "field:1": "2",
    "field:2": '["x"]', "field:3": "false",
}  # fmt: skip


def changed(**fields: Any) -> dict[str, Any]:
    form = {name.replace("_", ":"): value for name, value in fields.items()}
    edit = edit_of(REQUEST, SHOWN | form)
    assert edit is not None
    return edited(REQUEST, edit).changes


def test_a_form_left_as_it_is_shown_changes_nothing() -> None:
    assert edit_of(REQUEST, SHOWN) is None


def test_a_value_keeps_its_sort_and_the_value_before() -> None:
    found = changed(field_0="one⏎three", field_1="7", field_2='["x", "y"]', field_3="true")
    assert found["a"] == {"Note": ("", "one\nthree"), "Size": (1, 7), "Tags": After(["x", "y"])}
    assert found["b"] == {"Open": (True, True)}
    with pytest.raises(Refused, match="field:1"):
        changed(field_1="seven")


def test_what_is_taken_out_is_gone_with_its_fields() -> None:
    form = {name: text for name, text in SHOWN.items() if name != "record:0"}
    edit = edit_of(REQUEST, form)
    assert edit is not None
    less = edited(REQUEST, edit)
    assert (less.record_ids, less.changes, less.recipient_ids) == (
        ["b"],
        {"b": {"Open": (True, False)}},
        ["x@y.example"],
    )
    for missing in (("record:0", "record:1"), ("to:0",)):
        with pytest.raises(Refused, match="nothing is left"):
            edit_of(REQUEST, {name: text for name, text in SHOWN.items() if name not in missing})

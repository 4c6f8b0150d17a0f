"""The exported JSON Schemas say what the decoder does."""

from __future__ import annotations

import json
from functools import cache

from events import schema as made
from events.codec import EVENT_TYPES
from events.schema import export

schemas = cache(made.schemas)


def test_there_is_one_file_for_each_event_type_and_each_is_json() -> None:
    files = export()
    assert {path.name for path in files} == {f"{name}.schema.json" for name in EVENT_TYPES}
    for path, data in files.items():
        schema = json.loads(data)
        assert schema["title"] + ".schema.json" == path.name
        assert schema["properties"]["type"]["enum"] == [schema["title"]]


def test_the_same_types_give_the_same_bytes() -> None:
    assert export() == export()


def test_required_and_described_fields_are_there() -> None:
    schema = schemas()["tripline.agent.action.v1"]
    assert set(schema["required"]) == {"type", "specversion", "id", "source", "time", "data"}
    assert schema["$defs"]["AgentAction"]["required"] == ["agent_id", "action", "outcome"]
    assert all("description" in each for name, each in schema["properties"].items() if name != "data")
    assert schema["properties"]["time"]["format"] == "date-time"
    assert schema["$defs"]["AgentAction"]["properties"]["records"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 2**53,
    }


def test_every_reference_has_its_definition() -> None:
    for schema in schemas().values():
        text = json.dumps(schema)
        names = {part.partition('"')[0] for part in text.split("#/$defs/")[1:]}
        assert names <= schema["$defs"].keys()


def test_unknown_fields_are_allowed() -> None:
    assert 'additionalProperties": false' not in json.dumps(schemas())

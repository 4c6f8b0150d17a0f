"""JSON Schemas of every event, one file a type, made from the record types themselves."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import msgspec

from events.codec import EVENT_TYPES
from events.types import MAX_VALUE_DEPTH, Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"

ATTRIBUTES: dict[str, str] = {
    "specversion": "The CloudEvents version.",
    "id": "Unique with source: the key by which duplicates are dropped.",
    "source": "URI reference of the system that tells, such as /crm/salesforce/00D1.",
    "type": "The event's type; it decides what data holds.",
    "time": "When it happened: RFC 3339 with a zone. Never guessed when it is missing.",
    "subject": "What it is about, such as agent/dealbot.",
    "partitionkey": "The key of the record in Kafka.",
    "datacontenttype": "application/json, or another JSON media type.",
    "tenant": 'Whose it is; "default" when absent. No slash.',
    "sequence": "Counts the producer's events of one key; shows gaps.",
    "loggedat": "In dumps of input partitions only: when the log took it.",
    "logtopic": "In dumps only: the topic it was in.",
    "logpartition": "In dumps only: the partition.",
    "logoffset": "In dumps only: the offset.",
}
"""What each attribute of the envelope says."""


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of every event type, by the attribute ``type``."""
    return {name: schema_of(kind) for name, kind in EVENT_TYPES.items()}


def schema_of(kind: type[Event]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one event class, its definitions included."""
    schema = msgspec.json.schema(kind)
    definitions = {name: _plain(each) for name, each in schema["$defs"].items()}
    envelope = definitions.pop(kind.__name__)
    name = str(kind.__struct_config__.tag)
    for attribute, text in ATTRIBUTES.items():
        if attribute in envelope["properties"]:
            envelope["properties"][attribute]["description"] = text
    envelope["properties"]["time"]["format"] = "date-time"
    envelope["properties"]["source"]["format"] = "uri-reference"
    data = definitions[kind.__annotations__["data"]]
    envelope["title"] = name
    envelope["description"] = data.get("description", "")
    return {"$schema": DIALECT, "$id": f"urn:tripline:schema:{name}", **envelope, "$defs": definitions}


def export() -> dict[PurePath, bytes]:
    """What ``tripline schema export`` writes: file name → its bytes, one file a type."""
    return {
        PurePath(f"{name}.schema.json"): msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
        for name, schema in schemas().items()
    }


def _plain(node: Any) -> Any:
    """The node with a CRM field's value said in one line rather than as a tower of nested alternatives."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("title") == "value" and "anyOf" in node:
        return {"description": f"Any JSON value, nested at most {MAX_VALUE_DEPTH} deep."}
    return {key: _plain(each) for key, each in node.items()}

"""Describes, for OpenAPI, bodies that routes read and check by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from litestar.openapi.spec import (
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    RequestBody,
    Schema,
)

from console.public import public_schema

_KINDS = {kind.value: kind for kind in OpenAPIType}


def body_of(model: type, *, example: Any = None) -> type[Operation]:
    """An operation whose JSON body is ``model``, a msgspec struct."""

    def schemas() -> dict[str, Schema]:
        (plain,), components = msgspec.json.schema_components([model])
        return {"application/json": as_schema(plain, components)}

    return body_as(schemas, example)


def answer_of(model: Any) -> type[Operation]:
    """An operation that answers with ``model``, a msgspec struct or a list of one, as ``console.public`` shows it."""

    @cache
    def schema() -> Schema:
        (plain,), components = msgspec.json.schema_components([model])
        return as_schema(public_schema(plain), public_schema(components))

    @dataclass
    class Documented(Operation):
        """An operation with this answer."""

        def __post_init__(self) -> None:
            for status, spec in (self.responses or {}).items():
                if status == "200" and isinstance(spec, OpenAPIResponse):
                    spec.content = {"application/json": OpenAPIMediaType(schema=schema())}

    return Documented


def body_as(schemas: Callable[[], dict[str, Schema]], example: Any = None) -> type[Operation]:
    """An operation whose body is one of these, by content type.

    Schemas are made when somebody asks for the document: that takes seconds, and a server should start without.
    """

    @cache
    def content() -> dict[str, OpenAPIMediaType]:
        return {kind: OpenAPIMediaType(schema=schema, example=example) for kind, schema in schemas().items()}

    @dataclass
    class Documented(Operation):
        """An operation with this body."""

        def __post_init__(self) -> None:
            self.request_body = RequestBody(content=content(), required=True)

    return Documented


def as_schema(plain: dict[str, Any], components: dict[str, Any]) -> Schema:
    """A JSON Schema, as msgspec writes it, with its references put in."""
    if "$ref" in plain:
        return as_schema(components[plain["$ref"].rpartition("/")[2]], components)
    schema = Schema(
        description=plain.get("description"),
        enum=plain.get("enum"),
        required=plain.get("required"),
        min_length=plain.get("minLength"),
        max_length=plain.get("maxLength"),
        minimum=plain.get("minimum"),
        max_items=plain.get("maxItems"),
    )
    if "type" in plain:
        schema.type = _KINDS[plain["type"]]
    if "properties" in plain:
        schema.properties = {name: as_schema(each, components) for name, each in plain["properties"].items()}
    if isinstance(plain.get("items"), dict):
        schema.items = as_schema(plain["items"], components)
    if isinstance(plain.get("additionalProperties"), dict):
        schema.additional_properties = as_schema(plain["additionalProperties"], components)
    if "anyOf" in plain:
        schema.any_of = [as_schema(each, components) for each in plain["anyOf"]]
    return schema

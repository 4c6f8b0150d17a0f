"""What an agent did, as a file: CSV that no spreadsheet executes, or JSON Lines with the values as they were."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.params import FromPath

from console.api.queries import read
from console.services import Services, services_of
from console.text import cell as safe_cell
from console.web.pages import TWO_DAYS_MS
from events.times import format_ms
from storage.read.types import ActionRow

_Request = Request[Any, Any, Any]
MAX_ROWS = 20_000
_AT_ONCE = 2_000
COLUMNS = (
    "time", "effect_time", "agent_id", "action", "outcome", "object", "record_ids", "records", "recipients", "field",
    "before", "after", "authorized_by", "trigger", "trigger_ref", "decision_id", "reason", "event_id", "source",
)  # fmt: skip
_UNKNOWN = object()
_MAX_CHARS = 32_000
"""What a spreadsheet takes in one cell, nearly."""


def _all(services: Services, agent_id: str, now_ms: int) -> list[ActionRow]:
    rows: list[ActionRow] = []
    cursor: str | None = None
    while len(rows) < MAX_ROWS:
        found = services.reader.actions(agent_id, now_ms - TWO_DAYS_MS, now_ms, limit=_AT_ONCE, cursor=cursor)
        rows += found.rows
        cursor = found.next_cursor
        if cursor is None:
            break
    return rows[:MAX_ROWS]


@get("/agents/{agent_id:str}/actions.csv", include_in_schema=False)
async def as_csv(request: _Request, agent_id: FromPath[str]) -> Response[bytes]:
    """One line a changed field; an operation without changes has one line."""
    services = services_of(request)
    now_ms = services.now_ms()
    rows = await read(lambda: _all(services, agent_id, now_ms))
    return _file(to_csv(rows).encode("utf-8-sig"), agent_id, now_ms, "csv", "text/csv; charset=utf-8")


@get("/agents/{agent_id:str}/actions.jsonl", include_in_schema=False)
async def as_jsonl(request: _Request, agent_id: FromPath[str]) -> Response[bytes]:
    """One operation a line."""
    services = services_of(request)
    now_ms = services.now_ms()
    rows = await read(lambda: _all(services, agent_id, now_ms))
    body = b"".join(msgspec.json.encode(_record(row)) + b"\n" for row in rows)
    return _file(body, agent_id, now_ms, "jsonl", "application/x-ndjson")


def to_csv(rows: list[ActionRow]) -> str:
    """The rows as CSV text; every text that came from outside went through ``cell``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        for field, before, after in _fields(row):
            trigger = row.trigger
            ref = trigger.ref if trigger is not None and isinstance(trigger.ref, str) else ""
            writer.writerow(
                (
                    format_ms(row.at_ms), format_ms(row.effect_ms), cell(row.agent_id), cell(row.action),
                    cell(row.outcome), cell(row.object), cell(" ".join(row.record_ids)), row.records, row.recipients,
                    cell(field), _value(before), _value(after), cell(row.authorized_by),
                    cell(trigger.kind if trigger else None), cell(ref), cell(row.decision_id), cell(row.reason),
                    cell(row.event_id), cell(row.source),
                )
            )  # fmt: skip
    return out.getvalue()


def cell(text: str | None) -> str:
    """Text from outside as a cell; what is not known is empty."""
    return "" if text is None else safe_cell(text, _MAX_CHARS)


def _value(of: Any) -> object:
    if of is _UNKNOWN:
        return ""
    if of is None or isinstance(of, str):
        return cell(of)
    if isinstance(of, bool | int | float):
        return of
    return cell(msgspec.json.encode(of).decode())


def _fields(row: ActionRow) -> Iterator[tuple[str, Any, Any]]:
    is_many = len(row.changes) > 1
    empty = True
    for record, fields in row.changes.items():
        for name, change in fields.items():
            empty = False
            label = f"{record}.{name}" if is_many else name
            if isinstance(change, list | tuple) and len(change) == 2:
                yield label, change[0], change[1]
            else:
                yield label, _UNKNOWN, change.get("after") if isinstance(change, dict) else change
    if empty:
        yield "", _UNKNOWN, _UNKNOWN


def _record(row: ActionRow) -> dict[str, Any]:
    shown = msgspec.to_builtins(row)
    shown["time"] = format_ms(row.at_ms)
    shown["effect_time"] = format_ms(row.effect_ms)
    for name in ("cursor", "at_ms", "effect_ms"):
        del shown[name]
    return dict(shown)


def _file(body: bytes, agent_id: str, now_ms: int, ending: str, media_type: str) -> Response[bytes]:
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", agent_id)[:60]
    stamp = format_ms(now_ms)[:16].replace(":", "").replace("-", "")
    disposition = f'attachment; filename="tripline-{name}-{stamp}Z.{ending}"'
    return Response(body, media_type=media_type, headers={"Content-Disposition": disposition})


ROUTES = [as_csv, as_jsonl]

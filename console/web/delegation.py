"""The delegation board as a page: what waits for a second person, who may do what, readiness, and what could change."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath

from console.api import delegation as board_api
from console.api import policy as api
from console.api.delegation import board_of
from console.api.queries import read
from console.board import DAYS, Board
from console.services import services_of
from console.text import plain
from console.web.frame import frame_of
from console.web.look import Frame
from console.web.render import page
from console.web.words import many, number
from events.times import parse_ms
from governance.policy.board import COLUMNS, Cell

_Request = Request[Any, Any, Any]
_WORDS = {"autonomous": "by itself", "approval": "with approval", "human_only": "people only", "none": "not allowed"}
_ICONS = {"autonomous": "check", "approval": "wait", "human_only": "held", "none": ""}
_MOST_LINES = 40


@get("/delegation", include_in_schema=False)
async def delegation(request: _Request) -> Response[str]:
    """Who may do what."""
    services, frame = services_of(request), frame_of(request, "delegation")
    policy = await read(lambda: api.state_of(services))
    board = await board_of(request)
    view = {
        **_policy_view(policy, frame),
        "level": board.level,
        "title": _title(board, policy),
        "columns": [name for name, _ in COLUMNS if _is_used(board, name)],
        "rows": [_row(board, at, frame) for at in range(len(board.rows))],
        "items": [_item(one, frame) for one in board.items],
        "met": sum(1 for one in board.items if one.state == "met"),
        "proposals": board.proposals,
        "days": DAYS,
    }
    return page("delegation.html", frame=frame, clock=frame.clock, view=view)


def _title(board: Board, policy: api.PolicyState) -> str:
    if not policy.version:
        return f"No policy is set · ready for level {board.level}"
    waits = f"{many(len(policy.waits), 'line')} for two people" if policy.waits else "in force as written"
    return f"{many(len(board.rows), 'agent')} under the policy · {waits}"


def _policy_view(policy: api.PolicyState, frame: Frame) -> dict[str, Any]:
    clock, who = frame.clock, frame.who.name.casefold() if frame.who else ""
    return {
        "version": policy.version[:12],
        "base": policy.base[:12],
        "until": clock.time(parse_ms(policy.until)) if policy.until else "",
        "found": policy.found,
        "waits": [plain(line, 300) for line in policy.waits[:_MOST_LINES]],
        "can_ask": bool(policy.waits) and not any(one.version == policy.found for one in policy.changes),
        "more": max(0, len(policy.waits) - _MOST_LINES),
        "trouble": plain(policy.trouble, 600),
        "changes": [
            {
                "id": one.id,
                "is_waiting": one.state == "waiting",
                "state": "waits for a second person" if one.state == "waiting" else "in force",
                "lines": [plain(line, 300) for line in one.lines[:_MOST_LINES]],
                "until": clock.time(parse_ms(one.until)),
                "until_iso": clock.iso(parse_ms(one.until)),
                "people": plain(f"{one.by}, {one.second}" if one.second else one.by, 120),
                "reason": plain(one.reason, 300),
                "version": one.version[:12],
                "can_confirm": one.state == "waiting" and bool(who) and who != one.by.casefold(),
            }
            for one in policy.changes
        ],
    }


def _is_used(board: Board, kind: str) -> bool:
    cells = [cell for row in board.rows for cell in row.cells if cell.kind == kind]
    return any(cell.may != "none" or cell.seen.denied or cell.seen.used for cell in cells)


def _row(board: Board, at: int, frame: Frame) -> dict[str, Any]:
    row = board.rows[at]
    known = frame.settings.people.get(row.owner)
    return {
        "agent_id": row.agent_id,
        "name": plain(row.agent_id, 80),
        "owner": plain(known.name if known is not None and known.name else row.owner, 60),
        "level": row.level,
        "mode": "" if row.mode == "active" else row.mode.replace("_", " "),
        "reverts": f"{many(row.reverts, 'change')} undone by people" if row.reverts else "",
        "cells": [_cell(cell) for cell in row.cells if _is_used(board, cell.kind)],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    seen = cell.seen
    more = [
        (max(seen.done, seen.allowed), "done"), (seen.held, "held"), (seen.denied, "refused"), (seen.errors, "failed"),
        (seen.given + seen.edited, "approved"),
    ]  # fmt: skip
    told = [f"{number(count)} {word}" for count, word in more if count]
    rule = cell.rule.replace("_", " ") if cell.may in ("approval", "human_only") else ""
    mixed = "some less" if len(set(cell.actions.values())) > 1 else ""
    parts = [f"{plain(name, 60)}: {_WORDS[verdict]}" for name, verdict in sorted(cell.actions.items())]
    return {
        "kind": cell.kind,
        "may": cell.may,
        "word": _WORDS[cell.may],
        "icon": _ICONS[cell.may],
        "told": ", ".join(told),
        "notes": " · ".join(each for each in (rule, mixed, ", ".join(told)) if each),
        "title": "; ".join(parts) + (f". {cell.path}: {plain(cell.why, 200)}" if cell.path else ""),
    }


def _item(one: Any, frame: Frame) -> dict[str, Any]:
    return {
        "number": one.number,
        "name": one.name,
        "is_met": one.state == "met",
        "evidence": plain(one.evidence, 300),
        "who": f"{plain(one.by, 60)}, {frame.clock.time(one.at_ms)}" if one.by else "",
        "how": "measured" if one.is_measured else "stated",
        "key": one.key,
    }


@post("/delegation/ask", include_in_schema=False)
async def ask(request: _Request) -> Response[Any]:
    """The first person asks for the wider version of the files."""
    answer: Response[Any] = await api.ask.fn(request)
    return answer


@post("/delegation/changes/{change_id:str}/confirm", include_in_schema=False)
async def confirm(request: _Request, change_id: FromPath[str]) -> Response[Any]:
    """The second person."""
    answer: Response[Any] = await api.confirm.fn(request, change_id)
    return answer


@post("/delegation/changes/{change_id:str}/end", include_in_schema=False)
async def end(request: _Request, change_id: FromPath[str]) -> Response[Any]:
    """One person ends it."""
    answer: Response[Any] = await api.end.fn(request, change_id)
    return answer


@post("/delegation/items/{item:str}", include_in_schema=False)
async def state(request: _Request, item: FromPath[str]) -> Response[Any]:
    """A person states an item of readiness."""
    answer: Response[Any] = await board_api.state.fn(request, item)
    return answer


ROUTES = [delegation, ask, confirm, end, state]

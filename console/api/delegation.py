"""The delegation board: who may do what, whether more would be ready, and what the policy could say instead."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec import Meta, Struct

from console.api.control import operator, read_form, to_page
from console.api.docs import answer_of, body_of
from console.api.policy import BOARD_PAGE
from console.api.queries import read
from console.api.widenings import decide
from console.board import Board
from console.errors import bad_request
from console.services import services_of
from events.times import format_ms
from governance.policy.board import Proposal, Row
from governance.readiness import STATED, STATED_MS, Stated
from storage import attestations
from streams.policy_change import POLICY_KEY

_Request = Request[Any, Any, Any]


class ItemShown(Struct, frozen=True, kw_only=True):
    """One of the ten items of readiness. ``key``: what to state it under, "" where it is measured alone."""

    number: int
    name: str
    state: str
    evidence: str
    is_measured: bool
    key: str
    by: str
    at: str | None


class BoardShown(Struct, frozen=True, kw_only=True):
    """``level``: what the items allow. ``proposals``: lines to put into the policy's file, never applied by itself."""

    agents: list[Row]
    items: list[ItemShown]
    level: int
    proposals: list[Proposal]
    seen: str


class StateBody(Struct, frozen=True):
    """What was done, and where it can be looked up."""

    note: Annotated[str, Meta(min_length=1, max_length=1000)]


_STATE = msgspec.json.Decoder(StateBody)


@get("/v1/delegation", operation_class=answer_of(BoardShown), tags=["policy"], summary="The delegation board")
async def delegation(request: _Request) -> Response[Any]:
    """Agents against kinds of action with what was seen in 30 days, the ten items, the level, and proposals."""
    return Response(shown(await board_of(request)))


@post(
    "/v1/readiness/{item:str}",
    status_code=200,
    operation_class=body_of(StateBody, example={"note": "restored 200 accounts in the sandbox, ticket OPS-41"}),
    tags=["policy"],
    summary="State an item of readiness",
)
async def state(request: _Request, item: FromPath[str]) -> Response[Any]:
    """A person with the role operator says that it is so, under his or her name; it counts for 90 days."""
    person = operator(request)
    body = await read_form(request, StateBody, _STATE)
    services = services_of(request)
    if item not in STATED:
        raise bad_request(f"nobody can state {item!r}: it is one of {', '.join(STATED)}", "item")
    if not body.note.strip():
        raise bad_request("say what was done, and where it can be looked up", "note")
    said = Stated(item=item, by=person.name, at_ms=services.now_ms(), note=body.note.strip())
    await decide(services, POLICY_KEY, lambda authority: attestations.put(authority.link, said))
    services.boards.forget()
    told = {"item": item, "by": said.by, "until": format_ms(said.at_ms + STATED_MS)}
    return to_page(request, BOARD_PAGE) or Response(told)


async def board_of(request: _Request) -> Board:
    """The board as of now."""
    services = services_of(request)
    now_ms, policy = services.now_ms(), services.runtime.policy
    return await read(lambda: services.boards.make(services.settings, policy, services.reader, now_ms))


def shown(board: Board) -> BoardShown:
    """A board as answers give it."""
    return BoardShown(
        agents=board.rows,
        items=[
            ItemShown(
                number=one.number, name=one.name, state=one.state, evidence=one.evidence, is_measured=one.is_measured,
                key=one.key, by=one.by, at=format_ms(one.at_ms) if one.at_ms else None,
            )
            for one in board.items
        ],
        level=board.level,
        proposals=board.proposals,
        seen=format_ms(board.seen_ms),
    )  # fmt: skip


ROUTES = [delegation, state]

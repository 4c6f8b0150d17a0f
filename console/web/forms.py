"""What forms of pages do: stop and release. The same authority as the API's, with answers for people."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from console.api.containment import cancel_all, revoke_all
from console.api.control import ALL, ask, operator
from console.api.queries import read
from console.auth import Person
from console.errors import Refused, bad_request, forbidden
from console.services import services_of
from console.web.frame import frame_of
from console.web.render import page

_Request = Request[Any, Any, Any]


def form_of(body: bytes) -> dict[str, str]:
    """The fields of a form. Raises Refused when it can't be read."""
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=50))
    except ValueError:
        raise bad_request("the form can't be read") from None


def epoch_of(form: dict[str, str]) -> int:
    """The epoch that the person saw. Raises Refused."""
    text = form.get("epoch", "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise bad_request("the form names no epoch: load the page again", "epoch")
    return int(text)


def _back(path: str, done: str) -> Response[Any]:
    return Response(b"", status_code=303, headers={"Location": f"{path}?done={done}"})


@post("/agents/{agent_id:str}/release", include_in_schema=False)
async def release(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Release a stopped agent, with the reason and the epoch that the person saw."""
    person, form = operator(request), form_of(await request.body())
    if form.get("looked") != "yes":
        raise bad_request("say that you have looked at what it did", "looked")
    decision = await ask(services_of(request), agent_id, "active", person, form.get("reason", ""), epoch=epoch_of(form))
    return _back(_agent_path(agent_id), "released" if decision.changed else "same")


@post("/agents/{agent_id:str}/suspend", include_in_schema=False)
async def suspend(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Stop an agent, with a reason."""
    person, form = operator(request), form_of(await request.body())
    decision = await ask(
        services_of(request), agent_id, "suspended", person, form.get("reason", ""), epoch=epoch_of(form)
    )
    return _back(_agent_path(agent_id), "stopped" if decision.changed else "same")


@post("/agents/{agent_id:str}/revoke", include_in_schema=False)
async def revoke(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Have the CRM take an agent's credentials away, with a reason."""
    person, form = operator(request), form_of(await request.body())
    if form.get("sure") != "yes":
        raise bad_request("say that you know that nothing gives them back", "sure")
    await revoke_all(services_of(request), agent_id, person, form.get("reason", ""))
    return _back(_agent_path(agent_id), "revoked")


@post("/agents/{agent_id:str}/cancel-pending", include_in_schema=False)
async def cancel_pending(request: _Request, agent_id: FromPath[str]) -> Response[Any]:
    """Have the CRM cancel what a stopped agent had set up, with a reason."""
    person, form = operator(request), form_of(await request.body())
    await cancel_all(services_of(request), agent_id, person, form.get("reason", ""))
    return _back(_agent_path(agent_id), "cancelling")


@get("/stop-all", include_in_schema=False)
async def stop_all_page(request: _Request, part: FromQuery[str] = "") -> Response[str]:
    """The form that stops everything; with ``part`` alone, for the dialog."""
    frame = frame_of(request, "overview")
    template = "parts/stop_all.html" if part else "stop_all.html"
    return page(template, frame=frame, clock=frame.clock)


@post("/stop-all", include_in_schema=False)
async def stop_all(request: _Request) -> Response[Any]:
    """Stop everything, with a reason."""
    person, form = operator(request), form_of(await request.body())
    decision = await ask(services_of(request), ALL, "suspended", person, form.get("reason", ""))
    return _back("/", "stopped-all" if decision.changed else "same")


@get("/release-all", include_in_schema=False)
async def release_all_page(request: _Request) -> Response[str]:
    """The form that ends a stop of everything: one person asks, another one confirms."""
    services, frame = services_of(request), frame_of(request, "overview")
    entry = await read(services.reader.stop_all)
    return page("release_all.html", frame=frame, clock=frame.clock, entry=entry, pending=services.two.pending)


@post("/release-all", include_in_schema=False)
async def release_all(request: _Request) -> Response[Any]:
    """The first person's request, or the second one's confirmation."""
    person, form = operator(request), form_of(await request.body())
    services = services_of(request)
    if not form.get("confirm"):
        reason = form.get("reason", "").strip()
        if not reason:
            raise bad_request("a reason is needed", "reason")
        services.two.ask(person.name, reason, epoch_of(form))
        return _back("/release-all", "asked")
    pending = services.two.confirm(form["confirm"], person.name)
    if pending is None:
        raise forbidden("needs_two", "no request of another person waits any more; ask again")
    first = Person(pending.by, "operator")
    await ask(services, ALL, "active", first, pending.reason, epoch=pending.epoch, second=person)
    return _back("/", "released-all")


def _agent_path(agent_id: str) -> str:
    return f"/agents/{quote(agent_id, safe='')}"


def problem_page(request: _Request, problem: Refused) -> Response[str]:
    """A refusal as a page that says what to do; "back" leads to the page that the form was on."""
    frame = frame_of(request, "")
    came_from = urlsplit(request.headers.get("referer", ""))
    is_ours = came_from.netloc == request.headers.get("host") and came_from.path != request.url.path
    back = came_from.path if is_ours else "/"
    return page("problem.html", problem.status, frame=frame, clock=frame.clock, problem=problem, back=back)


ROUTES = [release, suspend, revoke, cancel_pending, stop_all_page, stop_all, release_all_page, release_all]

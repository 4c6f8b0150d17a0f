"""The approvals' pages: what waits, by deadline; and one request with all that somebody needs to say yes or no.

Whatever an agent wrote is shown neutralised. In a form, too: what a person leaves as it is shown stays what it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec import UNSET, Struct

from console.api.approvals import Says, give, seen_by, who
from console.api.queries import read
from console.auth import Person, caller_of, person_of
from console.errors import bad_request, not_found
from console.services import services_of
from console.text import plain
from console.web import words as w
from console.web.forms import form_of
from console.web.frame import frame_of
from console.web.look import Frame, Turn, joined, person_name
from console.web.pages import Flash
from console.web.render import page
from events.catalogue import kind_of
from events.types import After
from governance.approvals import Approval, Edit, Why, barred
from governance.gate import GateRequest
from governance.words import DOING
from storage.read.approvals import ApprovalStep, state_at

_Request = Request[Any, Any, Any]
MOST_EDITED = 50
"""Fields, records or recipients that a form takes; more are edited over HTTP."""
SHOWN_ANSWERED = 20
MOST_CHARS = 20_000
"""Of one value on the page."""


class Line(Struct, frozen=True):
    """One approval in a list."""

    id: str
    title: str
    agent_id: str
    agent: str
    what: str
    why: str
    state: w.State
    said: str
    due: str
    due_iso: str
    left: str


class Field(Struct, frozen=True):
    """One value that would change. ``number``: its place, as the form names it."""

    number: int
    record: str
    field: str
    before: str | None
    after: str | None
    version: str


class ApprovalView(Struct, frozen=True):
    """Everything on an approval's page. ``bar``: why this person can't answer, "" when he or she can."""

    line: Line
    is_open: bool
    lead: str
    fields: list[Field]
    records: list[tuple[str, str]]
    recipients: list[tuple[str, str]]
    waits: list[tuple[str, str]]
    about: list[tuple[str, str]]
    steps: list[Turn]
    bar: str
    hash: str
    seen: str
    can_edit: bool
    was_edited: bool
    by_first: str


_STATES: dict[str, w.State] = {
    "pending": w.State("Waits", "wait", "st-wait", 0),
    "approved": w.State("Approved, not used yet", "check", "st-ok", 1),
    "edited": w.State("Approved with changes, not used yet", "check", "st-ok", 1),
    "used": w.State("Used", "check", "st-ok", 2),
    "refused": w.State("Refused", "no", "st-quiet", 2),
    "expired": w.State("Over, unanswered or unused", "quiet", "st-quiet", 2),
}
_BARS = {
    Why.REQUESTER: "The agent asks in your name. Somebody else has to answer.",
    Why.OWNER: "You own this agent. Somebody else has to answer.",
    Why.NO_RIGHT: "This is not yours to answer.",
}
_STEPS: dict[str, tuple[str, str, str]] = {
    "waits": ("Asked", "open", ""),
    "approved": ("Approved", "check", ""),
    "first_of_two": ("Approved by the first of two", "check", ""),
    "edited": ("Approved with changes", "check", ""),
    "refused": ("Refused", "no", ""),
    "used": ("Used", "check", ""),
    "expired": ("Over", "quiet", ""),
    "record_changed": ("A record was changed", "warn", "amber"),
}


def line(of: Approval, frame: Frame) -> Line:
    """An approval as a row."""
    clock, request = frame.clock, of.request
    state = state_at(of, clock.now_ms)
    left_ms = of.expires_ms - clock.now_ms
    doing = DOING.get(request.action, plain(request.action, 60))
    name = plain(of.agent_id, 80)
    by = person_name(frame.settings, of.by)
    return Line(
        id=of.id,
        title=f"{name} wants to {doing}",
        agent_id=of.agent_id,
        agent=name,
        what=_amounts(request) or doing,
        why=_sentence(of.held),
        state=_STATES.get(state, w.STATES["blind"]),
        said=f"{by}: {plain(of.reason, 160)}" if by and of.reason else by,
        due=clock.time(of.expires_ms),
        due_iso=clock.iso(of.expires_ms),
        left=w.span(max(left_ms, 0)) if state == "pending" else "",
    )


def view(of: Approval, steps: Sequence[ApprovalStep], frame: Frame, person: Person | None, seen: str) -> ApprovalView:
    """An approval's page for somebody."""
    row, request = line(of, frame), of.request
    is_open = state_at(of, frame.clock.now_ms) == "pending"
    fields = _fields(request)
    return ApprovalView(
        line=row,
        is_open=is_open,
        lead=_lead(of, row, is_open=is_open),
        fields=fields,
        records=[(each, plain(each, 80)) for each in _records(request)],
        recipients=[(each, plain(each, 120)) for each in request.recipient_ids],
        waits=_waits(of, frame),
        about=_about(of, frame),
        steps=[_step(each, frame) for each in steps],
        bar=_bar(of, frame, person),
        hash=of.hash,
        seen=seen,
        can_edit=max(len(fields), len(_records(request)), len(request.recipient_ids)) <= MOST_EDITED,
        was_edited=of.hash != of.asked_hash,
        by_first=person_name(frame.settings, of.by_first),
    )


def edit_of(request: GateRequest, form: dict[str, str]) -> Edit | None:
    """What a form changed; None when nothing. Raises Refused when it can't be read, or leaves nothing."""
    kept = [each for at, each in enumerate(_records(request)) if f"record:{at}" in form]
    recipients = [each for at, each in enumerate(request.recipient_ids) if f"to:{at}" in form]
    changes: dict[str, Any] = {}
    for number, (record, name, before, after) in enumerate(_values(request)):
        if record in kept and f"field:{number}" in form:
            said = _typed(after, form[f"field:{number}"], f"field:{number}")
            changes.setdefault(record, {})[name] = After(said) if before is UNSET else (before, said)
    if (_records(request) and not kept) or (request.recipient_ids and not recipients):
        raise bad_request("nothing is left of it: refuse it instead", "record" if not kept else "to")
    edit = Edit(
        changes=changes if changes != request.changes else None,
        record_ids=[each for each in request.record_ids if each in kept],
        recipient_ids=recipients,
    )
    if edit.record_ids == request.record_ids and recipients == request.recipient_ids and edit.changes is None:
        return None
    return edit


def _values(request: GateRequest) -> list[tuple[str, str, Any, Any]]:
    found = []
    for record, fields in request.changes.items():
        for name, change in fields.items():
            before, after = (UNSET, change.after) if isinstance(change, After) else change
            found.append((record, name, before, after))
    return found


def _records(request: GateRequest) -> list[str]:
    return list(dict.fromkeys((*request.record_ids, *request.changes)))


def _fields(request: GateRequest) -> list[Field]:
    versions = request.record_versions or {}
    return [
        Field(
            number=number,
            record=plain(record, 80),
            field=plain(name, 80),
            before="not said" if before is UNSET else _whole(before),
            after=_whole(after),
            version=plain(versions.get(record, ""), 80),
        )
        for number, (record, name, before, after) in enumerate(_values(request))
    ]


def _whole(of: Any) -> str | None:
    """A value to its end, so that nobody approves what is not shown; None means empty."""
    if of is None or of == "":
        return None
    text = of if isinstance(of, str) else json.dumps(of, ensure_ascii=False, default=str)
    more = len(text) - MOST_CHARS
    return plain(text[:MOST_CHARS], MOST_CHARS) + (f" … and {more:,} more characters, not shown" if more > 0 else "")


def _typed(old: Any, text: str, field: str) -> Any:
    """A form's text as a value of the same sort; what stayed as it was shown stays what it was."""
    if text == (_whole(old) or ""):
        return old
    if old is None or isinstance(old, str):
        return text.replace("⏎", "\n")
    try:
        return json.loads(text)
    except ValueError:
        raise bad_request(f"{field}: write a number, true, false or null, as it was before", field) from None


def _amounts(request: GateRequest) -> str:
    counts = [w.many(len(_records(request)), "record")] if _records(request) else []
    counts += [w.many(len(request.recipient_ids), "recipient")] if request.recipient_ids else []
    kind = f" of {plain(request.object, 60)}" if request.object else ""
    return ", ".join(counts) + (kind if counts else "")


def _sentence(text: str) -> str:
    said = plain(text, 400)
    said = said[:1].upper() + said[1:]
    return said if not said or said[-1] in ".!?…" else said + "."


def _lead(of: Approval, row: Line, *, is_open: bool) -> str:
    if of.changed and is_open:
        return f"It can't be approved any more: {plain(of.changed, 200)}. The agent must look and ask again."
    if is_open:
        return f"{row.why} Unanswered at {row.due} means no."
    return f"{row.state.word}. {row.said}".strip()


def _waits(of: Approval, frame: Frame) -> list[tuple[str, str]]:
    kind = kind_of(of.request.action)
    undo = "The values from before can be restored" if kind.is_reversible else "It can't be undone"
    reach = "Its records alone"
    if kind.is_external or of.request.recipient_ids:
        undo, reach = "What was sent can't be taken back", "People outside"
    by = f"the policy's {of.policy_rule}" if of.policy_rule else of.rule.replace("_", " ")
    people = [each.removeprefix("role:") for each in of.right]
    named = joined([person_name(frame.settings, each) for each in people], 4)
    two = ", two of them" if of.people > 1 else ""
    return [
        ("Rule", plain(by, 80)),
        ("Why", _sentence(of.held)),
        ("Undo", undo),
        ("Reaches", reach),
        ("Who may answer", f"{named}{two}; not who asks, nor its owner"),
        ("Otherwise", f"Nothing is done after {frame.clock.time(of.expires_ms)}"),
    ]


def _about(of: Approval, frame: Frame) -> list[tuple[str, str]]:
    request, settings = of.request, frame.settings
    declared = settings.agents.get(of.agent_id)
    trigger = request.trigger
    because = f"{trigger.kind}: {trigger.ref or '–'}" if trigger is not None else w.UNKNOWN
    rows = [
        ("Acts for", person_name(settings, request.authorized_by) or "nobody named"),
        ("Set off by", plain(because, 120)),
        ("Owner", person_name(settings, declared.owner) if declared else "not in the configuration"),
        ("Action", plain(request.action, 80)),
        ("Object", plain(request.object or w.UNKNOWN, 80)),
        ("System", plain(request.system or w.UNKNOWN, 80)),
        ("Policy", of.policy[:12] or w.UNKNOWN),
        ("Bound to", of.hash[:16]),
    ]
    return [(name, text) for name, text in rows if text]


def _step(of: ApprovalStep, frame: Frame) -> Turn:
    title, icon, css = _STEPS.get(of.why, (f"Not taken: {of.why.replace('_', ' ')}", "no", ""))
    by = person_name(frame.settings, of.by_id) if of.by_kind != "system" else ""
    return Turn(
        at=frame.clock.time(of.at_ms),
        at_iso=frame.clock.iso(of.at_ms),
        icon=icon,
        css=css,
        title=f"{title} by {by}" if by else title,
        text=plain(of.reason, 300),
    )


def _bar(of: Approval, frame: Frame, person: Person | None) -> str:
    if person is None:
        return ""
    if of.changed:
        return "A record that it concerns was changed since. The agent must look and ask again."
    declared = frame.settings.agents.get(of.agent_id)
    why = barred(frame.settings, of, who(person), (declared.owner,) if declared and declared.owner else ())
    if why is None and of.by_first == person.name:
        return "You approved it. It waits for a second person."
    return _BARS[why] if why is not None else ""


# --- routes ------------------------------------------------------------------------------------------------------

_DONE = {
    "approved": "Approved, for one use. The agent may do exactly this when it asks again.",
    "first_of_two": "Noted. It takes a second person.",
    "edited": "Approved as you changed it, for one use. The agent is told what to do instead.",
    "refused": "Refused. The agent is told why.",
}


async def _list(request: _Request, template: str) -> Response[str]:
    services, frame = services_of(request), frame_of(request, "approvals")
    now_ms = frame.clock.now_ms
    waiting = await read(lambda: services.reader.approvals(now_ms, is_open=True, limit=200))
    newest = await read(lambda: services.reader.approvals(now_ms, is_open=False, limit=200))
    answered = [each for each in newest if state_at(each, now_ms) != "pending"][:SHOWN_ANSWERED]
    return page(
        template,
        frame=frame,
        clock=frame.clock,
        waiting=[line(each, frame) for each in waiting],
        answered=[line(each, frame) for each in answered],
        waiting_text=w.many(len(waiting), "request"),
    )


@get("/approvals", include_in_schema=False)
async def approvals(request: _Request) -> Response[str]:
    """What waits for a person, by deadline, and what was answered last."""
    return await _list(request, "approvals.html")


@get("/parts/approvals", include_in_schema=False)
async def approvals_part(request: _Request) -> Response[str]:
    """The lists, for a page that is open."""
    return await _list(request, "parts/approvals.html")


@get("/approvals/{approval_id:str}", include_in_schema=False)
async def approval(request: _Request, approval_id: FromPath[str]) -> Response[str]:
    """One request. Opening it changes nothing."""
    services, frame = services_of(request), frame_of(request, "approvals")
    found = await read(lambda: services.reader.approval(approval_id))
    if found is None:
        raise not_found("there is no such approval")
    seen = seen_by(caller_of(request), found[0], frame.clock.now_ms)
    shown = view(*found, frame, person_of(request), seen)
    done = _DONE.get(request.query_params.get("done", ""))
    return page(
        "approval.html", frame=frame, clock=frame.clock, view=shown, flash=Flash(done) if done is not None else None
    )


@post("/approvals/{approval_id:str}/approve", include_in_schema=False)
async def approve(request: _Request, approval_id: FromPath[str]) -> Response[Any]:
    """Let exactly this pass, once."""
    return await _answer(request, approval_id, "approve")


@post("/approvals/{approval_id:str}/refuse", include_in_schema=False)
async def refuse(request: _Request, approval_id: FromPath[str]) -> Response[Any]:
    """Say no."""
    return await _answer(request, approval_id, "refuse")


@post("/approvals/{approval_id:str}/edit", include_in_schema=False)
async def edit(request: _Request, approval_id: FromPath[str]) -> Response[Any]:
    """Let something else pass, once."""
    return await _answer(request, approval_id, "edit")


async def _answer(request: _Request, approval_id: str, says: Says) -> Response[Any]:
    form, services = form_of(await request.body()), services_of(request)
    edited = None
    if says == "edit":
        found = await read(lambda: services.reader.approval(approval_id))
        if found is None:
            raise not_found("there is no such approval")
        edited = edit_of(found[0].request, form)
    verdict = await give(
        request, approval_id, says, form.get("reason", ""), form.get("hash", ""), form.get("seen", ""), edited
    )
    return Response(b"", status_code=303, headers={"Location": f"/approvals/{approval_id}?done={verdict.why}"})


ROUTES = [approvals, approvals_part, approval, approve, refuse, edit]

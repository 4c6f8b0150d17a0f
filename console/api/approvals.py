"""Approvals over HTTP: anybody who may read looks at them; a person in a session of a browser answers.

A GET changes nothing, so that neither a link nor whoever opens it ahead (a mail scanner, a browser) decides anything.
An answer takes the session's own form token, what was shown (``hash``), and ``seen``, which only the page of this
session gives out: whoever has not opened the request can't answer it.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery
from msgspec import UNSET, Meta, Struct, UnsetType

from console.api.bodies import read_json
from console.api.control import Reason
from console.api.docs import answer_of, body_of
from console.api.queries import Limit, read
from console.api.waiting import in_time
from console.auth import ROLES, Caller, Person, caller_of
from console.errors import Refused, forbidden, not_found
from console.public import public
from console.services import services_of
from events.types import FieldChanges
from governance.approvals import Answer, Approval, Approver, Edit, Verdict, Why
from governance.gate import GateRequest
from storage.read.approvals import ApprovalStep, state_at

_Request = Request[Any, Any, Any]
Says = Literal["approve", "refuse", "edit"]
STATUS_OF = {
    Why.REASON_MISSING: 400,
    Why.CONFLICT: 409,
    Why.NOT_PENDING: 409,
    Why.TOO_LATE: 409,
    Why.CHANGED: 409,
    Why.EDIT_REFUSED: 422,
}
MAX_OPEN_MS = 12 * 3_600_000


class AnswerBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why; and of the GET of this session what was shown (``hash``) and that it was opened (``seen``)."""

    reason: Reason
    hash: Annotated[str, Meta(min_length=64, max_length=64)]
    seen: Annotated[str, Meta(max_length=128)]


class EditBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As an answer, with what is approved instead; what is left out stays as the agent asked."""

    reason: Reason
    hash: Annotated[str, Meta(min_length=64, max_length=64)]
    seen: Annotated[str, Meta(max_length=128)]
    changes: dict[str, FieldChanges] | UnsetType = UNSET
    record_ids: Annotated[list[str], Meta(max_length=200)] | UnsetType = UNSET
    recipient_ids: Annotated[list[str], Meta(max_length=200)] | UnsetType = UNSET


class ApprovalShown(Struct, frozen=True, kw_only=True):
    """An approval. ``content`` is what it is bound to by ``hash``; ``asked_content`` what the agent asked, where a
    person changed it. ``until_ms``: until when it can be answered, then used. ``right``: who may answer."""

    id: str
    agent_id: str
    state: str
    since_ms: int
    until_ms: int
    hash: str
    content: GateRequest
    asked_content: GateRequest | None
    held: str
    rule: str
    policy_rule: str
    policy: str
    right: tuple[str, ...]
    people: int
    by_first: str
    by: str
    answered_ms: int | None
    reason: str
    used_ms: int | None
    used_by: str
    changed: str


class ApprovalList(Struct, frozen=True):
    """Approvals: those that wait, by deadline; or all, the newest first."""

    approvals: list[ApprovalShown]


class ApprovalPage(Struct, frozen=True, kw_only=True):
    """One approval, its steps, and for a person in a session ``seen``, which an answer must bring."""

    approval: ApprovalShown
    steps: list[ApprovalStep]
    seen: str


class Answered(Struct, frozen=True, kw_only=True):
    """What an answer did, as a code and a sentence."""

    id: str
    state: str
    why: str
    message: str
    hash: str


@get("/v1/approvals", operation_class=answer_of(ApprovalList), tags=["approvals"], summary="What waits for a person")
async def approvals(
    request: _Request, all: FromQuery[bool] = False, agent: FromQuery[str | None] = None, limit: Limit = 50
) -> Response[Any]:
    """What waits for a person, by deadline; with ``all=true`` everything, the newest first."""
    services = services_of(request)
    now_ms = services.now_ms()
    found = await read(lambda: services.reader.approvals(now_ms, is_open=not all, agent_id=agent, limit=limit))
    return Response(public(ApprovalList([shown(each, now_ms) for each in found])))


@get("/v1/approvals/{approval_id:str}", operation_class=answer_of(ApprovalPage), tags=["approvals"], summary="One")
async def approval(request: _Request, approval_id: FromPath[str]) -> Response[Any]:
    """One approval: what it is bound to, what became of it, step by step. Looking changes nothing."""
    services = services_of(request)
    now_ms = services.now_ms()
    found = await read(lambda: services.reader.approval(approval_id))
    if found is None:
        raise not_found("there is no such approval")
    one, steps = found
    page = ApprovalPage(approval=shown(one, now_ms), steps=steps, seen=seen_by(caller_of(request), one, now_ms))
    return Response(public(page), headers={"Cache-Control": "no-store"})


@post(
    "/v1/approvals/{approval_id:str}/approve",
    status_code=200,
    operation_class=body_of(AnswerBody),
    tags=["approvals"],
    summary="Approve, for one use",
)
async def approve(request: _Request, approval_id: FromPath[str]) -> Response[Any]:
    """Let exactly this pass, once. Takes a person in a session, with the right; not who asks, not the agent's owner."""
    return await _answer_json(request, approval_id, "approve")


@post(
    "/v1/approvals/{approval_id:str}/refuse",
    status_code=200,
    operation_class=body_of(AnswerBody),
    tags=["approvals"],
    summary="Refuse",
)
async def refuse(request: _Request, approval_id: FromPath[str]) -> Response[Any]:
    """Say no, with the reason that the agent is told."""
    return await _answer_json(request, approval_id, "refuse")


@post(
    "/v1/approvals/{approval_id:str}/edit",
    status_code=200,
    operation_class=body_of(EditBody),
    tags=["approvals"],
    summary="Approve something else instead",
)
async def edit(request: _Request, approval_id: FromPath[str]) -> Response[Any]:
    """Approve a changed content: the gate and the policy judge it, and only that passes, once."""
    return await _answer_json(request, approval_id, "edit")


def shown(of: Approval, now_ms: int) -> ApprovalShown:
    """An approval as the API shows it."""
    return ApprovalShown(
        id=of.id,
        agent_id=of.agent_id,
        state=state_at(of, now_ms),
        since_ms=of.asked_ms,
        until_ms=of.expires_ms,
        hash=of.hash,
        content=of.request,
        asked_content=of.asked if of.hash != of.asked_hash else None,
        held=of.held,
        rule=of.rule,
        policy_rule=of.policy_rule,
        policy=of.policy,
        right=of.right,
        people=of.people,
        by_first=of.by_first,
        by=of.by,
        answered_ms=of.answered_ms,
        reason=of.reason,
        used_ms=of.used_ms,
        used_by=of.used_by,
        changed=of.changed,
    )


def seen_by(caller: Caller, of: Approval, now_ms: int) -> str:
    """That this session opened an approval, bound to what was shown and when; "" without a session."""
    return f"{now_ms}.{_sealed(caller.session, of.id, of.hash, now_ms)}" if caller.session else ""


async def give(
    request: _Request, approval_id: str, says: Says, reason: str, hash_: str, seen: str, edited: Edit | None = None
) -> Verdict:
    """Put a person's answer to the runtime and wait for what it did. Raises Refused when it was no good."""
    caller = caller_of(request)
    person = in_session(caller)
    services = services_of(request)
    answer = Answer(
        approval_id=approval_id,
        says="refuse" if says == "refuse" else "approve",
        who=who(person),
        reason=reason,
        hash=hash_,
        opened_ms=opened_ms(caller, approval_id, hash_, seen, services.now_ms()),
        edit=edited,
    )
    verdict = await in_time(services.runtime.answer_approval(answer))
    if verdict is None:
        raise not_found("there is no such approval")
    if not verdict.is_changed:
        extra = {"state": verdict.approval.state, "hash": verdict.approval.hash}
        raise Refused(STATUS_OF.get(verdict.why, 403), str(verdict.why), verdict.sentence, extra)
    return verdict


def who(person: Person) -> Approver:
    """A person as the authority knows one: each role includes those before it."""
    return Approver(name=person.name, roles=frozenset(role for role in ROLES if person.may_act_as(role)))


def in_session(caller: Caller) -> Person:
    """The person who is logged in, in a browser's session. Raises Refused."""
    if caller.person is None:
        raise forbidden("only_a_person", "only a person who is logged in can answer an approval")
    if not caller.session:
        raise forbidden("only_in_session", "approvals are answered in a session: log in, and look at it on its page")
    return caller.person


def opened_ms(caller: Caller, approval_id: str, hash_: str, seen: str, now_ms: int) -> int:
    """When this session opened what it answers. Raises Refused when it did not."""
    text, _, seal = seen.partition(".")
    is_number = text.isascii() and text.isdigit() and len(text) < 16
    if not is_number or not seal.isascii():
        raise forbidden("not_opened", "open the request's page and answer there")
    at_ms = int(text)
    if not hmac.compare_digest(seal, _sealed(caller.session, approval_id, hash_, at_ms)):
        raise forbidden("not_opened", "this is not what you opened: load the page again and answer there")
    if now_ms - at_ms > MAX_OPEN_MS:
        raise forbidden("not_opened", "you opened it long ago: load the page again")
    return at_ms


def _sealed(session: str, approval_id: str, hash_: str, at_ms: int) -> str:
    text = f"tripline approval\x1f{approval_id}\x1f{hash_}\x1f{at_ms}"
    return hmac.digest(session.encode(), text.encode("utf-8", "replace"), "sha256").hex()


_ANSWER, _EDIT = msgspec.json.Decoder(AnswerBody), msgspec.json.Decoder(EditBody)


async def _answer_json(request: _Request, approval_id: str, says: Says) -> Response[Any]:
    in_session(caller_of(request))
    raw, content_type = await request.body(), request.headers.get("content-type", "")
    if says == "edit":
        body = read_json(raw, content_type, _EDIT)
        edited = Edit(
            changes=None if body.changes is UNSET else body.changes,
            record_ids=None if body.record_ids is UNSET else body.record_ids,
            recipient_ids=None if body.recipient_ids is UNSET else body.recipient_ids,
        )
        verdict = await give(request, approval_id, says, body.reason, body.hash, body.seen, edited)
    else:
        plain = read_json(raw, content_type, _ANSWER)
        verdict = await give(request, approval_id, says, plain.reason, plain.hash, plain.seen)
    now = verdict.approval
    answered = Answered(id=now.id, state=now.state, why=str(verdict.why), message=verdict.sentence, hash=now.hash)
    return Response(public(answered))


ROUTES = [approvals, approval, approve, refuse, edit]

"""What the gate is asked, what it answers, and what it must be told to answer; reading requests strictly."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Literal, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from events.errors import BadEvent
from events.place import path_at, told_place
from events.strict import check_depth, check_strictly, check_utf8
from events.types import FieldChanges, Name, Trigger
from governance.consent import Said
from governance.control import ControlRow
from governance.limits import Budgets, Counters

Id = Annotated[str, Meta(min_length=1, max_length=512)]
Version = Annotated[str, Meta(max_length=256)]
Claim = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Outcome = Literal["allow", "hold", "deny"]
MAX_REQUEST_BYTES = 1024 * 1024


class Rule(StrEnum):
    """What decided, in the order of trying. The first five concern the agent, the others the operation."""

    CONTROL_UNKNOWN = "control_unknown"
    STOP_ALL = "stop_all"
    SUSPENDED = "suspended"
    MALFORMED = "malformed"
    REQUEST_ID = "request_id"
    UNKNOWN_AGENT = "unknown_agent"
    UNKNOWN_ACTION = "unknown_action"
    ACTION = "action"
    OBJECT = "object"
    AUTHORIZER = "authorizer"
    REQUEST_SIZE = "request_size"
    RECORDS_UNNAMED = "records_unnamed"
    RECORDS = "records_per_operation"
    RECIPIENTS = "recipients_per_operation"
    IRREVERSIBLE = "irreversible"
    BUDGET = "budget"
    HELD = "held"
    CONSENT = "consent"
    FIRST_CONTACT = "first_contact"
    POLICY = "policy"
    APPROVAL = "approval"
    BLIND = "blind"
    LEASE = "lease"
    ALLOWED = "allowed"


class GateRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent is about to do. ``request_id`` makes a retry safe.

    ``records`` and ``recipients`` are the agent's claims and count only where they are larger than what is listed;
    ``external`` and ``first_contact`` are taken and ignored: the gate works them out. ``system``: in which CRM or
    other system, for scopes of a policy that name systems. ``record_versions``: the version of each record that the
    agent read, in the CRM's words; an approval is bound to it. ``approval_id``: the approval that it asks by.
    ``parent_agent_id``: the agent that set it to work; whoever names one may do no more than that one.
    """

    agent_id: Name
    action: Annotated[str, Meta(min_length=1, max_length=128)]
    object: Annotated[str, Meta(max_length=256)] | None = None
    record_ids: Annotated[list[Id], Meta(max_length=10_000)] = []
    changes: Annotated[dict[Id, FieldChanges], Meta(max_length=10_000)] = {}
    recipient_ids: Annotated[list[Id], Meta(max_length=10_000)] = []
    authorized_by: Annotated[str, Meta(max_length=256)] | None = None
    trigger: Trigger | None = None
    request_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    tenant: Annotated[str, Meta(min_length=1, max_length=128)] = "default"
    records: Claim = 0
    recipients: Claim = 0
    external: bool | None = None
    first_contact: bool | None = None
    system: Annotated[str, Meta(max_length=256)] | UnsetType | None = UNSET
    record_versions: Annotated[dict[Id, Version], Meta(max_length=10_000)] | UnsetType = UNSET
    approval_id: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType = UNSET
    parent_agent_id: Annotated[str, Meta(max_length=256)] | UnsetType | None = UNSET

    @property
    def key(self) -> str:
        """The key of the agent's state: tenant/agent."""
        return f"{self.tenant}/{self.agent_id}"


class GateDecision(Struct, frozen=True, kw_only=True):
    """The gate's answer. ``reason`` begins with "denied:", "on hold:" or "allowed".

    ``stanza``: configuration that would allow it, "" where none could. ``detail``: more for a page, such as why the
    agent was stopped. ``is_repeated``: the answer to the same request before; nothing new is to be admitted.
    ``finding``: a sentence when the request itself is suspicious and should be recorded as a finding.
    ``decision_id`` is given by whoever keeps the decision. ``policy``: the version of the policy in force, "" without
    one; ``policy_rule``: which of its rules decided, where it did. ``approval_id``: the approval that it waits for, or
    that let it pass; ``approved_by``: who gave it; ``approved_content``: what was approved, if that is something else.
    ``above_level``: the level that was seen, where it is above the agent's; else 0.
    """

    decision: Outcome
    reason: str
    rule: Rule
    epoch: int
    stanza: str = ""
    detail: str = ""
    decision_id: str = ""
    is_repeated: bool = False
    finding: str = ""
    is_first_contact: bool = False
    policy: str = ""
    policy_rule: str = ""
    approval_id: str = ""
    approved_by: str = ""
    approved_content: GateRequest | None = None
    above_level: int = 0


class Remembered(Struct, frozen=True, kw_only=True):
    """An earlier answer under a request id."""

    content_hash: str
    decision: GateDecision
    at_ms: int


class GateView(Protocol):
    """What is known of the agent when the gate decides. Whoever cannot give it passes None, and writes are denied."""

    @property
    def is_control_known(self) -> bool:
        """Whether ``control`` and ``stop_all`` are what the store says now."""

    @property
    def control(self) -> ControlRow | None:
        """The agent's own row; None when it was never controlled."""

    @property
    def stop_all(self) -> ControlRow | None:
        """The row of the whole tenant; None when it was never used."""

    @property
    def counters(self) -> Counters:
        """What the agent was admitted in the last 24 hours."""

    @property
    def everybody(self) -> Budgets | None:
        """What all agents of the tenant were admitted in the last 24 hours; asked under a ceiling alone."""

    def row_of(self, agent_id: str) -> ControlRow | None:
        """The row of another agent of the tenant; of its kin alone, see ``governance.kin``."""

    def remembered(self, request_id: str) -> Remembered | None:
        """The answer given under this request id of this agent."""

    def unknown_contacts(self, contact_ids: Sequence[str]) -> Sequence[str]:
        """Those contacts with whom nobody of the tenant was in touch before."""

    def said_by(self, contact_ids: Sequence[str]) -> Sequence[Said]:
        """What these contacts (canonical) allowed and refused, as far as it was recorded."""

    def known_of(self, record_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Where these records (canonical) belong: "owner" and "segment" as the CRM said last, where it did."""


class BadRequest(ValueError):
    """A request that can't be read; the message names the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


T = TypeVar("T", bound=Struct)
_DECODER = msgspec.json.Decoder(GateRequest)
_BYTE = re.compile(r"\(byte (\d+)\)")


def decode_request(raw: bytes) -> GateRequest:
    """A request from JSON, see ``decode_strictly``. Raises BadRequest.

    Limits: lists of 10,000 (the gate itself refuses more than 200 records), 512 characters an id.
    """
    return decode_strictly(raw, _DECODER)


def decode_strictly(raw: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """A message from JSON of at most 1 MiB. Unknown fields, duplicate keys, deep nesting and wrong types are refused
    by name. Raises BadRequest."""
    if len(raw) > MAX_REQUEST_BYTES:
        raise BadRequest("", f"the request has {len(raw):,} bytes; at most {MAX_REQUEST_BYTES:,} are read")
    try:
        check_utf8(raw)
        check_depth(raw)
        found = decoder.decode(raw)
        check_strictly(raw)
    except BadEvent as problem:
        raise BadRequest(problem.field, problem.message.replace("the event", "the request")) from None
    except msgspec.ValidationError as problem:
        text, field = told_place(str(problem))
        raise BadRequest(field, f"{field}: {text}" if field else text) from None
    except (msgspec.DecodeError, RecursionError) as problem:
        byte = _BYTE.search(str(problem))
        field = path_at(raw, int(byte.group(1))) if byte else ""
        message = f"the request is not readable JSON: {problem}"
        raise BadRequest(field, f"{field}: {message}" if field else message) from None
    return found


def content_hash(request: GateRequest) -> str:
    """What a request id stands for: 32 hex digits over everything but the id itself and the approval's."""
    content = msgspec.json.encode(msgspec.structs.replace(request, request_id=None, approval_id=UNSET), order="sorted")
    return hashlib.blake2b(content, digest_size=16).hexdigest()

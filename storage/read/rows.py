"""Turns database rows into the records of ``storage.read.types``; JSON that does not parse is taken as absent."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from events.types import ActionError, Finding, FindingEvent, ModelInfo, Reason, Trigger
from storage.read.types import ActionRow, ControlEntry, DeadLetterRow, DealRow, FindingRow, ScorePoint

T = TypeVar("T")


class _FindingBody(msgspec.Struct):
    data: Finding


def parse(text: str | bytes | None, kind: type[T], default: T) -> T:
    """JSON text as a typed value, or the default when it is missing or of another shape."""
    if not text:
        return default
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return default


def parse_optional(text: str | bytes | None, kind: type[T]) -> T | None:
    """As ``parse``, with None for what is missing."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def control_entry(row: Any) -> ControlEntry:
    """A row of ``control`` or ``control_history``."""
    m = row._mapping
    return ControlEntry(
        agent_id=m["agent_id"],
        state=m["state"],
        epoch=m["epoch"],
        at_ms=m["at_ms"],
        by_kind=m["by_kind"],
        by_id=m["by_id"],
        reason=m["reason"],
        finding_id=m["finding_id"],
        expires_ms=m.get("expires_ms"),
        wanted=m.get("wanted"),
        changed=bool(m.get("changed", True)),
    )


def finding_row(row: Any) -> FindingRow | None:
    """A row of ``finding`` with its whole event."""
    event = parse_optional(row.body, FindingEvent)
    if event is not None:
        return FindingRow(row.at_ms, event.data, row.status)
    bare = parse_optional(row.body, _FindingBody)
    return FindingRow(row.at_ms, bare.data, row.status) if bare else None


def report_row(row: Any) -> ActionRow:
    """A row of ``action``: a report, an admission or a change that the CRM's feed saw."""
    return ActionRow(
        cursor=f"{row.at_ms}.1.{row.offset}",
        kind=row.kind,
        at_ms=row.at_ms,
        effect_ms=row.effect_ms,
        offset=row.offset,
        agent_id=row.agent_id,
        event_id=row.event_id,
        source=row.source,
        action=row.action,
        outcome=row.outcome,
        object=row.object,
        record_ids=parse(row.record_ids, list[str], []),
        changes=parse(row.changes, dict[str, dict[str, Any]], {}),
        records=row.records,
        recipients=row.recipients,
        is_external=bool(row.is_external),
        authorized_by=row.authorized_by,
        trigger=parse_optional(row.trigger, Trigger),
        error=parse_optional(row.error, ActionError),
        reviewed_by=row.reviewed_by,
        decision_id=row.decision_id,
        deal_id=row.deal_id,
        run_id=row.run_id,
    )


def refusal_row(row: Any) -> ActionRow:
    """A row of ``gate_decision`` that was no admission: the operation never reached the CRM."""
    return ActionRow(
        cursor=f"{row.at_ms}.0.{row.decision_id}",
        kind="refusal",
        at_ms=row.at_ms,
        effect_ms=row.at_ms,
        offset=row.offset,
        agent_id=row.agent_id,
        event_id=row.decision_id,
        source="gate",
        action=row.action,
        outcome="denied" if row.decision == "deny" else "held",
        object=row.object,
        record_ids=parse(row.record_ids, list[str], []),
        changes=parse(row.changes, dict[str, dict[str, Any]], {}),
        records=row.records,
        recipients=row.recipients,
        is_external=False,
        authorized_by=row.authorized_by,
        trigger=parse_optional(row.trigger, Trigger),
        decision_id=row.decision_id,
        rule=row.rule,
        reason=row.reason,
    )


def deal_row(row: Any, rank: int | None = None, p_lost_before: float | None = None) -> DealRow:
    """A row of ``deal``."""
    return DealRow(
        deal_id=row.deal_id,
        deal=row.name or "",
        account=row.account or "",
        amount_minor=row.amount_minor,
        currency=row.currency,
        close_date=row.close_date,
        stage=row.stage or "",
        owner_id=row.owner_id,
        manager_id=row.manager_id,
        link=row.link,
        is_open=row.is_open is not False and row.is_open != 0,
        at_ms=row.at_ms,
        p_lost=row.p_lost,
        p_slip=row.p_slip,
        p_lost_14d=row.p_lost_14d,
        band=row.band,
        base=row.base or 0.0,
        reasons=parse(row.reasons, list[Reason], []),
        recommended_action=row.recommended_action or "",
        model=parse_optional(row.model, ModelInfo),
        rank=rank,
        p_lost_before=p_lost_before,
    )


def score_point(row: Any) -> ScorePoint:
    """A row of ``deal_score``."""
    return ScorePoint(row.at_ms, row.p_lost, row.p_slip, row.cause or "", row.band)


def dead_letter_row(row: Any) -> DeadLetterRow:
    """A row of ``dead_letter``."""
    return DeadLetterRow(
        id=row.id,
        at_ms=row.at_ms,
        reason=row.reason,
        message=row.message,
        origin=parse(row.origin, dict[str, Any], {}),
        raw=bytes(row.raw),
        agent_id=row.agent_id,
        state=row.state,
        redriven_ms=row.redriven_ms,
    )

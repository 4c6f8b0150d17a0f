"""From a row of the outbox to words for people: what is told, under which kind, and what is not told at all."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import msgspec

from events.times import BadTime, format_ms, parse_ms
from events.types import Alert, AlertEvent, Control, ControlEvent, Finding, FindingEvent
from governance.approvals import ApprovalEvent, ApprovalNews
from governance.ports import Notice
from governance.settings_types import NotificationKind
from governance.telling import TellingEvent
from governance.words import DOING, listed, plural
from storage.outbox import OutboxRow

_DECODER = msgspec.json.Decoder(ControlEvent | FindingEvent | AlertEvent | ApprovalEvent | TellingEvent)
_MAX_CHARS = 2_000
FAULTS = "failures"
"""The unit of findings about a detector of ours that failed."""
MOST_LINES, MOST_DEALS = 10, 50
"""Of how many notices a message for several tells each; of deals more, since a digest is all that people get."""
OF_DEALS = frozenset({"alert", "pipeline"})
"""What waits for a digest in quiet hours."""
_SAFE = str.maketrans({"<": "‹", ">": "›", "@": "＠", "`": "ʼ"})
"""Chat markup and mentions: a record's name must not be able to call a whole channel."""


def notice_of(row: OutboxRow) -> Notice | None:
    """What a row tells people; None when it tells nothing that another row does not tell.

    A finding that asks for a stop is told by the control decision that follows from it.
    """
    event = _DECODER.decode(row.body)
    if isinstance(event, ControlEvent):
        return _control(row, event.data)
    if isinstance(event, FindingEvent):
        return _finding(row, event.data)
    if isinstance(event, ApprovalEvent):
        return _approval(row, event.data)
    if isinstance(event, TellingEvent):
        return _notice(row, "pipeline", neutral(event.data.title), neutral(event.data.body))
    return _alert(row, event.data)


def neutral(text: str) -> str:
    """Text that an agent may have written, made harmless for terminals, mails and chats."""
    printable = "".join(char if char.isprintable() else "·" if char not in "\r\n\t" else " " for char in text)
    return printable.translate(_SAFE)[:_MAX_CHARS]


def most_lines(kind: NotificationKind) -> int:
    """Of how many notices of a kind a message for several tells each."""
    return MOST_DEALS if kind in OF_DEALS else MOST_LINES


def merged(first: Notice, others: list[Notice], count: int) -> Notice:
    """One message for ``count`` of the same agent and kind: the lines of the first, and how many more."""
    if count == 1:
        return first
    every = [first, *others][: most_lines(first.kind)]
    lines = [f"{each.title}. {each.body}".strip() for each in every]
    if count > len(lines):
        lines.append(f"… and {count - len(lines)} more like these.")
    title = f"{first.title}, and {count - 1} more"
    return msgspec.structs.replace(first, title=title, body="\n".join(lines))


def _control(row: OutboxRow, data: Control) -> Notice:
    name = "All agents" if row.key.endswith("/*") else neutral(data.agent_id)
    is_one = name != "All agents"
    by = neutral(data.by.id) if data.by.kind == "human" else f"detector {neutral(data.by.id)}"
    titles = {
        "suspended": f"{name} stopped by {by}",
        "held": f"Writes of {name if is_one else 'all agents'} on hold, by {by}",
        "throttled": f"{name} slowed down by {by}",
        "releasing": f"{name}: release by {by} under way",
        "active": f"{name} working again",
    }
    more = {
        "suspended": "Only a person can release it." if is_one else "Ending this takes two people.",
        "held": "Its writes wait for a person.",
        "throttled": f"Until {_clock(data.expires_at)}." if data.expires_at else "",
    }.get(data.state, "")
    body = f"{neutral(data.reason)}. {more} {_clock(data.at)}, epoch {data.epoch}.".replace(". .", ".").replace(
        "  ", " "
    )
    is_urgent = data.state != "throttled" and data.reason != "the throttle's time is over"
    return _notice(row, "control", titles[data.state], body, is_urgent=is_urgent)


def _finding(row: OutboxRow, data: Finding) -> Notice | None:
    if data.mode == "shadow" or data.action_taken == "none":
        return None
    if data.evidence.unit == FAULTS:
        return _notice(row, "fault", f"{neutral(data.agent_id)}: {neutral(data.evidence.summary)}", "")
    if data.mode == "enforce" and data.action_taken != "notify":
        return None
    kind: NotificationKind = "finding"
    if data.detector == "blast_radius" and data.severity == "info":
        kind = "external" if data.evidence.unit.startswith("people") else "bulk"
    title = neutral(data.evidence.summary)
    if data.agent_id != "*":
        title = f"{neutral(data.agent_id)}: {title}"
    body = f"Observed {_number(data.evidence.observed)} {neutral(data.evidence.unit)}, at {_clock(data.at)}."
    return _notice(row, kind, title, body)


def _approval(row: OutboxRow, data: ApprovalNews) -> Notice:
    what = DOING.get(data.action, data.action)
    on = f", {neutral(data.object)}" if data.object else ""
    counts = [plural(data.records, "record")] if data.records else []
    counts += [plural(data.recipients, "recipient")] if data.recipients else []
    title = f"{neutral(data.agent_id)} waits for an approval: {neutral(what)}{on}"
    who = listed([neutral(each.removeprefix("role:")) for each in data.right], "or")
    body = (
        f"{', '.join(counts)}: {neutral(data.held)}. Who may answer: {who}, logged in, on the page "
        f"/approvals/{neutral(data.approval_id)}. Unanswered by {_clock(data.expires_at)} means no."
    )
    return _notice(row, "approval", title, body.removeprefix(": "))


def _alert(row: OutboxRow, data: Alert) -> Notice:
    amount = f" {_money(data.amount, data.currency)}" if data.amount else ""
    title = f"{neutral(data.deal)} ({neutral(data.account)}){amount}: {round(100 * data.p_lost)} % likely to be lost"
    parts = [neutral(reason.sentence) for reason in data.reasons[:3]]
    if data.close_date:
        parts.append(f"Closes {neutral(data.close_date)}.")
    if data.recommended_action:
        parts.append(f"Next: {neutral(data.recommended_action)}.")
    parts.append(f"No. {data.rank} of {data.open_deals} open deals.")
    if data.link and data.link.startswith(("http://", "https://")):
        parts.append(neutral(data.link))
    return _notice(row, "alert", title, " ".join(parts))


def _notice(row: OutboxRow, kind: NotificationKind, title: str, body: str, *, is_urgent: bool = False) -> Notice:
    return Notice(id=row.id, kind=kind, subject=row.key, title=title, body=body, at_ms=row.at_ms, is_urgent=is_urgent)


def _clock(at: str | None) -> str:
    try:
        return format_ms(parse_ms(at or ""))[11:19] + " UTC"
    except BadTime:
        return "–"


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _money(amount: str, currency: str | None) -> str:
    try:
        return f"{currency or ''} {Decimal(amount):,.0f}".strip()
    except InvalidOperation:
        return neutral(amount)

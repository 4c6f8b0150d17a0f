"""Words for people: what an action is called, lists, and plurals."""

from __future__ import annotations

from collections.abc import Sequence

DOING: dict[str, str] = {
    "record.read": "read records",
    "record.create": "create records",
    "record.update": "update records",
    "record.delete": "delete records",
    "record.merge": "merge records",
    "record.undelete": "bring deleted records back",
    "record.enrich": "enrich records",
    "owner.reassign": "change who owns a record",
    "email.draft": "draft mails",
    "email.send": "send mails",
    "sms.send": "send text messages",
    "call.place": "place calls",
    "call.record": "record calls",
    "call.summarize": "summarize calls",
    "meeting.schedule": "schedule meetings",
    "contract.create": "create contracts",
    "quote.create": "create quotes",
    "discount.approve": "approve discounts",
    "task.create": "create tasks",
    "note.create": "write notes",
    "sequence.enroll": "enroll people in sequences",
    "suggestion.make": "make suggestions",
    "brief.write": "write briefs",
    "report.run": "run reports",
    "tool.call": "call tools",
}
"""What an agent does when it does an action."""


def listed(words: Sequence[str], joint: str = "and") -> str:
    """ "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {joint} {words[-1]}"


def plural(count: int, one: str, many: str = "") -> str:
    """ "1 record", "1,200 records"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"

"""The list of findings in words."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from console.text import plain
from console.web.agent import Because, because
from console.web.look import Frame
from storage.read.types import FindingRow

_STATUS = {
    "applied": "acted on",
    "recorded": "recorded only",
    "noted": "noted",
    "shadow": "shadow: nothing done",
}


class FindingLine(Struct, frozen=True):
    """One finding as a row."""

    said: Because
    agent_id: str
    name: str
    status: str
    id: str


def finding_lines(rows: Sequence[FindingRow], frame: Frame) -> list[FindingLine]:
    """Findings as rows."""
    return [
        FindingLine(
            said=because(row, frame),
            agent_id=row.finding.agent_id,
            name="All agents" if row.finding.agent_id == "*" else plain(row.finding.agent_id, 80),
            status=_STATUS.get(row.status, plain(row.status, 40)),
            id=row.finding.finding_id,
        )
        for row in rows
    ]

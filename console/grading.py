"""Rows of agents with their grade and worst case: what the store has seen, under the settings and policy in force."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from console.services import Services
from governance.grades import Seen, grade_of
from storage.read.types import AgentRow


def graded(rows: Sequence[AgentRow], services: Services) -> list[AgentRow]:
    """The rows, each with its grade."""
    settings, policy = services.settings, services.runtime.policy
    return [
        replace(
            row,
            grade=grade_of(row.agent_id, settings, policy, Seen(row.asked, row.acted, row.shadow_48h)),
        )
        for row in rows
    ]

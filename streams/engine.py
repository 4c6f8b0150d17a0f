"""The topology: which stages there are, what each reads, and what feeds what. Everything else drives it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from detectors.base import Shared
from detectors.discovery import build, modes, own_modes
from governance.settings import Settings
from streams.agents import AgentsStage
from streams.deals import DealsStage
from streams.portfolio import PortfolioStage
from streams.records import Partition, Stage
from streams.routing import ACTIONS, CRM, PORTFOLIO


class Topology(Struct, frozen=True):
    """One set of stages over one partition of each topic."""

    agents: AgentsStage
    deals: DealsStage
    portfolio: PortfolioStage

    def stages(self) -> dict[str, Stage]:
        """Each input topic with the stage that reads it."""
        return {ACTIONS: self.agents, CRM: self.deals, PORTFOLIO: self.portfolio}


def topology(
    settings: Settings, engine_id: str = "main", topic_ids: Mapping[str, str] | None = None, index: int = 0
) -> Topology:
    """The stages of one engine over partition ``index`` of each topic.

    ``topic_ids`` names the incarnation of each topic (a re-created topic has a new id); by default its name.
    """
    ids = {topic: (topic_ids or {}).get(topic, topic) for topic in (ACTIONS, CRM, PORTFOLIO)}
    read = {topic: Partition(engine_id, topic, topic_id, index) for topic, topic_id in ids.items()}
    shared = Shared()
    roles = {agent_id: agent.role for agent_id, agent in settings.agents.items() if agent.role}
    versions = {agent_id: agent.versions for agent_id, agent in settings.agents.items()}
    detectors = build(settings, shared)
    return Topology(
        agents=AgentsStage(read[ACTIONS], detectors, modes(settings), shared, own_modes(settings), roles, versions),
        deals=DealsStage(read[CRM], settings.deals),
        portfolio=PortfolioStage(read[PORTFOLIO], settings.deals),
    )

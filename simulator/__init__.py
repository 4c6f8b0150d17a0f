"""A seeded sales organisation with agents, and rogue scenarios with ground truth. All of it is invented."""

from simulator.organisation import Simulation, simulate, timeline
from simulator.spec import AgentSpec, JobSpec, OrgSpec, mixed_org

__all__ = ["AgentSpec", "JobSpec", "OrgSpec", "Simulation", "mixed_org", "simulate", "timeline"]

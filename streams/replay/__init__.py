"""Replaying logs through the engine: the same log gives the same bytes, always."""

from streams.replay.report import Report, Wanted
from streams.replay.run import ReplayResult, replay, replay_and_report

__all__ = ["ReplayResult", "Report", "Wanted", "replay", "replay_and_report"]

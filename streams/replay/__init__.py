"""Replaying logs through the engine: the same log gives the same bytes, always."""

from streams.replay.run import ReplayResult, replay

__all__ = ["ReplayResult", "replay"]

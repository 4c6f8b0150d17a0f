"""Toy detectors and records for tests of the engine."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from detectors.base import Action, Evidence, Shared
from events.times import format_ms
from events.types import ActionEvent, AgentAction
from streams.agents import AgentsStage
from streams.records import Entry, Partition
from streams.ticks import tick_event

START_MS = 1_772_442_000_000  # 2026-03-02T09:00:00Z
PARTITION = Partition("main", "agent.actions", "topic-1")


class EveryThird:
    """Asks for a suspension at every third action it sees: a state that is easy to count by hand."""

    name: ClassVar[str] = "every_third"
    state_version: ClassVar[int] = 1
    judges: ClassVar[Any] = "attempts"
    is_hard: ClassVar[bool] = True
    max_state_bytes: ClassVar[int] = 8

    class Config(Struct):
        """No options."""

    def __init__(self, config: Any = None, shared: Shared | None = None) -> None:
        self.shared = shared

    def new_state(self, agent_id: str) -> list[int]:
        return [0]

    def observe(self, action: Action, state: list[int]) -> Evidence | None:
        state[0] += 1
        if state[0] % 3:
            return None
        return Evidence(
            wanted="suspend",
            severity="critical",
            summary=f"action {state[0]}",
            observed=state[0],
            expected=2,
            limit=3,
            unit="actions",
            would_clear="fewer",
            topic=str(state[0]),
        )

    def dump(self, state: list[int]) -> bytes:
        return state[0].to_bytes(8, "little")

    def load(self, agent_id: str, blob: bytes, version: int) -> list[int]:
        return [int.from_bytes(blob, "little")]


class Brittle(EveryThird):
    """Raises at the action named "record.merge", and otherwise counts outcomes."""

    name: ClassVar[str] = "brittle"
    judges: ClassVar[Any] = "outcomes"

    def observe(self, action: Action, state: list[int]) -> Evidence | None:
        if action.data.action == "record.merge":
            raise ZeroDivisionError("brittle")
        state[0] += 1
        return None


def stage(*detectors: Any, partition: Partition = PARTITION, modes: dict[str, Any] | None = None) -> AgentsStage:
    return AgentsStage(partition, detectors or (EveryThird(),), modes or {}, Shared())


def action_event(number: int, agent: str = "bot", *, at_ms: int | None = None, **data: Any) -> ActionEvent:
    at = START_MS + 1000 * number if at_ms is None else at_ms
    fields: dict[str, Any] = {"agent_id": agent, "action": "record.update", "outcome": "ok", **data}
    return ActionEvent(
        specversion="1.0", id=f"a-{number}", source="/crm", time=format_ms(at), data=AgentAction(**fields)
    )


def entry(offset: int, event: Any, at_ms: int = 0) -> Entry:
    return (offset, at_ms or START_MS + 1000 * offset, event)


def actions(count: int, agent: str = "bot") -> list[Entry]:
    return [entry(number, action_event(number, agent)) for number in range(count)]


def tick(offset: int, at_ms: int) -> Entry:
    return (offset, at_ms, tick_event("main", at_ms))

"""A tiny topology for the runtime's tests: counts actions, and asks to suspend at a given count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from events.times import format_ms
from events.types import (
    ActionEvent,
    AdmissionEvent,
    AgentAction,
    ControlEvent,
    EvidenceData,
    Finding,
    FindingEvent,
    ReleaseEvent,
    tenant_of,
)
from streams.envelopes import envelope, make_key, split_key
from streams.records import Entry, Output, Partition, Snapshot, output_id
from streams.routing import ACTIONS, CRM, PORTFOLIO


class CountingStage:
    """Counts what each agent did. At every ``limit``-th action since the last release it asks to suspend."""

    name = "agents"
    topic = ACTIONS

    def __init__(self, partition: Partition, limit: int = 61, only: str | None = None) -> None:
        self.partition = partition
        self.limit = limit
        self.only = only
        self.counts: dict[str, int] = {}
        self.epochs: dict[str, int] = {}
        self.next_offset = 0
        self.judged: list[int] = []
        self.fail_on: str | None = None

    def process(self, entries: Sequence[Entry]) -> list[Output]:
        out: list[Output] = []
        for offset, at_ms, event in entries:
            if offset < self.next_offset:
                continue
            self.next_offset = offset + 1
            self.judged.append(offset)
            if isinstance(event, ControlEvent | ReleaseEvent):
                key = make_key(tenant_of(event), event.data.agent_id)
                self.epochs[key] = event.data.epoch
                if isinstance(event, ReleaseEvent):
                    self.counts[key] = 0
            if isinstance(event, ActionEvent | AdmissionEvent):
                if event.id == self.fail_on:
                    raise RuntimeError("this event breaks the stage")
                self._count(offset, at_ms, event, out)
        return out

    def _count(self, offset: int, at_ms: int, event: Any, out: list[Output]) -> None:
        key = make_key(tenant_of(event), event.data.agent_id)
        count = self.counts[key] = self.counts.get(key, 0) + 1
        if count != self.limit or (self.only is not None and key != self.only):
            return
        id_ = output_id(self.partition, self.name, key, offset, "finding", "count")
        data = Finding(
            finding_id=id_,
            detector="count",
            mode="enforce",
            agent_id=split_key(key)[1],
            agent_version=None,
            at=format_ms(at_ms),
            severity="critical",
            action_taken="suspend",
            basis_epoch=self.epochs.get(key, 0),
            evidence=EvidenceData(
                summary=f"{count} actions", observed=count, expected=1, limit=self.limit, unit="actions", events=[],
                would_clear="fewer",
            ),
        )  # fmt: skip
        out.append(Output("finding", id_, key, at_ms, envelope(FindingEvent, "main", id_, at_ms, key, data)))

    def snapshot(self) -> list[Snapshot]:
        blob = msgspec.msgpack.encode((self.counts, self.epochs))
        return [Snapshot("", self.next_offset, blob)]

    def snapshots(self) -> Iterator[Snapshot]:
        return iter(self.snapshot())

    def restore(self, snapshots: Iterable[Snapshot]) -> int:
        for snapshot in snapshots:
            self.counts, self.epochs = msgspec.msgpack.decode(snapshot.blob, type=tuple[dict[str, int], dict[str, int]])
            self.next_offset = snapshot.next_offset
        return self.next_offset


class SilentStage:
    """Judges nothing."""

    def __init__(self, name: str, topic: str) -> None:
        self.name = name
        self.topic = topic
        self.next_offset = 0

    def process(self, entries: Sequence[Entry]) -> list[Output]:
        if entries:
            self.next_offset = max(self.next_offset, entries[-1][0] + 1)
        return []

    def snapshot(self) -> list[Snapshot]:
        return [Snapshot("", self.next_offset, b"")]

    def snapshots(self) -> Iterator[Snapshot]:
        return iter(self.snapshot())

    def restore(self, snapshots: Iterable[Snapshot]) -> int:
        for snapshot in snapshots:
            self.next_offset = snapshot.next_offset
        return self.next_offset


def tiny_stages(
    settings: Any, engine_id: str, topic_ids: Mapping[str, str], limit: int = 61, only: str | None = None
) -> Mapping[str, Any]:
    partition = Partition(engine_id, ACTIONS, topic_ids[ACTIONS])
    return {
        ACTIONS: CountingStage(partition, limit, only),
        CRM: SilentStage("deals", CRM),
        PORTFOLIO: SilentStage("portfolio", PORTFOLIO),
    }


def action_event(agent_id: str, number: int, at_ms: int, **fields: Any) -> ActionEvent:
    data = {"action": "record.update", "outcome": "ok", "object": "Opportunity", "record_ids": [f"006A{number}"]}
    return ActionEvent(
        specversion="1.0",
        id=f"{agent_id}-{number}",
        source="/test",
        time=format_ms(at_ms),
        data=AgentAction(**{"agent_id": agent_id, **data, **fields}),
    )


def batch(agent_id: str, start: int, count: int, at_ms: int, **fields: Any) -> list[tuple[bytes, ActionEvent]]:
    return [(b"", action_event(agent_id, n, at_ms, **fields)) for n in range(start, start + count)]

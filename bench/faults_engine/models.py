"""The read models in the store against the topics: each record counted once."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import msgspec

from bench.faults_engine.look import Look
from events.codec import decode
from events.times import parse_ms
from events.types import ActionEvent, AdmissionEvent, ScoreEvent
from streams.kafka.partition import record_key
from streams.kafka.spec import ALERTS, FINDINGS, RISK
from streams.routing import ACTIONS, PORTFOLIO

BIN_MS = 300_000
COLUMNS = ("actions", "admitted", "changes")
"""Counts of agents that follow from the records alone; refusals are counted by the gates, and a crash may lose some."""
Name = tuple[str, str, str]
"""Of an event: its key, source and id."""


class Acted:
    """What the rows, totals and five minutes of agents should be, counted from agent.actions in another way than the
    sinks do: all ids of all time are remembered."""

    def __init__(self, look: Look) -> None:
        self.rows: dict[Name, str] = {}
        self.totals: Counter[Any] = Counter()
        self.bins: Counter[Any] = Counter()
        self._admitted: dict[str, Name] = {}
        self._reported: set[str] = set()
        for record, event in look.acts():
            key = record_key(ACTIONS, event)
            name = (key, event.source, event.id)
            if name not in self.rows:
                for column in self._take(name, event):
                    self.totals[key, column] += 1
                    self.bins[key, record.timestamp // BIN_MS * BIN_MS, column] += 1
        for decision_id in self._admitted.keys() & self._reported:
            del self.rows[self._admitted[decision_id]]  # the report's row stands for both

    def _take(self, name: Name, event: Any) -> tuple[str, ...]:
        """Take a new event; the columns that it counts in."""
        if isinstance(event, AdmissionEvent):
            self.rows[name] = "admission"
            self._admitted[event.data.decision_id] = name
            return ("actions", "admitted")
        if isinstance(event, ActionEvent):
            self.rows[name] = "report"
            decision_id = event.data.decision_id or ""
            self._reported.add(decision_id)
            return () if decision_id in self._admitted else ("actions",)
        self.rows[name] = "change"
        return ("changes",)


def actions(look: Look) -> None:
    """Rows, totals and five minutes of what agents did count each event once."""
    wanted = Acted(look)
    found = look.ask("SELECT key, source, event_id, kind FROM action")
    look.equal("store: rows of actions", [(*name, kind) for name, kind in wanted.rows.items()], found)
    columns = ", ".join(COLUMNS)
    totals = _counts(look.ask(f"SELECT key, {columns} FROM agent"))  # noqa: S608 - names are our own
    look.equal("store: totals of agents", +wanted.totals, totals)
    bins = _counts(look.ask(f"SELECT key, bin_ms, {columns} FROM agent_bin"))  # noqa: S608
    look.equal("store: five minutes of agents", +wanted.bins, bins)


def told(look: Look) -> None:
    """Findings and alerts in the store are those of the topics."""
    findings = {one["id"]: one for one in _events(look, FINDINGS)}
    stored = {id_: json.loads(body) for id_, body in look.ask("SELECT id, body FROM finding")}
    look.equal("store: findings (whole)", findings, stored)
    alerts, lists = [], {}
    for one in _events(look, ALERTS):
        if one["type"] == "tripline.alert.v1":
            alerts.append(one["id"])
        else:
            lists[f"default/{one['data']['manager_id']}"] = [row["deal_id"] for row in one["data"]["rows"]]
    look.equal("store: alerts", alerts, [id_ for (id_,) in look.ask("SELECT id FROM alert")])
    tops: dict[str, list[str]] = defaultdict(list)
    for key, deal in look.ask("SELECT key, deal_id FROM top ORDER BY key, rank"):
        tops[key].append(deal)
    look.equal("store: managers' lists", {key: rows for key, rows in lists.items() if rows}, dict(tops))


def deals(look: Look) -> None:
    """Risks and deals in the store are those of the topics."""
    risks = list(_events(look, RISK))
    scores = [(one["id"], one["data"]["p_lost"]) for one in risks]
    look.equal("store: risks of deals", scores, look.ask("SELECT id, p_lost FROM deal_score"))
    newest: dict[str, tuple[int, float]] = {}
    for one in risks:
        key, at_ms = f"default/{one['data']['deal_id']}", parse_ms(one["time"])
        if at_ms >= newest.get(key, (0, 0.0))[0]:
            newest[key] = (at_ms, one["data"]["p_lost"])
    found = dict(look.ask("SELECT key, p_lost FROM deal WHERE p_lost IS NOT NULL"))
    look.equal("store: newest risk of each deal", {key: p for key, (_, p) in newest.items()}, found)
    events = (decode(one.value) for one in look.records(PORTFOLIO))
    named = {f"default/{event.data.deal_id}" for event in events if isinstance(event, ScoreEvent)}
    look.equal("store: deals", named | newest.keys(), [key for (key,) in look.ask("SELECT key FROM deal")])


def _counts(rows: list[Any]) -> Counter[Any]:
    """By key and column, what is not 0."""
    found: Counter[Any] = Counter()
    for row in rows:
        place, values = row[: -len(COLUMNS)], row[-len(COLUMNS) :]
        found.update({(*place, column): value for column, value in zip(COLUMNS, values, strict=True)})
    return +found


def _events(look: Look, topic: str) -> list[Any]:
    return [msgspec.json.decode(one) for values in look.said[topic].values() for one in values]

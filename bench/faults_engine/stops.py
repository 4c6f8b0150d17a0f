"""Who is stopped, and what the gates admitted: the store, the topics and the agents' answers against each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from bench.faults_engine.asking import HONEST, RETURNING, ROGUE
from bench.faults_engine.look import Look
from events.codec import BadEvent, decode
from events.types import ControlEvent, ReleaseEvent
from streams.kafka.spec import CONTROL
from streams.routing import ACTIONS

STOPPED = frozenset({"suspended", "held", "releasing"})
_MARKS = {ControlEvent: b"tripline.control.v1", ReleaseEvent: b"tripline.system.release.v1"}
Ends = Mapping[str, tuple[int, str]]
"""By key: epoch and state."""


def control(look: Look) -> None:
    """Control rows, their history, agent.control and the agents' inputs say the same."""
    history = look.ask("SELECT key, epoch, state FROM control_history WHERE changed ORDER BY key, seq")
    by_key: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for key, epoch, state in history:
        by_key[key].append((epoch, state))
    wrong = [key for key, found in by_key.items() if [epoch for epoch, _ in found] != [*range(1, len(found) + 1)]]
    look.none_of("epochs grow by one", len(history), wrong)
    rows = {key: (epoch, state) for key, epoch, state in look.ask("SELECT key, epoch, state FROM control")}
    look.equal("control rows = the history's end", {key: found[-1] for key, found in by_key.items()}, rows)
    for topic in (CONTROL, ACTIONS):
        _published(look, topic, history, rows)
    asked = [(key, epoch) for key, epoch, state in history if state == "releasing"]
    found = {event.id: (key, event.data.epoch) for key, event in _events(look, ACTIONS, ReleaseEvent)}
    look.equal("releases in the agents' inputs, each once by id", asked, found.values())


def _published(look: Look, topic: str, history: list[Any], rows: Ends) -> None:
    """A topic has each decision once by its id, and of each agent the last one last."""
    published: dict[str, tuple[str, int, str]] = {}
    last: dict[str, tuple[int, str]] = {}
    for key, event in _events(look, topic, ControlEvent):
        look.again[f"decisions in {topic}"] += event.id in published
        published.setdefault(event.id, (key, event.data.epoch, event.data.state))
        last[key] = (event.data.epoch, event.data.state)
    look.equal(f"decisions in {topic}, each once by id", history, published.values())
    look.equal(f"last decision of each agent in {topic}", rows, last)


def stopped(look: Look) -> None:
    """Who went rogue is suspended, others are not; who was released has been."""
    rows = dict(look.ask("SELECT key, state FROM control"))
    is_state = {agent: rows.get(f"default/{agent}", "active") for agent in (*ROGUE, *HONEST, *RETURNING)}
    wrong = [f"{agent} is {is_state[agent]}" for agent in ROGUE if is_state[agent] != "suspended"]
    wrong += [f"{agent} is {is_state[agent]}" for agent in HONEST if is_state[agent] != "active"]
    wrong += [f"{agent} is {is_state[agent]}" for agent in RETURNING if is_state[agent] not in ("active", "suspended")]
    look.none_of("rogue agents are still suspended, honest ones not", len(is_state), wrong)


def gate(look: Look) -> None:
    """Admissions are numbered without a gap, lie in the input once, and none was decided after a stop."""
    allowed = look.ask("SELECT key, seq, decision_id, epoch, at_ms FROM gate_decision WHERE decision = 'allow'")
    seqs: dict[str, list[int]] = defaultdict(list)
    for key, seq, *_ in allowed:
        seqs[key].append(seq)
    wrong = [key for key, found in seqs.items() if sorted(found) != [*range(1, len(found) + 1)]]
    look.none_of("admissions are numbered without a gap", len(allowed), wrong)
    counted = {key: len(found) for key, found in seqs.items()}
    look.equal("numbers of admissions", counted, dict(look.ask("SELECT key, seq FROM gate_agent")))
    names = look.admissions()
    look.again["admissions"] = len(names) - len(set(names))
    look.equal("admissions in agent.actions, each once by id", [one[2] for one in allowed], set(names))
    changes, late = look.changes(), []
    for key, _, decision_id, epoch, at_ms in allowed:
        state, _ = changes.get((key, epoch), ("active", 0))
        after = changes.get((key, epoch + 1))
        if state in STOPPED or (after is not None and at_ms > after[1]):
            late.append(f"{key}: {decision_id} at {at_ms} under epoch {epoch} ({state}), then {after}")
    look.late += len(late)
    look.none_of("decided after a stop, by the store's order: none", len(allowed), late)


def answers(look: Look) -> None:
    """What agents were told: an admission that is in the log, and never one when a stop was to be seen before."""
    changes = look.changes()
    told = [one for one in look.asking.answers if one.decision == "allow"]
    look.all_in("answers “allow” in agent.actions", [one.decision_id for one in told], set(look.admissions()))
    late = [
        f"{one.agent}: {one.decision_id} under epoch {one.epoch}, {one.known_epoch} was to be seen"
        for one in told
        if one.epoch < one.known_epoch or changes.get((f"default/{one.agent}", one.epoch), ("active", 0))[0] in STOPPED
    ]
    look.late += len(late)
    look.none_of("asked after a stop was to be seen: none", len(told), late)


def _events(look: Look, topic: str, kind: type[ControlEvent] | type[ReleaseEvent]) -> list[tuple[str, Any]]:
    """Events of a kind in a topic with their keys."""
    found = []
    for record in look.records(topic):
        if record.value is None or _MARKS[kind] not in record.value:
            continue
        try:
            event = decode(record.value)
        except BadEvent:
            continue
        if isinstance(event, kind):
            found.append((record.key.decode(), event))
    return found

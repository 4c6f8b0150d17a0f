"""False opinions and catches of the detectors of contents, by direct calls (no engine, no I/O).

    python -m bench.changes --agents 30 --days 30 --seeds 1 2 [--population simulator]

Clean agents pass in log order; at random writes after the fourteenth day their states are forked (dumped and taken
back) into writes to an object, a field or an owner that they never touched, alone or among their usual work, and
into wrong values in one field at four an hour. ``own`` (bench/contents.py) was used for tuning, ``simulator`` never.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec.structs import replace

from bench import populations
from bench.contents import Desk, wrong_value
from bench.populations import DAY_MS, HOUR_MS, START_MS
from detectors.base import Action, Evidence, Shared
from detectors.discovery import discover
from detectors.statistics import poisson_upper_bound
from events.catalogue import kind_of
from events.types import ActionEvent
from simulator import mixed_org, timeline
from simulator.population import population

FORK_FROM_DAY = 14
WARM_UP_DAYS = 7
MOST_STEPS = 60
NAMES = ("unexpected_change", "value_shift")


class Tally:
    """What came out of one or more runs."""

    def __init__(self) -> None:
        self.months: Counter[str] = Counter()
        self.said: dict[str, list[str]] = defaultdict(list)
        self.caught: dict[str, list[float]] = defaultdict(list)

    def report(self) -> dict[str, Any]:
        """Rates with exact Poisson one-sided 95 % bounds; steps until told and held."""
        rates = {}
        for kind, months in self.months.items():
            for name in sorted({key.partition("|")[2] for key in self.said}):
                count = len(self.said.get(f"{kind}|{name}", ()))
                rates[f"{kind} {name}"] = {
                    "count": count, "agent_months": round(months, 1), "rate": round(count / months, 4),
                    "below": round(poisson_upper_bound(count) / months, 4),
                }  # fmt: skip
        return {"clean": rates, "caught": {key: _steps(values) for key, values in sorted(self.caught.items())}}


def _steps(values: list[float]) -> dict[str, Any]:
    found = np.array(values)
    caught = found[np.isfinite(found)]
    return {
        "trials": len(found),
        "caught": round(len(caught) / len(found), 3),
        "median": float(np.median(caught)) if len(caught) else None,
        "p90": float(np.percentile(caught, 90)) if len(caught) else None,
    }


class Agent:
    """One clean agent at the detectors, and its forks."""

    def __init__(self, agent_id: str, kind: str, detectors: list[Any], tally: Tally) -> None:
        self.agent_id, self.kind, self.detectors, self.tally = agent_id, kind, detectors, tally
        self.states = [one.new_state(agent_id) for one in detectors]
        self.last: dict[str, int] = {}

    def see(self, action: Action) -> None:
        """An action of its ordinary course; opinions on one matter within a day count once."""
        for detector, state in zip(self.detectors, self.states, strict=True):
            said = detector.observe(action, state)
            if said is None:
                continue
            matter = f"{detector.name} {said.wanted}"
            if action.at_ms - self.last.get(matter, 0) >= DAY_MS:
                self.last[matter] = action.at_ms
                day = (action.at_ms - START_MS) / DAY_MS
                week = "" if day >= WARM_UP_DAYS else " in its first week"
                self.tally.said[f"{self.kind}|{matter}{week}"].append(f"{self.agent_id} day {day:.1f}: {said.summary}")

    def fork(self, name: str, actions: Iterator[tuple[Action, bool]]) -> None:
        """What happens until it is told and held, counted in wrong actions (``is_wrong`` beside each)."""
        copies = [
            (d, d.load("a", d.dump(s), d.state_version)) for d, s in zip(self.detectors, self.states, strict=True)
        ]
        first: dict[str, float] = {}
        wrong = 0
        for action, is_wrong in actions:
            wrong += is_wrong
            for detector, state in copies:
                said: Evidence | None = detector.observe(action, state)
                if said is not None and wrong:
                    first.setdefault("told", wrong)
                    if said.wanted in ("hold", "suspend"):
                        first.setdefault("held", wrong)
            if "held" in first or wrong >= MOST_STEPS:
                break
        for what in ("told", "held"):
            self.tally.caught[f"{name} {what}"].append(first.get(what, float("inf")))


# --- our own contents ---------------------------------------------------------------------------------------------


def own(arguments: argparse.Namespace, seed: int, detectors: list[Any], tally: Tally) -> None:
    """Agents of ``bench.populations`` with the contents of ``bench.contents``, every second one settled."""
    rng = np.random.default_rng([seed, 5])
    for number, agent in enumerate(populations.organisation(seed, arguments.agents, arguments.days)):
        if not len(agent.times):
            continue
        desk = Desk(agent, rng, is_settled=number // 4 % 2 == 0)
        kind = "settled" if desk.is_settled else "new tasks"
        clean = Agent(agent.agent_id, kind, detectors, tally)
        late = np.nonzero(agent.times >= START_MS + FORK_FROM_DAY * DAY_MS)[0]
        forks = set(rng.choice(late, min(arguments.forks, len(late)), replace=False).tolist()) if len(late) else set()
        for place, action in enumerate(desk.actions()):
            clean.see(action)
            if place in forks:
                _forks(clean, desk, action.at_ms)
        tally.months[kind] += (arguments.days - WARM_UP_DAYS) / 30


def _forks(clean: Agent, desk: Desk, at_ms: int) -> None:
    pace = int(HOUR_MS / max(desk.agent.typical_per_hour, 0.5))
    for every in (1, 10):
        for what in ("object", "field", "owner"):
            if what == "owner" and desk.owners == "none":
                continue
            name = f"{what} 1 in {every}" + (f" ({desk.owners})" if what == "owner" else "")
            clean.fork(name, _strange(desk, at_ms, pace, what, every))
    for how in ("other", "blank", "words") if any(one.name == "value_shift" for one in clean.detectors) else ():
        field = desk.fields[int(np.argmax(desk.weights))]
        clean.fork(f"values {how} in {field.kind}", _wrong(desk, at_ms, how))


def _strange(desk: Desk, at_ms: int, pace: int, what: str, every: int) -> Iterator[tuple[Action, bool]]:
    for step in itertools.count(1):
        at_ms += pace
        action = desk.act(at_ms, f"f{step}")
        if step % every:
            yield action, False
            continue
        data = action.data
        record = f"x-{step}"
        changes = {record: {"Amount__c": (1, 2)}} if what == "object" else {record: {desk.fields[0].name: (None, None)}}
        of = desk.fields[0].object
        if what == "object":
            data = replace(data, action="record.update", object="Contract__c", record_ids=[record], changes=changes)
        elif what == "field":
            changes = {record: {"Discount__c": (None, 30)}}
            data = replace(data, action="record.update", object=of, record_ids=[record], changes=changes)
        else:
            data = replace(
                data, action="record.update", object=of, record_ids=[record], changes=changes, owner_id="user:x"
            )
        yield replace(action, data=data, kind=kind_of(data.action)), True


def _wrong(desk: Desk, at_ms: int, how: str) -> Iterator[tuple[Action, bool]]:
    """Four wrong values an hour in its most used field, among its usual work."""
    field, rng = desk.fields[int(np.argmax(desk.weights))], desk.rng
    usual = max(round(desk.agent.typical_per_hour / 4), 1)
    for step in itertools.count(1):
        for extra in range(usual):
            at_ms += HOUR_MS // 4 // (usual + 1)
            yield desk.act(at_ms, f"u{step}-{extra}"), False
        at_ms += HOUR_MS // 4 // (usual + 1)
        record = f"{field.object}-{rng.integers(desk.records)}"
        before = desk.values.get((record, field.name)) or _some(desk, field, at_ms)
        after = wrong_value(field, before, how, rng, at_ms)
        fields = {"object": field.object, "record_ids": [record], "changes": {record: {field.name: (before, after)}}}
        yield desk.made(at_ms, f"w{step}", "record.update", fields), True


def _some(desk: Desk, field: Any, at_ms: int) -> Any:
    return desk._change(field, f"{field.object}-none", at_ms)[1]


# --- the simulator ------------------------------------------------------------------------------------------------


def simulated(arguments: argparse.Namespace, seed: int, detectors: list[Any], tally: Tally, *, has_deals: bool) -> None:
    """The simulator's own events: opinions on clean agents only, and forks into strange writes."""
    spec = mixed_org(arguments.agents, seed) if has_deals else population(arguments.agents, seed)
    kind = "organisation" if has_deals else "population"
    agents = {one.agent_id: Agent(one.agent_id, kind, detectors, tally) for one in spec.agents}
    rng = np.random.default_rng([seed, 6])
    left = dict.fromkeys(agents, arguments.forks)
    for at_ms, event in timeline(spec, seed, START_MS, arguments.days):
        if not isinstance(event, ActionEvent):
            continue
        data = event.data
        action = Action(at_ms, at_ms, event.source, event.id, kind_of(data.action), data)
        clean = agents[data.agent_id]
        clean.see(action)
        is_late = at_ms >= START_MS + FORK_FROM_DAY * DAY_MS
        if is_late and left[data.agent_id] and action.kind.is_write and rng.random() < 0.02:
            left[data.agent_id] -= 1
            for what in ("object", "field", "owner") if isinstance(data.owner_id, str) else ("object", "field"):
                clean.fork(f"{what} 1 in 1", _repeated(action, what))
    tally.months[kind] += len(agents) * (arguments.days - WARM_UP_DAYS) / 30


def _repeated(action: Action, what: str) -> Iterator[tuple[Action, bool]]:
    for step in range(1, MOST_STEPS):
        data, record = action.data, f"x-{step}"
        changes = {record: {"Discount__c": (None, 30)}}
        if what == "object":
            data = replace(data, action="record.update", object="Contract__c", record_ids=[record], changes=changes)
        elif what == "field":
            data = replace(data, action="record.update", record_ids=[record], changes=changes)
        else:
            data = replace(data, owner_id="user:x")
        at_ms = action.at_ms + step * 60_000
        yield (
            replace(action, at_ms=at_ms, effect_ms=at_ms, event_id=f"f{step}", data=data, kind=kind_of(data.action)),
            True,
        )


def main(argv: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=30)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--forks", type=int, default=1, help="forks an agent")
    parser.add_argument("--only", nargs="+", default=list(NAMES))
    parser.add_argument("--population", choices=("own", "simulator"), default="own")
    parser.add_argument("--show", type=int, default=4, help="opinions on clean agents to print of each sort")
    arguments = parser.parse_args(argv)
    known, tally = discover(), Tally()
    detectors = [known[name](None, Shared()) for name in arguments.only if name in known]
    for seed in arguments.seeds:
        if arguments.population == "own":
            own(arguments, seed, detectors, tally)
        else:
            for has_deals in (False, True):
                simulated(arguments, seed, detectors, tally, has_deals=has_deals)
    for part, rows in tally.report().items():
        sys.stdout.writelines(f"{part:7} {name:42} {json.dumps(row, default=float)}\n" for name, row in rows.items())
    for key, said in tally.said.items():
        sys.stdout.writelines(f"{key}: {one}\n" for one in said[: arguments.show])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

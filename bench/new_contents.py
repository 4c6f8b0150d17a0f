"""What new agents write, judged with and without peers (``unexpected_change``, ``value_shift``); no engine, no I/O.

    python -m bench.new_contents --seeds 101 102 --population simulator [--agents 72]

Every other agent of a role is settled: it acts for three weeks, and what they write becomes the role's profile. The
others are new: their first four weeks are judged twice, with that profile and without; opinions of one detector on one
agent and day count once. Then each is wrong from its first day on, at every write, every second or every tenth: to an
object, a field or an owner that nobody of the role touches, or by wrong values in its most used field (of whose changes
every one, second or tenth is wrong). At most 60 wrong writes, 3,000 writes and two weeks are looked at.

``simulator``: the roles of ``simulator``. ``own``: contents of ``bench/contents.py`` on the times of
``bench/populations.py``, in roles of three sorts: alike (the same fields, other shares and values), partly (a third of
the agents also writes a field of its own), and unlike (nothing in common but names).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from bench import populations
from bench.contents import Desk, FieldOf
from bench.populations import DAY_MS, START_MS
from detectors.base import Action, PeerProfile, Shared
from detectors.statistics import poisson_upper_bound
from detectors.unexpected_change import UnexpectedChange
from detectors.value_shift import ValueShift
from events.catalogue import kind_of
from events.types import ActionEvent
from simulator import mixed_org, timeline
from simulator.population import population

SETTLED_DAYS, NEW_DAYS, WRONG_DAYS = 21, 28, 14
MOST_WRONG, MOST_WRITES = 60, 3_000
DETECTORS = (UnexpectedChange, ValueShift)
WAYS = ("object", "field", "owner", "blank", "words", "numbers")


@dataclass
class Agent:
    """One agent and its actions."""

    agent_id: str
    role: str
    sort: str
    actions: list[Action] = field(default_factory=list)


class Tally:
    """What came out, with peers or without."""

    def __init__(self) -> None:
        self.months: Counter[str] = Counter()
        self.said: Counter[tuple[str, str]] = Counter()
        self.caught: defaultdict[str, list[float]] = defaultdict(list)
        self.words: list[str] = []


def clean(agent: Agent, detectors: list[Any], tally: Tally) -> None:
    """A new agent's first weeks as they are."""
    tally.months[agent.sort] += NEW_DAYS / 30
    for detector in detectors:
        state, last = detector.new_state(agent.agent_id), dict[str, int]()
        detector.join(state, agent.role)
        for action in agent.actions:
            said = detector.observe(action, state)
            if said is None:
                continue
            day = (action.at_ms - agent.actions[0].at_ms) // DAY_MS
            if last.get(said.wanted, -1) != day:
                last[said.wanted] = day
                tally.said[agent.sort, f"{detector.name} {said.wanted}"] += 1
                tally.words.append(
                    f"{agent.sort} {agent.agent_id} day {day} {detector.name} {said.wanted}: {said.summary}"
                )


def wrong(agent: Agent, way: str, every: int, detectors: list[Any]) -> float | None:
    """How many wrong writes it takes until it is told of; infinite when it isn't; None where it has no such writes."""
    seen = Counter((a.data.object, name) for a in agent.actions for name in _fields(a))
    most = max(seen, key=lambda one: (seen[one], one)) if seen else None
    is_valued = way in ("blank", "words", "numbers")
    if (is_valued and most is None) or (
        way == "owner" and not any(isinstance(a.data.owner_id, str) for a in agent.actions)
    ):
        return None
    states = [(one, one.new_state(agent.agent_id)) for one in detectors]
    for detector, state in states:
        detector.join(state, agent.role)
    writes = count = 0
    for action in agent.actions:
        if not action.kind.is_write or action.at_ms - agent.actions[0].at_ms >= WRONG_DAYS * DAY_MS:
            if action.kind.is_write:
                break
            continue
        if is_valued and (action.data.object, most[1]) != (most[0], next(iter(_fields(action)), None)):
            done, is_wrong = action, False
        else:
            writes += 1
            is_wrong = writes % every == 0
            done = _made_wrong(action, way, most) if is_wrong else action
        count += is_wrong
        for detector, state in states:
            said = detector.observe(done, state)
            if said is not None and is_wrong:
                return float(count)
        if count >= MOST_WRONG or writes >= MOST_WRITES:
            break
    return float("inf") if count else None


def _fields(action: Action) -> list[str]:
    changes = action.data.changes
    return [] if changes is UNSET else [name for fields in changes.values() for name in fields]


def _made_wrong(action: Action, way: str, most: Any) -> Action:
    data = action.data
    record = data.record_ids[0] if data.record_ids else "x"
    if way == "object":
        data = replace(data, action="record.update", object="Contract__c", changes={record: {"Amount__c": (1, 2)}})
    elif way == "field":
        of = most[0] if most else data.object
        data = replace(data, action="record.update", object=of, changes={record: {"Discount__c": (None, 30)}})
    elif way == "owner":
        data = replace(data, owner_id="user:x")
    else:
        changes = {r: {n: (c[0], _wrong_value(c[1], way)) for n, c in f.items()} for r, f in data.changes.items()}
        data = replace(data, changes=changes)
    return replace(action, data=data, kind=kind_of(data.action))


def _wrong_value(value: Any, way: str) -> Any:
    if way == "blank":
        return None
    if way == "words":
        return "Unknown"
    try:
        return round(float(value) * 10, 2) if not isinstance(value, str) else f"{float(value) * 10:.2f}"
    except (TypeError, ValueError):
        return "12345"


# --- populations ---------------------------------------------------------------------------------------------------


def simulated(agents: int, seed: int) -> list[Agent]:
    """Agents of the simulator, with deals and without; who is new begins after the others' three weeks."""
    found: list[Agent] = []
    for spec, sort in ((mixed_org(agents, seed), "organisation"), (population(agents, seed), "population")):
        known = {one.agent_id: Agent(one.agent_id, f"{sort}/{one.role}", sort) for one in spec.agents}
        places: Counter[str] = Counter()
        is_new = {}
        for one in spec.agents:
            is_new[one.agent_id] = places[one.role] % 2 == 1
            places[one.role] += 1
        for at_ms, event in timeline(spec, seed, START_MS, SETTLED_DAYS + NEW_DAYS):
            if not isinstance(event, ActionEvent):
                continue
            agent = known[event.data.agent_id]
            if (at_ms >= START_MS + SETTLED_DAYS * DAY_MS) != is_new[agent.agent_id] or len(agent.actions) >= 20_000:
                continue
            agent.actions.append(Action(at_ms, at_ms, event.source, event.id, kind_of(event.data.action), event.data))
        found += known.values()
    return found


def own(agents: int, seed: int) -> list[Agent]:
    """Agents of ``bench.populations`` with contents by role."""
    found: list[Agent] = []
    roles = max(agents // 16, 3)
    for number, one in enumerate(populations.organisation(seed, agents, SETTLED_DAYS + NEW_DAYS)):
        role, place = number % roles, number // roles
        sort = ("alike", "partly", "unlike")[role % 3]
        middle = START_MS + SETTLED_DAYS * DAY_MS
        one.times = one.times[one.times >= middle] if place % 2 else one.times[one.times < middle]
        if not len(one.times):
            continue
        rng = np.random.default_rng([seed, 8, number])
        desk = Desk(one, rng if sort == "unlike" else np.random.default_rng([seed, 9, role]), is_settled=True)
        if sort != "unlike":
            _vary(desk, rng, has_own=sort == "partly" and rng.random() < 1 / 3)
        actions = [action for action, _ in zip(desk.actions(), range(20_000), strict=False)]
        found.append(Agent(one.agent_id, f"own/{role}", sort, actions))
    return found


def _vary(desk: Desk, rng: np.random.Generator, *, has_own: bool) -> None:
    """The same work as the others of the role, with its own shares, spreads and favourites."""
    desk.rng = rng
    if has_own:
        desk.fields.append(
            FieldOf(desk.fields[0].object, f"own_{rng.integers(10**6)}", "amount", 0.2, 0.0, [], np.ones(1))
        )
        desk.weights = np.append(desk.weights * 0.9, 0.1)
    desk.weights = desk.weights * np.exp(rng.normal(0, 0.5, len(desk.weights)))
    desk.weights /= desk.weights.sum()
    for each in desk.fields:
        each.spread *= float(np.exp(rng.normal(0, 0.3)))
        each.weights = rng.dirichlet(30 * each.weights + 0.01)


def profiles_of(agents: list[Agent]) -> dict[str, PeerProfile]:
    """What the settled agents of each role come to, through bytes."""
    end_ms = START_MS + SETTLED_DAYS * DAY_MS
    described: defaultdict[str, defaultdict[str, list[list[int]]]] = defaultdict(lambda: defaultdict(list))
    for agent in agents:
        if not agent.actions or agent.actions[0].at_ms >= end_ms:
            continue
        for cls in DETECTORS:
            detector = cls()
            state = detector.new_state(agent.agent_id)
            for action in agent.actions:
                detector.observe(action, state)
            told = detector.describe(state, end_ms)
            if told is not None:
                described[agent.role][cls.name].append(told)
    found = {}
    for role, by_name in described.items():
        values = {cls.name: cls().common_profile(by_name[cls.name][: cls.most_described]) for cls in DETECTORS}
        found[role] = PeerProfile(end_ms // DAY_MS, {name: tuple(one) for name, one in values.items() if one})
    return found


def main(argv: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=72)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    parser.add_argument("--population", choices=("own", "simulator"), default="own")
    parser.add_argument("--show", type=int, default=0, help="opinions on clean agents to print")
    parser.add_argument("--clean-only", action="store_true")
    arguments = parser.parse_args(argv)
    tallies = {"peers": Tally(), "without": Tally()}
    for seed in arguments.seeds:
        agents = (own if arguments.population == "own" else simulated)(arguments.agents, seed)
        peers = profiles_of(agents)
        sizes = {role: {name: len(one) for name, one in found.values.items()} for role, found in sorted(peers.items())}
        sys.stdout.write(f"seed {seed}, numbers in profiles: {json.dumps(sizes)}\n")
        new = [one for one in agents if one.actions and one.actions[0].at_ms >= START_MS + SETTLED_DAYS * DAY_MS]
        for name, shared in (("peers", Shared(peers=peers)), ("without", Shared())):
            detectors = [cls(None, shared) for cls in DETECTORS]
            for agent in new:
                clean(agent, detectors, tallies[name])
                for way in WAYS if not arguments.clean_only else ():
                    for every in (1, 2, 10):
                        taken = wrong(agent, way, every, detectors)
                        if taken is not None:
                            tallies[name].caught[f"{agent.sort} {way} 1 in {every}"].append(taken)
    for name, tally in tallies.items():
        sys.stdout.writelines(f"{name:8} {line}\n" for line in _report(tally))
        sys.stdout.writelines(f"   {line}\n" for line in tally.words[: arguments.show])
    return 0


def _report(tally: Tally) -> Iterator[str]:
    for (sort, what), count in sorted(tally.said.items()):
        months = tally.months[sort]
        bound = poisson_upper_bound(count) / months
        yield f"clean {sort:13} {what:28} {count:4} in {months:.1f} agent-months: {count / months:.3f} (<= {bound:.3f})"
    for sort, months in sorted(tally.months.items()):
        yield f"clean {sort:13} {months:.1f} agent-months in all"
    for what, taken in sorted(tally.caught.items()):
        found = np.array(taken)
        told = found[np.isfinite(found)]
        middle = f"{np.median(told):.0f}, p90 {np.percentile(told, 90):.0f}" if len(told) else "-"
        yield f"wrong {what:32} told {len(told):3} of {len(found):3}, at {middle}"


if __name__ == "__main__":
    raise SystemExit(main())

"""What new agents cost and what is caught of them in their first week, with and without peers (``action_rate``).

    python -m bench.newcomers --agents 160 --seeds 1 2 3 --population own

Each kind of the population is a role. Every other agent of a role is settled: it acts for three weeks, and what they do
becomes the role's profile. The others are new: their first week is judged twice, with that profile and without. At
random actions of their first day, and of the six days after, their state is forked into a spike of an hour.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from typing import Any

import numpy as np

from bench import populations
from bench.detect import simulated
from bench.populations import DAY_MS, HOUR_MS, Agent
from detectors.action_rate import ActionRate, RateState
from detectors.base import Action, PeerProfile, Shared
from detectors.statistics import poisson_upper_bound
from events.catalogue import kind_of
from events.types import AgentAction

SETTLED_DAYS, NEW_DAYS = 21, 7
SPIKES = (10, 30)
FORKS = 3
SLOWED = ("throttle", "hold", "suspend")
HELD_AT = 3
"""The third throttle within a day is a hold."""
_DATA = AgentAction(agent_id="a", action="record.update", outcome="ok", object="Lead", record_ids=["r"])
_KIND = kind_of("record.update")


def act(at_ms: float) -> Action:
    """One action; only its time matters here."""
    return Action(int(at_ms), int(at_ms), "/bench", "x", _KIND, _DATA)


def profile_of(agents: list[Agent], end_ms: int) -> tuple[int, ...]:
    """The profile of a role after its settled agents' three weeks; empty when they are too few."""
    detector, described = ActionRate(), []
    for agent in agents:
        state = detector.new_state(agent.agent_id)
        for at_ms in agent.times[agent.times < end_ms].tolist():
            detector.observe(act(at_ms), state)
        told = detector.describe(state, end_ms)
        if told is not None:
            described.append(told)
    return tuple(detector.common_profile(described) or ())


class Tally:
    """Counts by kind of agent, with or without peers."""

    def __init__(self) -> None:
        self.weeks: Counter[str] = Counter()
        self.false: Counter[tuple[str, str]] = Counter()
        self.spikes: defaultdict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)


def first_week(agent: Agent, detector: ActionRate, tally: Tally, rng: np.random.Generator) -> None:
    """One agent's first week, clean; and spikes that begin at some of its actions."""
    times = agent.times[agent.times < agent.times[0] + NEW_DAYS * DAY_MS]
    on_first = int(np.searchsorted(times, times[0] + DAY_MS))
    forks = {int(i) for i in rng.integers(0, on_first, FORKS)}
    if on_first < len(times):
        forks |= {int(i) for i in rng.integers(on_first, len(times), FORKS)}
    state = detector.new_state(agent.agent_id)
    detector.join(state, agent.kind)
    said: set[str] = set()
    slowed: list[int] = []
    for number, at_ms in enumerate(times.tolist()):
        if number in forks:
            day = "day 1" if number < on_first else "days 2-7"
            for size in SPIKES:
                caught = spike(agent, number, size, detector, state, rng)
                tally.spikes[agent.kind, f"{day} x{size}"].append(caught)
        evidence = detector.observe(act(at_ms), state)
        if evidence is not None:
            said.add("told")
            if evidence.wanted in SLOWED:
                slowed = [earlier for earlier in slowed if at_ms - earlier < DAY_MS] + [at_ms]
                said |= {"slowed", "held"} if len(slowed) >= HELD_AT else {"slowed"}
    tally.weeks[agent.kind] += 1
    for what in said:
        tally.false[agent.kind, what] += 1


def spike(
    agent: Agent, number: int, size: int, detector: ActionRate, state: RateState, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Minutes until the agent is told of, slowed down, and held, within the spike's hour; else infinite."""
    copy = detector.load(agent.agent_id, detector.dump(state), detector.state_version)
    detector.join(copy, agent.kind)
    start_ms = int(agent.times[number])
    own = agent.times[number : int(np.searchsorted(agent.times, start_ms + HOUR_MS))]
    extra = start_ms + rng.uniform(0, HOUR_MS, rng.poisson((size - 1) * agent.typical_per_hour))
    told, slowed = float("inf"), list[float]()
    for at_ms in np.sort(np.concatenate([own, extra])).tolist():
        evidence = detector.observe(act(at_ms), copy)
        if evidence is not None:
            minutes = (at_ms - start_ms) / 60_000
            told = min(told, minutes)
            if evidence.wanted in SLOWED:
                slowed.append(minutes)
    slowed += [float("inf")] * HELD_AT
    return told, slowed[0], slowed[HELD_AT - 1]


def summary(tally: Tally) -> dict[str, Any]:
    """Shares by kind: new agents told of or slowed down for nothing, spikes told of and slowed down, minutes."""
    result: dict[str, Any] = {}
    for kind in [*sorted(tally.weeks), "all"]:
        kinds = sorted(tally.weeks) if kind == "all" else [kind]
        weeks = sum(tally.weeks[each] for each in kinds)
        counts = {what: sum(tally.false[each, what] for each in kinds) for what in ("told", "slowed", "held")}
        bound = poisson_upper_bound(counts["slowed"]) / weeks
        row: dict[str, Any] = {"new agents": weeks, **counts, "slowed below": round(bound, 3)}
        for name in sorted({name for _, name in tally.spikes}):
            caught = np.array([one for each in kinds for one in tally.spikes[each, name]]).reshape(-1, 3)
            row[name] = {what: _delay(caught[:, place]) for place, what in enumerate(("told", "slowed", "held"))}
        result[kind] = row
    return result


def _delay(minutes: np.ndarray) -> str:
    caught = minutes[np.isfinite(minutes)]
    return f"{len(caught) / max(len(minutes), 1):.2f} / {np.median(caught) if len(caught) else float('nan'):.1f} min"


def main(argv: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=160)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--population", choices=("own", "simulator"), default="own")
    arguments = parser.parse_args(argv)
    tallies = {"with peers": Tally(), "without": Tally()}
    for seed in arguments.seeds:
        make = simulated if arguments.population == "simulator" else _own
        agents = [agent for agent in make(arguments.agents, SETTLED_DAYS, seed) if len(agent.times)]
        end_ms = populations.START_MS + SETTLED_DAYS * DAY_MS
        roles: dict[str, list[Agent]] = defaultdict(list)
        for agent in agents:
            roles[agent.kind].append(agent)
        today = populations.START_MS // DAY_MS
        peers = {
            kind: PeerProfile(today, {ActionRate.name: profile_of(known[::2], end_ms)}) for kind, known in roles.items()
        }
        for name, shared in (("with peers", Shared(peers=peers)), ("without", Shared())):
            rng = np.random.default_rng([seed, 77])
            for known in roles.values():
                for agent in known[1::2]:
                    first_week(agent, ActionRate(shared=shared), tallies[name], rng)
    sys.stdout.write(json.dumps({name: summary(tally) for name, tally in tallies.items()}, indent=1) + "\n")
    return 0


def _own(agents: int, days: int, seed: int) -> list[Agent]:
    return populations.organisation(seed, agents, days)


if __name__ == "__main__":
    raise SystemExit(main())

"""False suspensions and catches of the default detectors, by direct calls (no engine, no I/O).

    python -m bench.detect --agents 120 --days 49 --seeds 1 2 --json out.json

One pass over an organisation of agents in log order gives both: the ordinary course counts false suspensions (stops
of one agent within a day count once), and at random actions after the tenth day the agent's states are forked
(dumped and taken back) into a spike, or into errors on one record type, for an hour. Populations: ``own``
(bench/populations.py, used for tuning) and ``simulator`` (never used for tuning).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import populations
from bench.populations import DAY_MS, HOUR_MS, Agent
from detectors.base import Action, Shared
from detectors.discovery import build, discover
from detectors.statistics import poisson_upper_bound
from events.catalogue import kind_of
from events.types import ActionError, ActionEvent, AgentAction
from simulator import AgentSpec, OrgSpec, timeline
from simulator.population import hour_times, population

QUARTER_MS = 900_000
WARM_UP_DAYS = 7
FORK_FROM_DAY = 10
SPIKES = (10, 30)
STOPS = ("suspend", "hold")
_NAMES = ("record.update", "record.read", "task.create", "note.create")
_OBJECTS = ("Opportunity", "Contact", "Account", "Lead")


class Traffic:
    """What one agent does at each of its times: mostly one name and type, records from a pool, some errors."""

    def __init__(self, agent: Agent, rng: np.random.Generator) -> None:
        self.agent = agent
        weights = rng.dirichlet([4.0, 1.0, 0.5, 0.5])
        types = rng.dirichlet([3.0, 1.0, 0.5, 0.5])
        count = len(agent.times)
        self.names = rng.choice(4, count, p=weights)
        self.types = rng.choice(4, count, p=types)
        self.records = rng.integers(0, 1_000, count)
        self.main_type = int(np.argmax(types))
        self.fails = self._failures(rng, count)
        self.kinds = [kind_of(name) for name in _NAMES]
        self.made: dict[tuple[int, int, int, bool], AgentAction] = {}

    def _failures(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Failing operations: a share of the agent's own; a failed one is often tried again at once."""
        share = np.exp(rng.uniform(np.log(0.001), np.log(0.04)))
        fails = rng.random(count) < share
        retries, again = rng.integers(0, 3), rng.uniform(0.2, 0.9)
        for index in np.nonzero(fails)[0]:
            for step in range(1, retries + 1):
                if index + step >= count or rng.random() > again:
                    break
                fails[index + step] = True
                self.types[index + step] = self.types[index]
                self.records[index + step] = self.records[index]
        return fails

    def action(self, at_ms: int, index: int, *, fails: bool | None = None) -> Action:
        """The action of ``index`` at a time, by default as it was drawn."""
        name, kind = int(self.names[index]), int(self.types[index])
        failing = bool(self.fails[index]) if fails is None else fails
        key = (name, kind, int(self.records[index]), failing)
        data = self.made.get(key)
        if data is None:
            data = AgentAction(
                agent_id=self.agent.agent_id,
                action=_NAMES[name],
                outcome="error" if failing else "ok",
                object=_OBJECTS[kind],
                record_ids=[f"{_OBJECTS[kind]}-{key[2]}"],
                error=ActionError("FIELD_CUSTOM_VALIDATION_EXCEPTION") if failing else None,
            )
            self.made[key] = data
        return Action(at_ms, at_ms, "/bench", str(index), self.kinds[name], data)


@dataclass
class Tally:
    """What came out of one or more runs."""

    months: Counter[str] = field(default_factory=Counter)
    stops: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    opinions: Counter[str] = field(default_factory=Counter)
    spikes: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    jumps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    actions: int = 0
    cpu_secs: float = 0.0


class Runner:
    """Drives one organisation through the detectors, quarter hour by quarter hour."""

    def __init__(self, agents: list[Agent], seed: int, forks: int, tally: Tally, tables: dict[str, Any]) -> None:
        self.rng = np.random.default_rng([seed, 99])
        self.shared = Shared()
        self.detectors = build(tables, self.shared)
        self.rate = next(d for d in self.detectors if d.name == "action_rate")
        self.agents = [agent for agent in agents if len(agent.times)]
        self.traffic = [Traffic(agent, self.rng) for agent in self.agents]
        self.states = [[d.new_state(agent.agent_id) for d in self.detectors] for agent in self.agents]
        self.at = [0] * len(self.agents)
        self.last_stop = [-DAY_MS] * len(self.agents)
        self.tally = tally
        self.forks = [self._fork_points(agent, forks) for agent in self.agents]
        self.start_ms = min(int(agent.times[0]) for agent in self.agents) // DAY_MS * DAY_MS
        self.end_ms = max(int(agent.times[-1]) for agent in self.agents)

    def _fork_points(self, agent: Agent, forks: int) -> set[int]:
        first = int(np.searchsorted(agent.times, agent.times[0] + FORK_FROM_DAY * DAY_MS))
        if first >= len(agent.times):
            return set()
        points = self.rng.integers(first, len(agent.times), 20 * forks).tolist()
        job_hour = agent.details.get("job_hour")
        if job_hour is not None:  # batch agents: outside the job's window; inside it three times the job may pass
            points = [i for i in points if 2.0 < (agent.times[i] / HOUR_MS - job_hour) % 24 < 22.0]
        return set(points[:forks])

    def run(self) -> None:
        """The whole course."""
        for agent in self.agents:
            days = (self.end_ms - int(agent.times[0])) / DAY_MS
            self.tally.months[agent.kind] += max(days - WARM_UP_DAYS, 0) / 30.0
        for end_ms in range(self.start_ms + QUARTER_MS, self.end_ms + QUARTER_MS, QUARTER_MS):
            reports = []
            for index, agent in enumerate(self.agents):
                at, times = self.at[index], agent.times
                if at >= len(times) or times[at] >= end_ms:
                    continue
                stop = int(np.searchsorted(times, end_ms))
                self._quarter(index, at, stop)
                self.at[index] = stop
                report = self.rate.report(self.states[index][self.detectors.index(self.rate)], end_ms)  # type: ignore[attr-defined]
                if report is not None:
                    reports.append(report)
            self.shared.factor = self.rate.common_factor(reports)  # type: ignore[attr-defined]

    def _quarter(self, index: int, at: int, stop: int) -> None:
        agent, traffic, forks = self.agents[index], self.traffic[index], self.forks[index]
        calls = [(d.observe, state, d.name) for d, state in zip(self.detectors, self.states[index], strict=True)]
        times = agent.times[at:stop].tolist()
        actions = [traffic.action(at_ms, at + i) for i, at_ms in enumerate(times)]
        for number, action in enumerate(actions, at):
            if number in forks:
                self._fork(index, number)
            started = time.process_time_ns() if number % 64 == 0 else 0
            for observe, state, name in calls:
                evidence = observe(action, state)
                if evidence is not None:
                    self.tally.opinions[f"{name} {evidence.wanted} {evidence.topic.partition('|')[2]}"] += 1
                    if evidence.wanted in STOPS:
                        self._stopped(index, name, action, evidence)
            if started:
                self.tally.cpu_secs += (time.process_time_ns() - started) / 1e9
                self.tally.actions += 1

    def _stopped(self, index: int, name: str, action: Action, evidence: Any) -> None:
        agent = self.agents[index]
        is_counted = action.at_ms - self.last_stop[index] >= DAY_MS
        self.last_stop[index] = action.at_ms
        if is_counted and (evidence.details.get("is_first_week") is not True):
            day = round((action.at_ms - int(agent.times[0])) / DAY_MS, 2)
            said = {"agent": agent.agent_id, "day": day, "summary": evidence.summary, "wanted": evidence.wanted}
            self.tally.stops[f"{agent.kind} {name}"].append({**said, **agent.details})

    # --- forks ---------------------------------------------------------------------------------------------------

    def _copies(self, index: int) -> list[tuple[Any, Any]]:
        agent_id = self.agents[index].agent_id
        return [
            (d, d.load(agent_id, d.dump(state), d.state_version))
            for d, state in zip(self.detectors, self.states[index], strict=True)
        ]

    def _fork(self, index: int, number: int) -> None:
        kind = self.agents[index].kind
        for times_usual in SPIKES:
            delay = self._spike(index, number, times_usual)
            self.tally.spikes[f"{kind} x{times_usual}"].append(delay)
        self.tally.jumps[kind].append(self._jump(index, number))
        self.tally.errors[kind].append(self._errors(index, number))

    def _spike(self, index: int, number: int, times_usual: int) -> float:
        """Minutes until the stop within the spike's hour; infinite if there is none."""
        agent, traffic = self.agents[index], self.traffic[index]
        start_ms = int(agent.times[number])
        copies = self._copies(index)
        for step, at_ms in enumerate(self.spike_times(index, number, times_usual).tolist()):
            action = traffic.action(at_ms, (number + step) % len(agent.times), fails=False)
            if self._is_stopped(copies, action):
                return (at_ms - start_ms) / 60_000
        return float("inf")

    def spike_times(self, index: int, number: int, times_usual: int) -> np.ndarray:
        """When the agent acts in the hour from action ``number`` on: as it would, and (times_usual - 1) x as much."""
        agent, rng = self.agents[index], self.rng
        start_ms = int(agent.times[number])
        end = int(np.searchsorted(agent.times, start_ms + HOUR_MS))
        count = rng.poisson((times_usual - 1) * agent.typical_per_hour)
        extra = start_ms + rng.uniform(0, HOUR_MS, count)
        return np.sort(np.concatenate([agent.times[number:end], extra])).astype(np.int64)

    def _jump(self, index: int, number: int) -> float:
        """Seconds until the stop when the agent suddenly does 100 actions a second."""
        start_ms = int(self.agents[index].times[number])
        copies = self._copies(index)
        for step in range(1_000):
            if self._is_stopped(copies, self.traffic[index].action(start_ms + step * 10, number, fails=False)):
                return step / 100.0
        return float("inf")

    def _errors(self, index: int, number: int) -> float:
        """Errors on its main record type until the stop, when each operation there fails from now on."""
        agent, traffic = self.agents[index], self.traffic[index]
        copies, errors = self._copies(index), 0
        for step in range(number, min(number + 400, len(agent.times))):
            fails = int(traffic.types[step]) == traffic.main_type
            errors += fails
            action = traffic.action(int(agent.times[step]), step, fails=fails)
            if self._is_stopped([pair for pair in copies if pair[0].name == "repeated_errors"], action):
                return errors
        return float("inf") if errors >= 20 else float("nan")

    @staticmethod
    def _is_stopped(copies: list[tuple[Any, Any]], action: Action) -> bool:
        stopped = False
        for detector, state in copies:
            evidence = detector.observe(action, state)
            stopped = stopped or (evidence is not None and evidence.wanted in STOPS)
        return stopped


def metronome() -> float:
    """Seconds of event time until an agent of one action a minute for a day is stopped when it does 100 a second."""
    detectors = [(d, d.new_state("m")) for d in build({}, Shared())]
    data = AgentAction(agent_id="m", action="record.update", outcome="ok", object="Lead", record_ids=["r"])
    kind, start = kind_of("record.update"), populations.START_MS
    for minute in range(1440):
        at_ms = start + minute * 60_000
        assert not Runner._is_stopped(detectors, Action(at_ms, at_ms, "/m", str(minute), kind, data))
    for step in range(1_000):
        at_ms = start + DAY_MS + step * 10
        if Runner._is_stopped(detectors, Action(at_ms, at_ms, "/m", f"b{step}", kind, data)):
            return step / 100.0
    return float("inf")


def summarise(tally: Tally) -> dict[str, Any]:
    """Figures by kind of agent, with exact Poisson one-sided 95 % bounds."""
    result: dict[str, Any] = {"false": {}, "spikes": {}, "jump_100_per_s": {}, "errors": {}}
    by_kind = dict.fromkeys(tally.months, 0)
    by_detector: Counter[str] = Counter()
    for key, stops in tally.stops.items():
        kind, name = key.split(" ")
        counted = [s for s in stops if name != "action_rate" or s["day"] >= WARM_UP_DAYS - 0.1]
        by_kind[kind] += len(counted)
        by_detector[name] += len(counted)
    for kind, count in [*by_kind.items(), ("all", sum(by_kind.values()))]:
        months = sum(tally.months.values()) if kind == "all" else tally.months[kind]
        bound = poisson_upper_bound(count) / months
        result["false"][kind] = {
            "stops": count, "agent_months": round(months, 1), "rate": round(count / months, 4), "below": round(bound, 4)
        }  # fmt: skip
    result["false_by_detector"] = dict(by_detector)
    groups = _grouped(tally.spikes)
    result["spikes"] = {key: _delays(values) for key, values in sorted(groups.items())}
    result["jump_100_per_s"] = {key: _delays(values) for key, values in sorted(tally.jumps.items())}
    result["errors"] = {key: _delays(values) for key, values in sorted(tally.errors.items())}
    result["opinions_per_agent_month"] = {
        key: round(count / sum(tally.months.values()), 3) for key, count in sorted(tally.opinions.items())
    }
    result["us_per_action_all_detectors"] = round(tally.cpu_secs / max(tally.actions, 1) * 1e6, 2)
    return result


def _grouped(spikes: dict[str, list[float]]) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = dict(spikes)
    for size in SPIKES:
        busy = [f"{kind} x{size}" for kind in ("office", "always_on")]
        groups[f"office+always_on x{size}"] = [v for key in busy for v in spikes.get(key, [])]
        groups[f"all x{size}"] = [v for key, values in spikes.items() if key.endswith(f"x{size}") for v in values]
    return groups


def _delays(values: list[float]) -> dict[str, float | int]:
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return {"trials": 0}
    caught = known[np.isfinite(known)]
    median = float(np.median(known))
    return {
        "trials": len(known),
        "caught": round(len(caught) / len(known), 4),
        "median": round(median, 2) if np.isfinite(median) else float("inf"),
        "median_of_caught": round(float(np.median(caught)), 2) if len(caught) else float("inf"),
        "p90_of_caught": round(float(np.percentile(caught, 90)), 2) if len(caught) else float("inf"),
    }


def organisations(arguments: argparse.Namespace) -> Iterator[tuple[int, list[Agent]]]:
    """The populations asked for, one a seed."""
    for seed in arguments.seeds:
        if arguments.population == "simulator":
            yield seed, simulated(arguments.agents, arguments.days, seed, arguments.typical)
        else:
            yield seed, populations.organisation(seed, arguments.agents, arguments.days, harshness=arguments.harshness)


def simulated(agents: int, days: int, seed: int, typical: str = "median") -> list[Agent]:
    spec = population(agents, seed)
    return [_simulated_agent(spec, one, seed, days, typical) for one in spec.agents]


def _simulated_agent(spec: OrgSpec, one: AgentSpec, seed: int, days: int, typical: str) -> Agent:
    hours = list(hour_times(spec, one, seed, populations.START_MS, days))
    counts = np.array([len(hour) for hour in hours])
    times = np.array([at_ms for hour in hours for at_ms in hour], dtype=np.int64)
    times.sort()
    usual = counts[counts >= 0.2 * max(np.percentile(counts[counts > 0], 90), 1)] if len(times) else counts
    of_hours = np.mean if typical == "mean" else np.median
    agent = Agent(one.agent_id, one.kind, times, float(of_hours(usual)) if len(usual) else 0.0)
    if one.jobs:
        agent.details["job_hour"] = ((one.jobs[0].start_minute - one.utc_offset_minutes) / 60) % 24
    return agent


def run_events(agents: int, days: int, seed: int, tally: Tally, tables: dict[str, Any]) -> None:
    """The simulator's own events (its objects, records, errors, and an outage of the CRM): false suspensions only."""
    spec, shared = population(agents, seed), Shared()
    detectors = build(tables, shared)
    rate = detectors[[d.name for d in detectors].index("action_rate")]
    kinds = {agent.agent_id: agent.kind for agent in spec.agents}
    states = {agent: [d.new_state(agent) for d in detectors] for agent in kinds}
    last_stop: dict[str, int] = {}
    quarter_end = populations.START_MS + QUARTER_MS
    for at_ms, event in timeline(spec, seed, populations.START_MS, days):
        while at_ms >= quarter_end:
            reports = [rate.report(states[agent][0], quarter_end) for agent in states]  # type: ignore[attr-defined]
            shared.factor = rate.common_factor([r for r in reports if r is not None])  # type: ignore[attr-defined]
            quarter_end += QUARTER_MS
        if not isinstance(event, ActionEvent):
            continue
        data = event.data
        action = Action(at_ms, at_ms, event.source, event.id, kind_of(data.action), data)
        for detector, state in zip(detectors, states[data.agent_id], strict=True):
            said = detector.observe(action, state)
            if said is None:
                continue
            tally.opinions[f"{detector.name} {said.wanted}"] += 1
            if said.wanted in STOPS and at_ms - last_stop.get(data.agent_id, 0) >= DAY_MS:
                day = (at_ms - populations.START_MS) / DAY_MS
                key = f"{kinds[data.agent_id]} {detector.name}"
                tally.stops[key].append({"agent": data.agent_id, "day": day, "summary": said.summary})
                last_stop[data.agent_id] = at_ms
    for kind in kinds.values():
        tally.months[kind] += (days - WARM_UP_DAYS) / 30.0


def main(argv: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=120)
    parser.add_argument("--days", type=int, default=35)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--forks", type=int, default=3, help="forks an agent")
    parser.add_argument("--harshness", type=float, default=1.0)
    parser.add_argument("--only", nargs="+", help="leave others out (action_rate is always in)")
    parser.add_argument("--population", choices=("own", "simulator"), default="own")
    parser.add_argument(
        "--typical",
        choices=("median", "mean"),
        default="median",
        help="of an active hour: the unit of spikes (simulator)",
    )
    parser.add_argument("--events", action="store_true", help="the simulator's events themselves; no forks")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    tally, started = Tally(), time.process_time()
    tables = (
        {name: {"is_enabled": name in arguments.only or name == "action_rate"} for name in discover()}
        if arguments.only
        else {}
    )
    if arguments.events:
        for seed in arguments.seeds:
            run_events(arguments.agents, arguments.days, seed, tally, tables)
    for seed, agents in () if arguments.events else organisations(arguments):
        Runner(agents, seed, arguments.forks, tally, tables).run()
    result = summarise(tally)
    result["metronome_secs"] = metronome()
    result["cpu_secs"] = round(time.process_time() - started, 1)
    result["stops"] = tally.stops
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1, default=float))
    show = {key: value for key, value in result.items() if key != "stops"}
    sys.stdout.write(json.dumps(show, indent=1, default=float) + "\n")
    for key, stops in tally.stops.items():
        for stop in stops[:6]:
            sys.stdout.write(f"{key}: {json.dumps(stop)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

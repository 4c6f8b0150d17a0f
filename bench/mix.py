"""False tells and catches of ``action_mix``, by direct calls (no engine, no I/O), on the simulator.

    python -m bench.mix --agents 24 --days 28 --seeds 1 2

Clean agents pass in log order, half of them of the sales organisation, half of the rougher kinds. At a random write
after the fourteenth day an agent's state is forked: among its own last actions every second, fifth or tenth one is a
delete of a record type that it knows, or they come in random order.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace

from bench.changes import FORK_FROM_DAY, WARM_UP_DAYS, Agent, Tally
from bench.populations import START_MS
from detectors.action_mix import ActionMix
from detectors.base import Action
from events.catalogue import kind_of
from events.times import DAY_MS, MINUTE_MS
from events.types import ActionEvent
from simulator import mixed_org, timeline
from simulator.population import population

SPENT = [0, 0]
"""Actions judged, and the nanoseconds of CPU that took."""


def run(arguments: argparse.Namespace, seed: int, tally: Tally, *, has_deals: bool) -> None:
    """One organisation."""
    spec = mixed_org(arguments.agents, seed) if has_deals else population(arguments.agents, seed)
    kind = "organisation" if has_deals else "population"
    agents = {one.agent_id: Agent(one.agent_id, kind, [ActionMix()], tally) for one in spec.agents}
    recent: dict[str, deque[Action]] = {agent_id: deque(maxlen=300) for agent_id in agents}
    rng, left = np.random.default_rng([seed, 9]), set(agents)
    for at_ms, event in timeline(spec, seed, START_MS, arguments.days):
        if not isinstance(event, ActionEvent):
            continue
        data = event.data
        action = Action(at_ms, at_ms, event.source, event.id, kind_of(data.action), data)
        began = time.process_time_ns()
        agents[data.agent_id].see(action)
        SPENT[0] += 1
        SPENT[1] += time.process_time_ns() - began
        recent[data.agent_id].append(action)
        is_late = at_ms >= START_MS + FORK_FROM_DAY * DAY_MS
        if is_late and data.agent_id in left and len(recent[data.agent_id]) == 300 and rng.random() < 0.02:
            left.discard(data.agent_id)
            for every in (2, 5, 10):
                agents[data.agent_id].fork(f"deletes, 1 in {every}", _deletes(recent[data.agent_id], at_ms, every))
            agents[data.agent_id].fork("its own actions in random order", _shuffled(recent[data.agent_id], at_ms, rng))
    tally.months[kind] += len(agents) * (arguments.days - WARM_UP_DAYS) / 30


def _deletes(recent: deque[Action], at_ms: int, every: int) -> Iterator[tuple[Action, bool]]:
    actions = list(recent)
    for step in range(1, 60 * every + 1):
        one = actions[step % len(actions)]
        is_wrong = step % every == 0
        data = replace(one.data, action="record.delete") if is_wrong else one.data
        yield _at(one, at_ms + step * MINUTE_MS, data), is_wrong


def _shuffled(recent: deque[Action], at_ms: int, rng: np.random.Generator) -> Iterator[tuple[Action, bool]]:
    actions = list(recent)
    for step, place in enumerate(rng.permutation(len(actions)), start=1):
        one = actions[int(place)]
        yield _at(one, at_ms + step * MINUTE_MS, one.data), step % 5 == 0


def _at(one: Action, at_ms: int, data: object) -> Action:
    return replace(one, at_ms=at_ms, effect_ms=at_ms, data=data, kind=kind_of(data.action))  # type: ignore[attr-defined]


def main(argv: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=24)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments = parser.parse_args(argv)
    tally = Tally()
    for seed in arguments.seeds:
        for has_deals in (False, True):
            run(arguments, seed, tally, has_deals=has_deals)
    for part, rows in tally.report().items():
        sys.stdout.writelines(f"{part:7} {name:46} {json.dumps(row, default=float)}\n" for name, row in rows.items())
    for key, said in tally.said.items():
        sys.stdout.writelines(f"{key}: {one}\n" for one in said[:5])
    sys.stdout.write(f"{SPENT[1] / max(SPENT[0], 1) / 1000:.2f} µs an action, over {SPENT[0]:,}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Tripline beside usual ways to watch an agent's rate, on the same agents, at an equal budget of false suspensions.

    make bench-detect        (python -m bench.detect_rivals --agents 100 --days 42 --seeds 31 32 --plot OUT.svg)

The same spikes (an hour of x10 and x30, bench/detect.py) go to all. Tripline runs as it is by default, every detector
on. A rival has a free threshold: it is set where the rival stops innocent agents no more often than Tripline does **on
these very agents** (at least one stop a hundred agent-months), which is more than a rival could know in service; and,
beside it, where it did so on agents of the other generator. Stops of one agent within a day count once, and none of an
agent's first week counts. A rival speaks when a bin closes; a spike counts as caught up to a bin after its hour.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import detect, populations
from bench.populations import DAY_MS, HOUR_MS, START_MS, Agent
from bench.rivals import RIVALS, Toolkit
from detectors.statistics import poisson_upper_bound

BUDGET = 0.01
"""False suspensions per agent-month that are allowed to a rival in any case."""
BUSY = ("office", "always_on")


@dataclass
class Spike:
    """An hour in which agent ``agent`` of the organisation does ``size`` times as much as usual; times in ms."""

    agent: int
    size: int
    start_ms: int
    times: np.ndarray
    tripline_min: float = float("inf")


@dataclass
class Watched:
    """What a rival said of an organisation: each innocent day's highest score; of each spike (minutes, score)."""

    days: list[float] = field(default_factory=list)
    spikes: list[tuple[Spike, str, list[tuple[float, float]]]] = field(default_factory=list)


class Recording(detect.Runner):
    """Tripline on an organisation; remembers each spike and how long it took."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.spikes: list[Spike] = []

    def spike_times(self, index: int, number: int, times_usual: int) -> np.ndarray:
        """As drawn, and remembered for the rivals."""
        times = super().spike_times(index, number, times_usual)
        self.spikes.append(Spike(index, times_usual, int(self.agents[index].times[number]), times))
        return times

    def _spike(self, index: int, number: int, times_usual: int) -> float:
        minutes = super()._spike(index, number, times_usual)
        self.spikes[-1].tripline_min = minutes
        return minutes

    def _jump(self, index: int, number: int) -> float:
        return float("nan")

    def _errors(self, index: int, number: int) -> float:
        return float("nan")


def watch(rival: type[Any], agents: Sequence[Agent], spikes: Sequence[Spike], days: int) -> Watched:
    """One rival over one organisation: its innocent course, and a copy of it into each spike."""
    said, width = Watched(), rival.bin_ms
    first, bins = START_MS // width, days * DAY_MS // width
    for index, agent in enumerate(agents):
        counts = np.bincount(agent.times // width - first, minlength=bins)[:bins].tolist()
        waiting = sorted((s for s in spikes if s.agent == index), key=lambda one: -one.start_ms)
        state, per_day, highest = rival(), DAY_MS // width, float("-inf")
        for at, count in enumerate(counts):
            while waiting and waiting[-1].start_ms // width - first <= at:
                spike = waiting.pop()
                said.spikes.append((spike, agent.kind, _into(rival, state, agent, spike)))
            highest = max(highest, state.score(first + at, count))
            if (at + 1) % per_day == 0:
                if at >= detect.WARM_UP_DAYS * per_day:
                    said.days.append(highest)
                highest = float("-inf")
    return said


def _into(rival: type[Any], state: Any, agent: Agent, spike: Spike) -> list[tuple[float, float]]:
    """What a copy says while the spike lasts: (minutes since its start, score) at each bin's end."""
    fork, width = copy.deepcopy(state), rival.bin_ms
    first, last = spike.start_ms // width, (spike.start_ms + HOUR_MS) // width
    low, high = np.searchsorted(agent.times, [first * width, spike.start_ms])
    times = np.concatenate([agent.times[low:high], spike.times])
    counts = np.bincount(times // width - first, minlength=last - first + 1)
    return [
        ((number * width + width - spike.start_ms) / 60_000, fork.score(number, int(counts[number - first])))
        for number in range(first, last + 1)
    ]


def threshold(days: Sequence[float], months: float, stops: int) -> float:
    """The lowest threshold with at most as many innocent days above it as are allowed."""
    allowed = max(stops, int(BUDGET * months))
    return sorted(days, reverse=True)[allowed]


def caught(said: Watched, level: float) -> list[tuple[Spike, str, float]]:
    """Of each spike the minutes until the score is above the level; infinite if it never is."""
    return [
        (spike, kind, next((minutes for minutes, score in course if score > level), float("inf")))
        for spike, kind, course in said.spikes
    ]


def figures(delays: Sequence[tuple[Spike, str, float]]) -> dict[str, Any]:
    """Share caught and median minutes of those caught, for busy agents, trickles and nightly batches, by size."""
    result = {}
    for group, kinds in (("busy", BUSY), ("trickle", ("trickle",)), ("batch", ("batch",))):
        for size in detect.SPIKES:
            minutes = np.array([delay for spike, kind, delay in delays if kind in kinds and spike.size == size])
            found = minutes[np.isfinite(minutes)]
            median = round(float(np.median(found)), 1) if len(found) else None
            result[f"{group} x{size}"] = {
                "spikes": len(minutes), "caught": round(len(found) / max(len(minutes), 1), 3), "median": median
            }  # fmt: skip
    return result


def metronome(rival: type[Any], level: float) -> float | None:
    """Seconds until a rival notices that an agent of exactly one action a minute does 100 a second; None: never."""
    state, width = rival(), rival.bin_ms
    first, each = START_MS // width, width // 60_000
    bins = 8 * DAY_MS // width
    for number in range(bins):
        state.score(first + number, each)
    score = state.score(first + bins, width // 10)
    return width / 1000 if score > level else None


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures, and the delays of the x10 spikes of busy agents for the plot."""
    tally, organisations = detect.Tally(), []
    for seed in arguments.seeds:
        agents = detect.simulated(arguments.agents, arguments.days, seed)
        runner = Recording(agents, seed, arguments.forks, tally, {})
        runner.run()
        organisations.append((runner.agents, runner.spikes))
    summary = detect.summarise(tally)["false"]["all"]
    months, stops = summary["agent_months"], summary["stops"]
    ours = [(s, agents[s.agent].kind, s.tripline_min) for agents, spikes in organisations for s in spikes]
    rows = {"Tripline": {"false": _rate(stops, months), **figures(ours), "metronome_secs": detect.metronome()}}
    plots = {"Tripline": _busy(ours)}
    for rival in RIVALS:
        said = Watched()
        for agents, spikes in organisations:
            one = watch(rival, agents, spikes, arguments.days)
            said.days += one.days
            said.spikes += one.spikes
        row, delays = _judged(rival, said, months, stops, _elsewhere(rival, arguments))
        rows[rival.name], plots[rival.name] = row, delays
        sys.stderr.write(f"{rival.name}: done\n")
    return {"agent_months": months, "rows": rows, "plots": plots}


def _elsewhere(rival: type[Any], arguments: argparse.Namespace) -> float:
    """The threshold that would have been set on agents of the other generator."""
    others = populations.organisation(1, arguments.agents, arguments.days)
    months = len(others) * (arguments.days - detect.WARM_UP_DAYS) / 30.0
    return threshold(watch(rival, others, (), arguments.days).days, months, 0)


def _judged(
    rival: type[Any], said: Watched, months: float, stops: int, carried: float
) -> tuple[dict[str, Any], list[float]]:
    level = threshold(said.days, months, stops)
    delays = caught(said, level)
    row = {
        "false": _rate(sum(day > level for day in said.days), months),
        **figures(delays),
        "metronome_secs": metronome(rival, level),
        "carried_over": {
            "false": _rate(sum(day > carried for day in said.days), months), **figures(caught(said, carried))
        },
    }  # fmt: skip
    if rival is Toolkit:
        row["as_published"] = {
            "false": _rate(sum(day > rival.published for day in said.days), months),
            **figures(caught(said, rival.published)),
            "metronome_secs": metronome(rival, rival.published),
        }
    return row, _busy(delays)


def _rate(stops: int, months: float) -> dict[str, float]:
    return {"stops": stops, "rate": round(stops / months, 4), "below": round(poisson_upper_bound(stops) / months, 4)}


def _busy(delays: Sequence[tuple[Spike, str, float]]) -> list[float]:
    return [delay for spike, kind, delay in delays if kind in BUSY and spike.size == detect.SPIKES[0]]


def plot(plots: dict[str, list[float]], file: Path) -> None:
    """Share of x10 spikes of busy agents caught within t minutes, a line for each."""
    import matplotlib as mpl  # noqa: PLC0415 - a second to load

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tripline"
    from matplotlib import pyplot  # noqa: PLC0415 - after the choice of what it draws with

    figure, axes = pyplot.subplots(figsize=(7.2, 3.8))
    at = np.linspace(0, 60, 241)
    for name, delays in plots.items():
        share = (np.array(delays)[None, :] <= at[:, None]).mean(axis=1)
        axes.plot(at, share, label=name, lw=2.6 if name == "Tripline" else 1.4)
    axes.set(xlabel="minutes since the spike began", ylabel="share stopped", xlim=(0, 60), ylim=(0, 1.02))
    axes.set_title("x10 for an hour, office and always-on agents, equal false stops", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center right")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    groups = [f"{group} x{size}" for group in ("busy", "trickle", "batch") for size in detect.SPIKES]
    lines = [
        "| | false stops per agent-month | " + " | ".join(groups) + " | 1 a minute, then 100/s |",
        "|---" * (len(groups) + 3) + "|",
    ]
    for name, row in result["rows"].items():
        for label, part in ((name, row), (f"{name}, as published", row.get("as_published"))):
            if part is not None:
                lines.append(f"| {label} | {_told(part['false'])} | {_cells(part, groups)} | {_secs(part)} |")
        if "carried_over" in row:
            part = row["carried_over"]
            lines.append(
                f"| – threshold from the other generator | {_told(part['false'])} | {_cells(part, groups)} | |"
            )
    return "\n".join(lines) + "\n"


def _told(false: dict[str, float]) -> str:
    return f"{false['rate']:.4g} (≤ {false['below']:.2g})"


def _cells(part: dict[str, Any], groups: Sequence[str]) -> str:
    return " | ".join(
        f"{part[group]['caught']:.0%}" + (f", {part[group]['median']:g} min" if part[group]["median"] else "")
        for group in groups
    )


def _secs(part: dict[str, Any]) -> str:
    return "never" if part["metronome_secs"] is None else f"{part['metronome_secs']:.3g} s"


def main(argv: list[str] | None = None) -> int:
    """Run, print the table, write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--days", type=int, default=42)
    parser.add_argument("--seeds", type=int, nargs="+", default=[31, 32])
    parser.add_argument("--forks", type=int, default=2, help="spikes of each size, an agent")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="an SVG")
    arguments = parser.parse_args(argv)
    result = run(arguments)
    if arguments.plot:
        plot(result["plots"], arguments.plot)
    if arguments.json:
        arguments.json.write_text(json.dumps({k: v for k, v in result.items() if k != "plots"}, indent=1))
    sys.stdout.write(f"{result['agent_months']} agent-months\n{table(result)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

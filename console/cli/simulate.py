"""``tripline simulate``: a log of an invented sales organisation, with ground truth where an agent goes rogue."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from events.codec import encode
from events.times import format_ms
from simulator import OrgSpec, mixed_org
from simulator.population import population
from simulator.scenarios import KINDS, Placed, Result, metronome_agent, place

EXAMPLES = """
\b
Examples:
  tripline simulate --seed 7 --days 28 --agents 30 --out log.jsonl.gz
  tripline simulate --scenario spike_10 --scenario bulk@enrich-002 --out log.jsonl --labels labels.jsonl
  tripline simulate --population --agents 300 --days 30 --out population.jsonl.gz
  tripline simulate --days 14 --out - | head
"""


@click.command("simulate", epilog=EXAMPLES)
@click.option("--seed", default=1, show_default=True, help="Any whole number; the same seed gives the same bytes.")
@click.option("--days", default=14, show_default=True, type=click.IntRange(1, 3660), help="Length, in days.")
@click.option("--agents", default=24, show_default=True, type=click.IntRange(1, 10_000), help="How many agents.")
@click.option(
    "--start",
    default="2026-03-02",
    show_default=True,
    type=click.DateTime(["%Y-%m-%d"]),
    help="First day (UTC).",
)
@click.option("--population", "is_population", is_flag=True, help="Agents' actions only, of rougher kinds; no deals.")
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="KIND[@AGENT]",
    help="What goes wrong, once each, after the eighth day: " + ", ".join(KINDS) + ".",
)
@click.option("--out", required=True, metavar="FILE", help="JSON Lines: .jsonl, .jsonl.gz, or - for standard output.")
@click.option("--labels", type=click.Path(dir_okay=False), help="Write the ground truth here, one label a line.")
@click.option("--json", "as_json", is_flag=True, help="Say what was written as JSON.")
def simulate(
    seed: int,
    days: int,
    agents: int,
    start: datetime,
    is_population: bool,
    scenarios: tuple[str, ...],
    out: str,
    labels: str | None,
    as_json: bool,
) -> None:
    """Write the log of an invented sales organisation: agents, deals, and rogue scenarios with ground truth."""
    org = population(agents, seed) if is_population else mixed_org(agents, seed)
    start_ms = int(start.replace(tzinfo=UTC).timestamp()) * 1000
    org, placed = _place_all(org, scenarios, seed, start_ms, days)
    result = Result(org, seed, start_ms, days, placed)
    count = 0
    with _opened(out) as file:
        for event in result:
            file.write(encode(event))
            file.write(b"\n")
            count += 1
    if labels is not None:
        lines = b"".join(msgspec.json.encode(label) + b"\n" for label in result.labels)
        Path(labels).write_bytes(lines)
    said = {"out": out, "events": count, "agents": len(org.agents), "days": days, "labels": len(result.labels)}
    if as_json:
        click.echo(msgspec.json.encode(said).decode(), err=out == "-")
    else:
        click.echo(f"{count:,} events of {len(org.agents)} agents in {days} days: {out}", err=True)
        for label in result.labels:
            span = f"{format_ms(label.start_ms)} to {format_ms(label.end_ms)}"
            click.echo(f"  {label.kind}: {label.agent_id}, {len(label.event_ids)} events, {span}", err=True)


def _place_all(
    org: OrgSpec, scenarios: tuple[str, ...], seed: int, start_ms: int, days: int
) -> tuple[OrgSpec, list[Placed]]:
    if scenarios and days < 9:
        raise click.UsageError("scenarios come after eight days of learning: --days must be 9 or more")
    placed: list[Placed] = []
    for index, text in enumerate(scenarios):
        kind, _, agent_id = text.partition("@")
        if kind not in KINDS:
            raise click.BadParameter(f"{kind!r} is none of: {', '.join(KINDS)}", param_hint="--scenario")
        if kind == "metronome" and not agent_id:
            org = msgspec.structs.replace(org, agents=(*org.agents, metronome_agent()))
            placed.append(Placed(kind, "metronome", start_ms + (days - 2) * 86_400_000))
            continue
        chosen = _agent(org, agent_id, index)
        placed.append(place(chosen, kind, seed, start_ms, days))
    return org, placed


def _agent(org: OrgSpec, agent_id: str, index: int) -> Any:
    if not agent_id:
        busy = [agent for agent in org.agents if agent.kind in ("office", "always_on")] or list(org.agents)
        return busy[index % len(busy)]
    for agent in org.agents:
        if agent.agent_id == agent_id:
            return agent
    known = ", ".join(agent.agent_id for agent in org.agents[:12])
    raise click.BadParameter(f"no agent is called {agent_id!r}; there are {known}, …", param_hint="--scenario")


@contextmanager
def _opened(out: str) -> Iterator[IO[bytes] | gzip.GzipFile]:
    if out == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with open(out, "wb", buffering=io.DEFAULT_BUFFER_SIZE * 16) as file:
        if out.endswith(".gz"):
            # Neither name nor time in the head: the same seed gives the same bytes here too.
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as packed:
                yield packed
        else:
            yield file

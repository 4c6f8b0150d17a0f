"""``tripline drill``: practise the stop of a rogue agent, and measure what it still gets through."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from console.cli.common import (
    REFUSED,
    Failed,
    load_settings,
    moment,
    person_server,
    print_json,
    print_table,
    server_options,
    settings_options,
)
from console.cli.common import Server as Api

if TYPE_CHECKING:
    from governance.drills import DrillResult

_EPILOG = """\b
Examples:
  tripline drill run
  tripline drill run --gates 3 --partition --trips 100
  tripline drill run --gates 3 --partition --cut-secs 60 --trips 1000
  tripline drill list
"""


@click.group(epilog=_EPILOG)
def drill() -> None:
    """Stop a rogue agent on purpose, on a server of its own, and measure it against what is promised."""


@drill.command("run", epilog="\b\nExamples:\n  tripline drill run --gates 3 --credits 25 --partition --trips 100")
@click.option(
    "--scenario",
    type=click.Choice(["kill_switch", "record_loop"]),
    default="kill_switch",
    show_default=True,
    help="Who stops it: a person, or the detector of loops on one record.",
)
@click.option("--trips", type=click.IntRange(1, 5_000), default=10, show_default=True, help="How often.")
@click.option("--gates", type=click.IntRange(1, 10), default=1, show_default=True, help="Gates of the agent.")
@click.option(
    "--credits",
    "credits_",
    type=click.IntRange(0, 1_000),
    default=None,
    help="Credits of each gate's lease; 0: none, each operation is asked for [default: 0 with one gate, else 25].",
)
@click.option("--partition", is_flag=True, help="Cut one gate off before the stop, until nothing more comes of it.")
@click.option(
    "--cut-secs",
    type=click.FloatRange(0, 600),
    default=0,
    help="Cut it off for so long, and look at what it gets when the network is back.",
)
@click.option("--rate", type=click.FloatRange(1, 1_000), default=50, show_default=True, help="Actions a second.")
@click.option("--at-once", type=click.IntRange(1, 50), default=4, show_default=True, help="Agents at a time.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed gives the same schedule.")
@click.option("--url", envvar="TRIPLINE_URL", help="Keep the result at this running server, as a person.")
@click.option("--user", envvar="TRIPLINE_USER", default="", help="Who you are there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def run_(
    scenario: Any, trips: int, gates: int, credits_: int | None, partition: bool, cut_secs: float, rate: float,
    at_once: int, seed: int, url: str | None, user: str, as_json: bool, config: str | None, data_dir: str | None,
) -> None:  # fmt: skip
    """Run a drill; the exit code is 1 when more was admitted than promised. The result is kept in the store.

    The rogue agents live on a server of their own, started for this, with your [leases]: your agents are not touched.
    """
    try:
        from console.drill.run import Plan, run
    except ModuleNotFoundError as problem:
        raise Failed(f"a drill needs the client ({problem.name}): pip install ./tripline_client") from None
    if url and not user:
        raise click.UsageError("--url needs --user: a person keeps the result")
    if cut_secs and not partition:
        raise click.UsageError("--cut-secs needs --partition")
    settings = load_settings(config, {"server.data_dir": data_dir})
    plan = Plan(
        scenario=scenario, trips=trips, gates=gates, credits=_credits(credits_, gates), rate=rate,
        has_partition=partition, cut_secs=cut_secs, at_once=min(at_once, trips), seed=seed, leases=settings.leases,
    )  # fmt: skip
    by, now_ms = user or os.environ.get("USER", "") or "unknown", time.time_ns() // 1_000_000
    with click.progressbar(length=trips, label="trips", file=click.get_text_stream("stderr")) as bar:
        try:
            result = run(plan, by, now_ms, lambda: bar.update(1))
        except RuntimeError as problem:
            raise Failed(str(problem)) from None
    where = _keep_there(url, user, result) if url else _keep_here(Path(settings.server.data_dir), result)
    if as_json:
        print_json(result)
    else:
        _show(result)
        click.echo(where)
    if not result.passed:
        raise Failed(
            f"{result.exceeded} of {result.trips} trips let through more than promised; {result.failed} failed"
        )


@drill.command("list", epilog="\b\nExamples:\n  tripline drill list --json")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many.")
@server_options
def list_(limit: int, url: str, token: str, as_json: bool) -> None:
    """Past drills, the newest first."""
    told = Api(url, token).get("/v1/drills", limit=limit)
    if as_json:
        print_json(told)
        return
    rows = [
        (
            moment(one["at"]), one["scenario"], one["gates"], "yes" if one["has_partition"] else "no", one["trips"],
            one["admitted_after"]["p50"], one["admitted_after"]["p99"], one["admitted_after"]["max"],
            one["bound"]["max"], one["exceeded"], one["by"],
        )
        for one in told["drills"]
    ]  # fmt: skip
    columns = ("when", "scenario", "gates", "cut off", "trips", "p50", "p99", "max", "bound", "exceeded", "by")
    print_table(columns, rows, "No drill was run yet: tripline drill run", right=columns[4:10])


def _credits(given: int | None, gates: int) -> int:
    return given if given is not None else 25 if gates > 1 else 0


def _keep_there(url: str, user: str, result: DrillResult) -> str:
    person_server(url, user).post("/v1/drills", msgspec.to_builtins(result))
    return f"kept at {url}"


def _keep_here(folder: Path, result: DrillResult) -> str:
    from storage import drills
    from storage.errors import StoreError, StoreInUse
    from storage.store import Store

    try:
        with Store(folder) as store:
            store.lock()
            store.migrate()
            link = store.connect()
            drills.put(link, result)
            link.close()
    except StoreInUse:
        raise Failed(f"a server runs on {folder}: say --url and --user to keep the result there", REFUSED) from None
    except StoreError as problem:
        raise Failed(str(problem)) from None
    return f"kept in {folder}"


def _show(result: DrillResult) -> None:
    cut = ", one cut off" if result.has_partition else ""
    cut += f" for {result.cut_secs:g} s" if result.cut_secs else ""
    click.echo(
        f"{result.trips} trips, {result.scenario}, {result.gates} gates{cut}, {result.credits} credits each, "
        f"{result.rate_per_sec:g} actions a second"
    )
    rows = [
        (name, spread.p50, spread.p99, spread.max)
        for name, spread in (
            ("admitted after the stop", result.admitted_after), ("bound", result.bound),
            ("detected, ms", result.detect_ms), ("contained, ms", result.contain_ms),
            ("seen to hold, ms", result.verify_ms),
        )
    ]  # fmt: skip
    print_table(("", "p50", "p99", "max"), rows, "", right=("p50", "p99", "max"))
    click.echo(f"more than the bound: {result.exceeded} of {result.trips}")
    for problem in result.problems:
        click.echo(f"not measured: {problem}")

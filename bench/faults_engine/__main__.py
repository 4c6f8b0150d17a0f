"""Kills and stops everything on Kafka while it works, then compares what is left with a clean replay of the inputs.

    make fault-engine      # python -m bench.faults_engine [--actions N] [--kills K] …

A real broker, a real PostgreSQL whose commits reach the disk, two workers, two consoles. Producers write actions and
CRM events with 10 % duplicates, disorder, records in wrong partitions and 1 % poison; agents ask the gate all the time,
some go rogue, one is released again and again. At random moments (of a seed) workers and consoles get ``kill -9``, the
broker is killed or stopped and started again, PostgreSQL is away for a while. Exit code 1 on any difference.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from bench.faults_engine.asking import ASKERS, ROGUE, Asking
from bench.faults_engine.compare import compare, report
from bench.faults_engine.load import Load, Sender
from bench.faults_engine.site import Plan, Site, wait
from streams.kafka.spec import ALERTS, DEAD_LETTERS, FINDINGS, RISK
from streams.routing import ACTIONS, INPUT_TOPICS, PORTFOLIO
from tests.kafka.working import Cluster

_TICKS = 60
"""Records that may lie before the end of an input that is judged: ticks, and markers, go on."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m bench.faults_engine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--actions", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=2_000, help="actions a second at most")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--consoles", type=int, default=2)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--console-kills", type=int, default=5)
    parser.add_argument("--broker-restarts", type=int, default=2)
    parser.add_argument("--postgres-stops", type=int, default=2)
    parser.add_argument("--postgres-secs", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience-secs", type=float, default=900, help="for what is behind at the end")
    parser.add_argument("--keep", type=Path, help="keep logs and data in this folder")
    return parser.parse_args()


class Faults(threading.Thread):
    """Makes the faults of a plan, each when so much of the load was sent."""

    def __init__(self, site: Site, asking: Asking, plan: Plan, seed: int) -> None:
        super().__init__(daemon=True)
        rng = random.Random(seed)
        self._todo: list[tuple[float, str]] = plan.schedule(rng)
        self._todo += [(rng.uniform(0.1, 0.8), agent) for agent in ROGUE]
        self._todo.sort()
        self._site, self._asking, self._plan = site, asking, plan
        self._began = time.monotonic()
        self.progress = 0.0
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            for due, kind in self._todo:
                while self.progress < due:
                    time.sleep(0.02)
                say(f"  {time.monotonic() - self._began:6.1f} s  {due:4.0%}  {kind}")
                if kind in ROGUE:
                    self._asking.go_rogue(kind)
                else:
                    self._site.fault(kind, self._plan)
        except BaseException as problem:
            self.problem = problem


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def send(load: Load, sender: Sender, faults: Faults, rate: float) -> float:
    """Send the load; how long it took, in seconds."""
    began = time.monotonic()
    for number, put in enumerate(load.records()):
        sender.send(put)
        if number % 50 == 0:
            faults.progress = sum(load.counts[kind] for kind in ("actions", "simulated")) / load.count
            ahead = began + faults.progress * load.count / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            assert faults.problem is None, faults.problem
    sender.flush()
    faults.progress = 1.0
    return time.monotonic() - began


class Rest:
    """Waits until all is judged, obeyed, published and in the read models; then stops everything in order."""

    def __init__(self, site: Site, patience_secs: float) -> None:
        self._site, self._patience = site, patience_secs
        self._cluster = Cluster(site.kafka)

    def come(self) -> None:
        site = self._site
        wait(self._is_judged, "all is judged", self._patience)
        time.sleep(3)  # what was just judged is fed to the portfolio, and judged there
        wait(self._is_judged, "all is judged", self._patience)
        wait(self._is_published, "all decisions are published", self._patience)
        codes = site.stop_workers()
        if any(codes):
            site.problems.append(f"workers ended with {codes}")
        wait(self._is_filed, "the read models are complete", self._patience)
        wait(self._is_followed, "all findings are taken", self._patience)
        wait(self._is_published, "all decisions are published", self._patience)
        codes = site.stop_consoles()
        if any(codes):
            site.problems.append(f"consoles ended with {codes}")

    def _is_judged(self) -> bool:
        ends = {(topic, index): end for topic in INPUT_TOPICS for index, end in enumerate(self._cluster.ends(topic))}
        with self._cluster.committed() as ask:
            covered = ask()
        return all(covered[place] >= end - _TICKS for place, end in ends.items())

    def _is_published(self) -> bool:
        return bool(self._ask("SELECT count(*) FROM publication")[0][0] == 0)

    def _is_filed(self) -> bool:
        rows = self._ask("SELECT topic, partition, next_offset FROM watermark")
        found = {(topic, index): offset for topic, index, offset in rows}
        return all(
            found.get((topic, index), 0) >= end
            for topic in (ACTIONS, PORTFOLIO, RISK, ALERTS, DEAD_LETTERS)
            for index, end in enumerate(self._cluster.ends(topic))
        )

    def _is_followed(self) -> bool:
        """Whether the authority has taken every finding."""
        told = (msgspec.json.decode(record.value) for record in self._cluster.read(FINDINGS))
        ids = {one["id"] for one in told if one["type"] == "tripline.finding.v1"}
        return ids <= {row[0] for row in self._ask("SELECT id FROM finding")}

    def _ask(self, query: str) -> list[Any]:
        with psycopg.connect(self._site.database) as link:
            return link.execute(query.encode()).fetchall()


def main() -> int:
    asked = parse()
    for name in ("kafka", "aiokafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    plan = Plan(asked.kills, asked.console_kills, asked.broker_restarts, asked.postgres_stops, asked.postgres_secs)
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="tripline-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    site = Site(ASKERS, asked.workers, asked.consoles, asked.partitions, asked.seed)
    began = time.monotonic()
    try:
        site.start(folder)
        say(f"Ready after {time.monotonic() - began:.0f} s: {asked.workers} workers, {asked.consoles} consoles.")
        sender = Sender(site.kafka)
        asking = Asking(site, sender, asked.seed)
        load = Load(asked.actions, asked.partitions, asked.seed)
        faults = Faults(site, asking, plan, asked.seed)
        asking.start()
        faults.start()
        took = send(load, sender, faults, asked.rate)
        faults.join()
        assert faults.problem is None, faults.problem
        say(f"The load is written after {took:.0f} s; everything is to come to rest.")
        site.settle()
        asking.stop()
        site.rest()
        sender.flush()
        resting = time.monotonic()
        Rest(site, asked.patience_secs).come()
        say(f"All is at rest after another {time.monotonic() - resting:.0f} s.")
        look = compare(site, sender, asking)
        sender.close()
        text, is_right = report(look, load, time.monotonic() - began)
        say(text)
        return 0 if is_right else 1
    finally:
        site.close()
        if asked.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

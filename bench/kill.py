"""Kills a standalone runtime again and again during ingest (SIGKILL, at random instants), and says what is left.

    python -m bench.kill --kills 50 --seed 1

Counts events that were acknowledged and are not in the log (lost), events that are in it twice, rows of "what agents
did" that differ from the log, and answers of the gate after the stop that were not refusals. Exit code 1 if any.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from functools import partial
from pathlib import Path

from governance.settings import parse_settings
from storage.store import Store
from streams.standalone.runtime import Runtime, engine_stages
from tests.standalone.fakes import tiny_stages
from tests.standalone.killed_child import ROGUE, SETTINGS, events
from tests.standalone.killing import kill_many, logged_ids, projected_ids


def run(kills: int, seed: int, topology: str, size: int, projector: str) -> dict[str, object]:
    folder = Path(tempfile.mkdtemp(prefix="tripline-kill-"))
    try:
        told = kill_many(folder, kills, seed, topology=topology, size=size, projector=projector)
        stages = partial(tiny_stages, limit=40, only=f"default/{ROGUE}") if topology == "tiny" else engine_stages
        with Runtime(parse_settings(SETTINGS, {}), store=Store(folder), make_stages=stages) as runtime:
            assert runtime.projector is not None
            runtime.projector.wait_until_idle(120)
        found, rows = logged_ids(folder), projected_ids(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    promised = {event.id for _, event in events(0, told.acknowledged)}
    life = told.suspended_from_life
    after = [answer for answers in told.answers[life or 0 :] for answer in answers] if life else []
    return {
        "kills": told.kills,
        "acknowledged": told.acknowledged,
        "in_log": sum(found.values()),
        "lost": len(promised - found.keys()),
        "twice": sum(count - 1 for count in found.values()),
        "rows_that_differ": len(set((found - rows).keys()) | set((rows - found).keys())),
        "suspended_in_life": life,
        "answers_after_the_stop": len(after),
        "admitted_after_the_stop": sum(answer != "deny suspended" for answer in after),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--topology", choices=["tiny", "real"], default="tiny")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--projector", choices=["thread", "process"], default="process")
    asked = parser.parse_args()
    told = run(asked.kills, asked.seed, asked.topology, asked.batch, asked.projector)
    print(json.dumps(told))
    wrong = told["lost"] or told["twice"] or told["rows_that_differ"] or told["admitted_after_the_stop"]
    raise SystemExit(1 if wrong or told["suspended_in_life"] is None else 0)


if __name__ == "__main__":
    main()

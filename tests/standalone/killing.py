"""Kills a runtime again and again, and looks at what is left in its store."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from events.codec import decode
from events.types import ActionEvent
from storage import log
from storage.store import Store, attach_projections
from streams.records import Stage
from streams.routing import ACTIONS

ROOT = Path(__file__).parents[2]


@dataclass
class Told:
    """What the killed runtime had said over all its lives."""

    acknowledged: int = 0
    kills: int = 0
    suspended_from_life: int | None = None
    first_answers: list[str] = field(default_factory=list)
    answers: list[list[str]] = field(default_factory=list)


def kill_many(
    folder: Path, kills: int, seed: int, *, topology: str = "tiny", size: int = 50, projector: str = "thread"
) -> Told:
    """Start, kill after a random while, start again on what is left; ``kills`` times."""
    chance = random.Random(seed)
    told = Told()
    for _ in range(kills):
        _one_life(folder, told, chance.uniform(0.02, 0.9), (topology, str(size), projector))
    return told


def _one_life(folder: Path, told: Told, secs: float, how: tuple[str, ...]) -> None:
    """Kill it ``secs`` after its first sign of life, so that slow starts don't make every life useless."""
    command = [
        sys.executable,
        "-m",
        "tests.standalone.killed_child",
        str(folder),
        str(told.acknowledged),
        *how,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    lines: list[str] = []
    first = threading.Event()

    def listen() -> None:
        for line in process.stdout or ():
            lines.append(line.decode().strip())
            if lines[-1].startswith("gate"):
                first.set()
        first.set()

    listener = threading.Thread(target=listen)
    listener.start()
    if not first.wait(60) or process.poll() is not None:
        process.kill()
        raise AssertionError(f"the runtime did not start: {_complaint(process)}")
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(secs)
        raise AssertionError(f"the runtime ended by itself: {_complaint(process)}")
    process.kill()
    process.wait()
    listener.join(10)
    if process.stderr is not None:
        process.stderr.close()
    process.stdout.close()
    _take(told, lines)


def _complaint(process: subprocess.Popen[bytes]) -> str:
    return process.stderr.read().decode() if process.stderr is not None else ""


def _take(told: Told, lines: list[str]) -> None:
    told.kills += 1
    acks = [int(line.split()[1]) for line in lines if line.startswith("ack")]
    told.acknowledged = max([told.acknowledged, *acks])
    answers = [line.split(" ", 1)[1] for line in lines if line.startswith("gate")]
    told.answers.append(answers)
    told.first_answers.extend(answers[:1])
    if told.suspended_from_life is None and "deny suspended" in answers:
        told.suspended_from_life = told.kills


def logged_ids(folder: Path) -> Counter[str]:
    """How often each event of the producer is in the log."""
    link = Store(folder).connect()
    try:
        found: Counter[str] = Counter()
        for record in log.read(link, ACTIONS):
            event = decode(record.raw)
            if isinstance(event, ActionEvent):
                found[event.id] += 1
        return found
    finally:
        link.close()


def projected_ids(folder: Path, patience_secs: float = 0.0) -> Counter[str]:
    """How often each event of the producer is among the rows of what agents did."""
    until = time.monotonic() + patience_secs
    while True:
        link = Store(folder).connect()
        try:
            attach_projections(link, Store(folder).path, read_only=False)
            found = Counter(row[0] for row in link.execute("SELECT event_id FROM action WHERE kind = 'report'"))
        finally:
            link.close()
        if found or time.monotonic() >= until:
            return found


def replayed(folder: Path, make_stage: Any) -> Stage:
    """A fresh stage that judged the whole log from its beginning."""
    link = Store(folder).connect()
    try:
        (topic_id,) = link.execute("SELECT value FROM meta WHERE name = ?", (f"topic_id:{ACTIONS}",)).fetchone()
        stage: Stage = make_stage(topic_id)
        stage.process([(record.offset, record.at_ms, decode(record.raw)) for record in log.read(link, ACTIONS)])
        return stage
    finally:
        link.close()

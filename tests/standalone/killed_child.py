"""A runtime that is killed: run by the crash tests and by bench/kill.py as a process of its own.

It says on its output what it was promised ("ack N": events below N are durable), so that the one who killed it can
compare with what is in the store. Arguments: the store's folder, the number of the first event to send, the topology
("tiny" or "real"), events in a batch, and who writes the rows of what agents did ("thread" or "process").
"""

from __future__ import annotations

import sys
import time
from functools import partial

from events.types import ActionEvent
from governance.gate import GateRequest
from governance.settings import parse_settings
from storage.store import Store
from streams.standalone.clock import SystemClock
from streams.standalone.projection import MakeProjection
from streams.standalone.projector import Projector
from streams.standalone.projector_process import ProjectorProcess
from streams.standalone.runtime import Runtime, engine_stages
from streams.standalone.types import Busy
from tests.standalone.fakes import batch, tiny_stages

START_MS = 1_772_442_843_120
AGENTS = 20
ROGUE = "rogue"
STOPPED_AFTER = 2_000
"""With the real detectors: how many events are to be in the log before the rogue's bulk operation comes."""
SETTINGS = """
[engine]
snapshot_secs = 1
snapshot_events = 700
[agents.rogue]
actions = ["record.*"]
"""


def events(start: int, count: int) -> list[tuple[bytes, ActionEvent]]:
    """Events of number ``start`` on; the same number always gives the same event."""
    return [batch(f"agent{n % AGENTS}", n, 1, START_MS + n)[0] for n in range(start, start + count)]


def bulk() -> list[tuple[bytes, ActionEvent]]:
    """The operation that stops the rogue for good: more records at once than anybody may touch. Always the same."""
    return batch(ROGUE, 999_999_999, 1, START_MS, records=500)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(folder: str, first: int, topology: str, size: int, projector: str) -> None:
    settings = parse_settings(SETTINGS, {})
    stages = partial(tiny_stages, limit=40, only=f"default/{ROGUE}") if topology == "tiny" else engine_stages
    made: MakeProjection = ProjectorProcess if projector == "process" else Projector
    with Runtime(
        settings, clock=SystemClock(), store=Store(folder), make_stages=stages, make_projector=made
    ) as runtime:
        request = GateRequest(agent_id=ROGUE, action="record.update", object="Opportunity", record_ids=["1"])
        decision = runtime.check(request).result(30)
        say(f"gate {decision.decision} {decision.rule}")
        asked = 1
        if topology == "real" and first >= STOPPED_AFTER:
            runtime.ingest(bulk()).result(30)
        while True:
            try:
                future = runtime.ingest(events(first, size))
            except Busy:
                time.sleep(0.01)
                continue
            if asked < 60:
                decision = runtime.check(request).result(30)
                say(f"gate {decision.decision} {decision.rule}")
                asked += 1
            future.result(30)
            first += size
            say(f"ack {first}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])

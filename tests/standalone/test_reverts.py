"""People who undo what an agent wrote: from the CRM's feed into the agent's partition, live and replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from events.times import DAY_MS, HOUR_MS
from events.types import Actor
from governance.settings import parse_settings
from storage.store import Store
from streams.replay import replay
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.standalone.test_containment import BOT, change

NOW_MS = 1_772_442_843_120
SETTINGS = parse_settings('[agents.bot]\nactions = ["record.*"]\ncrm_user = "user:005B9"\n', {})
WROTE, BACK = {"Amount": ("5", "7")}, {"Amount": ("7", "5")}


def test_what_people_put_right_is_told_of_and_a_replay_says_the_same(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    people = [Actor("human", f"user:{number}") for number in range(3)]
    found: list[Any] = []

    def tell(runtime: Runtime, id_: str, record: str, who: Actor, changes: Any) -> None:
        event = change(clock.now_ms(), id_, record, who, changes=changes)
        runtime.ingest([(b"", event)]).result(10)

    for part in range(2):
        with Runtime(SETTINGS, clock=clock, store=Store(tmp_path / "store"), with_ticker=False) as runtime:
            for number in range(part * 3, part * 3 + 3):
                if part:  # what was written before the restart is put right after it
                    tell(runtime, f"p{number - 3}", f"r{number - 3}", people[(number - 3) % 3], BACK)
                    clock.move(HOUR_MS)
                tell(runtime, f"a{number}", f"r{number}", BOT, WROTE)
            tell(runtime, f"own{part}", "r9", Actor("human", "user:005B9"), WROTE)
            tell(runtime, f"same{part}", "r0", people[0], WROTE)
            if part:
                for number in (3, 3, 4):
                    tell(runtime, f"p{number}", f"r{number}", people[number - 3], BACK)
                runtime.dump(tmp_path / "dump")
            link = runtime.store.connect()
            found = link.execute("SELECT detector, mode, summary, body FROM finding").fetchall()
            kept = link.execute("SELECT count(*) FROM agent_value").fetchone()
            link.close()
            assert bool(found) == bool(part)
    ((detector, mode, summary, _),) = [row for row in found if row[0] == "human_revert"]
    assert (detector, mode) == ("human_revert", "warn")
    assert summary.startswith("People undid or overwrote 4 of the last 4 changes")
    assert "Amount; user:1 and 2 more" in summary
    assert kept == (2,), "what was answered is not watched any more"
    clock.move(DAY_MS)
    replay(sorted((tmp_path / "dump").glob("*.jsonl")), SETTINGS, tmp_path / "out")
    assert (tmp_path / "out" / "findings.jsonl").read_bytes().splitlines() == [row[3].encode() for row in found]

"""The projector as a process of its own: the same rows, whatever becomes of either process."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from events.times import MINUTE_MS
from governance.gate import GateRequest
from governance.settings import parse_settings
from storage.errors import StoreInUse, StoreUnavailable
from storage.store import Store
from streams.routing import ACTIONS
from streams.standalone import projecting, projection
from streams.standalone.clock import ManualClock
from streams.standalone.line import News, Report, Unframer, framed
from streams.standalone.projecting import Projecting, ServerGone
from streams.standalone.projection import open_rows
from streams.standalone.projector import Projector
from streams.standalone.projector_process import ProjectorProcess
from streams.standalone.runtime import Runtime
from streams.standalone.types import Changes
from tests.standalone.conftest import NOW_MS, SETTINGS
from tests.standalone.fakes import action_event, batch, tiny_stages
from tests.standalone.test_store_fails import until

ROOT = Path(__file__).parents[2]
Start = Callable[..., Runtime]
COMPARED = (
    "SELECT key, at_ms, kind, action, record_ids, outcome, records, decision_id IS NULL FROM action "
    "ORDER BY key, at_ms, record_ids, kind",
    "SELECT * FROM agent ORDER BY key",
    "SELECT * FROM agent_bin ORDER BY key, bin_ms",
    "SELECT tenant, object, record_id, at_ms, key FROM action_record ORDER BY record_id, at_ms",
    "SELECT next_offset FROM projection",
)
"""What must be the same; ids of decisions are random."""
pytestmark = pytest.mark.timeout(120)


def process_of(runtime: Runtime) -> ProjectorProcess:
    """The runtime's projector, once its process has caught up."""
    projector = runtime.projector
    assert isinstance(projector, ProjectorProcess)
    assert projector.wait_until_idle(60)
    return projector


def pid_of(projector: ProjectorProcess) -> int:
    assert projector.pid is not None
    return projector.pid


def projected(folder: Path, query: str) -> list[tuple[Any, ...]]:
    link = sqlite3.connect(folder / "projections.db", timeout=10.0)
    try:
        return link.execute(query).fetchall()
    finally:
        link.close()


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip()[:1] in ("", "Z")


def check(runtime: Runtime, number: int, agent_id: str = "bot", **fields: Any) -> Any:
    request = {"action": "record.update", "object": "Lead", "record_ids": [f"r{number}"], **fields}
    return runtime.check(GateRequest(agent_id=agent_id, **request)).result(10)


def work(runtime: Runtime, clock: ManualClock) -> None:
    """Reports, admissions of which some are reported, and refusals, over some minutes."""
    for number in range(8):
        runtime.ingest(batch("a", 100 * number, 100, NOW_MS)).result(10)
        decision = check(runtime, number)
        if number % 2:
            event = action_event("bot", number, NOW_MS, decision_id=decision.decision_id)
            runtime.ingest([(b"", event)]).result(10)
        check(runtime, number, "nobody")
        clock.move(MINUTE_MS)
    runtime.tick().result(10)


def test_the_rows_are_those_that_the_thread_writes(tmp_path: Path) -> None:
    found = []
    makes: tuple[type[Projector] | type[ProjectorProcess], ...] = (Projector, ProjectorProcess)
    for made in makes:
        clock, folder = ManualClock(NOW_MS), tmp_path / made.__name__
        settings, store = parse_settings(SETTINGS, {}), Store(folder)
        with Runtime(
            settings, clock=clock, store=store, make_stages=tiny_stages, make_projector=made, with_ticker=False
        ) as runtime:
            work(runtime, clock)
        found.append([projected(folder, query) for query in COMPARED])
    assert found[0] == found[1]
    assert len(found[1][0]) == 800 + 8
    denied = {row[0]: row[1] for row in projected(tmp_path / "ProjectorProcess", "SELECT agent_id, denied FROM agent")}
    assert denied == {"a": 0, "bot": 0, "nobody": 8}


def test_what_was_taken_just_before_closing_has_its_rows_after_it(start: Start) -> None:
    runtime = start(limit=10**9, projector=ProjectorProcess)
    process_of(runtime)
    runtime.ingest(batch("a", 0, 12_000, NOW_MS), may_wait=True).result(30)
    runtime.close()
    assert projected(runtime.store.folder, "SELECT actions, records FROM agent") == [(12_000, 12_000)]


def test_closing_before_the_process_has_come_up_waits_for_its_rows(start: Start) -> None:
    runtime = start(limit=10**9, projector=ProjectorProcess)
    runtime.ingest(batch("a", 0, 100, NOW_MS)).result(10)
    runtime.close()
    assert projected(runtime.store.folder, "SELECT actions FROM agent") == [(100,)]


def test_subscribers_hear_when_the_rows_are_there_and_the_lag_ends(start: Start) -> None:
    runtime = start(limit=10**9, projector=ProjectorProcess)
    projector = process_of(runtime)
    heard: list[Changes] = []
    runtime.subscribe(heard.append)
    runtime.ingest(batch("bot", 0, 3, NOW_MS)).result(10)
    assert projector.wait_until_idle(30)
    assert [changes.agents for changes in heard if "rows" in changes.kinds] == [{"bot"}]
    assert runtime.status().projection_lag == 0
    assert projector.position == runtime.status().offsets[ACTIONS]


def test_bands_go_to_the_rows(start: Start) -> None:
    runtime = start(limit=10**9, projector=ProjectorProcess)
    projector = process_of(runtime)
    projector.take_bands([("default/a", NOW_MS - NOW_MS % 300_000, 3.0, 40.0)])
    assert projector.wait_until_idle(30)
    found = projected(runtime.store.folder, 'SELECT key, expected, "limit" FROM agent_bin')
    assert found == [("default/a", 3.0, 40.0)]


def test_a_process_that_dies_is_trouble_until_it_is_back_and_counts_nothing_twice(start: Start) -> None:
    runtime = start(limit=10**9, projector=ProjectorProcess)
    projector = process_of(runtime)
    for number in range(3):
        runtime.ingest(batch("a", 1_000 * number, 1_000, NOW_MS), may_wait=True).result(10)
        pid = pid_of(projector)
        os.kill(pid, signal.SIGKILL)
        until(lambda: "projections" in runtime.status().degraded_reasons)
        assert "its process ended (-9)" in runtime.status().troubles[0]
        until(lambda: runtime.status().degraded_reasons == [] and runtime.status().projection_lag == 0, 60)
        assert projector.pid not in (None, pid)
    runtime.close()
    assert projected(runtime.store.folder, "SELECT actions, records FROM agent") == [(3_000, 3_000)]


def test_signals_to_the_whole_group_do_not_end_it(start: Start) -> None:
    runtime = start(limit=10**9, projector=ProjectorProcess)
    projector = process_of(runtime)
    pid = pid_of(projector)
    assert os.getsid(pid) != os.getsid(0)
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, sent)
    runtime.ingest(batch("a", 0, 10, NOW_MS)).result(10)
    assert projector.wait_until_idle(30)
    assert projector.pid == pid
    assert runtime.status().degraded_reasons == []


def test_it_inherits_no_listening_socket(start: Start) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.set_inheritable(True)
    address = listening.getsockname()
    process_of(start(projector=ProjectorProcess))
    listening.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


def test_it_ends_with_its_runtime(start: Start) -> None:
    runtime = start(projector=ProjectorProcess)
    pid = pid_of(process_of(runtime))
    runtime.close()
    assert is_gone(pid)


def test_it_ends_when_its_server_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from governance.settings import parse_settings\n"
        "from storage.store import Store\n"
        "from streams.standalone.projector_process import ProjectorProcess\n"
        "from streams.standalone.runtime import Runtime\n"
        "from tests.standalone.fakes import tiny_stages\n"
        "runtime = Runtime(parse_settings(None, {}), store=Store(sys.argv[1]), make_stages=tiny_stages,\n"
        "                  make_projector=ProjectorProcess)\n"
        "runtime.start()\n"
        "assert runtime.projector.wait_until_idle(60)\n"
        "print('pid', runtime.projector.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with server:
        assert server.stdout is not None
        pid = next(int(line.split()[1]) for line in server.stdout if line.startswith(b"pid"))
        assert not is_gone(pid)
        server.kill()
        server.wait(30)
        until(lambda: is_gone(pid), 30)


def test_two_never_write_the_rows_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.migrate()
    monkeypatch.setattr(projection, "_LOCK_SECS", 0.05)
    with open_rows(store, "t"), pytest.raises(StoreInUse, match="another process still writes"), open_rows(store, "t"):
        pass
    with open_rows(store, "t") as rows:
        assert rows.position == 0


class Failing(Store):
    """A store whose projections can't be opened at first."""

    failures = 1

    def connect_projections(self) -> sqlite3.Connection:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("no room")
        return super().connect_projections()


def test_trouble_is_told_and_so_is_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projecting, "RETRY_SECS", 0.0)
    store = Failing(tmp_path)
    store.migrate()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(framed(News(1, 0, [("default/a", NOW_MS)], [], True)))
        Projecting(store, "t", theirs).run()
        told = Unframer(Report).take(ours.recv(1 << 16))
    assert [(report.number, report.trouble, report.agents) for report in told] == [
        (0, "no room", []),
        (0, "", []),
        (1, "", ["a"]),
    ]


def test_it_gives_up_at_once_when_the_line_is_closed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.migrate()
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs, pytest.raises(ServerGone):
        Projecting(store, "t", theirs).run()


def test_messages_are_put_together_from_any_pieces() -> None:
    sent = [News(n, 2**40 + n, [("default/a", n)] * n, [("default/b", 0, 0.5, 1.5)], n == 2) for n in range(3)]
    whole = b"".join(framed(news) for news in sent)
    for size in (1, 3, 7, len(whole)):
        unframer = Unframer(News)
        got = [news for at in range(0, len(whole), size) for news in unframer.take(whole[at : at + size])]
        assert got == sent


def test_news_is_told_at_a_distance_and_none_is_forgotten(start: Start) -> None:
    """However many threads tell of refusals, each is counted once."""
    runtime = start(projector=ProjectorProcess)
    projector = process_of(runtime)

    def tell() -> None:
        for _ in range(2_000):
            projector.take_denials([("default/a", NOW_MS)])

    threads = [threading.Thread(target=tell) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert projector.wait_until_idle(30)
    assert projected(runtime.store.folder, "SELECT denied FROM agent") == [(6_000,)]


def test_a_process_that_hangs_does_not_keep_the_server_from_closing(start: Start) -> None:
    runtime = start(projector=ProjectorProcess)
    projector = process_of(runtime)
    pid = pid_of(projector)
    os.kill(pid, signal.SIGSTOP)
    for _ in range(60):
        projector.take_denials([("default/a", NOW_MS)] * 5_000)  # more than the line holds
    projector.stop(0.5)
    assert is_gone(pid)
    assert not projector._thread.is_alive()
    runtime.close()

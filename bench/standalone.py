"""How fast the standalone runtime is: batches in over HTTP, and from an action to the gate's refusal.

    python -m bench.standalone ingest --secs 10        # HTTP batches → judged → durable, actions a second
    python -m bench.standalone embedded --events 60000 # the same without HTTP, in this process
    python -m bench.standalone refuse --times 100      # from sending the action that trips to the first denial

``refuse`` runs beside a stream of batches (``--load`` actions a second). Times are from the client's side.
The server is a process of its own with default settings; with ``ingest`` the client is another one, so on two cores
they share the machine, as they would not in real life.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from events.times import format_ms

ROOT = Path(__file__).resolve().parent.parent
AGENTS = 200
BATCH = 500
MOST_PER_SEC = 40_000
"""Actions that are written before the start, for each second of the run."""
ROGUES = 1000


def event(number: int, agent_id: str, at_ms: int, records: int = 1) -> bytes:
    """One action as a producer writes it, about 600 bytes."""
    ids = [f"006A{number % 50_000}-{place}" for place in range(records)]
    data = {
        "agent_id": agent_id, "agent_version": "1.4.0", "action": "record.update", "object": "Opportunity",
        "record_ids": ids, "changes": {ids[0]: {"StageName": ["Proposal", "Negotiation"]}}, "records": records,
        "authorized_by": "user:005B2", "trigger": {"kind": "rule", "ref": "flow:stage-sync"}, "outcome": "ok",
        "error": None, "run_id": f"r-{number // 100}", "deal_id": ids[0], "system": "salesforce",
    }  # fmt: skip
    whole = {
        "specversion": "1.0", "id": f"a-{number:09d}", "source": "/crm/salesforce/00D1",
        "type": "tripline.agent.action.v1", "time": format_ms(at_ms), "subject": f"agent/{agent_id}",
        "datacontenttype": "application/json", "data": data,
    }  # fmt: skip
    return json.dumps(whole, separators=(",", ":")).encode()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def batch(first: int, size: int = BATCH) -> bytes:
    at_ms = now_ms()
    return b"\n".join(event(number, f"agent-{number % AGENTS}", at_ms) for number in range(first, first + size))


# --- a server process ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(settings: str = "") -> Iterator[tuple[int, Path, int]]:
    """A standalone server: its port, its data folder, its process id."""
    folder = Path(tempfile.mkdtemp(prefix="tripline-bench-"))
    (folder / "tripline.toml").write_text(settings)
    process = subprocess.Popen(
        [sys.executable, "-m", "console", "standalone", "--port", "0", "--data-dir", f"{folder}/data", "--json",
         "--config", f"{folder}/tripline.toml"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        yield int(url.rpartition(":")[2]), folder / "data", process.pid
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def cpu_secs(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Client:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        self.link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
        self.link.request("POST", path, body, {"Content-Type": kind})
        answer = self.link.getresponse()
        return answer.status, json.loads(answer.read())

    def send(self, body: bytes) -> int:
        """Send a batch until it is taken; returns how often it had to wait."""
        waits = 0
        while True:
            status, answer = self.post("/v1/events", body, "application/x-ndjson")
            if status in (200, 202):
                return waits
            if status != 429:
                raise RuntimeError(f"{status}: {answer}")
            waits += 1
            time.sleep(0.05)


def ingest(secs: float, senders: int) -> dict[str, Any]:
    prepared = [batch(place * BATCH) for place in range(int(secs * MOST_PER_SEC / BATCH))]
    with server() as (port, folder, pid):
        lock, taken, waits = threading.Lock(), [0], [0]
        Client(port).send(batch(900_000_000))
        began_cpu, began_own, began = cpu_secs(pid), time.process_time(), time.perf_counter()

        def work() -> None:
            client = Client(port)
            while time.perf_counter() - began < secs:
                with lock:
                    if taken[0] >= len(prepared):
                        return
                    body = prepared[taken[0]]
                    taken[0] += 1
                waited = client.send(body)
                with lock:
                    waits[0] += waited

        threads = [threading.Thread(target=work) for _ in range(senders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
        count = taken[0] * BATCH
        used, used_own = cpu_secs(pid) - began_cpu, time.process_time() - began_own
        behind = wait_for_rows(folder, count + BATCH)
    return {
        "actions": count, "actions_per_sec": round(count / took), "waits_429": waits[0], "senders": senders,
        "server_cpu_us_per_action": round(used / count * 1e6, 1),
        "client_cpu_us_per_action": round(used_own / count * 1e6, 1), "rows_complete_after_secs": round(behind, 2),
    }  # fmt: skip


def wait_for_rows(folder: Path, count: int) -> float:
    """How long until every action has its row."""
    began = time.perf_counter()
    link = sqlite3.connect(f"file:{folder / 'projections.db'}?mode=ro", uri=True)
    while link.execute("SELECT coalesce(sum(actions), 0) FROM agent").fetchone()[0] < count:
        if time.perf_counter() - began > 60:
            return float("inf")
        time.sleep(0.05)
    link.close()
    return time.perf_counter() - began


def refuse(times: int, load: float) -> dict[str, Any]:
    """An operation on 60 records is reported (the limit is 50); from then on until the gate says no."""
    settings = "".join(f'[agents.rogue-{n}]\nactions = ["record.*"]\n' for n in range(times))
    took: list[float] = []
    with server(settings) as (port, _, _pid):
        done = threading.Event()
        loader = threading.Thread(target=keep_sending, args=(port, load, done))
        loader.start()
        sender, asker = Client(port), Client(port)
        for number in range(times):
            body = event(500_000_000 + number, f"rogue-{number}", now_ms(), records=60)
            asked = json.dumps(
                {"agent_id": f"rogue-{number}", "action": "record.update", "object": "Lead", "record_ids": ["1"]}
            ).encode()
            began = time.perf_counter()
            telling = threading.Thread(target=sender.send, args=(body,))
            telling.start()
            while asker.post("/v1/gate/check", asked)[1]["decision"] != "deny":
                time.sleep(0.0005)
            took.append(time.perf_counter() - began)
            telling.join()
        done.set()
        loader.join()
    return {"times": times, "load_actions_per_sec": load, **percentiles(took)}


def keep_sending(port: int, rate: float, done: threading.Event) -> None:
    if rate <= 0:
        return
    client, began, number = Client(port), time.perf_counter(), 0
    while not done.is_set():
        ahead = began + number / rate - time.perf_counter()
        if ahead > 0:
            time.sleep(ahead)
        client.send(batch(number, 100))
        number += 100


def embedded(events: int) -> dict[str, Any]:
    from events.codec import decode_input  # noqa: PLC0415
    from governance.settings import parse_settings  # noqa: PLC0415
    from storage.store import Store  # noqa: PLC0415
    from streams.standalone.runtime import Runtime  # noqa: PLC0415

    bodies = [batch(first).split(b"\n") for first in range(0, events, BATCH)]
    folder = tempfile.mkdtemp(prefix="tripline-bench-")
    try:
        with Runtime(parse_settings(None, {}), store=Store(folder)) as runtime:
            began, began_cpu, waiting = time.perf_counter(), time.process_time(), []
            for body in bodies:
                waiting.append(runtime.ingest([(raw, decode_input(raw)) for raw in body], may_wait=True))
                if len(waiting) > 3:
                    waiting.pop(0).result(60)
            for future in waiting:
                future.result(60)
            durable = time.perf_counter() - began
            while runtime.status().projection_lag:
                time.sleep(0.01)
            assert runtime.projector is not None
            runtime.projector.wait_until_idle(60)
            rows, used = time.perf_counter() - began, time.process_time() - began_cpu
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "actions": events, "durable_per_sec": round(events / durable), "with_rows_per_sec": round(events / rows),
        "cpu_us_per_action": round(used / events * 1e6, 1),
    }  # fmt: skip


def percentiles(took: list[float]) -> dict[str, float]:
    took = sorted(took)
    return {
        f"p{p:g}_ms": round(took[min(len(took) - 1, int(len(took) * p / 100))] * 1000, 2) for p in (50, 90, 99, 100)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    one = what.add_parser("ingest")
    one.add_argument("--secs", type=float, default=10)
    one.add_argument("--senders", type=int, default=4)
    two = what.add_parser("embedded")
    two.add_argument("--events", type=int, default=60_000)
    three = what.add_parser("refuse")
    three.add_argument("--times", type=int, default=100)
    three.add_argument("--load", type=float, default=2_000)
    asked = parser.parse_args()
    if asked.what == "ingest":
        told = ingest(asked.secs, asked.senders)
    elif asked.what == "embedded":
        told = embedded(asked.events)
    else:
        told = refuse(asked.times, asked.load)
    print(json.dumps(told))


if __name__ == "__main__":
    main()

"""Gate checks over HTTP at a fixed rate against a real server process: latency from when each was due.

Open loop: requests are sent when they are due, whether earlier ones have been answered or not, and latency counts
from the due time, so that a stall is not hidden (coordinated omission). The client shares the machine with the
server, so it is one thread that builds every request before it starts and hardly reads the answers.

    python bench/gate_http.py --rate 1000 --secs 20
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
AGENTS = 50
CONNECTIONS = 32
SETTINGS = "".join(
    f'[agents.agent-{n}]\nlevel = 3\nactions = ["record.*"]\nrecords_per_10_min = 10000000\n'
    "records_per_day = 10000000\n"
    for n in range(AGENTS)
)


def request(number: int, run: str) -> bytes:
    asked = {
        "agent_id": f"agent-{number % AGENTS}", "action": "record.update", "object": "Opportunity",
        "record_ids": [f"006A{number % 5000}"], "authorized_by": "user:005B2", "request_id": f"{run}-{number}",
        "changes": {f"006A{number % 5000}": {"StageName": ["Proposal", "Negotiation"]}},
    }  # fmt: skip
    content = json.dumps(asked).encode()
    head = (
        "POST /v1/gate/check HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Link:
    """A kept-alive connection with at most one request on its way; ``due`` is when that one should have left."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = self.socket.fileno()
        self.due = 0.0
        self.got = b""

    def body(self) -> bytes | None:
        """The answer's body, once it is whole."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise RuntimeError(f"the server ended a connection after {self.got!r}")
        head, _, body = (self.got + chunk).partition(b"\r\n\r\n")
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if length and len(body) == int(length):
            self.got = b""
            return body
        self.got += chunk
        return None


def drive(port: int, rate: float, requests: list[bytes]) -> tuple[list[float], Counter[str]]:
    """Seconds from due to answered, and how often which decision."""
    free = deque(Link(port) for _ in range(CONNECTIONS))
    busy: dict[int, Link] = {}
    took: list[float] = []
    decisions: Counter[str] = Counter()
    sent, count, clock = 0, len(requests), time.perf_counter
    began = clock() + 0.1
    while len(took) < count:
        while sent < count and free and (due := began + sent / rate) <= clock():
            link = free.popleft()
            link.due = due
            link.socket.sendall(requests[sent])
            busy[link.number] = link
            sent += 1
        wait = max(0.0, began + sent / rate - clock()) if sent < count and free else 10.0
        for number in select.select(busy, (), (), wait)[0]:
            link = busy[number]
            body = link.body()
            if body is not None:
                took.append(clock() - link.due)
                decisions[body.split(b'"', 4)[3].decode()] += 1
                del busy[number]
                free.append(link)
    return took, decisions


def cpu_secs(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(port: int, pid: int, rate: float, secs: float) -> dict[str, Any]:
    warm, measured = ([request(number, run) for number in range(int(rate * n))] for run, n in (("w", 2), ("r", secs)))
    gc.collect()
    gc.freeze()
    drive(port, rate, warm)
    began, began_own = cpu_secs(pid), time.process_time()
    took, decisions = drive(port, rate, measured)
    count, used, used_own = len(took), cpu_secs(pid) - began, time.process_time() - began_own
    took.sort()
    return {
        "rate": rate, "checks": count, "decisions": dict(decisions),
        **{f"p{p}_ms": round(took[min(count - 1, int(count * p / 100))] * 1000, 2) for p in (50, 90, 99, 99.9)},
        "max_ms": round(took[-1] * 1000, 2),
        "server_cpu_us_per_check": round(used / count * 1e6), "client_cpu_us_per_check": round(used_own / count * 1e6),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--secs", type=float, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tripline.toml").write_text(SETTINGS)
        server = subprocess.Popen(
            [sys.executable, "-m", "console", "standalone", "--port", "0", "--data-dir", f"{folder}/data", "--json",
             "--config", f"{folder}/tripline.toml"],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            told = measure(int(url.rpartition(":")[2]), server.pid, asked.rate, asked.secs)
        finally:
            server.terminate()
            server.wait(20)
    print(json.dumps(told))


if __name__ == "__main__":
    main()

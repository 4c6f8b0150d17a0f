"""Gate checks over HTTP at a fixed rate against a real server process: latency from when each was due.

Open loop: requests are sent when they are due, whether earlier ones have been answered or not, and latency counts
from the due time, so that a stall is not hidden (coordinated omission).

    python bench/gate_http.py --rate 1000 --secs 20
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AGENTS = 50
CONNECTIONS = 32
SETTINGS = "".join(
    f'[agents.agent-{n}]\nlevel = 3\nactions = ["record.*"]\nrecords_per_10_min = 10000000\n'
    "records_per_day = 10000000\n"
    for n in range(AGENTS)
)


def body(number: int) -> bytes:
    asked = {
        "agent_id": f"agent-{number % AGENTS}", "action": "record.update", "object": "Opportunity",
        "record_ids": [f"006A{number % 5000}"], "authorized_by": "user:005B2", "request_id": f"r-{number}",
        "changes": {f"006A{number % 5000}": {"StageName": ["Proposal", "Negotiation"]}},
    }  # fmt: skip
    content = json.dumps(asked).encode()
    head = (
        "POST /v1/gate/check HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: bytes) -> bytes:
    writer.write(content)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


async def drive(port: int, rate: float, secs: float) -> tuple[list[float], dict[str, int]]:
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    took: list[float] = []
    decisions: dict[str, int] = {}

    async def ask(number: int, due: float) -> None:
        link = await free.get()
        answer = json.loads(await one(*link, body(number)))
        took.append(time.perf_counter() - due)
        free.put_nowait(link)
        decisions[answer["decision"]] = decisions.get(answer["decision"], 0) + 1

    began, tasks = time.perf_counter(), set()
    for number in range(int(rate * secs)):
        due = began + number / rate
        ahead = due - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(ask(number, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return took, decisions


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
            port = int(url.rpartition(":")[2])
            asyncio.run(drive(port, asked.rate, 2))  # warm up
            took, decisions = asyncio.run(drive(port, asked.rate, asked.secs))
            cpu = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
        finally:
            server.terminate()
            server.wait(20)
    took.sort()
    told = {
        "rate": asked.rate, "checks": len(took), "decisions": decisions,
        **{f"p{p}_ms": round(took[min(len(took) - 1, int(len(took) * p / 100))] * 1000, 2) for p in (50, 90, 99)},
        "p99.9_ms": round(took[int(len(took) * 0.999)] * 1000, 2), "max_ms": round(took[-1] * 1000, 2),
        "server_cpu_secs": (int(cpu[11]) + int(cpu[12])) / 100,
    }  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    main()

"""What a check at the gate costs, as a table: over HTTP at 1,000 a second, and in the client under a lease.

    make bench-gate            # or: python -m bench.gate --secs 12 --times 3

The three parts of a latency that are not the gate's are shown beside it, from the same minute: how long this disk
takes to make 2 kB durable (SQLite's commit), how late this machine wakes a thread, and what the client costs.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NAP_SECS = 0.001
_PLACES = (50, 99)


def run(*command: str) -> dict[str, Any]:
    """The last line of a benchmark's output."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def percentiles(took: list[float]) -> dict[str, float]:
    """In ms, of seconds."""
    took.sort()
    return {f"p{place}_ms": round(took[len(took) * place // 100] * 1000, 2) for place in _PLACES}


def commits(times: int) -> dict[str, float]:
    """SQLite's commit of 2 kB, durable, a millisecond apart."""
    took, content = [], bytes(2000)
    with tempfile.TemporaryDirectory() as folder:
        link = sqlite3.connect(Path(folder) / "db", isolation_level=None)
        for text in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE t (b BLOB)"):
            link.execute(text)
        for _ in range(times):
            time.sleep(NAP_SECS)
            began = time.perf_counter()
            link.execute("BEGIN IMMEDIATE")
            link.execute("INSERT INTO t VALUES (?)", (content,))
            link.execute("COMMIT")
            took.append(time.perf_counter() - began)
        link.close()
    return percentiles(took)


def naps(times: int) -> dict[str, float]:
    """By how much a sleep of a millisecond is too long."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        time.sleep(NAP_SECS)
        took.append(time.perf_counter() - began - NAP_SECS)
    return percentiles(took)


def rows(secs: float, rate: float) -> list[tuple[str, str, str]]:
    """What was measured: (what, wanted, measured)."""
    gate = run("bench/gate_http.py", "--rate", str(rate), "--secs", str(secs))
    lease = run("-m", "bench.lease")
    disk, naptime = commits(1000), naps(1000)
    return [
        (
            f"gate over HTTP, {rate:,.0f} checks/s, durable",
            "p99 < 5 ms",
            f"p50 {gate['p50_ms']} ms, p99 {gate['p99_ms']} ms, {gate['server_cpu_us_per_check']} µs of server CPU",
        ),
        ("– its client", "–", f"{gate['client_cpu_us_per_check']} µs of CPU a check"),
        ("– a commit alone", "–", f"p50 {disk['p50_ms']} ms, p99 {disk['p99_ms']} ms"),
        ("– a thread wakes late by", "–", f"p50 {naptime['p50_ms']} ms, p99 {naptime['p99_ms']} ms"),
        ("check under a lease, in the client", "< 20 µs", f"p50 {lease['p50_us']} µs, p99 {lease['p99_us']} µs"),
    ]


def main() -> None:
    """Measure ``--times`` times; print a table in Markdown for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--secs", type=float, default=12)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--times", type=int, default=1)
    asked = parser.parse_args()
    for _ in range(asked.times):
        sys.stdout.write("| what | wanted | measured |\n|---|---|---|\n")
        for row in rows(asked.secs, asked.rate):
            sys.stdout.write(f"| {' | '.join(row)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

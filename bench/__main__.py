"""All benchmarks of docs/benchmarks.md, one after the other: ``python -m bench [NAME …] [--list]``.

Each runs in a process of its own with the command that the document names beside the figure, so a figure can be
checked alone. They take about a quarter of an hour together; run them on an idle machine.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {
    "replay": "-m bench.replay",
    "deals": "-m bench.deal_events",
    "deal-risk": "-m bench.deals",
    "decode": "-m bench.decode",
    "embedded": "-m bench.standalone embedded --events 60000",
    "ingest": "-m bench.standalone ingest --secs 10",
    "refuse": "-m bench.standalone refuse --times 60",
    "gate": "bench/gate_http.py --rate 1000 --secs 15",
    "lease": "-m bench.lease --checks 20000",
    "kill": "-m bench.kill --kills 50 --seed 7 --topology real",
    "detect": "-m bench.detect --population simulator --agents 100 --days 42 --seeds 31 32 33",
    "nab": "-m bench.nab",
}


def main() -> int:
    """Run those that were named, or all; the number of those that failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COMMANDS)}")
    parser.add_argument("--list", action="store_true", help="show the commands and end")
    asked = parser.parse_args()
    unknown = set(asked.names) - COMMANDS.keys()
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(COMMANDS)}")
    failed = 0
    for name in asked.names or COMMANDS:
        sys.stdout.write(f"\n--- {name}: python {COMMANDS[name]}\n")
        sys.stdout.flush()
        if not asked.list:
            began = time.monotonic()
            done = subprocess.run([sys.executable, *shlex.split(COMMANDS[name])], cwd=ROOT, check=False)
            failed += done.returncode != 0
            sys.stdout.write(f"    ({time.monotonic() - began:.0f} s, exit code {done.returncode})\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())

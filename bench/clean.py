"""False alarms of the whole suite, everything in enforce, on clean agents of the simulator.

    python -m bench.clean [--agents 100] [--days 42] [--seeds 51 52 …] [--config FILE] [--events]

For each seed: ``tripline simulate`` (``--population``: agents of rough kinds, actions only; with ``--events`` the
whole sales organisation) and ``tripline replay --enforce all --report``, in processes of their own, with detectors
switched on that are off unless set. Counted are findings after each agent's first seven days: **stops and holds**
(suspend, hold, throttle), one for each agent and day, with the exact Poisson bound; and what was told, by severity:
``info`` is the notice of more than five records that policy asks for, others are **warnings**. Nothing is tuned by it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from detectors.statistics import poisson_upper_bound
from events.times import DAY_MS, parse_ms

OFF = ("action_mix", "write_without_read", "unlike_good_run")
STOPS = ("suspend", "hold", "throttle")
SETTLED_MS = 7 * DAY_MS


def one_seed(folder: Path, seed: int, asked: argparse.Namespace) -> tuple[float, Counter[str], Counter[str]]:
    """Agent-months after the first week; stops by detector, and what was told by detector and severity."""
    log, out, config = folder / f"{seed}.jsonl.gz", folder / f"out-{seed}", asked.config
    if config is None:
        config = folder / "tripline.toml"
        config.write_text("".join(f"[detectors.{name}]\nis_enabled = true\n" for name in OFF), encoding="utf-8")
    size = ("--agents", str(asked.agents), "--days", str(asked.days))
    kind = () if asked.events else ("--population",)
    _run("simulate", "--seed", str(seed), *size, *kind, "--out", str(log))
    _run("replay", str(log), "--config", str(config), "--enforce", "all", "--report", "--out", str(out))
    log.unlink()
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    start_ms = parse_ms(report["first"])
    stops: Counter[str] = Counter()
    told: Counter[str] = Counter()
    seen: set[tuple[str, int]] = set()
    with (out / "findings.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            data = json.loads(line)["data"]
            at_ms = parse_ms(data["at"])
            if at_ms - start_ms < SETTLED_MS:
                continue
            if data["action_taken"] not in STOPS:
                told[f"{data['detector']} {data['action_taken']} {data['severity']}"] += 1
            elif (data["agent_id"], at_ms // DAY_MS) not in seen:
                seen.add((data["agent_id"], at_ms // DAY_MS))
                stops[f"{data['detector']} {data['action_taken']}"] += 1
                print(f"  {seed} {data['agent_id']} {data['at']} {data['detector']}: {data['evidence']['summary']}")
    return report["settled_months"], stops, told


def _run(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "console", *words], check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--days", type=int, default=42)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(51, 60)))
    parser.add_argument("--config", type=Path, help="settings; without, the default with all detectors on")
    parser.add_argument("--events", action="store_true", help="the whole organisation, not only agents' actions")
    asked = parser.parse_args()
    months, stops, told = 0.0, Counter[str](), Counter[str]()
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory(prefix="tripline-clean-") as name:
            found = one_seed(Path(name), seed, asked)
        months, stops, told = months + found[0], stops + found[1], told + found[2]
        count = stops.total()
        print(
            f"to seed {seed}: {months:.0f} agent-months, {count} stops and holds: {count / months:.4f} an agent-month, "
            f"95 % bound {poisson_upper_bound(count) / months:.4f}",
            flush=True,
        )
    for name, count in sorted(stops.items()):
        print(f"stopped or held  {name:<40} {count:>7} {count / months:.4f} an agent-month")
    for name, count in sorted(told.items()):
        print(f"told             {name:<40} {count:>7} {count / months:.4f} an agent-month")
    return 0


if __name__ == "__main__":
    sys.exit(main())

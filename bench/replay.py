"""How fast ``tripline replay`` is: decoding and three detectors, one core; and deal events.

``python -m bench.replay [--events N]`` writes logs to a temporary folder, replays each several times in this process
with the collector off, as the command does, and prints events a second of CPU time: the median and the best. The
events are full ones (every optional field, 730 bytes), in the field order of the wire contract, so that nothing is
gained from our own encoder's order.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from events.times import format_ms
from governance.settings import parse_settings
from streams.replay import replay

START_MS = 1_772_442_000_000
HOUR_MS = 3_600_000


def envelope(kind: str, number: int, at_ms: int, key: str, source: str, data: dict[str, Any]) -> bytes:
    """One event as a producer writes it."""
    event = {
        "specversion": "1.0",
        "id": f"a-{number:09d}",
        "source": source,
        "type": kind,
        "time": format_ms(at_ms),
        "subject": key,
        "partitionkey": key.partition("/")[2],
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(event, separators=(",", ":")).encode()


def action(number: int, at_ms: int, agent: str, rng: random.Random) -> bytes:
    """A full action of the wire contract."""
    record = f"006A{rng.randrange(20_000)}"
    data = {
        "agent_id": agent,
        "agent_version": "1.4.0",
        "action": "record.update",
        "object": "Opportunity",
        "record_ids": [record],
        "changes": {record: {"StageName": ["Proposal", "Negotiation"]}},
        "records": 1,
        "recipients": 0,
        "recipient_ids": [],
        "external": False,
        "first_contact": False,
        "authorized_by": "user:005B2",
        "trigger": {"kind": "rule", "ref": "flow:stage-sync"},
        "reviewed_by": None,
        "outcome": "ok",
        "error": None,
        "run_id": f"r-{number // 20}",
        "parent_agent_id": None,
        "decision_id": None,
        "deal_id": record,
        "owner_id": "user:005B2",
        "system": "salesforce",
    }
    return envelope("tripline.agent.action.v1", number, at_ms, f"agent/{agent}", "/crm/salesforce/00D1", data)


def actions(count: int, per_hour: int, rng: random.Random) -> Iterator[bytes]:
    """Actions of a hundred agents, each at ``per_hour``, in time order."""
    agents = 100
    gap_ms = HOUR_MS / per_hour / agents
    at = float(START_MS)
    for number in range(count):
        at += rng.expovariate(1 / gap_ms)
        yield action(number, int(at), f"agent-{rng.randrange(agents)}", rng)


def deal_events(count: int, rng: random.Random) -> Iterator[bytes]:
    """Activities and changes of two thousand deals, some minutes apart each."""
    deals = 2_000
    at = START_MS
    for number in range(count):
        at += rng.randrange(1_000)
        deal = f"006{number if number < deals else rng.randrange(deals)}"
        if number < deals or rng.random() < 0.2:
            changes: dict[str, Any] = {"stage": ["Discovery", rng.choice(["Discovery", "Proposal", "Negotiation"])]}
            if number < deals:
                changes |= {
                    "name": [None, f"Deal {number}"],
                    "account": [None, "Acme"],
                    "amount": [None, "48000.00"],
                    "currency": [None, "EUR"],
                    "close_date": [None, "2026-06-30"],
                    "owner_id": [None, f"user:{number % 40}"],
                    "manager_id": [None, f"user:m{number % 8}"],
                }
            data = {
                "object": "Opportunity",
                "record_id": deal,
                "op": "create" if number < deals else "update",
                "changes": changes,
                "actor": {"kind": "human", "id": "user:1"},
                "deal_id": deal,
                "committed_at": format_ms(at),
                "system": "salesforce",
            }
            yield envelope("tripline.crm.change.v1", number, at, f"deal/{deal}", "/crm/salesforce/00D1", data)
            continue
        data = {
            "kind": rng.choice(["email", "call", "meeting"]),
            "direction": rng.choice(["inbound", "outbound"]),
            "deal_id": deal,
            "participants": [{"contact_id": f"003{rng.randrange(500)}", "role": "economic_buyer", "executive": False}],
            "occurred_at": format_ms(at),
            "scheduled_for": None,
            "logged_by": {"kind": "human", "id": "user:1"},
            "system": "outreach",
        }
        yield envelope("tripline.crm.activity.v1", number, at, f"deal/{deal}", "/outreach", data)


def measure(name: str, lines: Callable[[], Iterator[bytes]], runs: int) -> dict[str, float]:
    """CPU time of replaying a log, over several runs."""
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        with log.open("wb") as out:
            out.writelines(line + b"\n" for line in lines())
        settings = parse_settings()
        for _ in range(runs):
            gc.collect()
            gc.disable()
            began = time.process_time()
            result = replay([log], settings, Path(folder) / "out")
            took = time.process_time() - began
            gc.enable()
            rates.append(result.events / took)
    found = {"median": statistics.median(rates), "best": max(rates), "worst": min(rates)}
    print(
        f"{name:42} median {found['median']:>9,.0f}/s   best {found['best']:>9,.0f}/s   worst {found['worst']:>9,.0f}/s"
    )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    for per_hour in (200, 20):
        name = f"actions, {per_hour} an hour per agent"
        measure(name, lambda rate=per_hour: actions(options.events, rate, random.Random(1)), options.runs)  # type: ignore[misc]
    measure("deal events", lambda: deal_events(options.events, random.Random(1)), options.runs)


if __name__ == "__main__":
    main()

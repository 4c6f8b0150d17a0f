"""What reading an event costs, part by part: ``python -m bench.decode``.

Prints the best of several rounds in microseconds of CPU time an event, on one core. "canonical" lines are written by
``events.codec.encode``; "foreign" ones have another order of fields; "unknown" ones a field that we don't know.
The garbage collector is off, as in ``tripline replay``.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from events import strict
from events.codec import decode, decode_input, decode_lines, encode
from events.times import format_ms, parse_ms
from events.types import LogEvent, OutputEvent

LINES_A_BLOCK = 250
ROUNDS = 15
START_MS = parse_ms("2026-03-02T08:00:00Z")
DATA: dict[str, Any] = {
    "agent_id": "dealbot", "agent_version": "1.4.0", "action": "record.update", "object": "Opportunity",
    "record_ids": ["006A1"], "changes": {"006A1": {"StageName": ["Proposal", "Negotiation"]}}, "records": 1,
    "recipients": 0, "recipient_ids": [], "external": False, "first_contact": False, "authorized_by": "user:005B2",
    "trigger": {"kind": "rule", "ref": "flow:stage-sync"}, "reviewed_by": None, "outcome": "ok", "error": None,
    "run_id": "r-77", "parent_agent_id": None, "decision_id": None, "deal_id": "006A1", "owner_id": "user:005B2",
    "system": "salesforce",
}  # fmt: skip
CHANGE: dict[str, Any] = {
    "object": "Opportunity", "record_id": "006A1", "op": "update", "deal_id": "006A1",
    "changes": {"stage": ["Proposal", "Negotiation"]}, "actor": {"kind": "human", "id": "user:005B2"},
}  # fmt: skip
SMALL = {name: DATA[name] for name in ("agent_id", "action", "object", "record_ids", "outcome", "run_id")}


def line(number: int, data: dict[str, Any], kind: str = "tripline.agent.action.v1") -> bytes:
    """One event as another program would write it, 1.7 s after the one before."""
    event = {
        "specversion": "1.0", "id": f"a-{number:06d}", "source": "/crm/salesforce/00D1", "type": kind,
        "time": format_ms(START_MS + number * 1_703), "subject": "agent/dealbot", "partitionkey": "dealbot",
        "datacontenttype": "application/json", "data": data,
    }  # fmt: skip
    return json.dumps(event, separators=(",", ":")).encode()


def corpora() -> dict[str, list[bytes]]:
    """The kinds of lines that are measured."""
    count = range(LINES_A_BLOCK * 4)
    foreign = [line(number, DATA) for number in count]
    return {
        "canonical": [encode(decode(each)) for each in foreign],
        "foreign": foreign,
        "unknown": [line(number, {**DATA, "crm_field": 1}) for number in count],
        "small": [encode(decode(line(number, SMALL))) for number in count],
        "change": [encode(decode(line(number, CHANGE, "tripline.crm.change.v1"))) for number in count],
    }


def best_us(parts: dict[str, Callable[[], Any]], events: int) -> dict[str, float]:
    """Microseconds of CPU time an event, the best round of each part; the parts take turns, so load hits all alike."""
    found = dict.fromkeys(parts, float("inf"))
    for _ in range(ROUNDS):
        for name, work in parts.items():
            began = time.process_time()
            work()
            found[name] = min(found[name], time.process_time() - began)
    return {name: best / events * 1e6 for name, best in found.items()}


def measure(lines: list[bytes]) -> dict[str, float]:
    """Each part's cost over these lines."""
    decoder = msgspec.json.Decoder(LogEvent | OutputEvent)
    encoder = msgspec.json.Encoder()
    cuts = range(0, len(lines), LINES_A_BLOCK)
    blocks = [b"\n".join(lines[at : at + LINES_A_BLOCK]) + b"\n" for at in cuts]
    parts: dict[str, Callable[[], Any]] = {
        "msgspec decode": lambda: each_of(lambda block: list(map(decoder.decode, block.split(b"\n")[:-1])), blocks),
        "… and duplicates": lambda: each_of(lambda block: proven(decoder, encoder, block), blocks),
        "decode_lines (all checks and times)": lambda: each_of(decode_lines, blocks),
        "decode, one by one": lambda: each_of(decode, lines),
        "decode_input, one by one": lambda: each_of(decode_input, lines),
    }
    return best_us(parts, len(lines))


def each_of(work: Callable[[bytes], Any], parts: list[bytes]) -> None:
    """Do the work on each, and keep nothing."""
    deque(map(work, parts), maxlen=0)


def proven(decoder: Any, encoder: Any, block: bytes) -> bool:
    """The decoder and the check for duplicate keys, without the rest."""
    lines = block.split(b"\n")[:-1]
    again = bytearray(len(block) + 64)
    encoder.encode_into(list(map(decoder.decode, lines)), again)
    return again[1:-1] == b",".join(lines) or strict.same_colons(block, again)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    gc.disable()
    found = {name: {"bytes": len(lines[0]), **measure(lines)} for name, lines in corpora().items()}
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        return
    for name, parts in found.items():
        print(f"{name}: {parts.pop('bytes')} bytes an event")
        for part, cost in parts.items():
            print(f"  {part:38} {cost:6.2f} µs")


if __name__ == "__main__":
    main()

"""What a check costs that is covered by a lease: the client decides by itself, in microseconds.

Measured is what ``act`` does before the block begins: scope, credits, both clocks, and the debit that waits to be
reported. The gate is not asked, and no thread runs beside it.

    python -m bench.lease --checks 20000
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time

from tripline_client.leases import Hold, Scope
from tripline_client.messages import operation

SCOPE = Scope(
    actions=frozenset({"record.update"}), object="Lead", fields=frozenset({"Industry"}), action_credits=10**9,
    record_credits=10**9, details={"authorized_by": "user:005B2", "trigger": {"kind": "rule", "ref": "flow:enrich"}},
)  # fmt: skip


def held() -> Hold:
    """A hold with a lease of an hour."""
    hold = Hold("enrich-bot", SCOPE)
    asked = hold.next()
    assert asked is not None
    said = {"lease_id": "l", "over": "", "epoch": 1, "action_limit": 10**9, "record_limit": 10**9, "ttl_ms": 3_600_000}
    hold.answered(asked, 200, json.dumps(said).encode())
    return hold


def measure(checks: int) -> list[float]:
    """Seconds of each check, sorted: from the operation's details to "allow"."""
    hold, took, clock = held(), [], time.perf_counter
    more = {"object": "Lead", **SCOPE.details}
    for number in range(checks):
        changes = {f"00Q{number}": {"Industry": [None, "Retail"]}}
        began = clock()
        admitted = hold.admit(operation("enrich-bot", "record.update", more, {"changes": changes}))
        took.append(clock() - began)
        assert admitted is not None
    return sorted(took)


def main() -> None:
    """Warm up, measure, print one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checks", type=int, default=20_000)
    count = parser.parse_args().checks
    measure(2_000)
    gc.collect()
    gc.freeze()
    took = measure(count)
    places = {f"p{share}_us": min(count - 1, int(count * share / 100)) for share in (50, 99, 99.9)}
    figures = {name: round(took[place] * 1e6, 2) for name, place in places.items()}
    sys.stdout.write(json.dumps({"checks": count, **figures, "max_us": round(took[-1] * 1e6, 1)}) + "\n")


if __name__ == "__main__":
    main()

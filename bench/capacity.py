"""How unevenly work falls on partitions and workers: the numbers behind docs/capacity.md.

    python -m bench.capacity [--per-core 60000]

Agents' shares of the traffic follow Zipf's law with exponent 1 (a few busy, many quiet), or are equal; with ``hot`` one
agent has 10 % of all traffic on top. Keys go to partitions by murmur2 as in production, partitions to workers by the
round-robin that Faust's assignor gives. Said are the share of the fullest partition and of the fullest worker, and how
many actions a second the whole can take until that worker is full: ``--per-core`` actions a second (measured by
``make bench-engine``). Seeded: the same numbers every time.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from streams.kafka.partition import partition_of

AGENTS = 20_000
HOT_SHARE = 0.1
CASES = ((12, 2), (12, 4), (48, 8), (96, 32), (384, 128), (1000, 250))
"""Partitions and workers."""


def shares(kind: str) -> list[float]:
    """Each agent's share of the traffic."""
    weights = [1.0 / (rank + 1) if kind.startswith("zipf") else 1.0 for rank in range(AGENTS)]
    total = sum(weights)
    spread = [weight / total for weight in weights]
    if not kind.endswith("hot"):
        return spread
    return [HOT_SHARE, *(share * (1 - HOT_SHARE) for share in spread[1:])]


def loads(traffic: Sequence[float], partitions: int, workers: int) -> tuple[float, float]:
    """The share of the fullest partition and of the fullest worker."""
    of_partition: Counter[int] = Counter()
    for number, share in enumerate(traffic):
        of_partition[partition_of(f"default/agent-{number:06d}", partitions)] += share  # type: ignore[assignment]
    of_worker: Counter[int] = Counter()
    for partition, share in of_partition.items():
        of_worker[partition % workers] += share
    return max(of_partition.values()), max(of_worker.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--per-core", type=float, default=60_000)
    asked = parser.parse_args()
    print("traffic      partitions  workers  fullest partition  fullest worker         in all")
    for kind in ("equal", "equal hot", "zipf", "zipf hot"):
        traffic = shares(kind)
        for partitions, workers in CASES:
            partition, worker = loads(traffic, partitions, workers)
            print(
                f"{kind:12} {partitions:>10} {workers:>8} {partition:>17.2%} {worker:>14.2%} "
                f"{asked.per_core / worker:>11,.0f} /s"
            )


if __name__ == "__main__":
    main()

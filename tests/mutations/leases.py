"""Does the property of leases need each of their safety rules? Take them away one by one: each must be found missing.

``make mutate-leases``, or ``python -m tests.mutations.leases [NAME…]``. Not part of the suite. Exit code 1 when a rule
could be taken away unnoticed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from governance import leases
from governance.lease_types import Lease
from streams import leasing
from streams.leasing import Leasing
from tests.properties import test_leases as property_
from tripline_client import leases as holder
from tripline_client.leases import Held, Hold

MOST_STORIES = 3_000
Break = tuple[str, object, str, Any]
"""What is broken in words, and whose attribute is replaced by what."""


def _no_time(held: Held, at: object = None) -> bool:
    return bool(held.over)


def _all_settled(desk: Leasing, lease: Lease, gating: object) -> Lease:
    return leases.settle(lease, lease.actions - lease.settled_actions, lease.records - lease.settled_records)


def _never_stopped(*_: object) -> str:
    return ""


def _ignores(*_: object) -> None:
    return None


def _extends_from_now(held: Held, said: dict[str, Any], sent: object) -> None:
    _extend(held, said, held._clock())


_extend = Held.extend
BREAKS: dict[str, Break] = {
    "epoch": ("the epochs of the agent and of stop-all do not end a lease", leases, "_why_stopped", _never_stopped),
    "expiry": ("a holder does not look whether its lease's time is over", Held, "is_over", _no_time),
    "reserve": ("a lease's records are not set aside before it is answered", leasing, "_set_aside", _ignores),
    "settled": (
        "credits come back for debits that were not judged or have no outcome",
        Leasing,
        "_settled",
        _all_settled,
    ),
    "heard": ("a newer epoch that is heard in another answer does not end a lease", Hold, "heard", _ignores),
    "from-asked": ("a lease's time runs from when the answer came", Held, "extend", _extends_from_now),
    "margin": ("clocks of two machines are taken to go alike", holder, "_MARGIN", -0.01),
}


@contextmanager
def broken(one: Break) -> Iterator[None]:
    """One rule is taken away."""
    _, owner, name, instead = one
    with patch.object(owner, name, instead):
        yield


def stories(count: Callable[[], None]) -> Callable[[], None]:
    """The property, with many stories, always the same, none of them made smaller when it fails."""

    @settings(
        max_examples=MOST_STORIES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.sampled_from(sorted(property_.SETTINGS)), property_.plans)
    def run(budget: int, plan: list[Any]) -> None:
        count()
        property_.play(budget, plan)

    return run


def found(one: Break) -> tuple[int, str]:
    """After how many stories it was found, 0 when it was not; and which promise was broken."""
    played: list[None] = []
    with broken(one):
        try:
            stories(lambda: played.append(None))()
        except AssertionError as problem:
            return len(played), str(problem).partition("\n")[0] or "an assertion"
    return 0, ""


def main(names: list[str]) -> int:
    """Print what came of each; the exit code."""
    survived = 0
    for name in names or BREAKS:
        started = time.process_time()
        number, promise = found(BREAKS[name])
        survived += not number
        outcome = f"found in story {number}: {promise}" if number else f"NOT FOUND in {MOST_STORIES} stories"
        print(f"{name}: {BREAKS[name][0]}: {outcome} ({time.process_time() - started:.1f} s)", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

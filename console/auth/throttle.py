"""Slows down guessing: too many failures of one account or address, and it has to wait."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

WINDOW_MS = 15 * 60_000
MAX_KEYS = 10_000


class Throttle:
    """Counts failures in the last 15 minutes per key (an account or an address), in memory.

    Parameters: ``max_failures`` of one key before it is refused; ``now_ms`` gives the time. At most 10,000 keys are
    remembered; beyond that the one that failed longest ago is forgotten.
    """

    def __init__(self, max_failures: int, now_ms: Callable[[], int]) -> None:
        self._max = max_failures
        self._now_ms = now_ms
        self._failures: OrderedDict[str, list[int]] = OrderedDict()

    def wait_secs(self, *keys: str) -> int:
        """Whole seconds until all of these keys may try again; 0 = now."""
        return max((self._wait_ms(key) + 999) // 1000 for key in keys)

    def failed(self, *keys: str) -> None:
        """One more failure for each key."""
        now = self._now_ms()
        for key in keys:
            times = self._failures.pop(key, [])
            self._failures[key] = [*(at for at in times[-self._max :] if at > now - WINDOW_MS), now]
        while len(self._failures) > MAX_KEYS:
            self._failures.popitem(last=False)

    def succeeded(self, *keys: str) -> None:
        """Forget the failures of these keys."""
        for key in keys:
            self._failures.pop(key, None)

    def _wait_ms(self, key: str) -> int:
        now = self._now_ms()
        recent = [at for at in self._failures.get(key, ()) if at > now - WINDOW_MS]
        return recent[-self._max] + WINDOW_MS - now if len(recent) >= self._max else 0

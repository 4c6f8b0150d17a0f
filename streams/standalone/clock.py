"""The runtime's clocks (``governance.ports.Clock``): the world's, a faster one, and one that tests move by hand."""

from __future__ import annotations

import threading
import time


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """The time now."""
        return time.time_ns() // 1_000_000

    def wait_secs(self, until_ms: int) -> float:
        """Real seconds until the clock shows ``until_ms``."""
        return max(0.0, (until_ms - self.now_ms()) / 1000)


class ScaledClock:
    """A clock that starts at ``start_ms`` and runs ``speed`` times as fast as the world's."""

    def __init__(self, start_ms: int, speed: float = 60.0) -> None:
        self.start_ms = start_ms
        self.speed = speed
        self._began = time.monotonic()

    def now_ms(self) -> int:
        """The simulated time now."""
        return self.start_ms + int((time.monotonic() - self._began) * 1000 * self.speed)

    def wait_secs(self, until_ms: int) -> float:
        """Real seconds until the simulated time ``until_ms``."""
        return max(0.0, (until_ms - self.now_ms()) / 1000 / self.speed)


class ManualClock:
    """A clock that stands still until it is moved; for tests."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        """The time it was set to."""
        return self._now_ms

    def move(self, ms: int) -> None:
        """Move it forward."""
        with self._lock:
            self._now_ms += ms

    def wait_secs(self, until_ms: int) -> float:
        """A short pause, after which to look again."""
        return 0.0 if until_ms <= self._now_ms else 0.05

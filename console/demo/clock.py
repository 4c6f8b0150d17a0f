"""The demo's clock: it stands while the past is written, then runs faster than the world's."""

from __future__ import annotations

import threading
import time

_LOOK_AGAIN_SECS = 0.05
LEAD_SECS = 0.5
"""So far, in real seconds at its speed, it runs ahead of what has happened."""


class DemoClock:
    """A clock that stands at a time until it is told to run. Safe to use from any thread.

    It waits for what it drives: once ``kept_up`` was called, it stands when that is longer ago than ``LEAD_SECS``. On
    a starved machine the demo gets slower, and a minute's work stays a minute's work: it never comes as a burst.
    """

    def __init__(self, at_ms: int) -> None:
        self._lock = threading.Lock()
        self._at_ms = at_ms
        self._speed = 0.0
        self._since = 0.0
        self._until_ms: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._speed > 0

    def stand(self, at_ms: int) -> None:
        """Stand at this time; never back."""
        with self._lock:
            self._at_ms = max(self._at_ms, at_ms)

    def run(self, speed: float) -> None:
        """Go on from where it stands, ``speed`` times as fast as the world's clock."""
        with self._lock:
            self._since, self._speed = time.monotonic(), speed

    def kept_up(self, to_ms: int) -> None:
        """All that is due up to this time has happened."""
        with self._lock:
            self._until_ms = max(self._until_ms or 0, to_ms + int(LEAD_SECS * 1000 * self._speed))

    def now_ms(self) -> int:
        """The simulated time."""
        with self._lock:
            if self._speed <= 0:
                return self._at_ms
            real = time.monotonic()
            shown = self._at_ms + int((real - self._since) * 1000 * self._speed)
            if self._until_ms is not None and shown > self._until_ms:
                shown = max(self._at_ms, self._until_ms)
                self._at_ms, self._since = shown, real
            return shown

    def wait_secs(self, until_ms: int) -> float:
        """Real seconds until it shows ``until_ms``."""
        left_ms = until_ms - self.now_ms()
        if left_ms <= 0:
            return 0.0
        return left_ms / 1000 / self._speed if self._speed > 0 else _LOOK_AGAIN_SECS

"""What does its work in a thread of its own until it is told to stop."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


class Background(ABC):
    """A thread. Parameters: its name; for how many seconds ``stop`` waits for its end.

    ``_run`` is what it does: until ``self._stop`` is set, which it also waits on between two looks.
    """

    def __init__(self, name: str, stop_secs: float = 5.0) -> None:
        self._stop = threading.Event()
        self._stop_secs = stop_secs
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(self._stop_secs)

    @abstractmethod
    def _run(self) -> None:
        """The thread's work."""

"""Writes what the store has decided to Kafka, in the order of deciding, whoever decided it.

One console at a time publishes: the transaction that reads the waiting rows holds a lock until their records are
acknowledged and the rows are gone. So the last record of a key in the compacted topic is the last decision.
"""

from __future__ import annotations

import threading
from concurrent.futures import TimeoutError as NotInTime

import structlog

from storage import publication, shared
from storage.errors import StoreError
from storage.postgres import PgLink, PgStore, lock_keys
from streams.kafka.office.held import Held
from streams.kafka.office.post import NotWritten, Post

LEFT_OVER_MS = 2_000
"""An admission that is not written after so long is written by whoever publishes: its gate may be gone."""
_LOCK = "tripline: publish"
_LOOK_SECS, _SENT_SECS, _TOGETHER = 1.0, 5.0, 500
_log = structlog.get_logger("tripline.publisher")


class Publisher:
    """The thread. ``wake`` it after each commit that decided something; it looks for others' once a second."""

    def __init__(self, store: PgStore, post: Post) -> None:
        self._held = Held(store)
        self._post = post
        self._wake = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="tripline-publisher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to publish."""
        self._wake.set()

    def stop(self) -> None:
        """Publish what waits, if that can be done now, and end."""
        self._stop = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_SENT_SECS)

    def _run(self) -> None:
        while not self._stop:
            self._wake.wait(_LOOK_SECS)
            self._wake.clear()
            try:
                while not self._post.trouble and self._held.run(self._publish) == _TOGETHER:
                    pass
            except (StoreError, NotWritten, NotInTime) as problem:
                _log.warning("not_published_yet", problem=str(problem) or "not acknowledged in time")
                self._wake.wait(_LOOK_SECS)
            except Exception:  # the thread must outlive whatever happens
                _log.exception("publisher_failed")
                self._wake.wait(_LOOK_SECS)
        self._held.close()

    def _publish(self, link: PgLink) -> int:
        link.execute("BEGIN IMMEDIATE")
        lock_keys(link, (_LOCK,))
        waiting = publication.decided(link, _TOGETHER)
        left = publication.admitted_before(link, shared.now_ms(link) - LEFT_OVER_MS, _TOGETHER)
        if waiting or left:
            self._post.send([*waiting, *left]).result(_SENT_SECS)
            publication.done(link, [one.seq for one in (*waiting, *left)])
        link.execute("COMMIT")
        return max(len(waiting), len(left))

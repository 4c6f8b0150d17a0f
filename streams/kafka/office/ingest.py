"""Events of HTTP producers to the input topics: answered when all in-sync copies have them."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from msgspec import Struct

from events.codec import encode, time_ms
from events.times import format_ms
from events.types import MAIN_ENGINE, DeadLetter, DeadLetterEvent, Event, tenant_of
from governance.settings import Settings
from streams.envelopes import envelope, make_key
from streams.kafka.office.post import Post
from streams.kafka.partition import partition_of, record_key
from streams.kafka.spec import DEAD_LETTERS
from streams.routing import topics_of
from streams.standalone.types import ACCEPTED, AHEAD_MS, Busy, ItemResult, OriginOf, no_origin, too_far_ahead

MAX_ON_THE_WAY = 20_000
"""Records; beyond that a producer should wait."""


class Outgoing(Struct, frozen=True, gc=False):
    """A record to write."""

    topic: str
    key: str
    partition: int
    body: bytes


class Ingest:
    """Takes events. Parameters: settings; a producer of its own, so that the gate's admissions wait for nobody."""

    def __init__(self, settings: Settings, post: Post) -> None:
        self._settings = settings
        self._post = post

    @property
    def queue(self) -> int:
        """Records on their way."""
        return self._post.waiting

    def oldest_secs(self) -> float:
        """How long the oldest of them has waited."""
        return self._post.oldest_secs()

    def take(
        self, events: Sequence[tuple[bytes, Event]], origin_of: OriginOf | None = no_origin
    ) -> Future[list[ItemResult]]:
        """Write events; the answers, one each, come when all are acknowledged. Raises Busy.

        Duplicates are dropped by the workers, so they are answered as accepted. ``origin_of`` goes into the dead
        letter of an event that is refused; None: it gets none.
        """
        if self._post.trouble:
            raise Busy(f"the brokers can't be written to: {self._post.trouble}", 1.0)
        if self._post.waiting > MAX_ON_THE_WAY:
            raise Busy(f"{self._post.waiting} records wait to be written", 0.25)
        now_ms = _now_ms()
        results: list[ItemResult] = []
        letters: list[Outgoing] = []
        for index, (raw, event) in enumerate(events):
            effect_ms = time_ms(event)
            if effect_ms > now_ms + AHEAD_MS:
                results.append(too_far_ahead(effect_ms, now_ms))
                if origin_of is not None:
                    letters.append(self._refused(raw, event, results[-1], origin_of(index)))
                continue
            results.append(ACCEPTED)
            body = raw or encode(event)
            for topic in topics_of(event):
                letters.append(self._record(topic, record_key(topic, event), body))
        return _after(self._post.send(letters), results)

    def dead_letter(
        self, raw: bytes, reason: str, message: str, origin: dict[str, Any], agent_id: str | None, tenant: str
    ) -> Future[int]:
        """Keep what could not be read, in its topic; the number is 0: the sink that stores it gives it one."""
        return _after(self._post.send([self._dead(raw, reason, message, origin, agent_id, tenant)]), 0)

    def _refused(self, raw: bytes, event: Event, result: ItemResult, origin: dict[str, Any]) -> Outgoing:
        agent_id = getattr(event.data, "agent_id", None)  # type: ignore[attr-defined]
        return self._dead(raw or encode(event), result.reason, result.message, origin, agent_id, tenant_of(event))

    def _dead(
        self,
        raw: bytes,
        reason: str,
        message: str,
        origin: dict[str, Any],
        agent_id: str | None,
        tenant: str = "default",
    ) -> Outgoing:
        now_ms, key = _now_ms(), make_key(tenant, "console")
        data = DeadLetter(
            reason=reason, message=message, origin=origin, raw=base64.b64encode(raw).decode(), at=format_ms(now_ms),
            agent_id=agent_id,
        )  # fmt: skip
        letter = envelope(DeadLetterEvent, MAIN_ENGINE, secrets.token_hex(16), now_ms, key, data)
        return self._record(DEAD_LETTERS, key, encode(letter))

    def _record(self, topic: str, key: str, body: bytes) -> Outgoing:
        return Outgoing(topic, key, partition_of(key, self._settings.kafka.partitions), body)


def _after(sent: Future[None], result: Any) -> Future[Any]:
    """A future that has a result when the records are acknowledged."""
    told: Future[Any] = Future()

    def done(_: Future[None]) -> None:
        problem = sent.exception()
        if not told.set_running_or_notify_cancel():
            return
        if problem is None:
            told.set_result(result)
        else:
            told.set_exception(Busy(f"not known to be written, send again: {problem}", 1.0))

    sent.add_done_callback(done)
    return told


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

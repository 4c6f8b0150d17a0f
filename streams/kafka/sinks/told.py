"""What the stages said, and what could not be read, as rows: risks, deals' names, alerts, lists, dead letters.

A worker that was killed says again what it had said, under the same ids: every write here takes that. Deals are written
in the order of their keys, because two topics, which two consoles may read, write the same rows.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from events.times import HOUR_MS, BadTime, parse_ms
from events.types import AlertEvent, DeadLetterEvent, Event, RiskEvent, ScoreEvent, tenant_of
from governance.settings import Settings
from scoring.alerts import RankedEvent
from storage import control as control_store
from storage import projections
from storage.link import Link
from storage.projections import Letter
from streams.envelopes import make_key
from streams.kafka.sinks.records import News, Taken
from streams.kafka.spec import ALERTS, DEAD_LETTERS, RISK
from streams.routing import PORTFOLIO

_SHOWN_MS = "SELECT max(at_ms) FROM top WHERE key = ?"
E = TypeVar("E", bound=Event)


class Kept:
    """A model that keeps its rows."""

    def clean(self, link: Link) -> bool:
        """There is nothing to drop."""
        return False


class Risks(Kept):
    """The model of deal.risk: each deal's newest risk, and its history."""

    topic = RISK

    def apply(self, link: Link, taken: Sequence[Taken], news: News) -> list[Taken]:
        """Write these risks."""
        found, others = _split(taken, RiskEvent)
        risks = [
            (event.id, make_key(tenant_of(event), event.data.deal_id), parse_ms(event.time), event)
            for _, event in found
        ]
        projections.store_risks(link, sorted(risks, key=lambda risk: risk[1]))
        news.about_deals(key for _, key, _, _ in risks)
        return others


class Names(Kept):
    """The model of portfolio: what deals are called and worth."""

    topic = PORTFOLIO

    def apply(self, link: Link, taken: Sequence[Taken], news: News) -> list[Taken]:
        """Write these names. What can't be read is the workers' to report."""
        found, _ = _split(taken, ScoreEvent)
        named = [(tenant_of(event), parse_ms(event.time), event.data) for _, event in found]
        projections.store_names(link, sorted(named, key=lambda name: make_key(name[0], name[2].deal_id)))
        news.about_deals(make_key(tenant, score.deal_id) for tenant, _, score in named)
        return []


class Alerts(Kept):
    """The model of alerts: alerts, which people are told of, and managers' lists."""

    topic = ALERTS

    def __init__(self, settings: Settings, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._stale_ms = settings.engine.stale_request_hours * HOUR_MS
        self._now_ms = now_ms

    def apply(self, link: Link, taken: Sequence[Taken], news: News) -> list[Taken]:
        """Write these alerts and lists."""
        others = []
        for one in taken:
            if isinstance(one.event, AlertEvent):
                self._alert(link, one.event, news)
            elif isinstance(one.event, RankedEvent):
                self._list(link, one.event, news)
            else:
                others.append(one)
        return others

    def _alert(self, link: Link, event: AlertEvent, news: News) -> None:
        key, at_ms, now_ms = make_key(tenant_of(event), event.data.manager_id), parse_ms(event.time), self._now_ms()
        if projections.store_alert(link, event.id, key, event):
            news.counts["alert", event.data.kind] += 1
            news.kinds.add("alert")
            if now_ms - at_ms <= self._stale_ms:
                control_store.put(link, event.id, "notification", key, at_ms, now_ms, event)

    def _list(self, link: Link, event: RankedEvent, news: News) -> None:
        key, at_ms = make_key(tenant_of(event), event.data.manager_id), parse_ms(event.time)
        (shown_ms,) = link.execute(_SHOWN_MS, (key,)).fetchone()
        if shown_ms is None or shown_ms <= at_ms:  # an older one comes again after a crash
            projections.store_top(link, key, at_ms, event.data.rows, event.data.close_out)
            news.kinds.add("top")


class Letters(Kept):
    """The model of dead.letters."""

    topic = DEAD_LETTERS

    def apply(self, link: Link, taken: Sequence[Taken], news: News) -> list[Taken]:
        """Keep these letters, each once."""
        found, others = _split(taken, DeadLetterEvent)
        for one, event in found:
            data = event.data
            try:
                raw, at_ms = base64.b64decode(data.raw, validate=True), parse_ms(data.at)
            except (binascii.Error, ValueError, BadTime):
                others.append(one)
                continue
            letter = Letter(
                at_ms=at_ms,
                reason=data.reason,
                message=data.message,
                origin=data.origin,
                raw=raw,
                tenant=tenant_of(event),
                agent_id=data.agent_id,
                letter_id=event.id,
            )
            if projections.store_dead_letter(link, letter) is not None:
                news.counts["dead_letter", data.reason] += 1
                news.kinds.add("dead_letter")
        return others


def _split(taken: Sequence[Taken], kind: type[E]) -> tuple[list[tuple[Taken, E]], list[Taken]]:
    """Events of a kind with their records, and the other records."""
    found: list[tuple[Taken, E]] = []
    others: list[Taken] = []
    for one in taken:
        event = one.event
        if isinstance(event, kind):
            found.append((one, event))
        else:
            others.append(one)
    return found, others

"""Findings to the authority: what the workers ask for is decided here, in transactions of the store.

``agent.findings`` also carries releases that a worker hands on, behind everything that it found before them. Records
may come twice, and to two consoles: a finding counts once by its id, a release by its epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from events.codec import BadEvent, BadReason, decode, encode
from events.times import parse_ms
from events.types import FindingEvent, ReleaseEvent, tenant_of
from governance.settings import Settings
from storage import engines
from storage.errors import StoreRefused
from storage.postgres import PgLink, PgStore
from streams.envelopes import dead_letter, make_key
from streams.kafka.office.held import Held
from streams.kafka.office.round import OfficeRound
from streams.kafka.spec import DEAD_LETTERS, FINDINGS
from streams.kafka.worker.lane import ENGINE_HEADER
from streams.standalone.types import Changes


class Findings:
    """Takes records of ``agent.findings``. ``decided`` hears what each transaction changed, after its commit."""

    def __init__(self, settings: Settings, store: PgStore, decided: Callable[[Changes], None]) -> None:
        self._settings = settings
        self._held = Held(store)
        self._decided = decided

    def handle(self, records: Sequence[Any]) -> None:
        """Decide on what these records ask for; returns when that is durable. Raises StoreError."""
        try:
            self._decide(records)
        except StoreRefused as problem:
            if len(records) > 1:
                for record in records:
                    self.handle([record])
                return
            self._decide(records, BadEvent(BadReason.BAD_VALUE, f"the store does not take it: {problem}"))

    def _decide(self, records: Sequence[Any], refused: BadEvent | None = None) -> None:
        events = [refused or _read(record) for record in records]
        self._decided(self._held.run(lambda link: self._round(link, records, events)).changes())

    def close(self) -> None:
        """Give the connection back."""
        self._held.close()

    def _round(self, link: PgLink, records: Sequence[Any], events: Sequence[Any]) -> OfficeRound:
        keys = {_key_of(event) for event in events if not isinstance(event, BadEvent)}
        round_ = OfficeRound(link, self._settings)
        round_.begin(keys)
        obeyed = engines.engines(link).obeyed
        sources = {f"/tripline/{engine}" for engine in obeyed}
        echoes = {(ENGINE_HEADER, engine.encode()) for engine in obeyed}
        for record, event in zip(records, events, strict=True):
            if isinstance(event, BadEvent):
                _bury(round_, record, event)
            elif isinstance(event, FindingEvent):
                is_obeyed = event.source in sources
                at_ms = parse_ms(event.data.at)
                round_.take_finding(_key_of(event), at_ms, record.offset, event, is_obeyed=is_obeyed)
            elif not echoes.isdisjoint(record.headers):
                round_.confirm(_key_of(event), event.data.epoch)
        round_.commit()
        return round_


def _read(record: Any) -> Any:
    try:
        event = decode(record.value or b"")
        if isinstance(event, FindingEvent):
            parse_ms(event.data.at)
    except BadEvent as problem:
        return problem
    except ValueError as problem:
        return BadEvent(BadReason.BAD_TIME, f"data.at: {problem}", "data.at")
    if isinstance(event, FindingEvent | ReleaseEvent):
        return event
    name = event.__struct_config__.tag
    return BadEvent(BadReason.TYPE_NOT_ALLOWED, f"type: {name} does not belong into {FINDINGS}", "type")


def _key_of(event: FindingEvent | ReleaseEvent) -> str:
    return make_key(tenant_of(event), event.data.agent_id)


def _bury(round_: OfficeRound, record: Any, problem: BadEvent) -> None:
    """What can't be read goes to the dead letters with its place and bytes; the same record gives the same letter."""
    key = make_key("default", FINDINGS)
    origin = {"topic": FINDINGS, "partition": record.partition, "offset": record.offset}
    letter_id = f"{record.topic}:{record.partition}:{record.offset}"
    letter = dead_letter(round_.engine_id, letter_id, record.timestamp, key, record.value or b"", problem, origin)
    round_.publish("letter", DEAD_LETTERS, key, letter.id, encode(letter))
    round_.count("dead_letter", str(problem.reason))

"""Making the writer's memory from the store: newest snapshots, then the log from where they end.

Every transaction of the writer holds records together with everything that came of them, so all that the log holds
is judged and its outputs are stored. What is read again here only brings the states up to date: its outputs are
dropped, nobody is told twice, and nothing is asked of the authority again.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping

import msgspec
import structlog

from events.codec import BadEvent, Limits, decode
from events.types import LogEvent
from governance.settings import Settings
from storage import control as control_store
from storage import gate as gate_store
from storage import log, snapshots
from storage.errors import StoreMismatch
from storage.store import Store, new_id
from streams.records import Entry, Snapshot, Stage
from streams.routing import ACTIONS, CRM, INPUT_TOPICS
from streams.standalone.core import Core, Lane
from streams.standalone.recent import RecentEvents

MakeStages = Callable[[Settings, str, Mapping[str, str]], Mapping[str, Stage]]
"""Makes the stage of each input topic; arguments: settings, engine id, topic ids."""
_BATCH = 2_000
_ANY_SIZE = Limits(max_event_bytes=1 << 40)
_log = structlog.get_logger("tripline.recovery")


def open_core(store: Store, settings: Settings, make_stages: MakeStages, clock: Callable[[], int]) -> Core:
    """Everything the writer needs, as of the last commit. Raises StoreMismatch when the store is inconsistent."""
    link = store.connect()
    try:
        return _open(link, settings, make_stages, clock)
    except BaseException:
        link.close()
        raise


def _open(link: sqlite3.Connection, settings: Settings, make_stages: MakeStages, clock: Callable[[], int]) -> Core:
    gate_store.file_all(link)
    engine_id = _identity(link, "engine_id", lambda: "main")
    topic_ids = {topic: _identity(link, f"topic_id:{topic}", new_id) for topic in INPUT_TOPICS}
    stages = make_stages(settings, engine_id, topic_ids)
    lanes = {topic: _lane(link, topic, topic_ids[topic], stages[topic]) for topic in INPUT_TOPICS}
    recent = RecentEvents()
    recent.load(link, (CRM, ACTIONS))
    control = {row.key: row for row, _ in control_store.load(link)}
    return Core(
        settings=settings, engine_id=engine_id, link=link, lanes=lanes, control=control, recent=recent, clock=clock
    )


def _identity(link: sqlite3.Connection, name: str, make: Callable[[], str]) -> str:
    link.execute("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, make()))
    return str(link.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])


def _lane(link: sqlite3.Connection, topic: str, topic_id: str, stage: Stage) -> Lane:
    lane = Lane(topic, topic_id, stage)
    start, end = log.bounds(link, topic)
    kept = [Snapshot(k.key, k.next_offset, k.blob) for k in snapshots.load(link, stage.name, topic_id)]
    resume = stage.restore(kept) if kept else 0
    if resume > end:
        raise StoreMismatch(
            f"the states of stage {stage.name} reach offset {resume} of {topic}, the log only {end}: it lost its "
            "end. Restore the whole store from one backup."
        )
    if resume < start:
        _log.warning("log_starts_after_snapshots", topic=topic, start=start, resume=resume)
        resume = start
    _catch_up(link, lane, resume)
    lane.next_offset = end
    lane.resume_offset = resume
    lane.last_at_ms = log.last_at_ms(link, topic)
    return lane


def _catch_up(link: sqlite3.Connection, lane: Lane, resume: int) -> None:
    """Bring the states up to date; what comes of it is stored already."""
    held: list[Entry] = []
    for record in log.read(link, lane.topic, resume):
        held.append((record.offset, record.at_ms, read_logged(lane.topic, record)))
        if len(held) >= _BATCH:
            lane.stage.process(held)
            held = []
    if held:
        lane.stage.process(held)


def read_logged(topic: str, record: log.Record) -> LogEvent:
    """A record of the log as an event, however large it is: its size was checked when it was taken."""
    try:
        event: LogEvent = decode(record.raw, _ANY_SIZE)
    except BadEvent as problem:
        raise StoreMismatch(f"record {record.offset} of {topic} can't be read: {problem.message}") from problem
    return event


def settings_hash(settings: Settings) -> str:
    """The hash of everything in the settings that decides: agents, detectors, gate, deals, engine."""
    deciding = (settings.agents, settings.detectors, settings.gate, settings.deals, settings.engine)
    return hashlib.sha256(msgspec.json.encode(deciding, order="deterministic")).hexdigest()[:32]

"""Puts records into their models, each once: a partition's position is written in the same transaction.

Two consoles may both think that a partition is theirs, for as long as it takes the group to notice. Whoever comes
second waits for the first one's transaction, sees the new position, and leaves out what is below it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import structlog

from events.codec import BadEvent, BadReason
from storage import projections
from storage.errors import StoreError, StoreMismatch, StoreRefused
from storage.link import Link
from storage.postgres import PgLink, PgStore, tell
from storage.postgres.link import lock_number
from storage.projections import Letter
from streams.kafka.sinks.records import Model, News, OnChanges, Taken, alien
from streams.routing import INPUT_TOPICS

T = TypeVar("T")
Place = tuple[str, int]
"""A topic, without its prefix, and a partition."""
_KNOWN = "SELECT topic_id, next_offset FROM watermark WHERE topic = ? AND partition = ?"
_BEGIN = (
    "INSERT INTO watermark (topic, partition, topic_id, next_offset, resume_offset, at_ms) VALUES (?, ?, ?, 0, 0, 0) "
    "ON CONFLICT (topic, partition) DO NOTHING"
)
_LOCKED = "SELECT next_offset FROM watermark WHERE topic = ? AND partition = ? FOR UPDATE"
_MOVE = "UPDATE watermark SET next_offset = ?, resume_offset = ?, at_ms = ? WHERE topic = ? AND partition = ?"
_SKIP = "UPDATE watermark SET next_offset = ?, resume_offset = ? WHERE topic = ? AND partition = ? AND next_offset < ?"
_TRY_LOCK, _CLEANING = "SELECT pg_try_advisory_xact_lock(?)", "tripline: drop old rows"
_log = structlog.get_logger("tripline.sinks")


class Apart(Exception):
    """What is in hand does not join what the store holds: records have to be read again from where it ends."""


class Filing:
    """The models of some topics, and the connection to write them with. For one thread.

    ``origin`` is whom its news for other consoles come from. ``written`` says up to which offset each partition's
    records are in the store, as far as this console knows.
    """

    def __init__(self, store: PgStore, models: Collection[Model], on_changes: OnChanges, origin: str = "") -> None:
        self._store = store
        self._origin = origin
        self._models = {model.topic: model for model in models}
        self._on_changes = on_changes
        self._link: PgLink | None = None
        self.written: dict[Place, int] = {}

    def close(self) -> None:
        """Give the connection back."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def position(self, place: Place, topic_id: str, begin: int = 0) -> int:
        """Where to read a partition from, whose log now begins at an offset: what is below that can't be read any more.

        Raises StoreMismatch when the store has read another topic of that name.
        """

        def find(link: Link) -> tuple[str, int]:
            link.execute(_BEGIN, (*place, topic_id))
            known, position = link.execute(_KNOWN, place).fetchone()
            if known == topic_id and position < begin:
                link.execute(_SKIP, (begin, begin, *place, begin))
            return known, position

        known, position = self._run(find)
        if known != topic_id:
            raise StoreMismatch(
                f"{place[0]} was made anew: its id is {topic_id}, the store has read {known}; start with an empty "
                f"database, or take the rows of {place[0]} out of the table watermark, to keep what was read"
            )
        if 0 < position < begin:
            _log.warning("records_dropped_unread", topic=place[0], partition=place[1], since=position, up_to=begin)
        self.written[place] = max(position, begin)
        return self.written[place]

    def file(self, taken: Sequence[Taken], since: Mapping[Place, int]) -> None:
        """Store records, those of a partition in their order; returns when that is durable.

        ``since``: the offset from which on these are all records of their partition. One that the store or a model does
        not take becomes a dead letter, and the others go on. Raises StoreError, Apart; then some of the records may be
        stored and others not.
        """
        by_topic: dict[str, list[Taken]] = defaultdict(list)
        for one in taken:
            by_topic[one.topic].append(one)
        for mine in by_topic.values():
            self._file(mine, since)

    def clean(self) -> bool:
        """Have the models drop what is too old, if no other console is at it; True when there may be more."""

        def drop(link: Link) -> bool:
            link.execute("BEGIN IMMEDIATE")
            is_ours = link.execute(_TRY_LOCK, (lock_number(_CLEANING),)).fetchone()[0]
            has_more = is_ours and any(model.clean(link) for model in self._models.values())
            link.execute("COMMIT")
            return has_more

        return self._run(drop)

    # --- inside -------------------------------------------------------------------------------------------------

    def _file(self, taken: Sequence[Taken], since: Mapping[Place, int]) -> None:
        """Store records of one topic."""
        try:
            changes = self._run(lambda link: self._transact(link, taken, since)).changes()
        except (StoreRefused, ValueError, TypeError, LookupError) as problem:
            if len(taken) > 1:
                middle = len(taken) // 2
                self._file(taken[:middle], since)
                self._file(taken[middle:], since)
                return
            _log.warning("record_not_stored", topic=taken[0].topic, place=taken[0].place, problem=repr(problem))
            bad = BadEvent(BadReason.BAD_VALUE, f"it can't be stored: {problem}")
            changes = self._run(lambda link: self._transact(link, taken, since, bad)).changes()
        self._on_changes(changes)

    def _transact(
        self, link: Link, taken: Sequence[Taken], since: Mapping[Place, int], bad: BadEvent | None = None
    ) -> News:
        """One transaction; ``bad``: what is wrong with all of these records."""
        news, topic = News(), taken[0].topic
        by_partition: dict[int, list[Taken]] = defaultdict(list)
        for one in taken:
            by_partition[one.partition].append(one)
        new: list[Taken] = []
        moved: dict[Place, int] = {}
        link.execute("BEGIN IMMEDIATE")
        for partition, mine in sorted(by_partition.items()):
            place = (topic, partition)
            new += self._claim(link, place, mine, since[place])
            moved[place] = max(self.written[place], mine[-1].offset + 1)
        if bad is not None:
            _bury(link, new, bad, news)
        elif new:
            self._apply(link, topic, new, news)
        tell(link, news.told(self._origin))
        link.execute("COMMIT")
        self.written |= moved
        return news

    def _claim(self, link: Link, place: Place, taken: list[Taken], since: int) -> list[Taken]:
        """Take a partition until the end of the transaction, and move on; returns the records that are not stored.

        Nothing may lie between what is stored and what is to be: the position would pass over it for good.
        """
        row = link.execute(_LOCKED, place).fetchone()
        held = -1 if row is None else row[0]
        if held < self.written[place]:
            raise Apart(f"{place[0]}, partition {place[1]}: {self.written[place]} records were stored, {held} are")
        if held < since:
            raise Apart(f"{place[0]}, partition {place[1]}: {held} records are stored, the next in hand is {since}")
        new = [one for one in taken if one.offset >= held]
        if new:
            end = new[-1].offset + 1
            link.execute(_MOVE, (end, end, new[-1].at_ms, *place))
        return new

    def _apply(self, link: Link, topic: str, taken: list[Taken], news: News) -> None:
        readable = [one for one in taken if not isinstance(one.event, BadEvent)]
        aliens = self._models[topic].apply(link, readable, news)
        if topic in INPUT_TOPICS:
            return  # workers report what they can't read
        for one in taken:
            if isinstance(one.event, BadEvent):
                _bury(link, [one], one.event, news)
        for one in aliens:
            _bury(link, [one], alien(one), news)

    def _run(self, function: Callable[[Link], T]) -> T:
        if self._link is None or self._link.is_lost:
            self._link = self._store.connect()
        link = self._link
        try:
            return function(link)
        except BaseException:
            if link.in_transaction:
                _roll_back(link)
            raise


def _roll_back(link: PgLink) -> None:
    try:
        link.execute("ROLLBACK")
    except StoreError:
        link.close()


def _bury(link: Link, taken: Sequence[Taken], problem: BadEvent, news: News) -> None:
    """Keep records as dead letters, with their places and bytes."""
    for one in taken:
        letter = Letter(
            at_ms=one.at_ms,
            reason=str(problem.reason),
            message=problem.message,
            origin={"topic": one.topic, "partition": one.partition, "offset": one.offset},
            raw=one.raw,
            tenant="default",
            agent_id=problem.agent_id,
            letter_id=f"{one.topic}:{one.partition}:{one.offset}",
        )
        if projections.store_dead_letter(link, letter) is not None:
            news.counts["dead_letter", letter.reason] += 1
            news.kinds.add("dead_letter")

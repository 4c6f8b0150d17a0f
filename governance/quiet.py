"""When a manager is told of deals: at once, or by the next digest. By the manager's own clock; pure.

Only what is about deals waits. Stops, approvals and whatever is about an agent are told at any hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from governance.people import person_of
from governance.settings_types import Quiet, Settings

WEEK_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FALLBACK_DIGEST = "08:00"
"""Where days are quiet but no hours are."""
_DAYS_AHEAD = 8


class Hours:
    """The quiet hours and digests of one time zone."""

    __slots__ = ("_days", "_digests", "_is_digest_only", "_since", "_until", "_zone")

    def __init__(self, settings: Quiet, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._since, self._until = (_time(text) if text else None for text in (settings.since, settings.until))
        self._days = frozenset(WEEK_DAYS.index(day) for day in settings.days)
        self._digests = sorted(_time(text) for text in digests_of(settings))
        self._is_digest_only = settings.digest_only

    def ready_ms(self, decided_ms: int, now_ms: int) -> int:
        """When what was decided at ``decided_ms`` may be told, ``now_ms`` at the earliest.

        A digest that was missed (nothing ran) is made up for as soon as hours are not quiet.
        """
        due_ms = max(now_ms, self.next_digest_ms(min(decided_ms, now_ms)) if self._is_digest_only else now_ms)
        return self.next_digest_ms(due_ms) if self.is_quiet(due_ms) else due_ms

    def is_quiet(self, at_ms: int) -> bool:
        """Whether a moment is within the quiet hours or on a quiet day."""
        local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self._zone)
        return local.weekday() in self._days or is_within(local.time(), self._since, self._until)

    def next_digest_ms(self, after_ms: int) -> int:
        """The first digest at or after a moment, on a day that is not quiet."""
        first = datetime.fromtimestamp(after_ms / 1000, UTC).astimezone(self._zone).date()
        return next(at_ms for at_ms in self._digests_from(first) if at_ms >= after_ms)

    def _digests_from(self, day: date) -> Iterator[int]:
        for ahead in range(_DAYS_AHEAD + 1):
            that = day + timedelta(days=ahead)
            if that.weekday() not in self._days:
                for at in self._digests:
                    yield int(datetime.combine(that, at, self._zone).timestamp() * 1000)


class QuietHours:
    """Of all managers: each one's hours by the ``time_zone`` of the person, else by that of the deals."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._quiet = settings.quiet
        self._by_zone: dict[str, Hours] = {}

    def ready_ms(self, manager_id: str, decided_ms: int, now_ms: int) -> int:
        """When this manager may be told of a deal; ``now_ms`` at the earliest."""
        if not (self._quiet.since or self._quiet.days or self._quiet.digest_only):
            return now_ms
        zone = zone_of(self._settings, manager_id)
        hours = self._by_zone.get(zone)
        if hours is None:
            hours = self._by_zone[zone] = Hours(self._quiet, zone)
        return hours.ready_ms(decided_ms, now_ms)


def zone_of(settings: Settings, manager_id: str) -> str:
    """The time zone of a manager, known by key, CRM user or mail address; that of the deals where none is given."""
    person = person_of(settings, manager_id)
    return (person.time_zone if person is not None else "") or settings.deals.time_zone


def is_within(at: time, since: time | None, until: time | None) -> bool:
    """Whether a time of day lies in [since, until), which may go over midnight."""
    if since is None or until is None:
        return False
    return since <= at < until if since < until else at >= since or at < until


def digests_of(settings: Quiet) -> list[str]:
    """When digests go out: as set, else at the end of the quiet hours."""
    return settings.digests or [settings.until or FALLBACK_DIGEST]


def problems(settings: Quiet) -> Iterator[tuple[str, str]]:
    """What can't be in these settings: the key, and what is wrong with it."""
    if bool(settings.since) != bool(settings.until):
        yield "until" if settings.since else "since", "is needed with the other one"
        return
    if settings.since and settings.since == settings.until:
        yield "until", "is since again: nothing would be quiet; name quiet days with days"
    if len(set(settings.days)) == len(WEEK_DAYS):
        yield "days", "makes every day quiet, and nobody would ever be told"
    if settings.since:
        since, until = _time(settings.since), _time(settings.until)
        for each in settings.digests:
            if is_within(_time(each), since, until):
                yield "digests", f"{each} lies within the quiet hours"


def _time(text: str) -> time:
    return time.fromisoformat(text)

"""What a replay's findings would have meant: how often, on whom, what was changed before a stop and what after it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct

from detectors.base import WANTED_RANK
from detectors.discovery import Judged
from detectors.statistics import poisson_upper_bound
from events.catalogue import kind_of
from events.rows import ROW, event_of
from events.times import DAY_MS, MINUTE_MS, format_ms
from events.types import AdmissionEvent
from storage.actions import BIN_MS
from streams.envelopes import make_key, split_key
from streams.replay.dump import records_of
from streams.replay.reader import Reader
from streams.replay.watching import AFTER_BINS, BEFORE_BINS, Trip, Watching

MONTH_MS = 30 * DAY_MS
LEARNING_MS = 7 * DAY_MS
"""An agent's first days: its detectors' statistics may not stop it yet."""
_WINDOW_MIN = 10
"""What counts as wrong before a stop when the finding names no window of its own."""
CONFIDENCE = 0.95


class Wanted(Struct, frozen=True, kw_only=True):
    """Whom and when a report is about; states learn from the whole log all the same. Empty: everybody, everything."""

    since_ms: int | None = None
    until_ms: int | None = None
    agents: frozenset[str] = frozenset()
    detectors: frozenset[str] = frozenset()

    def has(self, at_ms: int, agent_id: str) -> bool:
        """Whether a moment of an agent belongs to it."""
        return (
            (self.since_ms is None or at_ms >= self.since_ms)
            and (self.until_ms is None or at_ms < self.until_ms)
            and (not self.agents or agent_id in self.agents)
        )


class Rate(Struct, frozen=True, kw_only=True):
    """Findings of one detector that ask for one thing.

    ``upper``: the 95 % upper bound of ``per_month`` (Clopper–Pearson for events in time, that is Garwood's exact bound
    of a Poisson mean). ``settled``: the same after each agent's first seven days.
    """

    detector: str
    asks: str
    findings: int
    agents: int
    per_month: float | None
    upper: float | None
    settled: int
    settled_per_month: float | None
    settled_upper: float | None


class Bar(Struct, frozen=True):
    """Five minutes of an agent: attempts up to the stop and after it, what was usual at most, and the count that stops;
    None = no opinion."""

    start_ms: int
    actions: int
    after: int
    usual: float | None
    limit: float | None


class Stop(Struct, frozen=True, kw_only=True):
    """One suspension.

    ``records_before``: distinct records changed in the ``window_min`` minutes that led to it, up to and with the
    operation that tripped it. ``*_after``: what the log has of the agent afterwards, which would have been refused.
    ``worst_10_min``, ``worst_day``: how many distinct records its budgets let it change before a hard limit stops it;
    None = it has none.
    """

    agent_id: str
    tenant: str
    at: str
    at_ms: int
    detector: str
    sentence: str
    observed: float
    expected: float
    limit: float
    unit: str
    would_clear: str
    is_first_week: bool
    window_min: int
    records_before: int
    actions_after: int
    writes_after: int
    records_after: int
    worst_10_min: int | None
    worst_day: int | None
    bars: list[Bar]


class Report(Struct, frozen=True, kw_only=True):
    """The report of a replay; also written as report.json."""

    first: str | None
    last: str | None
    agents: int
    actions: int
    agent_months: float
    settled_months: float
    rates: list[Rate]
    stops: list[Stop]
    wrong_before_p50: int | None
    wrong_before_p99: int | None
    judged: dict[str, Judged]


class _Done(Struct):
    """What a stopped agent did before and after, from the log's second reading."""

    before: set[str]
    after: set[str]
    bins_after: Counter[int]
    writes_after: int = 0


def make_report(
    watched: Watching, paths: Sequence[Path], wanted: Wanted, judged: dict[str, Judged], *, is_dump: bool
) -> Report:
    """The report of a replay that ``watched`` has followed, with detectors as ``judged`` says.

    Reads the log again when somebody was stopped.
    """
    seen = {
        key: mine for key, mine in watched.agents.items() if not wanted.agents or split_key(key)[1] in wanted.agents
    }
    spans = {key: _clipped(mine.first_ms, mine.last_ms, wanted) for key, mine in seen.items()}
    first_ms = {key: mine.first_ms for key, mine in seen.items()}
    trips = [trip for trip in _first_trips(watched.trips, wanted) if trip.key in seen]
    done = _look_again(watched, paths, trips, wanted, is_dump=is_dump) if trips else {}
    months = sum(end - start for start, end in spans.values()) / MONTH_MS
    settled = sum(max(0, end - max(start, first_ms[key] + LEARNING_MS)) for key, (start, end) in spans.items())
    stops = [_stop(trip, done[trip.key], watched) for trip in trips]
    before = sorted(stop.records_before for stop in stops)
    return Report(
        first=format_ms(min(start for start, _ in spans.values())) if spans else None,
        last=format_ms(max(end for _, end in spans.values())) if spans else None,
        agents=len(seen),
        actions=sum(_count(mine.bins, wanted) for mine in seen.values()),
        agent_months=months,
        settled_months=settled / MONTH_MS,
        rates=_rates(watched, wanted, first_ms, months, settled / MONTH_MS),
        stops=stops,
        wrong_before_p50=quantile(before, 0.5),
        wrong_before_p99=quantile(before, 0.99),
        judged=judged,
    )


def upper_bound(count: int, months: float) -> float | None:
    """The 95 % upper confidence bound of a rate, from a count in so many months; None without any time."""
    return poisson_upper_bound(count, CONFIDENCE) / months if months > 0 else None


def quantile(ordered: Sequence[int], share: float) -> int | None:
    """The smallest of the ordered values that at least ``share`` of them do not exceed; None without any."""
    if not ordered:
        return None
    return ordered[max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1)]


# --- parts -----------------------------------------------------------------------------------------------------------


def _clipped(first_ms: int, last_ms: int, wanted: Wanted) -> tuple[int, int]:
    start = first_ms if wanted.since_ms is None else max(first_ms, wanted.since_ms)
    end = last_ms if wanted.until_ms is None else min(last_ms, wanted.until_ms)
    return start, max(start, end)


def _count(bins: Mapping[int, int], wanted: Wanted) -> int:
    since = 0 if wanted.since_ms is None else wanted.since_ms // BIN_MS
    until = 1 << 62 if wanted.until_ms is None else -(-wanted.until_ms // BIN_MS)
    return sum(count for number, count in bins.items() if since <= number < until)


def _first_trips(trips: Iterable[Trip], wanted: Wanted) -> Iterator[Trip]:
    """A replay releases nobody, so an agent is stopped once."""
    for trip in trips:
        is_meant = not wanted.detectors or trip.finding.detector in wanted.detectors
        if is_meant and wanted.has(trip.at_ms, trip.finding.agent_id):
            yield trip


def _rates(
    watched: Watching, wanted: Wanted, first_ms: Mapping[str, int], months: float, settled_months: float
) -> list[Rate]:
    counts: Counter[tuple[str, str]] = Counter()
    settled: Counter[tuple[str, str]] = Counter()
    agents: dict[tuple[str, str], set[str]] = defaultdict(set)
    for at_ms, key, finding in watched.findings:
        if not wanted.has(at_ms, finding.agent_id):
            continue
        if wanted.detectors and finding.detector not in wanted.detectors:
            continue
        asks = finding.detector, f"{finding.mode}: {finding.action_taken}"
        counts[asks] += 1
        agents[asks].add(key)
        settled[asks] += at_ms - first_ms.get(key, at_ms) >= LEARNING_MS
    return [
        Rate(
            detector=asks[0],
            asks=asks[1],
            findings=count,
            agents=len(agents[asks]),
            per_month=count / months if months > 0 else None,
            upper=upper_bound(count, months),
            settled=settled[asks],
            settled_per_month=settled[asks] / settled_months if settled_months > 0 else None,
            settled_upper=upper_bound(settled[asks], settled_months),
        )
        for asks, count in sorted(counts.items(), key=lambda item: (item[0][0], -_rank(item[0][1])))
    ]


def _rank(asks: str) -> int:
    return WANTED_RANK.get(asks.rpartition(" ")[2], 0)


def _window_min(trip: Trip) -> int:
    said = trip.finding.evidence.details.get("window_min")
    return said if isinstance(said, int) and said > 0 else _WINDOW_MIN


def _look_again(
    watched: Watching, paths: Sequence[Path], trips: Sequence[Trip], wanted: Wanted, *, is_dump: bool
) -> dict[str, _Done]:
    """What the stopped agents did around their stops: the log is read once more, for them alone."""
    by_key = {trip.key: trip for trip in trips}
    plain = {split_key(key)[1]: key for key in by_key if split_key(key)[0] == "default"}
    done = {key: _Done(set(), set(), Counter()) for key in by_key}
    for at_ms, row in _records(paths, is_dump=is_dump):
        if type(row) is ROW and row.agent_id not in plain:
            continue
        event = event_of(row)
        if not watched.is_attempt(event):
            continue
        key = make_key("default" if event.tenant is UNSET else event.tenant, event.data.agent_id)
        trip = by_key.get(key)
        if trip is None or (wanted.until_ms is not None and at_ms >= wanted.until_ms):
            continue
        mine, records = done[key], _records_of(event)
        if at_ms > trip.at_ms:
            mine.bins_after[at_ms // BIN_MS] += 1
            mine.writes_after += bool(records)
            mine.after |= records
        elif at_ms >= trip.at_ms - _window_min(trip) * MINUTE_MS:
            mine.before |= records
    return done


def _records(paths: Sequence[Path], *, is_dump: bool) -> Iterator[tuple[int, Any]]:
    if is_dump:
        for path in paths:
            yield from records_of(path)
        return
    for path in paths:
        for items in Reader(path, []).blocks():
            for item in items:
                yield item[0], item[4]


def _records_of(event: Any) -> set[str]:
    """The records that an operation changed, by type and id; those it only counts, by number."""
    data = event.data
    if not kind_of(data.action).is_write or (type(event) is not AdmissionEvent and data.outcome != "ok"):
        return set()
    type_ = "" if data.object is UNSET else data.object
    listed: Collection[str] = () if data.record_ids is UNSET else data.record_ids
    found = {f"{type_}:{one}" for one in listed}
    said = 0 if data.records is UNSET else data.records
    more = max(said, 1) - len(found)
    return found | {f"{event.source}#{event.id}#{number}" for number in range(more)}


def _stop(trip: Trip, done: _Done, watched: Watching) -> Stop:
    tenant, agent_id = split_key(trip.key)
    mine, evidence = watched.agents[trip.key], trip.finding.evidence
    return Stop(
        agent_id=agent_id,
        tenant=tenant,
        at=format_ms(trip.at_ms),
        at_ms=trip.at_ms,
        detector=trip.finding.detector,
        sentence=evidence.summary,
        observed=evidence.observed,
        expected=evidence.expected,
        limit=evidence.limit,
        unit=evidence.unit,
        would_clear=evidence.would_clear,
        is_first_week=trip.at_ms - mine.first_ms < LEARNING_MS,
        window_min=_window_min(trip),
        records_before=len(done.before),
        actions_after=done.bins_after.total(),
        writes_after=done.writes_after,
        records_after=len(done.after),
        worst_10_min=trip.worst_10_min,
        worst_day=trip.worst_day,
        bars=_bars(trip, mine.bins, done.bins_after),
    )


def _bars(trip: Trip, bins: Mapping[int, int], after: Mapping[int, int]) -> list[Bar]:
    """The hours before a stop and the hour after it."""
    expected = {one.start_ms: one for one in trip.expected}
    middle = trip.at_ms // BIN_MS
    found = []
    for number in range(middle - BEFORE_BINS, middle + AFTER_BINS):
        one = expected.get(number * BIN_MS)
        found.append(
            Bar(
                number * BIN_MS,
                bins.get(number, 0) - after.get(number, 0),
                after.get(number, 0),
                None if one is None else one.usual,
                None if one is None else one.limit,
            )
        )
    return found

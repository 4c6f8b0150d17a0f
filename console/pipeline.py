"""Whether the pipeline of a running Tripline goes wrong, by when its deals were first seen and how they ended.

Steps and pushes are in the log alone: ``tripline deals pipeline LOG`` judges them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from governance.settings_types import Deals
from scoring.pipeline import Pipeline, Week
from storage.read.book import BookDeal
from streams.deals import process_of
from streams.pipeline import GAP_WEEKS, LEAST_WEEKS, Alarm, watch

RECENT_WEEKS = 4
SHOWN_WEEKS = 53


class PipelineAnswer(Struct, frozen=True):
    """The weeks of all deals, the alarms of the last four of all and of teams, and how many groups are watched."""

    weeks: list[Week]
    alarms: list[Alarm]
    groups: int
    notes: list[str]


def judge_weeks(book: Sequence[BookDeal], settings: Deals, now_ms: int) -> PipelineAnswer:
    """Judge the store's weeks. The week in which it began is left out: what came in then was there before."""
    weeks = _weeks(book, settings, now_ms)
    groups = len({week.group for week in weeks})
    mine = [week for week in weeks if week.group == "all"]
    notes = ["steps and moved close dates are not in the store: tripline deals pipeline LOG judges them"]
    if len(mine) < LEAST_WEEKS + GAP_WEEKS:
        notes.append(f"{len(mine)} weeks are known; {LEAST_WEEKS + GAP_WEEKS} are needed before one can be judged")
    since = date.fromisoformat(mine[-1].monday) - timedelta(weeks=RECENT_WEEKS - 1) if mine else date.max
    alarms = [alarm for alarm in watch(weeks, groups) if date.fromisoformat(alarm.monday) >= since]
    return PipelineAnswer(mine[-SHOWN_WEEKS:], alarms, groups, notes)


def _weeks(book: Sequence[BookDeal], settings: Deals, now_ms: int) -> list[Week]:
    process = process_of(settings)
    steps: list[tuple[int, int, str, dict[str, Any]]] = []
    for deal in book:
        steps.append((deal.first_ms, 0, deal.deal_id, {"manager_id": (None, deal.manager_id or "")}))
        if not deal.is_open:
            is_won = process.find(deal.stage).is_won
            steps.append((deal.at_ms, 1, deal.deal_id, {"is_closed": (None, True), "is_won": (None, is_won)}))
    folded = Pipeline(process, {}, ZoneInfo(settings.time_zone))
    weeks: list[Week] = []
    for at_ms, _, deal_id, changes in sorted(steps, key=lambda step: step[:3]):
        weeks += folded.take(at_ms, deal_id, changes)
    return [*weeks, *folded.until(now_ms)] if steps else []

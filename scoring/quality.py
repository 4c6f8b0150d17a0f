"""How sound a CRM's data is: what is missing, contradictory or overdue, whose it is, and what to mend first.

A check looks at one deal and says flawed, sound, or *not known*: what a source can't tell (no activities in a CSV
export) is not counted, neither as a flaw nor as sound. A score is 100 less the weighted share of flaws among what was
looked at; it compares days and people on the same checks, not two CRMs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Literal

from msgspec import Struct

from scoring.quality_duplicates import Record, clusters, duplicates
from scoring.stages import Process

EXAMPLES = 5
SILENT_DAYS = 30
LATE_PLACE = 0.5
"""An open deal from here on in its process should have an amount."""
EARLIEST = date(2000, 1, 1)
NOBODY = "unassigned"
DUPLICATE_WEIGHT = 2.0


class QualityDeal(Struct, frozen=True, kw_only=True):
    """What is known of one deal; None (or empty) where nothing is said, ``is_…known`` False where the source can't.

    ``amount`` in whole units; ``has_bad_amount``: negative, or no number. ``closes``: of a closed deal the day it
    closed, else the day it is to close. ``has_bad_date``: a date that is none. ``touched``: the last sign of life.
    """

    deal_id: str
    status: Literal["open", "won", "lost"]
    stage: str = ""
    owner_id: str = ""
    team: str = ""
    account: str = ""
    amount: float | None = None
    has_bad_amount: bool = False
    opened: date | None = None
    closes: date | None = None
    has_bad_date: bool = False
    has_next_step: bool | None = None
    touched: date | None = None
    is_touched_known: bool = False
    regressions: int | None = None
    is_owner_known: bool | None = None
    is_account_known: bool | None = None
    is_product_known: bool | None = None


class Flaw(Struct, frozen=True):
    """One check's count: ``flawed`` of ``seen`` deals, with the ids of some."""

    check: str
    title: str
    flawed: int
    seen: int
    examples: list[str]


class Group(Struct, frozen=True):
    """A team's or an owner's data: score from 0 (all is flawed) to 100."""

    name: str
    deals: int
    score: float
    flaws: list[Flaw]

    @property
    def flawed(self) -> int:
        """How many flaws there are in all."""
        return sum(flaw.flawed for flaw in self.flaws)


class Cluster(Struct, frozen=True):
    """Records that are probably one, with their names, the owner of the first, and how alike the least alike are."""

    ids: list[str]
    names: list[str]
    owner_id: str
    why: str
    alike: float


class Quality(Struct, frozen=True, kw_only=True):
    """All that was found on a day."""

    day: str
    all: Group
    teams: list[Group]
    owners: list[Group]
    accounts: list[Cluster]
    contacts: list[Cluster]
    notes: list[str]


class Check(Struct, frozen=True):
    """``judge``: True flawed, False sound, None nothing to say. ``weight``: how much it counts for the score."""

    name: str
    title: str
    weight: float
    judge: Callable[[QualityDeal, date, Process], bool | None]


def _only(status: str, is_flawed: Callable[[QualityDeal, date], bool]) -> Callable[..., bool | None]:
    return lambda deal, day, _: is_flawed(deal, day) if deal.status == status else None


def _late_without_amount(deal: QualityDeal, _day: date, process: Process) -> bool | None:
    place = process.find(deal.stage).place
    if deal.status != "open" or place is None or place < LATE_PLACE:
        return None
    return deal.amount is None


def _closed_before_opened(deal: QualityDeal, _day: date, _process: Process) -> bool | None:
    if deal.opened is None or deal.closes is None or deal.status == "open":
        return None
    return deal.closes < deal.opened


def _silent(deal: QualityDeal, day: date, _process: Process) -> bool | None:
    if deal.status != "open" or not deal.is_touched_known:
        return None
    return deal.touched is None or deal.touched < day - timedelta(days=SILENT_DAYS)


def _no_next_step(deal: QualityDeal, _day: date, _process: Process) -> bool | None:
    return None if deal.status != "open" or deal.has_next_step is None else not deal.has_next_step


def _impossible(deal: QualityDeal) -> bool:
    return deal.has_bad_date or any(each is not None and each < EARLIEST for each in (deal.opened, deal.closes))


def _unknown_owner(deal: QualityDeal) -> bool | None:
    return None if deal.is_owner_known is None or not deal.owner_id else not deal.is_owner_known


def _unknown_stage(deal: QualityDeal, _day: date, process: Process) -> bool:
    return process.find(deal.stage).place is None


def _of(judge: Callable[[QualityDeal], bool | None]) -> Callable[..., bool | None]:
    return lambda deal, *_: judge(deal)


CHECKS = (
    Check("overdue", "Open, but its close date has passed", 2.0,
          lambda deal, day, _: deal.closes < day if deal.status == "open" and deal.closes else None),
    Check("no_close_date", "Open, without a close date", 1.0, _only("open", lambda deal, _: deal.closes is None)),
    Check("closed_without_date", "Closed, without the day it closed", 1.0,
          _of(lambda deal: None if deal.status == "open" else deal.closes is None)),
    Check("closed_before_opened", "Closed before it was opened", 2.0, _closed_before_opened),
    Check("impossible_date", "A date that can't be (before 2000, or none)", 1.0, _of(_impossible)),
    Check("won_without_amount", "Won, with no amount or zero", 2.0, _only("won", lambda deal, _: not deal.amount)),
    Check("late_without_amount", "In a late stage, without an amount", 1.0, _late_without_amount),
    Check("bad_amount", "An amount that is negative or no number", 1.0, _of(lambda deal: deal.has_bad_amount)),
    Check("regressed", "Went back to an earlier stage", 0.5,
          _of(lambda deal: None if deal.regressions is None else deal.regressions > 0)),
    Check("unknown_stage", "A stage that no process knows", 0.5, _unknown_stage),
    Check("no_account", "Without an account", 1.0, _of(lambda deal: not deal.account)),
    Check("no_owner", "Without an owner", 1.0, _of(lambda deal: not deal.owner_id)),
    Check("unknown_owner", "Its owner is in no list of people", 1.0, _of(_unknown_owner)),
    Check("unknown_account", "Its account is in no list of accounts", 1.0,
          _of(lambda deal: None if deal.is_account_known is None or not deal.account else not deal.is_account_known)),
    Check("unknown_product", "Its product is in no list of products", 1.0,
          _of(lambda deal: None if deal.is_product_known is None else not deal.is_product_known)),
    Check("no_next_step", "Open, without a next step", 1.0, _no_next_step),
    Check("silent", f"Open, without a sign of life for {SILENT_DAYS} days", 1.0, _silent),
)  # fmt: skip
"""In the order in which they are told."""


def assess(
    deals: Sequence[QualityDeal],
    accounts: Sequence[Record],
    contacts: Sequence[Record],
    day: date,
    process: Process,
    notes: Iterable[str] = (),
) -> Quality:
    """Judge all deals, of all, each team and each owner, and find what is there twice."""
    twice = [_clusters(accounts, is_person=False), _clusters(contacts, is_person=True)]
    extra = (len(accounts) + len(contacts), sum(len(each.ids) - 1 for one in twice for each in one))
    told = {deal.deal_id: _judge(deal, day, process) for deal in deals}
    return Quality(
        day=day.isoformat(),
        all=_group("all", deals, told, extra),
        teams=_groups(deals, told, lambda deal: deal.team),
        owners=_groups(deals, told, lambda deal: deal.owner_id),
        accounts=twice[0],
        contacts=twice[1],
        notes=[*notes, *_notes(deals)],
    )


_Told = dict[str, list[bool | None]]


def _judge(deal: QualityDeal, day: date, process: Process) -> list[bool | None]:
    return [check.judge(deal, day, process) for check in CHECKS]


def _groups(deals: Sequence[QualityDeal], told: _Told, key: Callable[[QualityDeal], str]) -> list[Group]:
    """The worst first."""
    found: dict[str, list[QualityDeal]] = {}
    for deal in deals:
        found.setdefault(key(deal) or NOBODY, []).append(deal)
    if set(found) <= {NOBODY}:
        return []
    groups = [_group(name, mine, told) for name, mine in found.items()]
    return sorted(groups, key=lambda group: (group.score, -group.deals, group.name))


def _group(name: str, deals: Sequence[QualityDeal], told: _Told, extra: tuple[int, int] = (0, 0)) -> Group:
    flaws: list[Flaw] = []
    weight, lost = DUPLICATE_WEIGHT * extra[0], DUPLICATE_WEIGHT * extra[1]
    for at, check in enumerate(CHECKS):
        judged = [(deal.deal_id, told[deal.deal_id][at]) for deal in deals]
        bad = sorted(deal_id for deal_id, is_flawed in judged if is_flawed)
        seen = sum(is_flawed is not None for _, is_flawed in judged)
        weight += check.weight * seen
        lost += check.weight * len(bad)
        if bad:
            flaws.append(Flaw(check.name, check.title, len(bad), seen, bad[:EXAMPLES]))
    flaws.sort(key=lambda flaw: -flaw.flawed)
    return Group(name, len(deals), round(100.0 * (1.0 - lost / weight), 1) if weight else 100.0, flaws)


def _clusters(records: Sequence[Record], *, is_person: bool) -> list[Cluster]:
    pairs = duplicates(records, is_person=is_person)
    known = {record.record_id: record for record in records}
    by_id: dict[str, list[int]] = {}
    for at, pair in enumerate(pairs):
        by_id.setdefault(pair.first, []).append(at)
    found = []
    for ids in clusters(pairs):
        mine = [pairs[at] for each in ids for at in by_id.get(each, ())]
        least = min(mine, key=lambda pair: pair.alike)
        names = [known[each].name for each in ids]
        found.append(Cluster(ids, names, known[ids[0]].owner_id, least.why, round(least.alike, 1)))
    return found


def _notes(deals: Sequence[QualityDeal]) -> list[str]:
    if not deals:
        return ["there is no deal to look at"]
    found = []
    if not any(deal.is_touched_known for deal in deals):
        found.append("the source tells of no activities: silence is not judged")
    if all(deal.has_next_step is None for deal in deals):
        found.append("the source tells of no next steps")
    if all(deal.regressions is None for deal in deals):
        found.append("the source tells of no earlier stages: steps back are not judged")
    return found

"""The quality of a running Tripline's deals: judged when somebody looks, and kept once a day for the trend."""

from __future__ import annotations

import csv
import io
from concurrent.futures import Future
from datetime import datetime
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

from msgspec import Struct

from console.text import cell
from governance.settings_types import Deals
from scoring.money import digits
from scoring.quality import Group, Quality, QualityDeal, assess
from scoring.quality_duplicates import Record
from scoring.stages import Process
from storage.quality import QualityPoint, QualityRow, deal_states, trend
from storage.read import Reader
from storage.read.book import BookDeal, book
from streams.deals import process_of
from streams.quality import Facts, facts_of, read_states

MAX_COMPARED = 5_000
"""So many accounts, and as many contacts, are compared while a page waits: about a second."""
COLUMNS = ("what", "of", "check", "flawed", "seen", "examples")


class QualityAnswer(Struct, frozen=True):
    """What was found today, and the score of the days before."""

    quality: Quality
    trend: list[QualityPoint]


class Keeper(Protocol):
    """What writes the trend."""

    def keep_quality(self, rows: list[QualityRow]) -> Future[None]:
        """Store a day's rows."""


def judge(reader: Reader, settings: Deals, now_ms: int) -> QualityAnswer:
    """Judge the store's deals. On Kafka, where the engine's states are elsewhere, what the console knows of them."""
    day = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(settings.time_zone)).date()
    process, states = process_of(settings), read_states(deal_states(reader))
    notes = []
    if states:
        facts = facts_of(states, settings)
    else:
        facts = _from_book(book(reader), process, settings)
        if facts.deals:
            notes.append(
                "the engine's states are not in this store: activities, people and earlier stages are not judged"
            )
    if max(len(facts.accounts), len(facts.contacts)) > MAX_COMPARED:
        notes.append(f"only the first {MAX_COMPARED:,} accounts and contacts are compared; of an export all are")
    accounts, contacts = facts.accounts[:MAX_COMPARED], facts.contacts[:MAX_COMPARED]
    found = assess(facts.deals, accounts, contacts, day, process, notes)
    today = QualityPoint(found.day, found.all.score, found.all.deals, found.all.flawed)
    return QualityAnswer(found, [*(point for point in trend(reader) if point.day < found.day), today])


def keep(keeper: Keeper, tenant: str, found: Quality) -> Future[None]:
    """Keep the day's scores."""
    scopes = [("all", [found.all]), ("team", found.teams), ("owner", found.owners)]
    return keeper.keep_quality(
        [
            QualityRow(tenant, found.day, scope, group.name, group.score, group.deals, group.flawed)
            for scope, groups in scopes
            for group in groups
        ]
    )


def to_csv(found: Quality) -> str:
    """Every finding as CSV that no spreadsheet executes."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)

    def tell(scope: str, group: Group) -> None:
        for flaw in group.flaws:
            writer.writerow(
                (scope, cell(group.name), flaw.check, flaw.flawed, flaw.seen, cell(" ".join(flaw.examples)))
            )

    tell("all", found.all)
    for scope, groups in (("team", found.teams), ("owner", found.owners)):
        for group in groups:
            tell(scope, group)
    for scope, clusters in (("account", found.accounts), ("contact", found.contacts)):
        for one in clusters:
            told = cell(" | ".join(one.names), 4000)
            writer.writerow((scope, cell(one.owner_id), "duplicate", len(one.ids), len(one.ids), told))
    return out.getvalue()


def _from_book(deals: list[BookDeal], process: Process, settings: Deals) -> Facts:
    found = []
    for deal in deals:
        stage = process.find(deal.stage)
        status: Literal["open", "won", "lost"] = "open" if deal.is_open else "won" if stage.is_won else "lost"
        scale = 10 ** digits(deal.currency or settings.currency)
        found.append(
            QualityDeal(
                deal_id=deal.deal_id,
                status=status,
                stage=deal.stage,
                owner_id=deal.owner_id or "",
                team=deal.manager_id or "",
                account=deal.account,
                amount=None if deal.amount_minor is None else deal.amount_minor / scale,
                closes=deal.close_date if deal.is_open else deal.closed_day,
            )
        )
    accounts = sorted({deal.account for deal in deals if deal.account})
    return Facts(found, [Record(record_id=name, name=name) for name in accounts], [])

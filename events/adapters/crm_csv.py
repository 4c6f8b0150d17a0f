"""The Maven "CRM Sales Opportunities" files (pipeline, accounts, products, teams) to CRM changes.

Each opportunity becomes a deal: created when its engagement began, closed on its close date. What is wrong with the
data is reported as findings, and mended only where there is one sure meaning ("GTXPro" is the product "GTX Pro").

The files say nothing of when a value became known, so it is told as late as can be: the account and the sum with the
close (for an open deal the account as of the export's date), because in this data both tell the outcome.
Dates have no hour: a deal begins at 09:00 and closes at 17:00 of its day in ``zone``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import UNSET, Struct

from events import times
from events.adapters.base import DataIssue, IssueKind, Item, bad_row, in_time_order, money, parse_local, shown
from events.adapters.names import Names, check_accounts, check_products, check_teams
from events.adapters.tables import Row
from events.errors import BadReason, Refusal
from events.types import Actor, After, ChangeEvent, CrmChange, Event, FieldChanges

OPEN, CLOSED = ("Prospecting", "Engaging"), ("Won", "Lost")
COLUMNS = (
    "opportunity_id",
    "sales_agent",
    "product",
    "account",
    "deal_stage",
    "engage_date",
    "close_date",
    "close_value",
)


class Options(Struct, frozen=True, kw_only=True):
    """How the files are read. ``as_of`` (YYYY-MM-DD) is the export's date; empty: the latest date in the file."""

    source: str = "/import/maven"
    system: str = "maven"
    zone: str = "UTC"
    currency: str = "USD"
    as_of: str = ""


class Files(Struct, frozen=True, kw_only=True):
    """The rows of each file; only the pipeline is needed."""

    pipeline: Iterable[Row | Refusal]
    accounts: Iterable[Row | Refusal] = ()
    products: Iterable[Row | Refusal] = ()
    teams: Iterable[Row | Refusal] = ()


class Deal(Struct, frozen=True):
    """One row of the pipeline, its names mended and its dates read."""

    deal_id: str
    agent: str
    manager: str
    account: str
    product: str
    price: str
    stage: str
    began: date | None
    closed: date | None
    value: str


def read(files: Files, options: Options | None = None) -> Iterator[Item]:
    """Findings and refusals first, then all changes in time order."""
    options = options or Options()
    accounts, products, teams = Names("account"), Names("product"), Names("sales_agent")
    yield from check_accounts(files.accounts, accounts)
    yield from check_products(files.products, products)
    yield from check_teams(files.teams, teams)
    deals: list[Deal] = []
    reader = _Reader(accounts, products, teams)
    for row in files.pipeline:
        if isinstance(row, Refusal):
            yield row
            continue
        found = reader.read(row)
        yield from reader.take_issues()
        if isinstance(found, Refusal):
            yield found
        else:
            deals.append(found)
    yield from teams.unused("sales_teams.csv")
    yield from accounts.unused("accounts.csv")
    as_of = _as_of(deals, options)
    if as_of is not None:
        yield from in_time_order(each for deal in deals for each in _Story(deal, options, as_of).events())


class _Reader:
    """Rows of the pipeline to deals, with the findings on the way."""

    def __init__(self, accounts: Names, products: Names, teams: Names) -> None:
        self._accounts, self._products, self._teams = accounts, products, teams
        self._issues: list[DataIssue] = []
        self._seen: dict[str, int] = {}

    def take_issues(self) -> list[DataIssue]:
        issues, self._issues = self._issues, []
        return issues

    def read(self, row: Row) -> Deal | Refusal:
        values = row.values
        missing = [name for name in COLUMNS if name not in values]
        if missing:
            message = f"the column {missing[0]!r} is missing; needed are {', '.join(COLUMNS)}"
            return bad_row(row.line, row.text, missing[0], message, BadReason.MISSING_FIELD)
        deal_id = values["opportunity_id"].strip()
        if not deal_id:
            return bad_row(row.line, row.text, "opportunity_id", "the id is empty", BadReason.MISSING_FIELD)
        if deal_id in self._seen:
            message = f"the id {deal_id!r} was in line {self._seen[deal_id]} already"
            return bad_row(row.line, row.text, "opportunity_id", message)
        stage = values["deal_stage"].strip()
        if stage not in (*OPEN, *CLOSED):
            message = f"the stage {shown(stage)!r} is unknown; known are {', '.join((*OPEN, *CLOSED))}"
            return bad_row(row.line, row.text, "deal_stage", message)
        self._seen[deal_id] = row.line
        return self._deal(row, deal_id, stage)

    def _deal(self, row: Row, deal_id: str, stage: str) -> Deal:
        product = self._name(row, "product", self._products)
        agent = self._name(row, "sales_agent", self._teams)
        began, closed = self._dates(row, stage)
        return Deal(
            deal_id=deal_id,
            agent=agent,
            manager=self._teams.told.get(agent, ""),
            account=self._name(row, "account", self._accounts),
            product=product,
            price=self._products.told.get(product, ""),
            stage=stage,
            began=began,
            closed=closed,
            value=self._value(row, stage),
        )

    def _name(self, row: Row, column: str, names: Names) -> str:
        text = row.values[column].strip()
        if not text:
            self._issue(row, column, IssueKind.MISSING_VALUE, f"no {column} is given")
            return ""
        name = names.find(text)
        if name is None:
            near = names.near(text)
            advice = f"; did it mean {near!r}?" if near else ""
            self._issue(row, column, IssueKind.UNKNOWN_NAME, f"{shown(text)!r} is in no file of names{advice}")
            return text
        if name != text:
            self._issue(row, column, IssueKind.NAME_VARIANT, f"{text!r} is written {name!r} elsewhere; read as that")
        return name

    def _dates(self, row: Row, stage: str) -> tuple[date | None, date | None]:
        began, closed = self._date(row, "engage_date"), self._date(row, "close_date")
        if stage in OPEN and closed is not None:
            self._issue(row, "close_date", IssueKind.CONTRADICTION, f"a deal in {stage} has a close date; not used")
            closed = None
        if stage in CLOSED and closed is None:
            self._issue(row, "close_date", IssueKind.MISSING_VALUE, f"a deal {stage} has no date; left open")
        if began is None:
            message = "no date when it began; told with its close, or else as of the export's date"
            self._issue(row, "engage_date", IssueKind.MISSING_VALUE, message)
        if began is not None and closed is not None and closed < began:
            message = f"it closed on {closed}, before it began on {began}; taken as begun on the day of its close"
            self._issue(row, "close_date", IssueKind.DATES_REVERSED, message)
            began = closed
        return began, closed

    def _date(self, row: Row, column: str) -> date | None:
        text = row.values[column].strip()
        if not text:
            return None
        try:
            return date.fromisoformat(text)
        except ValueError:
            self._issue(row, column, IssueKind.BAD_VALUE, f"{shown(text)!r} is no date such as 2017-03-01; not used")
            return None

    def _value(self, row: Row, stage: str) -> str:
        text = row.values["close_value"].strip()
        amount = money(text) if text else None
        if text and amount is None:
            self._issue(row, "close_value", IssueKind.BAD_VALUE, f"{shown(text)!r} is no sum of money; not used")
        is_sold = amount is not None and float(amount) > 0
        if stage == "Won" and not is_sold:
            self._issue(row, "close_value", IssueKind.MISSING_VALUE, "a deal won has no sum")
        if stage != "Won" and is_sold:
            self._issue(row, "close_value", IssueKind.CONTRADICTION, f"a deal in {stage} has a sum; not used")
        return amount or "" if stage == "Won" else ""

    def _issue(self, row: Row, column: str, kind: IssueKind, message: str) -> None:
        value = shown(row.values[column])
        self._issues.append(DataIssue(kind, "sales_pipeline.csv", row.line, column, value, message))


def _as_of(deals: list[Deal], options: Options) -> date | None:
    if options.as_of:
        return date.fromisoformat(options.as_of)
    known = [day for deal in deals for day in (deal.began, deal.closed) if day is not None]
    return max(known, default=None)


class _Story:
    """The changes that make one deal what its row says."""

    def __init__(self, deal: Deal, options: Options, as_of: date) -> None:
        self._deal, self._options, self._as_of = deal, options, as_of
        self._zone = ZoneInfo(options.zone)

    def events(self) -> Iterator[tuple[int, Event]]:
        deal = self._deal
        is_closed = deal.stage in CLOSED and deal.closed is not None
        began = deal.began or deal.closed or self._as_of
        yield self._change("create", began, "09:00", self._created("Engaging" if is_closed else deal.stage))
        if is_closed and deal.closed is not None:
            yield self._change("close", deal.closed, "17:00", self._ended(deal.closed))
        elif deal.account:
            yield self._change("account", self._as_of, "17:00", {"account": After(deal.account)})

    def _created(self, stage: str) -> FieldChanges:
        deal = self._deal
        told = {
            "name": f"{deal.product or 'Deal'} {deal.deal_id}",
            "stage": stage if stage in OPEN else "Engaging",
            "is_closed": False,
            "owner_id": f"user:{deal.agent}" if deal.agent else None,
            "manager_id": f"user:{deal.manager}" if deal.manager else None,
            "amount": deal.price or None,
            "currency": self._options.currency,
            "product": deal.product or None,
        }
        return {name: (None, value) for name, value in told.items() if value is not None}

    def _ended(self, day: date) -> FieldChanges:
        deal = self._deal
        changes: FieldChanges = {
            "stage": ("Engaging", f"Closed {deal.stage}"),
            "is_closed": (False, True),
            "is_won": After(deal.stage == "Won"),
            "close_date": (None, day.isoformat()),
        }
        if deal.account:
            changes["account"] = After(deal.account)
        if deal.value:
            changes["amount"] = (deal.price or None, deal.value)
        return changes

    def _change(self, what: str, day: date, hour: str, changes: FieldChanges) -> tuple[int, Event]:
        deal, options = self._deal, self._options
        at_ms = parse_local(f"{day}T{hour}:00", self._zone)
        op: Literal["create", "update"] = "create" if what == "create" else "update"
        data = CrmChange(
            object="Opportunity",
            record_id=deal.deal_id,
            op=op,
            changes=changes,
            actor=Actor("human", f"user:{deal.agent}") if deal.agent else UNSET,
            deal_id=deal.deal_id,
            owner_id=f"user:{deal.agent}" if deal.agent else UNSET,
            system=options.system,
        )
        event = ChangeEvent(
            specversion="1.0",
            id=f"{deal.deal_id}/{what}",
            source=options.source,
            time=times.format_ms(at_ms),
            subject=f"deal/{deal.deal_id}",
            partitionkey=deal.deal_id,
            datacontenttype="application/json",
            data=data,
        )
        return at_ms, event

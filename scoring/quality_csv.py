"""A CRM's CSV export as deals, accounts, contacts and people to be judged; columns by the names that CRMs give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import lru_cache

from msgspec import Struct

from events.adapters.tables import Row
from events.errors import Refusal
from scoring.money import MAX_MAJOR
from scoring.quality import QualityDeal
from scoring.quality_duplicates import Record
from scoring.stages import Process

FILES: Mapping[str, tuple[str, ...]] = {
    "deals": ("sales_pipeline", "opportunities", "opportunity", "deals", "deal"),
    "accounts": ("accounts", "account", "companies", "company"),
    "contacts": ("contacts", "contact", "people"),
    "owners": ("sales_teams", "users", "owners"),
    "products": ("products", "product"),
}
"""What a file is, by its name without the ending."""

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "deal_id": ("opportunityid", "dealid", "recordid", "id"),
    "owner_id": ("salesagent", "ownerid", "opportunityowner", "dealowner", "owner"),
    "team": ("manager", "team", "regionaloffice"),
    "account": ("account", "accountname", "company", "associatedcompany", "accountid"),
    "stage": ("dealstage", "stage", "stagename"),
    "product": ("product", "productname"),
    "amount": ("closevalue", "amount", "value", "dealamount"),
    "opened": ("engagedate", "created", "createddate", "createdate"),
    "closes": ("closedate",),
    "next_step": ("nextstep",),
    "touched": ("lastactivity", "lastactivitydate"),
    "record_id": ("accountid", "contactid", "recordid", "id"),
    "name": ("account", "accountname", "name", "company", "companyname", "fullname"),
    "first": ("firstname",),
    "last": ("lastname",),
    "email": ("email", "emailaddress"),
    "phone": ("phone", "telephone", "phonenumber", "mobilephone"),
}
"""Columns by their names in small letters, without spaces, hyphens and underscores."""
_WRITTEN = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y/%m/%d")
_SEPARATORS = re.compile(r"[\s_-]+")


class Export(Struct, frozen=True):
    """What the files hold. ``latest``: the latest date of a deal that has one; it stands for the export's day."""

    deals: list[QualityDeal]
    accounts: list[Record]
    contacts: list[Record]
    latest: date | None
    notes: list[str]


class BadExport(ValueError):
    """Files that can't be judged; the message says which, and what is needed."""


def read_export(files: Mapping[str, Iterable[Row | Refusal]], process: Process) -> Export:
    """The files of an export, by kind (``FILES``). Raises BadExport when deals or their columns are missing."""
    notes: list[str] = []
    owners = list(_rows(files.get("owners", ()), "owners", notes))
    accounts = [_record(row, at) for at, row in enumerate(_rows(files.get("accounts", ()), "accounts", notes), 2)]
    lists = _Lists(
        teams={_get(row, "owner_id"): _get(row, "team") for row in owners},
        accounts={record.name for record in accounts} | {record.record_id for record in accounts},
        products={_get(row, "product") for row in _rows(files.get("products", ()), "products", notes)},
    )
    deals: dict[str, QualityDeal] = {}
    twice = 0
    for row in _rows(files.get("deals", ()), "deals", notes):
        if _column(row, "deal_id") is None or _column(row, "stage") is None:
            have = ", ".join(row.values)
            raise BadExport(f"the deals need an id and a stage (such as opportunity_id, deal_stage); there is {have}")
        deal = _deal(row, lists, process)
        twice += deal.deal_id in deals
        deals[deal.deal_id] = deal
    if twice:
        notes.append(f"{twice} deals have an id that was there before: the last row counts")
    days = [deal.opened for deal in deals.values()]
    days += [deal.closes for deal in deals.values() if deal.status != "open"]
    contacts = [_record(row, at) for at, row in enumerate(_rows(files.get("contacts", ()), "contacts", notes), 2)]
    return Export(list(deals.values()), accounts, contacts, max(filter(None, days), default=None), notes)


class _Lists(Struct, frozen=True):
    """Owners with their teams, and the names that there are; empty: no such file."""

    teams: dict[str, str]
    accounts: set[str]
    products: set[str]


def _rows(rows: Iterable[Row | Refusal], kind: str, notes: list[str]) -> Iterable[Row]:
    refused = 0
    for row in rows:
        if isinstance(row, Refusal):
            refused += 1
        else:
            yield row
    if refused:
        notes.append(f"{refused} rows of the {kind} can't be read, and are left out")


def _deal(row: Row, lists: _Lists, process: Process) -> QualityDeal:
    stage = _get(row, "stage")
    found = process.find(stage)
    owner, amount_text = _get(row, "owner_id"), _get(row, "amount")
    amount, account, product = _number(amount_text), _get(row, "account"), _get(row, "product")
    opened_text, closes_text = _get(row, "opened"), _get(row, "closes")
    opened, closes = _date(opened_text), _date(closes_text)
    return QualityDeal(
        deal_id=_get(row, "deal_id"),
        status="won" if found.is_won else "lost" if found.is_lost else "open",
        stage=stage,
        owner_id=owner,
        team=lists.teams.get(owner, "") or (_get(row, "team") if not lists.teams else ""),
        account=account,
        amount=amount,
        has_bad_amount=bool(amount_text) and amount is None,
        opened=opened,
        closes=closes,
        has_bad_date=bool((opened_text and opened is None) or (closes_text and closes is None)),
        has_next_step=bool(_get(row, "next_step")) if _column(row, "next_step") else None,
        touched=_date(_get(row, "touched")),
        is_touched_known=_column(row, "touched") is not None,
        is_owner_known=owner in lists.teams if lists.teams else None,
        is_account_known=account in lists.accounts if lists.accounts else None,
        is_product_known=product in lists.products if lists.products and product else None,
    )


def _record(row: Row, line: int) -> Record:
    full = " ".join(filter(None, (_get(row, "first"), _get(row, "last"))))
    name = full or _get(row, "name")
    account = _get(row, "account") if full or name != _get(row, "account") else ""
    owner = _get(row, "owner_id")
    return Record(
        record_id=_get(row, "record_id") or f"line {line}",
        name=name,
        email=_get(row, "email"),
        phone=_get(row, "phone"),
        account=account,
        owner_id=owner,
    )


def _column(row: Row, field: str) -> str | None:
    """The column that holds a field, by any of its names."""
    return _columns(tuple(row.values)).get(field)


@lru_cache(maxsize=16)
def _columns(header: tuple[str, ...]) -> dict[str, str]:
    names = {_SEPARATORS.sub("", name).casefold(): name for name in header}
    found = {field: next((names[each] for each in known if each in names), "") for field, known in _COLUMNS.items()}
    return {field: name for field, name in found.items() if name}


def _get(row: Row, field: str) -> str:
    column = _column(row, field)
    return row.values[column].strip() if column is not None else ""


def _number(text: str) -> float | None:
    """An amount in whole units; None when it is no sound one."""
    try:
        amount = float(text.replace(",", ""))
    except ValueError:
        return None
    return amount if 0.0 <= amount <= MAX_MAJOR else None


def _date(text: str) -> date | None:
    text = text[:10] if len(text) > 10 and text[4:5] == "-" else text
    for pattern in _WRITTEN:
        try:
            return datetime.strptime(text, pattern).date()
        except ValueError:
            continue
    return None

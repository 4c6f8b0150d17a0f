"""The files of names beside a CRM export (accounts, products, teams): what is known, what is near, what is odd."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from events.adapters.base import DataIssue, IssueKind, money, shown
from events.adapters.tables import Row
from events.errors import Refusal

SPELLINGS = {
    "technolgy": "technology",
    "Philipines": "Philippines",
    "telecomunications": "telecommunications",
    "marketting": "marketing",
    "retial": "retail",
}
"""Misspellings that CRM exports are known for."""


class Names:
    """The known names of one kind, each with what its file tells of it (a price, a manager)."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.told: dict[str, str] = {}
        self._lines: dict[str, int] = {}
        self._plain: dict[str, str] = {}
        self._used: set[str] = set()

    def add(self, name: str, told: str, line: int) -> int | None:
        """Remember a name; returns the line that had it already, or None."""
        before = self._lines.get(name)
        self.told[name] = told
        self._lines.setdefault(name, line)
        self._plain.setdefault(_plain(name), name)
        return before

    def find(self, text: str) -> str | None:
        """The name that a text means, spaces, hyphens and capitals aside; the text itself when no file was given."""
        if not self.told:
            return text
        name = text if text in self.told else self._plain.get(_plain(text))
        if name is not None:
            self._used.add(name)
        return name

    def near(self, text: str) -> str | None:
        """The known name that looks most like it."""
        return next(iter(difflib.get_close_matches(text, self.told, 1)), None)

    def unused(self, file: str) -> Iterator[DataIssue]:
        """A finding for each name that nothing refers to."""
        for name, line in self._lines.items():
            if name not in self._used:
                message = f"{name!r} is in no row of the pipeline"
                yield DataIssue(IssueKind.UNUSED, file, line, self.column, shown(name), message)


def check_products(rows: Iterable[Row | Refusal], names: Names) -> Iterator[Refusal | DataIssue]:
    """Learn product names and list prices."""
    for row, name in _named(rows, names):
        if isinstance(row, Refusal):
            yield row
            continue
        price = row.values.get("sales_price", "")
        amount = money(price)
        if amount is None:
            message = f"{shown(price)!r} is no price; not used"
            yield DataIssue(IssueKind.BAD_VALUE, "products.csv", row.line, "sales_price", shown(price), message)
        yield from _add(names, name, amount or "", row, "products.csv")


def check_teams(rows: Iterable[Row | Refusal], names: Names) -> Iterator[Refusal | DataIssue]:
    """Learn who sells, and for which manager."""
    for row, name in _named(rows, names):
        if isinstance(row, Refusal):
            yield row
            continue
        manager = row.values.get("manager", "").strip()
        if not manager:
            message = f"{name!r} has no manager; nobody gets alerts about these deals"
            yield DataIssue(IssueKind.MISSING_VALUE, "sales_teams.csv", row.line, "manager", "", message)
        yield from _add(names, name, manager, row, "sales_teams.csv")


def check_accounts(rows: Iterable[Row | Refusal], names: Names) -> Iterator[Refusal | DataIssue]:
    """Learn account names; report misspellings and parents that don't exist."""
    parents: list[tuple[Row, str]] = []
    for row, name in _named(rows, names):
        if isinstance(row, Refusal):
            yield row
            continue
        yield from _add(names, name, "", row, "accounts.csv")
        for column, value in row.values.items():
            if value in SPELLINGS:
                message = f"{value!r} is probably {SPELLINGS[value]!r}; kept as it is"
                yield DataIssue(IssueKind.MISSPELLING, "accounts.csv", row.line, column, shown(value), message)
        if row.values.get("subsidiary_of", "").strip():
            parents.append((row, row.values["subsidiary_of"].strip()))
    for row, parent in parents:
        if parent not in names.told:
            message = f"the parent {shown(parent)!r} is no account of this file"
            yield DataIssue(IssueKind.UNKNOWN_NAME, "accounts.csv", row.line, "subsidiary_of", shown(parent), message)


def _named(rows: Iterable[Row | Refusal], names: Names) -> Iterator[tuple[Row | Refusal, str]]:
    """The rows with the name that each is about; rows without one are left out, as they say nothing."""
    for row in rows:
        name = "" if isinstance(row, Refusal) else row.values.get(names.column, "").strip()
        if name or isinstance(row, Refusal):
            yield row, name


def _add(names: Names, name: str, told: str, row: Row, file: str) -> Iterator[DataIssue]:
    before = names.add(name, told, row.line)
    if before is not None:
        message = f"{name!r} was in line {before} already; the later line holds"
        yield DataIssue(IssueKind.DUPLICATE_ID, file, row.line, names.column, shown(name), message)


def _plain(name: str) -> str:
    return "".join(each for each in name.casefold() if each.isalnum())

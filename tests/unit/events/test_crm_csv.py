"""The Maven CRM files: what becomes of a row, and what is said about its mess."""

from __future__ import annotations

from typing import Any

import pytest

from events.adapters.base import DataIssue, IssueKind
from events.adapters.crm_csv import Files, Options, read
from events.adapters.tables import csv_rows
from events.codec import Refusal, decode_input, encode
from events.types import After, ChangeEvent

HEADER = "opportunity_id,sales_agent,product,account,deal_stage,engage_date,close_date,close_value"
ACCOUNTS = "account,sector,subsidiary_of\nCancity,retail,\nHatfan,technolgy,Nobody\n"
PRODUCTS = "product,series,sales_price\nGTX Pro,GTX,4821\nMG Special,MG,55\n"
TEAMS = "sales_agent,manager\nMoses Frase,Dustin Brinkmann\nAnna Snelling,\n"
WON = "W1,Moses Frase,GTX Pro,Cancity,Won,2016-10-20,2017-03-01,4514"
LOST = "L1,Moses Frase,MG Special,Hatfan,Lost,2016-10-20,2016-11-01,0"
OPEN = "O1,Anna Snelling,MG Special,Cancity,Engaging,2016-12-01,,"


def rows(text: str) -> Any:
    return csv_rows(line.encode() for line in text.splitlines(keepends=True))


def imported(*lines: str, options: Options | None = None) -> list[Any]:
    files = Files(
        pipeline=rows("\n".join((HEADER, *lines))), accounts=rows(ACCOUNTS), products=rows(PRODUCTS), teams=rows(TEAMS)
    )
    return list(read(files, options))


def events(*lines: str, options: Options | None = None) -> list[ChangeEvent]:
    return [item for item in imported(*lines, options=options) if isinstance(item, ChangeEvent)]


def issues(*lines: str) -> list[tuple[IssueKind, int, str]]:
    """The findings about the pipeline."""
    found = [item for item in imported(*lines) if isinstance(item, DataIssue)]
    return [(each.kind, each.line, each.column) for each in found if each.file == "sales_pipeline.csv"]


def test_a_won_deal_is_created_at_its_list_price_and_closed_with_its_sum() -> None:
    create, close = events(WON)
    assert (create.time, create.data.op) == ("2016-10-20T09:00:00Z", "create")
    assert create.data.changes == {
        "name": (None, "GTX Pro W1"),
        "stage": (None, "Engaging"),
        "is_closed": (None, False),
        "owner_id": (None, "user:Moses Frase"),
        "manager_id": (None, "user:Dustin Brinkmann"),
        "amount": (None, "4821.00"),
        "currency": (None, "USD"),
        "product": (None, "GTX Pro"),
    }
    assert (close.time, close.data.op) == ("2017-03-01T17:00:00Z", "update")
    assert close.data.changes == {
        "stage": ("Engaging", "Closed Won"),
        "is_closed": (False, True),
        "is_won": After(True),
        "close_date": (None, "2017-03-01"),
        "account": After("Cancity"),
        "amount": ("4821.00", "4514.00"),
    }


def test_a_lost_deal_keeps_its_amount_because_nothing_was_sold_for_zero() -> None:
    close = events(LOST)[1]
    assert "amount" not in close.data.changes  # type: ignore[operator]
    assert close.data.changes["is_won"] == After(False)  # type: ignore[index]


def test_what_would_tell_the_outcome_is_not_told_before_it() -> None:
    for line in (WON, LOST):
        create = events(line)[0]
        assert not {"account", "close_date", "is_won"} & create.data.changes.keys()  # type: ignore[union-attr]


def test_an_open_deal_tells_its_account_as_of_the_latest_date_of_the_file() -> None:
    found = events(WON, OPEN)
    assert [(event.id, event.time) for event in found if event.id.startswith("O1")] == [
        ("O1/create", "2016-12-01T09:00:00Z"),
        ("O1/account", "2017-03-01T17:00:00Z"),
    ]
    later = events(OPEN, options=Options(as_of="2018-01-01", zone="Europe/Amsterdam", currency="EUR"))
    assert [event.time for event in later] == ["2016-12-01T08:00:00Z", "2018-01-01T16:00:00Z"]


def test_a_clean_row_has_no_findings() -> None:
    assert issues(WON, LOST, OPEN) == []


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (WON.replace("GTX Pro", "GTXPro"), (IssueKind.NAME_VARIANT, 2, "product")),
        (WON.replace("GTX Pro", "GTX Plus"), (IssueKind.UNKNOWN_NAME, 2, "product")),
        (WON.replace("Cancity", ""), (IssueKind.MISSING_VALUE, 2, "account")),
        (WON.replace("Cancity", "Nowhere"), (IssueKind.UNKNOWN_NAME, 2, "account")),
        (WON.replace("Moses Frase", "Nobody"), (IssueKind.UNKNOWN_NAME, 2, "sales_agent")),
        (WON.replace("2016-10-20", "2017-10-20"), (IssueKind.DATES_REVERSED, 2, "close_date")),
        (WON.replace("2016-10-20", ""), (IssueKind.MISSING_VALUE, 2, "engage_date")),
        (WON.replace("2016-10-20", "20/10/2016"), (IssueKind.BAD_VALUE, 2, "engage_date")),
        (WON.replace("4514", "-4514"), (IssueKind.BAD_VALUE, 2, "close_value")),
        (WON.replace("4514", "NaN"), (IssueKind.BAD_VALUE, 2, "close_value")),
        (WON.replace("4514", "0"), (IssueKind.MISSING_VALUE, 2, "close_value")),
        (LOST.replace(",0", ",70"), (IssueKind.CONTRADICTION, 2, "close_value")),
        (OPEN.replace("2016-12-01,", "2016-12-01,2017-01-01"), (IssueKind.CONTRADICTION, 2, "close_date")),
        (WON.replace("2017-03-01", ""), (IssueKind.MISSING_VALUE, 2, "close_date")),
    ],
)
def test_mess_is_reported_with_its_place_and_the_row_still_used(line: str, finding: tuple[IssueKind, int, str]) -> None:
    assert finding in issues(line)
    assert events(line)[0].data.op == "create"


def test_a_name_in_another_writing_is_read_as_the_known_one() -> None:
    assert events(WON.replace("GTX Pro", "gtx-pro"))[0].data.changes["product"] == (None, "GTX Pro")  # type: ignore[index]


def test_dates_the_wrong_way_around_do_not_make_a_deal_close_before_it_begins() -> None:
    create, close = events(WON.replace("2016-10-20", "2017-10-20"))
    assert (create.time, close.time) == ("2017-03-01T09:00:00Z", "2017-03-01T17:00:00Z")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (WON.replace("W1", ""), "opportunity_id"),
        (WON.replace("Won", "Winning"), "deal_stage"),
        (WON + ",more", ""),
    ],
)
def test_a_row_of_no_use_is_refused(line: str, field: str) -> None:
    refused = [item for item in imported(LOST, line) if isinstance(item, Refusal)]
    assert [(each.index, each.error.field) for each in refused] == [(3, field)]


def test_the_second_row_of_one_id_is_refused() -> None:
    refused = [item for item in imported(WON, WON) if isinstance(item, Refusal)]
    assert [each.error.message for each in refused] == ["line 3: the id 'W1' was in line 2 already"]


def test_the_other_files_are_looked_at_too() -> None:
    found = [item for item in imported(WON) if isinstance(item, DataIssue)]
    assert {(each.kind, each.file, each.line, each.value) for each in found} == {
        (IssueKind.MISSPELLING, "accounts.csv", 3, "technolgy"),
        (IssueKind.UNKNOWN_NAME, "accounts.csv", 3, "Nobody"),
        (IssueKind.UNUSED, "accounts.csv", 3, "Hatfan"),
        (IssueKind.MISSING_VALUE, "sales_teams.csv", 3, ""),
        (IssueKind.UNUSED, "sales_teams.csv", 3, "Anna Snelling"),
    }


def test_the_pipeline_alone_is_enough() -> None:
    items = list(read(Files(pipeline=rows(f"{HEADER}\n{WON}\n"))))
    assert [type(item) for item in items] == [ChangeEvent, ChangeEvent]


def test_its_events_can_be_sent() -> None:
    for event in events(WON, LOST, OPEN):
        assert decode_input(encode(event)) == event

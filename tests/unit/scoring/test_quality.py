"""The quality of a CRM's data: each check by hand, duplicates that are and aren't, exports with bad rows."""

from __future__ import annotations

import csv
import gzip
from datetime import date
from typing import Any

import pytest

from events.adapters.tables import csv_rows
from scoring import quality_duplicates
from scoring.quality import QualityDeal, assess
from scoring.quality_csv import BadExport, read_export
from scoring.quality_duplicates import Record, duplicates, words
from scoring.stages import Process
from tests.components import CORPORA

DAY = date(2026, 3, 2)
PROCESS = Process()
SOUND: dict[str, Any] = {
    "deal_id": "d", "status": "open", "stage": "Proposal", "owner_id": "o", "team": "t", "account": "a", "amount": 5.0,
    "opened": date(2026, 1, 2), "closes": date(2026, 4, 1), "has_next_step": True, "touched": date(2026, 3, 1),
    "is_touched_known": True, "regressions": 0, "is_owner_known": True, "is_account_known": True,
    "is_product_known": True,
}  # fmt: skip


def flaws(**more: Any) -> set[str]:
    found = assess([QualityDeal(**(SOUND | more))], [], [], DAY, PROCESS)
    return {flaw.check for flaw in found.all.flaws}


def test_a_sound_deal_has_no_flaw_and_the_full_score() -> None:
    found = assess([QualityDeal(**SOUND)], [], [], DAY, PROCESS)
    assert (found.all.flaws, found.all.score) == ([], 100.0)


@pytest.mark.parametrize(
    ("more", "check"),
    [
        ({"closes": date(2026, 3, 1)}, "overdue"),
        ({"closes": None}, "no_close_date"),
        ({"status": "lost", "stage": "Lost", "closes": None}, "closed_without_date"),
        ({"status": "won", "stage": "Won", "closes": date(2026, 1, 1)}, "closed_before_opened"),
        ({"opened": date(1970, 1, 1)}, "impossible_date"),
        ({"has_bad_date": True}, "impossible_date"),
        ({"status": "won", "stage": "Won", "amount": 0.0}, "won_without_amount"),
        ({"amount": None}, "late_without_amount"),
        ({"has_bad_amount": True}, "bad_amount"),
        ({"regressions": 1}, "regressed"),
        ({"stage": "Sparkling"}, "unknown_stage"),
        ({"account": ""}, "no_account"),
        ({"owner_id": ""}, "no_owner"),
        ({"is_owner_known": False}, "unknown_owner"),
        ({"is_account_known": False}, "unknown_account"),
        ({"is_product_known": False}, "unknown_product"),
        ({"has_next_step": False}, "no_next_step"),
        ({"touched": date(2026, 1, 30)}, "silent"),
        ({"touched": None}, "silent"),
    ],
)
def test_each_check_finds_its_flaw_and_no_other(more: dict[str, Any], check: str) -> None:
    assert flaws(**more) == {check}


def test_what_a_source_cannot_tell_is_no_flaw() -> None:
    unknown = dict.fromkeys(
        ("has_next_step", "regressions", "touched", "is_owner_known", "is_account_known", "is_product_known"), None
    )
    assert flaws(**unknown, is_touched_known=False) == set()
    notes = assess([QualityDeal(**(SOUND | unknown | {"is_touched_known": False}))], [], [], DAY, PROCESS).notes
    assert len(notes) == 3


def test_flaws_are_counted_by_team_and_owner_the_worst_first_with_examples() -> None:
    deals = [QualityDeal(**(SOUND | {"deal_id": f"g{at}"})) for at in range(3)]
    deals += [QualityDeal(**(SOUND | {"deal_id": f"b{at}", "owner_id": "bad", "account": ""})) for at in range(9)]
    deals.append(QualityDeal(**(SOUND | {"deal_id": "gone", "owner_id": ""})))
    found = assess(deals, [], [], DAY, PROCESS)
    assert [group.name for group in found.owners] == ["bad", "unassigned", "o"]
    flaw = found.owners[0].flaws[0]
    assert (flaw.check, flaw.flawed, flaw.seen, flaw.examples) == ("no_account", 9, 9, ["b0", "b1", "b2", "b3", "b4"])
    assert found.all.score == round(
        100 - 100 * 10 / (13 * 14.0 - 10), 1
    )  # what has no owner or account is not looked up in a list


def pairs(*names: str, **more: Any) -> list[tuple[str, str]]:
    records = [Record(record_id=str(at), name=name) for at, name in enumerate(names)]
    return [(names[int(pair.first)], names[int(pair.second)]) for pair in duplicates(records, **more)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller & Söhne GmbH", "mueller".replace("ue", "u") + " sohne"), ("Acme Corporation", "ACME Corp."),
        ("GTX Pro", "GTXPro"), ("Betasoloin", "Betasolion"), ("Vanguard Optics Ltd", "Optics Vanguard"),
        ("Northwind Traders", "Nortwind Traders"), ("株式会社トヨタ", "株式会社トヨタ"),
    ],
)  # fmt: skip
def test_names_of_one_account_are_found(one: str, other: str) -> None:
    assert pairs(one, "Something Else", other) == [(one, other)]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Alpha Systems 12", "Alpha Systems 13"), ("Star Foods", "Smart Foods"), ("Acme Foods", "Acme Steel"), ("", ""),
     ("Cancity", "Isdom"), ("Plant 2", "Plant 3")],
)  # fmt: skip
def test_names_of_two_accounts_are_not(one: str, other: str) -> None:
    assert pairs(one, other) == []


def test_two_people_of_one_name_are_one_only_in_one_company_or_with_one_address() -> None:
    people = [
        Record(record_id="1", name="Anna Schmidt", account="Acme"),
        Record(record_id="2", name="Anna Schmidt", account="Isdom"),
        Record(record_id="3", name="Ana Schmidt", account="ACME Inc."),
        Record(record_id="4", name="A. Smith", email="X@y.example"),
        Record(record_id="5", name="Smith, Anton", email="x@Y.example "),
    ]
    found = {(pair.first, pair.second): pair.why for pair in duplicates(people, is_person=True)}
    assert found == {("1", "3"): "names alike, the same account", ("4", "5"): "the same mail address"}


def test_work_grows_with_the_records_not_with_their_square(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    real = quality_duplicates._why
    monkeypatch.setattr(quality_duplicates, "_why", lambda *one: compared.append(1) or real(*one))
    for size in (500, 2_000):
        compared.clear()
        duplicates([Record(record_id=str(at), name=f"Company {at * 7919 % 10_007} Services") for at in range(size)])
        assert len(compared) < 60 * size


def test_words_drop_accents_punctuation_and_legal_forms_but_never_everything() -> None:
    assert words("The Crème-Brûlée Co., Ltd.") == ("creme", "brulee")
    assert words("AG") == ("ag",)
    assert words("🙂") == ()


def export(text: str, **more: str) -> Any:
    files = {"deals": csv_rows([line.encode() + b"\n" for line in text.splitlines()])}
    files |= {name: csv_rows([line.encode() + b"\n" for line in rows.splitlines()]) for name, rows in more.items()}
    return read_export(files, PROCESS)


def test_an_export_with_bad_rows_is_judged_and_says_what_is_wrong() -> None:
    found = export(
        "Opportunity ID,Owner,Stage,Amount,Close Date,Created Date\n"
        "1,ann,Closed Won,-5,2026-01-03,2026-01-01\n"
        "2,bob,Proposal,many,1970-01-01,31.12.2025\n"
        "2,bob,Proposal,7,never,2026-01-05\n"
        "broken\n",
        owners="users,owner\nx,ann\n",
    )
    assert [(deal.deal_id, deal.status, deal.amount, deal.has_bad_amount) for deal in found.deals] == [
        ("1", "won", None, True), ("2", "open", 7.0, False),
    ]  # fmt: skip
    assert (found.deals[1].has_bad_date, found.deals[1].is_owner_known, found.deals[0].is_owner_known) == (
        True,
        False,
        True,
    )
    assert found.latest == date(2026, 1, 5)
    assert found.notes == [
        "1 rows of the deals can't be read, and are left out",
        "1 deals have an id that was there before: the last row counts",
    ]


def test_an_export_without_the_columns_says_which_are_needed() -> None:
    with pytest.raises(BadExport, match=r"need an id and a stage .*there is foo, bar"):
        export("foo,bar\n1,2\n")


def test_an_empty_export_is_no_error() -> None:
    found = export("id,stage\n")
    assert assess(found.deals, found.accounts, found.contacts, DAY, PROCESS).notes[-1] == "there is no deal to look at"


@pytest.mark.skipif(not CORPORA.is_dir(), reason=f"the public corpora are not in {CORPORA}")
def test_the_maven_files_have_the_flaws_that_counting_by_hand_gives() -> None:
    folder = CORPORA / "maven"
    with gzip.open(folder / "sales_pipeline.csv.gz", "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    with gzip.open(folder / "sales_pipeline.csv.gz", "rb") as deals:
        files = {"deals": csv_rows(deals)}
        for kind, name in (("accounts", "accounts"), ("products", "products"), ("owners", "sales_teams")):
            files[kind] = csv_rows((folder / f"{name}.csv").read_bytes().splitlines(keepends=True))
        export = read_export(files, PROCESS)
    found = assess(export.deals, export.accounts, export.contacts, export.latest or DAY, PROCESS)
    assert {flaw.check: flaw.flawed for flaw in found.all.flaws} == {
        "no_close_date": sum(row["deal_stage"] in ("Prospecting", "Engaging") for row in rows),
        "no_account": sum(not row["account"] for row in rows),
        "unknown_product": sum(row["product"] == "GTXPro" for row in rows),
    }
    assert (len(found.teams), found.accounts) == (6, [])

"""The quality of a store's deals over HTTP, on the page, as CSV and on the command line; hostile text stays text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from litestar.testing import TestClient

from console.app import create_app
from console.auth import AuthStore
from console.cli import main
from console.quality import judge, to_csv
from governance.settings_types import Deals, Settings
from scoring.quality import assess
from scoring.stages import Process
from storage import snapshots
from storage.quality import QualityRow, keep, trend
from storage.read import Reader
from storage.store import Store
from streams.quality import facts_of, read_states
from tests.unit.console.conftest import BASE
from tests.unit.console.fakes import FakeRuntime
from tests.unit.scoring.deals_log import DAY, START_MS, Life, activity

EVIL = '=HYPERLINK("http://x","<script>alert(1)</script>")'


def states() -> Life:
    log = Life()
    log.open("006A1", amount=None, owner_id="user:1", stage="Proposal", account="Acme Inc.", close_date="2026-03-01")
    log.open(EVIL, owner_id=EVIL, stage="Proposal", account="ACME", amount="5", currency="EUR", next_step="call")
    log.add(START_MS + DAY, activity())
    return log


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """A store with the states of two deals."""
    store = Store(tmp_path / "store")
    store.migrate()
    store.connect_projections().close()
    link = store.connect()
    link.execute("BEGIN")
    taken = [(one.key, one.next_offset, one.blob) for one in states().stage.snapshots()]
    snapshots.save(link, "deals", "crm-1", taken)
    keep(link, [QualityRow("default", "2026-03-01", "all", "all", 50.0, 2, 9)])
    keep(link, [QualityRow("default", "2026-03-01", "all", "all", 60.0, 2, 7)])
    link.execute("COMMIT")
    link.close()
    return Reader.open(store.path)


def test_what_the_engine_knows_of_deals_is_judged(reader: Reader) -> None:
    answer = judge(reader, Deals(), START_MS + 2 * DAY)
    found = {flaw.check: flaw.examples for flaw in answer.quality.all.flaws}
    assert found["overdue"] == ["006A1"]
    assert found["no_next_step"] == ["006A1"]
    assert found["late_without_amount"] == ["006A1"]
    assert "silent" not in found
    assert [one.names for one in answer.quality.accounts] == [["ACME", "Acme Inc."]]
    assert [(point.day, point.score) for point in answer.trend] == [
        ("2026-03-01", 60.0), ("2026-03-04", answer.quality.all.score),
    ]  # fmt: skip
    assert [point.day for point in trend(reader)] == ["2026-03-01"]


def test_the_page_and_the_files_neutralise_hostile_text_and_the_day_is_kept(
    reader: Reader, settings_of: Callable[..., Settings], auth: AuthStore
) -> None:
    runtime = FakeRuntime()
    with TestClient(create_app(runtime, settings_of(), reader, auth), base_url=BASE) as client:
        told = client.get("/v1/deals/quality").json()
        page = client.get("/deals/quality").text
        file = client.get("/deals/quality.csv")
    assert told["quality"]["all"]["deals"] == 2
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    rows = list(csv.reader(io.StringIO(file.content.decode("utf-8-sig"))))
    assert rows[0][0] == "what"
    assert all(not text.startswith("=") for row in rows for text in row)
    assert any(text.startswith("'=HYPERLINK") for row in rows for text in row)
    assert {(row.scope, row.name) for row in runtime.kept} >= {("all", "all"), ("owner", "user:1")}


def test_states_and_read_models_agree_on_what_both_know() -> None:
    kept = [(one.key, one.blob) for one in states().stage.snapshots()]
    facts = facts_of(read_states(kept), Deals())
    assert [(deal.deal_id, deal.status, deal.amount) for deal in facts.deals] == [
        ("006A1", "open", None), (EVIL, "open", 5.0),
    ]  # fmt: skip
    assert facts.contacts == []
    found = assess(facts.deals, facts.accounts, [], facts.deals[0].opened or DAY, Process())  # type: ignore[arg-type]
    assert to_csv(found).splitlines()[0].startswith("what,of,check")


def test_a_folder_is_judged_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "deals.csv").write_text("id,stage,owner,amount,close date\n1,Won,=cmd,0,2026-01-01\n", "utf-8")
    (tmp_path / "contacts.csv").write_text("id,name,email\n1,A B,a@b.c\n2,B A,A@b.c\n", "utf-8")
    out = tmp_path / "found.csv"
    result = CliRunner().invoke(main, ["deals", "quality", str(tmp_path), "--csv", str(out)])
    assert result.exit_code == 0, result.output
    assert "Won, with no amount or zero" in result.output
    assert "1 contacts are probably there twice" in result.output
    assert "'=cmd" in out.read_text(encoding="utf-8-sig")


@pytest.mark.parametrize(
    ("text", "more", "said", "code"),
    [
        (None, [], "has no deals", 1), ("a,b\n1,2\n", [], "need an id and a stage", 1),
        ("id,stage\n1,Won\n", [], "say --as-of DATE", 1), ("id,stage\n1,Won\n", ["--as-of", "x"], "no date such as", 2),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_judged_says_why(
    tmp_path: Path, text: str | None, more: list[str], said: str, code: int
) -> None:
    if text is not None:
        (tmp_path / "deals.csv").write_text(text, encoding="utf-8")
    result = CliRunner().invoke(main, ["deals", "quality", str(tmp_path), *more])
    assert (result.exit_code, said in result.output) == (code, True), result.output

"""The forecast of a store: quarter, births, quota, currencies, and what it says where little is known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from litestar.testing import TestClient
from sqlalchemy import insert

from console.app import create_app
from console.auth import AuthStore
from console.cli import main
from console.cli.common import Server
from console.errors import Refused
from console.forecast import outlook, until_of
from console.pipeline import judge_weeks
from events.times import DAY_MS
from governance.settings_types import Deals, Settings
from storage import tables as t
from storage.read import Reader
from storage.read.book import BookDeal
from storage.store import Store
from tests.unit.console.conftest import BASE
from tests.unit.console.fakes import FakeRuntime

NOW = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1000)
SETTINGS = Deals(quota={"m": 1_000})
END = date(2026, 12, 31)


def deal(name: str, **more: Any) -> BookDeal:
    at_ms = NOW - 100 * DAY_MS
    told: dict[str, Any] = {
        "manager_id": "m", "owner_id": "o", "stage": "Proposal", "is_open": True, "amount_minor": 10_000,
        "currency": "EUR", "p_lost": 0.0, "p_won_by": {"28": 1.0}, "is_proven": True, "first_ms": at_ms, "at_ms": at_ms,
    }  # fmt: skip
    return BookDeal(deal_id=name, **(told | more))


def test_certain_wins_are_forecast_with_certainty_and_count_for_the_quota() -> None:
    won = deal("w", is_open=False, stage="Closed Won", at_ms=NOW - DAY_MS, amount_minor=70_000)
    before = deal("b", is_open=False, stage="Closed Won", at_ms=NOW - 60 * DAY_MS, amount_minor=999_900)
    lost = deal("l", is_open=False, stage="Closed Lost", at_ms=NOW - DAY_MS)
    told = outlook([deal("a"), deal("c"), won, before, lost], SETTINGS, NOW, END, "m").outlooks[0]
    assert (told.open_deals, told.won, told.wins.low, told.wins.high) == (2, 1, 2, 2)
    assert [(each.currency, each.won_minor, each.low_minor) for each in told.money] == [("EUR", 70_000, 20_000)]
    assert (told.quota_minor, told.quota_chance) == (100_000, 0.0)
    third = deal("d", amount_minor=10_001)
    assert outlook([deal("a"), deal("c"), third, won], SETTINGS, NOW, END, "m").outlooks[0].quota_chance == 1.0


def test_five_currencies_stay_apart_and_only_one_counts_for_the_quota() -> None:
    deals = [deal(name, currency=name) for name in ("EUR", "USD", "GBP", "SEK", "JPY")]
    told = outlook(deals, SETTINGS, NOW, END, "m")
    assert {each.currency: each.mean_minor for each in told.outlooks[0].money} == dict.fromkeys(
        ("EUR", "GBP", "JPY", "SEK", "USD"), 10_000
    )
    assert "against quota only money in EUR counts" in told.notes
    assert told.outlooks[0].quota_chance == 0.0


def test_deals_without_owner_amount_or_score_are_told_not_lost() -> None:
    vanished = deal("v", manager_id=None, owner_id=None)
    told = outlook([vanished, deal("n", amount_minor=None), deal("s", p_lost=None)], SETTINGS, NOW, END, None)
    assert [one.manager_id for one in told.outlooks] == [None, "m", "unassigned"]
    assert [one.wins.high for one in told.outlooks] == [2, 1, 1]
    assert "1 open deals have no sound amount: they count as wins, not as money" in told.notes
    assert "1 open deals are not scored yet: they count for nothing" in told.notes
    assert told.outlooks[0].quota_minor is None  # one of the two has no quota


def test_births_need_four_weeks_and_what_came_on_the_first_day_is_none() -> None:
    start = NOW - 60 * DAY_MS
    old = [deal(f"o{at}", first_ms=start, p_won_by={}) for at in range(50)]
    quick = [
        deal(f"q{at}", is_open=False, stage="Won", first_ms=NOW - at * DAY_MS, at_ms=NOW - (at - 2) * DAY_MS)
        for at in range(3, 58)
    ]
    told = outlook([*old, *quick], SETTINGS, NOW, END, "m").outlooks[0]
    assert told.births == pytest.approx(26 / 28 * 38.5 * (38 - 2.5) / 38, rel=0.05)
    assert told.wins.low > 20
    young = [deal("y", first_ms=NOW - 20 * DAY_MS)]
    answer = outlook(young, SETTINGS, NOW, END, "m")
    assert answer.outlooks[0].births == 0
    assert any("not yet born are left out" in note for note in answer.notes)


def test_three_closed_deals_and_an_empty_store_give_an_answer() -> None:
    closed = [deal(f"c{at}", is_open=False, stage="Lost", at_ms=NOW - at * DAY_MS, is_proven=False) for at in range(3)]
    assert outlook(closed, SETTINGS, NOW, END, None).outlooks[0].wins.mean == 0
    empty = outlook([], SETTINGS, NOW, END, None)
    assert (empty.proven, empty.outlooks[0].open_deals) == (False, 0)


def test_the_same_scores_give_the_same_forecast_for_an_hour() -> None:
    deals = [deal(f"d{at}", p_lost=0.3, p_won_by={"28": 0.02 * at}) for at in range(30)]
    one, other = (outlook(deals, SETTINGS, at_ms, END, "m").outlooks for at_ms in (NOW, NOW + 59 * 60_000))
    assert one == other
    assert one[0].wins.low < one[0].wins.mean < one[0].wins.high


@pytest.mark.parametrize("text", ["1970-01-01", "tomorrow", "2099-01-01"])
def test_a_day_that_is_none_or_far_away_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="until"):
        until_of(text, SETTINGS, NOW)
    assert until_of(None, SETTINGS, NOW) == END


def test_api_page_and_command_tell_the_same(
    tmp_path: Path, settings_of: Callable[..., Settings], auth: AuthStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = FakeRuntime()
    with Store(tmp_path / "store") as store:
        store.migrate()
        store.connect_projections().close()
        rows = [
            {"key": f"default/{name}", "tenant": "default", "deal_id": name, "manager_id": "<b>m</b>", "p_lost": 0.1,
             "p_won_by": '{"7": 0.3, "28": 0.6}', "amount_minor": 5_000_000, "currency": "EUR", "is_open": True,
             "stage": "Proposal", "at_ms": runtime.now_ms() - DAY_MS}
            for name in ("a", "b", "c")
        ]  # fmt: skip
        with store.engine().begin() as connection:
            connection.execute(insert(t.deal), rows)
        reader = Reader.open(store.path)
        with TestClient(create_app(runtime, settings_of(), reader, auth), base_url=BASE) as client:
            answer = client.get("/v1/deals/forecast", params={"manager": "<b>m</b>"})
            page = client.get("/parts/forecast").text
            weeks = client.get("/v1/deals/pipeline").json()
            shown = client.get("/deals").text
        reader.close()
    told = answer.json()
    assert (answer.status_code, told["outlooks"][0]["open_deals"]) == (200, 3)
    assert told["outlooks"][0]["money"][0]["currency"] == "EUR"
    assert "won this quarter" in page
    assert (weeks["groups"], weeks["alarms"]) == (0, [])
    assert 'hx-get="/parts/forecast"' in shown
    monkeypatch.setattr(Server, "get", lambda self, path, **query: told)
    printed = CliRunner().invoke(main, ["deals", "forecast"])
    assert printed.exit_code == 0, printed.output
    assert "<b>m</b>" in printed.output
    assert "unproven" in printed.output


def test_a_store_whose_new_deals_stop_coming_is_told_of_by_team() -> None:
    days = range(1, 7 * 20)
    deals = [
        deal(f"{team}{at}-{day}", manager_id=team, first_ms=NOW - day * DAY_MS, p_won_by={})
        for team in "mnopq" for day in days for at in range(4) if team != "m" or day > 21
    ]  # fmt: skip
    deals.append(deal("old", first_ms=NOW - 21 * 7 * DAY_MS))
    told = judge_weeks(deals, SETTINGS, NOW)
    assert {(alarm.group, alarm.series) for alarm in told.alarms} == {("team m", "created")}
    assert told.weeks[-1].monday == "2026-11-16"
    assert told.weeks[3].created == 140
    young = judge_weeks(deals[:1], SETTINGS, NOW)
    assert (young.alarms, len(young.notes)) == ([], 2)
    assert judge_weeks([], SETTINGS, NOW).weeks == []

from __future__ import annotations

import msgspec

from events.types import Marker, MarkerEvent
from governance.settings import Deals
from streams.envelopes import envelope
from streams.portfolio import PortfolioStage
from tests.unit.scoring.deals_log import DAY, PORTFOLIO, START_MS, Life, activity, change

HOUR = 3_600_000


def troubled(life: Life, deal_id: str = "006A1", **fields: object) -> None:
    """A deal that the buyer has not answered for, with a competitor, four days later."""
    life.open(deal_id, **fields)  # type: ignore[arg-type]
    life.add(START_MS + HOUR, activity("call", "outbound", deal_id, mentions=["competitor: Fernbrook"]))
    life.add(START_MS + 2 * HOUR, change(deal_id, stage="Proposal"))


def test_an_alert_names_the_deal_the_money_and_what_to_do() -> None:
    life = Life(Deals(link="https://crm.example/{deal_id}"))
    troubled(life, name="Fleet telemetry renewal", account="Nordwind Logistik", amount="148000.00", manager_id="jo",
             close_date="2026-03-27")  # fmt: skip
    life.tick(START_MS + 15 * DAY)
    [alert] = life.alerts()
    assert (alert.manager_id, alert.deal_id, alert.deal, alert.account) == (
        "jo", "006A1", "Fleet telemetry renewal", "Nordwind Logistik",
    )  # fmt: skip
    assert (alert.amount, alert.currency, alert.close_date) == ("148000.00", "EUR", "2026-03-27")
    assert (alert.link, alert.rank, alert.open_deals, alert.kind) == ("https://crm.example/006A1", 1, 1, "deal_silent")
    assert alert.recommended_action == "Call the buyer."
    assert alert.reasons[0].sentence == "Nothing has happened on the deal for 14 days."
    assert 0 < alert.p_lost <= alert.p_slip <= 1


def test_the_ranking_of_a_manager_is_said_when_it_changes() -> None:
    life = Life()
    troubled(life, manager_id="jo")
    life.tick(START_MS + 15 * DAY)
    [top] = life.tops()
    assert [(row.rank, row.deal_id) for row in top.rows] == [(1, "006A1")]
    assert (top.manager_id, top.open_deals, top.close_out_deals) == ("jo", 1, 0)
    life.tick(START_MS + 15 * DAY + 10_000)
    assert len(life.tops()) == 1


def test_a_closed_deal_leaves_the_ranking() -> None:
    life = Life()
    troubled(life)
    life.tick(START_MS + 15 * DAY)
    life.add(START_MS + 15 * DAY + 1, change(stage="Closed Won"))
    life.tick(START_MS + 15 * DAY + 10_000)
    assert life.tops()[-1].rows == []
    assert life.tops()[-1].open_deals == 0


def test_managers_without_changes_are_not_looked_at() -> None:
    life = Life()
    life.open("d1", manager_id="jo")
    life.open("d2", manager_id="hanna")
    life.tick(START_MS + 10_000)
    life.portfolio.snapshot()
    life.add(START_MS + 20_000, change("d1", amount="5"))
    life.tick(START_MS + 30_000)
    assert [snapshot.key for snapshot in life.portfolio.snapshot()] == ["default/jo", ""]


def test_a_tick_is_decided_when_the_markers_of_all_partitions_are_in() -> None:
    life = Life()
    troubled(life)
    life.tick(START_MS + 15 * DAY)
    stage = PortfolioStage(PORTFOLIO, Deals(), sources=2)
    first = stage.process(life.portfolio_log)
    assert first == []
    late = envelope(MarkerEvent, "test", "m", START_MS, "default/*", Marker(at="2026-03-17T09:00:00Z", partition=1))
    said = stage.process([(len(life.portfolio_log), START_MS + 15 * DAY, late)])
    assert [output.kind for output in said] == ["alert", "top"]


def test_rankings_are_events_of_their_own_type() -> None:
    life = Life()
    troubled(life)
    life.tick(START_MS + 15 * DAY)
    [top] = [output for output in life.portfolio_out if output.kind == "top"]
    found = msgspec.json.decode(msgspec.json.encode(top.event))
    assert found["type"] == "tripline.deals.top.v1"
    assert found["partitionkey"] == "unassigned"

"""Read models that follow the stages' outputs: the same output again changes nothing, an older one nothing newer."""

from __future__ import annotations

from events.times import format_ms
from events.types import (
    Alert,
    AlertEvent,
    DealRisk,
    EvidenceData,
    Finding,
    FindingEvent,
    ModelInfo,
    PortfolioScore,
    Reason,
    RiskEvent,
)
from storage import projections
from storage.link import Link
from storage.read import Reader

NOW_MS = 1_772_442_600_000


def risk(offset: int, p_lost: float) -> RiskEvent:
    data = DealRisk(
        deal_id="d1", manager_id="eva", owner_id="tom", at=format_ms(NOW_MS), offset=offset, p_lost=p_lost,
        p_lost_14d=0.1, p_slip=0.2, p_won_by={"30": 0.3}, band="watch", base=-1.0,
        reasons=[Reason("silence", 0.5, "silent for 9 days")], model=ModelInfo(kind="hand", version=1, proven=False),
        cause="a tick",
    )  # fmt: skip
    return RiskEvent(specversion="1.0", id=f"r{offset}", source="/t", time=format_ms(NOW_MS), data=data)


def alert(deal_id: str, rank: int = 1) -> Alert:
    return Alert(
        alert_id=f"al-{deal_id}", kind="deal_risk", manager_id="eva", deal_id=deal_id, deal="Deal", account="Acme",
        amount="1.00", currency="EUR", close_date=None, link=None, at=format_ms(NOW_MS), rank=rank, p_lost=0.5,
        p_slip=0.5, reasons=[], recommended_action="call", open_deals=3,
    )  # fmt: skip


def test_a_finding_is_stored_once_and_says_what_became_of_it(link: Link) -> None:
    evidence = EvidenceData(
        summary="61st", observed=61, expected=38.0, limit=61, unit="actions", events=[], would_clear="60"
    )
    data = Finding(
        finding_id="f1", detector="action_rate", mode="enforce", agent_id="bot", agent_version=None,
        at=format_ms(NOW_MS), severity="critical", action_taken="suspend", basis_epoch=0, evidence=evidence,
    )  # fmt: skip
    event = FindingEvent(specversion="1.0", id="f1", source="/t", time=format_ms(NOW_MS), data=data)
    assert projections.store_finding(link, "default/bot", NOW_MS, 7, event, "noted")
    assert not projections.store_finding(link, "default/bot", NOW_MS, 9, event, "noted")
    projections.set_status(link, "f1", "applied")
    assert link.execute('SELECT id, "offset", summary, status FROM finding').fetchall() == [
        ("f1", 7, "61st", "applied")
    ]


def test_a_deal_has_its_newest_risk_its_names_and_its_history(link: Link) -> None:
    projections.store_risks(link, [("r5", "default/d1", NOW_MS, risk(5, 0.4))])
    score = PortfolioScore(
        deal_id="d1", manager_id="eva", owner_id="tom", p_lost=0.4, p_slip=0.2, p_lost_14d=0.1, is_open=True,
        deal="Big deal", account="Acme", amount_minor=4_800_000, currency="EUR", stage="Proposal",
    )  # fmt: skip
    projections.store_names(link, [("default", NOW_MS, score)])
    projections.store_risks(link, [("r6", "default/d1", NOW_MS + 1, risk(6, 0.6))])
    projections.store_risks(link, [("r5", "default/d1", NOW_MS, risk(5, 0.4))])  # comes again, late
    assert link.execute("SELECT name, amount_minor, stage, is_open, p_lost, manager_id FROM deal").fetchall() == [
        ("Big deal", 4_800_000, "Proposal", 1, 0.6, "eva")
    ]
    assert link.execute("SELECT id, p_lost, cause FROM deal_score ORDER BY at_ms").fetchall() == [
        ("r5", 0.4, "a tick"),
        ("r6", 0.6, "a tick"),
    ]


def test_a_managers_list_is_replaced_as_a_whole(link: Link) -> None:
    projections.store_top(link, "default/eva", NOW_MS, [alert("d1"), alert("d2"), alert("d3")])
    projections.store_top(link, "default/eva", NOW_MS + 1, [alert("d2")])
    projections.store_top(link, "default/tom", NOW_MS, [alert("d9")])
    assert link.execute("SELECT key, rank, deal_id FROM top ORDER BY key, rank").fetchall() == [
        ("default/eva", 1, "d2"),
        ("default/tom", 1, "d9"),
    ]


def test_what_to_close_out_is_replaced_with_the_list_and_leaves_out_what_has_closed(link: Link, reader: Reader) -> None:
    names = {"d1": True, "d2": False, "d3": True}
    link.execute("BEGIN")
    projections.store_names(link, [("default", NOW_MS, _named(id_, is_open)) for id_, is_open in names.items()])
    projections.store_top(link, "default/eva", NOW_MS, [], [alert("d1"), alert("d9")])
    projections.store_top(link, "default/eva", NOW_MS, [], [alert("d3"), alert("d2"), alert("d1")])
    projections.store_top(link, "default/tom", NOW_MS, [alert("d1")], [])
    link.execute("COMMIT")
    assert [row.deal_id for row in reader.close_out("eva").rows] == ["d3", "d1"]
    assert [len(reader.close_out(who).rows) for who in (None, "tom")] == [2, 0]


def _named(deal_id: str, is_open: bool) -> PortfolioScore:
    return PortfolioScore(
        deal_id=deal_id, manager_id="eva", owner_id="tom", p_lost=0.97, p_slip=1.0, p_lost_14d=0.9, is_open=is_open,
        deal=deal_id, account="Acme", amount_minor=1, currency="EUR", stage="Proposal",
    )  # fmt: skip


def test_an_alert_is_stored_once(link: Link) -> None:
    event = AlertEvent(specversion="1.0", id="al", source="/t", time=format_ms(NOW_MS), data=alert("d1"))
    assert projections.store_alert(link, "al", "default/eva", event)
    assert not projections.store_alert(link, "al", "default/eva", event)
    assert link.execute("SELECT manager_id, deal_id, state FROM alert").fetchall() == [("eva", "d1", "new")]

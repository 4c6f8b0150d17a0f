"""What people said of alerts: their last word stands, and is counted by kind; on SQLite and on PostgreSQL."""

from __future__ import annotations

from events.times import format_ms
from events.types import Alert, AlertEvent
from storage import alert_verdicts as store
from storage import projections
from storage.alert_verdicts import Counts, Named, Said, Verdict
from storage.link import Link
from storage.read import Reader

NOW_MS = 1_772_442_600_000


def put(link: Link, id_: str, deal_id: str, at_ms: int, kind: str = "deal_risk", key: str = "default/eva") -> None:
    data = Alert(
        alert_id=id_, kind=kind, manager_id="eva", deal_id=deal_id, deal="Deal", account="Acme", amount=None,
        currency=None, close_date=None, link=None, at=format_ms(at_ms), rank=1, p_lost=0.5, p_slip=0.5, reasons=[],
        recommended_action="", open_deals=3,
    )  # fmt: skip
    event = AlertEvent(specversion="1.0", id=id_, source="/t", time=format_ms(at_ms), data=data)
    projections.store_alert(link, id_, key, event)


def say(link: Link, alert_id: str, verdict: Verdict, by: str = "eva", at_ms: int = NOW_MS) -> Said:
    about = store.find(link, alert_id)
    assert about is not None
    said = Said(alert_id=alert_id, verdict=verdict, by=by, reason="", at_ms=at_ms)
    store.say(link, about, said)
    return said


def test_the_last_word_on_an_alert_is_what_counts(link: Link, reader: Reader) -> None:
    link.execute("BEGIN")
    put(link, "a1", "d1", NOW_MS)
    put(link, "a2", "d1", NOW_MS + 1, "deal_slip")
    put(link, "a3", "d2", NOW_MS, key="default/tom")
    put(link, "old", "d2", NOW_MS - 9)
    put(link, "foreign", "d1", NOW_MS + 2, key="other/eva")
    say(link, "a1", "wrong")
    say(link, "a1", "useful", at_ms=NOW_MS + 1)
    mine = say(link, "a1", "known", by="tom", at_ms=NOW_MS + 2)
    first = Said(alert_id="a1", verdict="useful", by="eva", reason="", at_ms=NOW_MS + 1)
    say(link, "a2", "useful")
    say(link, "old", "wrong")
    say(link, "foreign", "wrong")
    link.execute("COMMIT")
    assert (store.find(link, "a4"), store.newest(link, "default", "none")) == (None, None)
    assert store.newest(link, "default", "d1") == Named("a2", "default/eva", "deal_slip", "d1")
    assert [(row.id, row.said, row.held_ms) for row in store.alerts_of(reader, "d1")][1] == ("a1", [mine, first], None)
    assert len(store.alerts_of(reader, "d1")) == 2
    every, risk, slip = store.counts(reader, NOW_MS)
    assert every == Counts(kind="", given=3, judged=2, useful=1, known=1, wrong=0, precision=0.5)
    assert (risk.kind, risk.given, risk.judged, risk.known, risk.precision) == ("deal_risk", 2, 1, 1, 0.0)
    assert (slip.given, slip.useful, slip.precision) == (1, 1, 1.0)
    assert store.counts(reader, NOW_MS, "tom")[0].precision is None
    assert store.counts(reader, NOW_MS + 99)[0].given == 0

"""Fills a store with the morning that the pages are tested with: six agents, one of them stopped, nine deals.

Rows are written straight into the tables, so that every figure on a page can be checked against a figure here.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import create_engine, insert

from events.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, format_ms, parse_ms
from events.types import Alert, AlertEvent, EvidenceData, Finding, FindingEvent, ModelInfo, Reason
from governance.settings_types import AgentSettings, Deals, Person, Settings
from storage import tables as t
from storage.store import Store, projections_path

NOW_MS = parse_ms("2026-03-04T09:20:10+01:00")
STOP_MS = NOW_MS - 10 * SECOND_MS
BURST_MS = 5 * MINUTE_MS
BIN_MS = 5 * MINUTE_MS
CHANGED_BEFORE = 58
REFUSED_AFTER = 37
SUMMARY = "61st record.update in 5 min; usually at most 38 at this hour (own season and peers)"
AGENTS = {
    # name: owner, role, level, middle of the band, actions now, records in 48 h
    "enrich-bot": ("tomas", "fills in what is missing in accounts", 2, 20.0, 24, 1_318),
    "lead-router": ("jo", "gives new leads to people", 2, 34.0, 37, 611),
    "outreach-drafter": ("ines", "drafts follow-up mails", 2, 5.0, 6, 86),
    "call-notes": ("sami", "summarises calls", 1, 9.0, 11, 204),
    "stage-sync": ("jo", "keeps stages in step with contracts", 2, 7.0, 8, 52),
    "quote-helper": ("ines", "prepares quotes", 1, 3.0, 4, 37),
}
PEOPLE = {
    "tomas": Person(name="Tomas Reuter", role="operator"),
    "jo": Person(name="Jo Berger", role="operator"),
    "ines": Person(name="Ines Faber", crm_user="user:005IF"),
    "sami": Person(name="Sami Okafor"),
    "lea": Person(name="Lea Hoffmann", crm_user="user:005LH"),
    "maya": Person(name="Maya Lindqvist", role="operator"),
    "m-berger": Person(name="Jo Berger"),
}
DEALS: list[tuple[str, str, str, int, str, str, float, float, float, str, str]] = [
    # id, deal, account, amount, closes, stage, lost, lost on Monday, slips, why, next
    ("006A1", "Fleet telemetry renewal", "Nordwind Logistik", 14_800_000, "2026-03-27", "Negotiation", 0.64, 0.47, 0.81,
     "The buyer has been silent for 12 days; in Negotiation they usually answer within 4",
     "Call Petra Vogel, economic buyer"),
    ("006A2", "Lab data platform", "Halden Pharma", 23_600_000, "2026-03-31", "Contract", 0.52, 0.43, 0.74,
     "The close date was moved three times; 23 days in Contract, usually 11", "Agree a signing date with legal"),
    ("006A3", "Store rollout, phase 2", "Atelier Brun", 6_250_000, "2026-03-20", "Proposal", 0.57, 0.39, 0.62,
     "A competitor was named on Monday’s call; no executive contact since", "Bring in an executive sponsor"),
    ("006A4", "Claims automation", "Kessler & Roth", 11_840_000, "2026-04-15", "Evaluation", 0.47, 0.38, 0.66,
     "No next meeting; the last step was due on 24 Feb", "Book the security review"),
    ("006A5", "Grid planning seats", "Oster Energi", 8_990_000, "2026-04-10", "Proposal", 0.41, 0.30, 0.58,
     "One buyer contact answered in 14 days; there were four before", "Write to the other three"),
    ("006A6", "Cold chain sensors", "Fjord Seafood", 4_400_000, "2026-05-08", "Discovery", 0.24, 0.25, 0.33,
     "It has been in Discovery for 9 days; usually 8", "Agree the next step"),
    ("006A7", "Payroll connector", "Marlow Textiles", 3_120_000, "2026-04-24", "Evaluation", 0.12, 0.14, 0.21,
     "The buyer answered yesterday", "Send the proposal"),
]  # fmt: skip
SETTINGS = Settings(
    agents={
        name: AgentSettings(owner=owner, role=role, level=level, actions=["record.update", "record.read"])
        for name, (owner, role, level, *_) in AGENTS.items()
    },
    people=PEOPLE,
    deals=Deals(time_zone="Europe/Berlin", currency="EUR"),
)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class Seed:
    """Gathers rows and writes them into the two files of a store."""

    def __init__(self, folder: Path, now_ms: int = NOW_MS) -> None:
        self.store = Store(folder)
        self.store.migrate()
        self.store.connect_projections().close()
        self.now_ms = now_ms
        self._offset = 0
        self._rows: dict[Any, list[dict[str, Any]]] = {}

    def add(self, table: Any, **row: Any) -> None:
        """One more row."""
        self._rows.setdefault(table, []).append(row)

    def write(self) -> Path:
        """Write everything; returns the store's file."""
        for is_projected, path in ((False, self.store.path), (True, projections_path(self.store.path))):
            engine = create_engine(f"sqlite:///{path}")
            with engine.begin() as connection:
                for table, rows in self._rows.items():
                    if bool(table.info.get("projected")) is is_projected:
                        for row in rows:
                            connection.execute(insert(table), row)
            engine.dispose()
        self._rows.clear()
        return self.store.path

    # --- agents ---------------------------------------------------------------------------------------------------

    def agent(self, name: str, middle: float, last: int, records: int, *, seen_ms: int | None = None) -> None:
        """An agent with four hours of counts around ``middle`` and a band up to 1.9 times that."""
        seen = seen_ms or self.now_ms - (7 + len(name)) * SECOND_MS
        self.add(
            t.agent, key=f"default/{name}", tenant="default", agent_id=name, agent_version="1.4.0",
            first_seen_ms=self.now_ms - 51 * DAY_MS, last_seen_ms=seen, last_write_ms=seen, last_action="record.update",
            actions=9_000, records=9_000,
        )  # fmt: skip
        first = self.now_ms // BIN_MS * BIN_MS - 48 * BIN_MS
        for n in range(49):
            wave = 1 + 0.22 * math.sin(n / 7 + len(name)) + 0.13 * math.sin(n * 2.39 + middle)
            count = last if n == 48 else max(0, round(middle * wave))
            usual = round(middle * 1.9 * (1 + 0.1 * math.sin((n - 48) / 9)))
            self.bin(name, first + n * BIN_MS, count, usual)
        self.bin(name, first - 30 * HOUR_MS, 30, None, records)

    def bin(self, name: str, start_ms: int, actions: int, usual: int | None, records: int = 0, denied: int = 0) -> None:
        """Five minutes of an agent."""
        self.add(
            t.agent_bin, key=f"default/{name}", bin_ms=start_ms, actions=actions, records=records, denied=denied,
            expected=usual, limit=None if usual is None else round(usual * 1.6),
        )  # fmt: skip

    def action(self, name: str, at_ms: int, record: str, field: str, before: Any, after: Any, **more: Any) -> None:
        """One reported operation that changed one field of one record."""
        self._offset += 1
        row = {
            "key": f"default/{name}", "at_ms": at_ms, "offset": self._offset, "effect_ms": at_ms, "agent_id": name,
            "kind": "report", "action": "record.update", "object": "Account", "record_ids": _json([record]),
            "changes": _json({record: {field: [before, after]}}), "outcome": "ok", "error": None, "records": 1,
            "recipients": 0, "is_external": False, "authorized_by": "user:005IF",
            "trigger": _json({"kind": "schedule", "ref": "enrich-accounts 09:15"}), "decision_id": f"d-{self._offset}",
            "deal_id": None, "source": "/crm", "event_id": f"a-{self._offset:06d}",
        }  # fmt: skip
        row.update(more)
        self.add(t.action, **row)
        self.add(
            t.action_record, tenant="default", object=row["object"], record_id=record, at_ms=at_ms,
            offset=self._offset, key=row["key"],
        )  # fmt: skip

    def refusal(self, name: str, at_ms: int, n: int) -> None:
        """One operation that the gate refused."""
        record = f"001B{n}"
        self.add(
            t.gate_decision, decision_id=f"g-{n:04d}", key=f"default/{name}", agent_id=name, at_ms=at_ms,
            decision="deny", rule="suspended", reason="suspended; only a person can release", epoch=7,
            action="record.update", object="Account", record_ids=_json([record]),
            changes=_json({record: {"Industry": ["Retail", "Unknown"]}}), records=1, recipients=0,
            authorized_by="user:005IF", trigger=_json({"kind": "schedule", "ref": "enrich-accounts 09:15"}),
        )  # fmt: skip

    def finding(self, name: str, at_ms: int, id_: str, summary: str, **more: Any) -> None:
        """A finding with its evidence."""
        evidence = EvidenceData(
            summary=summary, observed=61, expected=38, limit=61, unit="updates in 5 min",
            events=[("/crm", f"a-{n:06d}") for n in range(1, 62)], would_clear="60 or fewer in 5 min",
            details={"window_min": 5, "log10_evidence": 6.1},
        )  # fmt: skip
        told = {
            "finding_id": id_, "detector": "action_rate", "mode": "enforce", "agent_id": name,
            "agent_version": "1.4.0", "at": format_ms(at_ms), "severity": "critical", "action_taken": "suspend",
            "basis_epoch": 6, "evidence": evidence,
        }  # fmt: skip
        told.update(more)
        finding = Finding(**told)
        event = FindingEvent(specversion="1.0", id=id_, source="/tripline", time=format_ms(at_ms), data=finding)
        self.add(
            t.finding, id=id_, key=f"default/{name}", agent_id=name, at_ms=at_ms, offset=1, detector=finding.detector,
            mode=finding.mode, severity=finding.severity, action_taken=finding.action_taken, summary=summary,
            status="applied" if finding.mode == "enforce" else "shadow", body=_json(event),
        )  # fmt: skip

    def control(
        self, name: str, seq: int, state: str, epoch: int, at_ms: int, by: tuple[str, str], reason: str, **more: Any
    ) -> None:
        """One decision of the authority; the last one added is the agent's row."""
        told = {
            "key": f"default/{name}", "agent_id": name, "state": state, "epoch": epoch, "at_ms": at_ms,
            "by_kind": by[0], "by_id": by[1], "reason": reason, "finding_id": more.get("finding_id"),
        }  # fmt: skip
        self.add(t.control_history, **told, seq=seq, wanted=state, changed=True, why="tightened", decided_ms=at_ms)
        if more.get("is_last"):
            self.add(t.control, **told, last_release_epoch=0)

    def stop(self, name: str) -> None:
        """The burst of 58 records, the stop at the 61st update, and 37 refusals after it."""
        values = [
            ("Industry", "Retail", "Unknown"),
            ("Employees", 2_400, None),
            ("Website", "kessler-roth.example", None),
        ]
        for n in range(CHANGED_BEFORE):
            field, before, after = values[n % 3]
            at_ms = STOP_MS - BURST_MS + 4_000 + n * 5_000
            self.action(name, at_ms, f"001A{n}", field, before, after)
        for n in range(3):  # three more updates of records that it had changed already
            self.action(name, STOP_MS - 2_000 + n * 500, f"001A{n}", "Industry", "Unknown", None)
        for n in range(REFUSED_AFTER):
            self.refusal(name, STOP_MS + 200 + n * 250, n)
        self.finding(
            name,
            STOP_MS,
            "f-2c91e0",
            SUMMARY,
        )
        self.control(name, 1, "suspended", 5, STOP_MS - 35 * DAY_MS, ("human", "jo"), "Sandbox run went wrong")
        self.control(
            name, 2, "active", 6, STOP_MS - 34 * DAY_MS, ("human", "maya"), "Sandbox run clean, 50 records a job"
        )
        self.control(
            name, 3, "suspended", 7, STOP_MS, ("detector", "action_rate"), SUMMARY, finding_id="f-2c91e0", is_last=True
        )

    # --- deals ----------------------------------------------------------------------------------------------------

    def deal(self, of: tuple[Any, ...], rank: int | None) -> None:
        """A deal with five weeks of scores."""
        id_, name, account, minor, closes, stage, lost, monday, slips, why, following = of
        reasons = [
            Reason("buyer_silence", 0.92, why), Reason("competitor", 0.46, "A competitor was named on a call on 3 Mar"),
            Reason("pushes", 0.38, "The close date was pushed by 14 days on 24 Feb"),
            Reason("next_meeting", 0.31, "No meeting is booked; the one on 5 Mar was cancelled"),
            Reason("executive", -0.33, "The buyer’s CFO joined a meeting on 29 Jan"),
            Reason("amount", -0.06, "The amount changed once, by less than a tenth"),
        ]  # fmt: skip
        band = "high" if lost >= 0.5 else "watch" if lost >= 0.3 else "low"
        model = ModelInfo(kind="scorecard", version=12, proven=False)
        self.add(
            t.deal, key=f"default/{id_}", tenant="default", deal_id=id_, manager_id="m-berger", owner_id="user:005LH",
            name=name, account=account, amount_minor=minor, currency="EUR", stage=stage, close_date=closes,
            link=f"https://crm.example/{id_}", is_open=True, recommended_action=following, p_lost=lost,
            p_lost_14d=lost / 2, p_slip=slips, p_won_by="{}", band=band, base=-1.1, reasons=_json(reasons),
            model=_json(model), at_ms=NOW_MS - 20 * MINUTE_MS, offset=9,
        )  # fmt: skip
        moved = [
            (37, 0.22, 0.30, ""), (34, 0.18, 0.27, "The CFO joined the demo"),
            (27, 0.24, 0.35, "Amount cut from €160,000 to €148,000"), (19, 0.21, 0.32, "Moved to Negotiation"),
            (12, 0.20, 0.33, "Petra Vogel wrote; the buyer’s last message"),
            (8, 0.35, 0.56, "Close date pushed from 13 Mar to 27 Mar"),
            (3, monday, 0.70, "Two more days without an answer"),
            (1, lost - 0.03, slips - 0.03, "Competitor named on a call"),
            (0.1, lost, slips, "Thursday’s meeting was cancelled"),
        ]  # fmt: skip
        for n, (days, p_lost, p_slip, cause) in enumerate(moved):
            self.add(
                t.deal_score, key=f"default/{id_}", at_ms=NOW_MS - int(days * DAY_MS), id=f"{id_}-{n}", offset=n,
                p_lost=p_lost, p_lost_14d=p_lost / 2, p_slip=p_slip, band=band, base=-1.1, reasons="[]", cause=cause,
            )  # fmt: skip
        if rank == 1:
            alert = Alert(
                alert_id=f"al-{id_}", kind="deal_silent", manager_id="m-berger", deal_id=id_, deal=name,
                account=account, amount=f"{minor // 100}", currency="EUR", close_date=closes, link=None,
                at=format_ms(NOW_MS - HOUR_MS), rank=1, p_lost=lost, p_slip=slips, reasons=reasons,
                recommended_action=following, open_deals=9,
            )  # fmt: skip
            told = AlertEvent(specversion="1.0", id=alert.alert_id, source="/tripline/main", time=alert.at, data=alert)
            self.add(
                t.alert, id=told.id, key="default/m-berger", kind=alert.kind, manager_id="m-berger", deal_id=id_,
                at_ms=NOW_MS - HOUR_MS, state="new", body=_json(told),
            )  # fmt: skip
        if rank is not None:
            self.add(
                t.top, key="default/m-berger", rank=rank, manager_id="m-berger", deal_id=id_,
                at_ms=NOW_MS - 20 * MINUTE_MS, body="{}",
            )  # fmt: skip


def seed_morning(folder: Path, *, with_stop: bool = True) -> Path:
    """The morning of 4 March: six agents, five deals to look at; enrich-bot was just stopped, or all is well."""
    seed = Seed(folder)
    for name, (_, _, _, middle, last, records) in AGENTS.items():
        count = 61 if with_stop and name == "enrich-bot" else last
        seed.agent(name, middle, count if name != "enrich-bot" else (2 if with_stop else last), records)
    for n in range(12):
        at_ms = NOW_MS - 13 * MINUTE_MS - n * 41 * MINUTE_MS
        seed.action("enrich-bot", at_ms, f"001C{n}", "Phone", None, f"+49 40 5550 {118 + n}")
    seed.action("stage-sync", NOW_MS - 17 * HOUR_MS, "006A1", "StageName", "Proposal", "Negotiation",
                object="Opportunity", deal_id="006A1",
                trigger=_json({"kind": "rule", "ref": "flow:stage-sync"}))  # fmt: skip
    if with_stop:
        seed.stop("enrich-bot")
    seed.finding(
        "stage-sync", NOW_MS - 3 * HOUR_MS, "f-77aa01", "5 errors in a row on Contract (FIELD_INTEGRITY)",
        detector="repeated_errors", mode="shadow", severity="warning", action_taken="none",
    )  # fmt: skip
    for place, of in enumerate(DEALS, 1):
        seed.deal(of, place if place <= 5 else None)
    path = seed.write()
    if with_stop:  # the bin in which the burst lies
        engine = create_engine(f"sqlite:///{projections_path(path)}")
        bin_ms = STOP_MS // BIN_MS * BIN_MS - BIN_MS
        with engine.begin() as connection:
            where = (t.agent_bin.c.key == "default/enrich-bot", t.agent_bin.c.bin_ms == bin_ms)
            connection.execute(t.agent_bin.update().where(*where).values(actions=61, records=58))
            where = (t.agent_bin.c.key == "default/enrich-bot", t.agent_bin.c.bin_ms == bin_ms + BIN_MS)
            connection.execute(t.agent_bin.update().where(*where).values(actions=0, records=0, denied=REFUSED_AFTER))
        engine.dispose()
    return path

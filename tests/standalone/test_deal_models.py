"""A model is promoted over HTTP on a running engine: it scores at once, after a restart, and in a replay of the log."""

from __future__ import annotations

import filecmp
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner
from litestar.testing import TestClient
from msgspec.structs import replace

from console.app import create_app, wall_ms
from console.auth import AuthStore
from console.cli.deals_health import health
from console.cli.deals_train import read_history
from console.upkeep import Upkeep, next_look_ms
from events.times import DAY_MS, format_ms
from events.types import AlertEvent, Event
from governance.settings import Settings, parse_settings
from scoring.stages import Process
from scoring.training.card import Health, Looked
from scoring.training.grid import grid
from scoring.training.learn import learn
from storage import outbox, projections
from storage.people import open_people
from storage.read import Reader
from storage.store import Store
from streams.deal_upkeep import tell_alarms
from streams.pipeline import Alarm
from streams.replay import replay
from streams.sinks.notices import notice_of
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.unit.scoring.models import model_file
from tests.unit.scoring.sales import sales

PASSWORD = "correct horse battery"
BASE = "https://127.0.0.1:8787"
AUTH = ("maya", PASSWORD)
ENTRIES = sales(36, days=40)
MIDDLE = len(ENTRIES) // 2
ALERT = {
    "specversion": "1.0", "id": "al", "source": "/tripline/main", "type": "tripline.alert.v1",
    "time": format_ms(ENTRIES[0][1]), "data": {
        "alert_id": "al", "kind": "deal_slip", "manager_id": "eva", "deal_id": "006A1/7", "deal": "Deal",
        "account": "Acme", "amount": None, "currency": None, "close_date": None, "link": None,
        "at": format_ms(ENTRIES[0][1]), "rank": 1, "p_lost": 0.5, "p_slip": 0.7, "reasons": [],
        "recommended_action": "", "open_deals": 1,
    },
}  # fmt: skip


def settings_of(folder: Path) -> Settings:
    return parse_settings(None, {}, {"server.data_dir": str(folder)})


class Live:
    """A runtime with its HTTP interface, fed with the first entries of a log, on the log's own clock."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self.settings = settings_of(folder)
        self.clock = clock
        self.runtime = Runtime(self.settings, clock=clock, with_ticker=False)
        self.runtime.start()
        auth = AuthStore(open_people(folder / "people.db"), wall_ms, PasswordHasher(1, 8, 1))
        if not auth.list_users():
            auth.add_user("maya", "operator", PASSWORD)
        self.reader = Reader.open(self.runtime.store.path)
        app = create_app(self.runtime, self.settings, self.reader, auth)
        self._open = ExitStack()
        self.client = self._open.enter_context(TestClient(app, base_url=BASE, raise_server_exceptions=False))

    def feed(self, entries: list[Any]) -> None:
        """A delivery a day, behind a tick."""
        for day, some in groupby(entries, lambda one: one[1] // DAY_MS):
            self.clock.move(max(0, (day + 1) * DAY_MS - self.clock.now_ms()))
            self.runtime.tick().result(10)
            given: list[tuple[bytes, Event]] = [(b"", event) for _, _, event in some]
            self.runtime.ingest(given, may_wait=True).result(10)

    def post(self, path: str, body: Any) -> Any:
        return self.client.post(
            path, content=msgspec.json.encode(body), headers={"content-type": "application/json"}, auth=AUTH
        )

    def kinds(self) -> set[str]:
        link = self.runtime.store.connect()
        try:
            rows = link.execute("SELECT model FROM deal WHERE is_open").fetchall()
        finally:
            link.close()
        return {msgspec.json.decode(body)["kind"] for (body,) in rows}

    def close(self) -> None:
        self._open.close()
        self.reader.close()
        self.runtime.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    return data


def test_a_promoted_model_scores_live_after_a_restart_and_in_the_replay(folder: Path, tmp_path: Path) -> None:
    clock = ManualClock(ENTRIES[0][1])
    live = Live(folder, clock)
    try:
        live.feed(ENTRIES[:MIDDLE])
        better, worse = model_file(1, "better"), model_file(2, "worse")
        changed = replace(better, tables=worse.tables)
        assert live.post("/v1/deals/models", changed).status_code == 400
        for file in (better, worse):
            assert live.post("/v1/deals/models", file).json() == {"hash": file.hash, "is_new": True}
        refused = live.post("/v1/deals/models/promote", {"model": worse.hash, "reason": "try it"})
        assert (refused.status_code, refused.json()["error"]) == (409, "not_better")
        assert live.post("/v1/deals/models/promote", {"model": "abcdef12", "reason": "x"}).status_code == 404
        assert live.kinds() == {"scorecard"}
        assert "The hand scorecard, from the beginning" in live.client.get("/deals/model").text
        told = live.post("/v1/deals/models/promote", {"model": better.hash[:10], "reason": "better here"})
        assert told.json()["version"] == 1, told.text
        assert live.kinds() == {"boosted"}
        listed = live.client.get("/v1/deals/models").json()
        assert {one["hash"]: one["state"] for one in listed["models"]} == {
            better.hash: "active",
            worse.hash: "candidate",
        }
        page = live.client.get("/deals/model").text
        assert f"What scores deals: {better.hash[:12]}" in page
        assert "better here" in page
        assert worse.hash[:12] in page
        said = Health(
            model=better.hash, since="2026-03-02T08:00:00Z", until="2026-04-02T08:00:00Z", closed_deals=30,
            verdict="worse", why="it is", targets=[], weeks=[], drift=[], alerts=["look at it"],
        )  # fmt: skip
        assert live.post("/v1/deals/models/health", said).status_code == 204
        assert live.client.get("/v1/deals/models").json()["health"]["verdict"] == "worse"
        assert "look at it" in live.client.get("/deals/model").text
        assert "\ntripline_deal_model_concerns 1.0\n" in live.client.get("/metrics").text
        live.feed(ENTRIES[MIDDLE : MIDDLE + 60])
    finally:
        live.close()
    live = Live(folder, clock)
    try:
        live.feed(ENTRIES[MIDDLE + 60 : MIDDLE + 120])
        assert live.kinds() == {"boosted"}
        forced = live.post("/v1/deals/models/promote", {"model": worse.hash, "reason": "drill", "force": True})
        assert forced.json()["forced"] is True
        back = live.post("/v1/deals/models/promote", {"back": True, "reason": "enough"})
        assert (back.json()["hash"], back.json()["version"]) == (better.hash, 3)
        live.post("/v1/deals/models/promote", {"model": "scorecard", "reason": "drill"})
        assert "\ntripline_deal_model_concerns 0.0\n" in live.client.get("/metrics").text
        live.feed(ENTRIES[MIDDLE + 120 :])
        live.runtime.dump(tmp_path / "dump")
        said = _risks_said(live.runtime.store)
    finally:
        live.close()
    logs = sorted((tmp_path / "dump").glob("*.jsonl"))
    for name in ("one", "two"):
        replay(logs, settings_of(folder), tmp_path / name)
    again = [
        msgspec.json.decode(line)["data"] for line in (tmp_path / "one" / "deal_risk.jsonl").read_bytes().splitlines()
    ]
    assert [(one["deal_id"], one["offset"], one["p_lost"]) for one in again] == said
    assert {one["model"]["version"] for one in again if one["model"]["kind"] == "boosted"} == {1, 2, 3}
    assert filecmp.cmp(tmp_path / "one" / "deal_risk.jsonl", tmp_path / "two" / "deal_risk.jsonl", shallow=False)


def _risks_said(store: Store) -> list[tuple[str, int, float]]:
    link = store.connect()
    try:
        rows = link.execute('SELECT key, "offset", p_lost FROM deal_score ORDER BY "offset", key').fetchall()
    finally:
        link.close()
    return [(key.partition("/")[2], offset, p_lost) for key, offset, p_lost in rows]


def test_the_weekly_look_is_done_once_kept_told_and_changes_the_model_where_it_may(folder: Path) -> None:
    clock = ManualClock(ENTRIES[0][1])
    live = Live(folder, clock)
    better = model_file(1, "better")
    asked: list[int] = []

    def learn_(settings: Settings) -> Looked:
        asked.append(clock.now_ms())
        said = Health(
            model="x", since="2026-03-02T08:00:00Z", until="2026-04-02T08:00:00Z", closed_deals=30, verdict="worse",
            why="it is", targets=[], weeks=[], drift=[], alerts=["it has become worse"],
        )  # fmt: skip
        return Looked(health=said, candidates=[better], promote=better.hash, why="it does better")

    try:
        live.feed(ENTRIES[:MIDDLE])
        keeps = replace(live.settings, deals=replace(live.settings.deals, auto_promote=True))
        upkeep, other = (Upkeep(live.runtime, one, live.reader, learn_) for one in (live.settings, keeps))
        assert [upkeep.look(), other.look()] == [False, False]
        clock.move(next_look_ms(clock.now_ms(), live.settings) - clock.now_ms())
        assert [upkeep.look(), other.look(), upkeep.look()] == [True, False, False]
        assert live.client.get("/v1/deals/models").json()["active"] == "scorecard", "it only proposes"
        assert live.client.get("/v1/deals/models").json()["models"][0]["by"] == "tripline"
        clock.move(7 * DAY_MS)
        assert [other.look(), upkeep.look()] == [True, False]
        assert live.client.get("/v1/deals/models").json()["active"] == better.hash
        assert live.client.get("/v1/deals/models").json()["health"]["verdict"] == "worse"
        assert len(asked) == 2
        assert asked[1] - asked[0] == 7 * DAY_MS
        link = live.runtime.store.connect()
        notices = [notice_of(row) for row in outbox.waiting(link) if row.id.startswith("deal-model")]
        link.close()
        assert [one.kind for one in notices if one] == ["pipeline", "pipeline"]
        assert notices[0] is not None
        assert (
            f"it has become worse. model {better.hash[:12]}: it does better; tripline deals promote" in notices[0].body
        )
        live.feed(ENTRIES[MIDDLE : MIDDLE + 40])
        assert live.kinds() == {"boosted"}
        told = CliRunner().invoke(health, ["--data-dir", str(folder)])
        assert f"{better.hash} from" in told.output
        assert "none was judged." in told.output
    finally:
        live.close()


def test_an_alarm_of_the_pipeline_is_told_once(folder: Path) -> None:
    live = Live(folder, ManualClock(ENTRIES[0][1]))
    alarm = Alarm(
        monday="2026-03-02", group="team eva", series="created", counted=1, expected=9.0, weeks=2, evidence=900.0,
        threshold=500.0, sentence="Team eva: 1 deals created in the week of 2026-03-02; 9 would be usual",
    )  # fmt: skip
    try:
        for alarms in ([alarm], [alarm, replace(alarm, monday="2026-03-16")]):
            live.runtime.decide("default/x", partial(tell_alarms, tenant="default", alarms=alarms)).result(10)
        link = live.runtime.store.connect()
        told = [(row.key, notice_of(row)) for row in outbox.waiting(link) if row.id.startswith("pipeline:")]
        link.close()
        assert [key for key, _ in told] == ["default/eva", "default/eva"]
        assert told[0][1] is not None
        assert told[0][1].body.startswith("Team eva: 1 deals created in the week of 2026-03-02; 9 would be usual.")
    finally:
        live.close()


def test_what_people_say_of_an_alert_is_kept_shown_and_measured(folder: Path) -> None:
    live = Live(folder, ManualClock(ENTRIES[0][1]))
    try:
        alert = msgspec.convert(ALERT, AlertEvent)
        live.runtime.call(lambda at: projections.store_alert(at.core.link, "al", "default/eva", alert)).result(10)
        asked = "/v1/deals/006A1%2F7/feedback"
        told = live.post(asked, {"verdict": "wrong", "reason": "they are on leave"})
        assert (told.status_code, told.json()["alert_id"], told.json()["by"]) == (200, "al", "maya")
        assert live.post(asked, {"verdict": "useful", "alert_id": "al", "reason": "yes"}).status_code == 200
        assert live.post(asked, {"verdict": "useful", "alert_id": "other"}).status_code == 404
        assert live.post("/v1/deals/other/feedback", {"verdict": "useful", "alert_id": "al"}).status_code == 404
        assert live.post(asked, {"verdict": "great"}).status_code == 400
        (kept,) = live.client.get("/v1/deals/006A1%2F7/alerts").json()["alerts"]
        assert [(one["by"], one["verdict"], one["reason"]) for one in kept["said"]] == [("maya", "useful", "yes")]
        every, slip = live.client.get("/v1/deals/feedback?manager=eva").json()["counts"]
        assert (every["given"], every["judged"], every["precision"], slip["kind"]) == (1, 1, 1.0, "deal_slip")
        metrics = live.client.get("/metrics").text
        assert '\ntripline_alerts_judged{verdict="useful"} 1.0\n' in metrics
        assert '\ntripline_alerts_judged{verdict="wrong"} 0.0\n' in metrics
        assert live.client.get("/v1/deals/close-out").json() == {"manager_id": None, "rows": []}
    finally:
        live.close()


def test_the_store_and_its_dump_teach_the_same_model(folder: Path, tmp_path: Path) -> None:
    live = Live(folder, ManualClock(ENTRIES[0][1]))
    try:
        live.feed(ENTRIES)
        live.runtime.dump(tmp_path / "dump")
        hand = grid(Process(), 14)
        from_store = learn(read_history(live.settings, (), None), hand)
        from_dump = learn(read_history(live.settings, (tmp_path / "dump" / "crm.events.jsonl",), None), hand)
        assert from_store == from_dump
        looked = Upkeep(live.runtime, live.settings, live.reader)._in_process(live.settings)
        assert (looked.health, looked.promote) == (None, from_store.hash if looked.promote else "")
        assert ("the scorecard goes on" in looked.why) is not bool(looked.promote)
    finally:
        live.close()

"""Mutes, expectations and verdicts, on a real runtime: over HTTP, in the log, behind a restart, in a replay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from argon2 import PasswordHasher
from litestar import Litestar
from litestar.testing import TestClient

from console.app import PEOPLE_FILE, create_app, wall_ms
from console.auth import AuthStore
from events.times import DAY_MS, HOUR_MS, MINUTE_MS, format_ms
from events.types import ActionError
from governance.settings import parse_settings
from storage.people import open_people
from storage.read import Reader
from storage.store import Store
from streams.replay import replay
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.standalone.fakes import action_event

NOW_MS = 1_772_442_843_120
PASSWORD = "correct horse battery"
MAYA, JO, OWEN = ("maya", PASSWORD), ("jo", PASSWORD), ("owen", PASSWORD)
TOML = """
[agents.bot]
owner = "owen"
actions = ["record.*"]
"""


class House:
    """A runtime, its pages, and three operators, of whom Owen answers for the bot."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.number = folder, ManualClock(NOW_MS), 0
        self.settings = parse_settings(TOML, {}, {"server.data_dir": str(folder)})
        self.auth = AuthStore(open_people(folder / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
        self.open()

    def open(self) -> None:
        self.runtime = Runtime(self.settings, clock=self.clock, store=Store(self.folder), with_ticker=False)
        self.runtime.start()
        self.reader = Reader.open(self.runtime.store.path)
        app: Litestar = create_app(self.runtime, self.settings, self.reader, self.auth)
        self.client = TestClient(app, base_url="https://127.0.0.1:8787")

    def close(self) -> None:
        self.reader.close()
        self.runtime.close()

    def post(self, path: str, person: tuple[str, str], **body: Any) -> tuple[int, dict[str, Any]]:
        answer = self.client.post(path, json=body, auth=person)
        return answer.status_code, answer.json()

    def get(self, path: str) -> Any:
        """Once the rows of agents show all that is in the log: another thread writes them."""
        assert self.runtime.projector is not None
        assert self.runtime.projector.wait_until_idle(30)
        return self.client.get(path, auth=MAYA).json()

    def fail(self, times: int, kind: str = "Lead", gap_ms: int = 1_000, agents: tuple[str, ...] = ("bot",)) -> None:
        """The bot, or some in turn, fails in a row, on other records each time."""
        for time in range(times):
            self.number += 1
            self.clock.move(gap_ms)
            event = action_event(agents[time % len(agents)], self.number, self.clock.now_ms(), outcome="error")
            data = msgspec.structs.replace(
                event.data, object=kind, record_ids=[f"r{self.number}"], error=ActionError("INVALID_FIELD")
            )
            self.runtime.ingest([(b"", msgspec.structs.replace(event, data=data))], may_wait=True).result(30)

    def state(self) -> str:
        row = self.reader.agent("bot", self.clock.now_ms())
        return row.control.state if row and row.control else "active"

    def findings(self) -> list[Any]:
        return [row.finding for row in self.reader.findings(detector="repeated_errors").rows]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables and people, made once: each test begins with a copy."""
    folder = tmp_path_factory.mktemp("empty")
    with Store(folder) as store:
        store.migrate()
        store.connect_projections().close()
    auth = AuthStore(open_people(folder / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
    for name in ("maya", "jo", "owen"):
        auth.add_user(name, "operator", PASSWORD)
    return folder


@pytest.fixture
def house(empty: Path, tmp_path: Path) -> Iterator[House]:
    shutil.copytree(empty, tmp_path / "store")
    made = House(tmp_path / "store")
    yield made
    made.close()


def muted(house: House, **body: Any) -> str:
    asked = {"detector": "repeated_errors", "hours": 8, "reason": "an import", **body}
    status, told = house.post("/v1/agents/bot/mutes", MAYA, **asked)
    assert (status, told["state"]) == (202, "waiting"), told
    return str(told["id"])


def agreed(house: House, **body: Any) -> str:
    id_ = muted(house, **body)
    assert house.post(f"/v1/mutes/{id_}/confirm", JO)[0] == 200
    return id_


def test_a_mute_takes_a_second_person_who_does_not_answer_for_the_agent(house: House) -> None:
    id_ = muted(house)
    refused = [house.post(f"/v1/mutes/{id_}/confirm", person) for person in (MAYA, OWEN)]
    assert [(status, told["error"]) for status, told in refused] == [(403, "same_person"), (403, "owner")]
    house.fail(5)
    assert house.state() == "suspended"


def test_while_muted_people_are_told_and_nothing_is_done_and_then_it_is_over(house: House) -> None:
    agreed(house)
    house.fail(5)
    assert house.state() == "active"
    (said,) = house.findings()
    assert (said.mode, said.action_taken) == ("enforce", "notify")
    assert said.evidence.details["muted_until"] == format_ms(NOW_MS + 8 * HOUR_MS)
    house.clock.move(9 * HOUR_MS)
    house.runtime.tick().result(30)
    house.fail(5)
    assert house.state() == "suspended"


def test_one_person_ends_it_and_all_of_it_is_kept(house: House) -> None:
    id_ = agreed(house)
    assert house.post(f"/v1/mutes/{id_}/end", OWEN, reason="done")[0] == 200
    house.fail(5)
    assert house.state() == "suspended"
    assert house.get("/v1/mutes")["mutes"] == []
    (kept,) = house.get("/v1/mutes?all=true")["mutes"]
    told = (kept["state"], kept["by"], kept["second"], kept["ended_by"], kept["end_reason"], kept["reason"])
    assert told == ("ended", "maya", "jo", "owen", "done", "an import")
    assert house.post(f"/v1/mutes/{id_}/confirm", JO)[1]["error"] == "not_waiting"


def test_what_no_mute_may_be(house: House) -> None:
    wrong = [
        ({"hours": 169}, "bad_request"),
        ({"since": format_ms(NOW_MS + 6 * DAY_MS), "hours": 48}, "too_long"),
        ({"since": "tomorrow"}, "bad_request"),
        ({"detector": "nobody"}, "bad_request"),
        ({"detector": "*", "most": "none"}, "must_tell"),
        ({"reason": "  "}, "reason_missing"),
    ]
    for body, error in wrong:
        asked: dict[str, Any] = {"detector": "action_rate", "hours": 1, "reason": "why", **body}
        status, told = house.post("/v1/agents/bot/mutes", MAYA, **asked)
        assert (status, told["error"]) == (400, error), body


def test_a_maintenance_window_begins_when_it_says(house: House) -> None:
    agreed(house, detector="*", since=format_ms(NOW_MS + HOUR_MS), hours=1)
    house.clock.move(HOUR_MS)
    house.runtime.tick().result(30)
    house.fail(5)
    assert house.state() == "active"
    house.clock.move(HOUR_MS)
    house.runtime.tick().result(30)
    house.fail(5, "Deal")
    assert house.state() == "suspended"


def test_an_expected_finding_lets_pass_as_much_and_little_more(house: House) -> None:
    """Five in a row were expected, times 1.25: six pass, the seventh (seen at the next look, at ten) does not."""
    house.fail(5)
    (said,) = house.findings()
    body = {"verdict": "expected", "reason": "known", "days": 1, "factor": 1.25}
    status, told = house.post(f"/v1/findings/{said.finding_id}/verdict", MAYA, **body)
    assert (status, told["ceiling"], told["unit"]) == (202, 6.25, "errors in a row")
    assert house.post(f"/v1/mutes/{told['id']}/confirm", JO)[0] == 200
    row = house.get("/v1/agents/bot")["row"]
    (listed,) = [each for each in house.get("/v1/agents")["agents"] if each["agent_id"] == "bot"]
    assert row["grade"] == listed["grade"]
    assert (row["grade"]["grade"], row["grade"]["records_24h"]) == ("observed", None)
    epoch = row["control"]["epoch"]
    assert house.post("/v1/agents/bot/release", MAYA, reason="known", epoch=epoch)[0] == 200
    house.fail(5)
    assert house.state() == "active"
    house.fail(5)
    assert house.state() == "suspended"
    assert [one.action_taken for one in house.findings()] == ["suspend", "notify", "suspend"]


def test_a_wrong_stop_is_counted_against_its_detectors_budget(house: House) -> None:
    house.clock.move(10 * DAY_MS)
    house.fail(5, gap_ms=MINUTE_MS)
    (said,) = house.findings()
    for person in (MAYA, JO):  # said twice, counted once
        status, told = house.post(f"/v1/findings/{said.finding_id}/verdict", person, verdict="wrong", reason="no")
        assert (status, told["message"]) == (200, "It counts against the budget of repeated_errors.")
    assert house.post("/v1/findings/none/verdict", MAYA, verdict="wrong", reason="no")[0] == 404
    deadline_lines = {line["detector"]: line for line in house.get("/v1/detectors/budget")["detectors"]}
    line = deadline_lines["repeated_errors"]
    assert (line["stops"], line["wrong"], line["expected"], line["is_over"]) == (1, 1, 0, True)


def test_an_incident_is_one_finding_about_all_agents_and_stops_nobody(house: House) -> None:
    house.fail(60, agents=tuple(f"bot-{number}" for number in range(6)))
    (said,) = house.reader.findings(without_info=True).rows
    assert (said.finding.detector, said.finding.agent_id, said.status) == ("common_cause", "*", "noted")
    states = {row["agent_id"]: row["control"] for row in house.get("/v1/agents")["agents"]}
    assert "*" not in states
    assert set(states.values()) == {None}
    assert house.get("/v1/stop-all")["state"] == "active"
    page = house.client.get("/findings", headers={"accept": "text/html"}, auth=MAYA).text
    assert "All agents" in page
    told = house.runtime.call(lambda at: at.core.link.execute("SELECT key, kind FROM outbox").fetchall()).result(10)
    assert [kind for key, kind in told if key == "default/*"] == ["notification"]
    assert {kind for _, kind in told} == {"notification"}, "nobody is controlled"


def test_pages_show_it_and_their_forms_do_the_same(house: House) -> None:
    def shown(path: str, person: tuple[str, str] = MAYA) -> str:
        return house.client.get(path, headers={"accept": "text/html"}, auth=person).text

    def sent(path: str, person: tuple[str, str], **fields: str) -> str:
        answer = house.client.post(path, data=fields, auth=person, follow_redirects=False)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    house.fail(5)
    (said,) = house.findings()
    path = f"/findings/{said.finding_id}"
    assert path in shown("/findings")
    assert sent(f"{path}/verdict", MAYA, verdict="wrong", reason="a mistake") == "/findings"
    assert "People said: wrong" in shown(path)
    assert sent(f"{path}/verdict", MAYA, verdict="expected", reason="known", days="7") == "/mutes"
    (asked,) = house.get("/v1/mutes")["mutes"]
    confirm = f"/mutes/{asked['id']}/confirm"
    assert confirm not in shown("/mutes")
    assert confirm in shown("/mutes", JO)
    assert sent(confirm, JO, csrf_token="x") == "/mutes"
    about = shown("/agents/bot")
    assert "Expected until" in about
    assert "Observed: it acts and never asked the gate" in about
    assert "no bound" in about
    assert sent(f"/mutes/{asked['id']}/end", MAYA, reason="enough") == "/mutes"
    assert "Expected until" not in shown("/agents/bot")


def test_what_was_live_is_replayed_and_a_restart_in_the_middle_changes_nothing(house: House, tmp_path: Path) -> None:
    agreed(house)
    house.fail(3)
    house.close()
    house.open()
    house.fail(3)
    house.clock.move(9 * HOUR_MS)
    house.runtime.tick().result(30)
    house.fail(6)
    (tmp_path / "dump").mkdir()
    house.runtime.dump(tmp_path / "dump")
    replay(sorted((tmp_path / "dump").glob("*.jsonl")), house.settings, tmp_path / "again")
    again = [msgspec.json.decode(line) for line in (tmp_path / "again" / "findings.jsonl").read_bytes().splitlines()]
    live = [msgspec.json.decode(msgspec.json.encode(one)) for one in reversed(house.findings())]
    assert [one["data"] for one in again if one["data"]["detector"] == "repeated_errors"] == live
    assert [one["action_taken"] for one in live] == ["notify", "suspend"]

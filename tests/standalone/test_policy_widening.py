"""A wider policy takes two people and an end; a narrower one holds at once: over HTTP, behind a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from litestar import Litestar
from litestar.testing import TestClient

from console.app import PEOPLE_FILE, create_app, wall_ms
from console.auth import AuthStore
from events.times import DAY_MS, HOUR_MS, format_ms
from events.types import Trigger
from governance.gate import GateRequest
from governance.settings import parse_settings
from storage.people import open_people
from storage.read import Reader
from storage.store import Store
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.standalone.test_policy import POLICY

NOW_MS = 1_772_442_843_120
PASSWORD = "correct horse battery"
MAYA, JO, LEA = ("maya", PASSWORD), ("jo", PASSWORD), ("lea", PASSWORD)
WIDER = POLICY.replace('fields = ["Lead.Phone"]', 'fields = ["Lead.Phone", "Lead.Fax"]')


def bulk(text: str, records: int) -> str:
    """The same with fewer records in 10 minutes."""
    return text.replace("records_in_10_min = 100", f"records_in_10_min = {records}")


class House:
    """A runtime under a policy, its pages, and three operators, of whom Lea answers for the bot."""

    def __init__(self, folder: Path) -> None:
        self.policy = folder / "policy.toml"
        self.policy.write_text(POLICY)
        text = (
            f'[people.lea]\n[agents.bot]\nactions = ["record.*"]\n[policy]\nfile = "{self.policy}"\npoll_secs = 3600\n'
        )
        self.settings = parse_settings(text, {}, {"server.data_dir": str(folder)})
        self.clock, self.number = ManualClock(NOW_MS), 0
        self.auth = AuthStore(open_people(folder / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
        for name in ("maya", "jo", "lea"):
            self.auth.add_user(name, "operator", PASSWORD)
        self.open()

    def open(self) -> None:
        store = Store(Path(self.settings.server.data_dir))
        self.runtime = Runtime(self.settings, clock=self.clock, store=store, with_ticker=False)
        self.runtime.start()
        self.reader = Reader.open(self.runtime.store.path)
        app: Litestar = create_app(self.runtime, self.settings, self.reader, self.auth)
        self.client = TestClient(app, base_url="https://127.0.0.1:8787")

    def close(self) -> None:
        self.reader.close()
        self.runtime.close()

    def write(self, text: str) -> None:
        self.policy.write_text(text)
        self.runtime.policies.look()

    def post(self, path: str, person: tuple[str, str], **body: Any) -> tuple[int, dict[str, Any]]:
        answer = self.client.post(path, json=body, auth=person)
        return answer.status_code, answer.json()

    def state(self, query: str = "") -> Any:
        return self.client.get(f"/v1/policy{query}", auth=MAYA).json()

    def ask(self, days: float = 30, person: tuple[str, str] = MAYA) -> dict[str, Any]:
        body = {"version": self.state()["found"][:12], "reason": "a pilot", "days": days}
        status, told = self.post("/v1/policy/changes", person, **body)
        assert (status, told["state"]) == (202, "waiting"), told
        return told

    def may(self, field: str = "Fax") -> bool:
        self.number += 1
        request = GateRequest(
            agent_id="bot", action="record.update", object="Lead", record_ids=["r1"], changes={"r1": {field: (1, 2)}},
            authorized_by="lea", trigger=Trigger("prompt"), request_id=f"q{self.number}",
        )  # fmt: skip
        found: Any = self.runtime.check(request).result(10)
        return bool(found.decision == "allow")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def test_a_wider_version_waits_for_two_people_and_ends_by_itself(house: House) -> None:
    first = house.state()["version"]
    house.write(WIDER)
    told = house.state()
    assert (told["version"], told["until"]) == (first, None)
    assert told["waits"] == ["agents.bot.scope: bot, scope: lead with lead.phone → lead with lead.fax and lead.phone"]
    assert not house.may()
    asked = house.ask()
    assert asked["lines"] == told["waits"]
    at = f"/v1/policy/changes/{asked['id']}/confirm"
    assert [house.post(at, who)[1]["error"] for who in (MAYA, LEA)] == ["same_person", "owner"]
    assert house.client.post(f"/v1/mutes/{asked['id']}/confirm", json={}, auth=JO).status_code == 404
    assert not house.may()
    status, agreed = house.post(at, JO)
    assert (status, agreed["state"], agreed["second"]) == (200, "agreed", "jo")
    assert house.may()
    told = house.state()
    assert (told["version"], told["base"], told["waits"]) == (told["found"], first, [])
    assert told["until"] == format_ms(house.clock.now_ms() + 30 * DAY_MS)
    house.close()
    house.open()
    assert house.may()
    house.clock.move(30 * DAY_MS)
    assert not house.may()
    assert house.state()["version"] == first
    assert [each["state"] for each in house.state("?all=true")["changes"]] == ["ended"]


def test_what_narrows_in_the_same_version_holds_at_once_also_behind_a_restart(house: House) -> None:
    house.write(bulk(WIDER, 50))
    told = house.state()
    assert told["version"] not in (told["found"], "")
    assert len(told["waits"]) == 1
    policy = house.runtime.policies.policy
    assert policy is not None
    assert policy.bulk.records_in_10_min == 50
    house.policy.write_text(POLICY)  # back to what it was, while nothing runs: that is wider by now
    house.close()
    house.open()
    assert house.state()["version"] == told["version"]
    assert [line.partition(":")[0] for line in house.state()["waits"]] == ["bulk.records_in_10_min"]


def test_nobody_agrees_to_what_was_not_shown_and_one_person_ends_it(house: House) -> None:
    house.write(WIDER)
    asked = house.ask()
    house.write(bulk(POLICY, 10))
    assert house.post(f"/v1/policy/changes/{asked['id']}/confirm", JO)[1]["error"] == "stale"
    body = {"version": asked["version"], "reason": "again"}
    assert house.post("/v1/policy/changes", MAYA, **body)[1]["error"] == "stale"
    house.write(bulk(WIDER, 10))
    again = house.ask(days=1, person=LEA)
    assert house.post(f"/v1/policy/changes/{again['id']}/confirm", JO)[0] == 200
    assert house.may()
    house.write(bulk(POLICY, 9))  # who writes less needs nobody
    assert not house.may()
    assert house.may("Phone")
    house.write(bulk(WIDER, 9))
    third = house.ask(days=1)
    assert house.post(f"/v1/policy/changes/{third['id']}/confirm", JO)[0] == 200
    assert house.may()
    assert house.post(f"/v1/policy/changes/{third['id']}/end", MAYA, reason="enough")[1]["state"] == "ended"
    assert not house.may()
    house.clock.move(HOUR_MS)
    assert house.client.post(f"/v1/policy/changes/{third['id']}/confirm", json={}, auth=JO).status_code == 409


def test_no_token_and_no_viewer_asks_and_no_end_is_too_far(house: House) -> None:
    house.write(WIDER)
    house.auth.add_user("vera", "viewer", PASSWORD)
    body = {"version": house.state()["found"], "reason": "a pilot"}
    assert house.post("/v1/policy/changes", ("vera", PASSWORD), **body)[0] == 403
    assert house.client.post("/v1/policy/changes", json=body).status_code in (401, 403)
    assert house.post("/v1/policy/changes", MAYA, **body, days=91)[0] == 400
    assert house.post("/v1/policy/changes", MAYA, version=body["version"], reason=" ")[0] == 400


def test_a_version_that_was_changed_in_the_store_is_not_taken(house: House) -> None:
    house.close()
    link = house.runtime.store.connect()
    link.execute("UPDATE policy_version SET body = replace(body, 'lead.phone', 'lead.fax')")
    link.close()
    with pytest.raises(Exception, match="was changed"):
        house.open()
    house.runtime.close()


def test_the_board_shows_what_waits_who_may_what_and_takes_a_persons_word(house: House) -> None:
    house.write(WIDER)
    asked = house.ask()
    assert house.may("Phone")
    assert not house.may()
    page = house.client.get("/delegation", auth=JO).text
    assert f"/delegation/changes/{asked['id']}/confirm" in page
    assert f"/delegation/changes/{asked['id']}/confirm" not in house.client.get("/delegation", auth=MAYA).text
    assert "lead with lead.phone → lead with lead.fax and lead.phone" in page
    told = house.client.get("/v1/delegation", auth=JO).json()
    (row,) = told["agents"]
    change = next(cell for cell in row["cells"] if cell["kind"] == "Change")
    assert (change["may"], change["seen"]["allowed"], change["seen"]["denied"]) == ("autonomous", 1, 1)
    assert (told["level"], told["items"][8]["state"]) == (2, "missing")
    assert house.post("/v1/readiness/legal", JO, note="OPS-41")[0] == 200
    assert house.post("/v1/readiness/audit", JO, note="x")[0] == 400
    assert house.post("/v1/readiness/legal", JO, note=" ")[0] == 400
    said = house.client.get("/v1/delegation", auth=JO).json()["items"][8]
    assert (said["state"], said["by"], said["evidence"]) == ("met", "jo", "OPS-41")

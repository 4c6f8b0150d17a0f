"""What the runtime refuses is answered, kept and counted as what the decoder refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from console.app import PEOPLE_FILE, wall_ms
from console.auth import AuthStore
from events.times import DAY_MS, format_ms
from storage.people import open_people
from storage.store import Store
from tests.standalone.test_widenings import MAYA, NOW_MS, PASSWORD, House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Store(tmp_path) as store:
        store.migrate()
        store.connect_projections().close()
    auth = AuthStore(open_people(tmp_path / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
    auth.add_user("maya", "operator", PASSWORD)
    made = House(tmp_path)
    yield made
    made.close()


def sent(house: House, *events: dict[str, Any]) -> dict[str, Any]:
    body = "\n".join(map(json.dumps, events))
    answer = house.client.post("/v1/events", content=body, headers={"content-type": "application/x-ndjson"}, auth=MAYA)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def letters(house: House) -> list[Any]:
    return house.runtime.call(
        lambda at: at.core.link.execute("SELECT reason, message, origin FROM dead_letter").fetchall()
    ).result(10)


def event(id_: str, kind: str, at_ms: int, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": id_, "source": "/crm/x", "type": kind, "time": format_ms(at_ms), "data": data,
    }  # fmt: skip


def test_a_time_ahead_is_refused_with_its_field_place_and_value(house: House) -> None:
    acted = {"agent_id": "bot", "action": "record.update", "outcome": "ok", "object": "Lead", "record_ids": ["r1"]}
    good = event("a", "tripline.agent.action.v1", NOW_MS, **acted)
    ahead = event("b", "tripline.agent.action.v1", NOW_MS + 2 * DAY_MS, **acted)
    told = sent(house, good, ahead)
    (refused,) = told["refused"]
    assert (told["accepted"], refused["index"], refused["reason"], refused["field"]) == (1, 1, "time_ahead", "time")
    assert format_ms(NOW_MS + 2 * DAY_MS) in refused["message"]
    ((reason, message, origin),) = letters(house)
    assert (reason, message) == ("time_ahead", refused["message"])
    assert json.loads(origin) == {"http": "/v1/events", "index": 1}
    # counted as an item that was refused, and as a dead letter
    metrics = house.client.get("/metrics", auth=MAYA).text
    assert [line.rpartition(" ")[2] for line in metrics.splitlines() if 'reason="time_ahead"' in line] == ["1.0", "1.0"]


def test_an_id_that_is_used_again_for_another_change_is_refused(house: House) -> None:
    changed = {"object": "Opportunity", "record_id": "006A1", "op": "update"}
    first = event("a", "tripline.crm.change.v1", NOW_MS, **changed, changes={"Amount": [1, 2]})
    other = event("a", "tripline.crm.change.v1", NOW_MS, **changed, changes={"Amount": [1, 3]})
    told = sent(house, first, other)
    (refused,) = told["refused"]
    assert (refused["index"], refused["reason"], refused["field"]) == (1, "id_reused", "id")
    assert "'a' was used before with another content by '/crm/x'" in refused["message"]
    ((reason, _, origin),) = letters(house)
    assert (reason, json.loads(origin)["index"]) == ("id_reused", 1)


def posted(house: House, body: bytes, **attributes: str) -> tuple[int, Any]:
    headers = {f"ce-{name}": value for name, value in attributes.items()} | {"content-type": "application/json"}
    answer = house.client.post("/v1/events", content=body, headers=headers, auth=MAYA)
    (letter,) = house.runtime.call(
        lambda at: at.core.link.execute("SELECT raw, origin FROM dead_letter ORDER BY id DESC LIMIT 1").fetchall()
    ).result(10)
    return answer.status_code, letter


def test_a_binary_message_is_kept_with_its_attributes(house: House) -> None:
    said = {"id": "a", "source": "/x", "type": "tripline.agent.action.v1", "specversion": "1.0"}
    said["time"] = format_ms(NOW_MS)
    status, (raw, origin) = posted(house, b'{"agent_id": "bot"}', **said)
    kept = json.loads(raw)
    assert status == 400
    assert json.loads(origin) == {"http": "/v1/events", "index": 0}
    assert {name: kept[name] for name in said} == said
    assert kept["data"] == {"agent_id": "bot"}
    status, (raw, origin) = posted(house, b'{"agent_id": ', **said)
    told = json.loads(origin)
    assert (status, raw) == (400, b'{"agent_id": ')
    assert {name: told[f"ce-{name}"] for name in said} == said

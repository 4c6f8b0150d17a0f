"""``tripline console`` as a platform engineer has it: worker, console, broker and database, each a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from console.cli.console import command
from events.codec import decode
from events.times import format_ms
from events.types import RiskEvent
from governance.settings import Kafka
from streams.kafka.admin import create
from tests.kafka.deciding import RunningConsole, add_maya, now_ms, write_config
from tests.kafka.working import Cluster, Running, until
from tests.unit.scoring.deals_log import change
from tests.unit.scoring.deals_log import event as enveloped
from tests.unit.scoring.models import model_file


def burst(agent: str) -> list[dict[str, Any]]:
    """An agent changes far more records at once than anybody allowed."""
    return [
        {
            "specversion": "1.0", "type": "tripline.agent.action.v1", "id": f"{agent}-{number}", "source": "/crm",
            "time": format_ms(now_ms()),
            "data": {
                "agent_id": agent, "action": "record.update", "object": "Contact", "outcome": "ok",
                "record_ids": [f"r-{number}-{record}" for record in range(150)],
            },
        }
        for number in range(3)
    ]  # fmt: skip


@pytest.fixture
def consoles(kafka: Kafka, database: str, tmp_path: Path) -> Iterator[Any]:
    """Starts consoles on one database, with maya as their person."""
    create(kafka)
    add_maya(database)
    write_config(tmp_path)
    started: list[RunningConsole] = []

    def start(name: str = "console") -> RunningConsole:
        started.append(RunningConsole(kafka, database, tmp_path, name))
        until(lambda: not started[-1].reasons(), "it is ready")
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


def test_a_rogue_agent_is_refused_until_a_person_releases_it_and_over_restarts(
    consoles: Any, kafka: Kafka, tmp_path: Path
):
    worker = Running(kafka, tmp_path, "worker", "--config", str(tmp_path / "tripline.toml"))
    first = consoles()
    assert first.check("rogue")["decision"] == "allow"
    for event in burst("rogue"):
        assert first.post("/v1/events", **event)["accepted"] == 1
    until(lambda: first.check("rogue")["rule"] == "suspended", "the gate refuses it")
    assert first.check("bot")["decision"] == "allow"
    first.kill()
    second = consoles("second")
    assert second.check("rogue")["rule"] == "suspended"
    until(lambda: "rogue" in second.page("/") and "rogue" in second.page("/agents/rogue"), "the pages show it")
    assert second.client.get("/v1/agents/rogue").json()["row"]["control"]["state"] == "suspended"
    released = second.post("/v1/agents/rogue/release", reason="mended", epoch=second.check("rogue")["epoch"])
    assert released["state"] == "releasing"
    until(lambda: second.check("rogue")["decision"] == "allow", "it may go on")
    assert second.post("/v1/agents/rogue/suspend", reason="no")["state"] == "suspended"
    assert second.check("rogue")["rule"] == "suspended"
    a_promoted_model_changes_the_risk_that_workers_publish(second, kafka)
    assert second.stop() == 0
    assert worker.stop() == 0


def a_promoted_model_changes_the_risk_that_workers_publish(console: RunningConsole, kafka: Kafka) -> None:
    """A part of the test above, on its worker and console."""

    def scored_by() -> dict[str, Any]:
        answer = console.client.get("/v1/deals/006K1")
        return (answer.json()["deal"]["model"] or {}) if answer.status_code == 200 else {}

    data = change("006K1", "create", name="Cranes", stage="Proposal", amount="90000.00", manager_id="eva")
    created = enveloped(data, 1, now_ms() - 20 * 86_400_000)
    assert console.post("/v1/events", **msgspec.to_builtins(created))["accepted"] == 1
    until(lambda: scored_by().get("kind") == "scorecard", "the scorecard scores it")
    file = model_file(1, "better")
    assert console.post("/v1/deals/models", **msgspec.to_builtins(file))["is_new"] is True
    refused_ = console.client.post("/v1/deals/models/promote", json={"model": "abcdef12", "reason": "x"})
    assert refused_.status_code == 404
    assert console.post("/v1/deals/models/promote", model=file.hash, reason="better here")["version"] == 1
    until(lambda: scored_by() == {"kind": "boosted", "version": 1, "proven": False}, "the model scores it", 20)
    said = [decode(record.value) for record in Cluster(kafka).read("deal.risk")]
    assert [one.data.model.kind for one in said if isinstance(one, RiskEvent)] == ["scorecard", "boosted"]
    in_log = [record.partition for record in Cluster(kafka).read("crm.events") if b"system.model.v1" in record.value]
    assert sorted(in_log) == list(range(kafka.partitions)), "in each partition, once"
    body = {"verdict": "useful"}
    until(lambda: console.client.post("/v1/deals/006K1/feedback", json=body).status_code == 200, "its alert is judged")
    assert console.client.get("/v1/deals/feedback").json()["counts"][0]["useful"] == 1


def refused(**env: str) -> str:
    found = CliRunner().invoke(command, ["--port", "0"], env={"TRIPLINE_CONFIG": None, **env})
    assert found.exit_code == 1
    return found.output


def test_it_wants_postgresql_and_says_what_to_set(tmp_path: Path):
    assert "TRIPLINE_STORE_URL" in refused(TRIPLINE_SERVER_DATA_DIR=str(tmp_path))
    assert "postgresql://" in refused(TRIPLINE_STORE_URL="sqlite:///x.db", TRIPLINE_SERVER_DATA_DIR=str(tmp_path))


def test_a_wrong_password_is_for_a_person_to_mend(postgres: Any, database: str, tmp_path: Path):
    assert "TRIPLINE_STORE_PASSWORD" in refused(
        TRIPLINE_STORE_URL=postgres.guarded(database), TRIPLINE_STORE_PASSWORD="guess",
        TRIPLINE_SERVER_DATA_DIR=str(tmp_path),
    )  # fmt: skip

"""``tripline console`` as a platform engineer has it: worker, console, broker and database, each a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from console.cli.console import command
from console.upkeep import JOB, Upkeep
from events.codec import decode, encode
from events.times import format_ms
from events.types import RiskEvent
from governance.settings import Kafka
from scoring.training.card import Health, Looked
from storage.read import Reader
from storage.read.models import model_health
from streams.kafka.admin import create
from tests.kafka.deciding import Offices, RunningConsole, add_maya, now_ms, settings_with, write_config
from tests.kafka.working import Cluster, Running, until
from tests.unit.scoring.deals_log import change
from tests.unit.scoring.deals_log import event as enveloped
from tests.unit.scoring.models import model_file

DUE = "UPDATE meta SET value = '0' WHERE name = ?"


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


def test_the_weekly_look_reads_the_topic_and_its_promotion_reaches_the_worker(
    offices: Offices, kafka: Kafka, tmp_path: Path
):
    """The learning is the real one, in its own process: records of today teach nothing yet, which it says. So what it
    would promote is given to the second look."""
    write_config(tmp_path)
    worker = Running(kafka, tmp_path, "worker", "--config", str(tmp_path / "tripline.toml"))
    text = "\n[deals]\nauto_promote = true\n"
    offices.settings = settings_with(kafka, offices.settings.store.url, text=text)
    office = offices.open()
    reader = Reader(office.store.read_engine())
    stages = {"006K1": "Closed Won", "006K2": "Closed Lost", "006K3": "Negotiation"}
    for number, (deal, stage) in enumerate(stages.items()):
        for step, data in enumerate((change(deal, "create", stage="Proposal"), change(deal, stage=stage))):
            offices.put("crm.events", f"default/{deal}", encode(enveloped(data, 2 * number + step, now_ms())))

    def look(learn: Any = None) -> Any:
        office.decide(JOB, lambda at: at.link.execute(DUE, ("job:" + JOB,))).result(10)
        upkeep = Upkeep(office, offices.settings, reader, learn)
        with capture_logs() as told:
            assert [upkeep.look(), upkeep.look()] == [True, False], "once, and then in a week"
        return next(one for one in told if one["event"] == "upkeep.looked_at_model")

    assert Upkeep(office, offices.settings, reader).look() is False, "the first one is due on a Monday"
    assert "2 deals have closed, each within the week in which it was opened" in look()["why"]
    file = model_file(1, "better")
    health = Health(
        model="x", since="2026-03-02T08:00:00Z", until="2026-04-02T08:00:00Z", closed_deals=30, verdict="worse",
        why="it is", targets=[], weeks=[], drift=[], alerts=["it has become worse"],
    )  # fmt: skip
    found = Looked(health=health, candidates=[file], promote=file.hash, why="it does better")
    assert look(lambda settings: found)["promotes"] is True
    kept = model_health(reader)
    assert (kept and kept.verdict) == "worse"
    assert offices.one("SELECT by_id FROM model_use WHERE hash = ?", file.hash) == "tripline"

    def scored_by(deal: str) -> list[str]:
        said = [decode(record.value) for record in offices.cluster.read("deal.risk")]
        models = [(one.data.deal_id, one.data.model) for one in said if isinstance(one, RiskEvent)]
        return [model.kind for id_, model in models if id_ == deal and model]

    until(lambda: scored_by("006K3")[-1:] == ["boosted"], "the promoted model scores the open deal", 20)
    in_log = [record.partition for record in offices.cluster.read("crm.events") if b"system.model.v1" in record.value]
    assert sorted(in_log) == list(range(kafka.partitions)), "in each partition, once"
    assert worker.stop() == 0


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

"""An engine rebuilt beside the active one on a real broker: compared, switched to, and nothing said twice or not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.cli.engine import engine
from events.codec import decode
from events.types import MAIN_ENGINE
from governance.settings import Kafka
from streams.kafka.admin import existing
from streams.kafka.produce import produce
from streams.kafka.spec import watching_topic
from tests.kafka.deciding import Offices
from tests.kafka.working import Cluster, Running, environ, until

SHARED = ("agent.findings", "deal.risk", "alerts")


def tripline(kafka: Kafka, database: str, *args: str) -> Result:
    env = {**environ(kafka), "TRIPLINE_STORE_URL": database}
    return CliRunner().invoke(engine, args, env=env, prog_name="tripline engine")


def told(kafka: Kafka, database: str, *args: str) -> Any:
    done = tripline(kafka, database, *args, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def halves(log: Path, folder: Path) -> list[Path]:
    lines = log.read_bytes().splitlines(keepends=True)
    paths = [folder / "first.jsonl", folder / "second.jsonl"]
    for path, part in zip(paths, (lines[: len(lines) // 2], lines[len(lines) // 2 :]), strict=True):
        path.write_bytes(b"".join(part))
    return paths


def outputs(kafka: Kafka, topic: str, engine: str) -> Counter[str]:
    """What an engine said to a topic, as the same for all engines."""
    found: Counter[str] = Counter()
    for record in Cluster(kafka).read(topic):
        event = decode(record.value)
        if event.source == f"/tripline/{engine}":
            found[f"{record.key!r} {event.time} {event.subject}"] += 1
    return found


def test_another_engine_is_rebuilt_compared_and_switched_to_at_one_place_of_each_partition(
    offices: Offices, log: Path, tmp_path: Path
):
    kafka, database = offices.settings.kafka, offices.settings.store.url
    offices.open()
    first, second = halves(log, tmp_path)
    main = Running(kafka, tmp_path, "main")
    produce([first], kafka)
    refused = tripline(kafka, database, "switch", "green", "--by", "maya", "--reason", "none")
    assert (refused.exit_code, "there is no engine green" in refused.output) == (1, True)
    made = told(kafka, database, "green")
    assert (made["active"], made["comparison"]) == ("main", None)
    assert {one["did"] for one in made["topics"]} == {"created"}
    early = tripline(kafka, database, "switch", "green", "--by", "maya", "--reason", "none")
    assert (early.exit_code, "has judged nothing yet" in early.output) == (4, True)
    green = Running(kafka, tmp_path, "green", "--engine", "green")
    Cluster(kafka).wait_until_judged("main")
    Cluster(kafka).wait_until_judged("green")
    compared = told(kafka, database, "green")["comparison"]
    for part in ("findings", "risks"):
        said = compared[part]
        assert (said["only_active"], said["only_other"], said["both"] > 0) == (0, 0, True), compared

    switched = told(kafka, database, "switch", "green", "--by", "maya", "--reason", "compared")
    assert (switched["active"], switched["previous"], switched["version"]) == ("green", "main", 1)
    until(lambda: offices.one("SELECT count(*) FROM publication") == 0, "all lanes are told", 20)
    produce([second], kafka)
    Cluster(kafka).wait_until_judged("main")
    Cluster(kafka).wait_until_judged("green")
    compared = told(kafka, database, "green", "main")["comparison"]
    for part in ("findings", "risks"):
        said = compared[part]
        assert (said["only_active"], said["only_other"], said["both"] > 0) == (0, 0, True), compared

    assert main.stop() == 0
    assert green.stop() == 0
    for topic in SHARED[:2]:
        spoke = {
            (engine, name): outputs(kafka, name, engine)
            for engine in (MAIN_ENGINE, "green")
            for name in (topic, watching_topic(engine, topic))
        }
        assert spoke[MAIN_ENGINE, topic] == spoke["green", f"green.{topic}"]  # before the switch
        assert spoke["green", topic] == spoke[MAIN_ENGINE, f"main.{topic}"]  # and behind it
        assert spoke[MAIN_ENGINE, topic].total() > 0
        assert spoke["green", topic].total() > 0


def test_findings_of_the_engine_switched_to_are_obeyed_and_those_of_strangers_recorded(offices: Offices):
    kafka, database = offices.settings.kafka, offices.settings.store.url
    offices.open()
    told(kafka, database, "green")
    told(kafka, database, "switch", "green", "--by", "maya", "--reason", "better", "--force")
    offices.find("f-blue", engine="blue")
    offices.find("f-green", engine="green")
    until(lambda: offices.state() == "suspended", "it is suspended", 20)
    assert offices.row().finding_id == "f-green"
    rows = told(kafka, database, "list")
    assert [(row["engine"], row["active"]) for row in rows["engines"]] == [("main", False), ("green", True)]
    assert (rows["switch"]["by"], rows["switch"]["reason"]) == ("maya", "better")
    kept = tripline(kafka, database, "drop", "green", "--yes")
    assert (kept.exit_code, "is the active engine" in kept.output) == (4, True)
    told(kafka, database, "switch", "main", "--by", "maya", "--reason", "worse", "--force")
    assert tripline(kafka, database, "drop", "green", "--yes").exit_code == 0
    assert not {name for name in existing(kafka) if name.startswith("green.")}


@pytest.mark.parametrize("name", ["Green", "green.blue", "", "-", "a" * 40])
def test_a_name_that_no_topic_may_have_is_refused(name: str):
    refused = CliRunner().invoke(engine, ["green", "--", name])
    assert refused.exit_code == 1
    assert "is no name of an engine" in refused.output

"""``tripline replay --from-kafka``: what workers said is what a replay of the same input partitions says."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli import main
from console.cli.common import UNREACHABLE
from governance.settings import Kafka
from streams.kafka import connect
from streams.kafka.admin import create
from streams.kafka.produce import produce
from streams.routing import ACTIONS
from tests.kafka.test_worker import an_action, put
from tests.kafka.working import Cluster, Running, Said, environ

FILES = {"agent.findings": "findings.jsonl", "deal.risk": "deal_risk.jsonl"}


def by_key(lines: list[bytes]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = defaultdict(list)
    for line in lines:
        data = json.loads(line)["data"]
        found[f"default/{data.get('agent_id') or data['deal_id']}"].append(line)
    return dict(found)


def test_a_replay_of_the_topics_says_what_the_workers_said_key_by_key(kafka: Kafka, log: Path, tmp_path: Path):
    create(kafka)
    action = an_action(log)
    put(kafka, ACTIONS, (1, b"k", b"not json"), *((index, b"wrong", action) for index in range(3)))
    produce([log], kafka)
    workers = [Running(kafka, tmp_path, name) for name in ("one", "two")]
    cluster = Cluster(kafka)
    cluster.wait_until_judged()
    workers[0].kill()  # what it had not saved is judged again, and fed again
    produce([log], kafka, as_live=True)
    cluster.wait_until_judged()
    cluster.wait_until_judged()
    assert workers[1].stop() == 0
    said: Said = cluster.said()[0]

    given = ["replay", "--from-kafka", "--keep", str(tmp_path / "dump"), "--out", str(tmp_path / "again")]
    done = CliRunner().invoke(main, given, env=environ(kafka))
    assert done.exit_code == 0, done.output
    assert "2 records that are in the wrong partition" in done.output
    for topic, name in FILES.items():
        lines = (tmp_path / "again" / name).read_bytes().splitlines()
        assert by_key(lines) == {key: values for key, values in said[topic].items() if values}
        assert len(lines) > 5
    alerts = (tmp_path / "again" / "alerts.jsonl").read_bytes().splitlines()
    told = [value for values in said["alerts"].values() for value in values if b"tripline.alert.v1" in value]
    assert sorted(alerts) == sorted(told)
    assert alerts

    files = [str(path) for path in sorted((tmp_path / "dump").glob("*.jsonl"))]
    once_more = CliRunner().invoke(main, ["replay", *files, "--out", str(tmp_path / "third")], env=environ(kafka))
    assert once_more.exit_code == 0, once_more.output
    for name in ("findings.jsonl", "deal_risk.jsonl", "alerts.jsonl", "summary.json"):
        assert (tmp_path / "third" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_files_or_topics_must_be_named_and_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connect, "CONNECT_MS", 500)
    for given, said in (([], "one of the two"), (["--from-kafka", __file__], "one of the two")):
        done = CliRunner().invoke(main, ["replay", *given, "--out", "x"])
        assert done.exit_code == 2
        assert said in done.output
    nobody = {"TRIPLINE_KAFKA_BOOTSTRAP": "127.0.0.1:1"}
    done = CliRunner().invoke(main, ["replay", "--from-kafka", "--out", "x"], env=nobody)
    assert done.exit_code == UNREACHABLE
    assert "no broker answers" in done.output

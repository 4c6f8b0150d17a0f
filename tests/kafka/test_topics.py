"""Topics on a real broker: made, compared, never silently changed."""

from __future__ import annotations

import json

import msgspec
import pytest
from click.testing import CliRunner
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from console.cli import main
from governance.settings import Kafka
from streams.kafka.admin import check, create, versions
from streams.kafka.connect import KafkaProblem
from streams.kafka.spec import STATE_OF, topic_specs
from tests.kafka.broker import Broker, free_port
from tests.kafka.conftest import settings_of

DAY_MS = 86_400_000


def changed(kafka: Kafka, **more: object) -> Kafka:
    return msgspec.structs.replace(kafka, **more)


def environ(kafka: Kafka) -> dict[str, str]:
    return {
        "TRIPLINE_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "TRIPLINE_KAFKA_PREFIX": kafka.prefix,
        "TRIPLINE_KAFKA_PARTITIONS": "3",
        "TRIPLINE_KAFKA_REPLICATION": "1",
        "TRIPLINE_KAFKA_MIN_IN_SYNC": "1",
    }


def test_what_is_missing_is_named_then_made_then_all_is_well(kafka: Kafka):
    names = {spec.name for spec in topic_specs(kafka)}
    assert {(one.topic, one.found) for one in check(kafka)} == {(name, "missing") for name in names}
    assert {(one.topic, one.did) for one in create(kafka)} == {(name, "created") for name in names}
    assert check(kafka) == []
    assert {one.did for one in create(kafka)} == {"there already"}


def test_topics_are_kept_as_the_design_says(kafka: Kafka):
    create(kafka)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    names = [spec.name for spec in topic_specs(kafka)]
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, None) for name in names]
    told = admin.describe_configs(asked, config_filter="all")["topic"]
    admin.close()

    def value(name: str, key: str) -> str:
        return str(told[kafka.prefix + name][key]["value"])

    for name in ("agent.actions", "crm.events", "portfolio"):
        assert value(name, "cleanup.policy") == "delete"
        assert value(name, "message.timestamp.type") == "LogAppendTime"
        assert value(name, "retention.ms") == str(30 * DAY_MS)
    for name in ("agent.control", "deal.risk", *STATE_OF.values()):
        assert value(name, "cleanup.policy") == "compact"
    for name in STATE_OF.values():
        assert value(name, "segment.bytes") == str(64 * 1024 * 1024)
    for name in names:
        assert value(name.removeprefix(kafka.prefix), "unclean.leader.election.enable") == "false"
    assert value("alerts", "retention.ms") == str(90 * DAY_MS)


def test_another_partition_count_is_refused_with_the_reason(kafka: Kafka):
    create(kafka)
    found = check(changed(kafka, partitions=6))
    assert {(one.what, one.wanted, one.found) for one in found} == {("partitions", "6", "3")}
    assert "other partitions than their state" in found[0].cure
    create(changed(kafka, partitions=6), apply=True)
    assert check(kafka) == []


def test_a_changed_retention_is_named_and_set_only_when_asked_to(kafka: Kafka):
    create(kafka)
    wanted = changed(kafka, input_days=10)
    assert {(one.what, one.found) for one in check(wanted)} == {("retention.ms", str(30 * DAY_MS))}
    create(wanted)
    assert len(check(wanted)) == 3
    done = {one.topic: one for one in create(wanted, apply=True)}
    assert done[kafka.prefix + "agent.actions"].changed == {"retention.ms": str(10 * DAY_MS)}
    assert done[kafka.prefix + "alerts"].did == "there already"
    assert check(wanted) == []


def test_more_copies_than_brokers_is_said_with_what_to_do(kafka: Kafka):
    with pytest.raises(KafkaProblem, match="can't have 3 copies") as problem:
        create(changed(kafka, replication=3))
    assert "kafka.replication = 1" in problem.value.advice
    create(kafka)
    assert {(one.what, one.found) for one in check(changed(kafka, replication=2))} == {("replication", "1")}


def test_a_broker_that_is_not_there_is_said_with_its_address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streams.kafka.connect.CONNECT_MS", 500)
    absent = settings_of(f"127.0.0.1:{free_port()}")
    with pytest.raises(KafkaProblem, match=f"no broker answers at {absent.bootstrap}"):
        check(absent)


def test_the_brokers_version_is_known(kafka: Kafka):
    version, brokers = versions(kafka)
    assert version >= (4, 1)
    assert brokers == 1


def test_the_command_makes_checks_and_says_differences(kafka: Kafka):
    run = CliRunner().invoke
    before = run(main, ["topics", "check", "--json"], env=environ(kafka))
    assert before.exit_code == 1
    assert len(json.loads(before.stdout)["differences"]) == len(topic_specs(kafka))
    made = run(main, ["topics", "create"], env=environ(kafka))
    assert made.exit_code == 0, made.output
    assert f"{kafka.prefix}agent.actions" in made.stdout
    after = run(main, ["topics", "check"], env=environ(kafka))
    assert after.exit_code == 0
    assert "All topics are as the settings say" in after.stdout
    other = run(main, ["topics", "check"], env={**environ(kafka), "TRIPLINE_KAFKA_PARTITIONS": "5"})
    assert other.exit_code == 1
    assert "partitions is 3, wanted is 5" in other.stdout


def test_the_command_says_where_no_broker_is(broker: Broker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streams.kafka.connect.CONNECT_MS", 500)
    address = f"127.0.0.1:{free_port()}"
    done = CliRunner().invoke(main, ["topics", "check"], env={"TRIPLINE_KAFKA_BOOTSTRAP": address})
    assert done.exit_code == 5
    assert address in done.output
    assert "make kafka" in done.output

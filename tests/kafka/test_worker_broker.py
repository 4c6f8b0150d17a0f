"""What brokers do to workers: they restart, and they forbid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
)

from console.cli import main
from governance.settings import Kafka
from streams.kafka.admin import create
from streams.kafka.produce import produce
from streams.routing import ACTIONS
from tests.kafka.broker import Broker
from tests.kafka.conftest import settings_of, started
from tests.kafka.working import Cluster, Running, check_exact, environ, until

pytestmark = pytest.mark.faults
ACLS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
"""Everybody may do what no rule is about."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that this file may restart, with rules on who may do what."""
    running = started(lambda: Broker(tmp_path_factory.mktemp("own"), properties=dict(ACLS)))
    yield running
    running.stop()


def test_a_broker_that_is_killed_and_comes_back_costs_nothing(own: Broker, log: Path, tmp_path: Path):
    kafka = settings_of(own.address)
    create(kafka)
    worker = Running(kafka, tmp_path, "one")
    until(lambda: len(worker.lanes()) == 9, "all lanes are open")
    produce([log], kafka, as_live=True)
    own.kill()
    own.start()
    produce([log], kafka, as_live=True)
    cluster = Cluster(kafka)
    cluster.wait_until_judged()
    cluster.wait_until_judged()  # and what that fed
    assert worker.process.poll() is None, "it outlived the broker"
    assert worker.stop() == 0
    check_exact(kafka)


def read_only(kafka: Kafka, topic: str) -> None:
    """Let everybody read and describe a topic, and nobody write to it."""
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    pattern = ResourcePattern(ResourceType.TOPIC, kafka.prefix + topic, ACLResourcePatternType.LITERAL)
    admin.create_acls(
        [
            ACL("User:*", "*", operation, ACLPermissionType.ALLOW, pattern)
            for operation in (ACLOperation.READ, ACLOperation.DESCRIBE, ACLOperation.DESCRIBE_CONFIGS)
        ]
    )
    admin.close()


@pytest.mark.parametrize("topic", ["agent.findings", "agents-state"])
def test_a_worker_that_may_not_write_ends_and_says_what_to_allow(own: Broker, log: Path, tmp_path: Path, topic: str):
    kafka = settings_of(own.address)
    create(kafka)
    read_only(kafka, topic)
    produce([log], kafka)
    worker = Running(kafka, tmp_path, "one")
    assert worker.process.wait(60) == 1
    said = worker.path.read_text()
    assert f"forbid this user what it needs on the topic {kafka.prefix}{topic}" in said
    assert "WRITE" in said


def test_producing_where_one_may_only_read_is_refused_with_what_to_allow(own: Broker, log: Path):
    kafka = settings_of(own.address)
    create(kafka)
    read_only(kafka, ACTIONS)
    done = CliRunner().invoke(main, ["produce", str(log)], env=environ(kafka))
    assert done.exit_code == 1
    assert kafka.prefix + ACTIONS in done.output
    assert "WRITE" in done.output

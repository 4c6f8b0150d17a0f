"""Over TLS: with a log-in (SCRAM) and with a certificate, from the producer to the stop; what is told when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from events.codec import encode
from governance.settings import Kafka
from streams.kafka import connect
from streams.kafka.admin import check, create
from streams.kafka.connect import KafkaProblem
from streams.kafka.produce import produce
from tests.kafka.broker import free_port
from tests.kafka.conftest import START_MS, settings_of, started
from tests.kafka.deciding import Offices, settings_with
from tests.kafka.secured import PASSWORD, USER, Authority, SecuredBroker
from tests.kafka.working import Running, environ, until
from tests.unit.streams.toys import action_event


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    broker = started(lambda: SecuredBroker(tmp_path_factory.mktemp("secured")))
    yield broker
    broker.stop()


@pytest.fixture
def by_login(secured: SecuredBroker) -> Kafka:
    return settings_of(
        secured.login_address,
        security="SASL_SSL",
        sasl_user=USER,
        sasl_password=PASSWORD,
        ca_file=str(secured.authority.ca),
    )


@pytest.fixture
def by_certificate(secured: SecuredBroker) -> Kafka:
    certificate, key = secured.authority.issue("client")
    return settings_of(
        secured.certificate_address,
        security="SSL",
        ca_file=str(secured.authority.ca),
        cert_file=str(certificate),
        key_file=str(key),
    )


def failing(folder: Path) -> Path:
    """A log of an agent that fails nine times in a row."""
    fails: dict[str, Any] = {"outcome": "error", "object": "Lead"}
    events = [action_event(number, "rogue", at_ms=START_MS + 1000 * number, **fails) for number in range(9)]
    log = folder / "errors.jsonl"
    log.write_bytes(b"".join(encode(event) + b"\n" for event in events))
    return log


def variables(kafka: Kafka) -> dict[str, str]:
    """How a worker is told of TLS."""
    names = ("security", "ca_file", "cert_file", "key_file", "sasl_user", "sasl_password")
    return environ(kafka) | {f"TRIPLINE_KAFKA_{name.upper()}": getattr(kafka, name) for name in names}


def test_a_rogue_agent_is_stopped_over_tls_with_a_log_in(by_login: Kafka, database: str, tmp_path: Path):
    kafka = by_login
    assert all(one.did == "created" for one in create(kafka))
    assert check(kafka) == []
    offices = Offices(replace(settings_with(kafka, database), kafka=kafka))
    worker = Running(kafka, tmp_path, "worker", env=variables(kafka))
    try:
        offices.open()
        assert produce([failing(tmp_path)], kafka, as_live=True).events == 9
        until(lambda: offices.state("rogue") == "suspended", "the agent is stopped")
        assert worker.stop() == 0
    finally:
        offices.close()


def test_workers_and_producers_show_a_certificate(by_certificate: Kafka, tmp_path: Path):
    kafka = by_certificate
    create(kafka)
    worker = Running(kafka, tmp_path, "worker", env=variables(kafka))
    until(lambda: len(worker.lanes()) == 9, "all lanes are open")
    assert produce([failing(tmp_path)], kafka, as_live=True).events == 9
    assert worker.stop() == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sasl_password": "wrong"}, "speaks TLS but does not let 'tripline' in with SCRAM-SHA-512"),
        ({"ca_file": "another"}, "the certificate of 127.0.0.1:.* is not trusted"),
        ({"ca_file": "/nowhere/ca.pem"}, r"kafka.ca_file can't be read: /nowhere/ca.pem: No such file"),
        ({"security": "PLAINTEXT"}, "takes connections but does not answer as a broker with PLAINTEXT"),
        ({"security": "SSL", "bootstrap": "certificate"}, "wants a certificate of ours"),
        ({"bootstrap": "plain"}, "does not speak TLS|ended the TLS handshake"),
        ({"bootstrap": "nobody"}, "no broker answers at 127.0.0.1"),
    ],
)
def test_what_is_wrong_with_the_settings_is_said(
    change: dict[str, str],
    told: str,
    secured: SecuredBroker,
    by_login: Kafka,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(connect, "CONNECT_MS", 700)
    places = {
        "certificate": secured.certificate_address,
        "plain": secured.address,
        "nobody": f"127.0.0.1:{free_port()}",
    }
    given = dict(change)
    if given.get("ca_file") == "another":
        given["ca_file"] = str(Authority(tmp_path, "another").ca)
    if "bootstrap" in given:
        given["bootstrap"] = places[given["bootstrap"]]
    with pytest.raises(KafkaProblem, match=told):
        check(replace(by_login, **given))

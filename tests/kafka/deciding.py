"""Consoles' runtimes on a real broker and a real PostgreSQL, and what tests put in and look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from kafka import KafkaProducer

from console.auth import AuthStore
from events.codec import decode, encode
from events.times import format_ms
from events.types import By, Control, EvidenceData, Finding, FindingEvent, ReleaseEvent
from governance.control import ControlRequest, ControlRow
from governance.gate import GateDecision, GateRequest
from governance.settings import Kafka, Settings, parse_settings
from storage import control as control_store
from storage.postgres import PgLink, PgStore
from streams.envelopes import envelope
from streams.kafka.office.runtime import OfficeRuntime
from streams.kafka.partition import partition_of
from streams.kafka.worker.lane import ENGINE_HEADER
from tests.kafka.working import Cluster, environ, until

AGENT = """
[agents.{name}]
owner = "olga"
actions = ["*"]
objects = ["*"]
irreversible = []
records_per_10_min = {budget}
records_per_day = {budget}
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def settings_with(kafka: Kafka, database: str, *, budget: int = 1_000, text: str = "") -> Settings:
    """Settings of consoles with the agents bot and rogue."""
    toml = "".join(AGENT.format(name=name, budget=budget) for name in ("bot", "rogue"))
    overrides = {
        "kafka.bootstrap": kafka.bootstrap, "kafka.prefix": kafka.prefix, "kafka.partitions": kafka.partitions,
        "kafka.replication": 1, "kafka.min_in_sync": 1, "store.url": database,
        "gate.unknown_authorizers": "allow", "engine.snapshot_secs": 300,
    }  # fmt: skip
    return parse_settings(toml + text, {}, overrides)


class Offices:
    """Runtimes of one test, closed at its end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.opened: list[OfficeRuntime] = []
        self.cluster = Cluster(settings.kafka)
        self._link: PgLink | None = None
        self._producer: Any = None

    def open(self, *, ready: bool = True, has_pages: bool = False) -> OfficeRuntime:
        """One more console."""
        made = OfficeRuntime(self.settings, PgStore(self.settings.store.url), has_pages=has_pages)
        self.opened.append(made)
        made.start()
        if ready:
            try:
                until(lambda: not made.status().troubles, "the console is ready", 30)
            except AssertionError:
                raise AssertionError(f"not ready in 30 s: {made.status().troubles}") from None
        return made

    def close(self) -> None:
        """Close all."""
        for one in self.opened:
            one.close()
            one.store.close()
        self.look_away()
        if self._producer is not None:
            with suppress(Exception):
                self._producer.close(timeout=1)

    # --- what goes in -------------------------------------------------------------------------------------------

    def put(self, topic: str, key: str, value: bytes, headers: Any = ()) -> None:
        """Write a record as the workers do."""
        if self._producer is None:
            self._producer = KafkaProducer(bootstrap_servers=self.settings.kafka.bootstrap, acks="all", linger_ms=0)
        kafka = self.settings.kafka
        partition = partition_of(key, kafka.partitions)
        sent = self._producer.send(
            kafka.prefix + topic, partition=partition, key=key.encode(), value=value, headers=list(headers)
        )
        sent.get(10)

    def find(self, finding_id: str, agent: str = "bot", **more: Any) -> None:
        """A detector's finding."""
        self.put("agent.findings", f"default/{agent}", encode(a_finding(finding_id, agent, **more)))

    def echo(self, release: ReleaseEvent, engine: str = "main") -> None:
        """A worker has judged a release."""
        key = f"default/{release.data.agent_id}"
        self.put("agent.findings", key, encode(release), [(ENGINE_HEADER, engine.encode())])

    # --- what came of it ----------------------------------------------------------------------------------------

    def store(self) -> PgLink:
        """A look into the store."""
        if self._link is None:
            self._link = PgStore(self.settings.store.url).connect()
        return self._link

    def look_away(self) -> None:
        """The store is going to be killed: look with another connection afterwards."""
        if self._link is not None:
            self._link.close()
        self._link = None

    def row(self, agent: str = "bot") -> ControlRow | None:
        """An agent's control row."""
        key = f"default/{agent}"
        return control_store.read_rows(control_store.ask_rows(self.store(), [key])).get(key)

    def state(self, agent: str = "bot") -> str:
        """Its state."""
        row = self.row(agent)
        return "active" if row is None else row.state

    def one(self, query: str, *values: Any) -> Any:
        """The first column of the first row."""
        return self.store().execute(query, values).fetchone()[0]

    def controls(self, topic: str = "agent.control", agent: str = "bot") -> list[tuple[str, Control]]:
        """Control events about an agent in a topic: id and data."""
        found = []
        for record in self.cluster.read(topic):
            event = decode(record.value)
            if isinstance(event.data, Control) and event.data.agent_id == agent:
                assert record.key == f"default/{agent}".encode()
                assert record.partition == partition_of(f"default/{agent}", self.settings.kafka.partitions)
                found.append((event.id, event.data))
        return found

    def releases(self) -> list[ReleaseEvent]:
        """Releases in the agents' input topic."""
        events = [decode(record.value) for record in self.cluster.read("agent.actions")]
        return [event for event in events if isinstance(event, ReleaseEvent)]


def a_finding(
    finding_id: str, agent: str = "bot", *, asks: Any = "suspend", mode: Any = "enforce", basis: int = 0,
    at_ms: int | None = None, engine: str = "main",
) -> FindingEvent:  # fmt: skip
    """What a worker says of an agent."""
    at = now_ms() if at_ms is None else at_ms
    data = Finding(
        finding_id=finding_id, detector="action_rate", mode=mode, agent_id=agent, agent_version=None,
        at=format_ms(at), severity="critical", action_taken=asks, basis_epoch=basis,
        evidence=EvidenceData(
            summary="far too many", observed=50, expected=5, limit=20, unit="actions", events=[], would_clear="fewer"
        ),
    )  # fmt: skip
    return envelope(FindingEvent, engine, finding_id, at, f"default/{agent}", data)


def a_check(agent: str = "bot", records: tuple[str, ...] = ("r-1",), **more: Any) -> GateRequest:
    """A write of an agent."""
    given: dict[str, Any] = {"action": "record.update", "object": "Contact", **more}
    return GateRequest(agent_id=agent, record_ids=list(records), **given)


def by_person(agent: str, wanted: Any, epoch: int, name: str = "maya") -> ControlRequest:
    """What a person asks for."""
    return ControlRequest(
        key=f"default/{agent}", agent_id=agent, wanted=wanted, basis_epoch=epoch, by=By("human", name),
        reason="because", at_ms=now_ms(),
    )  # fmt: skip


def asked(office: OfficeRuntime, request: GateRequest, secs: float = 5.0) -> GateDecision:
    """The gate's answer."""
    return office.check(request).result(secs)


def counted(wanted: int, ask: Callable[[], int], what: str) -> None:
    """Wait until something was counted, no more."""
    until(lambda: ask() >= wanted, what, 20)
    assert ask() == wanted


class RunningConsole:
    """A console as a process, and a person who is logged in to it."""

    def __init__(
        self, kafka: Kafka, database: str, folder: Path, name: str = "console", env: Mapping[str, str] | None = None
    ) -> None:
        self.path = folder / f"{name}.log"
        args = ["--port", "0", "--json", "--config", str(folder / "tripline.toml")]
        more = {"TRIPLINE_STORE_URL": database, "TRIPLINE_SERVER_DATA_DIR": str(folder / "data"), **(env or {})}
        with self.path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "console", "console", *args],
                stdout=subprocess.PIPE, stderr=log, env={**os.environ, **environ(kafka), **more},
            )  # fmt: skip
        line = self.process.stdout.readline() if self.process.stdout is not None else b""
        assert line, self.path.read_text()
        self.client = httpx.Client(base_url=json.loads(line)["url"], auth=("maya", PASSWORD), timeout=10)

    def reasons(self) -> list[str]:
        """What /readyz says is wrong."""
        answer = self.client.get("/readyz")
        assert (answer.status_code == 200) == (not answer.json()["reasons"])
        return answer.json()["reasons"]

    def check(self, agent: str, *records: str) -> dict[str, Any]:
        """The gate's answer."""
        body = {"agent_id": agent, "action": "record.update", "object": "Contact", "record_ids": records or ["r-1"]}
        return self.client.post("/v1/gate/check", json=body).json()

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """What the API answers a person; it must be a success."""
        answer = self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def page(self, path: str) -> str:
        """A page."""
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def kill(self) -> None:
        """As the kernel does when memory is out."""
        self.process.kill()
        self._over()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self._over()

    def _over(self) -> int:
        code = self.process.wait(30)
        self.client.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


PASSWORD = "correct horse battery"
ALLOW = '[gate]\nunknown_authorizers = "allow"\n'


def write_config(folder: Path) -> None:
    """Settings of processes with the agents bot and rogue."""
    agents = "".join(AGENT.format(name=name, budget=1_000) for name in ("bot", "rogue"))
    (folder / "tripline.toml").write_text(agents + ALLOW)


def add_maya(database: str) -> None:
    """A person who may stop and release."""
    with PgStore(database) as store:
        AuthStore(store.engine(), now_ms).add_user("maya", "operator", PASSWORD)

"""The broker of docker-compose.yml: a real one, started with the variables that stand there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.components import MAY_SKIP
from tests.compose.test_compose import RAW
from tests.kafka.broker import START_SECS, Broker, NoBroker, free_port
from tests.monitoring.servers import until


class Composed(Broker):
    """A broker as the image starts it: KAFKA_A_B becomes a.b; addresses and the folder are this machine's."""

    def start(self) -> None:
        """Format its folder, start it, wait until it takes connections."""
        config = self._configure()
        identity = ["--cluster-id", "dHJpcGxpbmUtdGVzdHM5OQ", "--config", str(config)]
        assert self._java("kafka.tools.StorageTool", "format", *identity).wait(START_SECS) == 0, self.said()
        self.process = self._java("kafka.Kafka", str(config))
        until(self._listens, f"the broker listens: {self.said()[-1500:]}", START_SECS)

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said()[-1500:]
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def _configure(self) -> Path:
        given = RAW["services"]["kafka"]["environment"]
        settings = {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in given.items()}
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        controller, outside = str(free_port()), str(free_port())
        for old, new in (
            ("INSIDE://kafka:19092", f"INSIDE://127.0.0.1:{self.port}"), ("INSIDE://:19092", f"INSIDE://127.0.0.1:{self.port}"),
            ("OUTSIDE://127.0.0.1:9092", f"OUTSIDE://127.0.0.1:{outside}"), ("OUTSIDE://:9092", f"OUTSIDE://127.0.0.1:{outside}"),
            ("kafka:9093", f"127.0.0.1:{controller}"), ("CONTROLLER://:9093", f"CONTROLLER://127.0.0.1:{controller}"),
            ("/var/lib/kafka/data", str(self.folder / "data")),
        ):  # fmt: skip
            assert old in text, old
            text = text.replace(old, new)
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "broker.properties"
        config.write_text(text)
        return config


def test_a_broker_with_these_variables_holds_tripline_s_topics(tmp_path: Path) -> None:
    try:
        broker = Composed(tmp_path / "kafka")
    except NoBroker as problem:
        if not MAY_SKIP:
            raise
        pytest.skip(str(problem))
    given = {name: value for name, value in RAW["services"]["topics"]["environment"].items() if "KAFKA" in name}
    environment = {**os.environ, **given, "TRIPLINE_KAFKA_BOOTSTRAP": broker.address, "TRIPLINE_KAFKA_PARTITIONS": "1"}
    try:
        broker.start()
        for command in ("create", "check"):
            done = subprocess.run(
                [sys.executable, "-m", "console", "topics", command],
                env=environment, capture_output=True, text=True, check=False, timeout=90,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
    finally:
        broker.stop()

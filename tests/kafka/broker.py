"""A real Kafka broker for tests and for trying out: one KRaft node on loopback, from Maven artifacts.

``python -m tests.kafka.broker`` (``make kafka``) runs one on port 9092 until Ctrl-C; its data stay in ``.kafka/data``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.components import JAVA, MAVEN

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".kafka"
LIBS = HOME / "libs"
START_SECS, STOP_SECS = 90.0, 30.0
LOGGING = """<Configuration status="WARN"><Appenders><Console name="out" target="SYSTEM_OUT">
<PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


class NoBroker(Exception):
    """No broker can be run here; the message says why."""


def fetch() -> Path:
    """The broker's jars, fetched by Maven when they are not there."""
    if JAVA is None or MAVEN is None:
        raise NoBroker("Java 17 and Maven are needed (apt-get install openjdk-17-jre-headless maven)")
    if not any(LIBS.glob("kafka_2.13-*.jar")):
        part = HOME / f"libs-{os.getpid()}"
        command = [
            MAVEN, "-q", "-B", "-f", str(Path(__file__).with_name("pom.xml")), "dependency:copy-dependencies",
            f"-DoutputDirectory={part}", "-DincludeScope=runtime",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(part, ignore_errors=True)
            raise NoBroker(f"Maven could not fetch Kafka: {done.stdout[-600:]}{done.stderr[-600:]}")
        if LIBS.exists():  # another test process was faster
            shutil.rmtree(part)
        else:
            part.rename(LIBS)
    return LIBS


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Broker:
    """One broker in a process of its own. ``properties`` are added to its configuration."""

    def __init__(self, folder: Path, port: int | None = None, properties: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.properties = properties or {}
        self.format_options: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._libs = fetch()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it takes connections; formats its folder the first time."""
        config = self._configure()
        if not (self.folder / "data" / "meta.properties").exists():
            identity = ["--cluster-id", "dHJpcGxpbmUtdGVzdHM5OQ", "--standalone", "--config", str(config)]
            self._java("kafka.tools.StorageTool", "format", *identity, *self.format_options).wait(START_SECS)
        self.process = self._java("kafka.Kafka", str(config))
        end = time.monotonic() + START_SECS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise NoBroker(f"the broker ended: {self.said()[-1500:]}")
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise NoBroker(f"the broker was not up in {START_SECS:g} s: {self.said()[-1500:]}")

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_SECS)

    def said(self) -> str:
        """What it printed."""
        return (self.folder / "said.txt").read_text(errors="replace")

    def _configure(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        controller = self.properties.pop("controller.port", None) or str(free_port())
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "log.cleaner.dedupe.buffer.size": str(4 * 1024 * 1024),
            **self.properties,
        }
        self.properties["controller.port"] = controller  # the quorum is known by it after a restart
        config = self.folder / "broker.properties"
        shown = {name: value for name, value in settings.items() if name != "controller.port"}
        config.write_text("".join(f"{name}={value}\n" for name, value in shown.items()))
        (self.folder / "log4j2.xml").write_text(LOGGING)
        return config

    def _java(self, main: str, *args: str) -> subprocess.Popen[bytes]:
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.xml'}"
        command = [
            str(JAVA),
            "-Xmx512m",
            "-Xms128m",
            "-XX:+UseSerialGC",
            logging,
            "-cp",
            f"{self._libs}/*",
            main,
            *args,
        ]
        with (self.folder / "said.txt").open("ab") as out:
            return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=self.folder)


def main() -> int:
    """Run a broker until Ctrl-C."""
    broker = Broker(HOME / "data", int(sys.argv[1]) if len(sys.argv) > 1 else 9092)
    try:
        broker.start()
    except NoBroker as problem:
        sys.stderr.write(f"*** {problem}\n")
        return 1
    sys.stdout.write(f"Kafka listens on {broker.address}. Ctrl-C ends it; its data stay in .kafka/data.\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while broker.process is not None and broker.process.poll() is None:
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

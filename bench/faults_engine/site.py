"""Broker, database, workers and consoles, each a process; and what is done to them while they work."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from governance.settings import Kafka, Settings, parse_settings
from streams.kafka.admin import create
from tests.kafka.broker import Broker
from tests.kafka.conftest import settings_of
from tests.kafka.deciding import AGENT, ALLOW, RunningConsole, add_maya
from tests.kafka.working import Running, environ
from tests.postgres import Postgres

BUDGET = 10_000_000
STAY_SECS = 60.0
_READY_SECS = 60.0
FASTER = {"TRIPLINE_ENGINE_SNAPSHOT_SECS": "3", "TRIPLINE_ENGINE_SNAPSHOT_EVENTS": "20000"}


class Plan(NamedTuple):
    """How often each fault happens; ``postgres_secs``: how long the database is away each time."""

    kills: int
    console_kills: int
    broker_restarts: int
    postgres_stops: int
    postgres_secs: float

    def schedule(self, rng: random.Random) -> list[tuple[float, str]]:
        """Faults and when, in parts of the load, in order."""
        kinds = {
            "worker": self.kills, "console": self.console_kills, "broker": self.broker_restarts,
            "postgres": self.postgres_stops,
        }  # fmt: skip
        found = [(rng.uniform(0.03, 0.97), kind) for kind, count in kinds.items() for _ in range(count)]
        return sorted(found)


class Console(RunningConsole):
    """A console; agents ask it over ``agents``, without a name: passwords take too long to check for that."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.agents = httpx.Client(base_url=self.client.base_url, timeout=10)

    def _over(self) -> int:
        self.agents.close()
        return super()._over()


class Site:
    """Everything that runs. ``agents`` may ask the gate; ``done`` counts what was done to whom."""

    def __init__(self, agents: list[str], workers: int, consoles: int, partitions: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.workers: list[Running] = []
        self.consoles: list[Console | None] = []
        self.ended: Counter[str] = Counter()
        """What workers said that ended by themselves."""
        self.problems: list[str] = []
        self._stack = ExitStack()
        self._agents = agents
        self._wanted = (workers, consoles, partitions)
        self._away: list[threading.Thread] = []
        self._hands = threading.Lock()
        self._is_over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def start(self, folder: Path) -> None:
        """Start everything, and wait until it is ready."""
        workers, consoles, partitions = self._wanted
        self.folder = folder
        self.broker = Broker(folder / "kafka")
        self._stack.callback(self.broker.stop)
        self.broker.start()
        self.postgres = Postgres(fsync=True)
        self._stack.callback(self.postgres.close)
        self.postgres.start()
        self.kafka: Kafka = settings_of(self.broker.address, partitions=partitions)
        self.database = self.postgres.database()
        create(self.kafka)
        add_maya(self.database)
        text = "".join(AGENT.format(name=name, budget=BUDGET) for name in self._agents) + ALLOW
        (folder / "tripline.toml").write_text(text)
        self.settings: Settings = parse_settings(text, {**environ(self.kafka), **FASTER}, {})
        self.workers = [self._worker(number) for number in range(workers)]
        self.consoles = [self._console(number) for number in range(consoles)]
        for one in self.consoles:
            wait_ready(one)
        self._keeper.start()

    def close(self) -> None:
        """End what still runs."""
        self._is_over.set()
        for one in [*self.workers, *self.consoles]:
            if one is not None and one.process.poll() is None:
                with suppress(Exception):
                    one.kill()
        self._stack.close()

    def alive(self) -> list[Console]:
        """Consoles that can be asked."""
        return [one for one in list(self.consoles) if one is not None]

    def stop_workers(self) -> list[int]:
        """End the workers in order; their exit codes."""
        return [one.stop() for one in self.workers]

    def stop_consoles(self) -> list[int]:
        """End the consoles in order; their exit codes."""
        return [one.stop() for one in self.alive()]

    # --- faults -------------------------------------------------------------------------------------------------

    def fault(self, kind: str, plan: Plan) -> None:
        """One fault; returns when it is over, except for the database's absence, which others may meet."""
        said = {"worker": self._kill_worker, "console": self._kill_console, "broker": self._restart_broker}
        if kind == "postgres":
            thread = threading.Thread(target=self._stop_postgres, args=(plan.postgres_secs,), daemon=True)
            self._away.append(thread)
            thread.start()
            return
        said[kind]()

    def settle(self) -> None:
        """Wait until everything is there again."""
        for thread in self._away:
            thread.join()
        for one in self.alive():
            wait_ready(one, 120)

    def rest(self) -> None:
        """Start nobody again from now on."""
        self._is_over.set()
        self._keeper.join()

    def _kill_worker(self) -> None:
        place = self.rng.randrange(len(self.workers))
        with self._hands:
            self.workers[place].kill()
            time.sleep(self.rng.uniform(0, 3))
            self.workers[place] = self._worker(place)
        self.done["worker killed"] += 1

    def _kill_console(self) -> None:
        place = self.done["console killed"] % len(self.consoles)
        found, self.consoles[place] = self.consoles[place], None
        assert found is not None
        if found.process.poll() is not None:
            self.problems.append(f"{found.path.name} ended by itself with {found.process.returncode}")  # it never may
        found.kill()
        time.sleep(self.rng.uniform(0, 3))
        self.consoles[place] = self._console(place)
        self.done["console killed"] += 1

    def _restart_broker(self) -> None:
        hard = self.done["broker killed"] <= self.done["broker stopped"]
        (self.broker.kill if hard else self.broker.stop)()
        time.sleep(self.rng.uniform(0, 2))
        self.broker.start()
        self.done["broker killed" if hard else "broker stopped"] += 1

    def _stop_postgres(self, secs: float) -> None:
        for other in self._away[: self._away.index(threading.current_thread())]:
            other.join()
        hard = self.done["postgres killed"] <= self.done["postgres stopped"]
        (self.postgres.kill if hard else self.postgres.stop)()
        time.sleep(secs)
        self.postgres.start()
        self.done["postgres killed" if hard else "postgres stopped"] += 1

    def _keep(self) -> None:
        """Start workers again that ended by themselves, as a service manager does: without brokers they may end."""
        while not self._is_over.wait(0.5):
            with self._hands:
                for place, worker in enumerate(self.workers):
                    if worker.process.poll() is not None:
                        last = worker.path.read_text().splitlines()[-2:]
                        said = next((line for line in last if line.startswith("Error")), last[-1] if last else "")
                        self.done[f"worker ended with {worker.process.returncode}"] += 1
                        self.ended[said] += 1
                        self.workers[place] = self._worker(place)

    def _worker(self, number: int) -> Running:
        """Only the first keeps its name over a restart; a death of the others is noticed by their silence."""
        named = ("--instance-id", "w0") if number == 0 else ()
        config = ("--config", str(self.folder / "tripline.toml"))
        return Running(self.kafka, self.folder, f"worker-{number}", *config, *named, env=FASTER)

    def _console(self, number: int) -> Console:
        return Console(self.kafka, self.database, self.folder, f"console-{number}", env=FASTER)


def wait_ready(console: Any, secs: float = _READY_SECS) -> None:
    """Until /readyz has nothing to complain about."""
    wait(lambda: not console.reasons(), "the console is ready", secs)


def wait(is_so: Callable[[], Any], what: str, secs: float) -> None:
    """Wait for something, through errors of what is asked; fails with its name."""
    end, last = time.monotonic() + secs, ""
    while True:
        try:
            if is_so():
                return
        except Exception as problem:
            last = f": {problem!r}"
        assert time.monotonic() < end, f"not in {secs:g} s: {what}{last}"
        time.sleep(0.25)

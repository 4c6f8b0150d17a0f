"""Agents that ask the gate all the time, some of which go rogue; a person; a producer over HTTP; and who watches."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any, NamedTuple

import httpx
import psycopg

from bench.faults_engine.load import Sender, an_action, burst
from bench.faults_engine.site import Site, wait
from events.codec import encode
from streams.routing import ACTIONS

HONEST, ROGUE, RETURNING = ("honest-1", "honest-2", "honest-3"), ("rogue-1", "rogue-2", "rogue-3"), ("again-1",)
ASKERS = [*HONEST, *ROGUE, *RETURNING]
"""Honest agents go on; rogue ones are to be stopped for good; one is released by a person each time it was stopped."""
_GAP_SECS, _RELEASE_SECS = 0.12, 120.0
_BATCH = 20


class Answer(NamedTuple):
    """What an agent was told. ``known_epoch``: that of the newest decision that was to be seen in the store before
    the question was sent."""

    agent: str
    decision_id: str
    decision: str
    rule: str
    epoch: int
    known_epoch: int
    secs: float


class Watcher(threading.Thread):
    """Looks at the control rows through a connection of its own: what is committed is to be obeyed."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self._site = site
        self._stop_it = False
        self.rows: dict[str, tuple[str, int]] = {}
        """By agent: its state and epoch as last seen."""

    def state(self, agent: str) -> str:
        return self.rows.get(agent, ("active", 0))[0]

    def epoch(self, agent: str) -> int:
        return self.rows.get(agent, ("active", 0))[1]

    def stop(self) -> None:
        self._stop_it = True
        self.join(10)

    def run(self) -> None:
        while not self._stop_it:
            with suppress(psycopg.Error), psycopg.connect(self._site.database, autocommit=True) as link:
                while not self._stop_it:
                    found = link.execute("SELECT agent_id, state, epoch FROM control").fetchall()
                    self.rows = {agent: (state, epoch) for agent, state, epoch in found}
                    time.sleep(0.03)
            time.sleep(0.1)


class Asking:
    """The threads; each agent has one. ``answers`` is what they were told, ``unanswered`` counts broken questions."""

    def __init__(self, site: Site, sender: Sender, seed: int) -> None:
        self.site, self.sender, self.seed = site, sender, seed
        self.watcher = Watcher(site)
        self.answers: list[Answer] = []
        self.unanswered: Counter[str] = Counter()
        self.accepted: list[str] = []
        """Ids of events that ``POST /v1/events`` took."""
        self.releases = 0
        self.problems: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(agent,), daemon=True) for agent in ASKERS]
        self._threads.append(threading.Thread(target=self._post, daemon=True))
        self._threads += [threading.Thread(target=self._return, args=(agent,), daemon=True) for agent in RETURNING]

    def start(self) -> None:
        self.watcher.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Have all threads finish what they are at."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_RELEASE_SECS + 60)
            if thread.is_alive():
                self.problems.append("a thread of the agents does not end")
        self.watcher.stop()

    def go_rogue(self, agent: str) -> None:
        """Do far too much, past the gate."""
        self.sender.event(ACTIONS, burst(agent, f"burst-{agent}"))

    # --- the threads --------------------------------------------------------------------------------------------

    def _ask(self, agent: str) -> None:
        rng = random.Random(f"{self.seed} {agent}")
        number = 0
        while not self._stop.is_set():
            self._stop.wait(rng.uniform(0, 2 * _GAP_SECS))
            alive = self.site.alive()
            if not alive:
                continue
            number += 1
            records = [f"{agent}-{rng.randrange(2_000)}"]
            known, began = self.watcher.epoch(agent), time.monotonic()
            try:
                body = {"agent_id": agent, "action": "record.update", "object": "Contact", "record_ids": records}
                told = rng.choice(alive).agents.post("/v1/gate/check", json=body).json()
                answer = Answer(
                    agent, told["decision_id"], told["decision"], told["rule"], told["epoch"], known,
                    time.monotonic() - began,
                )  # fmt: skip
            except (httpx.HTTPError, ValueError, KeyError, RuntimeError) as problem:
                self.unanswered[type(problem).__name__] += 1
                continue
            self.answers.append(answer)
            if answer.decision == "allow" and rng.random() < 0.5:
                report = an_action(agent, f"{agent}-{number}", records, answer.decision_id)
                self.sender.event(ACTIONS, report)

    def _return(self, agent: str) -> None:
        """Goes rogue, is stopped, released by a person, and so on."""
        rng, cycle = random.Random(f"{self.seed} return {agent}"), 0
        try:
            while not self._stop.wait(rng.uniform(2, 12)):
                cycle += 1
                self.sender.event(ACTIONS, burst(agent, f"burst-{agent}-{cycle}", cycle))
                wait(lambda: self.watcher.state(agent) == "suspended", f"{agent} is stopped", _RELEASE_SECS)
                time.sleep(rng.uniform(0, 3))
                wait(lambda: self._release(agent), f"{agent} is released", _RELEASE_SECS)
                wait(lambda: self.watcher.state(agent) == "active", f"{agent} is active", _RELEASE_SECS)
                self.releases += 1
        except AssertionError as problem:
            self.problems.append(str(problem))

    def _release(self, agent: str) -> bool:
        if self.watcher.state(agent) != "suspended":  # an earlier try had got through
            return True
        console = random.Random(time.monotonic()).choice(self.site.alive())
        body = {"reason": "looked into", "epoch": self.watcher.epoch(agent)}
        answer = console.client.post(f"/v1/agents/{agent}/release", json=body)
        return answer.status_code == 200

    def _post(self) -> None:
        """A producer without Kafka: sends each batch until it is taken."""
        rng, number = random.Random(f"{self.seed} post"), 0
        while not self._stop.wait(rng.uniform(0, 0.6)):
            events = [an_action("poster", f"post-{number + each}", ["r-1"]) for each in range(_BATCH)]
            number += _BATCH
            values = [encode(event) for event in events]
            with suppress(AssertionError):
                wait(lambda values=values: self._is_taken(values), "a batch is taken", _RELEASE_SECS)  # type: ignore[misc]
                self.accepted += [event.id for event in events]

    def _is_taken(self, values: list[bytes]) -> bool:
        console: Any = random.Random(time.monotonic()).choice(self.site.alive())
        answer = console.agents.post(
            "/v1/events", content=b"\n".join(values), headers={"content-type": "application/x-ndjson"}
        )
        return bool(answer.status_code == 200 and answer.json()["accepted"] == len(values))

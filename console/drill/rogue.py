"""One trip: a rogue agent with some gates, each with a lease, and what each of them still admitted after the stop.

A trip has two parts. At first the agent acts at its rate until it is stopped, and each gate that can be reached has
refused it: that takes the machine's time, so a few agents do it at once. Then a gate may be cut off for long yet; the
agent goes on to try at all its gates, ever so often, and many agents can be there at once.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import httpx
from msgspec import Struct

from console.drill.proxy import Proxy
from events.times import parse_ms
from governance.drills import Scenario, Trip, bound_of
from tripline_client import NotAllowed, Tripline, TriplineError, Unavailable
from tripline_client.keeping import Lease
from tripline_client.leases import Held

_PATIENCE_SECS = 60.0
_LOOK_SECS = 0.1
_TIMEOUT_SECS, _CUT_TIMEOUT_SECS = 1.0, 5.0
"""How long a gate waits for an answer; the gate that is cut off asks in vain, and need not do that every second."""
_AGAIN_SECS = 10.0
"""After this the agent tries again where it was refused."""
_SOON_SECS = 5.0
"""The same where the network was cut and there is nothing left to spend, so that the end of the cut is seen."""
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Unused on loopback; shared, for one of its own would cost each gate 50 ms."""


class Admitted(Struct, frozen=True, gc=False):
    """An operation that was admitted: when it was asked and when admitted (ms by the wall clock); under which lease."""

    asked_ms: float
    at_ms: float
    held: Held | None


class Gate:
    """One gate of the agent: a client with a lease (none with ``credits_`` 0), and a thread that acts at a rate."""

    def __init__(
        self, url: str, agent_id: str, number: int, rate: float, credits_: int, *, may_be_cut: bool = False
    ) -> None:
        self.rate = rate
        self.loops = False
        """Whether it writes the same record again and again."""
        self.problem = ""
        """Why it acts no more, when that is nobody's wish."""
        self.proxy = Proxy(int(url.rpartition(":")[2])) if may_be_cut else None
        where, patience = url, _TIMEOUT_SECS
        if self.proxy is not None:
            where, patience = self.proxy.url, _CUT_TIMEOUT_SECS
        self.client = Tripline(where, agent_id=agent_id, timeout_secs=patience, attempts=1, tls=_TLS)
        self.lease: Lease | None = None
        if credits_:
            self.lease = self.client.lease(
                "record.update", object="Lead", fields=["Industry"], action_credits=credits_, record_credits=credits_,
                holder=f"gate {number}",
            )  # fmt: skip
        self.admitted: list[Admitted] = []
        self.refused_ms: list[float] = []
        self._name = f"{agent_id}-{number}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"drill-{self._name}", daemon=True)

    def hold(self) -> None:
        """Get the lease."""
        if self.lease is not None:
            self.lease.__enter__()

    def start(self) -> None:
        """Begin to act."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE_SECS)
        if self.lease is not None:
            self.lease.close(0.0)
        self.client.unreported.clear()
        self.client.close(0.0)
        if self.proxy is not None:
            self.proxy.close()

    def leases(self) -> set[Held]:
        """The leases under which it has admitted something, and the one that it has."""
        found = {one.held for one in self.admitted if one.held is not None}
        if self.lease is not None and self.lease.hold.current is not None:
            found.add(self.lease.hold.current)
        return found

    def is_spent(self) -> bool:
        """Whether nothing more can be admitted here without the gate."""
        if self.lease is None:
            return True
        held = self.lease.hold.current
        return held is None or held.is_over() or held.used >= held.action_limit

    def _run(self) -> None:
        due, count = time.monotonic(), 0
        try:
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                count += 1
                pause = self._act(count)
                due = due + 1 / self.rate if pause is None else time.monotonic() + pause
        except TriplineError as problem:
            self.problem = f"{self._name}: {problem!r}"

    def _act(self, count: int) -> float | None:
        """Try one operation. After how many seconds the next is tried, where that is not for the rate to say."""
        asked_ms = time.time() * 1000
        record = f"00Q-{self._name}" if self.loops else f"00Q-{self._name}-{count}"
        changes = {record: {"Industry": [None, str(count)]}}
        try:
            with self.client.act("record.update", object="Lead", changes=changes) as act:
                self.admitted.append(Admitted(asked_ms, time.time() * 1000, act._held))
        except NotAllowed:
            self.refused_ms.append(time.time() * 1000)
            return _AGAIN_SECS
        except Unavailable:
            return _SOON_SECS if self.is_spent() else None
        return None


class Rogue:
    """The agent of one trip. Parameters: the server and a person who may stop it; its name; gates; credits of each
    lease; the rate of all together, a second; ``has_partition``: one of the gates is cut off before the stop, for
    ``cut_secs``, or, with 0, until nothing more can come of it; ``busy``: to be held while it acts at its rate."""

    def __init__(
        self, url: str, person: httpx.Client, agent_id: str, *, gates: int, credits_: int, rate: float,
        has_partition: bool, seed: int, cut_secs: float = 0.0, busy: AbstractContextManager[object] | None = None,
    ) -> None:  # fmt: skip
        self.agent_id = agent_id
        self._person = person
        self._busy = busy or nullcontext()
        self._chance = random.Random(seed)  # noqa: S311 - a schedule that can be had again
        self._cut_secs = cut_secs
        self._cut_at = 0.0
        cut = self._chance.randrange(gates) if has_partition else -1
        self._gates = [
            Gate(url, agent_id, number, rate / gates, credits_, may_be_cut=number == cut) for number in range(gates)
        ]
        self._cut = self._gates[cut] if has_partition else None

    def run(self, scenario: Scenario) -> Trip:
        """Go rogue, be stopped, and count. Raises RuntimeError when nobody stops it."""
        try:
            with self._busy:
                began_ms, tripped_ms = self._go_rogue(scenario)
                self._wait(lambda: self._are_refused(tripped_ms), "a gate goes on")
            self._see_out(tripped_ms)
            return self._trip(began_ms, tripped_ms)
        finally:
            for gate in self._gates:
                gate.close()

    def _go_rogue(self, scenario: Scenario) -> tuple[float, float]:
        for gate in self._gates:
            gate.hold()
        began_ms = time.time() * 1000
        for gate in self._gates:
            gate.loops = scenario == "record_loop"
            gate.start()
        time.sleep(self._chance.uniform(0.1, 0.6))
        if self._cut is not None and self._cut.proxy is not None:
            self._cut.proxy.is_cut = True
            self._cut_at = time.monotonic()
            time.sleep(self._chance.uniform(0.0, 0.3))
        if scenario == "kill_switch":
            answer = self._person.post(f"/v1/agents/{self.agent_id}/suspend", json={"reason": "a drill"})
            answer.raise_for_status()
        return began_ms, self._wait(self._tripped_ms, "no detector has stopped the agent")

    def _see_out(self, tripped_ms: float) -> None:
        """Until nothing more can come of a gate that is cut off; and until it was refused, when the cut ends."""
        if self._cut is None or self._cut.proxy is None:
            return
        self._wait(lambda: self._cut is None or self._cut.is_spent() or None, "its lease does not end")
        if self._cut_secs:
            time.sleep(max(0.0, self._cut_at + self._cut_secs - time.monotonic()))
            self._cut.refused_ms.clear()
            self._cut.proxy.heal()
            self._wait(lambda: bool(self._cut and self._cut.refused_ms) or None, "the gate that was cut off goes on")

    def _tripped_ms(self) -> float | None:
        page = self._person.get(f"/v1/agents/{self.agent_id}")
        control = page.json()["row"]["control"] if page.status_code == httpx.codes.OK else None
        return float(parse_ms(control["at"])) if control is not None and control["state"] != "active" else None

    def _are_refused(self, tripped_ms: float) -> float | None:
        """Every gate that reaches the server was refused there after the stop, and has nothing left to spend."""
        reached = [gate for gate in self._gates if gate is not self._cut]
        is_done = all(gate.is_spent() and any(at >= tripped_ms for at in gate.refused_ms) for gate in reached)
        return 1.0 if is_done else None

    def _trip(self, began_ms: float, tripped_ms: float) -> Trip:
        late = [one for gate in self._gates for one in gate.admitted if one.at_ms >= tripped_ms]
        in_flight = sum(1 for one in late if one.held is None and one.asked_ms < tripped_ms)
        left, secs = [], []
        for gate in self._gates:
            before = {one.held: 0 for one in gate.admitted}
            for one in gate.admitted:
                before[one.held] += one.at_ms < tripped_ms
            held = gate.leases()
            left.append(sum(each.action_limit - before.get(each, 0) for each in held if not self._was_over(each, late)))
            secs.append(max([max(0.0, each.end.wall - tripped_ms / 1000) for each in held], default=0.0))
        rates = [gate.rate for gate in self._gates]
        reached = [gate for gate in self._gates if gate is not self._cut]
        refused = [min([at for at in gate.refused_ms if at >= tripped_ms], default=tripped_ms) for gate in reached]
        return Trip(
            admitted_after=len(late),
            in_flight=in_flight,
            credits=sum(left),
            bound=bound_of(left, rates, secs, in_flight),
            detect_ms=tripped_ms - began_ms,
            contain_ms=max([one.at_ms - tripped_ms for one in late], default=0.0),
            verify_ms=max(refused, default=tripped_ms) - tripped_ms,
        )

    def _was_over(self, held: Held, late: list[Admitted]) -> bool:
        """An earlier lease that was used up and given back before the stop promises nothing any more."""
        return held.is_returned and all(one.held is not held for one in late)

    def _wait(self, look: Callable[[], float | None], problem: str) -> float:
        end = time.monotonic() + _PATIENCE_SECS
        while (found := look()) is None:
            if time.monotonic() > end:
                raise RuntimeError(f"{self.agent_id}: {problem} within {_PATIENCE_SECS:g} s")
            if broken := [gate.problem for gate in self._gates if gate.problem]:
                raise RuntimeError(broken[0])
            time.sleep(_LOOK_SECS)
        return found

"""No interleaving of trips, releases, renewals, crashes, restarts and lost messages exceeds what leases promise.

The client's real holder talks to the real decisions and the real store; clocks, network and control rows are played.
Written down beside them is what truly happened, and when.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from events.codec import DEFAULT_LIMITS
from events.types import By
from governance.control import ControlRow, first_row
from governance.gate import GateDecision, GateRequest, Remembered
from governance.lease_types import decode_ask, decode_report
from governance.limits import TEN_MINUTES_MS
from governance.operation import Operation
from governance.settings import parse_settings
from storage import leases as lease_store
from storage.tables import lease, lease_debit, lease_override, metadata
from streams.gating import Gated, Gating
from streams.leasing import Leased, Leasing, Outcome, load_set_aside, read_outcomes
from tripline_client.leases import Held, Hold, Message, Moment, Scope
from tripline_client.messages import operation

CREDITS = 5
SETTINGS = {
    budget: parse_settings(
        f"""
[agents.bot]
actions = ["record.*"]
records_per_10_min = {budget}
records_per_day = {10 * budget}
lease_actions = {CREDITS}
lease_records = {CREDITS + 3}
""",
        {},
    )
    for budget in (20, 500)
}
SCOPE = Scope(
    actions=frozenset({"record.update"}), object="Lead", records_per_action=3, action_credits=CREDITS,
    record_credits=CREDITS + 3,
)  # fmt: skip
KEY, HOLDERS = "default/bot", 3
numbers = st.integers(0, HOLDERS - 1)
lost = st.sampled_from([False, False, False, True])
Step = tuple[Any, ...]
steps = st.one_of(
    st.tuples(st.just("act"), numbers, st.integers(0, 199), st.integers(1, 2), st.integers(1, 7)),
    st.tuples(st.just("act"), numbers, st.integers(0, 199), st.integers(1, 2), st.integers(1, 7)),
    st.tuples(st.just("finish"), numbers),
    st.tuples(st.just("talk"), numbers),
    st.tuples(st.just("talk"), numbers),
    st.tuples(st.just("send"), numbers, lost),
    st.tuples(st.just("take"), numbers, lost),
    st.tuples(st.just("hear"), numbers),
    st.tuples(st.just("wait"), st.sampled_from([1, 50, 400, 400, 1_300, 2_600, 2_600, 4_990, 5_100, 31_000, 599_000])),
    st.just(("trip",)),
    st.just(("release",)),
    st.tuples(st.just("crash"), numbers),
    st.just(("restart",)),
)
plans = st.lists(steps, min_size=60, max_size=60)
START_MS = 1_772_442_600_000


class World:
    """The gate with its store, and what is true."""

    def __init__(self, budget: int) -> None:
        self.settings = SETTINGS[budget]
        self.now_ms = START_MS
        self.link = sqlite3.connect(":memory:", isolation_level=None)
        engine = create_engine("sqlite://", creator=lambda: self.link, poolclass=StaticPool)
        metadata.create_all(engine, tables=[lease, lease_debit, lease_override])
        self.row: ControlRow | None = None
        self.gated = Gated(0)
        self.admissions: list[tuple[int, Operation]] = []
        self.ids = 0

    def restart(self) -> None:
        """The gate's memory is made again from what is durable."""
        self.gated = Gated(len(self.admissions))
        for at_ms, done in self.admissions:
            self.gated.budgets.admit(done, at_ms)
        load_set_aside(self.link, KEY, self.now_ms, self.gated.budgets.set_aside)

    def set(self, state: Any) -> None:
        """The authority decides."""
        row = self.row or first_row(KEY, "bot")
        self.row = msgspec.structs.replace(row, state=state, epoch=row.epoch + 1, by=By("human", "maya"))

    def answer(self, message: Message) -> tuple[int, bytes]:
        """What the gate says to a holder, and does."""
        lending = Lending(self)
        if message.lease is None:
            return 200, told(lending.grant(decode_ask(message.content())))
        reported = read_outcomes(message.lease.lease_id, decode_report(message.content()), DEFAULT_LIMITS)
        found = lending.report(reported, message.kind)  # type: ignore[arg-type]
        assert found is not None
        assert found.refusal is None or found.refusal.rule != "gap", found.refusal
        return 200, told(found)


class Check(Gating):
    """A check at the gate of this world."""

    def __init__(self, world: World, request: GateRequest) -> None:
        super().__init__(request, request.key, world.now_ms)
        self.world = world

    @property
    def control(self) -> ControlRow | None:
        return self.world.row

    stop_all = None
    all_agents = None

    @property
    def gated(self) -> Gated:
        return self.world.gated

    @property
    def authority(self) -> Any:
        return SimpleNamespace(link=self.world.link)

    def remembered(self, request_id: str) -> Remembered | None:
        return None

    def unknown_contacts(self, contact_ids: Sequence[str]) -> Sequence[str]:
        return contact_ids

    def new_id(self) -> str:
        self.world.ids += 1
        return f"{self.world.ids:012x}"

    def append(self, seq: int, done: Operation, decision: GateDecision) -> int:
        self.world.admissions.append((self.now_ms, done))
        assert seq == len(self.world.admissions)
        return seq

    def suspicious(self, decision: GateDecision) -> None:
        raise AssertionError(decision.finding)

    def wrote(self, operation: Operation) -> None: ...
    def keep(self, row: Any) -> None: ...
    def know(self, met: Iterable[Any]) -> None: ...
    def admitted(self) -> None: ...
    def refused(self, decision: GateDecision) -> None: ...


class Lending(Leasing):
    """The gate's desk for leases."""

    def __init__(self, world: World) -> None:
        super().__init__(world.link, world.settings, world.now_ms, None)  # type: ignore[arg-type]
        self.world = world

    def gating(self, request: GateRequest) -> Check:
        return Check(self.world, request)

    def new_id(self) -> str:
        return self.gating(GateRequest(agent_id="bot", action="-")).new_id()

    def take(self, outcomes: Sequence[Outcome]) -> None: ...
    def judge(self) -> None: ...


def told(leased: Leased) -> bytes:
    """An answer, as ``console.api.leases`` gives it."""
    lease = leased.lease
    body = {
        "lease_id": lease.lease_id if lease else "", "over": leased.over, "epoch": leased.epoch,
        "action_limit": lease.action_limit if lease else 0, "record_limit": lease.record_limit if lease else 0,
        "ttl_ms": max(0, lease.end_ms - leased.at_ms) if lease and not leased.over else 0, "report_ms": 250,
        "refused": leased.refusal.rule if leased.refusal else "",
        "reason": leased.refusal.reason if leased.refusal else "",
    }  # fmt: skip
    return msgspec.json.encode(body)


class Holder:
    """One holder with a clock of its own speed; it has at most one message on its way."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.speed = (1.0, 1.005, 0.995)[number % 3]
        self.leases: set[Held] = set()
        self.start()

    def start(self) -> None:
        """A new process."""
        self.hold = Hold("bot", SCOPE, self.clock)
        self.request: Message | None = None
        self.reply: tuple[Message, bool, int, bytes] | None = None
        self.open: list[tuple[Held, Any, Any]] = []

    def clock(self) -> Moment:
        since = (self.world.now_ms - START_MS) / 1000 * self.speed
        return Moment(1_000 + since, 1_700_000_000 + since)


class Story:
    """What happens, step by step, and what is true meanwhile."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.world = World(budget)
        self.holders = [Holder(self.world, number) for number in range(HOLDERS)]
        self.written: list[tuple[int, str]] = []
        self.bound: int | None = None
        """What may be admitted since the last trip."""
        self.knows: set[int] = set()
        """Holders that have heard an answer given after the trip."""

    # --- the agent ----------------------------------------------------------------------------------------------

    def act(self, number: int, first: int, records: int, times: int) -> None:
        """The agent writes, under its lease where it can; without one it asks the gate."""
        for time in range(times):
            self.write(number, [f"r{first + time + each}" for each in range(records)])

    def write(self, number: int, ids: list[str]) -> None:
        """Ask for one operation, and do it."""
        holder = self.holders[number]
        asked = operation("bot", "record.update", {}, {"object": "Lead", "record_ids": ids})
        admitted = holder.hold.admit(asked)
        if admitted is not None:
            self.leased(number, admitted[0])
            holder.open.append((admitted[0], asked, admitted[1]))
        else:
            request = msgspec.convert(asked.question(), GateRequest)
            if Check(self.world, request).decide(self.world.settings).decision != "allow":
                return
            assert self.bound is None, "the gate admits nothing after a trip"
        self.written += [(self.world.now_ms, each) for each in ids]
        since_ms = self.world.now_ms - TEN_MINUTES_MS
        assert len({each for at_ms, each in self.written if at_ms > since_ms}) <= self.budget, "the budget"

    def leased(self, number: int, held: Held) -> None:
        """What must be true of each operation that a holder admits."""
        lease = lease_store.find(self.world.link, held.lease_id)
        assert lease is not None
        assert self.world.now_ms < lease.end_ms, "not after the lease's end, by the store's clock"
        assert held.used <= lease.action_limit
        assert held.records <= lease.record_limit
        self.holders[number].leases.add(held)
        if self.bound is not None:
            assert number not in self.knows, "who has heard of the trip admits nothing"
            self.bound -= 1
            assert self.bound >= 0, "no more than the credits that were left"

    def finish(self, number: int) -> None:
        """Operations end, and their outcomes are to be told."""
        for held, asked, decision in self.holders[number].open:
            held.tell(asked.report("ok", None, decision, {}))
        self.holders[number].open = []

    # --- the network --------------------------------------------------------------------------------------------

    def send(self, number: int, is_lost: bool) -> None:
        """A holder sends what it has to; a message may wait, or never come."""
        holder = self.holders[number]
        if holder.request is None and holder.reply is None:
            holder.request = holder.hold.next()
            if holder.request is not None and is_lost:
                holder.hold.failed(holder.request)
                holder.request = None

    def take(self, number: int, is_lost: bool) -> None:
        """A message comes to the gate; its answer may be lost."""
        holder = self.holders[number]
        if holder.request is not None:
            message, holder.request = holder.request, None
            reply = self.world.answer(message)
            if is_lost:
                holder.hold.failed(message)
            else:
                holder.reply = (message, self.bound is not None, *reply)

    def hear(self, number: int) -> None:
        """An answer comes to its holder."""
        holder = self.holders[number]
        if holder.reply is not None:
            (message, is_after, status, content), holder.reply = holder.reply, None
            holder.hold.answered(message, status, content)
            if is_after and self.bound is not None:
                self.knows.add(number)

    def talk(self, number: int) -> None:
        """A whole exchange without trouble."""
        self.send(number, is_lost=False)
        self.take(number, is_lost=False)
        self.hear(number)

    # --- everything else ----------------------------------------------------------------------------------------

    def wait(self, ms: int) -> None:
        """Time passes."""
        self.world.now_ms += ms

    def trip(self) -> None:
        """The agent is stopped; from now on only what leases still hold may be admitted."""
        if self.bound is not None:
            return
        world = self.world
        used = {held.lease_id: held.used for holder in self.holders for held in holder.leases}
        alive = lease_store.held(world.link, KEY, world.now_ms)
        left = [one.action_limit - used.get(one.lease_id, 0) for one in alive]
        assert all(0 <= each <= CREDITS for each in left), "what the settings say that a lease lets through"
        self.bound, self.knows = sum(left), set()
        world.set("suspended")

    def release(self) -> None:
        """A person lets it go on."""
        if self.bound is not None:
            self.bound = None
            self.world.set("active")

    def crash(self, number: int) -> None:
        """A holder's process dies, with what it has not told."""
        self.holders[number].start()

    def restart(self) -> None:
        """The gate's process dies."""
        self.world.restart()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(SETTINGS)), plans)
def test_no_interleaving_exceeds_the_bound_or_a_budget(budget: int, plan: list[Step]):
    story = Story(budget)
    for number in range(HOLDERS):
        story.talk(number)
    for name, *given_ in plan:
        getattr(story, name)(*given_)

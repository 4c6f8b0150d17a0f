"""No interleaving of trips, releases, renewals, crashes, restarts, partitions, outages of the store and lost messages
exceeds what leases promise.

The client's real holder talks to the real decisions and the real store; clocks, network and control rows are played.
Written down beside them is what truly happened, and when. Each holder has a gate of its own in front of one store; a
gate that is cut off from the store lets nothing pass. ``tests.mutations.leases`` shows that each rule is needed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
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
lost = st.sampled_from([False, False, False, True])
Step = tuple[Any, ...]
Numbers = st.SearchStrategy[int]
STEPS: dict[str, Callable[[Numbers], st.SearchStrategy[Step]]] = {
    "act": lambda of: st.tuples(st.just("act"), of, st.integers(0, 199), st.integers(1, 2), st.integers(1, 7)),
    "finish": lambda of: st.tuples(st.just("finish"), of),
    "talk": lambda of: st.tuples(st.just("talk"), of),
    "send": lambda of: st.tuples(st.just("send"), of, lost),
    "take": lambda of: st.tuples(st.just("take"), of, lost),
    "hear": lambda of: st.tuples(st.just("hear"), of),
    "wait": lambda of: st.tuples(
        st.just("wait"), st.sampled_from([1, 50, 400, 400, 1_300, 2_600, 2_600, 4_990, 5_001, 5_100, 31_000, 599_000])
    ),
    "tell": lambda of: st.tuples(st.just("tell"), of),
    "slow": lambda of: st.tuples(st.just("slow"), of),
    "outlive": lambda of: st.tuples(st.just("outlive"), of),
    "trip": lambda of: st.just(("trip",)),
    "release": lambda of: st.just(("release",)),
    "crash": lambda of: st.tuples(st.just("crash"), of),
    "restart": lambda of: st.just(("restart",)),
    "cut": lambda of: st.tuples(st.just("cut"), of),
    "mend": lambda of: st.tuples(st.just("mend"), of),
    "outage": lambda of: st.just(("outage",)),
    "back": lambda of: st.just(("back",)),
}


def stories(kinds: Iterable[str], holders: int) -> st.SearchStrategy[list[Step]]:
    """Stories of these steps, in which so many holders take part."""
    of = st.integers(0, holders - 1)
    return st.lists(st.one_of([STEPS[kind](of) for kind in kinds]), min_size=60, max_size=60)


some = st.lists(st.sampled_from(sorted(STEPS)), min_size=5, max_size=9, unique=True)
plans = st.one_of(
    stories([*STEPS, "act", "talk"], HOLDERS),
    st.tuples(some, st.integers(1, HOLDERS)).flatmap(lambda drawn: stories([*drawn[0], "act"], drawn[1])),
    stories(["act", "outlive", "tell", "talk", "trip", "release"], 2),
)
"""Of all steps; of some, so that long ways through these are gone, too; and of operations that outlive their lease."""
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
        self.cut_off: set[int] = set()
        """Holders whose gate does not reach the store."""
        self.is_down = False
        """Whether no gate does."""
        self.alone: dict[int, int] = {}
        """What a holder may still admit since its gate does not reach the store."""
        self.told: dict[str, set[str]] = {}
        """Of which operations of a lease the gate was told the outcomes."""

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
        elif number in self.alone:
            return  # a gate without the store denies
        else:
            request = msgspec.convert(asked.question(), GateRequest)
            if Check(self.world, request).decide(self.world.settings).decision != "allow":
                return
            assert self.bound is None, "the gate admits nothing after a trip"
        self.written += [(self.world.now_ms, each) for each in ids]
        since_ms = self.world.now_ms - TEN_MINUTES_MS
        assert len({each for at_ms, each in self.written if at_ms > since_ms}) <= self.budget, "the budget"

    def outlive(self, number: int) -> None:
        """An operation goes on when its lease has ended and the next one was granted."""
        self.act(number, 0, 1, 1)
        self.wait(5_100)
        self.talk(number)
        self.talk(number)

    def leased(self, number: int, held: Held) -> None:
        """What must be true of each operation that a holder admits."""
        lease = lease_store.find(self.world.link, held.lease_id)
        assert lease is not None
        assert self.world.now_ms < lease.end_ms, "not after the lease's end, by the store's clock"
        assert held.used <= lease.action_limit
        assert held.records <= lease.record_limit
        self.holders[number].leases.add(held)
        if number in self.alone:
            self.alone[number] -= 1
            assert self.alone[number] >= 0, "who is cut off has the credits that were left, and gets no others"
        if self.bound is not None:
            assert number not in self.knows, "who has heard of the trip admits nothing"
            self.bound -= 1
            assert self.bound >= 0, "no more than the credits that were left"

    def finish(self, number: int) -> None:
        """Operations end, and their outcomes are to be told."""
        for held, asked, decision in self.holders[number].open:
            held.tell(asked.report("ok", None, decision, {}))
        self.holders[number].open = []

    def tell(self, number: int) -> None:
        """Operations end, and that is told at once."""
        self.finish(number)
        self.talk(number)

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
            if number in self.alone:
                holder.hold.answered(message, 503, b'{"error":"not_available"}')
                return
            reply = self.world.answer(message)
            self.settled(message)
            if is_lost:
                holder.hold.failed(message)
            else:
                holder.reply = (message, self.bound is not None, *reply)

    def slow(self, number: int) -> None:
        """An exchange whose answer takes long to come."""
        self.send(number, is_lost=False)
        self.take(number, is_lost=False)
        self.wait(2_600)
        self.hear(number)

    def settled(self, message: Message) -> None:
        """Credits come back for outcomes alone: what is outstanding or not settled is never more than the credits."""
        if message.lease is None:
            return
        id_ = message.lease.lease_id
        told = self.told.setdefault(id_, set())
        told |= {each["data"]["decision_id"] for each in message.body["outcomes"]}
        lease = lease_store.find(self.world.link, id_)
        assert lease is not None
        assert lease.action_limit <= len(told) + CREDITS, "no credits again for what is not settled"

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

    def cut(self, number: int) -> None:
        """A holder's gate is parted from the store; what was on its way is lost."""
        self.cut_off.add(number)
        self.part([number])

    def mend(self, number: int) -> None:
        """The network is whole again."""
        self.cut_off.discard(number)
        self.join()

    def outage(self) -> None:
        """The store is down."""
        self.is_down = True
        self.part(range(HOLDERS))

    def back(self) -> None:
        """The store is there again."""
        self.is_down = False
        self.join()

    def part(self, numbers: Iterable[int]) -> None:
        """From now on these have what they hold, and no more."""
        for number in numbers:
            holder = self.holders[number]
            if number in self.alone:
                continue
            held = holder.hold.current
            self.alone[number] = held.action_limit - held.used if held is not None else 0
            for message in (holder.request, holder.reply[0] if holder.reply is not None else None):
                if message is not None:
                    holder.hold.failed(message)
            holder.request = holder.reply = None

    def join(self) -> None:
        """Who reaches the store may be told of more."""
        self.alone = {number: left for number, left in self.alone.items() if self.is_down or number in self.cut_off}

    # --- everything else ----------------------------------------------------------------------------------------

    def wait(self, ms: int) -> None:
        """Time passes."""
        self.world.now_ms += ms

    def trip(self) -> None:
        """The agent is stopped; from now on only what leases still hold may be admitted."""
        if self.bound is not None or self.is_down:
            return  # a stop is one when it is durable
        world = self.world
        used = {held.lease_id: held.used for holder in self.holders for held in holder.leases}
        alive = lease_store.held(world.link, KEY, world.now_ms)
        left = [one.action_limit - used.get(one.lease_id, 0) for one in alive]
        assert all(0 <= each <= CREDITS for each in left), "what the settings say that a lease lets through"
        self.bound, self.knows = sum(left), set()
        world.set("suspended")

    def release(self) -> None:
        """A person lets it go on."""
        if self.bound is not None and not self.is_down:
            self.bound = None
            self.world.set("active")

    def crash(self, number: int) -> None:
        """A holder's process dies, with what it has not told."""
        self.holders[number].start()

    def restart(self) -> None:
        """The gate's process dies."""
        if not self.is_down:
            self.world.restart()


def play(budget: int, plan: list[Step]) -> None:
    """Play one story; raises AssertionError where it breaks a promise."""
    story = Story(budget)
    for number in range(HOLDERS):
        story.talk(number)
    for name, *given_ in plan:
        getattr(story, name)(*given_)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SETTINGS)), plans)
def test_no_interleaving_exceeds_the_bound_or_a_budget(budget: int, plan: list[Step]):
    play(budget, plan)


def test_a_holder_that_is_cut_off_spends_what_it_has_and_ends_with_its_time():
    story = Story(500)
    story.talk(0)
    story.act(0, 0, 1, 2)
    story.outage()
    story.trip()
    assert story.bound is None  # it could not be made durable
    story.act(0, 10, 1, 9)
    assert (len(story.written), story.alone[0]) == (CREDITS, 0)
    story.back()
    story.finish(0)
    story.talk(0)
    story.cut(0)
    story.trip()
    assert story.bound == CREDITS
    story.wait(5_100)
    story.act(0, 30, 1, 9)
    assert len(story.written) == CREDITS  # its time is over, and its gate denies
    story.mend(0)
    story.talk(0)
    story.act(0, 50, 1, 1)
    assert len(story.written) == CREDITS

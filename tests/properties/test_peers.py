"""What peers do is in the log: cut, crashed, sent twice or spread over partitions, agents are judged the same."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Action, Evidence, Shared
from detectors.statistics import guarded_upper
from events.codec import decode, encode
from events.times import DAY_MS, HOUR_MS, MINUTE_MS
from events.types import PeersEvent, PeersReport, PeersReportEvent
from streams.agents import AgentsStage
from streams.envelopes import envelope
from streams.kafka.partition import partition_of
from streams.kafka.worker.lane import Lane
from streams.peers import MOST_AGENTS, MOST_NUMBERS, MOST_ROLES
from streams.records import READ_BACK, Entry, Partition
from streams.routing import ACTIONS
from streams.ticks import tick_event
from tests.kafka.records import FakeRecord
from tests.properties import same
from tests.properties.same import state_of, written
from tests.properties.test_lane import crash, endings, sizes, sweeps
from tests.unit.streams.toys import EveryThird, action_event, tick

MIDNIGHT_MS = 1_772_409_600_000
AGENTS = ("ada", "bob", "cid", "dan", "eve", "fay")
ROLES = dict.fromkeys(AGENTS, "sdr") | {"fay": "import"}
SETTLED = 3


class Counted:
    """How often an agent acted, and whose peer it is."""

    __slots__ = ("count", "group")

    def __init__(self, count: int) -> None:
        self.count, self.group = count, ""


class Sized(EveryThird):
    """Speaks of each action of an agent beyond what its peers did; who acted three times is settled."""

    name: ClassVar[str] = "sized"

    def __init__(self, shared: Shared) -> None:
        self.shared: Shared = shared

    def new_state(self, agent_id: str) -> Any:
        return Counted(0)

    def observe(self, action: Action, state: Any) -> Evidence | None:
        state.count += 1
        usual = self.shared.of_peers(state.group, self.name, action.at_ms)
        if not usual or state.count <= usual[0]:
            return None
        return Evidence(
            wanted="throttle", severity="warning", summary=f"{state.count} > {usual[0]}", observed=state.count,
            expected=usual[0], limit=usual[0], unit="actions", would_clear="fewer", topic=str(state.count),
        )  # fmt: skip

    def join(self, state: Any, group: str) -> None:
        state.group = group

    def describe(self, state: Any, at_ms: int) -> list[int] | None:
        return [state.count] if state.count >= SETTLED else None

    def common_profile(self, described: list[list[int]]) -> list[int] | None:
        return [guarded_upper([one for (one,) in described], 3.0)] if len(described) >= 3 else None

    def dump(self, state: Any) -> bytes:
        return int(state.count).to_bytes(8, "little")

    def load(self, agent_id: str, blob: bytes, version: int) -> Any:
        return Counted(int.from_bytes(blob, "little"))


def fresh(index: int = 0, roles: dict[str, str] | None = None) -> AgentsStage:
    shared = Shared()
    place = Partition("main", ACTIONS, "id-1", index)
    return AgentsStage(place, (Sized(shared),), {}, shared, None, ROLES if roles is None else roles)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("act"), st.sampled_from(AGENTS), st.integers(0, 40)),
        st.tuples(st.just("tick"), st.sampled_from((1, 15, 16, 600, 1440, 3000)), st.just(0)),
    ),
    min_size=1,
    max_size=50,
)
warm = [("act", agent, 1) for agent in AGENTS for _ in range(4)] + [("tick", 1440, 0), ("tick", 15, 0)]
"""Four times each, then the day's reports and the profiles."""


def log_of(plan: list[Any]) -> list[Entry]:
    """The log as a runtime makes it: what the stage says to itself is the next record."""
    log: list[Entry] = []
    live, now = fresh(), MIDNIGHT_MS + HOUR_MS
    for number, (what, who, minutes) in enumerate([*warm, *plan]):
        if what == "act":
            now += minutes * MINUTE_MS
            todo: list[Entry] = [(len(log), now, action_event(number, who, at_ms=now))]
        else:
            now += who * MINUTE_MS
            todo = [tick(len(log), now)]
        while todo:
            log.append(todo.pop(0))
            for output in live.process(log[-1:]):
                if output.kind in READ_BACK:
                    todo.append((len(log) + len(todo), now, output.event))
    return log


def test_the_logs_hold_reports_and_profiles_and_somebody_is_judged_by_them() -> None:
    log = log_of([("act", "eve", 1)] * 3)
    (report, other) = [entry[2].data for entry in log if isinstance(entry[2], PeersReportEvent)]
    (profile,) = [entry[2].data for entry in log if isinstance(entry[2], PeersEvent)]
    assert (report.role, report.agents) == ("import", {"sized": [[4]]})
    assert (other.role, other.agents) == ("sdr", {"sized": [[4]] * 5})
    assert (profile.role, profile.values, profile.agents) == ("sdr", {"sized": [4]}, {"sized": 5})
    said = [output.event.data for output in fresh().process(log) if output.kind == "finding"]
    assert [one.evidence.summary for one in said] == ["5 > 4", "6 > 4", "7 > 4"]


@given(plan=steps, cuts=st.lists(st.integers(0, 120), max_size=12))
@settings(max_examples=25, deadline=None)
def test_batch_boundaries_change_nothing(plan: list[Any], cuts: list[int]) -> None:
    same.cut(fresh, log_of(plan), cuts)


@given(plan=steps, cut=st.integers(0, 120), crash=st.integers(0, 120), lazily=st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_crash_anywhere_changes_nothing(plan: list[Any], cut: int, crash: int, lazily: bool) -> None:
    same.crash(fresh, log_of(plan), cut, crash, lazily=lazily)


@given(plan=steps)
@settings(max_examples=15, deadline=None)
def test_delivering_everything_twice_changes_nothing(plan: list[Any]) -> None:
    log = log_of(plan)
    once, twice = fresh(), fresh()
    expected = written(once.process(log))
    assert [line for entry in log for line in written(twice.process([entry, entry]))] == expected
    sent_again = [(10_000 + at, entry[1], entry[2]) for at, entry in enumerate(log)]
    assert written(twice.process(sent_again)) == [], "what was fed a second time, under new offsets"


# --- several partitions ----------------------------------------------------------------------------------------------


def lane_of(index: int) -> Lane:
    """The lane of one of three partitions, afresh."""
    return Lane(fresh(index), Partition("main", ACTIONS, "id-1", index), 3)


class Site:
    """Three partitions of the topic, as lanes; what one feeds another is appended to its log."""

    def __init__(self) -> None:
        self.lanes = [lane_of(index) for index in range(3)]
        self.logs: list[list[FakeRecord]] = [[] for _ in range(3)]
        self.findings: list[bytes] = []

    def append(self, index: int, at_ms: int, value: bytes, headers: Any = ()) -> None:
        """One record, judged at once; then what comes of it."""
        self.logs[index].append(FakeRecord(len(self.logs[index]), at_ms, value, headers))
        for one in self.lanes[index].take(self.logs[index][-1:]):
            if one.topic == ACTIONS:
                self.append(one.partition, at_ms, one.value, one.headers)
            else:
                self.findings.append(one.value)

    def tick(self, at_ms: int) -> None:
        """The clock in every partition, the last one first: its report is there before the first one's day begins."""
        for index in (2, 1, 0):
            self.append(index, at_ms, encode(tick_event("main", at_ms)))

    def act(self, number: int, agent: str, at_ms: int) -> None:
        """In the agent's own partition."""
        event = action_event(number, agent, at_ms=at_ms)
        self.append(partition_of(f"default/{agent}", 3), at_ms, encode(event))


@cache
def site() -> Site:
    """Two days of six agents, and the quarter hour in which the second profile is made."""
    made, at_ms = Site(), MIDNIGHT_MS
    assert len({partition_of(f"default/{agent}", 3) for agent in AGENTS}) > 1
    for number in range(48 * 4 + 1):
        at_ms += 15 * MINUTE_MS
        made.act(number, AGENTS[number % 6], at_ms - MINUTE_MS)
        if number % 4 == 3 or at_ms % DAY_MS <= 15 * MINUTE_MS:  # each hour; at midnight, and a quarter hour later
            made.tick(at_ms)
    return made


def test_every_partition_holds_the_same_profile_whoever_lives_there() -> None:
    stages: list[Any] = [lane.stage for lane in site().lanes]
    profiles = [stage.shared.peers for stage in stages]
    assert profiles[0] == profiles[1] == profiles[2]
    assert profiles[0]["default/sdr"].version == MIDNIGHT_MS // DAY_MS + 2
    said = [decode(record.value or b"") for record in site().logs[1]]
    first = next(event.data for event in said if isinstance(event, PeersEvent))
    assert first.agents == {"sized": 5}, "of all partitions"


@given(
    plan=st.lists(st.tuples(sizes, sweeps, endings, sizes, st.booleans()), min_size=1, max_size=6),
    index=st.integers(0, 2),
)
@settings(max_examples=25, deadline=None)
def test_a_worker_that_crashes_anywhere_in_a_sweep_judges_and_reports_the_same(plan: list[Any], index: int) -> None:
    """What is fed again carries the running number of before, so that nobody takes it twice."""
    crash(plan, ACTIONS, site().logs[index], lambda: lane_of(index))


def test_each_partitions_log_alone_gives_what_was_said_live() -> None:
    again: list[bytes] = []
    for index, log in enumerate(site().logs):
        lane = lane_of(index)
        again += [one.value for one in lane.take(log) if one.topic != ACTIONS]
        assert state_of(lane.stage) == state_of(site().lanes[index].stage)
    assert again
    assert sorted(again) == sorted(site().findings)


# --- what one agent, and many, can do to a role ----------------------------------------------------------------------


def profile_after(acts: dict[str, int], roles: dict[str, str]) -> Any:
    judged, now, log = fresh(roles=roles), MIDNIGHT_MS + HOUR_MS, list[Entry]()
    for agent, count in acts.items():
        log += [(len(log) + n, now, action_event(len(log) + n, agent, at_ms=now)) for n in range(count)]
    outputs = judged.process([*log, tick(len(log), MIDNIGHT_MS + DAY_MS)])
    reports = [(len(log) + 1 + n, now, output.event) for n, output in enumerate(outputs) if output.kind in READ_BACK]
    judged.process(reports)
    end = tick(len(log) + 1 + len(reports), MIDNIGHT_MS + DAY_MS + 15 * MINUTE_MS)
    (said,) = [output.event for output in judged.process([end]) if output.kind == "peers"]
    return said.data


def test_neither_one_agent_nor_ten_new_ones_move_what_is_usual() -> None:
    honest = {f"h{n}": 10 + n for n in range(6)}
    roles = dict.fromkeys([*honest, "mallory", *(f"new{n}" for n in range(10))], "sdr")
    alone = profile_after(honest, roles)
    assert alone.values == {"sized": [14]}
    assert profile_after({**honest, "mallory": 900}, roles).values == {"sized": [15]}, "the largest of the others"
    crowd = profile_after({**honest, **{f"new{n}": SETTLED - 1 for n in range(10)}}, roles)
    assert crowd == alone, "who is not settled has no voice"


def test_what_is_kept_is_bounded_however_many_agents_and_roles_there_are() -> None:
    roles = {f"a{n}": f"role {n % 90}" for n in range(9_000)}
    judged = fresh(roles=roles)
    log = [(n, MIDNIGHT_MS, action_event(n, f"a{n % 9_000}", at_ms=MIDNIGHT_MS)) for n in range(27_000)]
    judged.process(log)
    said = judged.process([tick(len(log), MIDNIGHT_MS + DAY_MS)])
    reports = [output.event for output in said if output.kind == "peers_report"]
    assert len(reports) == MOST_ROLES
    assert {len(report.data.agents["sized"]) for report in reports} == {MOST_AGENTS}
    judged.process([(len(log) + 1 + n, MIDNIGHT_MS + DAY_MS, event) for n, event in enumerate(reports)])
    judged.process([tick(40_000, MIDNIGHT_MS + DAY_MS + 15 * MINUTE_MS)])
    assert judged.peers.memory.told == []
    assert len(judged.dump_shared()) < 64 * 200


def test_an_older_profile_and_a_report_that_comes_late_change_nothing() -> None:
    log = log_of([])
    (newer,) = [entry for entry in log if isinstance(entry[2], PeersEvent)]
    report = next(entry[2] for entry in log if isinstance(entry[2], PeersReportEvent))
    judged = fresh()
    judged.process(log)
    before = judged.dump_shared()
    data = newer[2].data
    for number, version in enumerate((data.version - 1, data.version)):
        other = msgspec.structs.replace(data, version=version, values={"sized": [1]})
        event = msgspec.structs.replace(newer[2], data=other)
        judged.process([(len(log) + number, newer[1], event), (len(log) + 10 + number, newer[1], report)])
    assert judged.dump_shared() == before


class Talker(Sized):
    """One that tells much."""

    name: ClassVar[str] = "talker"
    most_described: ClassVar[int] = 3


def told_to(reports: list[tuple[str, int, dict[str, list[list[int]]]]]) -> list[dict[str, int]]:
    """Of how many agents is kept what was reported: role, partition, numbers by detector."""
    shared = Shared()
    place = Partition("main", ACTIONS, "id-1", 0)
    judged = AgentsStage(place, (Sized(shared), Talker(shared)), {}, shared, None, ROLES)
    for number, (role, partition, agents) in enumerate(reports):
        data = PeersReport(role=role, partition=partition, version=MIDNIGHT_MS // DAY_MS, agents=agents)
        event = envelope(PeersReportEvent, "x", f"r-{number}", MIDNIGHT_MS, "t/*", data)
        judged.process([(number, MIDNIGHT_MS, event)])
    assert len(judged.dump_shared()) < 10 * MOST_NUMBERS
    return [{name: len(told) for name, told in one.agents.items()} for one in judged.peers.memory.told]


def test_of_a_role_so_many_agents_are_kept_where_each_tells_much() -> None:
    agents = {"sized": [[1]] * 50, "talker": [[1] * 100] * 4}
    kept = told_to([("sdr", partition, agents) for partition in range(3)])
    assert kept == [{"sized": 50, "talker": 4}, {"sized": 50, "talker": 2}, {"sized": 50, "talker": 0}]


def test_what_is_too_much_to_keep_is_left_out_and_what_is_small_is_not() -> None:
    agents = {"sized": [[1] * 12] * 64, "talker": [[1] * (MOST_NUMBERS // 3)]}
    kept = told_to([(f"role {number}", 1, agents) for number in range(5)])
    assert kept == [{"sized": 64, "talker": 1}] * 3 + [{"sized": 64}] * 2

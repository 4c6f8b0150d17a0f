"""What agents of the same role do, so that a new one is judged from its first minute.

Once a day of the log each partition reports its settled agents' own numbers by role (``PeersReportEvent``, to the
first partition). A quarter hour later the first partition makes one profile of each role (``PeersEvent``, to all
partitions). Both are records, so what an agent was judged by follows from its partition alone. The detectors say what
the numbers are, and how those of many agents become one profile that no agent moves far (``detectors.base.Peered``);
why it is so: docs/adr/0018-judged-by-peers.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from detectors.base import Detector, PeerProfile, Shared
from events.times import DAY_MS, MINUTE_MS
from events.types import Peers, PeersEvent, PeersReport, PeersReportEvent, tenant_of
from streams.envelopes import envelope, make_key, split_key
from streams.records import Output, OutputKind, Partition, output_id

if TYPE_CHECKING:
    from streams.agent_body import AgentBody
    from streams.keyed import Keyed

LATELY_MS = 7 * DAY_MS
"""Agents that acted within this time are peers: a weekend takes nobody out."""
MOST_AGENTS = 64
"""So many agents of a role a partition reports; of more, those whose ids have the lowest hashes."""
MOST_ROLES = 64
"""So many roles of all tenants have a profile."""
MOST_NUMBERS = 100_000
"""Of detectors that tell much (``most_described``) so many numbers are kept for the quarter hour, 900 kB at most."""
_TIMES_DESCRIBED = 2
"""Of these, what so many times ``most_described`` agents of a role tell is kept."""
_QUARTER_MS = 15 * MINUTE_MS


class Told(Struct, array_like=True):
    """What one partition reported of a role, until it is put together with what the others did."""

    group: str
    partition: int
    version: int
    agents: dict[str, list[list[int]]]


class Memory(Struct, array_like=True):
    """What is kept: the day of the last report, that of the last profiles, the profiles, and reports in between."""

    day: int = 0
    merged: int = 0
    profiles: dict[str, PeerProfile] = {}
    told: list[Told] = []


class PeerGroups:
    """What one partition knows of the roles of its agents.

    Parameters: the partition; the detectors; what they share; each configured agent's role, by its id. An agent without
    a role has no peers.
    """

    def __init__(
        self, partition: Partition, detectors: Sequence[Detector], shared: Shared, roles: Mapping[str, str]
    ) -> None:
        self._partition = partition
        self._peered: dict[int, Any] = {i: each for i, each in enumerate(detectors) if hasattr(each, "common_profile")}
        self._most = {each.name: each.most_described for each in detectors if hasattr(each, "most_described")}
        self._shared = shared
        self._roles = roles if self._peered else {}
        self.memory = Memory()

    def group_of(self, key: str) -> str:
        """The group of an agent, "tenant/role"; empty when it has no role."""
        tenant, agent_id = split_key(key)
        role = self._roles.get(agent_id)
        return make_key(tenant, role) if role else ""

    def join(self, key: str, states: Sequence[Any]) -> None:
        """Tell the detectors whose peer an agent is."""
        group = self.group_of(key)
        if group:
            for index, detector in self._peered.items():
                detector.join(states[index], group)

    def next_due_ms(self) -> int | None:
        """When something is to be said next, if anything ever is: a quarter hour."""
        if not self._roles:
            return None
        memory = self.memory
        return (memory.day + 1) * DAY_MS if memory.merged == memory.day else memory.day * DAY_MS + _QUARTER_MS

    def at_quarter(
        self, offset: int, tick_ms: int, keys: Mapping[str, Keyed[AgentBody]], wake_since: Callable[[int], None]
    ) -> list[Output]:
        """What is said at a quarter hour: with a new day the reports, at the next the profiles."""
        if not self._roles or tick_ms // DAY_MS <= self.memory.day:
            return self.merge(offset, tick_ms)
        since_ms = tick_ms - LATELY_MS
        wake_since(since_ms)
        lately = [(key, keyed.body) for key, keyed in keys.items() if keyed.body.last_ms >= since_ms]
        return self.report(offset, tick_ms, [(key, body.states) for key, body in lately if not body.disabled])

    # --- what is said -------------------------------------------------------------------------------------------

    def report(self, offset: int, tick_ms: int, agents: Iterable[tuple[str, Sequence[Any]]]) -> list[Output]:
        """A day begins: this partition's report of each role. ``agents``: key and states of those who acted lately."""
        self.memory.day = day = tick_ms // DAY_MS
        members: dict[str, list[tuple[int, str, Sequence[Any]]]] = {}
        for key, states in agents:
            group = self.group_of(key)
            if group:
                members.setdefault(group, []).append(
                    (xxh3_64_intdigest(key.encode("utf-8", "surrogatepass")), key, states)
                )
        out = []
        for group, known in sorted(members.items())[:MOST_ROLES]:
            known.sort(key=lambda one: one[:2])
            told = self._describe(known, tick_ms)
            if told:
                role = split_key(group)[1]
                data = PeersReport(role=role, partition=self._partition.index, version=day, agents=told)
                out.append(self._say(PeersReportEvent, "peers_report", offset, tick_ms, group, data))
        return out

    def _describe(self, known: list[tuple[int, str, Sequence[Any]]], tick_ms: int) -> dict[str, list[list[int]]]:
        found: dict[str, list[list[int]]] = {}
        for index, detector in self._peered.items():
            told: list[list[int]] = []
            most = self._most.get(detector.name, MOST_AGENTS)
            for _, _, states in known:
                mine = detector.describe(states[index], tick_ms)
                if mine is not None:
                    told.append(mine)
                    if len(told) == most:
                        break
            if told:
                found[detector.name] = told
        return found

    def merge(self, offset: int, tick_ms: int) -> list[Output]:
        """A quarter hour later: the first partition makes one profile of each role out of the day's reports."""
        memory = self.memory
        if memory.merged >= memory.day:
            return []
        memory.merged = day = memory.day
        told = sorted([one for one in memory.told if one.version == day], key=lambda one: (one.group, one.partition))
        memory.told = [one for one in memory.told if one.version > day]
        groups: dict[str, dict[str, list[list[int]]]] = {}
        for one in told:
            of_group = groups.setdefault(one.group, {})
            for detector, agents in one.agents.items():
                of_group.setdefault(detector, []).extend(agents)
        out = []
        for group, described in groups.items():
            values = {}
            for detector in self._peered.values():
                profile = detector.common_profile(described.get(detector.name, []))
                if profile is not None:
                    values[detector.name] = profile
            if values:
                counts = {name: len(described[name]) for name in values}
                data = Peers(role=split_key(group)[1], version=day, values=values, agents=counts)
                out.append(self._say(PeersEvent, "peers", offset, tick_ms, group, data))
        return out

    def _say(
        self, event: type[Any], kind: OutputKind, offset: int, at_ms: int, group: str, data: PeersReport | Peers
    ) -> Output:
        tenant, role = split_key(group)
        key = make_key(tenant, "*")
        said_id = output_id(self._partition, "agents", key, offset, kind, subject=role)
        return Output(kind, said_id, key, at_ms, envelope(event, self._partition.engine_id, said_id, at_ms, key, data))

    # --- what is heard ------------------------------------------------------------------------------------------

    def hear(self, event: PeersReportEvent | PeersEvent) -> None:
        """A report, kept by the first partition until it is put together; or a profile, which holds from here on."""
        data, memory = event.data, self.memory
        group = make_key(tenant_of(event), data.role)
        if isinstance(data, PeersReport):
            if self._partition.index == 0 and data.version > memory.merged:
                others = [one for one in memory.told if (one.group, one.partition) != (group, data.partition)]
                told = Told(group, data.partition, data.version, self._kept(group, data.agents, others))
                memory.told = [*others, told]
            return
        known = memory.profiles.get(group)
        if known is not None and known.version >= data.version:
            return
        values = {name: tuple(numbers) for name, numbers in data.values.items()}
        profiles = {**memory.profiles, group: PeerProfile(data.version, values)}
        if len(profiles) > MOST_ROLES:
            del profiles[min(profiles, key=lambda each: (profiles[each].version, each))]
        memory.profiles = self._shared.peers = profiles

    def _kept(
        self, group: str, agents: Mapping[str, list[list[int]]], others: Iterable[Told]
    ) -> dict[str, list[list[int]]]:
        """What is kept of a report: all of it, but for detectors that tell much, of which there is room for so much."""
        kept: dict[str, list[list[int]]] = {}
        size = sum(_size(numbers) for one in others for name, numbers in one.agents.items() if name in self._most)
        for name, told in agents.items():
            if name not in self._most:
                kept[name] = told
                continue
            known = sum(len(one.agents.get(name, ())) for one in others if one.group == group)
            first = told[: max(_TIMES_DESCRIBED * self._most[name] - known, 0)]
            if size + _size(first) <= MOST_NUMBERS:
                kept[name] = first
                size += _size(first)
        return kept

    def restore(self, memory: Memory) -> None:
        """Take back what was kept."""
        self.memory = memory
        self._shared.peers = memory.profiles


def _size(agents: Iterable[Sequence[int]]) -> int:
    return sum(map(len, agents))

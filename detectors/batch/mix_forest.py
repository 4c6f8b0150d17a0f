"""Which hours of an agent are least like those of its peers: scikit-learn's IsolationForest over windowed behaviour.

Batch work on a whole log, never part of judging an action. ``tripline detectors mix`` prints what comes of it.

Reference: Liu, Ting, Zhou, "Isolation Forest" (2008); "isolation-based anomaly detection" (2012) for the score.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import log1p
from typing import Any

import numpy as np
from msgspec import UNSET, Struct
from sklearn.ensemble import IsolationForest

from detectors.base import Action
from events.times import HOUR_MS

LEAST_ACTIONS = 10
"""A window with fewer actions says too little."""
LEAST_PEERS, LEAST_PEER_WINDOWS = 2, 50
MOST_WINDOWS_OF_A_PEER = 200
"""No peer counts for more than so many windows, evenly over its time."""
_MOST_NAMES = 16
_TREES, _SAMPLES, _SEED = 100, 2_048, 0
_SHOWN_FEATURES = 5

Counts = Counter[str]


class Window(Struct, frozen=True, kw_only=True):
    """What one agent did in one window, as numbers by name: ``share of …`` in [0, 1], the others counts."""

    agent_id: str
    at_ms: int
    actions: int
    features: dict[str, float]


class Feature(Struct, frozen=True, kw_only=True):
    """A number of a strange window, beside the peers' median; ``part``: how much less strange it were with that."""

    name: str
    here: float
    peers: float
    part: float


class Strange(Struct, frozen=True, kw_only=True):
    """A window of an agent that is unlike its peers' windows.

    ``score`` in (0, 1): higher is stranger, some .5 is usual. ``rank``: the share of the peers' windows at least as
    strange, each scored beside its own peers. ``peers``: their role, "" for those without one.
    """

    agent_id: str
    peers: str
    at_ms: int
    actions: int
    score: float
    rank: float
    features: list[Feature]


class Result(Struct, frozen=True, kw_only=True):
    """What came of a log: the strangest windows of each agent, and the agents that have too few peers to be judged."""

    windows: list[Strange]
    seen: int
    alone: list[str]


def windows_of(actions: Iterable[Action], window_ms: int = HOUR_MS) -> list[Window]:
    """The windows of a log in which an agent did at least LEAST_ACTIONS things, denied ones left out.

    ``actions`` in log order; windows begin at multiples of ``window_ms`` and lie side by side.
    """
    open_: dict[str, _Open] = {}
    found: list[Window] = []
    for action in actions:
        if action.data.outcome == "denied":
            continue
        agent_id, begin = action.data.agent_id, action.at_ms // window_ms * window_ms
        window = open_.get(agent_id)
        if window is None or window.at_ms != begin:
            found += window.close(agent_id) if window is not None else ()
            window = open_[agent_id] = _Open(begin)
        window.add(action)
    for agent_id, window in open_.items():
        found += window.close(agent_id)
    return sorted(found, key=lambda one: (one.agent_id, one.at_ms))


def strangest(windows: Sequence[Window], roles: Mapping[str, str], most: int = 3) -> Result:
    """Each agent's ``most`` strangest windows, as a forest that learnt from them and its peers' windows sees them.

    Its own windows are among what is learnt: a forest does not see a number that never varied where it learnt. Peers
    are the other agents of the same role, of those without a role all others without one. The same windows give the
    same result.
    """
    groups: defaultdict[str, dict[str, list[Window]]] = defaultdict(dict)
    for window in windows:
        groups[roles.get(window.agent_id, "")].setdefault(window.agent_id, []).append(window)
    found: list[Strange] = []
    alone: list[str] = []
    for role, agents in sorted(groups.items()):
        if len(agents) <= LEAST_PEERS:
            alone += agents
            continue
        judged, too_few = _judge_group(role, agents, most)
        found += judged
        alone += too_few
    found.sort(key=lambda one: (-one.score, one.agent_id, one.at_ms))
    return Result(windows=found, seen=len(windows), alone=sorted(alone))


class _Open:
    """A window that is being filled."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms
        self.names: Counts = Counter()
        self.objects: Counts = Counter()
        self.of: Counts = Counter()
        self.records: set[str] = set()
        self.touched = 0
        self.before = ""

    def add(self, action: Action) -> None:
        data, kind = action.data, action.kind
        of = data.object if isinstance(data.object, str) else ""
        self.names[data.action] += 1
        self.objects[of] += 1
        step = f"{data.action} {of}"
        self.of["writes"] += kind.is_write
        self.of["messages to people outside"] += action.is_external
        self.of["what cannot be undone"] += not kind.is_reversible
        self.of["errors"] += data.outcome == "error"
        self.of["the same as the one before"] += step == self.before
        self.before = step
        self.touched += action.records
        if data.record_ids is not UNSET:
            self.records.update(data.record_ids[:_SAMPLES])

    def close(self, agent_id: str) -> Iterator[Window]:
        total = self.names.total()
        if total < LEAST_ACTIONS:
            return
        features = {f"share of {name}": count / total for name, count in self.of.items()}
        features |= {f"share of {name}": count / total for name, count in self.names.items()}
        features |= {"actions": float(total), "kinds of action": float(len(self.names))}
        features |= {"record types": float(len(self.objects)), "records an action": self.touched / total}
        features["different records"] = float(len(self.records))
        yield Window(agent_id=agent_id, at_ms=self.at_ms, actions=total, features=features)


def _judge_group(role: str, agents: dict[str, list[Window]], most: int) -> tuple[list[Strange], list[str]]:
    names = _names(agents.values())
    rows = {agent_id: _matrix(windows, names) for agent_id, windows in sorted(agents.items())}
    scores: dict[str, Any] = {}
    forests: dict[str, tuple[Any, Any]] = {}
    for agent_id, own_rows in rows.items():
        peers = np.concatenate([_evenly(table) for other, table in rows.items() if other != agent_id])
        if len(peers) >= LEAST_PEER_WINDOWS:
            forest = _forest(np.concatenate([peers, own_rows]))
            scores[agent_id], forests[agent_id] = -forest.score_samples(own_rows), (forest, peers)
    found: list[Strange] = []
    for agent_id, own in scores.items():
        others = np.concatenate([theirs for other, theirs in scores.items() if other != agent_id] or [own])
        for place in np.argsort(-own, kind="stable")[:most]:
            window = agents[agent_id][int(place)]
            features = _explain(*forests[agent_id], rows[agent_id][place], names)
            found.append(
                Strange(
                    agent_id=agent_id,
                    peers=role,
                    at_ms=window.at_ms,
                    actions=window.actions,
                    score=round(float(own[place]), 4),
                    rank=round(float(np.mean(others >= own[place])), 5),
                    features=features,
                )
            )
    return found, [agent_id for agent_id in rows if agent_id not in scores]


def _names(groups: Iterable[Sequence[Window]]) -> list[str]:
    """The features that are looked at: those of every window, and the names of actions that most agents use."""
    agents: Counts = Counter()
    for windows in groups:
        agents.update({name for window in windows for name in window.features})
    shares = sorted((name for name in agents if "." in name), key=lambda name: (-agents[name], name))
    return sorted(name for name in agents if "." not in name) + shares[:_MOST_NAMES] + ["share of other actions"]


def _matrix(windows: Sequence[Window], names: Sequence[str]) -> Any:
    """One row a window; counts as log(1 + count)."""
    known = set(names)
    table = np.empty((len(windows), len(names)))
    for row, window in zip(table, windows, strict=True):
        features = dict(window.features)
        features["share of other actions"] = sum(v for k, v in features.items() if "." in k and k not in known)
        row[:] = [_scaled(name, features.get(name, 0.0)) for name in names]
    return table


def _scaled(name: str, value: float) -> float:
    return value if name.startswith("share of ") else log1p(value)


def _plain(name: str, value: float) -> float:
    return round(float(value if name.startswith("share of ") else np.expm1(value)), 3)


def _evenly(table: Any) -> Any:
    if len(table) <= MOST_WINDOWS_OF_A_PEER:
        return table
    return table[np.linspace(0, len(table) - 1, MOST_WINDOWS_OF_A_PEER).astype(int)]


def _forest(rows: Any) -> Any:
    forest = IsolationForest(n_estimators=_TREES, max_samples=min(_SAMPLES, len(rows)), random_state=_SEED, n_jobs=1)
    return forest.fit(rows)


def _explain(forest: Any, peers: Any, row: Any, names: Sequence[str]) -> list[Feature]:
    """The features that make a window strange: those with which it were less so, if they were as the peers' median."""
    usual = np.median(peers, axis=0)
    tried = np.repeat(row[None, :], len(names) + 1, axis=0)
    tried[range(len(names)), range(len(names))] = usual
    scores = -forest.score_samples(tried)
    parts = scores[-1] - scores[:-1]
    top = [place for place in np.argsort(-parts, kind="stable")[:_SHOWN_FEATURES] if parts[place] > 0]
    return [
        Feature(
            name=names[place],
            here=_plain(names[place], row[place]),
            peers=_plain(names[place], usual[place]),
            part=round(float(parts[place]), 4),
        )
        for place in top
    ]

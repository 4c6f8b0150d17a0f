"""The compiled path and the Python path: the same outputs and the same states, whatever the log holds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Action
from detectors.unexpected_change import UnexpectedChange
from detectors.value_shift import ValueShift
from events.catalogue import CATALOGUE
from events.codec import decode, encode, time_ms
from events.rows import ROW, scanner
from events.times import DAY_MS, format_ms
from events.types import ActionError, ActionEvent, AgentAction, Peers, PeersEvent
from governance.settings import parse_settings
from simulator import simulate
from simulator.population import population
from streams import agents
from streams.compiled import Judge
from streams.engine import topology
from streams.envelopes import envelope
from streams.replay import reader, replay
from streams.replay.run import FILES
from streams.ticks import tick_event
from tests.replay.test_compiled_deals import in_python as deals_in_python

pytestmark = pytest.mark.skipif(Judge is None, reason="not compiled: make compile")
START_MS = 1_772_442_000_000
MINUTE_MS = 60_000
SETTINGS = parse_settings(
    """
    [agents.a]
    role = "sdr"
    versions = ["1", "2", "3"]
    level = 3
    actions = ["record.*"]
    max_records_per_operation = 5
    records_per_10_min = 8
    [detectors.action_rate]
    max_actions_per_sec = 2.0
    burst_actions = 6
    max_actions_per_hour = 60
    """,
    {},
)


@pytest.fixture
def in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything by the Python path."""
    monkeypatch.setattr(reader, "scanner", lambda **_: None)
    monkeypatch.setattr(agents, "Judge", None)
    deals_in_python(monkeypatch)


def event(number: int, at_ms: int, draws: random.Random) -> ActionEvent:
    """An action of one of three agents, mostly plain."""
    ids = [f"r{draws.randrange(12)}" for _ in range(draws.choice([1, 1, 1, 1, 2, 3, 12]))]
    fields: dict[str, Any] = {"object": draws.choice(["Account", "Opportunity"]), "record_ids": ids}
    if draws.random() < 0.1:
        fields = {}
    if draws.random() < 0.1:
        fields["object"] = None
    if draws.random() < 0.1:
        fields["records"] = draws.choice([0, 1, 4, 60])
    if draws.random() < 0.05:
        fields["external"] = True
    if draws.random() < 0.03:
        fields["agent_version"] = draws.choice(["1", "2", "3", "9"])
    outcome = "ok"
    if draws.random() < 0.12:
        outcome = draws.choice(["error", "denied"])
        fields["error"] = ActionError(code="INVALID_FIELD")
    return ActionEvent(
        specversion="1.0",
        id=f"e{number if draws.random() < 0.93 else draws.randrange(max(number, 1))}",
        source="/crm",
        time=format_ms(at_ms - draws.choice([0, 0, 0, 0, 400_000])),
        data=AgentAction(
            agent_id=draws.choice("aab"),
            action=draws.choice(["record.update"] * 6 + ["record.read", "email.send", "owner.reassign", "odd.thing"]),
            outcome=outcome,  # type: ignore[arg-type]
            **fields,
        ),
    )


def log(seed: int, count: int, gaps_ms: list[int]) -> list[tuple[int, int, Any]]:
    """Entries of a partition: actions, some of them again, with ticks between them, and what peers do."""
    draws = random.Random(seed)
    limits = [draws.randrange(4, 30) for _ in range(12)]
    peers = Peers(role="sdr", version=START_MS // DAY_MS, values={"action_rate": limits}, agents={"action_rate": 5})
    at_ms, entries, lines = START_MS, list[tuple[int, int, Any]](), list[bytes]()
    if draws.random() < 0.7:
        entries.append((0, at_ms, envelope(PeersEvent, "x", "p-1", at_ms, "default/*", peers)))
    for number in range(count):
        at_ms += draws.choice(gaps_ms)
        if draws.random() < 0.1:
            entries.append((len(entries), at_ms, tick_event("x", at_ms // 10_000 * 10_000)))
        if lines and draws.random() < 0.05:
            line = draws.choice(lines)
        else:
            line = encode(event(number, at_ms, draws))
            lines.append(line)
        entries.append((len(entries), at_ms, decode(line)))
    return entries


def as_rows(entries: list[tuple[int, int, Any]]) -> list[tuple[int, int, Any]]:
    """The same entries, with rows where the reader makes them."""
    read = scanner()
    assert read is not None
    found: list[tuple[int, int, Any]] = []
    for offset, at_ms, one in entries:
        (item,) = read.scan(encode(one)) if isinstance(one, ActionEvent) else (None,)
        found.append((offset, at_ms, one if item is None else item[4]))
    return found


def run(stage: Any, entries: list[tuple[int, int, Any]], cuts: list[int]) -> tuple[list[bytes], list[Any]]:
    """What a stage says and keeps, given the entries in batches cut at these places."""
    said, begin = [], 0
    for cut in [*sorted(cuts), len(entries)]:
        said += [encode(output.event) for output in stage.process(entries[begin:cut])]
        begin = cut
    return said, [*stage.snapshot(), stage.duplicates, stage.judged]


@given(
    seed=st.integers(0, 10_000),
    gaps=st.sampled_from(
        [[0, 1, 300], [1_000, 20_000], [30_000, 90_000], [60_000, 1_800_000], [3_600_000, 40_000_000]]
    ),
    cuts=st.lists(st.integers(0, 400), max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_rows_and_events_are_judged_alike(seed: int, gaps: list[int], cuts: list[int]):
    entries = log(seed, 400, gaps)
    rows = as_rows(entries)
    assert sum(type(entry[2]) is ROW for entry in rows) > 100
    compiled, of_events = topology(SETTINGS, "x").agents, topology(SETTINGS, "x").agents
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents, "Judge", None)
        plain = topology(SETTINGS, "x").agents
    assert compiled._judge_rows is not None
    assert plain._judge_rows is None
    expected = run(plain, entries, [])
    assert run(compiled, rows, cuts) == expected
    assert run(of_events, entries, cuts) == expected


def test_a_detector_that_fails_on_a_row_is_disabled_as_on_an_event(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise ValueError("broken")

    entries = log(3, 60, [20_000])
    compiled = topology(SETTINGS, "x").agents
    monkeypatch.setattr(agents, "Judge", None)
    plain = topology(SETTINGS, "x").agents
    for stage in (compiled, plain):
        for detector in stage.detectors:
            if detector.name == "action_rate":
                monkeypatch.setattr(type(detector), "_open_minute", fail)
    said, kept = run(compiled, as_rows(entries), [7])
    assert (said, kept) == run(plain, entries, [])
    assert any(b"The detector action_rate failed" in line for line in said)


def simulated(folder: Path) -> Path:
    """A week of a small organisation, deals and all."""
    path = folder / "log.jsonl"
    with path.open("wb") as out:
        out.writelines(
            encode(one) + b"\n" for one in simulate(population(6, 5), 5, START_MS - START_MS % 86_400_000, 9)
        )
        out.write(b"not json\n")
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def by_rows(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rows")
    replay([path], parse_settings(), out)
    return out


@pytest.mark.usefixtures("in_python")
def test_a_replay_writes_the_same_bytes_either_way(path: Path, by_rows: Path, tmp_path: Path):
    result = replay([path], parse_settings(), tmp_path)
    assert result.actions > 1_000
    for name in (*FILES.values(), "summary.json"):
        assert (tmp_path / name).read_bytes() == (by_rows / name).read_bytes(), name


def test_a_row_keeps_its_events_time(path: Path):
    lines = path.read_bytes().splitlines()[:500]
    read = scanner()
    assert read is not None
    for line, item in zip(lines, read.scan(b"\n".join(lines)), strict=True):
        if item is not None:
            assert item[0] == time_ms(decode(line))


@given(
    seed=st.integers(0, 10_000),
    sticky=st.sampled_from([0.1, 0.5, 0.8]),
    records=st.sampled_from([5, 40, 2_000]),
    cuts=st.lists(st.integers(0, 1_000), max_size=3),
)
@settings(max_examples=8, deadline=None)
def test_writes_that_come_back_to_a_record_are_judged_alike(seed: int, sticky: float, records: int, cuts: list[int]):
    draws = random.Random(seed)
    at_ms, entries, record = START_MS, [], "r"
    for number in range(1_000):
        at_ms += draws.choice([2_000, 60_000, 600_000])
        record = record if draws.random() < sticky else f"r{draws.randrange(records)}"
        data = AgentAction(
            agent_id="b",
            action=draws.choice(["record.update"] * 5 + ["record.read", "task.create"]),
            outcome="ok",
            object="Account",
            record_ids=[record, "second"],
        )
        said = ActionEvent(specversion="1.0", id=f"e{number}", source="/crm", time=format_ms(at_ms), data=data)
        entries.append((number, at_ms, decode(encode(said))))
    compiled = topology(parse_settings(), "x").agents
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents, "Judge", None)
        plain = topology(parse_settings(), "x").agents
    expected = run(plain, entries, [])
    loop = plain.keys[next(iter(plain.keys))].body.states[[d.name for d in plain.detectors].index("record_loop")]
    assert loop.ends > 10
    assert loop.hits > 10 or sticky < 0.5
    assert run(compiled, as_rows(entries), cuts) == expected


def contents(draws: random.Random, number: int) -> dict[str, Any]:
    """What one write changes: usual things mostly, now and then an odd value, a new field, a new owner."""
    strange = draws.random() < 0.02
    record = f"r{draws.randrange(30)}"
    fields: dict[str, Any] = {}
    for name in draws.sample(["Stage", "Amount", "CloseDate", "Phone", "Share", "Flag"], draws.choice([1, 1, 2])):
        before, after = [
            {
                "Stage": draws.choice(["Discovery", "Proposal", "Proposal", "Won"]),
                "Amount": f"{draws.randrange(10_000, 12_000)}.{draws.randrange(100):02d}",
                "CloseDate": f"2026-0{draws.randrange(3, 9)}-{draws.randrange(10, 29)}",
                "Phone": f"+49 40 {draws.randrange(10**6)}",
                "Share": draws.choice([0.25, 1, 0.5, -3]),
                "Flag": draws.random() < 0.9,
            }[name]
            for _ in range(2)
        ]
        fields[name] = [before, draws.choice([None, "", "n/a", 10**9, -1.5, "é" * 70]) if strange else after]
    if draws.random() < 0.004:
        fields[f"New{number}"] = [{"a": 1}, {"b": [number]}]
    said: dict[str, Any] = {"record_ids": [record], "changes": {record: fields}}
    if draws.random() < 0.03:
        said["changes"] = {f"{record}-{at}": {"Stage": ["Proposal", "Won"], "Share": [1, 0]} for at in range(5)}
    if draws.random() < 0.7:
        said["owner_id"] = f"u{number if draws.random() < 0.002 else draws.randrange(3)}"
    return said


def what_peers_write(seed: int) -> PeersEvent:
    """The profile of five agents who all write the same usual things."""
    draws, made = random.Random(seed), (UnexpectedChange(), ValueShift())
    states = [one.new_state("a") for one in made]
    for number in range(600):
        at_ms = START_MS + number * 1_800_000
        fields = {"action": "record.update", "object": "Opportunity", **contents(draws, number)}
        data = msgspec.convert({"agent_id": "a", "outcome": "ok", **fields}, AgentAction)
        for detector, state in zip(made, states, strict=True):
            detector.observe(Action(at_ms, at_ms, "/crm", f"e{number}", CATALOGUE["record.update"], data), state)
    described = [one.describe(state, at_ms) for one, state in zip(made, states, strict=True)]
    values = {one.name: one.common_profile([mine] * 5) for one, mine in zip(made, described, strict=True) if mine}
    peers = Peers(role="sdr", version=START_MS // DAY_MS, values=values, agents=dict.fromkeys(values, 5))
    return envelope(PeersEvent, "x", "p-1", START_MS, "default/*", peers)


@pytest.mark.parametrize("has_peers", [False, True])
@pytest.mark.parametrize(("seed", "cuts"), [(0, []), (2, [700, 1_350])])
def test_contents_of_writes_are_judged_alike(seed: int, cuts: list[int], has_peers: bool):
    draws = random.Random(seed)
    settings_of = parse_settings('[agents.b]\nrole = "sdr"\nactions = ["record.*"]' if has_peers else "")
    at_ms, entries = START_MS, [(0, START_MS, what_peers_write(seed + 1))] if has_peers else []
    for number in range(1_500):
        at_ms += draws.choice([60_000, 600_000, 3_600_000])
        action = draws.choice(["record.update"] * 12 + ["record.read", "record.create"])
        if number > 1_300 and draws.random() < 0.5:
            fields = {"action": "record.delete", "object": "Contract", "record_ids": [f"c{number}"]}
        else:
            fields = {"action": action, "object": "Opportunity", **contents(draws, number)}
        data = {"agent_id": "b", "outcome": "ok", **fields}
        said = ActionEvent(
            specversion="1.0",
            id=f"e{number}",
            source="/crm",
            time=format_ms(at_ms),
            data=msgspec.convert(data, AgentAction),
        )
        entries.append((len(entries), at_ms, decode(encode(said))))
    compiled = topology(settings_of, "x").agents
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents, "Judge", None)
        plain = topology(settings_of, "x").agents
    expected = run(plain, entries, [])
    states = plain.keys[next(iter(plain.keys))].body.states
    by_name = {detector.name: state for detector, state in zip(plain.detectors, states, strict=True)}
    assert by_name["unexpected_change"].dimensions[0].touches > 0
    assert any(any(field.strange) for field in by_name["value_shift"].fields.values())
    assert any(b"by peers" in line for line in expected[0]) == has_peers
    assert run(compiled, as_rows(entries), cuts) == expected

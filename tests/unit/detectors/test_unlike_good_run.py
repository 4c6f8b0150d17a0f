"""Runs that write as no confirmed good run did, judged at each write; and libraries as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from detectors.base import Action, Evidence, Shared
from detectors.discovery import DetectorSettingsError, build
from detectors.good_runs import GoodRuns, Run, run_of
from detectors.run_library import LibraryError, decode_library, encode_library
from detectors.unlike_good_run import Config, UnlikeGoodRun, call_of
from events.catalogue import kind_of
from events.types import After, AgentAction

START_MS = 1_767_571_200_000


def act(number: int, name: str, record: str, run: str | None = None, at_ms: int = START_MS, **said: Any) -> Action:
    fields = {"agent_id": "a", "action": name, "outcome": "ok", "object": "Lead", "record_ids": [record], **said}
    data = AgentAction(**fields, **({"run_id": run} if run else {}))
    return Action(at_ms, at_ms, "/crm", f"e{number}", kind_of(name), data)


def good_run(number: int, run: str | None = None, at_ms: int = START_MS) -> list[Action]:
    record = f"00Q{number}"
    changes = {record: {"Status": ("open", "won")} if number % 2 else {"Owner": After("user:7")}}
    return [
        act(2 * number, "record.read", record, run, at_ms),
        act(2 * number + 1, "record.update", record, run, at_ms + 1_000, changes=changes),
    ]


def library(count: int = 60) -> list[Run]:
    return [run_of(map(call_of, good_run(number)), label=f"run {number}") for number in range(count)]


def detector(**options: Any) -> UnlikeGoodRun:
    return UnlikeGoodRun(Config(library=encode_library(library()), **options), Shared())


def heard(by: UnlikeGoodRun, actions: Sequence[Action]) -> list[tuple[str, Evidence]]:
    state = by.new_state("a")
    return [(action.event_id, said) for action in actions if (said := by.observe(action, state)) is not None]


def rogue(run: str | None, count: int = 3) -> list[Action]:
    return [act(900 + n, "record.delete", str(n), run, START_MS + n) for n in range(count)]


def test_good_runs_pass_and_the_first_strange_write_is_held_once_a_run() -> None:
    actions = [action for n in range(100, 110) for action in good_run(n, f"r{n}")]
    ((event, said),) = heard(detector(), [*actions, *rogue("r-x")])
    assert (event, said.wanted, said.severity) == ("e900", "hold", "critical")
    assert "unlike" not in said.summary
    assert "run " in said.details["nearest"]
    assert any("Lead.record.read was called" in each for each in said.details["differs"])


def test_a_run_is_known_by_its_id_also_when_runs_are_mixed() -> None:
    first, second = good_run(101, "r1"), good_run(102, "r2")
    mixed = [first[0], second[0], second[1], first[1]]
    assert heard(detector(), mixed) == []
    assert heard(detector(), [first[0], second[1], first[1]])[0][0] == second[1].event_id


def test_without_run_ids_a_pause_ends_the_run_and_it_only_tells() -> None:
    read, write = good_run(101)
    assert heard(detector(), [read, write]) == []
    later = act(205, "record.update", "00Q101", None, START_MS + 31 * 60_000, changes=write.data.changes)
    ((_, said),) = heard(detector(), [read, later])
    assert (said.wanted, said.severity) == ("notify", "warning")
    assert heard(detector(idle_minutes=60), [read, later]) == []


def test_what_failed_or_was_denied_is_no_part_of_a_run() -> None:
    read, write = good_run(101, "r1")
    failed = act(300, "record.delete", "1", "r1", outcome="error")
    denied = act(301, "record.delete", "1", "r1", outcome="denied")
    assert heard(detector(), [failed, denied, read, write]) == []


def test_with_few_or_no_good_runs_there_is_no_opinion() -> None:
    assert heard(UnlikeGoodRun(None, Shared()), rogue("r")) == []
    few = UnlikeGoodRun(Config(library=encode_library(library(20))), Shared())
    assert heard(few, rogue("r")) == []
    assert heard(detector(wanted="notify"), rogue("r"))[0][1].wanted == "notify"


def test_a_state_of_another_library_is_not_carried_on() -> None:
    by, other = detector(), UnlikeGoodRun(Config(library=encode_library(library(80))), Shared())
    state = by.new_state("a")
    by.observe(good_run(101, "r1")[0], state)
    assert list(by.load("a", by.dump(state), 1)) == ["r1"]
    assert other.load("a", by.dump(state), 1) == {}
    with pytest.raises(ValueError, match="state version 1, not 2"):
        by.load("a", b"", 2)


def test_a_library_goes_into_text_and_comes_back_without_requests() -> None:
    runs = [*library(3), run_of(map(call_of, good_run(4)), "set lead to won", "asked"), run_of([], "x", "empty")]
    back = decode_library(encode_library(runs))
    assert [run.label for run in back] == ["run 0", "run 1", "run 2", "asked"]
    assert [run.plain for run in back] == [run.plain for run in runs[:4]]
    assert "won" not in encode_library(runs)
    probe = run_of(map(call_of, rogue("r")))
    assert GoodRuns(back).score(probe) == pytest.approx(GoodRuns(runs).score(probe), rel=0.5)


@pytest.mark.parametrize("spoil", [lambda text: text[:-8], lambda text: "!" + text, lambda text: text[:20] + text[24:]])
def test_a_library_that_was_cut_or_changed_is_refused_where_settings_are_read(spoil: Any) -> None:
    text = spoil(encode_library(library(5)))
    with pytest.raises(LibraryError, match=r"copy the whole line|cut"):
        decode_library(text)
    with pytest.raises(DetectorSettingsError, match=r"detectors\.unlike_good_run"):
        build({"unlike_good_run": {"is_enabled": True, "library": text}}, Shared())


def test_a_library_larger_than_a_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detectors.run_library.MOST_TEXT", 200)
    with pytest.raises(LibraryError, match=r"60 runs take .* characters, at most 200 are allowed: take fewer"):
        encode_library(library(60))

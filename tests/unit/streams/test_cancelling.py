"""How one attempt to cancel something ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from governance.settings import parse_settings
from storage import cancellations
from storage.cancellations import Cancellation
from storage.store import Store
from streams.cancelling import ATTEMPTS, Cancelling
from streams.crm.ports import CrmFailed, Gone

TOML = """
[agents.bot]
crm_user = "user:55"
[crm.hub]
kind = "hubspot"
url = "https://api.example"
token = "ours"
cancel_on_stop = true
"""
PASSING = CrmFailed("to delete it at hub: 503", is_passing=True, wait_secs=0.5)


class Answers:
    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer

    def cancel(self, effect: object, now_ms: int) -> str:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def a_row(**more: Any) -> Cancellation:
    fields: dict[str, Any] = {
        "id": "one", "key": "default/bot", "since_ms": 5, "action": "meeting.schedule", "object": "meetings",
        "record_id": "7", "effect_ms": 1, "reviewed_by": "", "state": "asked", "attempts": 0, "asked_ms": 6,
        "due_ms": 6, "done_ms": None, "by_kind": "detector", "by_id": "gate", "reason": "stopped", "result": "",
    }  # fmt: skip
    return Cancellation(**{**fields, **more})


def tried(answer: str | Exception, *, holds: bool = True, **more: Any) -> tuple[str, str, float]:
    """What comes of an attempt. ``holds``: whether the stop lasts."""
    nothing: Any = None
    settings, ports = parse_settings(TOML, {}), {"hub": Answers(answer)}
    thread = Cancelling(settings, lambda _: holds, nothing, nothing, ports, lambda: True, lambda: 9)
    return thread._try(a_row(**more))


@pytest.mark.parametrize(
    ("answer", "more", "state", "text", "wait_secs"),
    [
        ("meeting deleted", {}, "cancelled", "meeting deleted", 0),
        (PASSING, {}, "later", "503", 2),
        (PASSING, {"attempts": 2}, "later", "503", 32),
        (PASSING, {"attempts": ATTEMPTS - 1}, "gave_up", "503, 5 times; ask again later", 0),
        (CrmFailed("429", is_passing=True, wait_secs=30), {}, "later", "429", 30),
        (CrmFailed("403", status=403), {}, "refused", "403", 0),
        (Gone("there is no such meeting"), {}, "impossible", "nothing to cancel", 0),
        (Gone("there is no such meeting"), {"attempts": 1}, "cancelled", "after an earlier attempt", 0),
        ("no", {"reviewed_by": "maya"}, "impossible", "maya approved it", 0),
        ("yes", {"reviewed_by": "maya", "by_kind": "human"}, "cancelled", "yes", 0),
        ("no", {"holds": False}, "impossible", "released before", 0),
        ("yes", {"holds": False, "by_kind": "human"}, "cancelled", "yes", 0),
        (ValueError("no JSON"), {}, "later", "it failed here (ValueError)", 2),
        (ValueError("no JSON"), {"attempts": ATTEMPTS - 1}, "gave_up", "it failed here (ValueError)", 0),
        ("no", {"record_id": ""}, "impossible", "not named", 0),
    ],
)
def test_how_an_attempt_ends(
    answer: str | Exception, more: dict[str, Any], state: str, text: str, wait_secs: float
) -> None:
    found = tried(answer, **more)
    assert (found[0], found[2]) == (state, wait_secs)
    assert text in found[1]


class World:
    """A store, and a thread that looks; what it decides fails as often as it is told."""

    def __init__(self, folder: Path, port: Any, *rows: Cancellation, failures: int = 0) -> None:
        store = Store(folder)
        store.migrate()
        self.link, self.failures = store.connect(), failures
        for row in rows:
            cancellations.ask(self.link, row)
        nothing: Any = None
        self.told: list[str] = []
        settings = parse_settings(TOML.replace("cancel_on_stop = true", ""), {})
        self.thread = Cancelling(settings, self.read, self.decide, nothing, {"hub": port}, lambda: True, lambda: 9)

    def read(self, what: Callable[[Any], Any]) -> Any:
        return what(self.link)

    def decide(self, key: str, what: Callable[[Any], Any]) -> Future[Any]:
        done: Future[Any] = Future()
        self.failures -= 1
        if self.failures >= 0:
            done.set_exception(OSError("the store is away"))
        else:
            nobody = SimpleNamespace(link=self.link, now_ms=9, changed=set(), count=lambda *_: None, warn=self.warn)
            done.set_result(what(nobody))
        return done

    def warn(self, id_: str, key: str, agent_id: str, evidence: Any) -> bool:
        self.told.append(evidence.summary)
        return False

    def states(self) -> dict[str, str]:
        return {one.record_id: one.state for one in cancellations.of_stop(self.link, "default/bot", 5)}


class Twice:
    """A CRM that deletes a thing once; of some records it fails in a way that nobody thought of."""

    def __init__(self, *odd: str) -> None:
        self.odd, self.gone = odd, set[str]()

    def cancel(self, effect: Any, now_ms: int) -> str:
        if effect.record_id in self.odd:
            raise KeyError("odd")
        if effect.record_id in self.gone:
            raise Gone("there is no such meeting")
        self.gone.add(effect.record_id)
        return "meeting deleted"


def test_one_thing_that_nobody_thought_of_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    rows = [a_row(id=each, record_id=each, by_kind="human") for each in ("1", "2")]
    world = World(tmp_path, Twice("1"), *rows)
    world.thread.look()
    assert world.states() == {"1": "asked", "2": "cancelled"}
    assert "failed here (KeyError)" in cancellations.of_stop(world.link, "default/bot", 5)[0].result


def test_what_was_cancelled_and_could_not_be_noted_is_noted_as_cancelled_later(tmp_path: Path) -> None:
    world = World(tmp_path, Twice(), a_row(record_id="1", by_kind="human"), failures=1)
    with pytest.raises(OSError, match="away"):
        world.thread.look()
    world.thread.look()
    assert world.states() == {"1": "cancelled"}


def test_people_are_told_when_there_may_be_more_than_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.cancelling.MOST", 2)
    for number, more in ((1, False), (2, True)):
        rows = [a_row(id=str(each), record_id=str(each), by_kind="human") for each in range(number)]
        world = World(tmp_path / str(number), Twice(), *rows)
        world.thread.look()
        (told,) = world.told
        assert ("there may be more, for at most 2 are looked for" in told) is more


def test_a_stop_of_all_is_looked_at_often_for_a_minute_then_each_minute_for_an_hour(tmp_path: Path) -> None:
    agents = "".join(f'[agents.a{at}]\ncrm_user = "user:{100 + at}"\n' for at in range(3))
    world, looked, now = World(tmp_path, Twice()), list[tuple[str, int]](), [0]
    thread = world.thread
    thread._settings = parse_settings(agents + TOML, {})
    thread._now_ms = lambda: now[0]
    thread._pending = lambda key, since_ms: looked.append((key, now[0])) or []  # type: ignore[func-returns-value]
    world.link.execute(
        "INSERT INTO control (key, agent_id, state, epoch, last_release_epoch, at_ms, by_kind, by_id, reason) "
        "VALUES ('default/*', '*', 'suspended', 1, 0, 0, 'human', 'maya', 'look')"
    )
    for now[0] in range(0, 2 * 3_600_000, 1_000):
        thread._find()
    assert {key for key, _ in looked} == {"default/bot", "default/a0", "default/a1", "default/a2"}
    at = [at_ms // 1_000 for key, at_ms in looked if key == "default/bot"]
    assert at[:13] == [*range(0, 60, 5), 115]
    assert (len(at), at[-1]) == (12 + 59, 3_595)


def test_what_people_asked_for_is_done_while_nobody_can_look_for_more(tmp_path: Path) -> None:
    world = World(tmp_path, Twice(), a_row(record_id="1", by_kind="human"))
    world.thread._settings = parse_settings(TOML, {})
    world.thread._make_engine = lambda: 1 / 0  # type: ignore[assignment, return-value]
    world.link.execute(
        "INSERT INTO control (key, agent_id, state, epoch, last_release_epoch, at_ms, by_kind, by_id, reason) "
        "VALUES ('default/bot', 'bot', 'suspended', 1, 0, 5, 'human', 'maya', 'look')"
    )
    world.thread.look()
    assert world.states() == {"1": "cancelled"}

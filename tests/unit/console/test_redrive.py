"""Dead letters tried again, over HTTP and the command line, on the real runtime."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner, Result

from console.app import PEOPLE_FILE, create_app, wall_ms
from console.auth import AuthStore
from console.cli import main
from console.server import Server, listen
from events.times import DAY_MS, format_ms
from governance.settings import parse_settings
from storage.people import open_people
from storage.read import Reader
from streams.standalone.runtime import Runtime
from tests.unit.console.conftest import PASSWORD
from tests.unit.console.samples import LINES, action, lines

MAYA = ("maya", PASSWORD)


class Site:
    """A server on one store, started again with other settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open_things = ExitStack()
        self.runtime: Any = None
        self.url = ""

    def start(self, **server: Any) -> None:
        """Start anew; the settings are those of the section ``server``."""
        self.open_things.close()
        given = {f"server.{name}": value for name, value in server.items()}
        settings = parse_settings(None, {}, {"server.data_dir": str(self.folder), "server.port": 0, **given})
        auth = AuthStore(open_people(self.folder / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
        if not auth.list_users():
            auth.add_user("maya", "operator", PASSWORD)
        self.runtime = self.open_things.enter_context(Runtime(settings))
        reader = Reader.open(self.runtime.store.path)
        self.open_things.callback(reader.close)
        made = Server(create_app(self.runtime, settings, reader, auth), listen("127.0.0.1", 0))
        self.open_things.callback(made.stop)
        self.url = made.start()

    def send(self, *events: dict[str, Any]) -> dict[str, Any]:
        return httpx.post(f"{self.url}/v1/events", content=lines(*events), headers=LINES).json()

    def letters(self, state: str = "all") -> list[tuple[int, str, str]]:
        told = httpx.get(f"{self.url}/v1/dead-letters", params={"state": state, "limit": 1000}).json()
        return [(row["id"], row["reason"], row["state"]) for row in told["dead_letters"]]

    def redrive(self, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/dead-letters/redrive", json=body, auth=MAYA, timeout=60)

    def tripline(self, *ids: str) -> Result:
        args = ["dead-letters", "redrive", *ids, "--url", self.url, "--user", "maya"]
        return CliRunner().invoke(main, args, env={"TRIPLINE_PASSWORD": PASSWORD})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "data")
    with made.open_things:
        yield made


def ahead(id_: str) -> dict[str, Any]:
    """An action a year ahead of the clock."""
    return {**action(id_), "time": format_ms(int(time.time() * 1000) + 365 * DAY_MS)}


def keep(site: Site, raws: list[bytes]) -> None:
    """Dead letters, in one transaction."""

    def write(round_: Any) -> None:
        for raw in raws:
            round_.dead_letter(raw, "not_json", "not JSON", {}, None)

    site.runtime.call(write).result(60)


@pytest.mark.parametrize("way", ["api", "command"])
def test_what_was_too_large_is_taken_once_the_limit_is_raised(site: Site, way: str) -> None:
    site.start(max_event_bytes=1_024)
    site.send(action("r-1"), action("r-2", tool="x" * 2_000))
    (number, reason, state), *_ = site.letters()
    assert (reason, state) == ("too_large", "new")
    site.start()
    if way == "api":
        told = site.redrive(ids=[number]).json()
        assert told == {"redriven": 1, "duplicates": 0, "still_bad": [], "next_after_id": None}
    else:
        done = site.tripline()
        assert (done.exit_code, done.output.splitlines()[0]) == (0, "1 taken, 0 had been taken before.")
    assert site.letters() == [(number, "too_large", "redriven")]
    assert site.send(action("r-2", tool="x" * 2_000))["duplicates"] == 1
    assert site.redrive(ids=[number]).json()["duplicates"] == 1


@pytest.mark.parametrize("way", ["api", "command"])
def test_what_is_refused_again_waits_on_and_gets_no_second_letter(site: Site, way: str) -> None:
    site.start()
    site.send(ahead("y-1"))
    (number, _, _), *_ = site.letters()
    if way == "api":
        told = site.redrive().json()
        assert (told["redriven"], [(bad["id"], bad["reason"]) for bad in told["still_bad"]]) == (
            0,
            [(number, "time_ahead")],
        )
    else:
        done = site.tripline()
        assert (done.exit_code, done.output.splitlines()[0]) == (1, "0 taken, 0 had been taken before.")
        assert "time_ahead" in done.output
    assert site.letters() == [(number, "time_ahead", "new")]


def test_the_oldest_of_more_than_a_thousand_are_tried_by_id_and_first(site: Site) -> None:
    site.start()
    good = lines(action("old-1")), lines(action("old-2"))
    keep(site, [*good, *[b"{broken"] * 1_100])
    assert site.redrive(ids=[1]).json()["redriven"] == 1
    told = site.redrive().json()
    assert (told["redriven"], len(told["still_bad"]), told["next_after_id"]) == (1, 999, 1_001)
    rest = site.redrive(after_id=1_001).json()
    assert ([bad["id"] for bad in rest["still_bad"]], rest["next_after_id"]) == (list(range(1_002, 1_103)), None)


def test_the_command_tries_all_that_wait_however_many(site: Site) -> None:
    site.start()
    keep(site, [lines(action("first")), *[b"{broken"] * 1_005, lines(action("last"))])
    done = site.tripline()
    assert (done.exit_code, done.output.splitlines()[0]) == (1, "2 taken, 0 had been taken before.")


def test_unknown_ids_are_named_and_nothing_is_tried(site: Site) -> None:
    site.start()
    keep(site, [lines(action("u-1"))])
    answer = site.redrive(ids=[1, 77, 78])
    assert (answer.status_code, answer.json()["field"], answer.json()["ids"]) == (404, "ids", [77, 78])
    assert "77, 78" in answer.json()["message"]
    assert site.letters() == [(1, "not_json", "new")]
    done = site.tripline("77")
    assert done.exit_code == 3
    assert "77" in done.output


def test_a_state_that_there_is_not_is_named(site: Site) -> None:
    site.start()
    answer = httpx.get(f"{site.url}/v1/dead-letters", params={"state": "foo"})
    assert (answer.status_code, answer.json()["field"]) == (400, "state")

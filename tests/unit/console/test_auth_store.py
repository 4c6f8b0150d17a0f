"""People, sessions, links and tokens: the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner

from console.auth import AuthError, AuthStore
from console.cli import main
from storage.people import open_people
from storage.postgres import PgStore

PASSWORD = "correct horse"
HOUR_MS = 3_600_000


class Clock:
    now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgres"])
def auth(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[AuthStore]:
    cheap = PasswordHasher(1, 8, 1)
    if request.param == "postgres":
        with PgStore(request.getfixturevalue("database")) as store:
            yield AuthStore(store.engine(), clock, cheap)
    else:
        engine = open_people(tmp_path / "people.db")
        yield AuthStore(engine, clock, cheap)
        engine.dispose()


def test_a_person_is_added_once_and_logs_in_with_their_password_alone(auth: AuthStore) -> None:
    auth.add_user("maya", "operator", PASSWORD)
    with pytest.raises(AuthError, match="already a user"):
        auth.add_user("maya", "viewer")
    assert auth.check_password("maya", PASSWORD) is not None
    assert auth.check_password("maya", PASSWORD + "x") is None
    assert auth.check_password("Maya", PASSWORD) is None
    assert auth.somebody_can_log_in()


def test_a_disabled_person_is_let_in_by_nothing(auth: AuthStore) -> None:
    auth.add_user("maya", "viewer", PASSWORD)
    session, link = auth.open_session("maya", 12), auth.make_login_link("maya", 15)
    auth.disable_user("maya")
    assert auth.check_password("maya", PASSWORD) is None
    assert auth.session_person(session) is None
    assert auth.use_login_link(link) is None
    assert not auth.somebody_can_log_in()


def test_a_session_ends_with_its_time_or_by_logging_out(auth: AuthStore, clock: Clock) -> None:
    auth.add_user("maya", "viewer")
    first, second = auth.open_session("maya", 12), auth.open_session("maya", 24)
    clock.now_ms += 12 * HOUR_MS
    assert auth.session_person(first) is None
    assert auth.session_person(second) is not None
    auth.close_session(second)
    assert auth.session_person(second) is None


def test_a_login_link_works_once_however_many_try(auth: AuthStore) -> None:
    secret = auth.first_link(15)
    found = []
    tries = [threading.Thread(target=lambda: found.append(auth.use_login_link(secret))) for _ in range(4)]
    for one in tries:
        one.start()
    for one in tries:
        one.join()
    assert [person.name for person in found if person is not None] == ["admin"]
    assert auth.first_link(15) != secret  # the administrator is there already


def test_a_token_is_known_by_its_hash_until_it_is_revoked(auth: AuthStore) -> None:
    _, token = auth.create_token("dealbot", ["ingest", "gate"], agent_id="dealbot")
    assert list(auth.tokens_by_hash().values()) == [token]
    auth.revoke_token(token.token_id)
    assert auth.tokens_by_hash() == {}
    with pytest.raises(AuthError, match="no token"):
        auth.revoke_token("x\0y")


def test_the_commands_work_on_the_store_that_the_settings_name(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPLINE_STORE_URL", database)
    monkeypatch.setenv("TRIPLINE_PASSWORD", PASSWORD)
    runner = CliRunner()
    added = runner.invoke(main, ["users", "add", "maya", "--role", "operator"])
    assert (added.exit_code, added.output) == (0, "maya may log in as operator.\n")
    with PgStore(database) as store:
        assert AuthStore(store.engine(), Clock()).check_password("maya", PASSWORD) is not None
    monkeypatch.setenv("TRIPLINE_STORE_URL", database.replace("127.0.0.1:", "127.0.0.1:1"))
    failed = runner.invoke(main, ["users", "list"])
    assert failed.exit_code == 1
    assert "can't be reached" in failed.output


def test_standalone_does_not_take_a_store_that_it_would_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPLINE_STORE_URL", "postgresql://u@h/d")
    told = CliRunner().invoke(main, ["standalone"])
    assert told.exit_code == 1
    assert "unset TRIPLINE_STORE_URL" in told.output

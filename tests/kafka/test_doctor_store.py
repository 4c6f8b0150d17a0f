"""``tripline doctor`` looks at PostgreSQL where the settings name it, and changes nothing there."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from console.cli import main
from storage.postgres import PgStore
from tests.postgres import Postgres


def ask(url: str, tmp_path: Path) -> dict[str, tuple[str, str]]:
    """By the check's name: status and message."""
    given = ["doctor", "--json", "--data-dir", str(tmp_path / "data")]
    done = CliRunner().invoke(main, given, env={"TRIPLINE_STORE_URL": url})
    return {one["name"]: (one["status"], one["message"]) for one in json.loads(done.stdout)}


def test_the_database_is_looked_at_and_left_as_it_is(postgres: Postgres, tmp_path: Path):
    empty = postgres.empty()
    found = ask(empty, tmp_path)
    assert found["store"][0] == "ok"
    assert "made or brought up to date at the next start" in found["store"][1]
    assert "people" not in found
    assert not PgStore(empty).is_up_to_date(), "nothing was made"
    with PgStore(empty) as store:
        store.migrate()
    found = ask(empty, tmp_path)
    assert found["store"][1].endswith("tables up to date")
    assert found["people"][0] == "warning"
    assert not (tmp_path / "data").exists()


def test_a_database_that_is_not_there_is_a_problem_with_its_address(tmp_path: Path):
    status, said = ask("postgresql://nobody@127.0.0.1:1/none", tmp_path)["store"]
    assert status == "problem"
    assert "127.0.0.1:1" in said

"""``tripline deals train``: files with a model and its card, or a message that says what is missing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from console.cli.deals_health import health
from console.cli.deals_train import train
from events.codec import encode
from scoring.model import hash_of
from scoring.training.card import Health, ModelFile
from tests.unit.scoring.sales import sales


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_bytes(b"".join(encode(event) + b"\n" for _, _, event in sales(90)))  # type: ignore[arg-type]
    return path


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(train, [str(arg) for arg in args])


def test_a_log_gives_a_model_and_a_card_that_can_be_read(log: Path, tmp_path: Path) -> None:
    told = run("--log", log, "--out", tmp_path / "m")
    assert told.exit_code == 0, told.output
    found = msgspec.json.decode((tmp_path / "m" / "model.json").read_bytes(), type=ModelFile)
    assert found.hash == hash_of(found.tables) == found.card.hash
    assert f"{found.hash}: anchored" in told.output
    text, page = ((tmp_path / "m" / name).read_text() for name in ("card.md", "card.html"))
    assert "| closed deals | 90 (" in text
    assert "| lost in 14 days |" in text
    assert page.count("<svg") == len(found.card.held_out.targets)
    again = run("--log", log, "--out", tmp_path / "n")
    assert again.exit_code == 0
    assert (tmp_path / "n" / "model.json").read_bytes() == (tmp_path / "m" / "model.json").read_bytes()


def test_without_both_outcomes_it_says_what_is_missing_and_writes_nothing(log: Path, tmp_path: Path) -> None:
    told = run("--log", log, "--until", "2026-03-20", "--out", tmp_path / "m")
    assert told.exit_code == 1
    assert "no deal has closed" in told.output
    assert not (tmp_path / "m").exists()


def test_without_a_log_and_without_a_store_it_says_where_it_looked(tmp_path: Path) -> None:
    told = run("--data-dir", tmp_path / "nowhere", "--out", tmp_path / "m")
    assert told.exit_code == 1
    assert "is not there: name log files with --log" in told.output


def test_health_tells_of_a_model_by_labels_that_came_after_it(log: Path, tmp_path: Path) -> None:
    assert run("--log", log, "--until", "2026-07-01", "--out", tmp_path / "m").exit_code == 0
    args = ["--model", str(tmp_path / "m" / "model.json"), "--log", str(log), "--out", str(tmp_path / "p"), "--json"]
    told = CliRunner().invoke(health, args)
    assert told.exit_code in (0, 1)
    found = msgspec.json.decode(told.output.partition("\nNo ")[0], type=Health)
    assert found.since == "2026-07-01T00:00:00Z"
    assert told.exit_code == (1 if found.alerts else 0)
    assert found.targets[0].model.deals == found.closed_deals


def test_health_refuses_a_file_that_was_changed(log: Path, tmp_path: Path) -> None:
    assert run("--log", log, "--out", tmp_path / "m").exit_code == 0
    path = tmp_path / "m" / "model.json"
    path.write_text(path.read_text().replace('"lost_base": -', '"lost_base": -1'))
    told = CliRunner().invoke(health, ["--model", str(path), "--log", str(log)])
    assert told.exit_code == 1
    assert "hash" in told.output

"""``tripline bench episodes``: the files, the rows, the errors."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.cli.bench_episodes import command


def call(action: str, error: bool = False, **arguments: Any) -> dict[str, Any]:
    return {"tool": "crm", "action": action, "arguments": arguments, "error": error}


def right(n: int) -> dict[str, Any]:
    query = f"set lead number {n} to lost"
    calls = [call("search_leads", query=f"lead {n}"), call("update_lead", lead_id=f"{n}77", status="lost")]
    return {"query": query, "events": calls, "correct": True, "side_effect": False, "changed": True}


WRONG = {"query": "set lead number 5 to lost", "events": [call("delete_lead", lead_id="1")], "correct": False}
IDLE = {"query": "set lead number 5 to lost", "events": []}
READS = {"query": "set lead number 5 to lost", "events": [call("search_leads", query="5")]}


def write(path: Path, *episodes: dict[str, Any]) -> Path:
    text = "".join(json.dumps(each) + "\n" for each in episodes)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def run(folder: Path, train: Path, test: Path, *more: str) -> Result:
    files = ["--train", str(train), "--test", str(test), "--out", str(folder / "scores.csv")]
    return CliRunner().invoke(command, [*files, *more])


def scores(folder: Path) -> dict[int, float]:
    with (folder / "scores.csv").open(newline="") as lines:
        return {int(row["row"]): float(row["score"]) for row in csv.DictReader(lines)}


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return write(tmp_path / "train.jsonl.gz", *(right(n) for n in range(12)), WRONG)


def bare(episode: dict[str, Any]) -> dict[str, Any]:
    return {name: episode[name] for name in ("query", "events")}


def test_each_episode_gets_a_row_and_the_worse_the_higher(tmp_path: Path, train: Path) -> None:
    test = write(tmp_path / "test.jsonl", bare(right(40)), bare(WRONG), IDLE, READS)
    result = run(tmp_path, train, test)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "scores.csv").read_text().startswith("row,score\n")
    found = scores(tmp_path)
    assert list(found) == [0, 1, 2, 3]
    assert found[1] > found[0] >= 1.0 > found[3] > found[2] == 0.0
    assert "only 12 confirmed good runs" in result.stderr


def test_labels_change_nothing_but_which_episodes_are_learnt(tmp_path: Path, train: Path) -> None:
    test = write(tmp_path / "test.jsonl", bare(right(40)), bare(WRONG), READS)
    run(tmp_path, train, test)
    expected = scores(tmp_path)
    lied = [{**right(n), "side_effect": True, "changed": False, "domain": f"d{n}"} for n in range(12)]
    other = write(tmp_path / "lied.jsonl", *lied, {**IDLE, "correct": False, "side_effect": False})
    marked = write(
        tmp_path / "marked.jsonl",
        *({**e, "correct": n == 1, "side_effect": n == 0} for n, e in enumerate([right(40), WRONG, READS])),
    )
    assert run(tmp_path, other, marked).exit_code == 0
    assert scores(tmp_path) == expected


def test_an_episode_s_score_does_not_depend_on_the_others(tmp_path: Path, train: Path) -> None:
    run(tmp_path, train, write(tmp_path / "test.jsonl", bare(right(40)), bare(WRONG), READS, IDLE))
    together = scores(tmp_path)
    run(tmp_path, train, write(tmp_path / "test.jsonl", bare(WRONG)))
    assert scores(tmp_path)[0] == together[1]


def test_reasons_are_sentences_that_name_the_nearest_good_run(tmp_path: Path, train: Path) -> None:
    test = write(tmp_path / "test.jsonl", bare(WRONG), IDLE)
    assert run(tmp_path, train, test, "--reasons", str(tmp_path / "why.txt")).exit_code == 0
    first, second = (tmp_path / "why.txt").read_text().splitlines()
    assert first.startswith("row 0, score ")
    assert "train.jsonl.gz:" in first
    assert "crm.delete_lead changed a record by its id without a read" in first
    assert second == "row 1, score 0.000: Nothing can have been damaged: nothing was called."


def test_the_summary_as_json_counts(tmp_path: Path, train: Path) -> None:
    test = write(tmp_path / "test.jsonl", bare(WRONG), IDLE)
    told = json.loads(run(tmp_path, train, test, "--json").stdout)
    assert (told["good_runs"], told["good_runs_with_a_write"], told["scored"], told["without_a_write"]) == (
        12,
        12,
        2,
        1,
    )


def test_blank_lines_keep_the_numbers_of_the_others(tmp_path: Path, train: Path) -> None:
    test = tmp_path / "test.jsonl"
    test.write_text(f"{json.dumps(bare(WRONG))}\n\n{json.dumps(IDLE)}\n")
    run(tmp_path, train, test)
    assert list(scores(tmp_path)) == [0, 2]


def test_requests_may_be_missing(tmp_path: Path) -> None:
    nameless = [{k: v for k, v in right(n).items() if k != "query"} for n in range(3)]
    train = write(tmp_path / "train.jsonl", *nameless)
    test = write(tmp_path / "test.jsonl", {"events": WRONG["events"]}, {"events": right(2)["events"], "query": None})
    assert run(tmp_path, train, test).exit_code == 0
    assert scores(tmp_path)[0] > scores(tmp_path)[1]


BAD = {
    "no JSON": ('{"events": [', "test.jsonl:2: no JSON"),
    "no events": ('{"query": "x"}', "test.jsonl:2: Object missing required field `events`"),
    "no tool": ('{"events": [{"action": "a", "arguments": {}, "error": false}]}', "`tool` - at `$.events[0]`"),
    "no error flag": ('{"events": [{"tool": "t", "action": "a", "arguments": {}}]}', "`error` - at `$.events[0]`"),
    "arguments no object": (
        '{"events": [{"tool": "t", "action": "a", "arguments": 3, "error": false}]}',
        "Expected `object`, got `int` - at `$.events[0].arguments`",
    ),
    "a list": ("[]", "test.jsonl:2: Expected `object`, got `array`"),
}


@pytest.mark.parametrize("mistake", list(BAD))
def test_a_bad_line_is_named_with_its_field_and_nothing_is_written(mistake: str, tmp_path: Path, train: Path) -> None:
    line, said = BAD[mistake]
    test = tmp_path / "test.jsonl"
    test.write_text(f"{json.dumps(IDLE)}\n{line}\n")
    result = run(tmp_path, train, test)
    assert result.exit_code == 1
    assert "test.jsonl:2" in result.stderr
    assert said in result.stderr
    assert not (tmp_path / "scores.csv").exists()


def test_a_training_line_without_correct_is_an_error(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", right(1), IDLE)
    result = run(tmp_path, train, write(tmp_path / "test.jsonl", IDLE))
    assert result.exit_code == 1
    assert "train.jsonl:2: Object missing required field `correct`" in result.stderr


def test_without_a_confirmed_good_episode_it_says_what_to_do(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", WRONG)
    result = run(tmp_path, train, write(tmp_path / "test.jsonl", IDLE))
    assert result.exit_code == 1
    assert "no episode has `correct` true" in result.stderr
    assert "mark them" in result.stderr


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path, train: Path) -> None:
    missing = run(tmp_path, train, tmp_path / "none.jsonl")
    assert (missing.exit_code, "none.jsonl can't be read" in missing.stderr) == (1, True)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(train.read_bytes()[:-20])
    broken = run(tmp_path, train, cut)
    assert (broken.exit_code, "cut.jsonl.gz can't be read" in broken.stderr) == (1, True)
    test = write(tmp_path / "test.jsonl", IDLE)
    nowhere = run(tmp_path / "no" / "folder", train, test)
    assert (nowhere.exit_code, "can't be written" in nowhere.stderr) == (1, True)


def test_input_is_never_written_over(tmp_path: Path, train: Path) -> None:
    test = write(tmp_path / "scores.csv", IDLE)
    result = run(tmp_path, train, test)
    assert result.exit_code == 2
    assert "other files" in result.stderr
    assert test.read_text().startswith("{")

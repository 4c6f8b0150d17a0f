"""``tripline import``: files, exit codes, what it says, and how it sends."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from console.cli.delivery import DeliveryFailed, FileSink, HttpSink
from console.cli.import_ import command
from events.codec import decode_input

EPISODE = {
    "domain": "email",
    "model": "gpt",
    "idx": 1,
    "events": [{"tool": "email", "action": "search_emails", "arguments": {}, "error": False}],
}
MAPPING = """
source = "/import/test"
[columns]
case = "case"
activity = "what"
timestamp = "when"
[outcome]
won = ["signed"]
lost = ["gone"]
"""
PIPELINE = """opportunity_id,sales_agent,product,account,deal_stage,engage_date,close_date,close_value
W1,Moses,GTXPro,,Won,2016-10-20,2017-03-01,4514
"""


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


@pytest.fixture
def episodes(tmp_path: Path) -> Path:
    path = tmp_path / "episodes.jsonl"
    path.write_text(json.dumps(EPISODE) + "\n")
    return path


@pytest.fixture
def maven(tmp_path: Path) -> Path:
    (tmp_path / "sales_pipeline.csv").write_text(PIPELINE)
    (tmp_path / "products.csv").write_text("product,sales_price\nGTX Pro,4821\n")
    return tmp_path


def test_workbench_goes_into_a_file_that_can_be_read(episodes: Path, tmp_path: Path) -> None:
    result = run("workbench", episodes, "--out", tmp_path / "out.jsonl")
    assert result.exit_code == 0, result.output
    assert "1 events from 2023-12-01T08:00:00Z" in result.output
    lines = (tmp_path / "out.jsonl").read_bytes().splitlines()
    assert [decode_input(line).data.agent_id for line in lines] == ["gpt"]


def test_a_packed_file_has_the_same_bytes_each_time(episodes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl.gz"
    run("workbench", episodes, "--out", out)
    first = out.read_bytes()
    run("workbench", episodes, "--out", out)
    assert out.read_bytes() == first
    assert gzip.decompress(first).count(b"\n") == 1


def test_packed_input_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(EPISODE).encode()))
    assert run("workbench", path, "--out", "-").stdout.count("tripline.agent.action.v1") == 1


def test_refused_lines_are_counted_shown_and_make_the_exit_code_1(episodes: Path, tmp_path: Path) -> None:
    episodes.write_text("nonsense\n" + episodes.read_text())
    result = run("workbench", episodes, "--out", tmp_path / "out.jsonl", "--issues", tmp_path / "issues.jsonl")
    assert result.exit_code == 1
    assert "1 refused" in result.output
    assert "line 1: not an episode" in result.output
    assert json.loads((tmp_path / "issues.jsonl").read_text())["refused"] == "not_json"
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == 1


def test_a_value_beyond_our_limits_is_refused_now_and_not_when_it_is_replayed(episodes: Path, tmp_path: Path) -> None:
    call = {"tool": "email", "action": "delete_email", "arguments": {"email_id": "7" * 5_000}, "error": False}
    episodes.write_text(json.dumps({**EPISODE, "events": [call, *EPISODE["events"]]}))  # type: ignore[misc]
    result = run("workbench", episodes, "--out", tmp_path / "out.jsonl")
    assert result.exit_code == 1
    assert "event 'gpt/email/1/0': data.record_ids[0]" in result.output
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == 1


def test_findings_about_data_are_told_and_are_no_failure(maven: Path) -> None:
    result = run("crm-csv", maven, "--out", maven / "out.jsonl", "--json", "--issues", maven / "issues.jsonl")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["events"], told["refused"]) == (2, 0)
    found = {(each["kind"], each["column"]): each["count"] for each in told["findings"]}
    assert found == {("name_variant", "product"): 1, ("missing_value", "account"): 1}
    first = json.loads((maven / "issues.jsonl").read_text().splitlines()[0])
    assert (first["file"], first["line"], first["column"], first["value"]) == (
        "sales_pipeline.csv",
        2,
        "product",
        "GTXPro",
    )


def test_an_event_log_goes_through_its_mapping(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("case,what,when\nd1,called,2016-01-04 09:00:00\nd1,signed,2016-01-05 09:00:00\n")
    (tmp_path / "map.toml").write_text(MAPPING)
    result = run("eventlog", tmp_path / "log.csv", "--mapping", tmp_path / "map.toml", "--out", tmp_path / "out.jsonl")
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "out.jsonl").read_bytes().splitlines()
    assert [decode_input(line).data.deal_id for line in lines] == ["d1", "d1", "d1"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["workbench"],
        ["workbench", "EPISODES"],
        ["workbench", "EPISODES", "--out", "x.jsonl", "--to", "http://127.0.0.1:1"],
        ["workbench", "no-such-file", "--out", "x.jsonl"],
        ["workbench", "EPISODES", "--to", "ftp://here"],
        ["workbench", "EPISODES", "--to", "http://here:port"],
        ["eventlog", "EPISODES", "--out", "x.jsonl"],
        ["eventlog", "EPISODES", "--mapping", "EPISODES", "--out", "x.jsonl"],
        ["crm-csv", "FOLDER/empty", "--out", "x.jsonl"],
        ["crm-csv", "FOLDER", "--zone", "Mars/North", "--out", "x.jsonl"],
    ],
)
def test_wrong_usage_has_exit_code_2_and_a_sentence(episodes: Path, arguments: list[str]) -> None:
    (episodes.parent / "empty").mkdir()
    filled = [each.replace("EPISODES", str(episodes)).replace("FOLDER", str(episodes.parent)) for each in arguments]
    result = run(*filled)
    assert result.exit_code == 2, result.output
    assert "Error: " in result.output
    assert not Path("x.jsonl").exists()


def test_a_torn_packed_file_fails_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(EPISODE).encode() * 50)[:-12])
    result = run("workbench", path, "--out", tmp_path / "out.jsonl")
    assert result.exit_code == 1
    assert {each.name for each in tmp_path.iterdir()} == {path.name}


def test_every_command_has_help_with_examples() -> None:
    for name in ("workbench", "eventlog", "crm-csv"):
        result = run(name, "--help")
        assert result.exit_code == 0
        assert f"tripline import {name}" in result.output


def test_an_abandoned_file_leaves_the_old_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    sink = FileSink(path)
    sink.write(b"{}")
    sink.abandon()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]


class Console:
    """A console that answers as told, and remembers what it got and how long the sender waited."""

    def __init__(self, *answers: Callable[[httpx.Request], httpx.Response]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return (self.answers.pop(0) if self.answers else accept)(request)

    def sink(self, **more: Any) -> HttpSink:
        client = httpx.Client(transport=httpx.MockTransport(self))
        return HttpSink("http://here:1/", client=client, sleep=self.waits.append, **more)


def accept(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"accepted": request.content.count(b"\n"), "duplicates": 0, "refused": []})


def busy(request: httpx.Request) -> httpx.Response:
    return httpx.Response(429, headers={"retry-after": "2"})


def down(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def test_events_are_sent_in_batches_of_lines() -> None:
    console = Console()
    sink = console.sink(token="secret")
    for number in range(1_200):
        sink.write(b'{"n":%d}' % number)
    sink.close()
    assert [request.content.count(b"\n") for request in console.requests] == [500, 500, 200]
    assert str(console.requests[0].url) == "http://here:1/v1/events"
    assert console.requests[0].headers["content-type"] == "application/x-ndjson"
    assert console.requests[0].headers["authorization"] == "Bearer secret"
    assert sink.accepted == 1_200


def test_large_events_make_small_batches() -> None:
    console = Console()
    sink = console.sink()
    for _ in range(3):
        sink.write(b"x" * 600_000)
    sink.close()
    assert [len(request.content) for request in console.requests] == [600_001] * 3


def test_a_busy_or_unreachable_console_is_asked_again_later() -> None:
    console = Console(down, busy, accept)
    sink = console.sink()
    sink.write(b"{}")
    sink.close()
    assert console.waits == [0.25, 2.0]
    assert [request.content for request in console.requests] == [b"{}\n"] * 3
    assert sink.accepted == 1


def test_it_gives_up_in_the_end_and_says_so() -> None:
    console = Console(*[down] * 100)
    sink = console.sink(give_up_secs=5.0)
    sink.write(b"{}")
    with pytest.raises(DeliveryFailed, match="can't be reached"):
        sink.close()
    assert 5.0 <= sum(console.waits) < 16.0


def test_what_the_console_refuses_is_told_with_its_place_among_all() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        item = {"index": 3, "reason": "bad_time", "message": "time: …", "field": "time"}
        return httpx.Response(200, json={"accepted": 1, "duplicates": 4, "refused": [item]})

    console = Console(accept, refuse)
    sink = console.sink()
    for _ in range(504):
        sink.write(b"{}")
    sink.close()
    assert [(item.index, item.reason) for item in sink.refused] == [(503, "bad_time")]
    assert sink.duplicates == 4


@pytest.mark.parametrize("status", [401, 403, 404, 413, 500])
def test_an_answer_that_waiting_will_not_mend_ends_it_at_once(status: int) -> None:
    console = Console(lambda _: httpx.Response(status, json={"message": "no"}))
    sink = console.sink()
    sink.write(b"{}")
    with pytest.raises(DeliveryFailed, match=str(status)):
        sink.close()
    assert console.waits == []


def test_sending_from_the_command_line_ends_with_1_when_nobody_listens(episodes: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("console.cli.delivery.GIVE_UP_SECS", 0.0)
    monkeypatch.setattr("console.cli.import_._sink", lambda *_: Console(*[down] * 9).sink(give_up_secs=0.0))
    result = run("workbench", episodes, "--to", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "can't be reached" in result.output

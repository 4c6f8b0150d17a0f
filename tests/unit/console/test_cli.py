"""The command line: exit codes, JSON, what it prints, and against a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from console.cli import COMMANDS, main
from tests.unit.console.conftest import PASSWORD
from tests.unit.console.samples import LINES, action, lines

ROOT = Path(__file__).resolve().parents[3]
TOML = """
[agents.dealbot]
owner = "sam"
level = 3
actions = ["record.*", "email.send"]
"""


def tripline(*args: str, env: dict[str, str] | None = None, given: str | None = None) -> Result:
    return CliRunner().invoke(
        main, args, env={"TRIPLINE_PASSWORD": None, "TRIPLINE_URL": None, **(env or {})}, input=given
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cli")
    (made / "tripline.toml").write_text(TOML)
    return made


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[dict[str, Any]]:
    """``tripline standalone`` as a process of its own, with two operators."""
    for name in ("maya", "jo"):
        done = tripline("users", "add", name, "--role", "operator", "--data-dir", str(folder / "data"),
                        env={"TRIPLINE_PASSWORD": PASSWORD})  # fmt: skip
        assert done.exit_code == 0, done.output
    process = subprocess.Popen(
        [sys.executable, "-m", "console", "standalone", "--port", "0", "--json", "--data-dir", str(folder / "data"),
         "--config", str(folder / "tripline.toml")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("TRIPLINE_")},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["login_link"] is None
        yield {**told, "process": process}
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help_with_examples(command: str) -> None:
    done = tripline(command, "--help")
    assert done.exit_code == 0, done.output
    assert "Example" in done.output


def test_the_list_of_commands_loads_none_of_them() -> None:
    code = (
        "import sys; from console.cli import main; main(['--help'], standalone_mode=False); "
        "print([name for name in ('litestar', 'sqlalchemy', 'httpx', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")


WRONG = [["nonsense"], ["agents", "nonsense"], ["actions", "--limit", "0"], ["tokens", "create", "x"]]


@pytest.mark.parametrize("args", WRONG)
def test_wrong_usage_is_exit_code_2(args: list[str]) -> None:
    assert tripline(*args).exit_code == 2


def test_a_server_that_is_not_there_is_exit_code_5() -> None:
    done = tripline("agents", "list", "--url", "http://127.0.0.1:9")
    assert done.exit_code == 5
    assert "tripline standalone" in done.output


def test_settings_that_are_wrong_name_the_place(tmp_path: Path) -> None:
    path = tmp_path / "tripline.toml"
    path.write_text("[agents.enrich-bot]\nlevle = 3\n")
    for command in (["doctor"], ["standalone", "--port", "0"], ["users", "list"]):
        done = tripline(*command, "--config", str(path), "--data-dir", str(tmp_path / "d"))
        assert done.exit_code == 1
        assert "levle" in done.output
        assert "level" in done.output


def test_listing_agents_neutralises_their_names(served: dict[str, Any], folder: Path) -> None:
    name = "rogue\u202e\x1b[31m"
    body = lines(action("n-1", agent=name), action("n-2"))
    sent = httpx.post(f"{served['url']}/v1/events", content=body, headers=LINES)
    assert sent.json()["accepted"] == 2
    done, end = tripline("agents", "list", "--url", served["url"]), time.monotonic() + 20
    while done.exit_code == 0 and "dealbot" not in done.output and time.monotonic() < end:  # the rows follow the log
        time.sleep(0.05)
        done = tripline("agents", "list", "--url", served["url"])
    assert done.exit_code == 0, done.output
    assert "dealbot" in done.output
    assert "rogue" in done.output
    assert "\u202e" not in done.output
    assert "\x1b" not in done.output


def test_an_unknown_agent_is_exit_code_3(served: dict[str, Any]) -> None:
    done = tripline("agents", "show", "nobody", "--url", served["url"])
    assert done.exit_code == 3
    assert "nobody" in done.output


def test_suspend_show_release(served: dict[str, Any]) -> None:
    person = ["--url", served["url"], "--user", "maya"]
    env = {"TRIPLINE_PASSWORD": PASSWORD}
    stopped = tripline("agents", "suspend", "dealbot", "--reason", "odd", "--json", *person, env=env)
    assert stopped.exit_code == 0, stopped.output
    told = json.loads(stopped.stdout)
    assert told["state"] == "suspended"
    shown = tripline("agents", "show", "dealbot", "--url", served["url"])
    assert "suspended" in shown.output
    assert "odd" in shown.output
    stale = tripline(
        "agents", "release", "dealbot", "--reason", "fine", "--epoch", str(told["epoch"] - 1), *person, env=env
    )
    assert stale.exit_code == 4
    kept = tripline("agents", "release", "dealbot", "--reason", "fine", *person, env=env, given="n\n")
    assert kept.exit_code == 4
    freed = tripline("agents", "release", "dealbot", "--reason", "fine", "--yes", *person, env=env)
    assert freed.exit_code == 0, freed.output


def test_a_wrong_password_is_exit_code_4(served: dict[str, Any]) -> None:
    done = tripline(
        "agents", "suspend", "x", "--reason", "y", "--url", served["url"], "--user", "jo",
        env={"TRIPLINE_PASSWORD": "wrong password"},
    )  # fmt: skip
    assert done.exit_code == 4


def test_actions_deals_and_dead_letters(served: dict[str, Any]) -> None:
    url = served["url"]
    change = {"006A1": {"StageName": ["Proposal", "Negotiation"]}}
    event = action("acts-1", object="Opportunity", record_ids=["006A1"], changes=change)
    event["time"] = "2026-03-02T09:14:03Z"
    httpx.post(f"{url}/v1/events", content=lines(event) + b"{broken\n", headers=LINES)
    wait_for_rows(url, "006A1")
    done = tripline("actions", "--agent", "dealbot", "--record", "006A1", "--url", url)
    assert "Proposal → Negotiation" in done.output
    as_json = json.loads(tripline("actions", "--agent", "dealbot", "--type", "record.*", "--json", "--url", url).stdout)
    assert {row["agent_id"] for row in as_json["rows"]} == {"dealbot"}
    assert tripline("actions", "--last", "48", "--url", url).exit_code == 1
    assert "No deal needs attention" in tripline("deals", "top", "--url", url).output
    assert "not_json" in tripline("dead-letters", "list", "--url", url).output
    again = tripline("dead-letters", "redrive", "--url", url, "--user", "maya", env={"TRIPLINE_PASSWORD": PASSWORD})
    assert again.exit_code == 1, "what is broken stays broken"


def wait_for_rows(url: str, record: str) -> None:
    """Rows of what was done are written a moment after the answer."""
    import time  # noqa: PLC0415

    until = time.monotonic() + 20
    while not httpx.get(f"{url}/v1/actions", params={"record": record}).json()["rows"]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_log_is_dumped_while_the_server_runs(served: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    done = tripline("log", "dump", "--data-dir", str(folder / "data"), "--out", str(tmp_path), "--json")
    assert done.exit_code == 0, done.output
    first = json.loads((tmp_path / "agent.actions.jsonl").read_text().splitlines()[0])
    assert first["logoffset"] == 0
    assert json.loads(done.stdout)["records"]["agent.actions"] > 0


def test_a_second_server_on_the_same_folder_says_why_not(served: dict[str, Any], folder: Path) -> None:
    done = tripline("standalone", "--port", "0", "--data-dir", str(folder / "data"))
    assert done.exit_code == 1
    assert "another process" in done.output


def test_a_taken_port_is_exit_code_1_with_advice(served: dict[str, Any], tmp_path: Path) -> None:
    port = served["url"].rpartition(":")[2]
    done = tripline("standalone", "--port", port, "--data-dir", str(tmp_path / "d"))
    assert done.exit_code == 1
    assert "--port" in done.output


def test_doctor_sees_the_running_server(served: dict[str, Any], folder: Path) -> None:
    port = served["url"].rpartition(":")[2]
    done = tripline(
        "doctor", "--json", "--data-dir", str(folder / "data"), "--config", str(folder / "tripline.toml"),
        env={"TRIPLINE_SERVER_PORT": port},
    )  # fmt: skip
    told = {check["name"]: check["status"] for check in json.loads(done.stdout)}
    assert told["server"] == "ok"
    assert told["store"] == "ok"
    assert told["people"] == "ok"
    assert done.exit_code == 0


def test_doctor_finds_what_is_wrong(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "tripline.db").write_bytes(b"this is no database, however long it may be" * 100)
    done = tripline("doctor", "--data-dir", str(data))
    assert done.exit_code == 1
    assert "restore it from a copy" in done.output


def test_users_and_tokens(tmp_path: Path) -> None:
    where = ["--data-dir", str(tmp_path)]
    assert tripline("users", "add", "a:b", "--link", *where).exit_code == 1
    added = tripline("users", "add", "vera", "--link", *where)
    assert "/login/link/" in added.output
    assert tripline("users", "add", "vera", "--link", *where).exit_code == 1
    short = tripline("users", "add", "tim", *where, given="short\nshort\n")
    assert short.exit_code == 1
    assert "10" in short.output
    assert tripline("users", "link", "nobody", *where).exit_code == 3
    made = json.loads(tripline("tokens", "create", "bot", "--agent", "bot", "--json", *where).stdout)
    assert made["scopes"] == ["gate", "ingest"]
    assert made["token"] not in tripline("tokens", "list", *where).output
    assert tripline("tokens", "revoke", made["token_id"], *where).exit_code == 0
    assert json.loads(tripline("tokens", "list", "--json", *where).stdout) == []
    assert tripline("tokens", "revoke", "nothing", *where).exit_code == 3


def test_it_listens_to_other_machines_with_tokens_only(tmp_path: Path) -> None:
    where = [
        "--host",
        "0.0.0.0",  # noqa: S104 - that it is refused is the point
        "--port",
        "0",
        "--data-dir",
        str(tmp_path),
    ]
    done = tripline("standalone", *where)
    assert done.exit_code == 1
    assert "tokens create" in done.output
    done = tripline(
        "standalone",
        *where,
        env={"TRIPLINE_SERVER_REQUIRE_TOKENS": "never"},
    )
    assert done.exit_code == 1
    assert "never" in done.output


def test_schemas_are_exported(tmp_path: Path) -> None:
    assert tripline("schema", "export", "--out", str(tmp_path)).exit_code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert "tripline.agent.action.v1.schema.json" in names
    assert "tripline.agent.action.v1" in json.loads(tripline("schema", "export", "--json").stdout)


def test_what_waits_for_a_person_is_listed_and_shown_and_not_answered_here(served: dict[str, Any]) -> None:
    check = {
        "agent_id": "dealbot", "action": "email.send", "object": "Email", "record_ids": ["m-1"],
        "recipient_ids": ["new@example.com"], "changes": {"m-1": {"Subject": ["Hello", "Re: \u202e\x1b[31mred"]}},
    }  # fmt: skip
    held = httpx.post(served["url"] + "/v1/gate/check", json=check).json()
    url = {"TRIPLINE_URL": served["url"]}
    listed = json.loads(tripline("approvals", "list", "--json", env=url).output)
    assert [row["id"] for row in listed["approvals"]] == [held["approval_id"]]
    assert "first message to" in tripline("approvals", "list", env=url).output
    shown = tripline("approvals", "show", held["approval_id"], env=url)
    assert shown.exit_code == 0
    assert "\x1b" not in shown.output
    assert "\u202e" not in shown.output
    assert f"/approvals/{held['approval_id']}" in shown.output
    assert tripline("approvals", "show", "none", env=url).exit_code == 3
    assert tripline("approvals", "approve", held["approval_id"], env=url).exit_code == 2


def test_mutes_and_the_budget_of_false_stops_are_shown(served: dict[str, Any]) -> None:
    none = tripline("detectors", "mutes", "--url", served["url"])
    assert (none.exit_code, none.output) == (0, "Nothing is muted.\n")
    told = tripline("detectors", "budget", "--url", served["url"])
    assert told.exit_code == 0, told.output
    assert "the budget is 0.01 false stops an agent-month" in told.output
    assert "repeated_errors" in told.output
    asked = tripline("detectors", "mute", "x", "--agent", "a", "--for", "soon", "--reason", "r", "--user", "maya")
    assert (asked.exit_code, "write 90s, 15m, 48h" in asked.output) == (2, True), asked.output

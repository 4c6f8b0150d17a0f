"""``tripline proxy``: what it refuses to start with, and what it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.cli import main

HTTP = [
    "proxy",
    "http",
    "--agent",
    "dealbot",
    "--crm",
    "hubspot",
    "--upstream",
    "https://api.hubapi.com",
    "--port",
    "0",
]
ENV = {"TRIPLINE_TOKEN": "tl_agent", "TRIPLINE_CRM_TOKEN": "pat-eu1-secret", "TRIPLINE_URL": "http://127.0.0.1:1"}


def run(*args: str, **env: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*HTTP, *args], env={**ENV, **env})
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("args", "env", "code", "word"),
    [
        ((), {"TRIPLINE_TOKEN": ""}, 1, "TRIPLINE_TOKEN"),
        ((), {"TRIPLINE_CRM_TOKEN": ""}, 1, "TRIPLINE_CRM_TOKEN"),
        ((), {"TRIPLINE_CRM_TOKEN": "with blank in it"}, 1, "without blanks"),
        (("--credential-file", "/none/there"), {}, 1, "/none/there"),
        (("--upstream", "http://api.hubapi.com"), {}, 2, "https://"),
        (("--upstream", "https://a:b@api.hubapi.com"), {}, 2, "no path"),
        (("--upstream", "https://api.hubapi.com/crm"), {}, 2, "no path"),
        (("--upstream", "https://"), {}, 2, "host"),
        (("--host", "crm.internal"), {}, 2, "--tls-cert"),
        (("--trigger", "whim"), {}, 2, "--trigger"),
    ],
)
def test_it_does_not_start_with_what_would_not_be_safe(args: Any, env: dict[str, str], code: int, word: str):
    told = run(*args, **env)
    assert (told[0], word in told[1]) == (code, True), told[1]
    assert "pat-eu1-secret" not in told[1]


def test_it_serves_one_agent_with_the_credential_of_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "token").write_text("from-a-file\n")
    served: list[Any] = []

    def serve(app: Any, bound: Any, tls: Any, on_started: Any) -> None:
        served.extend((app, bound.getsockname()[0], tls))
        on_started()

    monkeypatch.setattr("console.proxy.serving.serve", serve)
    said = ("--trigger", "rule:flow:enrich", "--authorized-by", "user:1", "--credential-file", str(tmp_path / "token"))
    code, output = run(*said)
    app, host, tls = served
    assert (code, host, tls, "dealbot reaches hubspot at http://127.0.0.1:" in output) == (0, "127.0.0.1", None, True)
    assert app._config.fixed == {"authorized_by": "user:1", "trigger": {"kind": "rule", "ref": "flow:enrich"}}
    assert (app._credential.secret(), app._config.reads_without_gate) == ("from-a-file", False)


@pytest.mark.parametrize(
    ("args", "env", "code", "word"),
    [
        (["--upstream", "https://tools.example.com/mcp"], {"TRIPLINE_CRM_TOKEN": ""}, 1, "TRIPLINE_CRM_TOKEN"),
        (["--upstream", "http://tools.example.com/mcp"], {}, 2, "https://"),
        (["--upstream", "https://tools.example.com/mcp?key=x"], {}, 2, "no query"),
        (["--upstream", "https://tools.example.com/mcp", "--host", "tools.internal"], {}, 2, "--tls-cert"),
    ],
)
def test_an_mcp_proxy_over_http_does_not_start_unsafe(
    tmp_path: Path, args: list[str], env: dict[str, str], code: int, word: str
):
    (tmp_path / "tools.toml").write_text('[tools.a]\naction = "record.read"\n')
    command = ["proxy", "mcp-http", "--agent", "dealbot", "--mapping", str(tmp_path / "tools.toml"), *args]
    done = CliRunner().invoke(main, command, env={**ENV, **env})
    assert (done.exit_code, word in done.output) == (code, True), done.output
    assert "pat-eu1-secret" not in done.output


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (["--mapping", "{}", "--", "/none/there"], 1, "/none/there can't be run"),
        (["--mapping", "{}", "--mappign", "x", "true"], 2, "No such option"),
        (["--mapping", "{}"], 2, "SERVER"),
        (["--mapping", "/none.toml", "--", "true"], 2, "/none.toml"),
        (["--mapping", "{}/bad", "--", "true"], 1, "did you mean record.read?"),
    ],
)
def test_a_tool_server_does_not_start_with_a_mistake(tmp_path: Path, args: list[str], code: int, word: str):
    (tmp_path / "tools.toml").write_text('[tools.a]\naction = "record.read"\n')
    (tmp_path / "bad").write_text('[tools.a]\naction = "record.raed"\n')
    given = [each.replace("{}/bad", f"{tmp_path}/bad").replace("{}", f"{tmp_path}/tools.toml") for each in args]
    done = CliRunner().invoke(main, ["proxy", "mcp", "--agent", "dealbot", *given], env=ENV)
    assert (done.exit_code, word in done.output) == (code, True), done.output

"""Settings: where they come from, which source wins, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from governance.settings import Settings, SettingsError, parse_settings, variable_names
from governance.settings_doc import settings_markdown

MISTAKES = sorted((Path(__file__).parent / "mistakes").glob("*.toml"))
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "tripline.toml"


@pytest.mark.parametrize("file", MISTAKES, ids=lambda file: file.stem)
def test_each_mistake_is_named_with_its_place(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    wanted = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# bad.toml")]
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, where="bad.toml")
    assert str(caught.value).splitlines() == wanted


def test_without_anything_the_defaults_hold() -> None:
    settings = parse_settings()
    assert settings == Settings()
    assert (settings.server.host, settings.server.port, settings.server.data_dir) == ("127.0.0.1", 8787, ".tripline")
    assert settings.gate.unknown_agents == "deny"


def test_flags_win_over_variables_over_the_file_over_defaults() -> None:
    file = "[server]\nport = 1\nhost = 'file'\ndata_dir = 'file'"
    environ = {"TRIPLINE_SERVER_PORT": "2", "TRIPLINE_SERVER_HOST": "variable"}
    server = parse_settings(file, environ, {"server.port": 3, "server.host": None}).server
    assert (server.port, server.host, server.data_dir, server.max_event_bytes) == (3, "variable", "file", 1_048_576)


def test_overrides_may_be_nested_tables() -> None:
    assert parse_settings(None, {}, {"server": {"port": 5}, "agents": {"a.b": {"level": 3}}}).agents["a.b"].level == 3


def test_the_short_aliases_work_and_the_long_name_wins() -> None:
    short = {"TRIPLINE_PORT": "9", "TRIPLINE_HOST": "::1", "TRIPLINE_DATA_DIR": "/data"}
    server = parse_settings(None, short).server
    assert (server.port, server.host, server.data_dir) == (9, "::1", "/data")
    assert parse_settings(None, {**short, "TRIPLINE_SERVER_PORT": "10"}).server.port == 10


def test_variables_of_every_shape_are_read() -> None:
    settings = parse_settings(
        "[agents.enrich-bot]\n[agents.enrich]\n[detectors.action_rate]",
        {
            "TRIPLINE_SERVER_ALLOWED_HOSTS": "a.example, b.example:8787",
            "TRIPLINE_NOTIFICATIONS_LOG": "no",
            "TRIPLINE_NOTIFICATIONS_ACCEPT_SECS": "2.5",
            "TRIPLINE_NOTIFICATIONS_TARGETS": '[{name = "chat", url = "json://h/secret"}]',
            "TRIPLINE_DEALS_MANAGERS": '{"user:1" = "user:2"}',
            "TRIPLINE_AGENTS_ENRICH_BOT_LEVEL": "3",
            "TRIPLINE_AGENTS_ENRICH_BOT_ACTIONS": '["record.read"]',
            "TRIPLINE_DETECTORS_ACTION_RATE_MODE": '"warn"',
            "TRIPLINE_PEOPLE": '{maya = {name = "Maya"}}',
        },
    )
    assert settings.server.allowed_hosts == ["a.example", "b.example:8787"]
    assert settings.notifications.log is False
    assert settings.notifications.accept_secs == 2.5
    assert settings.notifications.targets[0].name == "chat"
    assert settings.deals.managers == {"user:1": "user:2"}
    assert (settings.agents["enrich-bot"].level, settings.agents["enrich-bot"].actions) == (3, ["record.read"])
    assert settings.agents["enrich"].level == 1
    assert settings.detectors["action_rate"] == {"mode": "warn"}
    assert settings.people["maya"].name == "Maya"


def test_a_plain_word_is_enough_for_a_detectors_mode() -> None:
    settings = parse_settings("[detectors.action_rate]", {"TRIPLINE_DETECTORS_ACTION_RATE_MODE": "enforce"})
    assert settings.detectors["action_rate"]["mode"] == "enforce"


def default_of(path: str) -> object:
    value: object = Settings()
    for part in path.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize(("name", "path"), sorted(variable_names().items()))
def test_every_setting_can_be_set_by_its_variable(name: str, path: str) -> None:
    default = default_of(path)
    text = str(default).lower() if isinstance(default, bool) else str(default)
    assert parse_settings(None, {name: text}) == Settings()
    if not isinstance(default, str | list | dict):
        with pytest.raises(SettingsError, match=f"environment variable {name}: {path}: "):
            parse_settings(None, {name: "no-such-thing"})


def test_a_misspelt_variable_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(None, {"TRIPLINE_SERVER_PROT": "1"})
    assert str(caught.value) == (
        "environment: TRIPLINE_SERVER_PROT: no such setting; did you mean TRIPLINE_SERVER_PORT?"
    )


def test_a_wrong_value_in_a_variable_names_the_variable_not_the_file() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings("", {"TRIPLINE_SERVER_PORT": "abc"})
    assert str(caught.value) == (
        "environment variable TRIPLINE_SERVER_PORT: server.port: must be a whole number, not a text"
    )


def test_a_wrong_flag_names_the_command_line() -> None:
    with pytest.raises(SettingsError, match=r"^command line: server\.port: must be a whole number <= 65535"):
        parse_settings("", {}, {"server.port": 99_999})


def test_what_kubernetes_injects_for_a_service_called_tripline_is_not_a_setting() -> None:
    injected = {
        "TRIPLINE_PORT": "tcp://10.0.0.7:8787",
        "TRIPLINE_SERVICE_HOST": "10.0.0.7",
        "TRIPLINE_SERVICE_PORT": "8787",
        "TRIPLINE_PORT_8787_TCP": "tcp://10.0.0.7:8787",
        "TRIPLINE_PORT_8787_TCP_ADDR": "10.0.0.7",
    }
    assert parse_settings(None, injected) == Settings()


@pytest.mark.parametrize("name", ["CONFIG", "URL", "TOKEN", "USER", "PASSWORD"])
def test_what_commands_read_themselves_is_no_setting(name: str) -> None:
    assert parse_settings(None, {f"TRIPLINE_{name}": "x"}) == Settings()


def test_a_byte_order_mark_does_not_matter() -> None:
    assert parse_settings("\ufeff[server]\nport = 7").server.port == 7


def test_an_address_with_a_password_is_not_repeated_in_the_message() -> None:
    text = '[[notifications.targets]]\nname = "a"\nurl = "hunter2secret"'
    with pytest.raises(SettingsError) as caught:
        parse_settings(text)
    assert "hunter2secret" not in str(caught.value)


def test_the_example_file_is_valid_and_has_the_six_agents_with_known_owners() -> None:
    settings = parse_settings(EXAMPLE.read_text(encoding="utf-8"), where=str(EXAMPLE))
    assert sorted(settings.agents) == [
        "call-notes", "enrich-bot", "lead-router", "outreach-drafter", "quote-helper", "stage-sync",
    ]  # fmt: skip
    assert all(agent.owner in settings.people and agent.actions for agent in settings.agents.values())


def test_the_examples_commented_lines_are_valid_too() -> None:
    settings = parse_settings(EXAMPLE.read_text(encoding="utf-8").replace("#: ", "").replace("#:", ""))
    assert settings.notifications.targets[1].fallback_of == "revops-chat"
    assert settings.agents["outreach-drafter"].notify == ["revops-chat"]


def test_settings_cannot_be_changed_after_they_are_read() -> None:
    with pytest.raises(AttributeError):
        parse_settings().server.port = 1  # type: ignore[misc]


def test_settings_survive_a_trip_through_json() -> None:
    settings = parse_settings(EXAMPLE.read_text(encoding="utf-8"))
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings


def test_the_settings_document_is_in_step_and_describes_every_setting() -> None:
    text = settings_markdown()
    assert (Path(__file__).parents[3] / "docs" / "settings.md").read_text(encoding="utf-8") == text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert all(row[-1].strip(" |") for row in rows)
    listed = {row[1].strip("`") for row in rows}
    tables = {"TRIPLINE_AGENTS", "TRIPLINE_PEOPLE", "TRIPLINE_DETECTORS", "TRIPLINE_CRM", "TRIPLINE_CREDENTIALS"}
    assert set(variable_names()) - listed == tables

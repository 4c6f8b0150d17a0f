from typing import Any

import pytest
from msgspec import Struct

from detectors import discovery
from detectors.base import Shared
from detectors.discovery import DetectorSettingsError, build, discover, modes


class Agent(Struct):
    owner: str = "x"
    max_records_per_operation: int = 7
    irreversible: list[str] = []


class Settings(Struct):
    detectors: dict[str, Any] = {}
    agents: dict[str, Any] = {}


def test_the_built_in_detectors_are_found_in_a_fixed_order() -> None:
    names = list(discover())
    assert names == sorted(names)
    assert {"action_rate", "blast_radius", "repeated_errors"} <= set(names)


OFF = {"action_mix": "shadow", "unlike_good_run": "shadow", "write_without_read": "enforce"}
"""Those that must be switched on, and the mode they have then."""
WARN = {"human_revert": "warn", "unexpected_change": "warn", "value_shift": "warn"}
"""In mode warn until a replay report promotes them."""


def test_everything_is_built_and_enforces_when_nothing_is_set_but_what_says_otherwise() -> None:
    shared = Shared()
    built = build({}, shared)
    assert [detector.name for detector in built] == [name for name in discover() if name not in OFF]
    assert modes({}) == {name: {**OFF, **WARN}.get(name, "enforce") for name in discover()}


def test_what_is_off_by_default_can_be_switched_on_and_enforced() -> None:
    tables = {name: {"is_enabled": True, "mode": "enforce"} for name in {**OFF, **WARN}}
    assert [detector.name for detector in build(tables, Shared())] == list(discover())
    assert set(modes(tables).values()) == {"enforce"}


def test_options_reach_the_detector() -> None:
    (errors,) = [d for d in build({"repeated_errors": {"run_errors": 9}}, Shared()) if d.name == "repeated_errors"]
    assert errors.config.run_errors == 9  # type: ignore[attr-defined]


def test_limits_of_the_agents_tables_reach_blast_radius() -> None:
    settings = Settings(agents={"bot": Agent(irreversible=["contract.create"])})
    (blast,) = [d for d in build(settings, Shared()) if d.name == "blast_radius"]
    assert blast.new_state("bot").limits.max_records_per_operation == 7
    assert blast.new_state("bot").limits.irreversible == ["contract.create"]
    assert blast.new_state("other").limits.max_records_per_operation == 50


def test_a_mode_and_a_switch_are_read() -> None:
    tables = {"action_rate": {"mode": "shadow"}, "blast_radius": {"is_enabled": False}}
    assert modes(tables)["action_rate"] == "shadow"
    assert "blast_radius" not in [detector.name for detector in build(tables, Shared())]


@pytest.mark.parametrize(
    ("tables", "path", "words"),
    [
        ({"action_rte": {}}, "detectors.action_rte", "did you mean action_rate?"),
        ({"repeated_errors": {"run_error": 5}}, "detectors.repeated_errors.run_error", "did you mean run_errors?"),
        ({"repeated_errors": {"run_errors": "five"}}, "detectors.repeated_errors.run_errors", "Expected `int`"),
        ({"repeated_errors": {"run_errors": 1}}, "detectors.repeated_errors.run_errors", ">= 2"),
        ({"action_rate": {"mode": "shaddow"}}, "detectors.action_rate.mode", "shadow, warn, enforce"),
        ({"action_rate": {"is_enabled": "no"}}, "detectors.action_rate.is_enabled", "neither true nor false"),
        ({"action_rate": 3}, "detectors.action_rate", "table"),
    ],
)
def test_a_mistake_is_named_with_its_place(tables: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(DetectorSettingsError) as raised:
        build(tables, Shared())
    assert raised.value.path == path
    assert words in raised.value.problem


class _Entry:
    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value, self._value = name, f"pkg:{name}", value

    def load(self) -> Any:
        return self._value


def test_a_third_party_detector_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    base = discover()["repeated_errors"]
    mine = type("Mine", (base,), {"name": "mine"})  # type: ignore[misc]
    monkeypatch.setattr(discovery, "installed", lambda: [_Entry("mine", mine)])
    assert discover()["mine"] is mine


def test_an_entry_point_that_is_no_detector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "installed", lambda: [_Entry("bad", dict)])
    with pytest.raises(DetectorSettingsError, match="no detector: it has no name"):
        discover()


def test_two_detectors_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = type("Twin", (discover()["action_rate"],), {})  # type: ignore[misc]
    monkeypatch.setattr(discovery, "installed", lambda: [_Entry("twin", twin)])
    with pytest.raises(DetectorSettingsError, match="two detectors have this name"):
        discover()

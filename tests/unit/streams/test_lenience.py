"""What people allow for a time, and modes of agents and roles."""

from __future__ import annotations

from typing import Any

import pytest

from detectors.base import Evidence, Shared
from detectors.discovery import DetectorSettingsError, own_modes
from events.times import format_ms
from events.types import Feedback, FeedbackEvent, Mute, MuteEvent
from governance.settings import SettingsError, parse_settings
from streams.agents import AgentsStage
from streams.envelopes import envelope
from streams.kafka.partition import record_key
from streams.lenience import MOST_RULES, Lenience, lenient, rule_of, with_rule
from streams.routing import ACTIONS, topics_of
from tests.unit.streams.toys import PARTITION, START_MS, EveryThird, actions, stage

HOUR_MS = 3_600_000


def evidence(observed: float = 7, topic: str = "t", unit: str = "u") -> Evidence:
    return Evidence(
        wanted="suspend", severity="critical", summary="s", observed=observed, expected=1, limit=5, unit=unit,
        would_clear="c", topic=topic,
    )  # fmt: skip


def mute(version: int = 1, **given: Any) -> Mute:
    fields = {"agent_id": "bot", "detector": "d", "until": format_ms(START_MS + HOUR_MS), "by": "a", "reason": "r"}
    return Mute(**{**fields, "version": version, **given})


def test_a_mute_lowers_its_detector_until_its_end_and_nobody_else() -> None:
    rule = rule_of(START_MS, mute())
    assert rule is not None
    asked = [lenient([rule], "d", evidence(), at, "suspend")[0] for at in (START_MS - 1, START_MS, START_MS + HOUR_MS)]
    assert asked == ["suspend", "notify", "suspend"]
    assert lenient([rule], "other", evidence(), START_MS, "suspend")[0] == "suspend"
    assert lenient([rule], "d", evidence(), START_MS, "none")[0] == "none", "shadow stays shadow"
    assert lenient([rule], "d", evidence(topic="fault"), START_MS, "hold")[0] == "hold"


def test_an_expectation_holds_for_its_topic_and_unit_up_to_its_number() -> None:
    said = Feedback(
        subject="f", verdict="expected", by="a", agent_id="bot", detector="d", topic="t", unit="u", ceiling=9.0,
        until=format_ms(START_MS + HOUR_MS), version=1,
    )  # fmt: skip
    rule = rule_of(START_MS, said)
    assert rule is not None
    for seen, wanted in ((9, "notify"), (9.1, "suspend")):
        assert lenient([rule], "d", evidence(seen), START_MS, "suspend")[0] == wanted
    for other in (evidence(topic="x"), evidence(unit="x")):
        assert lenient([rule], "d", other, START_MS, "suspend")[0] == "suspend"


def test_wrong_changes_no_judgement() -> None:
    assert rule_of(START_MS, Feedback(subject="f", verdict="wrong", by="a")) is None


def test_a_lower_version_is_a_no_op_a_higher_one_takes_its_place_and_rules_are_bounded() -> None:
    newer, older = Lenience(2, "d", 0, 100, "notify"), Lenience(1, "d", 0, 900, "notify")
    assert with_rule([newer], older, 1) == (newer,)
    assert with_rule([older], newer, 1) == (newer,)
    many: tuple[Lenience, ...] = ()
    for number in range(100):
        many = with_rule(many, Lenience(number, f"d{number}", 0, 100, "notify"), 1)
    assert len(many) == MOST_RULES
    assert with_rule(many, Lenience(1, "late", 0, 900, "notify"), 200) == (Lenience(1, "late", 0, 900, "notify"),)


def test_a_mute_goes_into_its_agents_partition() -> None:
    wrong = Feedback(subject="f", verdict="wrong", by="a", agent_id="bot")
    for event in (
        envelope(MuteEvent, "main", "m", START_MS, "default/bot", mute()),
        envelope(FeedbackEvent, "main", "f", START_MS, "default/bot", wrong),
    ):
        assert topics_of(event) == (ACTIONS,)
        assert record_key(ACTIONS, event) == "default/bot"


def test_a_mute_survives_a_snapshot() -> None:
    first, second = stage(), stage()
    muted = envelope(MuteEvent, "main", "m", START_MS, "default/bot", mute(detector="every_third"))
    first.process([(0, START_MS, muted)])
    second.restore(first.snapshot(), lazily=True)
    said = [one.event.data for one in second.process([(n + 1, at, event) for n, at, event in actions(3)])]  # type: ignore[attr-defined]
    assert [(one.mode, one.action_taken) for one in said] == [("enforce", "notify")]
    assert said[0].evidence.details == {"muted_until": format_ms(START_MS + HOUR_MS)}


def test_an_agents_own_mode_goes_before_its_roles_and_the_detectors() -> None:
    settings = parse_settings(
        """
        [agents.one]
        role = "enrich"
        [agents.two]
        role = "enrich"
        [agents.three]
        [detectors.action_rate]
        roles = { enrich = "warn" }
        agents = { two = "shadow" }
        """,
        {},
    )
    assert own_modes(settings) == {"one": {"action_rate": "warn"}, "two": {"action_rate": "shadow"}}


def test_the_stage_judges_each_agent_in_its_own_mode() -> None:
    judged = AgentsStage(PARTITION, (EveryThird(),), {}, Shared(), {"bot": {"every_third": "warn"}})
    log = [*actions(3), *((n + 3, at, event) for n, at, event in actions(3, "other"))]
    said = [one.event.data for one in judged.process(log)]  # type: ignore[attr-defined]
    assert [(one.agent_id, one.mode, one.action_taken) for one in said] == [
        ("bot", "warn", "notify"),
        ("other", "enforce", "suspend"),
    ]


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ("roles = { nobody = 'warn' }", "detectors.action_rate.roles.nobody"),
        ("agents = { one = 'loud' }", "detectors.action_rate.agents.one"),
        ("agents = 'one'", "detectors.action_rate.agents"),
    ],
)
def test_a_mode_that_would_do_nothing_is_an_error(table: str, place: str) -> None:
    with pytest.raises((SettingsError, DetectorSettingsError), match=place):
        parse_settings(f"[agents.one]\n[detectors.action_rate]\n{table}", {})


def test_shares_of_the_budget_name_detectors_and_add_up_to_one_at_most() -> None:
    with pytest.raises(SettingsError, match=r"budget\.shares"):
        parse_settings("[budget]\nshares = { action_rate = 0.7, repeated_errors = 0.4 }", {})
    with pytest.raises(SettingsError, match="no detector is called"):
        parse_settings("[budget]\nshares = { actionrate = 0.7 }", {})

"""The grade of an agent, by what was seen of it, and the most that it can do in a day."""

from __future__ import annotations

import pytest

from governance.grades import Seen, grade_of
from governance.settings import parse_settings
from tests.unit.governance.policy.policies import example, policy_with

SETTINGS = parse_settings(
    """
[agents.asks]
actions = ["record.update"]
records_per_10_min = 5
records_per_day = 40
contacts_per_10_min = 1
contacts_per_day = 7
[agents.below]
actions = ["record.update"]
parent = "asks"
[agents.proxied]
actions = ["*"]
is_proxied = true
[agents.idle]
[agents.enrich-bot]
actions = ["*"]
records_per_day = 5000
[agents.stage-sync]
actions = ["*"]
records_per_day = 150
[agents.old-importer]
actions = ["*"]
"""
)


@pytest.mark.parametrize(
    ("name", "seen", "grade"),
    [
        ("asks", Seen(), "cooperative"),
        ("asks", Seen(asked=1, acted=9), "cooperative"),
        ("asks", Seen(asked=0, acted=1), "observed"),
        ("proxied", Seen(), "enforced"),
        ("proxied", Seen(asked=5, acted=5), "enforced"),
        ("proxied", Seen(asked=5, acted=5, shadow_48h=1), "cooperative"),
        ("proxied", Seen(asked=0, acted=1), "observed"),
        ("nobody", Seen(asked=0, acted=1), "observed"),
    ],
)
def test_the_grade_is_never_better_than_what_was_seen(name: str, seen: Seen, grade: str) -> None:
    found = grade_of(name, SETTINGS, None, seen)
    assert found.grade == grade
    assert (found.records_24h is None) == (grade == "observed")
    assert ("past the gate" in found.why) == (seen.shadow_48h > 0)


@pytest.mark.parametrize(
    ("name", "worst"),
    [("asks", (40, 7)), ("below", (40, 7)), ("idle", (0, 0)), ("nobody", (0, 0)), ("proxied", (1000, 25))],
)
def test_the_worst_case_is_what_the_budgets_allow_also_of_those_above(name: str, worst: tuple[int, int]) -> None:
    found = grade_of(name, SETTINGS, None, Seen())
    assert (found.records_24h, found.contacts_24h) == worst


@pytest.mark.parametrize(
    ("name", "worst"),
    [("enrich-bot", (1000, 0)), ("stage-sync", (150, 25)), ("old-importer", (0, 0)), ("asks", (0, 0))],
)
def test_under_a_policy_the_stricter_budget_counts(name: str, worst: tuple[int, int]) -> None:
    found = grade_of(name, SETTINGS, example().policy, Seen())
    assert (found.records_24h, found.contacts_24h) == worst


def test_the_ceiling_of_all_bounds_each() -> None:
    policy = policy_with("records_per_day = 2500", "records_per_day = 90")
    assert grade_of("enrich-bot", SETTINGS, policy, Seen()).records_24h == 90

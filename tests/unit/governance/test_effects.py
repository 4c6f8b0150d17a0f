"""Which CRM can take back what an agent set up, and what stands against it."""

from __future__ import annotations

import pytest

from governance.effects import Effect, NotPossible, check_own, plan
from governance.settings import parse_settings

SF, HUB = "0035g00000abcdeAAA", "7001"
TOML = """
[agents.bot]
crm_user = "user:0055g00000abcde"
[agents.nameless]
[crm.sf]
kind = "salesforce"
url = "https://acme.example"
token = "x"
[crm.hub]
kind = "hubspot"
url = "https://api.example"
token = "x"
"""
MINE = "0055g00000abcde"


@pytest.mark.parametrize(
    ("action", "what", "id_", "place", "kind"),
    [
        ("sequence.enroll", "Contact", SF, "sf", "enrolment"),
        ("meeting.schedule", "Event", SF, "sf", "meeting"),
        ("meeting.schedule", "meetings", HUB, "hub", "meeting"),
        ("record.create", "Flow", SF, "sf", "flow"),
        ("record.create", "CronTrigger", SF, "sf", "job"),
        ("record.create", "marketing_email", HUB, "hub", "mail"),
    ],
)
def test_the_form_of_an_id_tells_which_crm_holds_it(action: str, what: str, id_: str, place: str, kind: str) -> None:
    name, effect = plan(action, what, id_, "bot", parse_settings(TOML, {}))
    assert (name, effect.kind, effect.made_by) == (place, kind, MINE)


@pytest.mark.parametrize(
    ("action", "what", "id_", "agent", "said"),
    [
        ("sequence.enroll", "contacts", HUB, "bot", "no call that takes a contact out of a sequence"),
        ("record.create", "Workflow", HUB, "bot", "do not say who made it"),
        ("record.create", "ScheduledEmail", SF, "bot", "no call that takes a scheduled mail back"),
        ("record.create", "ValidationRule", SF, "bot", "under Setup"),
        ("meeting.schedule", "Event", "", "bot", "was not named"),
        ("meeting.schedule", "Event", SF, "nameless", r"agents\.nameless\.crm_user is not named"),
        ("meeting.schedule", "Event", SF, "unknown", r"agents\.unknown\.crm_user is not named"),
        ("meeting.schedule", "Event", "x' OR Id != '", "bot", "no table of crm has ids of this form"),
    ],
)
def test_what_can_not_be_cancelled_says_why(action: str, what: str, id_: str, agent: str, said: str) -> None:
    with pytest.raises(NotPossible, match=said):
        plan(action, what, id_, agent, parse_settings(TOML, {}))


def test_two_crms_that_could_hold_it_are_not_guessed_between() -> None:
    second = TOML + '[crm.sf2]\nkind = "salesforce"\nurl = "https://b.example"\ntoken = "x"\n'
    with pytest.raises(NotPossible, match="sf, sf2 could hold it"):
        plan("meeting.schedule", "Event", SF, "bot", parse_settings(second, {}))


def test_only_what_nobody_else_has_touched_is_the_agents_own() -> None:
    effect = Effect(kind="meeting", record_id=SF, made_by=MINE)
    check_own(effect, MINE, MINE)
    for users in ((MINE, "0055g00000other"), (None, MINE), (MINE, "")):
        with pytest.raises(NotPossible, match="left as it is"):
            check_own(effect, *users)

"""What the example says, and the lines that would allow what it refuses."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from msgspec.structs import replace

from governance.policy import Ask, Facts, load, rule_on
from governance.policy.cases import run, untested
from governance.policy.rules import RULE_NAMES
from governance.policy.worst import observed_level
from tests.unit.governance.policy.policies import WINDOWS, example, texts

LOADED = example()
KNOWN = Facts(
    first_contact=False, authorizer="active", acts_for=("*",), consent="granted", **dict.fromkeys(WINDOWS, 1)
)  # fmt: skip


def ask(agent_id: str = "enrich-bot", action: str = "record.enrich", **more: Any) -> Ask:
    given: dict[str, Any] = {"object": "Account", "fields": ("Industry",), "trigger": "prompt"}
    return Ask(agent_id=agent_id, action=action, **{**given, **more})


def test_each_case_of_the_example_is_met() -> None:
    results = run(LOADED.policy, LOADED.cases)
    assert [(one.place, one.ruling.verdict, one.ruling.rule) for one in results if not one.is_met] == []


def test_each_line_of_the_example_has_a_case() -> None:
    assert untested(LOADED.policy, run(LOADED.policy, LOADED.cases)) == []


def test_each_rule_decides_at_least_one_case_of_the_example() -> None:
    deciding = {case.rule for _, case in LOADED.cases}
    assert set(RULE_NAMES) - deciding == set()


def test_a_line_without_a_case_is_named() -> None:
    assert untested(LOADED.policy, run(LOADED.policy, LOADED.cases[:3]))[:2] == [
        'actions."call.record"', 'actions."call.summarize"',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("trigger", "ref", "is_authorized", "is_approved", "level"),
    [
        ("prompt", "", True, False, 1),
        ("prompt", "", False, False, 4),
        ("rule", "flow:x", False, False, 2),
        ("rule", "flow:y", True, False, 4),
        ("schedule", "flow:x", True, True, 2),
        ("agent", "flow:x", True, False, 4),
        ("none", "", True, True, 3),
        (None, "", True, False, 4),
    ],
)
def test_levels_are_those_that_were_seen(
    trigger: str | None, ref: str, is_authorized: bool, is_approved: bool, level: int
) -> None:
    assert observed_level(trigger, ref, is_authorized, is_approved, frozenset({"flow:x"})) == level


def test_reading_above_its_level_is_allowed_and_said() -> None:
    ruling = rule_on(LOADED.policy, ask("stage-sync", "record.read", object="Opportunity", trigger=None), KNOWN)
    assert (ruling.verdict, ruling.level, ruling.is_above_level) == ("autonomous", 4, True)


def test_a_ruling_names_version_level_approvers_and_who_is_told() -> None:
    question = ask("lead-router", "owner.reassign", object="Lead", fields=None)
    ruling = rule_on(LOADED.policy, question, KNOWN)
    assert (ruling.policy, ruling.level, ruling.approval, ruling.routes) == (
        LOADED.policy.hash, 1, "two", ("revops",),
    )  # fmt: skip
    assert (ruling.rule, ruling.path) == ("owner_reassignment", "exclusions.owner_reassignment")
    assert ruling.allows == ""


@pytest.mark.parametrize(
    ("question", "facts", "lines"),
    [
        (ask("new"), {}, '[agents.new]\nrole = ""   # what it may do\nowner = ""  # who answers for it'),
        (ask("old-importer"), {}, '[agents.old-importer]\nmode = "active"'),
        (
            ask("stage-sync", "record.enrich", object="Opportunity"), {},
            '[roles.deal-keeper]\nactions = ["record.create", "record.read", "record.update", "record.enrich"]',
        ),
        (ask(object="Lead"), {}, '[scopes.accounts]\nobjects = ["account", "contact", "Lead"]'),
        (
            ask(fields=("Fax",)), {},
            '[scopes.accounts]\nfields = ["account.industry", "account.numberofemployees", "account.website", '
            '"contact.phone", "contact.title", "Account.Fax"]',
        ),
        (
            ask("stage-sync", "record.update", object="Opportunity", fields=("StageName",), trigger="rule",
                trigger_ref="flow:y"),
            {}, '[roles.deal-keeper]\ntriggers = ["flow:stage-sync", "flow:y"]',
        ),
        (
            ask("call-notes", "note.create", object="Note", fields=None, trigger="schedule"), {},
            "[agents.call-notes]\nlevel = 4",
        ),
        (ask(records=60), {}, '[actions."record.enrich"]\nat_most = 60'),
        (ask(records=201), {}, ""),
        (ask(), {"records_day": 1001}, "[budgets.many]\nrecords_per_day = 1001"),
        (ask(), {"records_day": 1001, "divisor": 10}, ""),
        (ask(), {"authorizer": "unknown"}, ""),
        (ask(), {"records_of_all": 2501}, "[ceiling]\nrecords_per_day = 2501"),
        (ask(), {"records_of_all": None}, ""),
        (
            ask("quote-helper", "quote.create", object="Quote", fields=("Name",)), {},
            '[actions."quote.create"]\nleast = "autonomous"',
        ),
        (
            ask("stage-sync", "record.create", object="Opportunity", fields=("NextStep",), records=6), {},
            '[delegation.reversible.downstream]\nmany = "autonomous"',
        ),
        (ask("enrich-bot", "record.merge", fields=None), {}, ""),
        (
            ask("enrich-bot", "record.merge", fields=None), {"acts_for": ("sami", "role:nobody")},
            '[rights.new]\npeople = ["sami"]\nactions = ["record.merge"]\nscopes = []  # where',
        ),
        (
            ask("call-notes", "call.record", object="Call", fields=None), {"acts_for": ("sami", "role:viewer")},
            '[rights.sellers]\nactions = ["call.summarize", "email.draft", "email.send", "meeting.schedule", '
            '"note.create", "quote.create", "record.create", "record.enrich", "record.read", "record.update", '
            '"task.create", "call.record"]',
        ),
    ],
)  # fmt: skip
def test_a_refusal_comes_with_the_lines_that_would_allow_it(question: Ask, facts: dict[str, Any], lines: str) -> None:
    ruling = rule_on(LOADED.policy, question, replace(KNOWN, **facts))
    assert ruling.verdict != "autonomous"
    assert ruling.allows == lines
    tomllib.loads(ruling.allows)


SEGMENTS = """format = 1
max_level = 1
[delegation.reversible]
record = { one = "autonomous" }
[actions."record.update"]
reversibility = "reversible"
blast_radius = "record"
[scopes.small]
objects = ["Lead"]
fields = ["Lead.*"]
segments = ["smb"]
owners = ["user:jo"]
[budgets.b]
records_per_10_min = 9
records_per_day = 9
[approvals.a]
approvers = ["jo"]
[roles.r]
actions = ["record.update"]
scopes = ["small"]
budget = "b"
approval = "a"
[agents.router]
role = "r"
owner = "lea"
"""


@pytest.mark.parametrize(
    ("segments", "owners", "why", "lines"),
    [
        (("smb",), ("user:jo",), "", None),
        (("smb", "key"), ("user:jo",), "the segment “key” is outside its scope", 'segments = ["smb", "key"]'),
        (("SMB",), ("user:lea",), "the owner “user:lea” is outside its scope", 'owners = ["user:jo", "user:lea"]'),
        (None, ("user:jo",), "it is not known which segment this concerns, and its scope is limited there", None),
        (("smb",), None, "it is not known which owner this concerns, and its scope is limited there", None),
    ],
)  # fmt: skip
def test_a_scope_may_name_segments_and_owners_and_what_is_not_known_is_outside(
    segments: Any, owners: Any, why: str, lines: str | None
) -> None:
    policy = load("policy.toml", texts(SEGMENTS)).policy
    question = ask("router", "record.update", object="lead", fields=("X",), segments=segments, owners=owners)
    ruling = rule_on(policy, question, KNOWN)
    if not why:
        assert ruling.verdict == "autonomous"
    else:
        assert (ruling.verdict, ruling.rule, ruling.why) == ("human_only", "scope", why)
        assert ruling.allows == (f"[scopes.small]\n{lines}" if lines else "")


RIGHTS = (
    SEGMENTS.replace('segments = ["smb"]\nowners = ["user:jo"]\n', "")
    + """
[scopes.own]
objects = ["Lead"]
fields = ["Lead.Phone"]
[rights.few]
people = ["jo"]
actions = ["record.update"]
scopes = ["own"]
[rights.many]
people = ["role:manager"]
actions = ["record.update"]
scopes = ["own", "small"]
"""
)


@pytest.mark.parametrize(
    ("names", "field", "why", "lines"),
    [
        (("jo", "role:viewer"), "Phone", "", ""),
        (("max", "role:manager"), "Fax", "", ""),
        (
            ("jo", "role:viewer"), "Fax",
            "“jo”, for whom it acts, may not either: it may not change the field “Lead.fax”",
            '[scopes.own]\nfields = ["lead.phone", "Lead.Fax"]',
        ),
        (
            ("max", "role:viewer"), "Phone", "no table names “max”, for whom it acts",
            '[rights.new]\npeople = ["max"]\nactions = ["record.update"]\nscopes = []  # where',
        ),
        ((), "Phone", "no table names nobody known, for whom it acts", None),
    ],
)  # fmt: skip
def test_an_agent_may_at_most_what_the_person_may_for_whom_it_acts(
    names: tuple[str, ...], field: str, why: str, lines: str | None
) -> None:
    policy = load("policy.toml", texts(RIGHTS)).policy
    question = ask("router", "record.update", object="Lead", fields=(field,))
    ruling = rule_on(policy, question, replace(KNOWN, acts_for=names))
    if not why:
        assert ruling.verdict == "autonomous"
    else:
        assert (ruling.verdict, ruling.rule, ruling.why) == ("human_only", "rights", why)
        assert lines is None or ruling.allows == lines


def test_who_refused_is_reached_by_people_alone_whatever_the_file_says() -> None:
    question = ask("outreach-drafter", "meeting.schedule", object="Contact", fields=None, recipients=1, system="gmail")
    verdicts = [
        (each, rule_on(LOADED.policy, question, replace(KNOWN, consent=each)).verdict)
        for each in ("granted", "unknown", "refused")
    ]
    assert verdicts == [("granted", "autonomous"), ("unknown", "approval"), ("refused", "human_only")]


def test_a_throttled_agent_has_a_tenth_and_at_least_one() -> None:
    assert rule_on(LOADED.policy, ask(), replace(KNOWN, records_10_min=20, divisor=10)).verdict == "autonomous"
    slowed = rule_on(LOADED.policy, ask(), replace(KNOWN, records_10_min=21, divisor=10))
    assert (slowed.rule, slowed.why) == ("budget", "this would make 21; at most 20 records in 10 minutes")


def test_names_that_do_not_print_stay_inside_of_their_quotes() -> None:
    ruling = rule_on(LOADED.policy, ask('x"]\n[agents.enrich-bot]\nlevel = 4 #', "record.read"), KNOWN)
    assert list(tomllib.loads(ruling.allows)["agents"]) == ['x"]\n[agents.enrich-bot]\nlevel = 4 #']


def test_field_names_that_an_agent_invents_are_shown_short_and_never_proposed() -> None:
    ruling = rule_on(LOADED.policy, ask(fields=("x\u202e\x1b" + "y" * 10_000,)), KNOWN)
    assert (ruling.rule, ruling.allows) == ("scope", "")
    assert ruling.why.isprintable()
    assert len(ruling.why) < 200
    many = rule_on(LOADED.policy, ask(fields=tuple(f"f{number}" for number in range(51))), KNOWN)
    assert (many.rule, many.allows) == ("scope", "")

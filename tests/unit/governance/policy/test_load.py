"""Reading a policy: each mistake is named with its place and its cure; what is meant decides the version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from governance.policy import Known, Policy, PolicyError, Unreadable, load
from tests.unit.governance.policy.policies import EXAMPLE, FIXTURES, example, folder, texts

MISTAKES = sorted(FIXTURES.glob("*.toml"))
KNOWN = Known(people={"jo", "tomas", "lea"}, targets={"revops-chat"})
MAIN = (EXAMPLE / "policy.toml").read_text(encoding="utf-8")
TEAM = (EXAMPLE / "teams" / "outreach.toml").read_text(encoding="utf-8")


def example_with(old: str, new: str, in_team: bool = False) -> Policy:
    main, team = (MAIN, TEAM.replace(old, new)) if in_team else (MAIN.replace(old, new), TEAM)
    assert (main, team) != (MAIN, TEAM)
    return load("policy.toml", texts(main, teams__outreach=team)).policy


@pytest.mark.parametrize("file", MISTAKES, ids=lambda file: file.stem)
def test_each_mistake_is_named_with_its_place_and_what_would_be_right(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    wanted = [line.removeprefix("# ") for line in text.splitlines() if re.match(r"# \S+\.toml: ", line)]
    read = folder(FIXTURES)
    with pytest.raises(PolicyError) as caught:
        load("policy.toml", lambda name: text if name == "policy.toml" else read(name), KNOWN)
    assert str(caught.value).splitlines() == wanted
    assert len(wanted) == 1
    assert caught.value.problems[0].hint


def test_there_are_forty_of_them() -> None:
    assert len(MISTAKES) >= 40


def test_all_mistakes_are_told_at_once() -> None:
    text = "format = 1\nmax_level = 9\nmode = 'of'\n[agents.a]\nrole = 'r'\n[bulk]\nrecords = 0\n"
    with pytest.raises(PolicyError) as caught:
        load("policy.toml", texts(text))
    assert [problem.path for problem in caught.value.problems] == [
        "max_level", "mode", "agents.a.owner", "bulk.records",
    ]  # fmt: skip


def test_what_follows_from_a_mistake_is_not_told_as_another() -> None:
    text = (
        "format = 1\n[budgets.b]\nrecords_per_day = -5\nrecords_per_10_min = 5\n"
        "[roles.r]\nactions = ['record.read']\nscopes = ['s']\nbudget = 'b'\n[scopes.s]\nobjects = ['Lead']\n"
        "[agents.a]\nrole = 'r'\nowner = 'o'\n"
    )
    with pytest.raises(PolicyError) as caught:
        load("policy.toml", texts(text))
    assert [problem.path for problem in caught.value.problems] == ["budgets.b.records_per_day", "roles.r.approval"]


def test_names_of_people_and_targets_are_looked_up_where_they_are_known() -> None:
    with pytest.raises(PolicyError) as caught:
        load("policy.toml", folder(EXAMPLE), Known(people={"tomas", "sami", "jo", "ines", "leah"}, targets=set()))
    assert {str(problem) for problem in caught.value.problems} == {
        "policy.toml: routes.revops.targets[0]: no notification target is called 'log'; define it first",
        "teams/outreach.toml: agents.outreach-trial.owner: no person is called 'lea'; did you mean leah?",
    }


@pytest.mark.parametrize(
    "path",
    ["../x.toml", "a/../../x.toml", "/x.toml", "~/x.toml", "c:x.toml", "a\\x.toml", "./x.toml", "a//x.toml", "x.txt",
     "a\u202ex.toml", ".."],
)  # fmt: skip
def test_no_include_is_read_from_outside_of_the_folder(path: str) -> None:
    asked = []

    def read(name: str) -> str:
        asked.append(name)
        return f'format = 1\n[[include]]\nfile = {path!r}\nroles = ["r"]\n' if name == "p.toml" else ""

    with pytest.raises(PolicyError):
        load("p.toml", read)
    assert asked == ["p.toml"]


def test_includes_are_bounded_in_number_and_depth() -> None:
    def deeper(name: str) -> str:
        number = int(name.removesuffix(".toml")[1:])
        return f'format = 1\n[[include]]\nfile = "p{number + 1}.toml"\nroles = ["r"]\n'

    with pytest.raises(PolicyError) as caught:
        load("p0.toml", deeper)
    assert "too deep" in str(caught.value)


def test_a_file_that_is_too_large_or_that_nobody_may_read_is_a_mistake_in_words() -> None:
    def refuse(name: str) -> str:
        raise Unreadable("it belongs to somebody else")

    with pytest.raises(PolicyError, match=r"policy\.toml: can't be read: it belongs to somebody else"):
        load("policy.toml", refuse)
    with pytest.raises(PolicyError, match="more than 2,000,000 characters"):
        load("policy.toml", texts("#" * 2_000_001))


def test_a_team_only_takes_away() -> None:
    grant = example().policy.agents["outreach-drafter"]
    assert (grant.level, {limits.path for limits in grant.limits}) == (2, {"budgets.few"})
    assert example_with('mode = "approval"', 'mode = "read_only"', in_team=True).agents["outreach-trial"].mode == (
        "read_only"
    )
    off = example_with("format = 1", 'format = 1\nmode = "off"', in_team=True)
    assert {grant.mode for name, grant in off.agents.items() if name.startswith("outreach")} == {"off"}
    assert off.agents["enrich-bot"].mode == "active"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# The autonomy policy", "# Another comment"),
        ('["record.read", "email.*", "meeting.schedule"]', '["meeting.schedule", "record.read", "email.*"]'),
        ('organisation = "Nordhaven"', 'organisation = "Südhaven"'),
        ('why = "and no other"', 'why = "only this"'),
        ("[approvals.two]\n", "\n[approvals.two]   \n"),
    ],
    ids=["comment", "order", "name", "case", "blank"],
)  # fmt: skip
def test_what_means_the_same_has_the_same_version(old: str, new: str) -> None:
    assert example_with(old, new).hash == example().policy.hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("records = 20\n", "records = 19\n"),
        ('mode = "active"', 'mode = "read_only"'),
        ('call_recording = "human_only"', 'call_recording = "approval"'),
        ("people = 2", "people = 1"),
        ('targets = ["log"]', 'targets = ["revops-mail"]'),
        ('"Contact.Phone"]', '"Contact.Mobile"]'),
        ("contacts_per_day = 80", "contacts_per_day = 81"),
        ('triggers = ["flow:new-lead"]', 'triggers = ["flow:lead"]'),
        ("few = 10\n", "few = 11\n"),
        ('kind = "deal_value"', 'kind = "price"'),
    ],
)
def test_what_means_something_else_has_another_version(old: str, new: str) -> None:
    text = MAIN.replace(old, new, 1)
    assert text != MAIN
    loaded = re.sub(r"\[\[cases\]\].*", "", text, flags=re.DOTALL)
    assert load("policy.toml", texts(loaded, teams__outreach=TEAM)).policy.hash != example().policy.hash

"""``tripline policy``: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from console.cli import checks, main
from governance.settings import Settings, parse_settings
from streams.policies import EXAMPLE, load_file

BAD = 'format = 1\nmode = "of"\n[agents.a]\nrole = "r"\n'


def tripline(*args: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, ("policy", *args), env={"TRIPLINE_POLICY_FILE": None, **(env or {})})


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The example, to be changed."""
    (tmp_path / "teams").mkdir()
    for path in (EXAMPLE, EXAMPLE.parent / "teams" / "outreach.toml"):
        (tmp_path / path.relative_to(EXAMPLE.parent)).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path / "policy.toml"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_check_names_every_mistake_and_ends_with_1(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(BAD)
    told = tripline("check", str(path))
    assert told.exit_code == 1
    assert told.output.splitlines() == [
        "Error: p.toml: mode: may not be 'of'; did you mean off?",
        'p.toml: agents.a.owner: is missing; add owner = "…"',
    ]
    as_json = tripline("check", str(path), "--json")
    assert as_json.exit_code == 1
    assert [(one["path"], one["hint"]) for one in json.loads(as_json.output)["problems"]] == [
        ("mode", "did you mean off?"),
        ("agents.a.owner", 'add owner = "…"'),
    ]


def test_check_takes_the_example_when_none_is_named_and_the_variable_before_that(tmp_path: Path) -> None:
    told = tripline("check", "--json")
    assert (told.exit_code, json.loads(told.output)["files"]) == (0, ["policy.toml", "teams/outreach.toml"])
    assert "9 agents" not in told.output
    assert tripline("check", env={"TRIPLINE_POLICY_FILE": str(tmp_path / "none.toml")}).exit_code == 1
    assert "no mistakes. Version " + load_file(EXAMPLE).policy.short in tripline("check").output


def test_check_looks_up_names_in_the_settings(tmp_path: Path) -> None:
    config = tmp_path / "tripline.toml"
    config.write_text("[notifications]\nlog = false\n[people.jo]\n[people.ines]\n[people.lea]\n[people.sami]\n")
    told = tripline("check", "--config", str(config))
    assert told.exit_code == 1
    assert "no person is called 'tomas'" in told.output
    assert "no notification target is called 'log'" in told.output


def test_explain_prints_the_decision_each_rule_and_the_lines_that_would_allow_it() -> None:
    told = tripline("explain", "stage-sync", "record.create", "--object", "Opportunity", "--field", "NextStep",
                    "--records", "6")  # fmt: skip
    assert told.exit_code == 0
    lines = told.output.splitlines()
    assert lines[0] == "stage-sync, record.create: needs an approval (approval)"
    assert lines[1].startswith("  because of delegation.reversible.downstream.many: ")
    rules = ("agent", "mode", "action", "scope", "authorizer", "level", "size", "budget", "delegation")
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in rules] == list(rules)
    assert '[delegation.reversible.downstream]\nmany = "autonomous"' in told.output


def test_explain_as_json_holds_the_same() -> None:
    told = json.loads(tripline("explain", "nobody", "record.read", "--json").output)
    assert (told["verdict"], told["rule"], told["policy"]) == ("human_only", "agent", load_file(EXAMPLE).policy.hash)
    assert told["allows"].startswith("[agents.nobody]")


def test_names_that_do_not_print_are_shown_harmless() -> None:
    told = tripline("explain", "a\u202eb\x1b[31m", "record.read")
    assert "\u202e" not in told.output
    assert "\x1b" not in told.output


def test_diff_says_what_widens_and_its_exit_code_shows_it(copied: Path) -> None:
    assert tripline("diff", str(EXAMPLE), str(copied)).exit_code == 0
    change(copied, "\npeople = 2", "\npeople = 1")
    told = tripline("diff", str(EXAMPLE), str(copied))
    assert (told.exit_code, told.output.split()[2:5]) == (4, ["widens", "approvals.two.people", "two,"])
    back = tripline("diff", str(copied), str(EXAMPLE), "--json")
    assert (back.exit_code, json.loads(back.output)["widens"]) == (0, False)
    copied.write_text(BAD)
    assert tripline("diff", str(EXAMPLE), str(copied)).exit_code == 1


def test_test_runs_the_cases_and_says_which_is_not_met(copied: Path) -> None:
    assert tripline("test", "--strict").exit_code == 0
    change(copied, "\npeople = 2", "\npeople = 1")
    assert tripline("test", str(copied)).exit_code == 0
    change(copied, 'call_recording = "human_only"', 'call_recording = "approval"')
    told = tripline("test", str(copied))
    assert told.exit_code == 1
    assert "expected human_only by call_recording, got approval by call_recording" in told.output
    as_json = json.loads(tripline("test", str(copied), "--json").output)
    assert [case["expected"]["rule"] for case in as_json["missed"]] == ["call_recording"]


def test_test_names_lines_without_a_case_and_fails_for_them_only_when_strict(copied: Path) -> None:
    text = copied.read_text(encoding="utf-8")
    copied.write_text(text.partition("[[cases]]")[0], encoding="utf-8")
    told = tripline("test", str(copied))
    assert told.exit_code == 0
    assert 'No case reaches: actions."call.record"' in told.output
    assert tripline("test", str(copied), "--strict").exit_code == 1


def test_a_link_that_leads_out_of_the_folder_is_not_followed(
    copied: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "team.toml"
    elsewhere.write_text("format = 1\n")
    team = copied.parent / "teams" / "outreach.toml"
    team.unlink()
    team.symlink_to(elsewhere)
    told = tripline("check", str(copied))
    assert told.exit_code == 1
    assert "teams/outreach.toml: can't be read: it lies outside of the policy's folder" in told.output


@pytest.mark.parametrize("name", ["", "check", "explain", "diff", "test"])
def test_help_has_examples(name: str) -> None:
    told = tripline(*([name] if name else []), "--help")
    assert told.exit_code == 0
    assert "tripline policy " in told.output.partition("Example")[2]


def settings_for(policy: Path, more: str = "") -> Settings:
    people = "".join(f"[people.{name}]\n" for name in ("tomas", "sami", "jo", "ines", "lea"))
    return parse_settings(f'{people}[policy]\nfile = "{policy}"\n{more}')


def test_doctor_says_what_is_wrong_with_the_policy_and_which_agents_the_settings_do_not_know(copied: Path) -> None:
    assert list(checks.policy(parse_settings(""))) == []
    (unknown,) = checks.policy(settings_for(copied, "[agents.enrich-bot]\n[agents.stage-sync]\n"))
    assert (unknown.status, unknown.message) == (
        "warning",
        "the settings do not know its agents call-notes, enrich-trial, lead-router, old-importer, outreach-drafter: "
        "the gate refuses them",
    )
    (fine,) = checks.policy(settings_for(copied, '[gate]\nunknown_agents = "allow"'))
    assert (fine.status, fine.message) == ("ok", f"version {load_file(copied).policy.short}, 9 agents")
    change(copied, 'mode = "active"', 'mode = "of"')
    (wrong,) = checks.policy(settings_for(copied))
    assert (wrong.status, wrong.message) == (
        "problem", "1 mistake, the first: policy.toml: mode: may not be 'of'; did you mean off?",
    )  # fmt: skip


def test_standalone_does_not_start_with_a_policy_that_has_mistakes(copied: Path) -> None:
    config = copied.parent / "tripline.toml"
    config.write_text(f'[policy]\nfile = "{copied}"\n')
    args = ("standalone", "--port", "0", "--config", str(config), "--data-dir", str(copied.parent / "data"))
    told = CliRunner().invoke(main, args)
    assert told.exit_code == 1
    assert "policy.toml: agents.enrich-bot.owner: no person is called 'tomas'; define it first" in told.output

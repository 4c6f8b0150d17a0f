"""The policy in force follows its files."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.policy import Ask, Facts, PolicyError, rule_on
from governance.settings import parse_settings
from streams import policies
from streams.policies import EXAMPLE, PolicyInForce


@pytest.fixture
def main(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE.parent, tmp_path / "policy")
    return tmp_path / "policy" / "policy.toml"


def in_force(path: Path, poll_secs: float = 3600) -> PolicyInForce:
    people = "".join(f"[people.{name}]\n" for name in ("tomas", "sami", "jo", "ines", "lea"))
    return PolicyInForce(parse_settings(f'{people}[policy]\nfile = "{path}"\npoll_secs = {poll_secs}'))


def loaded(path: Path) -> PolicyInForce:
    found = in_force(path)
    found.load()
    return found


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def version(of: PolicyInForce) -> str:
    assert of.policy is not None
    return of.policy.hash


def test_the_two_examples_fit_each_other() -> None:
    text = (Path(__file__).parents[3] / "docs" / "examples" / "tripline.toml").read_text(encoding="utf-8")
    found = PolicyInForce(parse_settings(f'{text}\n[policy]\nfile = "{EXAMPLE}"'))
    found.load()
    assert found.policy is not None
    assert len(found.policy.agents) == 9


def test_without_a_file_there_is_no_policy() -> None:
    found = PolicyInForce(parse_settings(""))
    found.load()
    found.look()
    found.start()
    found.stop()
    assert (found.policy, found.trouble) == (None, "")


def test_before_it_is_loaded_nothing_is_allowed(main: Path) -> None:
    found = in_force(main)
    assert found.policy is not None
    ask = Ask(agent_id="enrich-bot", action="record.read", object="Account", trigger="prompt")
    assert rule_on(found.policy, ask, Facts(authorizer="active")).verdict == "human_only"


def test_it_does_not_load_with_mistakes_also_those_against_the_settings(main: Path) -> None:
    change(main, 'owner = "tomas"', 'owner = "thomas"')
    with pytest.raises(PolicyError, match="no person is called 'thomas'; did you mean tomas"):
        in_force(main).load()


@pytest.mark.parametrize("file", ["policy.toml", "teams/outreach.toml"])
def test_a_change_of_any_of_its_files_is_taken_over(main: Path, file: str) -> None:
    found = loaded(main)
    before = version(found)
    change(main.parent / file, "level = 1\n", "level = 1\nmode = 'off'\n" if file == "policy.toml" else "")
    if file != "policy.toml":
        change(main.parent / file, 'mode = "approval"', 'mode = "off"')
    found.look()
    assert (version(found) != before, found.trouble) == (True, "")


def test_a_change_that_means_nothing_leaves_the_version(main: Path) -> None:
    found = loaded(main)
    before = found.policy
    change(main, "# The autonomy policy", "# Our autonomy policy")
    found.look()
    assert found.policy is before


@pytest.mark.parametrize("how", ["mistake", "no file", "no team", "no text"])
def test_a_bad_version_leaves_the_old_one_in_force_and_says_so(main: Path, how: str) -> None:
    found = loaded(main)
    before, text = found.policy, main.read_text(encoding="utf-8")
    if how == "mistake":
        change(main, "format = 1", "format = 1\nlevle = 2")
    elif how == "no file":
        main.unlink()
    elif how == "no team":
        (main.parent / "teams" / "outreach.toml").rename(main.parent / "elsewhere.toml")
    else:
        main.write_bytes(b"\xff\xfe")
    found.look()
    assert found.policy is before
    assert f"{version(found)[:12]} stays in force" in found.trouble
    main.write_text(text, encoding="utf-8")
    if how == "no team":
        (main.parent / "elsewhere.toml").rename(main.parent / "teams" / "outreach.toml")
    found.look()
    assert (version(found), found.trouble) == (version(loaded(main)), "")


def test_what_changes_while_it_is_read_is_read_again(main: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, real = loaded(main), policies._read
    before = found.policy

    def slow(folder: Path, path: Path, *, is_main: bool) -> str:
        text = real(folder, path, is_main=is_main)
        if path.name == "outreach.toml":  # the main file was read before
            change(main, "records = 10\n", "records = 9\n")
        return text

    change(main, "records = 20\n", "records = 10\n")
    monkeypatch.setattr(policies, "_read", slow)
    found.look()
    assert found.policy is before
    monkeypatch.setattr(policies, "_read", real)
    found.look()
    assert found.policy is not None
    assert found.policy.bulk.records == 9


def test_it_looks_by_itself(main: Path) -> None:
    found = in_force(main, 0.05)
    found.load()
    before, changed = version(found), threading.Event()
    found.start()
    try:
        change(main, "records = 20\n", "records = 10\n")
        assert until(lambda: version(found) != before, changed)
    finally:
        found.stop()


def until(is_so: Callable[[], bool], pause: threading.Event, tries: int = 200) -> bool:
    return any(is_so() or pause.wait(0.05) for _ in range(tries)) and is_so()

"""``tripline policy``: check, explain, compare and test an autonomy policy. These need no server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli.common import PROBLEM, REFUSED, F, Failed, load_settings, print_json, print_table
from console.cli.policy_people import COMMANDS
from console.text import plain

if TYPE_CHECKING:
    from governance.policy import Loaded, Ruling
    from governance.policy.cases import Result
    from governance.policy.shape import Case

_FILE = click.Path(dir_okay=False, path_type=Path)
_WORDS = {"autonomous": "may do it by itself", "approval": "needs an approval", "human_only": "may not: people only"}
EPILOG = """\b
Examples:
  tripline policy check policy.toml
  tripline policy test policy.toml
  tripline policy explain outreach-drafter email.send --recipients 3
  tripline policy diff policy.toml wider.toml

\b
Without a file: TRIPLINE_POLICY_FILE, else the example that comes with Tripline.
"""


@click.group("policy", epilog=EPILOG)
def command() -> None:
    """What each agent may do by itself, what needs an approval, and what is for people alone."""


for one in COMMANDS:
    command.add_command(one)


def file_option(function: F) -> F:
    """--policy."""
    option = click.option("--policy", "file", envvar="TRIPLINE_POLICY_FILE", type=_FILE, help="The policy's file.")
    return option(function)


def json_option(function: F) -> F:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


file_argument: Callable[[F], F] = click.argument("file", envvar="TRIPLINE_POLICY_FILE", type=_FILE, required=False)


@command.command(
    epilog="\b\nExamples:\n  tripline policy check policy.toml\n"
    "  tripline policy check policy.toml --config tripline.toml"
)
@file_argument
@click.option(
    "--config",
    envvar="TRIPLINE_CONFIG",
    type=click.Path(dir_okay=False),
    help="Also look up people and notification targets in these settings.",
)
@json_option
def check(file: Path | None, config: str | None, as_json: bool) -> None:
    """Say every mistake, with its place and what would be right. Exit code 1 when there is one."""
    from governance.policy import PolicyError
    from streams.policies import known_to, load_file

    path, known = path_of(file), known_to(load_settings(config)) if config else None
    try:
        loaded = load_file(path, known)
    except PolicyError as problem:
        if not as_json:
            raise Failed(str(problem)) from None
        print_json({"ok": False, "problems": problem.problems})
        raise click.exceptions.Exit(PROBLEM) from None
    if as_json:
        print_json({"ok": True, "policy": loaded.policy.hash, "files": loaded.files, "agents": loaded.policy.agents})
        return
    click.echo(f"{path}: no mistakes. Version {loaded.policy.short}, {len(loaded.files)} files.")
    print_table(
        ("agent", "role", "level", "mode", "owner", "actions"),
        [
            (name, grant.role, grant.level, grant.mode, grant.owner, ", ".join(sorted(grant.actions)))
            for name, grant in sorted(loaded.policy.agents.items())
        ],
        "It names no agents, so nothing is allowed.",
        right=("level",),
    )


@command.command(
    epilog="\b\nExamples:\n  tripline policy explain outreach-drafter email.send --recipients 1 --system gmail\n"
    "  tripline policy explain stage-sync record.update --object Opportunity --field Amount --records 4\n"
    "  tripline policy explain stage-sync record.update --object Opportunity --trigger rule:flow:stage-sync"
)
@click.argument("agent_id")
@click.argument("action")
@file_option
@click.option("--object", "object_", default="", help="The kind of record.")
@click.option("--field", "fields", multiple=True, help="A field that it changes; may be repeated.")
@click.option("--records", default=1, show_default=True, type=click.IntRange(0, 10_000), help="Records at once.")
@click.option("--recipients", default=0, show_default=True, type=click.IntRange(0, 10_000), help="People at once.")
@click.option("--records-in-10-min", default=0, type=click.IntRange(0), help="Records in 10 minutes, with these.")
@click.option("--contacts-in-10-min", default=0, type=click.IntRange(0), help="People in 10 minutes, with these.")
@click.option(
    "--records-of-all", default=0, type=click.IntRange(0), help="Records of all agents in 24 hours, with these."
)
@click.option(
    "--contacts-of-all", default=0, type=click.IntRange(0), help="People of all agents in 24 hours, with these."
)
@click.option("--first-contact", is_flag=True, help="Nobody wrote to one of them before.")
@click.option("--trigger", default="prompt", show_default=True, help="prompt, rule:REF, schedule:REF, event:REF, none.")
@click.option("--authorizer", type=click.Choice(["active", "inactive", "unknown"]), default="active", show_default=True)
@click.option("--acts-for", multiple=True, default=["*"], help="A person, or role:NAME; may be repeated.")
@click.option("--consent", type=click.Choice(["granted", "unknown", "refused"]), default="granted", show_default=True)
@click.option("--approved", is_flag=True, help="A person approved it.")
@click.option("--system", default="", help="The CRM or other system.")
@click.option("--owner", default="", help="Who owns the records.")
@click.option("--segment", default="", help="The segment of the records.")
@json_option
def explain(
    agent_id: str, action: str, file: Path | None, object_: str, fields: Sequence[str], as_json: bool, **more: Any
) -> None:
    """Print the decision, each rule that led to it, and the lines that would allow it.

    What you don't say is taken as harmless, except the fields: these are not known then, and count as any.
    """
    from governance.policy import rule_on
    from governance.policy.cases import asked_in
    from governance.policy.shape import Case

    loaded = load_or_fail(path_of(file))
    given: dict[str, Any] = {**more, "object": object_, "fields": list(fields) if fields else None}
    given["acts_for"] = list(given["acts_for"])
    case = Case(agent=agent_id, action=action, expect="human_only", rule="agent", **given)
    ruling = rule_on(loaded.policy, *asked_in(case))
    if as_json:
        print_json(ruling)
    else:
        say(agent_id, action, ruling)


def say(agent_id: str, action: str, ruling: Ruling) -> None:
    """A ruling in words."""
    click.echo(f"{plain(agent_id)}, {plain(action)}: {_WORDS[ruling.verdict]} ({ruling.verdict})")
    click.echo(f"  because of {ruling.path}: {plain(ruling.why, 500)}")
    if ruling.approval:
        click.echo(f"  who approves: approvals.{plain(ruling.approval)}")
    if ruling.is_above_level:
        click.echo(f"  acts at level {ruling.level}, which is above its own: a finding")
    click.echo()
    print_table(
        ("rule", "allows at most", "line", "why"),
        [(step.rule, step.verdict, step.path, step.why) for step in ruling.steps],
        "",
    )
    if ruling.allows:
        click.echo(f"\nThis would lift {ruling.rule}:\n\n{plain_lines(ruling.allows)}")
    elif ruling.verdict != "autonomous":
        click.echo("\nNo line of the policy would lift this.")
    click.echo(f"\nVersion {ruling.policy[:12]}.")


@command.command(
    epilog="\b\nExample:\n  tripline policy diff policy.toml wider.toml\n\n"
    "Exit codes: 0 nothing widens, 4 something widens (a second person must agree), 1 a file has mistakes."
)
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@json_option
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Say in words what the new policy widens, and what it narrows."""
    from governance.policy.compare import compare, widens

    before, after = load_or_fail(old).policy, load_or_fail(new).policy
    changes = compare(before, after)
    if as_json:
        print_json({"old": before.hash, "new": after.hash, "widens": widens(changes), "changes": changes})
    else:
        rows = [(change.direction, change.path, change.words) for change in changes]
        print_table(("", "line", "what"), rows, f"Both mean the same: version {before.short}.")
    if widens(changes):
        raise click.exceptions.Exit(REFUSED)


@command.command(epilog="\b\nExample:\n  tripline policy test policy.toml")
@file_argument
@click.option("--strict", is_flag=True, help="Also fail when a line of the policy has no case.")
@json_option
def test(file: Path | None, strict: bool, as_json: bool) -> None:
    """Run the cases written beside the policy. Exit code 1 when one is not met."""
    from governance.policy.cases import run, untested

    loaded = load_or_fail(path_of(file))
    results = run(loaded.policy, loaded.cases)
    missed, bare = [result for result in results if not result.is_met], untested(loaded.policy, results)
    if as_json:
        told = [told_of(result) for result in missed]
        print_json({"policy": loaded.policy.hash, "cases": len(results), "missed": told, "untested": bare})
    else:
        for result in missed:
            click.echo(missed_in_words(result))
        click.echo(f"{len(results) - len(missed)} of {len(results)} cases are met. Version {loaded.policy.short}.")
        if bare:
            click.echo("No case reaches: " + plain(", ".join(bare), 10_000))
    if missed or (strict and bare):
        raise click.exceptions.Exit(PROBLEM)


def told_of(result: Result) -> dict[str, Any]:
    """A case that was not met, as JSON."""
    case, ruling = result.case, result.ruling
    return {
        "place": result.place,
        "expected": {"verdict": case.expect, "rule": case.rule},
        "got": {"verdict": ruling.verdict, "rule": ruling.rule, "path": ruling.path, "why": ruling.why},
    }


def missed_in_words(result: Result) -> str:
    """A case that was not met, in words."""
    case, ruling = result.case, result.ruling
    return plain(
        f"{result.place}: {named(case)}: expected {case.expect} by {case.rule}, got {ruling.verdict} by {ruling.rule} "
        f"({ruling.path}: {ruling.why})",
        1_000,
    )


def named(case: Case) -> str:
    """What a case is about."""
    return f"{case.agent}, {case.action}" + (f" ({case.why})" if case.why else "")


def plain_lines(text: str) -> str:
    """Lines of TOML for a terminal."""
    return "\n".join(plain(line, 2_000) for line in text.split("\n"))


def path_of(file: Path | None) -> Path:
    """The file that is meant: the one given, else the example."""
    from streams.policies import EXAMPLE

    return file if file is not None and str(file) else EXAMPLE


def load_or_fail(path: Path) -> Loaded:
    """A policy. Ends the command (exit code 1) with every mistake."""
    from governance.policy import PolicyError
    from streams.policies import load_file

    try:
        return load_file(path)
    except PolicyError as problem:
        raise Failed(str(problem)) from None

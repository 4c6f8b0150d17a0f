"""``tripline detectors mute|confirm|unmute|mutes|verdict|budget``: what people allow, and what they said was wrong."""

from __future__ import annotations

from typing import Any

import click

from console.cli.common import (
    Server,
    moment,
    person_options,
    person_server,
    print_json,
    print_table,
    segment,
    server_options,
)
from console.text import plain
from events.times import HOUR_MS

_ID = click.argument("widening_id", metavar="ID")
_WHY = click.option("--reason", required=True, help="Why; kept and shown.")


@click.command(
    epilog="""\b
Examples:
  tripline detectors mute action_rate --agent enrich-bot --for 8h --reason "import of leads" --user maya
  tripline detectors mute '*' --agent enrich-bot --since 2026-03-09T20:00:00Z --for 4h --reason "upgrade" --user maya
"""
)
@click.argument("detector")
@click.option("--agent", "agent_id", required=True, help="About which agent.")
@click.option("--for", "lasting", required=True, metavar="SPAN", help="How long: 90m, 8h, 2d; 7 days at most.")
@click.option("--since", default="", metavar="TIME", help="A maintenance window begins then, not when it is confirmed.")
@click.option("--silent", is_flag=True, help="Tell nobody either; findings are still kept.")
@_WHY
@person_options
def mute(
    detector: str,
    agent_id: str,
    lasting: str,
    since: str,
    silent: bool,
    reason: str,
    url: str,
    user: str,
    as_json: bool,
) -> None:
    """Ask that a detector (`*`: all) only tells people about an agent for a while; a second person confirms."""
    body = {
        "detector": detector,
        "hours": _span(lasting) / HOUR_MS,
        "since": since,
        "most": "none" if silent else "notify",
        "reason": reason,
    }
    _say(person_server(url, user).post(f"/v1/agents/{segment(agent_id)}/mutes", body), as_json)


@click.command(epilog="\b\nExample:\n  tripline detectors confirm 5f0c1d2e3a4b5c6d --user jo")
@_ID
@person_options
def confirm(widening_id: str, url: str, user: str, as_json: bool) -> None:
    """Confirm a mute or an expectation that another person asked for. Exit code 4: refused."""
    _say(person_server(url, user).post(f"/v1/mutes/{segment(widening_id)}/confirm", {}), as_json)


@click.command(epilog='\b\nExample:\n  tripline detectors unmute 5f0c1d2e3a4b5c6d --reason "import done" --user maya')
@_ID
@_WHY
@person_options
def unmute(widening_id: str, reason: str, url: str, user: str, as_json: bool) -> None:
    """End a mute or an expectation, or withdraw it; one person is enough."""
    _say(person_server(url, user).post(f"/v1/mutes/{segment(widening_id)}/end", {"reason": reason}), as_json)


@click.command(epilog="\b\nExample:\n  tripline detectors mutes --all")
@click.option("--all", "with_over", is_flag=True, help="Also what is over.")
@click.option("--agent", "agent_id", help="Of one agent.")
@server_options
def mutes(with_over: bool, agent_id: str | None, url: str, token: str, as_json: bool) -> None:
    """Mutes and expectations: what waits for a second person, what holds and until when."""
    told = Server(url, token).get("/v1/mutes", all="true" if with_over else "false", agent=agent_id)
    if as_json:
        print_json(told)
        return
    print_table(
        ("id", "state", "agent", "detector", "what", "until", "by", "second", "reason"),
        [
            (
                one["id"],
                one["state"],
                one["agent_id"],
                one["detector"],
                f"expected up to {one['ceiling']:g} {one['unit']}" if one["kind"] == "expected" else _muted(one),
                moment(one["until"]),
                one["by"],
                one["second"],
                one["reason"],
            )
            for one in told["mutes"]
        ],
        "Nothing is muted.",
    )


@click.command(
    epilog="""\b
Examples:
  tripline detectors verdict 8d1f… wrong --reason "the quarter's end" --user maya
  tripline detectors verdict 8d1f… expected --days 7 --reason "a weekly import" --user maya
"""
)
@click.argument("finding_id")
@click.argument("verdict", type=click.Choice(["wrong", "expected"]))
@click.option(
    "--days", type=click.FloatRange(0, 30, min_open=True), default=7.0, show_default=True, help="Expected so long."
)
@click.option(
    "--factor",
    type=click.FloatRange(1, 2),
    default=1.25,
    show_default=True,
    help="Expected up to so many times what was seen.",
)
@_WHY
@person_options
def verdict(
    finding_id: str, verdict: str, days: float, factor: float, reason: str, url: str, user: str, as_json: bool
) -> None:
    """Say that a finding was wrong, which its detector's budget bears, or expected, which a second person confirms."""
    body = {"verdict": verdict, "reason": reason, "days": days, "factor": factor}
    told = person_server(url, user).post(f"/v1/findings/{segment(finding_id)}/verdict", body)
    if verdict == "expected":
        _say(told, as_json)
    elif as_json:
        print_json(told)
    else:
        click.echo(plain(told["message"], 300))


@click.command(epilog="\b\nExample:\n  tripline detectors budget")
@server_options
def budget(url: str, token: str, as_json: bool) -> None:
    """How often detectors stopped agents wrongly, against the budget, with what the time seen proves."""
    told = Server(url, token).get("/v1/detectors/budget")
    if as_json:
        print_json(told)
        return
    click.echo(
        f"{told['agent_months']:.1f} agent-months of {told['agents']} agents in the last {told['window_days']} days; "
        f"the budget is {told['total']['budget']:g} false stops an agent-month."
    )
    print_table(
        ("detector", "budget", "allowed so far", "stops", "called wrong", "expected", "a month", "at most (95 %)", ""),
        [_budget_row(line) for line in (*told["detectors"], told["total"])],
        "No detector.",
        right=("budget", "allowed so far", "stops", "called wrong", "expected", "a month", "at most (95 %)"),
    )


def _budget_row(line: dict[str, Any]) -> tuple[str, ...]:
    return (
        line["detector"],
        f"{line['budget']:.4f}",
        f"{line['allowed']:.2f}",
        str(line["stops"]),
        str(line["wrong"]),
        str(line["expected"]),
        "–" if line["rate"] is None else f"{line['rate']:.4f}",
        "–" if line["upper"] is None else f"{line['upper']:.4f}",
        "over budget" if line["is_over"] else "",
    )


def _muted(one: dict[str, Any]) -> str:
    return "muted: nobody is told" if one["most"] == "none" else "muted: people are told"


def _span(text: str) -> int:
    from console.api.queries import span_ms
    from console.errors import Refused

    try:
        return span_ms(text, "--for")
    except Refused as problem:
        raise click.BadParameter(str(problem), param_hint="--for") from None


def _say(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    click.echo(
        f"{told['id']}: {told['kind']} of {plain(told['detector'], 80)} for {plain(told['agent_id'], 80)}, "
        f"{told['state']}, until {moment(told['until'])}. {plain(told['message'], 300)}"
    )


COMMANDS = (mute, confirm, unmute, mutes, verdict, budget)

"""The ``tripline`` command. Sub-commands are loaded when they are used, so that ``--help`` is there at once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("console.cli.demo", "Watch an agent go rogue and be stopped: simulator, engine and console."),
    "standalone": ("console.cli.standalone", "Run engine, gate and console in one process."),
    "agents": ("console.cli.agents", "List, show, suspend and release agents."),
    "detectors": ("console.cli.detectors", "Which detectors there are, and what each may do."),
    "actions": ("console.cli.actions", "What an agent did, and what was refused."),
    "deals": ("console.cli.deals", "The deals to look at."),
    "approvals": ("console.cli.approvals", "What waits for a person: list and show; answering takes the page."),
    "drill": ("console.cli.drill", "Practise the stop of a rogue agent, and measure what it still gets through."),
    "dead-letters": ("console.cli.dead_letters", "Events that could not be read: list them, try them again."),
    "policy": ("console.cli.policy", "Check, explain, compare and test the autonomy policy."),
    "import": ("console.cli.import_", "Turn other systems' files into events."),
    "replay": ("console.cli.replay", "What the engine says to a log of the past."),
    "simulate": ("console.cli.simulate", "A log of an invented sales organisation."),
    "log": ("console.cli.log", "Write the event log out."),
    "topics": ("console.cli.topics", "Make Tripline's Kafka topics, and compare them with the settings."),
    "produce": ("console.cli.produce", "Write log files to the Kafka topics."),
    "worker": ("console.cli.worker", "Run the engine on Kafka."),
    "engine": ("console.cli.engine", "Rebuild an engine beside the active one on Kafka, compare, switch."),
    "console": ("console.cli.console", "Run gate, control authority and pages on Kafka and PostgreSQL."),
    "bench": ("console.cli.bench", "The detectors' statistics on public corpora."),
    "schema": ("console.cli.schema", "Export the JSON Schemas of all events."),
    "users": ("console.cli.users", "People who may log in."),
    "tokens": ("console.cli.tokens", "API tokens of agents and event sources."),
    "proxy": ("console.cli.proxy", "Stand between an agent and its CRM, and let pass what the gate allows."),
    "doctor": ("console.cli.doctor", "Check configuration, store, ports, disk and clock."),
}

EPILOG = """\b
Examples:
  tripline demo
  tripline standalone --config tripline.toml
  tripline actions --agent enrich-bot --last 48h
  tripline agents suspend enrich-bot --reason "it writes nonsense" --user maya

\b
Exit codes: 0 done, 1 a problem, 2 wrong usage, 3 not found, 4 refused, 5 the server can't be reached.
Settings: flags, then TRIPLINE_* variables, then tripline.toml, then defaults.
"""


class LazyGroup(click.Group):
    """A group whose commands are imported by name when they are called.

    ``lazy``: by a command's name, the module that holds it (as ``command`` or by its name) and a line of help.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **more: Any) -> None:
        super().__init__(*args, **more)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which they were given."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command, and take the command out of it."""
        if cmd_name not in self.lazy:
            return None
        module: Any = import_module(self.lazy[cmd_name][0])
        name = cmd_name.replace("-", "_")
        for candidate in ("command", name, f"{name}_"):
            found = getattr(module, candidate, None)
            if isinstance(found, click.Command):
                return found
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.lazy.items()])


@click.command(cls=LazyGroup, lazy=COMMANDS, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tripline", message="%(prog)s %(version)s")
def main() -> None:
    """Live guardrails for AI agents that act in a CRM, and live risk on every open deal."""

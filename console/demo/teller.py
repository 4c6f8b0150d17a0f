"""Tells the story in the terminal: where to look, what happened, what to try."""

from __future__ import annotations

from datetime import datetime, tzinfo

import click

from console.demo.clock import DemoClock
from console.demo.organisation import PERSON, ROGUE
from console.demo.script import Demo
from console.text import plain
from storage.background import Background
from storage.read import Reader

_LOOK_SECS = 0.3
_SETTLE_SECS = 1.0


class Teller(Background):
    """A thread that watches the demo and prints."""

    def __init__(self, demo: Demo, reader: Reader, clock: DemoClock, url: str, link: str, zone: tzinfo) -> None:
        super().__init__("tripline-teller")
        self._demo = demo
        self._reader = reader
        self._clock = clock
        self._url = url
        self._link = link
        self._zone = zone

    def start(self) -> None:
        """Print where to look, then watch."""
        auto = self._demo.rogue_in_s
        when = f"by itself in {auto} s, or now by the button" if auto else "by the button"
        click.echo(
            f"""
Tripline demo: fake data, time runs ×{self._demo.speed:g}

  Look       {self._url}
  Log in     {self._link}
             (works once, as {PERSON}; needed to press buttons)

{self._time()}  Six agents at work. {ROGUE} will go rogue {when}.
          Ctrl-C ends the demo and deletes its data."""
        )
        super().start()

    def _run(self) -> None:
        was_stopped, was_rogue = False, False
        while not self._stop.wait(_LOOK_SECS):
            is_rogue = self._demo.rogue_at is not None
            if is_rogue and not was_rogue:
                click.echo(f"{self._time()}  {ROGUE} goes rogue: far too many updates, with nonsense in them.")
            if self._demo.is_stopped and not was_stopped:
                self._stop.wait(_SETTLE_SECS)
                self._say_stopped()
            if was_stopped and not self._demo.is_stopped:
                click.echo(f"{self._time()}  {ROGUE} was released and works again.")
            was_stopped, was_rogue = self._demo.is_stopped, is_rogue

    def _say_stopped(self) -> None:
        row = self._reader.agent(ROGUE, self._clock.now_ms())
        if row is None or row.stop is None:
            return
        why = row.control.reason if row.control is not None else ""
        counts = row.stop
        lines = "\n".join(f"  {line}" for line in self._demo.curl_lines)
        click.echo(
            f"""{self._time(counts.stopped_ms)}  {ROGUE} stopped: {plain(why, 300)}
          {counts.records_before} records changed before, {counts.admitted_after} admitted after, \
{counts.refused_after} refused.

You are the agent. Ask the gate, then try to release yourself:

{lines}

Only a person can release it: log in, open {self._url}/agents/{ROGUE}, give a reason.
"""
        )

    def _time(self, at_ms: int | None = None) -> str:
        moment = (self._clock.now_ms() if at_ms is None else at_ms) / 1000
        return datetime.fromtimestamp(moment, self._zone).strftime("%H:%M:%S")

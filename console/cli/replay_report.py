"""The report of a replay as one HTML file that needs nothing else: no scripts, no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from msgspec import Struct

from console.text import plain
from console.web.charts import Stop as StopMark
from console.web.charts import timeline
from console.web.words import Clock, many, number
from events.times import MINUTE_MS, parse_ms
from storage.read.types import Bin
from streams.replay.report import Rate, Report, Stop

_HERE = Path(__file__).parent.parent
DRAWN = 30
"""So many stops are drawn; the others are in the table."""


class Drawn(Struct, frozen=True):
    """A stop as the page shows it."""

    stop: Stop
    agent: str
    at: str
    sentence: str
    chart: Markup | None


def render(report: Report) -> str:
    """The page. What agents wrote is neutralised as in the console."""
    clock = Clock(parse_ms(report.last) if report.last else 0)
    page = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("replay_report.html")
    style = Markup((_HERE / "static" / "tripline.css").read_text(encoding="utf-8"))  # noqa: S704 - our own
    stops = [_drawn(stop, clock, is_drawn=place < DRAWN) for place, stop in enumerate(report.stops)]
    return page.render(
        report=report, stops=stops, style=style, headline=_headline(report), rates=_rates(report.rates),
        span=f"{_day(report.first)} to {_day(report.last)}", number=number, many=many, drawn=DRAWN,
    )  # fmt: skip


def _headline(report: Report) -> str:
    if not report.agents:
        return "No agent did anything in this time"
    if not report.stops:
        return f"Nobody would have been stopped in {report.agent_months:.1f} agent-months"
    return f"{many(len(report.stops), 'agent')} would have been stopped in {report.agent_months:.1f} agent-months"


def _rates(rates: Sequence[Rate]) -> list[dict[str, Any]]:
    return [
        {
            "detector": rate.detector.replace("_", " "),
            "asks": rate.asks,
            "findings": number(rate.findings),
            "agents": number(rate.agents),
            "rate": _bounded(rate.per_month, rate.upper),
            "settled": number(rate.settled),
            "settled_rate": _bounded(rate.settled_per_month, rate.settled_upper),
        }
        for rate in rates
    ]


def _bounded(rate: float | None, upper: float | None) -> str:
    return "–" if rate is None or upper is None else f"{_short(rate)} (≤ {_short(upper)})"


def _short(rate: float) -> str:
    return f"{rate:.3f}" if rate < 1 else f"{rate:.1f}"


def _drawn(stop: Stop, clock: Clock, *, is_drawn: bool) -> Drawn:
    name = plain(stop.agent_id, 80)
    chart = None
    if is_drawn:
        bins = [Bin(bar.start_ms, bar.actions, bar.after, bar.usual, bar.limit) for bar in stop.bars]
        near = Clock(stop.at_ms + 60 * MINUTE_MS)
        detail = f"expected {_count(stop.expected)}, limit {_count(stop.limit)}"
        mark = StopMark(stop.at_ms, f"{_count(stop.observed)} {plain(stop.unit, 40)}", detail, stop.actions_after, 0)
        chart = timeline(bins, near, name, [mark])
    return Drawn(stop, name, clock.full(stop.at_ms) + " " + clock.clock(stop.at_ms), plain(stop.sentence, 400), chart)


def _count(of: float) -> str:
    return number(round(of)) if of >= 10 or of == round(of) else f"{of:.1f}"


def _day(text: str | None) -> str:
    return "–" if text is None else text[:16].replace("T", " ")

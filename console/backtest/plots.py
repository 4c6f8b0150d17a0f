"""Plots as SVG text, drawn here: no scripts, no fonts, nothing from elsewhere. Colours are classes of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 22, 12, 38

Points = Sequence[tuple[float, float]]


class Scale(NamedTuple):
    """From values to places in the picture; ``low`` and ``high`` are the axis' ends."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value; what lies beyond an end is drawn at it."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.begin + min(1.0, max(0.0, share)) * (self.end - self.begin)


class Axes(NamedTuple):
    """A frame to draw in."""

    x: Scale
    y: Scale
    parts: list[str]


def axes(
    x: tuple[float, float],
    y: tuple[float, float],
    names: tuple[str, str],
    shown: tuple[Callable[[float], str], Callable[[float], str]],
    *,
    width: int = WIDTH,
    ticks: int = 5,
) -> Axes:
    """Axes with ticks and names; ``shown`` says how a value of each is written."""
    across = Scale(*x, LEFT, width - RIGHT)
    up = Scale(*y, HEIGHT - BOTTOM, TOP)
    parts = []
    for at in range(ticks):
        value = x[0] + (x[1] - x[0]) * at / (ticks - 1)
        parts.append(_text(across(value), HEIGHT - BOTTOM + 14, shown[0](value), "middle"))
        level = y[0] + (y[1] - y[0]) * at / (ticks - 1)
        parts.append(_line([(LEFT, up(level)), (width - RIGHT, up(level))], "grid"))
        parts.append(_text(LEFT - 5, up(level) + 3.5, shown[1](level), "end"))
    parts.append(_text((LEFT + width - RIGHT) / 2, HEIGHT - 6, names[0], "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turn = f"translate(10 {middle:.1f}) rotate(-90)"
    parts.append(f'<text class="label" text-anchor="middle" transform="{turn}">{escape(names[1])}</text>')
    return Axes(across, up, parts)


def picture(title: str, parts: Sequence[str], width: int = WIDTH) -> Markup:
    """The SVG; ``title`` is what a screen reader says."""
    inside = "".join(parts)
    return Markup(  # noqa: S704  # all texts in it went through escape
        f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{escape(title)}">{inside}</svg>'
    )


def reliability(rows: Sequence[dict[str, Any]], name: str) -> Markup:
    """What was said against what came, each dot's area by its rows."""
    frame = axes((0, 1), (0, 1), ("said", "came"), (percent, percent))
    parts = [*frame.parts, _line([(frame.x(0), frame.y(0)), (frame.x(1), frame.y(1))], "even")]
    most = max((row["rows"] for row in rows), default=1)
    parts.append(_line([(frame.x(row["said"]), frame.y(row["came"])) for row in rows], "c0"))
    for row in rows:
        radius = 2 + 7 * (row["rows"] / most) ** 0.5
        told = f"{row['rows']:,} rows: said {row['said']:.1%}, came {row['came']:.1%}"
        parts.append(
            f'<circle class="d0" cx="{frame.x(row["said"]):.1f}" cy="{frame.y(row["came"]):.1f}" r="{radius:.1f}">'
            f"<title>{escape(told)}</title></circle>"
        )
    return picture(f"Reliability of {name}", parts)


def lift(rows: Sequence[dict[str, Any]], base: float, name: str) -> Markup:
    """Share lost in each tenth of the rows, the highest scores first; the dashed line is the base rate."""
    frame = axes((0, 10), (0, 1), ("tenths of the predictions, riskiest first", "came"), (_plain, percent), ticks=6)
    parts = [*frame.parts]
    for row in rows:
        left, right = frame.x(row["tenth"] - 0.9), frame.x(row["tenth"] - 0.1)
        told = f"tenth {row['tenth']}: {row['came']:.1%} lost; {row['losses_so_far']:.0%} of all losses up to here"
        parts.append(_bar(left, right, frame.y(row["came"]), frame.y(0), "d0", told))
    parts.append(_line([(frame.x(0), frame.y(base)), (frame.x(10), frame.y(base))], "even"))
    return picture(f"Lift of {name}", parts)


def leads(score: Sequence[int], rule: Sequence[int]) -> Markup:
    """Losses that were alerted, by whole weeks from the first alert to the loss; score beside rule."""
    most = max([*score, *rule, 1])
    frame = axes(
        (0, 12), (0, most), ("weeks from first alert to the loss", "losses alerted"), (_plain, _plain), ticks=5
    )
    parts = [*frame.parts]
    for week, (ours, theirs) in enumerate(zip(score, rule, strict=True)):
        name = f"{week} weeks" if week < 11 else "11 weeks or more"
        for begin, count, colour, who in ((0.1, ours, "d0", "score"), (0.5, theirs, "d1", "rule")):
            left, right = frame.x(week + begin), frame.x(week + begin + 0.4)
            parts.append(_bar(left, right, frame.y(count), frame.y(0), colour, f"{name}: {count:,} by the {who}"))
    return picture("First-alert lead times", parts)


def over_time(lines: Sequence[tuple[str, Points]], names: tuple[str, str], labels: Sequence[str]) -> Markup:
    """Lines over the snapshots; ``labels`` are the snapshots' days."""
    values = [value for _, points in lines for _, value in points]
    low = max(0.0, min(values, default=0) - 0.05)
    high = min(1.0, max(values, default=1) + 0.05)
    last = max(len(labels) - 1, 1)
    shown = (lambda at: labels[min(round(at), len(labels) - 1)][5:10], lambda value: f"{value:.2f}")
    ticks = next((count for count in range(7, 2, -1) if last % (count - 1) == 0), 2)
    frame = axes((0, last), (low, high), names, shown, ticks=ticks)
    parts = [*frame.parts]
    for number, (_, points) in enumerate(lines):
        placed = [(frame.x(at), frame.y(value)) for at, value in points]
        parts.append(_line(placed, f"c{number}"))
        parts += [f'<circle class="d{number}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in placed]
    return picture(f"{names[1]} by snapshot", parts)


def interval(rows: Sequence[dict[str, Any]], name: str) -> Markup:
    """Forecasts over their origins: the mean, a bar from ``low`` to ``high``, and a dot for what came."""
    top = max((max(row["high"], row["came"]) for row in rows), default=1.0) * 1.1 or 1.0
    last = max(len(rows) - 1, 1)
    labels = [row["origin"][5:10] for row in rows]
    shown = (lambda at: labels[min(round(at), len(labels) - 1)], _plain)
    ticks = next((count for count in range(7, 2, -1) if last % (count - 1) == 0), 2)
    frame = axes((0, last), (0, top), ("origin", ""), shown, ticks=ticks)
    parts = [*frame.parts]
    for at, row in enumerate(rows):
        x = frame.x(at)
        told = f"{row['origin'][:10]}: {row['low']:,.0f} to {row['high']:,.0f}, came {row['came']:,.0f}"
        parts.append(_bar(x - 2.5, x + 2.5, frame.y(row["high"]), frame.y(row["low"]), "d0", told))
    parts.append(_line([(frame.x(at), frame.y(row["mean"])) for at, row in enumerate(rows)], "c0"))
    parts += [
        f'<circle class="d1" cx="{frame.x(at):.1f}" cy="{frame.y(row["came"]):.1f}" r="3.5"/>'
        for at, row in enumerate(rows)
    ]
    return picture(name, parts)


def curve(table: dict[str, Any]) -> Markup:
    """A feature's points over its values; one line a state."""
    ends = [cuts[-1] for cuts in table["cuts"] if cuts]
    begins = [cuts[0] for cuts in table["cuts"] if cuts]
    if not ends:
        return Markup("")
    low, high = min(begins), max(ends)
    room = (high - low) * 0.08 or 0.5
    low, high = low - room, high + room
    points = [point for row in table["points"] for point in row]
    size = max(0.5, *(abs(point) for point in points))
    shown = (_plain, lambda value: f"{value:+.1f}")
    frame = axes((low, high), (-size, size), ("value", "log-odds"), shown)
    parts = [*frame.parts, _line([(frame.x(low), frame.y(0)), (frame.x(high), frame.y(0))], "even")]
    for state, (cuts, row) in enumerate(zip(table["cuts"], table["points"], strict=True)):
        if cuts:
            edges = [low, *cuts, high]
            steps = [
                place
                for at, point in enumerate(row)
                for place in ((frame.x(edges[at]), frame.y(point)), (frame.x(edges[at + 1]), frame.y(point)))
            ]
            parts.append(_line(steps, f"c{state % 6}"))
    return picture(f"Curve of {table['feature']}", parts)


def percent(value: float) -> str:
    """A share as people read it."""
    return f"{value * 100:.0f} %"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.1f}"


def _line(points: Points, colour: str) -> str:
    return f'<polyline class="{colour}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _bar(left: float, right: float, top: float, bottom: float, colour: str, told: str) -> str:
    return (
        f'<rect class="{colour}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
        f'height="{max(0.0, bottom - top):.1f}"><title>{escape(told)}</title></rect>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="label" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'

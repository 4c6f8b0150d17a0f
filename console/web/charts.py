"""Charts as inline SVG: grey band = expected, ink = observed, red line = the stop, dashed outline = refused.

Every function returns ready markup. Colours come from classes in the style sheet, so that one drawing fits both
themes; every drawing has a title and a description that say what is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

from markupsafe import Markup, escape
from msgspec import Struct

from console.web.words import Clock, many, number, percent
from events.times import DAY_MS, HOUR_MS, MINUTE_MS
from storage.read.types import Bin, ScorePoint

BIN_MS = 5 * MINUTE_MS


def _ready(markup: str) -> Markup:
    """Markup made here from numbers, our own words, and texts that went through ``escape``."""
    return Markup(markup)  # noqa: S704


class Scale(Struct, frozen=True, gc=False):
    """Maps values from [low, high] to pixels from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value, clamped to the scale's ends."""
        share = (value - self.low) / ((self.high - self.low) or 1)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def nice_top(peak: float) -> tuple[float, float]:
    """A round number at or above ``peak`` and the step of the grid lines below it."""
    peak = max(peak, 4.0)
    power = 10.0 ** floor(log10(peak / 4))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power * 4.4 >= peak)
    step = max(1.0, ceil(step) if step < 10 else step)
    return ceil(peak / step) * step, step


def usual(item: Bin) -> float | None:
    """The most that is usual in a bin: the top of the grey band."""
    return item.limit if item.expected is None else item.expected


def _band(bins: Sequence[Bin], x: Scale, y: Scale) -> list[str]:
    """Paths of the expected band, one for each run of bins that has an expectation; each bin is a step."""
    return [
        f"M{x(run[0].start_ms):.1f} {y(0):.1f}L{_steps(run, x, y)}L{x(run[-1].start_ms + BIN_MS):.1f} {y(0):.1f}Z"
        for run in _runs(bins)
    ]


def _steps(run: Sequence[Bin], x: Scale, y: Scale) -> str:
    return "L".join(f"{x(b.start_ms):.1f} {y(usual(b) or 0):.1f}H{x(b.start_ms + BIN_MS):.1f}" for b in run)


def sparkline(
    bins: Sequence[Bin], name: str, *, stopped_ms: int | None = None, blind_from_ms: int | None = None
) -> Markup:
    """Four hours of counts in 5 min over their band, 160 × 34; after a stop the line ends in a red dot."""
    if not bins:
        return _ready(
            '<svg class="spark" viewBox="0 0 160 34" aria-hidden="true"><path class="axis" d="M2 31.5H154"/></svg>'
        )
    peak = max(*(b.actions for b in bins), *(usual(b) or 0 for b in bins), 4)
    x = Scale(bins[0].start_ms, bins[-1].start_ms, 2, 154)
    y = Scale(0, peak, 31.5, 4)
    shown = [b for b in bins if blind_from_ms is None or b.start_ms < blind_from_ms]
    if stopped_ms is not None:
        shown = up_to_stop(shown, stopped_ms)
    parts = [f'<path class="band" d="{path}"/>' for path in _band(bins, x, y)]
    if blind_from_ms is not None:
        left = x(blind_from_ms)
        parts.append(f'<rect x="{left:.1f}" y="2" width="{max(154 - left, 4):.1f}" height="30" fill="url(#hatch)"/>')
    line = "L".join(f"{x(b.start_ms):.1f} {y(b.actions):.1f}" for b in shown)
    dot = "dot-stop" if stopped_ms is not None else "dot"
    if shown:
        parts.append(f'<path class="spk" d="M{line}"/>')
        end = shown[-1]
        radius = 2.6 if stopped_ms is not None else 1.8
        parts.append(f'<circle class="{dot}" cx="{x(end.start_ms):.1f}" cy="{y(end.actions):.1f}" r="{radius}"/>')
    label = escape(f"{name}: actions in 5 min over the last 4 hours, most {number(max(b.actions for b in bins))}")
    return _ready(
        f'<svg class="spark" viewBox="0 0 160 34" role="img" aria-label="{label}">' + "".join(parts) + "</svg>"
    )


def up_to_stop(bins: Sequence[Bin], stopped_ms: int) -> list[Bin]:
    """The bins up to the burst: that of the stop, or the one before when the stop came early in its own."""
    before = [b for b in bins if b.start_ms <= stopped_ms]
    if len(before) >= 2 and before[-1].start_ms + BIN_MS > stopped_ms and before[-2].actions > before[-1].actions:
        before.pop()
    return before or list(bins[:1])


class Stop(Struct, frozen=True, gc=False):
    """What the timeline writes at a stop; at one that is over only that it was, and until when."""

    at_ms: int
    peak: str
    detail: str
    refused: int
    admitted: int
    released_ms: int | None = None


def timeline(bins: Sequence[Bin], clock: Clock, name: str, stops: Sequence[Stop] = ()) -> Markup:
    """Counts of an agent in 5 min as bars over the expected band, with each stop as a red line."""
    if not bins:
        return _ready('<p class="blank">No actions in this time.</p>')
    left, right, top, bottom = 44.0, 884.0, 22.0, 224.0
    peak = max(*(b.actions + b.refused for b in bins), *(usual(b) or 0 for b in bins)) * 1.08
    high, step = nice_top(peak)
    end_ms = bins[-1].start_ms + BIN_MS
    if stops and end_ms - max(stops[-1].at_ms, stops[-1].released_ms or 0) < 4 * BIN_MS:
        end_ms += 4 * BIN_MS  # room to write beside the line
    x = Scale(bins[0].start_ms, end_ms, left, right)
    y = Scale(0, high, bottom, top)
    parts = [*_grid(y, high, step, left, right)]
    parts += [f'<path class="band" d="{path}"/>' for path in _band(bins, x, y)]
    parts += [_limit_line(run, x, y) for run in _runs(bins)]
    stop_bins = {_bin_of(stop.at_ms, bins) for stop in stops}
    parts += [_bar(b, x, y, is_hot=_is_hot(b) or b.start_ms in stop_bins) for b in bins if b.actions or b.refused]
    parts += _hours(bins[0].start_ms, end_ms, x, bottom, clock)
    parts += _expected_note(bins, x, y, stops)
    parts += [part for stop in stops for part in _stop(stop, bins, x, y, top, bottom, right)]
    title = (
        f"Actions of {name} in 5 minutes, {clock.hm(bins[0].start_ms)} to {clock.hm(clock.now_ms)} {clock.zone_name}"
    )
    return _svg(parts, 900, 250, title, _timeline_words(bins, clock, stops))


def _grid(y: Scale, high: float, step: float, left: float, right: float, unit: str = "") -> list[str]:
    parts, value = [], 0.0
    while value <= high + 1e-9:
        kind = "axis" if value == 0 else "grid"
        last = unit if value + step > high + 1e-9 else ""
        parts.append(f'<path class="{kind}" d="M{left} {y(value):.1f}H{right}"/>')
        parts.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{number(value)}{last}</text>')
        value += step
    return parts


def _runs(bins: Sequence[Bin]) -> list[list[Bin]]:
    runs: list[list[Bin]] = [[]]
    for item in bins:
        if usual(item) is None:
            runs.append([])
        else:
            runs[-1].append(item)
    return [run for run in runs if run]


def _limit_line(run: Sequence[Bin], x: Scale, y: Scale) -> str:
    return f'<path class="bandline" d="M{_steps(run, x, y)}"/>'


def _is_hot(item: Bin) -> bool:
    """Whether it reached the count at which it is stopped; without one, whether it left the band."""
    if item.limit is not None:
        return item.actions >= item.limit
    most = usual(item)
    return most is not None and item.actions > most


def _bar(item: Bin, x: Scale, y: Scale, *, is_hot: bool) -> str:
    x0, x1 = x(item.start_ms), x(item.start_ms + BIN_MS)
    gap = min(3.0, (x1 - x0) * 0.16)
    wide = x1 - x0 - 2 * gap
    out = ""
    if item.actions:
        css = "bar-hot" if is_hot else "bar-ok"
        height = max(y(0) - y(item.actions), 1.0)
        out += (
            f'<rect class="{css}" x="{x0 + gap:.1f}" y="{y(0) - height:.1f}" width="{wide:.1f}"'
            f' height="{height:.1f}" rx="1"/>'
        )
    if item.refused:
        floor_y = y(item.actions)
        height = max(floor_y - y(item.actions + item.refused), 3.0)
        out += (
            f'<rect class="bar-refused" x="{x0 + gap + 0.5:.1f}" y="{floor_y - height:.1f}"'
            f' width="{max(wide - 1, 2):.1f}" height="{height:.1f}"/>'
        )
    return out


def _hours(from_ms: int, to_ms: int, x: Scale, bottom: float, clock: Clock) -> list[str]:
    step = 30 * MINUTE_MS if to_ms - from_ms <= 5 * HOUR_MS else 6 * HOUR_MS
    offset_ms = int((clock.at(from_ms).utcoffset() or clock.at(from_ms) - clock.at(from_ms)).total_seconds() * 1000)
    first = -(-(from_ms + offset_ms) // step) * step - offset_ms
    parts = []
    for at_ms in range(first, to_ms, step):
        where = x(at_ms)
        if where > x.end - 14 or where < x.start + 10:
            continue
        parts.append(f'<path class="axis" d="M{where:.1f} {bottom}v4"/>')
        text = clock.hm(at_ms) if step < 6 * HOUR_MS else clock.time(at_ms)
        parts.append(f'<text x="{where:.1f}" y="{bottom + 18}" text-anchor="middle">{text}</text>')
    return parts


def _expected_note(bins: Sequence[Bin], x: Scale, y: Scale, stops: Sequence[Stop]) -> list[str]:
    known = [b for b in bins if usual(b) is not None]
    if not known:
        return [f'<text class="t-2" x="{x.start + 8}" y="{y(0) - 8:.1f}">Still learning: nothing expected yet</text>']
    third = known[: max(len(known) // 2, 1)]
    highest = max(usual(b) or 0 for b in third)
    above = min(y(highest), *(y(b.actions + b.refused) for b in third)) - 8
    if above < y.end + 14:
        return []
    middle = (x(third[0].start_ms) + x(third[-1].start_ms + BIN_MS)) / 2
    last = next((usual(b) for b in reversed(known) if not stops or b.start_ms <= stops[-1].at_ms), None)
    words = f"Expected: at most {number(round(last or 0))}"
    return [f'<text class="t-2" x="{middle:.1f}" y="{above:.1f}" text-anchor="middle">{words}</text>']


def _bin_of(at_ms: int, bins: Sequence[Bin]) -> int:
    """The bin that holds the burst of a stop: its own, or the one before when its own is nearly empty."""
    near = up_to_stop([b for b in bins if at_ms - 2 * BIN_MS < b.start_ms], at_ms)
    return near[-1].start_ms if near else -1


def _stop(stop: Stop, bins: Sequence[Bin], x: Scale, y: Scale, top: float, bottom: float, right: float) -> list[str]:
    at = x(stop.at_ms)
    parts = [f'<path class="trip" d="M{at:.1f} 6V{bottom}"/>']
    room = at < right - 70
    side, anchor = (at + 7, "start") if room else (at - 7, "end")
    if stop.released_ms is not None:
        end = x(stop.released_ms)
        parts.append(f'<path class="released" d="M{end:.1f} 6V{bottom}"/>')
        parts.append(f'<text class="t-red" x="{at - 7:.1f}" y="15" text-anchor="end">Stopped</text>')
        side, anchor = (end + 7, "start") if end < right - 60 else (end, "middle")
        parts.append(f'<text class="t-2" x="{side:.1f}" y="15" text-anchor="{anchor}">Released</text>')
        return parts
    parts.append(f'<text class="t-red" x="{side:.1f}" y="15" text-anchor="{anchor}">Stopped</text>')
    peak = next((b for b in bins if b.start_ms == _bin_of(stop.at_ms, bins)), None)
    if peak is not None and stop.peak:
        left_of = x(peak.start_ms) - 6
        level = max(min(y(peak.actions) + 10, _clear_of(bins, peak, y) - 22), top + 12)
        parts.append(
            f'<text class="t-ink" x="{left_of:.1f}" y="{level:.1f}" text-anchor="end">{escape(stop.peak)}</text>'
        )
        if stop.detail:
            parts.append(f'<text x="{left_of:.1f}" y="{level + 16:.1f}" text-anchor="end">{escape(stop.detail)}</text>')
    if room:
        tall = max((b.refused + b.actions for b in bins if b.start_ms + BIN_MS > stop.at_ms), default=0)
        level = max(min(y(tall) - 24, bottom - 40), 34.0)
        parts.append(f'<text class="t-2" x="{side:.1f}" y="{level:.1f}">{number(stop.refused)} refused</text>')
        parts.append(f'<text class="t-2" x="{side:.1f}" y="{level + 15:.1f}">{number(stop.admitted)} admitted</text>')
    return parts


def _clear_of(bins: Sequence[Bin], peak: Bin, y: Scale) -> float:
    """The height above which nothing is drawn to the left of a bar, for about the length of its words."""
    near = [b for b in bins if peak.start_ms - 10 * BIN_MS <= b.start_ms < peak.start_ms]
    return min((y(max(b.actions + b.refused, usual(b) or 0)) for b in near), default=y(0))


def _timeline_words(bins: Sequence[Bin], clock: Clock, stops: Sequence[Stop]) -> str:
    counts = [b.actions for b in bins]
    text = f"Between {number(min(counts))} and {many(max(counts), 'action')} in every 5 minutes."
    over = [b for b in bins if _is_hot(b)]
    if over:
        text += f" More than expected from {clock.hm(over[0].start_ms)} on."
    for stop in stops:
        if stop.released_ms is not None:
            text += f" Stopped at {clock.clock(stop.at_ms)}, released at {clock.clock(stop.released_ms)}."
            continue
        text += (
            f" Stopped at {clock.clock(stop.at_ms)}; since then {number(stop.refused)} refused"
            f" and {number(stop.admitted)} admitted."
        )
    return text


def _svg(parts: Sequence[str], width: int, height: int, title: str, description: str) -> Markup:
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
    about = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return _ready(head + about + "".join(parts) + "</svg>")


class Pin(Struct, frozen=True, gc=False):
    """A numbered event on the risk chart."""

    number: int
    at_ms: int


def risk_steps(points: Sequence[ScorePoint], clock: Clock, pins: Sequence[Pin] = ()) -> Markup:
    """Probability of loss (line) and of a slip (dashed) as steps over time, with numbered events."""
    if not points:
        return _ready('<p class="blank">No score yet.</p>')
    left, right, top, bottom = 48.0, 808.0, 12.0, 220.0
    from_ms, to_ms = points[0].at_ms, max(clock.now_ms, points[-1].at_ms)
    if to_ms - from_ms < HOUR_MS:
        from_ms = to_ms - HOUR_MS
    x = Scale(from_ms, to_ms, left, right)
    y = Scale(0, 100, bottom, top)
    parts = _grid(y, 100, 25, left, right, " %")
    parts += _days(from_ms, to_ms, x, bottom, clock)
    level = {pin.number: _value_at(points, pin.at_ms) for pin in pins}
    parts += [f'<path class="grid" d="M{x(pin.at_ms):.1f} {y(level[pin.number]):.1f}V{bottom}"/>' for pin in pins]
    for css, values in (("slips", [p.p_slip for p in points]), ("lost", [p.p_lost for p in points])):
        path = f"M{x(points[0].at_ms):.1f} {y(values[0] * 100):.1f}"
        for point, share in zip(points[1:], values[1:], strict=True):
            path += f"H{x(point.at_ms):.1f}V{y(share * 100):.1f}"
        parts.append(f'<path class="{css}" d="{path}H{x(to_ms):.1f}"/>')
    parts += _pins(pins, x)
    parts += _risk_labels(points[-1], y, x(to_ms))
    title = f"Probability that the deal is lost, and that it slips, {clock.day(from_ms)} to {clock.day(to_ms)}"
    words = (
        f"Lost goes from {percent(points[0].p_lost)} to {percent(points[-1].p_lost)},"
        f" slips from {percent(points[0].p_slip)} to {percent(points[-1].p_slip)}."
    )
    return _svg(parts, 900, 248, title, words)


def _value_at(points: Sequence[ScorePoint], at_ms: int) -> float:
    known = [p for p in points if p.at_ms <= at_ms]
    return (known[-1] if known else points[0]).p_lost * 100


def _pins(pins: Sequence[Pin], x: Scale) -> list[str]:
    """Circles on the axis; those that would overlap move up a row."""
    parts, last_at, row = [], -99.0, 0
    for pin in pins:
        at = x(pin.at_ms)
        row = (row + 1) % 4 if at - last_at < 19 else 0
        last_at = at
        cy = 208.0 - 20 * row
        parts.append(f'<circle class="pin" cx="{at:.1f}" cy="{cy}" r="8.5"/>')
        parts.append(f'<text class="pin-t" x="{at:.1f}" y="{cy + 4}">{pin.number}</text>')
    return parts


def _risk_labels(last: ScorePoint, y: Scale, at: float) -> list[str]:
    lost, slips = y(last.p_lost * 100), y(last.p_slip * 100)
    lost_text, slips_text = lost + 4, slips + 4
    if abs(lost_text - slips_text) < 16:
        up = 16 - abs(lost_text - slips_text)
        slips_text += -up if slips_text <= lost_text else up
    return [
        f'<circle class="dot-lost" cx="{at:.1f}" cy="{lost:.1f}" r="3.5"/>',
        f'<text class="t-ink" x="{at + 10:.1f}" y="{lost_text:.1f}">Lost {percent(last.p_lost)}</text>',
        f'<text class="t-2" x="{at + 10:.1f}" y="{slips_text:.1f}">Slips {percent(last.p_slip)}</text>',
    ]


def _days(from_ms: int, to_ms: int, x: Scale, bottom: float, clock: Clock) -> list[str]:
    length = to_ms - from_ms
    step = next((s for s in (HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS, 28 * DAY_MS) if length / s <= 9), 91 * DAY_MS)
    offset_ms = int((clock.at(from_ms).utcoffset() or clock.at(from_ms) - clock.at(from_ms)).total_seconds() * 1000)
    monday = 4 * DAY_MS if step >= 7 * DAY_MS else 0
    first = -(-(from_ms + offset_ms - monday) // step) * step + monday - offset_ms
    parts = []
    for at_ms in range(first, to_ms, step):
        text = clock.hm(at_ms) if step < DAY_MS else clock.day(at_ms).split(" ", 1)[1]
        parts.append(f'<path class="axis" d="M{x(at_ms):.1f} {bottom}v4"/>')
        parts.append(f'<text x="{x(at_ms):.1f}" y="{bottom + 20}" text-anchor="middle">{text}</text>')
    return parts


def contribution(share: float, most: float) -> Markup:
    """A bar to the right (raises the risk, violet) or to the left (lowers it, grey) of a hairline."""
    middle, room = 70.0, 92.0
    scale = room / most if most else 0.0
    length = min(abs(share) * scale, middle - 4 if share < 0 else room)
    x0 = middle if share >= 0 else middle - length
    css = "more" if share >= 0 else "less"
    return _ready(
        '<svg class="contrib" viewBox="0 0 168 14" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="axis" d="M{middle} 0v14"/>'
        f'<rect class="{css}" x="{x0:.1f}" y="3" width="{max(length, 1.5):.1f}" height="8" rx="1"/></svg>'
    )

"""Drawings: what is drawn, and that it is said in words too."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from console.web import charts
from console.web.words import Clock
from events.times import parse_ms
from storage.read.types import Bin, ScorePoint

START = parse_ms("2026-03-04T08:00:00Z")
STEP = charts.BIN_MS


def _bins(counts: list[int], usual: float | None = 38.0, limit: float | None = 61.0) -> list[Bin]:
    return [Bin(START + n * STEP, count, 0, usual, limit) for n, count in enumerate(counts)]


def _clock(bins: int) -> Clock:
    return Clock(START + bins * STEP)


def test_only_what_reached_the_limit_is_drawn_as_too_much() -> None:
    drawn = charts.timeline(_bins([20, 40, 62]), _clock(3), "bot")
    assert drawn.count('class="bar-ok"') == 2
    assert drawn.count('class="bar-hot"') == 1


def test_refused_attempts_stand_as_an_outline_on_what_was_admitted() -> None:
    bins = [Bin(START, 10, 0, 38.0, 61.0), Bin(START + STEP, 4, 6, 38.0, 61.0)]
    assert charts.timeline(bins, _clock(2), "bot").count('class="bar-refused"') == 1


def test_the_band_has_a_gap_where_nothing_is_expected() -> None:
    bins = [*_bins([1, 2]), Bin(START + 2 * STEP, 3), Bin(START + 3 * STEP, 4, 0, 38.0, 61.0)]
    assert charts.timeline(bins, _clock(4), "bot").count('class="band"') == 2


def test_the_description_says_when_it_was_stopped_and_what_came_through() -> None:
    bins = _bins([20, 61, 0])
    stop = charts.Stop(START + 2 * STEP, "61 updates in 5 min", "58 records", 37, 0)
    drawn = charts.timeline(bins, _clock(3), "bot", [stop])
    assert "More than expected from 08:05 on." in drawn  # 61 is the count at which it stops
    assert "Stopped at 08:10:00; since then 37 refused and 0 admitted." in drawn
    assert drawn.count('class="trip"') == 1


def test_a_stop_that_is_over_is_drawn_with_its_release() -> None:
    stop = charts.Stop(START + STEP, "", "", 0, 0, START + 3 * STEP)
    drawn = charts.timeline(_bins([20, 61, 0, 5, 6, 7, 8]), _clock(7), "bot", [stop])
    assert drawn.count('class="released"') == 1
    assert "Stopped at 08:05:00, released at 08:15:00." in drawn


def test_the_line_of_a_stopped_agent_ends_at_its_burst() -> None:
    drawn = charts.sparkline(_bins([5, 61, 0, 0, 0]), "bot", stopped_ms=START + 2 * STEP + 1_000)
    assert 'class="dot-stop"' in drawn
    spark = re.search(r'class="spk" d="([^"]+)"', drawn)
    assert spark is not None
    assert spark[1].count("L") == 1  # two points: before, and the burst


def test_what_is_not_known_is_hatched_and_has_no_line() -> None:
    drawn = charts.sparkline(_bins([5, 6, 7, 8]), "bot", blind_from_ms=START + 2 * STEP)
    assert "url(#hatch)" in drawn
    spark = re.search(r'class="spk" d="([^"]+)"', drawn)
    assert spark is not None
    assert spark[1].count("L") == 1


def test_names_are_escaped() -> None:
    evil = '"><script>alert(1)</script>'
    drawn = charts.sparkline(_bins([1]), evil) + charts.timeline(_bins([1]), _clock(1), evil)
    assert "<script>" not in drawn


def test_pins_that_would_overlap_move_up() -> None:
    hour = 3_600_000
    points = [ScorePoint(START + n * hour, 0.2 + n / 100, 0.4) for n in range(40)]
    pins = [charts.Pin(1, START + 10 * hour), charts.Pin(2, START + 10 * hour + 60_000)]
    drawn = charts.risk_steps(points, Clock(START + 40 * hour), pins)
    heights = re.findall(r'<circle class="pin" cx="[\d.]+" cy="([\d.]+)"', drawn)
    assert heights == ["208.0", "188.0"]


def test_the_longest_contribution_fills_its_side() -> None:
    assert 'width="92.0"' in charts.contribution(0.9, 0.9)
    assert 'class="less"' in charts.contribution(-0.2, 0.9)


@given(
    counts=st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**5)), min_size=1, max_size=60),
    usual=st.none() | st.floats(0, 1e6),
    stop=st.none() | st.integers(0, 70),
)
def test_any_counts_give_well_formed_drawings_within_their_frame(
    counts: list[tuple[int, int]], usual: float | None, stop: int | None
) -> None:
    bins = [Bin(START + n * STEP, made, refused, usual, usual) for n, (made, refused) in enumerate(counts)]
    stops = [] if stop is None else [charts.Stop(START + stop * STEP, "x & y", "z", 1, 2)]
    drawn = charts.timeline(bins, _clock(len(bins)), "bot", [s for s in stops if s.at_ms < START + len(bins) * STEP])
    root = ElementTree.fromstring(str(drawn))  # noqa: S314 - our own text
    for bar in root.iter("rect"):
        assert float(bar.get("y", "0")) >= 0
        assert float(bar.get("y", "0")) + float(bar.get("height", "0")) <= 224.2
    ElementTree.fromstring(str(charts.sparkline(bins, "bot", stopped_ms=START)))  # noqa: S314


@given(peak=st.floats(0, 1e9))
def test_axes_end_at_round_numbers_at_or_above_the_peak_in_few_steps(peak: float) -> None:
    high, step = charts.nice_top(peak)
    assert high >= peak
    assert 1 <= round(high / step) <= 6
    assert step == int(step)

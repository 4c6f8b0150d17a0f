"""NAB's own score for ``tripline bench nab``, with the spread: ``python -m bench.nab [--data DIR] [--scores DIR]``.

The scorer follows the published description of the Numenta Anomaly Benchmark (Lavin and Ahmad, "Evaluating real-time
anomaly detection algorithms", arXiv 1510.03336), not its code: the first min(15 %, 750) rows of a file are not scored;
a labelled window earns its earliest detection, a sigmoid of its place from 1 at the left edge to nearly 0 at the
right, and costs the profile's ``missed`` when there is none; each row outside costs up to ``false``, less just after a
window; one threshold for all files, the best for the profile; 100 · (raw − null) / (perfect − null). ``--check``
scores a detector of two numbers whose result with NAB's code is known on the development files.

The folder holds <group>/<file>.csv and windows.json ({file: [[from, to], …]}). Printed for each of the three profiles:

* in-sample: the threshold is chosen on the files that are scored;
* held out: 100 times the threshold from one random half of the files, the score on the other: mean and sd over splits;
* fixed: the threshold that ``tripline bench nab`` recommends;
* the same for series that were disturbed: every second row (both halves), means of pairs, the first tenth cut, noise of
  1 % of the file's standard deviation.

A window without a scored row (after cutting) does not count.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import exp
from pathlib import Path
from statistics import mean, pstdev
from typing import NamedTuple

from console.cli.series_files import SCORE, BadSeries, find_series, read_series
from detectors.series import BURST_WEIGHT, NEW_VALUE, THRESHOLD, Burst, Novelty, SeriesScore, WeeklyResidual
from events.times import parse_ms

DATA = Path(__file__).parents[2] / "shared" / "data" / "nab"
SPLITS = 100
NOISE = 0.01


class Profile(NamedTuple):
    """What a missed window and a row outside all windows cost; a window that is met at once earns 1."""

    missed: float
    false: float


PROFILES = {"standard": Profile(1.0, 0.11), "low-FP": Profile(1.0, 0.22), "low-FN": Profile(2.0, 0.11)}


class Series(NamedTuple):
    """A file: times in milliseconds, values, and the labelled windows in the same milliseconds, both ends included."""

    name: str
    times: list[int]
    values: list[float]
    windows: list[tuple[int, int]]


class Hit(NamedTuple):
    """A row that may be detected: its score, and what it earns in its window, or costs outside (window −1)."""

    score: float
    worth: float
    window: int


class File(NamedTuple):
    """A scored file: the rows with a score above 0 and the number of windows that have a scored row."""

    hits: list[Hit]
    windows: int


def sigmoid(place: float) -> float:
    """NAB's scaled sigmoid: near 1 at −1 (a window's left edge), 0 at 0 (its right one), −1 far behind it."""
    return -1.0 if place > 3.0 else 2.0 / (1.0 + exp(5.0 * place)) - 1.0


def learning_rows(rows: int) -> int:
    """How many rows at the beginning are not scored."""
    return min(int(0.15 * rows), 750)


def worths(times: Sequence[int], windows: Sequence[tuple[int, int]]) -> tuple[list[float], list[int]]:
    """What each row earns or costs, and the number of its window or −1. Windows are sorted and don't overlap."""
    worth, inside = [-1.0] * len(times), [-1] * len(times)
    spans = [span for window in windows if (span := _rows_of(times, *window)) is not None]
    for number, (first, last) in enumerate(spans):
        width = last - first + 1
        for row in range(first, last + 1):
            worth[row] = sigmoid(-(last - row + 1) / width) / sigmoid(-1.0)
            inside[row] = number
        until = spans[number + 1][0] if number + 1 < len(spans) else len(times)
        for row in range(last + 1, until):
            worth[row] = sigmoid((row - last) / max(width - 1, 1))
    return worth, inside


def _rows_of(times: Sequence[int], begin: int, end: int) -> tuple[int, int] | None:
    """First and last row of a window: by its times where they exist, else the nearest rows inside."""
    first = next((row for row, at in enumerate(times) if at >= begin), len(times))
    after = next((row for row in range(first, len(times)) if times[row] >= end), len(times))
    last = after if after < len(times) and times[after] == end else after - 1
    return (first, last) if last >= first else None


def judge(series: Series, scores: Sequence[float]) -> File:
    """The rows of one file that count, with what they are worth."""
    worth, inside = worths(series.times, series.windows)
    start = learning_rows(len(scores))
    hits = [Hit(scores[row], worth[row], inside[row]) for row in range(start, len(scores)) if scores[row] > 0.0]
    return File(hits, len(set(inside[start:]) - {-1}))


def curve(files: Sequence[File], profile: Profile) -> tuple[list[float], list[float]]:
    """Thresholds from the highest down, and the normalised score at each; the first is above all scores (0 points)."""
    windows = sum(file.windows for file in files)
    ordered = sorted(
        ((hit, number) for number, file in enumerate(files) for hit in file.hits), key=lambda each: -each[0].score
    )
    best: dict[tuple[int, int], float] = {}
    thresholds, points, raw = [float("inf")], [0.0], 0.0
    scale = 100.0 / (windows * (1.0 + profile.missed)) if windows else 0.0
    for hit, number in ordered:
        if hit.window < 0:
            raw += profile.false * hit.worth
        else:
            place = number, hit.window
            known = best.get(place, -profile.missed)
            raw += max(hit.worth - known, 0.0)
            best[place] = max(known, hit.worth)
        if thresholds[-1] == hit.score:
            points[-1] = scale * raw
        else:
            thresholds.append(hit.score)
            points.append(scale * raw)
    return thresholds, points


def optimum(files: Sequence[File], profile: Profile) -> tuple[float, float]:
    """The best threshold for all files together, and the score there."""
    thresholds, points = curve(files, profile)
    at = max(range(len(points)), key=points.__getitem__)
    return thresholds[at], points[at]


def score_at(files: Sequence[File], profile: Profile, threshold: float) -> float:
    """The score with a given threshold: rows at or above it are detected."""
    thresholds, points = curve(files, profile)
    return points[bisect_right([-each for each in thresholds], -threshold) - 1]


def held_out(files: Sequence[File], profile: Profile, splits: int = SPLITS, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of the score on one half with the threshold of the other, over random halves."""
    rng, found = random.Random(seed), []
    for _ in range(splits):
        order = rng.sample(range(len(files)), len(files))
        half = len(order) // 2
        threshold, _ = optimum([files[at] for at in order[:half]], profile)
        found.append(score_at([files[at] for at in order[half:]], profile, threshold))
    return mean(found), pstdev(found)


def every_second(first: int) -> Callable[[Series], Series]:
    def thin(series: Series) -> Series:
        return series._replace(times=series.times[first::2], values=series.values[first::2])

    return thin


def pairs(series: Series) -> Series:
    """The means of two rows each, at the time of the first one."""
    values = [(one + two) / 2 for one, two in zip(series.values[::2], series.values[1::2], strict=False)]
    return series._replace(times=series.times[::2][: len(values)], values=values)


def without_the_first_tenth(series: Series) -> Series:
    start = len(series.times) // 10
    return series._replace(times=series.times[start:], values=series.values[start:])


def noisy(series: Series) -> Series:
    """Normal noise added, 1 % of the file's standard deviation."""
    rng, size = random.Random(series.name), NOISE * pstdev(series.values)
    return series._replace(values=[value + rng.gauss(0.0, size) for value in series.values])


DISTURBED: dict[str, Callable[[Series], Series]] = {
    "as it is": lambda series: series,
    "every 2nd row, from the 1st": every_second(0),
    "every 2nd row, from the 2nd": every_second(1),
    "means of pairs": pairs,
    "first tenth cut": without_the_first_tenth,
    "noise of 1 % sd": noisy,
}


def novel(series: Series) -> list[float]:
    """The scores of ``tripline bench nab``."""
    score = SeriesScore()
    return [score.update(at_ms, value) for at_ms, value in zip(series.times, series.values, strict=True)]


def range_record(series: Series) -> list[float]:
    """The detector of ``--check``: how far a value leaves the range so far, in ranges, as e/(1 + e)."""
    low = high = series.values[0]
    scores = []
    for value in series.values:
        excess = max(value - high, low - value, 0.0) / ((high - low) or 1.0)
        scores.append(excess / (1.0 + excess))
        low, high = min(low, value), max(high, value)
    return scores


def load(folder: Path) -> list[Series]:
    """All labelled files of a folder. Raises BadSeries, and ValueError where windows.json does not fit."""
    windows = json.loads((folder / "windows.json").read_text(encoding="utf-8"))
    found = []
    for path in find_series(folder):
        name = path.relative_to(folder).as_posix()
        if name not in windows:
            raise ValueError(f"{folder / 'windows.json'}: there is nothing about {name}")
        rows = list(read_series(path))
        labels = sorted((parse_ms(_rfc(begin)), parse_ms(_rfc(end))) for begin, end in windows[name])
        found.append(Series(name, [row.at_ms for row in rows], [row.value for row in rows], labels))
    if not found:
        raise ValueError(f"{folder}: there is no <group>/<file>.csv in it")
    return found


def scores_of(folder: Path, series: Series) -> list[float]:
    """The anomaly scores that were written for a file. Raises ValueError unless there is one for each row."""
    path = folder / series.name
    with path.open(encoding="utf-8", newline="") as lines:
        scores = [float(row[SCORE]) for row in csv.DictReader(lines)]
    if len(scores) != len(series.times):
        raise ValueError(f"{path}: {len(scores)} scores for {len(series.times)} rows")
    return scores


def _rfc(text: str) -> str:
    return text.replace(" ", "T") + ("" if text.endswith("Z") else "Z")


def report(files: Sequence[File]) -> Iterator[str]:
    """One line a procedure, the three profiles side by side."""
    best = [optimum(files, profile) for profile in PROFILES.values()]
    yield _line("threshold in-sample", [f"{points:.1f} (at {at:.4f})" for at, points in best])
    split = [held_out(files, profile) for profile in PROFILES.values()]
    yield _line(f"threshold from a half, {SPLITS} splits", [f"{points:.1f} ± {sd:.1f}" for points, sd in split])
    fixed = [score_at(files, profile, THRESHOLD) for profile in PROFILES.values()]
    yield _line(f"threshold {THRESHOLD}", [f"{points:.1f}" for points in fixed])


def _line(what: str, cells: Sequence[str]) -> str:
    return f"  {what:32}" + "".join(f"{cell:>20}" for cell in cells)


def decisive_rows(corpus: Sequence[Series]) -> str:
    """How many windows have rows of one parity alone that stand out: what halved sampling can drop altogether.

    A row stands out if its own novelty, residual and burst add up to the threshold, without what faded from others.
    """
    counts: Counter[str] = Counter()
    for series in corpus:
        _, inside = worths(series.times, series.windows)
        parities: dict[int, set[int]] = {}
        for row, total in enumerate(_fresh(series)):
            if inside[row] >= 0 and row >= learning_rows(len(inside)) and total / (1.0 + total) >= THRESHOLD:
                parities.setdefault(inside[row], set()).add(row % 2)
        counts.update("both" if len(each) == 2 else ("odd" if 1 in each else "even") for each in parities.values())
    return (
        f"Windows with a row that stands out by itself: {counts.total()}; in {counts['even']} only even rows do, in "
        f"{counts['odd']} only odd ones: halved sampling drops these."
    )


def _fresh(series: Series) -> Iterator[float]:
    value, week, burst = Novelty(NEW_VALUE), WeeklyResidual(), Burst()
    for at_ms, number in zip(series.times, series.values, strict=True):
        yield value.score(number) + week.score(at_ms, number) + BURST_WEIGHT * burst.score(number)


def main() -> int:
    """Score a folder, print the table; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.nab", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with windows.json and <group>/<file>.csv")
    parser.add_argument("--scores", type=Path, help="what `tripline bench nab --out` wrote; without it all is computed")
    parser.add_argument("--check", action="store_true", help="score the range record instead, a known result")
    asked = parser.parse_args()
    say = sys.stdout.write
    try:
        corpus = load(asked.data)
        windows = sum(len(series.windows) for series in corpus)
        say(f"{len(corpus)} files, {windows} windows; {' / '.join(PROFILES)}\n")
        if asked.check:
            say("\n".join(report([judge(series, range_record(series)) for series in corpus])) + "\n")
            return 0
        if asked.scores is not None:
            say("\n".join(report([judge(series, scores_of(asked.scores, series)) for series in corpus])) + "\n")
            return 0
        for name, disturb in DISTURBED.items():
            changed = [disturb(series) for series in corpus]
            say(f"{name}\n" + "\n".join(report([judge(series, novel(series)) for series in changed])) + "\n")
        say(decisive_rows(corpus) + "\n")
    except (OSError, ValueError, KeyError) as problem:
        where = f"line {problem.line}: {problem.column} " if isinstance(problem, BadSeries) else ""
        parser.exit(1, f"{asked.data}: {where}{problem}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

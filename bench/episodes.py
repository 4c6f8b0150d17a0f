"""How well ``tripline bench episodes`` tells harmful episodes from others: cross-validation by request.

    python -m bench.episodes --data episodes.jsonl.gz [--kinds] [--seeds 3] [--json FILE]

The requests are split into five folds; each fold is scored by what was learnt from the `correct` episodes of the
others. With `--kinds`, requests that share half of their words stay together, and those that share them with one of
these: what is tested then are kinds of requests that were never learnt. `side_effect` is read here, to compare, and
nowhere else. Two questions: among all episodes with a call, and among those with a successful write only, which is
harder. The figures of docs/benchmarks.md come from this command.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import msgspec
from sklearn.metrics import roc_auc_score

from console.cli.episode_files import Labelled, read_episodes
from detectors.episodes import Episode, EpisodeScorer
from detectors.requests import Request

FOLDS = 5


class Judged(Labelled, frozen=True, kw_only=True):
    domain: str
    side_effect: bool


def kinds(requests: list[str]) -> dict[str, str]:
    """Each request's kind, named by one of its requests: connected by half of their words in common."""
    words = {request: Request(request).words for request in requests}
    kind = {request: request for request in requests}
    for one, other in combinations(requests, 2):
        common, either = len(words[one] & words[other]), len(words[one] | words[other])
        if kind[one] != kind[other] and common * 2 >= either:
            old, new = kind[one], kind[other]
            kind |= {request: new for request, named in kind.items() if named == old}
    return kind


def folds(episodes: list[Judged], seed: int, *, by_kind: bool = False) -> Iterator[tuple[list[int], list[int]]]:
    """Training and test rows: all episodes of a request, or of a kind of requests, are in the same fold."""
    requests = sorted({episode.query or "" for episode in episodes})
    group_of = kinds(requests) if by_kind else {request: request for request in requests}
    groups = sorted(set(group_of.values()))
    random.Random(seed).shuffle(groups)
    fold_of = {group: number % FOLDS for number, group in enumerate(groups)}
    for fold in range(FOLDS):
        is_test = [fold_of[group_of[episode.query or ""]] == fold for episode in episodes]
        yield (
            [row for row, is_in in enumerate(is_test) if not is_in],
            [row for row, is_in in enumerate(is_test) if is_in],
        )


def cross_validated(
    episodes: list[Judged],
    seed: int,
    most_good: int | None = None,
    *,
    with_request: bool = True,
    by_kind: bool = False,
) -> list[float]:
    """A score for every episode, by a library that never saw its request; ``most_good`` bounds the library."""
    seen: list[Episode] = [Episode(each.events, each.query if with_request else None) for each in episodes]
    scores = [0.0] * len(episodes)
    for train, test in folds(episodes, seed, by_kind=by_kind):
        good = [row for row in train if episodes[row].correct]
        if most_good is not None:
            good = random.Random(seed).sample(good, min(most_good, len(good)))
        scorer = EpisodeScorer((str(row), seen[row]) for row in good)
        for row in test:
            scores[row] = scorer.score(seen[row])
    return scores


def figures(episodes: list[Judged], scores: list[float]) -> dict[str, dict[str, float]]:
    """By domain and for all: AUC, and the share of harmful ones found at 5 % and 1 % false alarms."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for domain in (*sorted({episode.domain for episode in episodes}), "all"):
        for question in ("with a call", "with a write"):
            rows = [
                row
                for row, episode in enumerate(episodes)
                if domain in (episode.domain, "all")
                and (scores[row] >= 1.0 or (question == "with a call" and episode.events))
            ]
            labels = [episodes[row].side_effect for row in rows]
            if 0 < sum(labels) < len(labels):
                found[domain] |= _figures(question, [scores[row] for row in rows], labels)
    return found


def _figures(question: str, scores: list[float], labels: list[bool]) -> dict[str, float]:
    innocent = sorted((score for score, label in zip(scores, labels, strict=True) if not label), reverse=True)
    harmful = [score for score, label in zip(scores, labels, strict=True) if label]
    rates = {
        f"{question}: found at {rate:.0%}": sum(score > innocent[int(rate * len(innocent))] for score in harmful)
        / len(harmful)
        for rate in (0.05, 0.01)
    }
    return {f"{question}: AUC": float(roc_auc_score(labels, scores)), f"{question}: episodes": len(labels), **rates}


def summary(of_seeds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """Mean and standard deviation over the seeds."""
    told: dict[str, dict[str, list[float]]] = {}
    for domain in of_seeds[0]:
        told[domain] = {}
        for name in of_seeds[0][domain]:
            values = [found[domain][name] for found in of_seeds if name in found.get(domain, {})]
            told[domain][name] = [mean(values), stdev(values) if len(values) > 1 else 0.0]
    return told


def show(told: dict[str, dict[str, list[float]]]) -> None:
    """The table on standard output."""
    columns = ("with a call: AUC", "with a call: found at 5%", "with a call: found at 1%", "with a write: AUC")
    sys.stdout.write(f"{'':32}" + "".join(f"{name:>26}" for name in columns) + "\n")
    for domain, values in told.items():
        cells = (f"{values[name][0]:.3f} ± {values[name][1]:.3f}" if name in values else "–" for name in columns)
        sys.stdout.write(f"{domain:32}" + "".join(f"{cell:>26}" for cell in cells) + "\n")


def main() -> None:
    """Read the arguments, cross-validate, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.episodes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="episodes with domain, correct, side_effect")
    parser.add_argument("--seeds", type=int, default=3, help="how many random splits")
    parser.add_argument("--good", type=int, help="learn from so many good episodes of each split only")
    parser.add_argument("--no-request", action="store_true", help="score as if the requests were not known")
    parser.add_argument("--kinds", action="store_true", help="keep similar requests in the same fold")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    asked = parser.parse_args()
    episodes = [episode for _, episode in read_episodes(asked.data, Judged)]
    of_seeds = []
    for seed in range(asked.seeds):
        scores = cross_validated(episodes, seed, asked.good, with_request=not asked.no_request, by_kind=asked.kinds)
        of_seeds.append(figures(episodes, scores))
    told: dict[str, Any] = summary(of_seeds)
    show(told)
    if asked.json is not None:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")


if __name__ == "__main__":
    main()

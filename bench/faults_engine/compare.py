"""Compares what is left with what should be, and prints it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from bench.faults_engine import models, stops, topics
from bench.faults_engine.asking import HONEST, Asking
from bench.faults_engine.load import Load, Sender
from bench.faults_engine.look import Look
from bench.faults_engine.site import Site

STEPS: tuple[Callable[[Look], None], ...] = (
    topics.inputs, topics.stages, topics.replay, topics.letters, models.actions, models.told, models.deals,
    stops.control, stops.stopped, stops.gate, stops.answers,
)  # fmt: skip
_SHOWN = 5


def compare(site: Site, sender: Sender, asking: Asking) -> Look:
    """Compare everything; a comparison that breaks counts as a difference."""
    look = Look(site, sender, asking)
    for step in STEPS:
        try:
            step(look)
        except Exception as problem:
            look.none_of(f"{step.__name__} broke", 0, [repr(problem)[:600]])
    return look


def report(look: Look, load: Load, secs: float) -> tuple[str, bool]:
    """What was done and found, and whether all is right."""
    site, asking = look.site, look.asking
    lines = [
        "",
        "Done",
        *_done(look, load),
        "",
        f"{'Compared':54}{'compared':>10}{'lost':>10}{'twice':>10}{'other':>10}",
    ]
    for row in look.rows:
        mark = "" if row.is_right else "   <<<"
        counts = (row.compared, len(row.lost), len(row.twice), len(row.other))
        lines.append(f"  {row.what:52}" + "".join(f"{count:>10,}" for count in counts) + mark)
    again = ", ".join(f"{count} {what}" for what, count in look.again.items() if count)
    lines += ["", f"Came again under the same id, as it may: {again or 'nothing'}"]
    lines += [f"A worker ended by itself, {count} times: {said}" for said, count in site.ended.items()]
    problems = [*site.problems, *asking.problems]
    told = {one.agent for one in asking.answers if one.decision == "allow"}
    problems += [f"{agent} was never admitted" for agent in HONEST if agent not in told]
    for row in look.rows:
        for kind in ("lost", "twice", "other"):
            problems += [f"{row.what}: {kind}: {place}" for place in sorted(getattr(row, kind))[:_SHOWN]]
    lines += [f"*** {problem}" for problem in problems]
    lost, twice = (sum(len(getattr(row, kind)) for row in look.rows) for kind in ("lost", "twice"))
    lines += ["", f"{lost} lost, {twice} twice, {look.late} admitted after a stop; {secs:.0f} s in all."]
    return "\n".join(lines), not problems


def _done(look: Look, load: Load) -> list[str]:
    asking = look.asking
    answers = Counter(f"answer: {one.decision} ({one.rule})" for one in asking.answers)
    unanswered = {f"question without an answer: {what}": count for what, count in asking.unanswered.items()}
    counts = {
        **load.counts, **look.site.done, **dict(sorted(answers.items())), **unanswered,
        "released by a person and active again": asking.releases,
        "records that the producer sent again": look.sender.again,
    }  # fmt: skip
    slowest = max((one.secs for one in asking.answers), default=0.0)
    return [f"  {what:52}{count:>10,}" for what, count in counts.items()] + [
        f"  {'slowest answer, s':52}{slowest:>10.2f}"
    ]

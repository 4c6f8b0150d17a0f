"""From a history to a model with its card: the model learns from all of it, its figures come from a held-out end."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from events.times import DAY_MS, format_ms
from events.types import ModelTables
from scoring.model import check, hash_of
from scoring.tables import PROVEN_DEALS
from scoring.training.card import FORMAT, Card, Compared, HeldOut, ModelFile, Verdict
from scoring.training.errors import TrainingError
from scoring.training.fit import export, fit
from scoring.training.measure import LEAST_DEALS, compare, groups, spread
from scoring.training.rival import beside
from scoring.training.rows import History, Known

HELD_OUT = 0.3
"""The figures come from the weeks in which the last 30 % of the closed deals closed."""
LEAST_SPAN_DAYS = 56
"""A log shorter than this knows young deals alone: a model of it is not promoted, whatever its figures."""
_JUDGED = ("lost", "lost in 14 days")
REFERENCE_DAYS = 90
"""What features were like, for the population stability index, is taken from so many last days."""


def learn(history: History, hand: ModelTables) -> ModelFile:
    """Learn from everything that the history knows. ``hand``: the scorecard on the grid. Raises TrainingError."""
    known = history.known_at(history.until_ms)
    found = fit(known, hand)
    held_out = hold_out(history, known, hand)
    tables = export(found, known, hand, is_proven=held_out.verdict == "better")
    check(tables)
    return ModelFile(
        format=FORMAT,
        hash=hash_of(tables),
        tables=tables,
        card=_card(tables, found.kinds, history, known, held_out),
    )


def hold_out(history: History, known: Known, hand: ModelTables) -> HeldOut:
    """Figures of the same way of learning, cut where the last 30 % of the deals had still to close."""
    cut_ms = cut_of(history, known)
    before = history.known_at(cut_ms)
    try:
        model = export(fit(before, hand), before, hand, is_proven=False)
    except TrainingError as problem:
        return _immature(cut_ms, before.closed, 0, f"before {_day(cut_ms)} there was nothing to learn from: {problem}")
    held = judge(model, hand, history, known, cut_ms, before.closed)
    full = beside(model, before, known, history, cut_ms)
    held = replace(held, full=full.targets, full_groups=full.groups)
    span_days = (history.until_ms - int(history.at_ms.min())) // DAY_MS
    if held.verdict == "better" and span_days < LEAST_SPAN_DAYS:
        why = f"the log spans {span_days} days, {LEAST_SPAN_DAYS} are needed: it has only seen young deals; {held.why}"
        held = replace(held, verdict="not matured", why=why)
    return held


def judge(
    model: ModelTables, hand: ModelTables, history: History, known: Known, since_ms: int, learned_from: int
) -> HeldOut:
    """A model beside the scorecard on the rows from ``since_ms`` on, by labels known at the end of the history."""
    ended = known.is_ended & (known.frame.at_ms >= since_ms)
    closed = len(np.unique(known.frame.case[ended]))
    targets = compare(model, hand, known, since_ms)
    verdict, why = verdict_of(targets, closed)
    return HeldOut(
        since=format_ms(since_ms),
        learned_from=learned_from,
        closed_deals=closed,
        verdict=verdict,
        why=why,
        targets=targets,
        groups=groups(model, known, history, since_ms),
    )


def cut_of(history: History, known: Known) -> int:
    """The first snapshot that has the last 30 % of the closings before it."""
    at = min(int(len(known.ended_ms) * (1 - HELD_OUT)), len(known.ended_ms) - 1)
    snapshots = np.unique(history.at_ms)
    later = snapshots[snapshots >= known.ended_ms[at]]
    return int(later[0]) if len(later) else history.until_ms


def verdict_of(targets: list[Compared], closed: int) -> tuple[Verdict, str]:
    """What figures on held-out rows say of a model, and why; ``closed``: how many of their deals have ended."""
    if closed < LEAST_DEALS:
        return "not matured", f"{closed} held-out deals have ended; {LEAST_DEALS} are needed to tell"
    judged = [one for one in targets if one.target in _JUDGED]
    if not judged:
        return "not matured", f"the {closed} held-out deals that have ended all ended alike"
    said = "; ".join(
        f"{one.target}: log-loss {one.model.log_loss:.3f}, the scorecard's {one.scorecard.log_loss:.3f} "
        f"(gain {one.gain:+.3f} ± {one.gain_se:.3f})"
        for one in judged
    )
    if sum(one.gain for one in judged) <= 0 or any(one.gain < -one.gain_se for one in judged):
        return "worse", said
    if len(judged) < len(_JUDGED):
        return "not matured", f"not every target has both outcomes there yet; {said}"
    if not any(one.gain > one.gain_se for one in judged):
        return "not matured", f"no gain is beyond its standard error; {said}"
    return "better", said


def _immature(cut_ms: int, learned_from: int, closed: int, why: str) -> HeldOut:
    return HeldOut(
        since=format_ms(cut_ms), learned_from=learned_from, closed_deals=closed, verdict="not matured", why=why,
        targets=[], groups=[],
    )  # fmt: skip


def _card(tables: ModelTables, kinds: dict[str, str], history: History, known: Known, held_out: HeldOut) -> Card:
    first_ms = int(history.at_ms.min()) if len(history.at_ms) else history.until_ms
    return Card(
        hash=hash_of(tables),
        kind=tables.kind,
        kinds=kinds,
        made_from=format_ms(first_ms),
        made_until=format_ms(history.until_ms),
        deals=len(history.changes),
        won_deals=known.won_deals,
        lost_deals=known.lost_deals,
        open_deals=known.open_deals,
        rows=len(known.rows),
        currencies=sorted(history.currencies),
        features=[one.name for one in tables.features],
        entries=sum(len(one.cuts) + 1 for one in tables.features),
        held_out=held_out,
        limits=_limits(known, history, held_out),
        reference=spread(tables, known, history.until_ms - REFERENCE_DAYS * DAY_MS),
    )


def _limits(known: Known, history: History, held_out: HeldOut) -> list[str]:
    found = [
        "It knows the process as the settings of deals describe it: train it anew when stages or usual stays change.",
        "Reasons say what deals that ended so had in common, not what caused it.",
        '"Lost" is measured on deals that have ended: among late rows mostly those that ended quickly.',
    ]
    if known.closed < PROVEN_DEALS:
        found.append(f"{known.closed} deals have closed: below {PROVEN_DEALS} only the scorecard's level is moved.")
    if held_out.verdict != "better":
        found.append(f"It is not proven: {held_out.why}.")
    if len(history.currencies) > 1:
        found.append(
            f"Amounts are in {len(history.currencies)} currencies ({', '.join(sorted(history.currencies))[:60]}); "
            "only their relative changes are looked at."
        )
    if not any(history.segment):
        found.append("No deal names a segment: figures by segment are missing.")
    return found


def _day(at_ms: int) -> str:
    return format_ms(at_ms)[:10]

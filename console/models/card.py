"""A model's card in Markdown, and as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from console.backtest import plots
from console.templating import environment_of
from console.text import plain
from scoring.training.card import Card, Compared, Figures, Rival

_FOLDERS = (Path(__file__).parent, Path(plots.__file__).parent)
KIND_WORDS = {
    "recalibrated": "the hand scorecard, its level set by what closed here",
    "anchored": "additive tables, pulled towards the hand scorecard",
    "boosted": "additive tables, from boosting and a smooth model",
    "scorecard": "the hand scorecard",
}


FULL_WORDS = (
    "Learned from the same deals, with interactions, and judged on the same rows. It never scores: its reasons would "
    "not be exact. The gap is what the tables give away for theirs; below 0 they are better."
)


def markdown(card: Card) -> str:
    """The card as text that a repository or a wiki shows."""
    held = card.held_out
    lines = [
        f"# Model of deals {card.hash}",
        "",
        f"**{card.kind}**: {KIND_WORDS.get(card.kind, plain(card.kind, 40))}. On held-out labels: **{verdict(card)}**.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in facts(card)),
        "",
        "## Held-out figures",
        "",
        f"From {held.since[:10]} on, by a model of the same kind that learned only from before: {plain(held.why)}.",
        "",
        *_table(held.targets),
        "",
        *_full(card),
        *_groups(card),
        "## What it can't",
        "",
        *(f"- {plain(limit, 400)}" for limit in card.limits),
        "",
        "## Features",
        "",
        ", ".join(card.features) + ".",
        "",
    ]
    return "\n".join(lines)


def page(card: Card) -> str:
    """The card as a page, with a reliability diagram for each target."""
    environment = environment_of(*_FOLDERS, longest=600)
    environment.filters["figure"] = figure
    environment.filters["gap"] = gap_of
    return environment.get_template("card.html").render(
        card=card,
        held=card.held_out,
        facts=facts(card),
        verdict=verdict(card),
        full_words=FULL_WORDS,
        words=KIND_WORDS.get(card.kind, card.kind),
        pictures=[(one.target, diagram(one)) for one in card.held_out.targets],
    )


def diagram(one: Compared) -> Markup:
    """What was said against what came."""
    return plots.reliability(one.reliability, one.target)


def facts(card: Card) -> list[tuple[str, str]]:
    """What the model is made of, as pairs."""
    closed = card.won_deals + card.lost_deals
    return [
        ("learned from", f"{card.made_from[:10]} to {card.made_until[:10]}"),
        ("closed deals", f"{closed:,} ({card.won_deals:,} won, {card.lost_deals:,} lost); {card.open_deals:,} open"),
        ("weekly rows", f"{card.rows:,}"),
        ("fits", "; ".join(f"{target}: {kind}" for target, kind in card.kinds.items())),
        ("tables", f"{len(card.features)} features, {card.entries} bins"),
        ("currencies", ", ".join(plain(name, 3) for name in card.currencies) or "none known"),
        ("hash", card.hash),
    ]


def verdict(card: Card) -> str:
    """What the held-out labels say, in words."""
    found = card.held_out.verdict
    return found if found == "not matured" else f"{found} than the scorecard"


def figure(value: float | None, digits: int = 3) -> str:
    """A figure as tables show it."""
    return "–" if value is None else f"{value:.{digits}f}"


def _table(targets: list[Compared]) -> list[str]:
    if not targets:
        return ["No figure: too little has ended since."]
    head = "| target | rows (deals) | base rate | AUC | Brier | ECE | log-loss | gain |"
    rows = [head, "|---|---|---|---|---|---|---|---|"]
    for one in targets:
        rows.append(f"| {one.target} | {_cells(one.model)} | {one.gain:+.3f} ± {one.gain_se:.3f} |")
        rows.append(f"| – scorecard | {_cells(one.scorecard)} | |")
    return rows


def _full(card: Card) -> list[str]:
    """Full boosting's figures, and what the tables give away for reasons that are exact."""
    held = card.held_out
    if not held.full:
        return []
    rows = [
        f"| {one.target} | {_cells(one.figures)} | {gap_of(one.auc_gap, 4)} | {one.gap:+.4f} ± {one.gap_se:.4f} |"
        for one in held.full
    ]
    groups = [
        f"| {one.of}: {plain(one.name, 60).replace('|', '/')} | {_cells(one.figures)} | | |" for one in held.full_groups
    ]
    return [
        "## Beside full boosting",
        "",
        f"{FULL_WORDS}",
        "",
        "| | rows (deals) | base rate | AUC | Brier | ECE | log-loss | AUC gap | log-loss gap |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        *groups,
        "",
    ]


def rivals(full: Sequence[Rival]) -> str:
    """What full boosting reached, in a sentence; empty without it."""
    if not full:
        return ""
    told = "; ".join(
        f"{one.target} AUC {figure(one.figures.auc)} ({gap_of(one.auc_gap)}), ECE {figure(of.calibration_error)}"
        for one in full
        for of in (one.figures,)
    )
    return f"Full boosting beside the model learned anew, never used as its reasons are not exact: {told}."


def gap_of(value: float | None, digits: int = 3) -> str:
    """A difference with its sign."""
    return "–" if value is None else f"{value:+.{digits}f}"


def _groups(card: Card) -> list[str]:
    groups = card.held_out.groups
    if not groups:
        return []
    rows = [f"| {one.of}: {plain(one.name, 60).replace('|', '/')} | {_cells(one.figures)} |" for one in groups]
    head = [
        "## Lost, by segment, owner and stage",
        "",
        "| | rows (deals) | base rate | AUC | Brier | ECE | log-loss |",
    ]
    return [*head, "|---|---|---|---|---|---|---|", *rows, ""]


def _cells(of: Figures) -> str:
    numbers = (of.base_rate, of.auc, of.brier, of.calibration_error, of.log_loss)
    return " | ".join((f"{of.rows:,} ({of.deals:,})", *(figure(number) for number in numbers)))

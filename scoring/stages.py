"""What is known of a sales process: its stages in order, how long each usually takes, and what ends it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from events.times import DAY_MS

UNKNOWN_NORM_DAYS = 14.0
"""How long a deal stays in a stage that nobody described."""


class StageNorm(Struct, frozen=True, kw_only=True):
    """One stage. ``place`` is its position in [0, 1], None when the stage is unknown.

    ``answer_days``: buyers usually answer within this; ``elapsed_days``/``remaining_days``: what a deal usually
    takes to come here, and from here to its end.
    """

    name: str
    place: float | None
    norm_days: float
    answer_days: int
    elapsed_days: float
    remaining_days: float
    is_won: bool = False
    is_lost: bool = False

    @property
    def norm_ms(self) -> int:
        """The usual stay in milliseconds."""
        return int(self.norm_days * DAY_MS)


class Process:
    """The stages of a sales process.

    Parameters: ``stages`` as (name, norm_days, is_won, is_lost) in order; empty = the usual names of CRMs.
    A name is looked up as written, then without regard to case; what is not found is an unknown stage.
    """

    def __init__(self, stages: Iterable[tuple[str, float, bool, bool]] = ()) -> None:
        given = list(stages)
        self.stages = _numbered([[stage] for stage in given]) if given else _numbered(_USUAL)
        self._by_name = {stage.name: stage for stage in self.stages}
        self._by_folded = {stage.name.casefold(): stage for stage in self.stages}
        for name in (*_WON_NAMES, *_LOST_NAMES):
            self._by_folded.setdefault(name, _end(name, name in _WON_NAMES))
        total = sum(stage.norm_days for stage in self.stages if not (stage.is_won or stage.is_lost))
        self.unknown = StageNorm(
            name="", place=None, norm_days=UNKNOWN_NORM_DAYS, answer_days=7,
            elapsed_days=total / 2, remaining_days=max(total / 2, UNKNOWN_NORM_DAYS),
        )  # fmt: skip

    def find(self, name: str) -> StageNorm:
        """The stage of this name, or ``unknown``."""
        return self._by_name.get(name) or self._by_folded.get(name.casefold(), self.unknown)


def _end(name: str, is_won: bool) -> StageNorm:
    return StageNorm(
        name=name, place=1.0, norm_days=1.0, answer_days=4, elapsed_days=0.0, remaining_days=1.0,
        is_won=is_won, is_lost=not is_won,
    )  # fmt: skip


def _numbered(ranks: list[list[tuple[str, float, bool, bool]]]) -> list[StageNorm]:
    """Stages with their places; names on one rank are other words for one stage."""
    running = [rank for rank in ranks if not (rank[0][2] or rank[0][3])]
    total = sum(rank[0][1] for rank in running)
    found, elapsed, at = [], 0.0, 0
    for rank in ranks:
        is_running = not (rank[0][2] or rank[0][3])
        place = at / max(1, len(running) - 1) if is_running else 1.0
        for name, norm_days, is_won, is_lost in rank:
            found.append(
                StageNorm(
                    name=name,
                    place=place,
                    norm_days=norm_days,
                    answer_days=_answer_days(place),
                    elapsed_days=elapsed,
                    remaining_days=max(total - elapsed, 1.0),
                    is_won=is_won,
                    is_lost=is_lost,
                )
            )
        if is_running:
            at += 1
            elapsed += rank[0][1]
    return found


def _answer_days(place: float) -> int:
    """Buyers answer faster the nearer the end: a week at the start, five days in the middle, four at the end."""
    if place < 1 / 3:
        return 7
    return 5 if place < 2 / 3 else 4


def _rank(norm_days: float, *names: str) -> list[tuple[str, float, bool, bool]]:
    return [(name, norm_days, False, False) for name in names]


_USUAL = [
    _rank(14.0, "Prospecting", "Lead", "New", "Prospect"),
    _rank(14.0, "Qualification", "Qualified", "Discovery", "Needs Analysis", "Engaging"),
    _rank(14.0, "Demo", "Evaluation", "Value Proposition", "Id. Decision Makers", "Perception Analysis"),
    _rank(14.0, "Proposal", "Proposal/Price Quote", "Quote", "Offer"),
    _rank(11.0, "Negotiation", "Negotiation/Review", "Contract"),
]
_WON_NAMES = ("won", "closed won", "closedwon")
_LOST_NAMES = ("lost", "closed lost", "closedlost")

"""A model's card, and the file that holds both: plain data, read where nothing is learned."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from events.types import ModelTables

FORMAT = 1
Verdict = Literal["better", "worse", "not matured"]


class Figures(Struct, frozen=True, kw_only=True):
    """Of one target, on some rows; ``deals``: how many deals they are of. ``auc``: None without both outcomes."""

    rows: int
    deals: int
    base_rate: float
    auc: float | None
    brier: float
    calibration_error: float
    log_loss: float


class Compared(Struct, frozen=True, kw_only=True):
    """A target by the model and by the scorecard on the same rows. ``gain``: log-loss less, in nats a row; ``gain_se``
    its standard error, with deals as clusters. ``reliability``: of the model, ten bins."""

    target: str
    model: Figures
    scorecard: Figures
    gain: float
    gain_se: float
    reliability: list[dict[str, float]]


class Group(Struct, frozen=True, kw_only=True):
    """The model's figures for the rows of one segment, owner or stage; target: lost."""

    of: str
    name: str
    figures: Figures


class Rival(Struct, frozen=True, kw_only=True):
    """Full boosting on the same rows, learned from the same deals; it never scores, as its reasons are not exact.

    ``auc_gap``, ``gap``: AUC and log-loss (nats a row) that the tables give away; ``gap_se``: the latter's standard
    error, with deals as clusters. Below 0 the tables are better.
    """

    target: str
    figures: Figures
    auc_gap: float | None
    gap: float
    gap_se: float


class HeldOut(Struct, frozen=True, kw_only=True):
    """What a model of the same kind, that learned only from before ``since``, would have said from there on.

    ``closed_deals``: deals open at a snapshot there whose end is known. ``verdict``: against the scorecard, by
    log-loss on "lost in 14 days" and "lost": worse when they lose together, or one by more than its standard error;
    better when one gains more than that; "not matured" when neither can be told. ``full``, ``full_groups``: full
    boosting beside it; empty with too few closed deals.
    """

    since: str
    learned_from: int
    closed_deals: int
    verdict: Verdict
    why: str
    targets: list[Compared]
    groups: list[Group]
    full: list[Rival] = []
    full_groups: list[Group] = []


class Card(Struct, frozen=True, kw_only=True):
    """What a model is, what it learned from, how good it was, and what it can't."""

    hash: str
    kind: str
    kinds: dict[str, str]
    made_from: str
    made_until: str
    deals: int
    won_deals: int
    lost_deals: int
    open_deals: int
    rows: int
    currencies: list[str]
    features: list[str]
    entries: int
    held_out: HeldOut
    limits: list[str]
    reference: dict[str, list[float]]


class Week(Struct, frozen=True, kw_only=True):
    """One week's rows by what came within 14 days."""

    at: str
    model: Figures
    scorecard_log_loss: float


class Drift(Struct, frozen=True, kw_only=True):
    """How far a feature has moved: its population stability index over the model's bins."""

    feature: str
    stability: float


class Health(Struct, frozen=True, kw_only=True):
    """How a model did from ``since`` to ``until``, by labels that have matured. ``alerts``: what needs somebody.
    ``full``: of a weekly look, full boosting beside the model learned anew, on that model's held-out deals."""

    model: str
    since: str
    until: str
    closed_deals: int
    verdict: Verdict
    why: str
    targets: list[Compared]
    weeks: list[Week]
    drift: list[Drift]
    alerts: list[str]
    full: list[Rival] = []


class ModelFile(Struct, frozen=True, kw_only=True):
    """A model and its card as ``tripline deals train`` writes them."""

    format: int
    hash: str
    tables: ModelTables
    card: Card


class Looked(Struct, frozen=True, kw_only=True):
    """What a weekly look found. ``health``: of the model that scores, None for the scorecard. ``candidates`` are kept;
    ``promote``: the hash of the one that should score (or "scorecard"), "" for no change; ``why``: in words. ``full``:
    full boosting beside the model learned anew."""

    health: Health | None
    candidates: list[ModelFile]
    promote: str
    why: str
    full: list[Rival] = []

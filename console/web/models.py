"""The page of the models of deals: which scores, what its card says, and which scored before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar import Request, Response, get
from markupsafe import Markup, escape
from msgspec import Struct
from msgspec.structs import replace

from console.api.models import ModelList, ModelShown, listed
from console.api.queries import read
from console.models.card import KIND_WORDS, facts, figure, rivals, verdict
from console.services import services_of
from console.text import plain
from console.web.frame import frame_of
from console.web.look import Frame
from console.web.render import page
from events.times import parse_ms
from scoring.model import SCORECARD
from scoring.tables import PROVEN_DEALS
from scoring.training.card import Compared, Figures, Health, Rival

_Request = Request[Any, Any, Any]
SHORT = 12
SHOWN_USES, SHOWN_WEEKS, SHOWN_DRIFT = 20, 12, 6
SIZE, LEFT, BOTTOM = 260, 40, 216
_TARGETS = {"lost": "Lost in the end", "lost in 14 days": "Lost within 14 days", "slips": "Not won by the close date"}


class Row(Struct, frozen=True):
    """One target's figures, of the model, of the scorecard, and of full boosting (empty: too few closed deals)."""

    name: str
    rows: str
    model: list[str]
    scorecard: list[str]
    gain: str
    picture: Markup
    full: list[str]
    full_gap: str


class Use(Struct, frozen=True):
    """From when on which model scored."""

    at: str
    at_iso: str
    name: str
    by: str
    reason: str
    forced: bool


class HealthView(Struct, frozen=True):
    """What was last found of this model's health."""

    lead: str
    alerts: list[str]
    full: str
    weeks: list[tuple[str, str, str, str, str]]
    drift: list[tuple[str, str]]


class ModelView(Struct, frozen=True):
    """Everything on the page; ``rows`` is empty for the scorecard."""

    name: str
    lead: str
    why: str
    facts: list[tuple[str, str]]
    rows: list[Row]
    groups: list[tuple[str, list[str]]]
    limits: list[str]
    others: list[tuple[str, str, str, str]]
    uses: list[Use]
    health: HealthView | None = None


@get("/deals/model", include_in_schema=False)
async def model_page(request: _Request) -> Response[str]:
    """Which model scores deals, and what it is worth."""
    services, frame = services_of(request), frame_of(request, "deals")
    found = await read(lambda: listed(services))
    return page("model.html", frame=frame, clock=frame.clock, view=model_view(found, frame))


def model_view(found: ModelList, frame: Frame) -> ModelView:
    """What the page shows; every text that came from outside goes through ``plain``."""
    active = next((one for one in found.models if one.hash == found.active), None)
    uses = [
        Use(
            at=frame.clock.full(parse_ms(use.at)),
            at_iso=use.at,
            name=_name(use.hash),
            by=plain(use.by, 80),
            reason=plain(use.reason, 300),
            forced=use.forced,
        )
        for use in found.uses[:SHOWN_USES]
    ]
    others: list[tuple[str, str, str, str]] = [
        (_name(one.hash), one.state, one.kind, verdict(one.card)) for one in found.models if one.hash != found.active
    ]
    if active is None:
        return ModelView(_name(SCORECARD), _by_hand(), "", [], [], [], [], others, uses)
    health = found.health if found.health is not None and found.health.model == active.hash else None
    return replace(_learned(active, others, uses), health=None if health is None else _health(health))


def reliability(one: Compared) -> Markup:
    """What was said against what came, as a picture: each dot's area by its rows, dashed where both are equal."""
    side = BOTTOM - 12

    def x(share: float) -> float:
        return LEFT + share * side

    def y(share: float) -> float:
        return BOTTOM - share * side

    parts = []
    for step in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path class="grid" d="M{LEFT} {y(step):.1f}H{x(1):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(step) + 4:.1f}" text-anchor="end">{step:.0%}</text>')
        parts.append(f'<text x="{x(step):.1f}" y="{BOTTOM + 18}" text-anchor="middle">{step:.0%}</text>')
    parts.append(f'<path class="released" d="M{x(0)} {y(0)}L{x(1)} {y(1)}"/>')
    line = "L".join(f"{x(bin_['said']):.1f} {y(bin_['came']):.1f}" for bin_ in one.reliability)
    parts.append(f'<path class="spk" d="M{line}"/>')
    most = max(bin_["rows"] for bin_ in one.reliability)
    for bin_ in one.reliability:
        told = f"{bin_['rows']:,.0f} rows: said {bin_['said']:.0%}, came {bin_['came']:.0%}"
        radius = 2.5 + 6 * (bin_["rows"] / most) ** 0.5
        parts.append(
            f'<circle class="dot" cx="{x(bin_["said"]):.1f}" cy="{y(bin_["came"]):.1f}" r="{radius:.1f}">'
            f"<title>{escape(told)}</title></circle>"
        )
    words = (
        f"Reliability, {_TARGETS.get(one.target, one.target)}: calibration error {figure(one.model.calibration_error)}"
    )
    inside = "".join(parts)
    return Markup(  # noqa: S704  # made of numbers and our own words
        f'<svg viewBox="0 0 {SIZE} {BOTTOM + 28}" role="img" aria-label="{escape(words)}">{inside}</svg>'
    )


def _learned(active: ModelShown, others: list[tuple[str, str, str, str]], uses: list[Use]) -> ModelView:
    card = active.card
    words = KIND_WORDS.get(card.kind, plain(card.kind, 40))
    return ModelView(
        name=_name(active.hash),
        lead=f"{words[:1].upper()}{words[1:]}. On held-out labels: {verdict(card)}.",
        why=f"From {card.held_out.since[:10]} on: {plain(card.held_out.why, 600)}.",
        facts=[(name, plain(value, 300)) for name, value in facts(card)],
        rows=[
            _row(one, next((full for full in card.held_out.full if full.target == one.target), None))
            for one in card.held_out.targets
        ],
        groups=[(f"{one.of}: {plain(one.name, 80)}", _figures(one.figures)) for one in card.held_out.groups],
        limits=[plain(limit, 400) for limit in card.limits],
        others=others,
        uses=uses,
    )


def _health(found: Health) -> HealthView:
    return HealthView(
        lead=f"{found.since[:10]} to {found.until[:10]}: {found.verdict}; {plain(found.why, 600)}.",
        full=rivals(found.full),
        alerts=[plain(alert, 600) for alert in found.alerts],
        weeks=[
            (week.at[:10], f"{week.model.rows:,}", figure(week.model.brier), figure(week.model.log_loss),
             figure(week.scorecard_log_loss))
            for week in found.weeks[-SHOWN_WEEKS:]
        ],
        drift=[(plain(one.feature, 40), figure(one.stability, 2)) for one in found.drift[:SHOWN_DRIFT]],
    )  # fmt: skip


def _by_hand() -> str:
    return (
        "Its weights were set by hand, before any outcome was looked at. "
        f"Unproven on your CRM until {PROVEN_DEALS} deals have closed; learn a model: tripline deals train."
    )


def _row(one: Compared, full: Rival | None) -> Row:
    return Row(
        name=_TARGETS.get(one.target, one.target),
        rows=f"{one.model.rows:,} ({one.model.deals:,})",
        model=_figures(one.model),
        scorecard=_figures(one.scorecard),
        gain=f"{one.gain:+.3f} ± {one.gain_se:.3f}",
        picture=reliability(one) if one.reliability else Markup(),
        full=[] if full is None else _figures(full.figures),
        full_gap="" if full is None else f"{full.gap:+.3f} ± {full.gap_se:.3f}",
    )


def _figures(of: Figures) -> list[str]:
    return [figure(number) for number in (of.base_rate, of.auc, of.brier, of.calibration_error, of.log_loss)]


def _name(hash_: str) -> str:
    return "Hand scorecard" if hash_ == SCORECARD else plain(hash_, 64)[:SHORT]


ROUTES: Sequence[Any] = [model_page]

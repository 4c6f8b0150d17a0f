"""A deal's page in words: how it stands, what moved it, why, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup
from msgspec import Struct

from console.text import plain
from console.web import words as w
from console.web.agent import folded
from console.web.alerts import AlertLine, alert_lines
from console.web.charts import Pin, contribution, risk_steps
from console.web.look import Frame, person_name
from console.web.overview import main_reason
from console.web.whatif import IfLine
from events.catalogue import kind_of
from storage.alert_verdicts import AlertRow
from storage.read.types import ActionRow, DealRow, ScorePoint

_MAX_PINS = 8
_MIN_MOVE = 0.01
_MAX_TOUCHES = 8


class Mover(Struct, frozen=True):
    """One numbered event that moved the score."""

    number: int
    when: str
    when_iso: str
    what: str
    before: str
    after: str
    change: str


class Weight(Struct, frozen=True):
    """One reason with its bar."""

    sentence: str
    bar: Markup
    word: str
    log_odds: str
    feature: str


class Touch(Struct, frozen=True):
    """Something that an agent did here."""

    at: str
    at_iso: str
    agent_id: str
    text: str
    note: str


class DealView(Struct, frozen=True):
    """Everything on a deal's page."""

    deal_id: str
    deal: str
    account: str
    title: str
    lead: str
    risk: str
    step: int
    slips: str
    facts: list[tuple[str, str, str]]
    chart: Markup
    scored: str
    movers: list[Mover]
    why: list[Weight]
    model: str
    base: str
    total: str
    unproven: bool
    next: str
    link: str | None
    touches: list[Touch]
    rank: int | None
    whatif: list[IfLine]
    alerts: list[AlertLine]


def deal_view(
    row: DealRow,
    points: Sequence[ScorePoint],
    deeds: Sequence[ActionRow],
    whatif: list[IfLine],
    alerts: Sequence[AlertRow],
    frame: Frame,
) -> DealView:
    """A deal's page from what the store says."""
    clock = frame.clock
    movers, pins = _movers(points, clock)
    who = plain(row.account, 80) or plain(row.deal, 80) or plain(row.deal_id, 80)
    return DealView(
        deal_id=row.deal_id,
        deal=plain(row.deal, 160) or plain(row.deal_id, 80),
        account=plain(row.account, 120),
        title=_title(row, who),
        lead=_lead(row),
        risk=w.percent(row.p_lost),
        step=w.risk_step(row.p_lost),
        slips=w.percent(row.p_slip),
        facts=_facts(row, frame),
        chart=risk_steps(points, clock, pins),
        scored=clock.time(row.at_ms),
        movers=movers,
        why=_why(row),
        model=f"{plain(row.model.kind, 40)}, version {row.model.version}" if row.model else w.UNKNOWN,
        base=f"{row.base:.2f}".replace("-", "−"),
        total=f"{sum(r.contribution for r in row.reasons):+.2f}".replace("-", "−"),
        unproven=row.model is not None and not row.model.proven,
        next=plain(row.recommended_action, 300),
        link=row.link if row.link and row.link.startswith(("https://", "http://")) else None,
        touches=_touches(deeds, frame),
        rank=row.rank,
        whatif=whatif,
        alerts=alert_lines(alerts, frame),
    )


def _title(row: DealRow, who: str) -> str:
    if not row.is_open:
        return f"{who}: closed"
    if row.p_lost is None:
        return f"{who}: not scored yet"
    return {"high": f"{who} may be lost", "watch": f"{who} needs watching"}.get(row.band or "", f"{who} looks sound")


def _lead(row: DealRow) -> str:
    parts = [plain(row.deal, 160) + "." if row.deal and row.account else "", main_reason(row)]
    if row.p_lost is not None and row.p_lost_before is not None:
        moved = round((row.p_lost - row.p_lost_before) * 100)
        word = "Up" if moved > 0 else "Down"
        if moved:
            parts.append(f"{word} from {w.percent(row.p_lost_before)} on Monday;")
    if row.p_slip is not None and row.is_open:
        slips = f"{w.percent(row.p_slip)} likely to slip past its close date."
        parts.append(slips)
    return " ".join(part for part in parts if part)


def _facts(row: DealRow, frame: Frame) -> list[tuple[str, str, str]]:
    clock, settings = frame.clock, frame.settings
    manager = person_name(settings, row.manager_id)
    return [
        ("Amount", w.money_minor(row.amount_minor, row.currency or settings.deals.currency), ""),
        ("Closes", clock.date_text(row.close_date), clock.in_days(row.close_date)),
        ("Stage", plain(row.stage, 60) or w.UNKNOWN, ""),
        ("Owner", person_name(settings, row.owner_id) or w.UNKNOWN, f"manager {manager}" if manager else ""),
    ]


def _movers(points: Sequence[ScorePoint], clock: w.Clock) -> tuple[list[Mover], list[Pin]]:
    """The events that moved the score most, in order of time."""
    steps = [
        (now.p_lost - before.p_lost, before, now)
        for before, now in pairwise(points)
        if abs(now.p_lost - before.p_lost) >= _MIN_MOVE and now.cause
    ]
    biggest = sorted(steps, key=lambda step: -abs(step[0]))[:_MAX_PINS]
    chosen = sorted(biggest, key=lambda step: step[2].at_ms)
    movers = [
        Mover(
            number=place,
            when=clock.time(now.at_ms) if clock.is_today(now.at_ms) else clock.day(now.at_ms),
            when_iso=clock.iso(now.at_ms),
            what=plain(now.cause, 200),
            before=w.percent(before.p_lost).removesuffix(" %"),
            after=w.percent(now.p_lost),
            change=w.points(change),
        )
        for place, (change, before, now) in enumerate(chosen, 1)
    ]
    return movers, [Pin(place, now.at_ms) for place, (_, _, now) in enumerate(chosen, 1)]


def _why(row: DealRow) -> list[Weight]:
    reasons = sorted(row.reasons, key=lambda reason: -abs(reason.contribution))
    most = max((abs(reason.contribution) for reason in reasons), default=0.0)
    raising = [r for r in reasons if r.contribution > 0]
    lowering = [r for r in reasons if r.contribution < 0]
    weights = []
    for reason in [*raising, *lowering]:
        word = "raises" if reason.contribution > 0 else "lowers"
        if abs(reason.contribution) == most:
            word += ", most"
        elif most and abs(reason.contribution) < most / 6:
            word += ", little"
        weights.append(
            Weight(
                plain(reason.sentence, 240),
                contribution(reason.contribution, most),
                word,
                f"{reason.contribution:+.2f}".replace("-", "−"),
                plain(reason.feature, 60),
            )
        )
    return weights


def _touches(deeds: Sequence[ActionRow], frame: Frame) -> list[Touch]:
    """What agents changed here; the CRM's own record of a reported change is left out, and so are reads."""
    writes = [row for row, _ in folded(deeds) if kind_of(row.action).is_write]
    return [_touch(row, frame) for row in writes[:_MAX_TOUCHES]]


def _touch(row: ActionRow, frame: Frame) -> Touch:
    fields = next(iter(row.changes.values()), {})
    name, change = next(iter(fields.items()), ("", None))
    after = change[1] if isinstance(change, list | tuple) and len(change) == 2 else None
    if isinstance(change, dict):
        after = change.get("after")
    text = f"set {plain(name, 60)} to “{w.value(after) or 'empty'}”" if name else plain(row.action, 80)
    outcome = {"denied": "refused", "held": "held", "error": "failed", "ok": "", "admitted": "in flight"}
    return Touch(
        frame.clock.time(row.at_ms),
        frame.clock.iso(row.at_ms),
        row.agent_id,
        text,
        outcome.get(row.outcome, plain(row.outcome, 40)),
    )

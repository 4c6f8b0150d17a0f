"""Which five deals a manager should look at, whom to tell, and which deals to close out.

**Stake** of a deal: s = p_lost + 0.25 × (p_slip − p_lost); a deal that slips costs a quarter of one that is lost.
**Value** = amount × new risk × still savable. *Amount*: roughly in euros; an unknown amount counts like the mean of
the manager's known ones. *New risk* = max(s − s₀, s / 4), where s₀ is the lowest stake of the 7 to 14 days before
(at most ``EXIT`` for a deal never seen before): risk that has just come counts in full, risk that was there before a
quarter. *Still savable* = 1 up to p_lost .70, falling to 0 at .95.
**Watched**: a deal enters at s ≥ .50 and leaves below .35. The five are the watched deals of the highest value. From
p_lost ≥ .95 a deal is *hopeless*: it leaves the five for the close-out list, and returns below .90.
**Alert**: when a deal comes into the five, and ``cooldown_days`` (7) have passed since its last alert; or at any time
while it is among the five, when it has a reason (contribution ≥ .5) that its last alert did not have.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Literal

import msgspec
from msgspec import Struct

from events.times import DAY_MS, format_ms
from events.types import Alert, Event, PortfolioScore
from scoring.money import decimal_text, rough_euros

SLIP_SHARE = 0.25
STANDING_SHARE = 0.25
ENTER, EXIT = 0.50, 0.35
SAVABLE_FULL, SAVABLE_END = 0.70, 0.95
HOPELESS_ENTER, HOPELESS_EXIT = 0.95, 0.90
STRONG = 0.5
"""A reason of this contribution or more, not yet told, makes a deal worth another alert."""
SILENT = 1.0
"""The silence table gives this from ``silent_days`` on: an alert led by it is a "deal_silent"."""
TOP = 5
MAX_CLOSE_OUT = 20
MAX_DEALS = 2_000
"""Open deals kept for a manager; when there are ``SPARE_DEALS`` more, those of the least value are left out."""
SPARE_DEALS = 200
REFERENCE_MS = 7 * DAY_MS
UNKNOWN_EUROS = 10_000.0


class RankedDeals(Struct, frozen=True, kw_only=True, gc=False):
    """A manager's five, best first (rank 1–5), and the deals to close out, largest first."""

    manager_id: str
    at: str
    open_deals: int
    rows: list[Alert]
    close_out: list[Alert]
    close_out_deals: int


class RankedEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.deals.top.v1"):
    """tripline.deals.top.v1"""

    data: RankedDeals


class Row(Struct, array_like=True, gc=False):
    """One open deal in a manager's book. ``low`` and ``reference`` are stakes, see the module's formula."""

    score: PortfolioScore
    stake: float = 0.0
    value: float = 0.0
    euros: float | None = None
    reference: float = 0.0
    low: float = 0.0
    reference_ms: int = 0
    is_watched: bool = False
    is_hopeless: bool = False
    alerted_ms: int | None = None
    alerted_for: list[str] = []


class Shown(Struct, array_like=True, frozen=True):
    """What was said of a manager's five last."""

    rows: list[PortfolioScore] = []
    open_deals: int = 0
    close_out: list[PortfolioScore] = []
    close_out_deals: int = 0


class Book(Struct, array_like=True):
    """A manager's open deals, the five as they were decided last, and what was said of them."""

    rows: dict[str, Row] = {}
    known_euros: float = 0.0
    known_deals: int = 0
    top: list[str] = []
    shown: Shown = Shown()
    is_changed: bool = False


class Order:
    """A book's deals sorted: ``watched`` by (−value, deal), ``hopeless`` by (−euros, deal). Made from the book.

    ``is_shown_changed``: whether anything that ``decide`` looks at may be other than it was then.
    """

    __slots__ = ("hopeless", "is_shown_changed", "watched")

    def __init__(self, book: Book) -> None:
        self.is_shown_changed = True
        self.watched: list[tuple[float, str]] = []
        self.hopeless: list[tuple[float, str]] = []
        for row in book.rows.values():
            _put_in(self, row)


def take(book: Book, order: Order, score: PortfolioScore, at_ms: int) -> None:
    """Enter a deal's new score; a deal that is not open any more leaves the book."""
    book.is_changed = True
    row = book.rows.get(score.deal_id)
    if row is not None:
        if row.is_watched or row.is_hopeless:
            _take_out(order, row)
        if row.euros is not None:
            book.known_euros -= row.euros
            book.known_deals -= 1
    if not score.is_open:
        order.is_shown_changed = True
        book.rows.pop(score.deal_id, None)
        return
    p_lost = score.p_lost
    stake = p_lost + SLIP_SHARE * (score.p_slip - p_lost)
    if row is None:
        order.is_shown_changed = True
        low = min(stake, EXIT)
        row = book.rows[score.deal_id] = Row(score, reference=low, low=low, reference_ms=at_ms)
    row.score, row.stake = score, stake
    _remember_low(row, at_ms)
    row.is_watched = stake >= (EXIT if row.is_watched else ENTER)
    row.is_hopeless = p_lost >= (HOPELESS_EXIT if row.is_hopeless else HOPELESS_ENTER)
    minor = score.amount_minor
    row.euros = euros = None if minor is None else rough_euros(minor, score.currency)
    if euros is not None:
        book.known_euros += euros
        book.known_deals += 1
    row.value = _value(book, row)
    if row.is_watched or row.is_hopeless:
        _put_in(order, row)
    if len(book.rows) >= MAX_DEALS + SPARE_DEALS:
        _leave_some_out(book, order)


class Told(Struct, frozen=True):
    """One alert to give: the row, its rank, and what it is about."""

    row: Row
    rank: int
    kind: Literal["deal_risk", "deal_slip", "deal_silent"]


def decide(book: Book, order: Order, at_ms: int, cooldown_days: int = 7) -> tuple[list[Told], bool]:
    """The alerts of this tick, and whether what is shown of the five has changed since it was last said."""
    book.is_changed = False
    if not order.is_shown_changed:  # the same five with the same scores: each was told, or rests, as it was then
        return [], False
    order.is_shown_changed = False
    before, book.top = book.top, [deal_id for _, deal_id in order.watched[:TOP]]
    told = []
    for rank, deal_id in enumerate(book.top, 1):
        row = book.rows[deal_id]
        strong = [reason.feature for reason in row.score.reasons if reason.contribution >= STRONG]
        if _is_due(row, strong, is_new=deal_id not in before, at_ms=at_ms, cooldown_ms=cooldown_days * DAY_MS):
            row.alerted_ms, row.alerted_for = at_ms, strong
            told.append(Told(row, rank, kind_of(row.score)))
    shown = Shown(
        [book.rows[deal_id].score for deal_id in book.top],
        len(book.rows),
        [book.rows[deal_id].score for _, deal_id in order.hopeless[:MAX_CLOSE_OUT]],
        len(order.hopeless),
    )
    is_new = shown != book.shown
    book.shown = shown
    return told, is_new


def _is_due(row: Row, strong: list[str], *, is_new: bool, at_ms: int, cooldown_ms: int) -> bool:
    if row.alerted_ms is None:
        return True
    if any(feature not in row.alerted_for for feature in strong):
        return True
    return is_new and at_ms - row.alerted_ms >= cooldown_ms


def kind_of(score: PortfolioScore) -> Literal["deal_risk", "deal_slip", "deal_silent"]:
    """What an alert is about: silence when that leads, a late close when a loss is not likely, else the risk."""
    if score.reasons and score.reasons[0].feature == "silence" and score.reasons[0].contribution >= SILENT:
        return "deal_silent"
    return "deal_slip" if score.p_lost < ENTER <= score.p_slip else "deal_risk"


def alert_of(score: PortfolioScore, *, alert_id: str, kind: str, at_ms: int, rank: int, open_deals: int) -> Alert:
    """The alert, or row of the five, that says a score."""
    minor = score.amount_minor
    return Alert(
        alert_id=alert_id,
        kind=kind,
        manager_id=score.manager_id,
        deal_id=score.deal_id,
        deal=score.deal,
        account=score.account,
        amount=None if minor is None else decimal_text(minor, score.currency),
        currency=score.currency or None,
        close_date=score.close_date or None,
        link=score.link or None,
        at=format_ms(at_ms),
        rank=rank,
        p_lost=score.p_lost,
        p_slip=score.p_slip,
        reasons=score.reasons,
        recommended_action=score.recommended_action,
        open_deals=open_deals,
    )


def ranked(shown: Shown, manager_id: str, top_id: str, at_ms: int) -> RankedDeals:
    """What is said of a manager's five."""
    return RankedDeals(
        manager_id=manager_id,
        at=format_ms(at_ms),
        open_deals=shown.open_deals,
        rows=_alerts(shown.rows, shown.open_deals, top_id, at_ms),
        close_out=_alerts(shown.close_out, shown.open_deals, f"{top_id}-out", at_ms),
        close_out_deals=shown.close_out_deals,
    )


def dump(book: Book) -> bytes:
    """The book as bytes; equal books give equal bytes."""
    return _encoder.encode(book)


def load(blob: bytes) -> Book:
    """The book from the bytes of ``dump``."""
    return _decoder.decode(blob)


def _alerts(scores: list[PortfolioScore], open_deals: int, top_id: str, at_ms: int) -> list[Alert]:
    return [
        alert_of(score, alert_id=f"{top_id}-{rank}", kind=kind_of(score), at_ms=at_ms, rank=rank, open_deals=open_deals)
        for rank, score in enumerate(scores, 1)
    ]


def _remember_low(row: Row, at_ms: int) -> None:
    """Keep the lowest stake of the last one to two weeks; a new week begins with the first score in it."""
    if at_ms - row.reference_ms >= REFERENCE_MS:
        row.reference, row.low, row.reference_ms = row.low, row.stake, at_ms
    row.low = min(row.low, row.stake)


def _value(book: Book, row: Row) -> float:
    euros = row.euros
    if euros is None:
        euros = book.known_euros / book.known_deals if book.known_deals else UNKNOWN_EUROS
    new_risk = max(row.stake - row.reference, STANDING_SHARE * row.stake)
    savable = (SAVABLE_END - row.score.p_lost) / (SAVABLE_END - SAVABLE_FULL)
    return euros * new_risk * min(1.0, max(0.0, savable))


def _put_in(order: Order, row: Row) -> None:
    if row.is_hopeless:
        order.is_shown_changed = True
        insort(order.hopeless, (-(row.euros or 0.0), row.score.deal_id))
    elif row.is_watched:
        watched = order.watched
        entry = (-row.value, row.score.deal_id)
        place = bisect_left(watched, entry)
        watched.insert(place, entry)
        if place < TOP:
            order.is_shown_changed = True


def _take_out(order: Order, row: Row) -> None:
    if row.is_hopeless:
        order.is_shown_changed = True
        del order.hopeless[bisect_left(order.hopeless, (-(row.euros or 0.0), row.score.deal_id))]
    elif row.is_watched:
        watched = order.watched
        place = bisect_left(watched, (-row.value, row.score.deal_id))
        del watched[place]
        if place < TOP:
            order.is_shown_changed = True


def _leave_some_out(book: Book, order: Order) -> None:
    """Bring an overfull book back to ``MAX_DEALS``: those of the least value go."""
    by_value = sorted(book.rows, key=lambda key: (book.rows[key].value, key))
    for deal_id in by_value[: len(by_value) - MAX_DEALS]:
        row = book.rows.pop(deal_id)
        _take_out(order, row)
        if row.euros is not None:
            book.known_euros -= row.euros
            book.known_deals -= 1
    order.is_shown_changed = True


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Book)

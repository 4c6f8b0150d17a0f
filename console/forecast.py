"""The forecast of a running Tripline: wins and money to the quarter's end per manager, from the scores of now.

Chances come from each open deal's last score, births and past amounts from the deals that this store has seen; the
shock is the default one. How well that fits a log of one's own, ``tripline deals forecast-backtest`` tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from msgspec import Struct

from console.errors import bad_request
from events.times import DAY_MS, HOUR_MS
from governance.settings_types import Deals
from scoring import forecast, forecast_births
from scoring.forecast import Births, Odds, Shock, Spread
from scoring.forecast_births import Life
from scoring.money import digits
from storage.read.book import BookDeal
from streams.deals import UNASSIGNED, process_of

MAX_DAYS = 366
MEMORY_MS = 2 * 366 * DAY_MS
"""Deals that closed before are not looked at."""
SHOCK = Shock()
_drawn = lru_cache(maxsize=128)(forecast.draw)


class Range(Struct, frozen=True):
    """What is expected, and the ends of the 80 % interval."""

    mean: float
    low: float
    high: float


class Money(Struct, frozen=True, kw_only=True):
    """One currency: what was won in the quarter, and what is still to come, in minor units."""

    currency: str
    won_minor: int
    mean_minor: int
    low_minor: int
    high_minor: int


class Outlook(Struct, frozen=True, kw_only=True):
    """A manager's outlook; ``manager_id`` None: everybody's. ``births``: wins expected of deals not yet born.

    ``quota_minor`` and ``quota_chance`` (to reach it with what was won) are of the settings' currency alone.
    """

    manager_id: str | None
    open_deals: int
    without_amount: int
    won: int
    wins: Range
    births: float
    money: list[Money]
    currency: str
    quota_minor: int | None = None
    quota_chance: float | None = None


class ForecastAnswer(Struct, frozen=True, kw_only=True):
    """From ``at_ms`` until ``until`` (its end, in the deals' time zone); what was won counts from ``since`` on."""

    at_ms: int
    since: str
    until: str
    days: float
    proven: bool
    notes: list[str]
    outlooks: list[Outlook]


def until_of(text: str | None, settings: Deals, now_ms: int) -> date:
    """The last day asked for; without one, that of the quarter. Raises Refused."""
    today = _today(settings, now_ms)
    if text is None:
        return _quarter(today)[1]
    try:
        until = date.fromisoformat(text)
    except ValueError:
        raise bad_request(f"until: {text[:40]!r} is no date such as 2026-03-31", "until") from None
    if not today <= until <= today + timedelta(days=MAX_DAYS):
        raise bad_request(f"until: {until} is not between today, {today}, and a year from now", "until")
    return until


def outlook(book: Sequence[BookDeal], settings: Deals, now_ms: int, until: date, manager: str | None) -> ForecastAnswer:
    """The forecast from a store's deals; of one manager, else of each and of all."""
    zone = ZoneInfo(settings.time_zone)
    since = _quarter(_today(settings, now_ms))[0]
    end_ms = _midnight(until + timedelta(days=1), zone)
    hour_ms = now_ms // HOUR_MS * HOUR_MS  # so that what did not change is not drawn again until the next hour
    days = (end_ms - hour_ms) / DAY_MS
    asked = _Asked(book, settings, hour_ms, days, _midnight(since, zone))
    names = asked.managers if manager is None else [manager]
    tick = str(_today(settings, now_ms))
    drawn = {name: asked.draw(tick, name) for name in names}
    outlooks = [asked.tell(name, [name], found) for name, found in drawn.items()]
    if manager is None:
        outlooks.insert(0, asked.tell(None, names, forecast.together(list(drawn.values()))))
    return ForecastAnswer(
        at_ms=now_ms,
        since=since.isoformat(),
        until=until.isoformat(),
        days=round(days, 3),
        proven=any(deal.is_proven for deal in book),
        notes=asked.notes(names, since),
        outlooks=outlooks,
    )


class _Asked:
    """The deals of a store, ready to be asked about."""

    def __init__(self, book: Sequence[BookDeal], settings: Deals, now_ms: int, days: float, since_ms: int) -> None:
        self._settings, self._now_ms, self._days, self._since_ms = settings, now_ms, days, since_ms
        process = process_of(settings)
        self._won = {deal.deal_id for deal in book if not deal.is_open and process.find(deal.stage).is_won}
        self._by_manager: dict[str, list[BookDeal]] = {}
        for deal in book:
            if deal.is_open or deal.at_ms >= now_ms - MEMORY_MS:
                self._by_manager.setdefault(deal.manager_id or UNASSIGNED, []).append(deal)
        self.managers = sorted(name for name, deals in self._by_manager.items() if any(each.is_open for each in deals))
        first_ms = min((deal.first_ms for deal in book), default=now_ms)
        # What a store sees on its first day was born before: that says nothing of how many deals are born.
        self._known_ms = first_ms + DAY_MS
        self._share = self._share_of(book)

    @property
    def _has_births(self) -> bool:
        return self._now_ms - self._known_ms >= forecast_births.LEAST_DAYS * DAY_MS

    def _share_of(self, book: Sequence[BookDeal]) -> float:
        if not self._has_births:
            return 0.0
        lives = [
            Life(deal.first_ms, None if deal.is_open else deal.at_ms, deal.deal_id in self._won)
            for deal in book
            if deal.first_ms >= self._known_ms
        ]
        return forecast_births.share_won(lives, self._now_ms, max(round(self._days), 1))

    def draw(self, tick: str, name: str) -> forecast.Drawn:
        """What the manager may win from now on."""
        deals = self._by_manager.get(name, [])
        odds = tuple(
            Odds(
                deal.deal_id,
                forecast.won_within(deal.p_lost, deal.p_won_by, self._days) if deal.p_lost is not None else 0.0,
                deal.amount_minor,
                deal.currency or self._settings.currency,
            )
            for deal in deals
            if deal.is_open
        )
        return _drawn(tick, name, odds, self._births(name), SHOCK)

    def _births(self, name: str) -> Births:
        deals = self._by_manager.get(name, [])
        lives = [Life(deal.first_ms, None, False) for deal in deals if deal.first_ms >= self._known_ms]
        paid = tuple(
            (deal.currency or self._settings.currency, deal.amount_minor)
            for deal in deals
            if deal.deal_id in self._won and deal.amount_minor is not None
        )
        return Births(forecast_births.expected(lives, self._now_ms, self._days), self._share, paid)

    def tell(self, manager: str | None, names: Sequence[str], drawn: forecast.Drawn) -> Outlook:
        """Draws as an outlook."""
        deals = [deal for name in names for deal in self._by_manager.get(name, [])]
        standing = [deal for deal in deals if deal.is_open]
        won = [deal for deal in deals if deal.deal_id in self._won and deal.at_ms >= self._since_ms]
        wins = forecast.spread(drawn.wins)
        sums: dict[str, int] = {}
        for deal in won:
            currency = deal.currency or self._settings.currency
            sums[currency] = sums.get(currency, 0) + (deal.amount_minor or 0)
        births = sum(self._births(name).expected for name in names) * self._share
        quota_minor, chance = self._quota(names, sums, drawn)
        return Outlook(
            manager_id=manager,
            open_deals=len(standing),
            without_amount=sum(deal.amount_minor is None for deal in standing),
            won=len(won),
            wins=Range(round(wins.mean, 2), wins.low, wins.high),
            births=round(births, 2),
            money=[
                _money(currency, sums.get(currency, 0), drawn.amounts.get(currency))
                for currency in sorted({*sums, *drawn.amounts})
            ],
            currency=self._settings.currency,
            quota_minor=quota_minor,
            quota_chance=chance,
        )

    def _quota(
        self, names: Sequence[str], sums: dict[str, int], drawn: forecast.Drawn
    ) -> tuple[int | None, float | None]:
        """The quota in minor units and the chance to reach it; of all only where each has one."""
        currency, told = self._settings.currency, [self._settings.quota.get(name) for name in names]
        known = [quota for quota in told if quota is not None]
        if not known or len(known) < len(told):
            return None, None
        minor = sum(known) * 10 ** digits(currency)
        coming = drawn.amounts.get(currency) or [0] * forecast.DRAWS
        return minor, forecast.chance_of(coming, minor - sums.get(currency, 0))

    def notes(self, names: Sequence[str], since: date) -> list[str]:
        """What a reader must know before believing it."""
        found = []
        deals = [deal for name in names for deal in self._by_manager.get(name, [])]
        if not self._has_births:
            told = f"{forecast_births.LEAST_DAYS} days"
            found.append(f"deals not yet born are left out: this store has not seen {told} of new deals")
        missing = sum(deal.is_open and deal.amount_minor is None for deal in deals)
        if missing:
            found.append(f"{missing} open deals have no sound amount: they count as wins, not as money")
        unscored = sum(deal.is_open and deal.p_lost is None for deal in deals)
        if unscored:
            found.append(f"{unscored} open deals are not scored yet: they count for nothing")
        currencies = {deal.currency or self._settings.currency for deal in deals if deal.is_open}
        if self._settings.quota and currencies - {self._settings.currency}:
            found.append(f"against quota only money in {self._settings.currency} counts")
        if self._known_ms - DAY_MS > self._since_ms and deals:
            found.append(f"this store begins after {since}: what was won before is not counted")
        return found


def _money(currency: str, won_minor: int, draws: list[int] | None) -> Money:
    found = forecast.spread(draws) if draws else Spread(0.0, 0.0, 0.0, 0.0)
    return Money(
        currency=currency,
        won_minor=won_minor,
        mean_minor=round(found.mean),
        low_minor=round(found.low),
        high_minor=round(found.high),
    )


def _today(settings: Deals, now_ms: int) -> date:
    return datetime.fromtimestamp(now_ms / 1000, ZoneInfo(settings.time_zone)).date()


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def _quarter(day: date) -> tuple[date, date]:
    """First and last day of a calendar quarter."""
    month = (day.month - 1) // 3 * 3 + 1
    after = date(day.year + month // 10, (month + 2) % 12 + 1, 1)
    return date(day.year, month, 1), after - timedelta(days=1)

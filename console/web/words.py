"""Numbers, times, money and states as people read them. One place, so that every page says them alike."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, tzinfo

from msgspec import Struct

from console.text import plain
from events.times import DAY_MS
from scoring.money import shown

UNKNOWN = "–"
_RISK_STEPS = (0.20, 0.35, 0.50, 0.60)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class State(Struct, frozen=True):
    """How a control state is drawn: word, icon, colour class, and its place in "worst first"."""

    word: str
    icon: str
    css: str
    rank: int


STATES: dict[str, State] = {
    "suspended": State("Stopped", "stop", "st-stop", 0),
    "releasing": State("Releasing", "wait", "st-wait", 1),
    "blind": State("Blind", "blind", "st-blind", 2),
    "held": State("Writes held", "wait", "st-wait", 3),
    "throttled": State("Throttled", "slow", "st-wait", 4),
    "shadow": State("Shadow", "shadow", "st-shadow", 5),
    "active": State("Working", "ok", "st-ok", 6),
    "quiet": State("Quiet", "quiet", "st-quiet", 7),
}


def state(name: str) -> State:
    """The look of a state; one we don't know is shown as blind, never as working."""
    return STATES.get(name, STATES["blind"])


class Clock(Struct, frozen=True):
    """Now and the zone in which pages show times."""

    now_ms: int
    zone: tzinfo = UTC

    def at(self, at_ms: int) -> datetime:
        """The moment in the page's zone."""
        return datetime.fromtimestamp(at_ms / 1000, self.zone)

    @property
    def offset_ms(self) -> int:
        """Milliseconds by which the zone is ahead of UTC now: the page's own clock counts with it."""
        offset = self.at(self.now_ms).utcoffset() or timedelta()
        return int(offset.total_seconds() * 1000)

    @property
    def zone_name(self) -> str:
        """Short name of the zone now, such as CET."""
        return self.at(self.now_ms).tzname() or "UTC"

    @property
    def zone_offset(self) -> str:
        """The zone's distance from UTC, such as UTC+1; empty for UTC itself."""
        offset = self.at(self.now_ms).utcoffset() or timedelta()
        minutes = int(offset.total_seconds() // 60)
        if minutes == 0:
            return "" if self.zone_name == "UTC" else "UTC"
        hours, rest = divmod(abs(minutes), 60)
        return f"UTC{'+' if minutes > 0 else '−'}{hours}" + (f":{rest:02d}" if rest else "")

    def iso(self, at_ms: int) -> str:
        """For ``<time datetime>``: with offset, to the second."""
        return self.at(at_ms).isoformat(timespec="seconds")

    def is_today(self, at_ms: int) -> bool:
        """Whether it is the same calendar day as now."""
        return self.at(at_ms).date() == self.at(self.now_ms).date()

    def clock(self, at_ms: int) -> str:
        """09:20:05, whatever the day."""
        return self.at(at_ms).strftime("%H:%M:%S")

    def hm(self, at_ms: int) -> str:
        """09:20, whatever the day."""
        return self.at(at_ms).strftime("%H:%M")

    def time(self, at_ms: int | None) -> str:
        """Today without a date, this week "Tue 17:42", else "27 Mar", with the year when it is another."""
        if at_ms is None:
            return UNKNOWN
        moment, now = self.at(at_ms), self.at(self.now_ms)
        if moment.date() == now.date():
            return moment.strftime("%H:%M:%S")
        if abs(at_ms - self.now_ms) < 6 * DAY_MS:
            return f"{_DAYS[moment.weekday()]} {moment:%H:%M}"
        return self._date(moment)

    def day(self, at_ms: int) -> str:
        """Fri 27 Mar, with the year when it is another."""
        return self._weekday(self.at(at_ms))

    def full(self, at_ms: int) -> str:
        """Wed 4 Mar 2026."""
        moment = self.at(at_ms)
        return f"{_DAYS[moment.weekday()]} {moment.day} {_MONTHS[moment.month - 1]} {moment.year}"

    def _weekday(self, moment: datetime) -> str:
        return f"{_DAYS[moment.weekday()]} {self._date(moment)}"

    def _date(self, moment: datetime) -> str:
        year = "" if moment.year == self.at(self.now_ms).year else f" {moment.year}"
        return f"{moment.day} {_MONTHS[moment.month - 1]}{year}"

    def date_text(self, text: str | None) -> str:
        """An ISO date of the CRM (2026-03-27) as "Fri 27 Mar"."""
        moment = as_date(text)
        return self._weekday(moment) if moment else UNKNOWN

    def in_days(self, text: str | None) -> str:
        """How far a CRM date is: "in 23 days", "today", "5 days ago"."""
        moment = as_date(text)
        if moment is None:
            return ""
        days = (moment.date() - self.at(self.now_ms).date()).days
        if days == 0:
            return "today"
        return f"in {many(days, 'day')}" if days > 0 else f"{many(-days, 'day')} ago"

    def behind(self, at_ms: int | None) -> str:
        """How long ago, for "judged to": "now", "3 s behind", "4 min behind"."""
        if at_ms is None:
            return ""
        return "up to now" if self.now_ms - at_ms < 1500 else f"{span(self.now_ms - at_ms)} behind"


def as_date(text: str | None) -> datetime | None:
    """The date in an ISO text, or None when there is none."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def span(length_ms: int) -> str:
    """A length of time in one unit: 41 ms, 3 s, 4 min, 5 h, 3 days."""
    if length_ms < 1000:
        return f"{max(length_ms, 0)} ms"
    for unit, size in (("days", DAY_MS), ("h", 3_600_000), ("min", 60_000)):
        if length_ms >= size * (2 if unit == "days" else 1):
            return f"{length_ms // size} {unit}"
    return f"{length_ms // 1000} s"


def number(value: float | int | None) -> str:
    """1,318; a fraction keeps one digit; the minus is −; unknown is –."""
    if value is None:
        return UNKNOWN
    text = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    return text.replace("-", "−")


def many(count: int, one: str, several: str = "") -> str:
    """ "1 agent", "3 agents"."""
    return f"{number(count)} {one if count == 1 else several or one + 's'}"


def percent(share: float | None) -> str:
    """0.64 as "64 %"; never "0 %" or "100 %" for what is neither."""
    if share is None:
        return UNKNOWN
    if 0 < share < 0.005:
        return "< 1 %"
    if 0.995 < share < 1:
        return "> 99 %"
    return f"{share * 100:.0f} %"


def points(change: float | None) -> str:
    """A change of a share in points with its sign: +17, −4, 0."""
    if change is None:
        return UNKNOWN
    whole = round(change * 100)
    return f"{whole:+d}".replace("-", "−") if whole else "0"


def risk_step(probability: float | None) -> int:
    """Which of the five violet steps (1–5) a probability of loss has."""
    return 1 + sum(1 for step in _RISK_STEPS if (probability or 0) >= step)


def initials(name: str) -> str:
    """Two letters for the bar: Maya Lindqvist → ML."""
    words = [word for word in plain(name, 80).replace("@", " ").replace(".", " ").split() if word[0].isalnum()]
    return "".join(word[0] for word in words[:2]).upper() or "?"


def person(name: str | None) -> str:
    """Who it was, without our prefixes: "user:005B2" → "005B2"; unknown is –."""
    if not name:
        return UNKNOWN
    return plain(name.removeprefix("user:").removeprefix("group:"), 120) or UNKNOWN


def value(of: object) -> str | None:
    """A field's value for a table cell; None means known to be empty."""
    if of is None or of == "":
        return None
    if isinstance(of, bool):
        return "yes" if of else "no"
    if isinstance(of, str):
        return plain(of, 160) or None
    if isinstance(of, int | float):
        return number(of) if abs(of) < 1e15 else str(of)
    return plain(json.dumps(of, ensure_ascii=False, default=str), 160)


def money_minor(minor: int | None, currency: str | None) -> str:
    """€148,000 from minor units of a currency; unknown is –."""
    return UNKNOWN if minor is None else shown(minor, plain(currency or "", 8))

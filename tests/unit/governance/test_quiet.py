"""When managers are told of deals: by their own clocks, at once or by the next digest; nothing waits for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.times import DAY_MS, parse_ms
from governance.people import person_of
from governance.quiet import WEEK_DAYS, Hours, QuietHours, problems, zone_of
from governance.settings import parse_settings
from governance.settings_types import Quiet

NIGHT = Quiet(since="19:00", until="07:30", days=["sat", "sun"], digests=["08:00", "13:00"])


def ms(text: str, zone: str = "Europe/Berlin") -> int:
    """Monday 2 March 2026 is "mon 09:00" and so on; or a date and a time."""
    day, at = text.split()
    if day in WEEK_DAYS:
        day = f"2026-03-{2 + WEEK_DAYS.index(day):02d}"
    return int(datetime.fromisoformat(f"{day}T{at}").replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("decided", "told"),
    [
        ("mon 09:00", "mon 09:00"),
        ("mon 18:59", "mon 18:59"),
        ("mon 19:00", "tue 08:00"),
        ("tue 03:00", "tue 08:00"),
        ("tue 07:29", "tue 08:00"),
        ("tue 07:30", "tue 07:30"),
        ("fri 19:00", "2026-03-09 08:00"),
        ("sat 12:00", "2026-03-09 08:00"),
        ("2026-03-27 22:00", "2026-03-30 08:00"),  # summer time begins on that Sunday
    ],
)
def test_what_comes_in_quiet_hours_waits_for_the_next_digest(decided: str, told: str) -> None:
    assert Hours(NIGHT, "Europe/Berlin").ready_ms(ms(decided), ms(decided)) == ms(told)


def test_the_same_moment_is_quiet_for_one_manager_and_not_for_another() -> None:
    known = parse_settings(
        '[quiet]\nsince = "19:00"\nuntil = "07:30"\n[deals]\ntime_zone = "Europe/Berlin"\n'
        '[people.eva]\ncrm_user = "user:005E"\ntime_zone = "America/New_York"\n[people.tom]\ncrm_user = "005T"\n'
    )
    hours, at_ms = QuietHours(known), ms("mon 20:00")
    assert hours.ready_ms("user:005E", at_ms, at_ms) == at_ms
    assert hours.ready_ms("user:005T", at_ms, at_ms) == ms("tue 07:30"), "no digest is named: the end of the hours"
    assert (zone_of(known, "nobody"), zone_of(known, "eva")) == ("Europe/Berlin", "America/New_York")
    assert (person_of(known, "user:005T"), person_of(known, "")) == (known.people["tom"], None)


def test_digests_alone_hold_back_in_the_day_too_and_a_missed_one_is_made_up_for() -> None:
    hours = Hours(Quiet(since="19:00", until="07:30", digests=["08:00"], digest_only=True), "UTC")
    at = {text: ms(text, "UTC") for text in ("mon 10:00", "mon 12:00", "tue 08:00", "tue 09:15", "tue 20:00")}
    assert hours.ready_ms(at["mon 10:00"], at["mon 12:00"]) == at["tue 08:00"]
    assert hours.ready_ms(at["mon 10:00"], at["tue 09:15"]) == at["tue 09:15"], "nothing ran at eight"
    assert hours.ready_ms(at["mon 10:00"], at["tue 20:00"]) == ms("wed 08:00", "UTC"), "not in quiet hours"


_CLOCK = st.times().map(lambda at: at.strftime("%H:%M"))


@settings(max_examples=40)
@given(
    quiet=st.builds(
        Quiet, since=_CLOCK, until=_CLOCK, days=st.lists(st.sampled_from(WEEK_DAYS), unique=True, max_size=6),
        digest_only=st.booleans(),
    ),
    decided_ms=st.integers(parse_ms("2026-01-01T00:00:00Z"), parse_ms("2027-01-01T00:00:00Z")),
    later_ms=st.integers(0, 10 * DAY_MS),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)  # fmt: skip
def test_nobody_is_told_in_quiet_hours_and_everybody_within_nine_days(
    quiet: Quiet, decided_ms: int, later_ms: int, zone: str
) -> None:
    if list(problems(quiet)):
        return
    hours, now_ms = Hours(quiet, zone), decided_ms + later_ms
    told_ms = hours.ready_ms(decided_ms, now_ms)
    local = datetime.fromtimestamp(told_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    assert now_ms <= told_ms <= now_ms + 9 * DAY_MS
    assert WEEK_DAYS[local.weekday()] not in quiet.days
    before = datetime.fromtimestamp(told_ms / 1000 - 7200, UTC).astimezone(ZoneInfo(zone))
    skipped = local.utcoffset() != before.utcoffset()  # a digest at a time of day that this day does not have
    assert skipped or not hours.is_quiet(told_ms)

"""Slip, not won by the close date, as a target of its own: what was expected when, and nothing that was told later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from scoring.backtest import boosting, closing, train
from scoring.backtest.clock import instant_ms
from scoring.backtest.log import NEVER, EventLog, Raw, gather
from scoring.backtest.run import Question, Result, run, slipped
from tests.unit.scoring.backtest_log import START, events, mapping

ZONE = ZoneInfo("Europe/Amsterdam")
MONDAY = instant_ms(datetime(2025, 3, 3, 8), ZONE)
CUT, END = START + timedelta(days=150), START + timedelta(days=185)
ASKED = Question(instant_ms(CUT, ZONE), instant_ms(END, ZONE))
Told = tuple[str, str, datetime, str]


def told_log(cases: int = 420) -> list[Told]:
    """Expected 20 to 40 days after the creation; a call moves the date back by three weeks when it is near."""
    found, close = [], START
    for number, (deal, what, at) in enumerate(events(cases)):
        if what == "Created":
            close = at + timedelta(days=20 + number % 21)
        elif what == "Called" and close - at < timedelta(days=10):
            close += timedelta(days=21)
        found.append((deal, what, at, "" if deal.endswith("7") else f"{close:%Y-%m-%d}"))
    return found


def log_of(rows: list[Told]) -> EventLog:
    deals, what, at, close = zip(*rows, strict=True)
    times = [instant_ms(each, ZONE) for each in at]
    ends = [closing.told_ms(each, ZONE) for each in close]
    return gather(Raw(deals, what, times, range(len(rows)), ends), ["Signed"], ["Dropped"])


def small(*rows: tuple[str, str, float, str]) -> EventLog:
    """Events as (case, activity, days before or after the Monday, close date)."""
    return log_of([(case, what, datetime(2025, 3, 3, 8) + timedelta(days=days), day) for case, what, days, day in rows])


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Fewer rounds: what is tested here doesn't hang on how good the model is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "BOOSTING", boosting.Settings(rounds=30))
        yield


@pytest.fixture(scope="module")
def whole(_quick: None) -> Result:
    return run(log_of(told_log()), mapping(), ZONE, ASKED)


def test_a_close_date_ends_with_its_day_and_holds_until_another_is_told() -> None:
    log = small(
        ("a", "Created", -9, "2025-03-10"), ("a", "Called", -6, ""), ("a", "Called", -3, "2025-03-17"),
        ("a", "Called", -2, "1970-01-01"), ("a", "Called", -1, "soon"), ("b", "Created", -1, ""),
    )  # fmt: skip
    first, second = (instant_ms(datetime(2025, 3, day), ZONE) for day in (11, 18))
    assert log.close_ms is not None
    assert log.close_ms.tolist() == [first, first, second, NEVER, NEVER, NEVER]


def test_moves_back_are_counted_with_their_days_and_moves_forward_are_not() -> None:
    log = small(
        ("a", "Created", -9, "2025-03-10"), ("b", "Created", -9, "2025-06-01"), ("b", "Called", -8, "2025-03-30"),
        ("b", "Called", -7, "2025-04-04"), ("b", "Called", -6, "2025-03-03"), ("c", "Created", -1, ""),
    )  # fmt: skip
    case = np.array([0, 1, 2])
    at_ms = np.full(3, MONDAY)
    found = closing.columns(log, log.before(case, at_ms) - 1, at_ms)
    assert found["pushes"].tolist() == [0, 1, 0]
    assert found["pushed_days"].tolist() == [0, 5, 0]  # over the night in which the clocks change
    assert found["to_close"][:2].tolist() == pytest.approx([7 + 16 / 24, 16 / 24])
    assert np.isnan(found["to_close"][2])


def test_a_case_slips_unless_it_is_won_by_the_close_date_that_it_had_then() -> None:
    log = small(
        ("in time", "Created", -9, "2025-03-10"), ("in time", "Signed", 7, ""),
        ("late", "Created", -9, "2025-03-10"), ("late", "Signed", 8, ""),
        ("later moved", "Created", -9, "2025-03-10"), ("later moved", "Called", 3, "2025-03-20"),
        ("later moved", "Signed", 12, ""),
        ("lost", "Created", -9, "2025-03-10"), ("lost", "Dropped", 2, ""),
        ("none", "Created", -9, ""), ("none", "Signed", 2, ""),
        ("open", "Created", -9, "2025-03-10"),
        ("past", "Created", -9, "2025-03-02"), ("past", "Signed", 2, ""),
        ("too far", "Created", -9, "2025-04-30"), ("too far", "Signed", 2, ""),
        ("z", "Created", 20, ""),
    )  # fmt: skip
    case, at_ms = log.open_at([MONDAY])
    rows, label = slipped(log, case, at_ms)
    found = {log.cases[one]: bool(is_late) for one, is_late in zip(case[rows], label, strict=True)}
    assert found == {"in time": False, "late": True, "later moved": True, "lost": True, "open": True}


def test_slip_is_at_least_a_loss_and_certain_once_the_date_is_over(whole: Result) -> None:
    said = whole.predictions
    assert said.p_slip is not None
    close_ms = closing.expected(log_of(told_log()), said.case, said.at_ms)
    has, over = close_ms != NEVER, close_ms <= said.at_ms
    assert np.isnan(said.p_slip[~has]).all()
    assert (said.p_slip[has & over] == 1).all()
    assert (said.p_slip[has & ~over] > said.p_lost[has & ~over]).all()
    assert (has & ~over).sum() > 50 < (~has).sum() + over.sum()


def test_slip_is_learned_and_measured_on_close_dates_that_are_over(whole: Result) -> None:
    found = whole.report["slip"]
    assert whole.model.late_kind == "blend"
    assert found["auc"] > 0.7  # the days that are left tell much in this log
    assert found["rows"] < whole.report["predictions"]
    assert found["calibration_error"] < 0.15
    assert "to_close" in whole.report["weights"]["slip"]


def test_a_truncated_log_gives_the_same_bits(whole: Result) -> None:
    until = START + timedelta(days=165)
    cut = run(log_of([row for row in told_log() if row[2] < until]), mapping(), ZONE, ASKED._replace(until_ms=None))
    assert cut.predictions.p_slip is not None
    assert whole.predictions.p_slip is not None
    rows = len(cut.predictions.p_slip)
    assert rows > 100
    assert (whole.predictions.at_ms[:rows] == cut.predictions.at_ms).all()
    assert cut.predictions.p_slip.tobytes() == whole.predictions.p_slip[:rows].tobytes()
    assert cut.predictions.p_lost.tobytes() == whole.predictions.p_lost[:rows].tobytes()


def test_a_date_that_was_filled_in_when_the_case_closed_is_not_used() -> None:
    ends = {deal: at for deal, what, at in events(160) if what in ("Signed", "Dropped")}
    rows = [(deal, what, at, f"{ends[deal]:%Y-%m-%d}") for deal, what, at in events(160)]
    cut_ms = ASKED.cut_ms
    known = train.gather(log_of(rows).known_at(cut_ms), mapping(), ZONE, cut_ms, 14)
    honest = train.gather(log_of(told_log(160)).known_at(cut_ms), mapping(), ZONE, cut_ms, 14)
    assert (known.has_dates, honest.has_dates) == (False, True)
    assert known.why_no_dates.startswith("100% of ")
    assert "to_close" not in known.frame.names


def test_a_log_whose_dates_no_row_tells_has_no_slip_and_says_why() -> None:
    trusted, why = closing.trust(small(("a", "Created", -9, "yesterday"), ("b", "Created", -1, "")), ZONE)
    assert (trusted, why) == (False, "no row known at the cut has a close date that can be read")


def test_with_few_closed_cases_slip_is_the_hand_scorecard_s() -> None:
    log = log_of(told_log(40))
    found: Any = run(log, mapping(), ZONE, ASKED)
    assert (found.model.kind, found.model.late_kind) == ("hand", "hand")
    frame_bins = [each.name for each in found.model.late.bins]
    assert frame_bins == ["silence", "to_close", "pushes"]

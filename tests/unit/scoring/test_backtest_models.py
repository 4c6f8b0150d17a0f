"""Tables are what they were made of; models learn what is there to learn, and nothing that lies in the future."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from events.times import DAY_MS, HOUR_MS
from scoring.backtest import anchor, boosting, smooth, tables, train
from scoring.backtest.clock import instant_ms
from scoring.backtest.errors import BacktestError, ExportError
from scoring.backtest.features import Frame
from scoring.backtest.log import EventLog, Floats, Raw, gather
from scoring.backtest.run import Question, Result, run
from scoring.backtest.story import complete
from tests.unit.scoring.backtest_log import START, events, mapping

ZONE = ZoneInfo("Europe/Amsterdam")
CUT, END = START + timedelta(days=150), START + timedelta(days=185)


def frame_of(values: Floats, state: list[int] | None = None) -> Frame:
    rows = len(values)
    names = [f"x{at}" for at in range(values.shape[1])]
    states = np.zeros(rows, dtype=np.int64) if state is None else np.array(state)
    return Frame(np.arange(rows), np.zeros(rows, dtype=np.int64), states, values, names)


def some_frame(rows: int = 600) -> tuple[Frame, Floats]:
    draw = np.random.default_rng(7)
    values = draw.normal(size=(rows, 3))
    values[draw.random(rows) < 0.2, 1] = np.nan
    state = draw.integers(0, 2, rows)
    score = 1.5 * values[:, 0] + np.where(state == 1, values[:, 2], 0) + np.where(np.isnan(values[:, 1]), 1.0, 0.0)
    target = (draw.random(rows) < tables.chance(score)).astype(float)
    return frame_of(values, state.tolist()), target


def log_until(moment: datetime | None = None, cases: int = 420, seed: int = 1) -> EventLog:
    """The invented log, or what of it lies strictly before a moment."""
    rows = [row for row in events(cases, seed) if moment is None or row[2] < moment]
    deals, what, at = zip(*rows, strict=True)
    times = [instant_ms(each, ZONE) for each in at]
    return gather(Raw(deals, what, times, range(len(rows))), ["Signed"], ["Dropped"])


def question(**more: int) -> Question:
    return Question(instant_ms(CUT, ZONE), instant_ms(END, ZONE), **more)  # type: ignore[arg-type]


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Fewer rounds: what is tested here doesn't hang on how good the model is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "BOOSTING", boosting.Settings(rounds=30))
        yield


@pytest.fixture(scope="module")
def whole(_quick: None) -> Result:
    return run(log_until(), mapping(), ZONE, question(reasons=100))


def test_a_look_up_is_the_number_of_cuts_below_a_value_and_missing_values_have_their_own() -> None:
    bins = tables.Bins("x", 0, [np.array([1.0, 2.0])])
    model = tables.Tables(0.5, [bins], [np.array([[10.0, 20.0, 30.0, 40.0]])])
    frame = frame_of(np.array([[0.0], [1.0], [1.5], [2.0], [9.0], [np.nan]]))
    assert model.scores(frame).tolist() == [10.5, 10.5, 20.5, 20.5, 30.5, 40.5]


def test_a_table_by_state_is_looked_up_by_the_row_s_state() -> None:
    bins = tables.Bins("x by state", 0, [np.array([1.0]), np.array([5.0])])
    model = tables.Tables(0.0, [bins], [np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 0.0]])])
    assert model.scores(frame_of(np.array([[3.0], [3.0]]), [0, 1])).tolist() == [2.0, 3.0]


def test_boosting_s_tables_say_what_the_booster_says_for_every_row() -> None:
    frame, target = some_frame()
    bins = tables.cut(frame, ["x2"], 2, most=16, most_by_state=8, least=20)
    how = boosting.Settings(rounds=40)
    weight = np.ones(len(target))
    made = boosting.booster(boosting.columns(bins, frame), target, weight, how)
    told = made.decision_function(boosting.columns(bins, frame))
    found = boosting.fit(frame, target, weight, bins, how)
    assert np.abs(told - found.scores(frame)).max() < 1e-9
    assert np.ptp(told) > 1


def test_a_booster_that_is_not_additive_is_never_exported() -> None:
    frame, target = some_frame()
    bins = tables.cut(frame, ["x2"], 2, most=16, most_by_state=8, least=20)
    with pytest.raises(ExportError, match="differ from the booster"):
        boosting.fit(frame, target, np.ones(len(target)), bins, boosting.Settings(is_additive=False))


def test_silence_may_only_raise_what_boosting_says_and_nothing_else_is_held() -> None:
    shares = np.array([0.2, 0.6, 0.3, 0.8])
    values = np.repeat(np.arange(4.0), 200)
    frame = frame_of(np.column_stack((values, values)), np.tile([0, 1], 400))
    target = shares[values.astype(int)]
    cuts = np.array([0.5, 1.5, 2.5])
    for name in ("silence", "buyer_silence", "working_silence", "silence by state", "age"):
        bins = [tables.Bins(name, 0, [cuts] * (2 if "state" in name else 1))]
        found = boosting.fit(frame, target, np.ones(800), bins, boosting.Settings(rounds=60, least=20))
        for row in found.points[0][:, :-1]:
            assert (np.diff(row) >= 0).all() == (name != "age"), name
            assert row[-1] - row[0] > 1


def test_a_soft_label_counts_as_both_outcomes_in_its_proportion() -> None:
    frame = frame_of(np.repeat([[0.0], [1.0]], 200, axis=0))
    bins = [tables.Bins("x0", 0, [np.array([0.5])])]
    target = np.repeat([0.3, 0.8], 200)
    for found in (
        boosting.fit(frame, target, np.ones(400), bins, boosting.Settings(ridge=0.0)),
        smooth.fit(frame, target, np.ones(400), bins, smooth.Settings(rough=0.0, ridge=1e-3)),
    ):
        assert tables.chance(found.scores(frame))[[0, -1]] == pytest.approx([0.3, 0.8], abs=2e-3)


def test_the_smooth_model_s_penalties_pull_a_table_flat() -> None:
    frame, target = some_frame()
    bins = tables.cut(frame, ["x2"], 2, most=16, most_by_state=8, least=20)
    loose, tight = (smooth.fit(frame, target, np.ones(600), bins, smooth.Settings(rough=rough)) for rough in (1.0, 1e6))
    assert np.ptp(loose.points[0][0, :-1]) > 1
    assert np.ptp(tight.points[0][0, :-1]) < 0.01


def test_the_mean_of_models_has_the_mean_of_their_log_odds() -> None:
    frame, target = some_frame()
    bins = tables.cut(frame, ["x2"], 2, most=16, most_by_state=8, least=20)
    one = smooth.fit(frame, target, np.ones(600), bins, smooth.Settings())
    two = boosting.fit(frame, target, np.ones(600), bins, boosting.Settings(rounds=20))
    other = tables.Tables(0.25, [tables.Bins("x1", 1, [np.array([0.0])])], [np.array([[1.0, 2.0, 3.0]])])
    found = tables.mean([tables.mean([one, two], [0.5, 0.5]), other], [0.75, 0.25])
    expected = (one.scores(frame) + two.scores(frame)) * 0.375 + other.scores(frame) * 0.25
    np.testing.assert_allclose(found.scores(frame), expected, rtol=0, atol=2e-9)
    assert len(found.bins) == len(bins) + 1


def test_the_hand_scorecard_stays_as_it_is_without_cases_and_moves_with_them() -> None:
    log = log_until()
    risk = complete(mapping(), log)
    known = train.gather(log.known_at(instant_ms(CUT, ZONE)), mapping(), ZONE, instant_ms(CUT, ZONE), 14)
    prior = anchor.hand(risk, known.states, known.frame.names)
    nobody = known.frame.take(np.zeros(0, dtype=np.int64))
    assert anchor.fit(prior, nobody, np.zeros(0), np.zeros(0)) is prior
    few = known.frame.take(np.arange(50))
    said = [
        tables.chance(anchor.fit(prior, few, np.full(50, label), np.ones(50)).scores(few)).mean()
        for label in (0.0, 1.0)
    ]
    assert said[0] < 0.2 < tables.chance(prior.scores(few)).mean() < 0.8 < said[1]


def test_with_few_cases_the_hand_scorecard_keeps_its_order_ties_included() -> None:
    log = log_until()
    cut_ms = instant_ms(CUT, ZONE)
    known = train.gather(log.known_at(cut_ms), mapping(), ZONE, cut_ms, 14)
    prior = anchor.hand(complete(mapping(), log), known.states, known.frame.names)
    target = np.linspace(0.05, 0.5, len(known.weight))
    moved = anchor.fit(prior, known.frame, target, np.ones(len(target)), has_steps=False)
    assert moved.base != pytest.approx(prior.base, abs=0.01)
    _, before = np.unique(prior.scores(known.frame), return_inverse=True)
    _, after = np.unique(moved.scores(known.frame), return_inverse=True)
    assert before.max() > 5
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("closed", "kind"), [(3, "hand"), (79, "hand"), (80, "blend"), (1_000, "blend"), (1_001, "additive")]
)
def test_how_many_cases_have_closed_decides_which_model_it_is(closed: int, kind: str) -> None:
    assert train.kind_for(closed) == kind


def test_predictions_tell_lost_cases_from_won_ones(whole: Result) -> None:
    assert whole.model.kind == "blend"
    assert whole.report["lost"]["auc"] > 0.75
    assert whole.report["lost"]["brier"] < 0.2
    assert whole.report["lost_within_horizon"]["auc"] > 0.7


def test_reasons_and_base_sum_to_the_log_odds_of_each_prediction(whole: Result) -> None:
    said = whole.predictions
    summed = [whole.model.lost.base + sum(each.contribution for each in reasons) for reasons in said.reasons]
    np.testing.assert_allclose(summed, said.log_odds, rtol=0, atol=1e-9)
    np.testing.assert_allclose(1 / (1 + np.exp(-said.log_odds)), said.p_lost, rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", ["hand", "blend", "additive"])
def test_a_log_cut_at_a_snapshot_gives_the_same_bits_up_to_there(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "HAND_BELOW", 10_000 if kind == "hand" else 0)
    monkeypatch.setattr(train, "BLEND_TO", 0 if kind == "additive" else 10_000)
    whole = run(log_until(), mapping(), ZONE, question())
    at_ms = whole.snapshots[2]
    cut_log = log_until(datetime.fromtimestamp(at_ms / 1000, ZONE).replace(tzinfo=None))
    cut = run(cut_log, mapping(), ZONE, question())
    expected = bits(whole, log_until(), at_ms)
    assert whole.model.kind == kind
    beside = whole.report["challenger"]
    assert (beside is not None) == (kind == "additive"), "full boosting of few cases is no rival"
    if beside is not None:
        assert beside["lost"]["tables"]["auc"] == whole.report["lost"]["auc"]
        assert beside["lost"]["gap"]["auc"] == beside["lost"]["full_boosting"]["auc"] - whole.report["lost"]["auc"]
        assert beside["lost_within_horizon"]["rows"] == beside["lost"]["rows"] == whole.report["lost"]["rows"]
        assert {one["state"] for one in beside["by_state"]} <= set(whole.model.states)
    assert len({at for _, at in expected}) == 3
    assert bits(cut, cut_log, at_ms) == expected


def bits(of: Result, log: EventLog, until_ms: int) -> dict[tuple[str, int], tuple[bytes, bytes]]:
    said = of.predictions
    columns = (said.case.tolist(), said.at_ms.tolist(), said.p_lost, said.p_soon)
    return {
        (log.cases[case], at): (lost.tobytes(), soon.tobytes())
        for case, at, lost, soon in zip(*columns, strict=True)
        if at <= until_ms
    }


def test_outcomes_after_the_cut_change_no_prediction_made_before_they_were_known(whole: Result) -> None:
    flipped = [
        (deal, {"Signed": "Dropped", "Dropped": "Signed"}.get(what, what) if at >= CUT else what, at)
        for deal, what, at in events(420)
    ]
    deals, what, at = zip(*flipped, strict=True)
    log = gather(Raw(deals, what, [instant_ms(each, ZONE) for each in at], range(len(at))), ["Signed"], ["Dropped"])
    other = run(log, mapping(), ZONE, question())
    assert other.predictions.p_lost.tobytes() == whole.predictions.p_lost.tobytes()
    assert other.report["lost"]["auc"] == pytest.approx(1 - whole.report["lost"]["auc"])


def test_the_order_of_the_file_does_not_matter(whole: Result) -> None:
    rows = events(420)[::-1]
    deals, what, at = zip(*rows, strict=True)
    log = gather(Raw(deals, what, [instant_ms(each, ZONE) for each in at], range(len(at))), ["Signed"], ["Dropped"])
    found = run(log, mapping(), ZONE, question())
    assert found.predictions.p_lost.tobytes() == whole.predictions.p_lost.tobytes()


def test_an_open_case_counts_with_its_risk_at_the_cut_and_a_closed_one_with_its_end() -> None:
    log, cut_ms = log_until(), instant_ms(CUT, ZONE)
    known = train.gather(log.known_at(cut_ms), mapping(), ZONE, cut_ms, 14)
    flat = tables.Tables(np.log(3.0), [], [])
    labels = train.completed(known, flat)
    assert set(labels[known.is_ended]) == {0.0, 1.0}
    assert labels[~known.is_ended] == pytest.approx(0.75)
    assert (~known.is_ended).any()


def test_rows_whose_horizon_is_not_over_at_the_cut_are_no_labels_of_it() -> None:
    log, cut_ms = log_until(), instant_ms(CUT, ZONE)
    known = train.gather(log.known_at(cut_ms), mapping(), ZONE, cut_ms, 14)
    assert (known.frame.at_ms[known.is_ripe_soon] + 14 * DAY_MS <= cut_ms).all()
    assert not known.is_ripe_soon.all()


def test_one_outcome_only_is_said() -> None:
    rows = [row for row in events(80) if row[1] != "Signed"]
    deals, what, at = zip(*rows, strict=True)
    log = gather(Raw(deals, what, [instant_ms(each, ZONE) for each in at], range(len(at))), ["Signed"], ["Dropped"])
    with pytest.raises(BacktestError, match=r"all \d+ cases that had closed before 2025-06-05 were lost"):
        run(log, mapping(), ZONE, question())


def test_closed_cases_that_no_snapshot_saw_leave_the_hand_scorecard_as_it_is() -> None:
    """Two cases that lived for an hour, and one that is open at the test's snapshots."""
    first = instant_ms(START, ZONE)
    rows = [("a", "Created", 0), ("a", "Signed", 1), ("b", "Created", 0), ("b", "Dropped", 1), ("c", "Created", 24)]
    deals, what, hours = zip(*rows, ("c", "Called", 24 * 20), strict=True)
    log = gather(Raw(deals, what, [first + hour * HOUR_MS for hour in hours], range(6)), ["Signed"], ["Dropped"])
    found = run(log, mapping(), ZONE, Question(first + 12 * HOUR_MS, None))
    assert (found.model.kind, found.model.rows) == ("hand", 0)
    assert found.model.lost.base == anchor.BASE
    assert found.report["lost"] is None
    assert found.report["without_outcome"] == len(found.predictions.p_lost) == 2


def test_passes_complete_labels_of_cases_that_are_slow_to_end() -> None:
    """Lost cases take 60 days, won ones 5: whoever looks at ended cases alone sees wins at the end of the log."""
    first, rows = instant_ms(START, ZONE), []
    for number in range(600):
        deal, begin, is_lost = f"{number:04d}", number * 6 * HOUR_MS, number % 2 == 0
        rows.append((deal, "Created", first + begin))
        end = ("Dropped", 60) if is_lost else ("Signed", 5)
        rows.append((deal, end[0], first + begin + end[1] * DAY_MS))
    deals, what, at_ms = zip(*rows, strict=True)
    log = gather(Raw(deals, what, at_ms, range(len(rows))), ["Signed"], ["Dropped"])
    cut_ms = first + 150 * DAY_MS
    known = train.gather(log.known_at(cut_ms), mapping(), ZONE, cut_ms, 14)
    labels = train.complete_labels(known, train.cut_features(known))
    is_young = (known.days_before < 40) & (known.frame.values[:, known.frame.names.index("age")] < 5)
    truth = log.is_lost[[log.cases.index(log.known_at(cut_ms).cases[case]) for case in known.frame.case]]
    assert known.is_lost[is_young & known.is_ended].mean() == 0
    assert labels[is_young].mean() == pytest.approx(truth[is_young].mean(), abs=0.1)


def test_three_closed_cases_get_the_hand_scorecard() -> None:
    log = log_until(cases=420)
    closed = np.flatnonzero(log.ended_ms < instant_ms(CUT, ZONE))
    some = [
        *closed[log.is_lost[closed]][:2],
        *closed[~log.is_lost[closed]][:1],
        *np.flatnonzero(log.opened_ms > instant_ms(CUT, ZONE) - DAY_MS),
    ]
    chosen = np.isin(np.arange(len(log.cases)), some)
    found = run(log.only(chosen), mapping(), ZONE, question())
    assert (found.model.kind, found.model.closed) == ("hand", 3)
    assert ((found.predictions.p_lost > 0) & (found.predictions.p_lost < 1)).all()


@pytest.mark.parametrize(
    ("cut", "until", "message"),
    [
        (START - timedelta(days=1), None, "--train-until 2025-01-05 is not inside the log"),
        (START + timedelta(days=900), None, "is not inside the log"),
        (CUT, CUT - timedelta(days=1), "is before --train-until"),
        (CUT, CUT + timedelta(days=900), "more than a year after the log's end"),
        (START + timedelta(days=4), None, "no case had closed before"),
        (CUT, CUT + timedelta(hours=1), "no case is open at any of the 0 weekly snapshots"),
    ],
)
def test_a_question_that_the_log_can_t_answer_is_refused(cut: datetime, until: datetime | None, message: str) -> None:
    asked = Question(instant_ms(cut, ZONE), None if until is None else instant_ms(until, ZONE))
    with pytest.raises(BacktestError, match=message):
        run(log_until(cases=200), mapping(), ZONE, asked)

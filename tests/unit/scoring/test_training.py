"""Learning from the log: what is learned from is what is scored, nothing later leaks in, and little data is said so."""

from __future__ import annotations

import math
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from msgspec.structs import replace

from console.models.card import markdown, page
from console.models.card import rivals as rivals_in_words
from events.times import format_ms, parse_ms
from events.types import ModelTables
from governance.settings import Deals
from scoring.backtest import rival, train
from scoring.model import hash_of, learned
from scoring.scorecard import Scorecard
from scoring.stages import Process
from scoring.state import Status, copy
from scoring.training import fit as fits
from scoring.training import learn as learning
from scoring.training import rival as rivals
from scoring.training import weekly
from scoring.training.card import Compared, Figures, ModelFile, Rival
from scoring.training.errors import TrainingError
from scoring.training.fit import Learned, bins_of, export, fit, platt, tables_of
from scoring.training.grid import grid
from scoring.training.health import health, recalibrated
from scoring.training.learn import cut_of, judge, learn, verdict_of
from scoring.training.measure import chances, compare, figures_of, stability
from scoring.training.rows import Collector, History, Known
from scoring.training.weekly import DUEL_DAYS, duel, look
from streams.deal_history import Watcher, read_history
from streams.deals import DealsStage
from streams.records import Entry
from tests.unit.scoring.deals_log import CRM, DAY, START_MS, activity, change, event
from tests.unit.scoring.models import record
from tests.unit.scoring.sales import sales

HAND = grid(Process(), 14)
ENTRIES = sales(100)
WEEK = 7 * DAY


def history(entries: list[Entry], until_ms: int | None = None) -> History:
    return read_history([(0, entries)], Deals(), until_ms)


@pytest.fixture(scope="module")
def whole() -> History:
    return history(ENTRIES)


@pytest.fixture(scope="module")
def model(whole: History) -> ModelTables:
    return learn(whole, HAND).tables


def points(found: Learned) -> list[np.ndarray[Any, Any]]:
    return [
        table for tables in (found.lost, found.soon, found.late) for table in (np.array(tables.base), *tables.points)
    ]


def test_a_hundred_closed_deals_make_an_anchored_model_better_than_the_scorecard(whole: History) -> None:
    found = learn(whole, HAND)
    held = found.card.held_out
    assert (found.card.kind, found.card.won_deals + found.card.lost_deals) == ("anchored", 100)
    assert held.verdict == "better"
    assert found.tables.is_proven
    assert held.learned_from < 100
    assert [one.target for one in held.targets] == ["lost", "lost in 14 days", "slips"]
    assert {group.of for group in held.groups} <= {"segment", "owner", "stage"}
    assert found.card.currencies == ["EUR", "USD"]
    assert any("2 currencies" in limit for limit in found.card.limits)


def test_rows_are_scored_to_the_last_bit_as_the_live_engine_scores_them(whole: History, model: ModelTables) -> None:
    """The model in force from the first record on, the live stage stopped at a Monday: the same probabilities."""
    at_ms = int(np.unique(whole.at_ms)[9])
    live = DealsStage(CRM, Deals())
    live.process([(0, START_MS, record(1, model))])
    live.process([(offset + 1, when_ms, one) for offset, when_ms, one in ENTRIES if when_ms < at_ms])
    known = whole.known_at(at_ms + 1)
    said = chances(model, known)
    here = np.flatnonzero(known.frame.at_ms == at_ms)
    rows = sorted((said.lost[row], said.soon[row]) for row in here)
    states = [keyed.body.state for keyed in live.keys.values() if keyed.body.state.is_open]
    scores = [live.card.judge(copy(state), at_ms) for state in states]
    assert len(rows) == len(scores) > 20
    assert np.allclose(rows, sorted((one.p_lost, one.p_lost_14d) for one in scores), rtol=0, atol=1e-15)


@pytest.mark.parametrize("weeks", [9, 15])
def test_a_log_cut_off_at_a_moment_teaches_the_same_bits_as_the_whole_log_at_that_moment(
    whole: History, weeks: int
) -> None:
    cut_ms = int(np.unique(whole.at_ms)[weeks])
    short = history([entry for entry in ENTRIES if entry[1] < cut_ms], cut_ms)
    one, other = fit(short.known_at(cut_ms), HAND), fit(whole.known_at(cut_ms), HAND)
    assert all(np.array_equal(a, b) for a, b in zip(points(one), points(other), strict=True))
    assert one.kinds == other.kinds


def test_what_closes_later_the_other_way_round_changes_nothing_learned_before(whole: History) -> None:
    cut_ms = int(np.unique(whole.at_ms)[14])
    turned = [
        [
            (at, status if at < cut_ms or status == Status.OPEN else Status.WON + Status.LOST - status)
            for at, status in one
        ]
        for one in whole.changes
    ]
    assert turned != whole.changes
    one, other = whole.known_at(cut_ms), whole._replace(changes=turned).known_at(cut_ms)
    assert all(np.array_equal(a, b) for a, b in zip(points(fit(one, HAND)), points(fit(other, HAND)), strict=True))


def test_held_out_figures_come_from_rows_behind_the_last_closing_that_was_learned(whole: History) -> None:
    known = whole.known_at(whole.until_ms)
    cut_ms = cut_of(whole, known)
    assert int((known.ended_ms < cut_ms).sum()) >= 70
    before = whole.known_at(cut_ms)
    assert (before.frame.at_ms < cut_ms).all()
    assert before.closed == int((known.ended_ms < cut_ms).sum())


def test_labels_by_hand() -> None:
    """Opened on a Monday 09:00; lost 20 days later; the close date was day 10. Rows: the Mondays in between."""
    entries = [
        (0, START_MS, event(change(op="create", stage="Proposal", close_date="2026-03-11"), 0, START_MS)),
        (1, START_MS + 20 * DAY, event(change(stage="Closed Lost"), 1, START_MS + 20 * DAY)),
        (2, START_MS + 40 * DAY, event(change("006X", "create", stage="Proposal"), 2, START_MS + 40 * DAY)),
    ]
    found = history(entries)
    known = found.known_at(found.until_ms)
    mondays = [START_MS - 3_600_000 + week * WEEK for week in (1, 2)]
    assert list(known.frame.at_ms) == mondays
    assert list(known.is_lost) == [1, 1]
    assert list(known.is_lost_soon) == [1, 1]  # 13 and 6 days later
    assert list(known.is_late) == [1, 1]
    assert list(known.is_ripe_late) == [True, False]  # on the second Monday the close date had passed
    before = found.known_at(START_MS + 20 * DAY)
    assert (list(before.is_ended), before.closed) == ([False, False], 0)
    assert list(before.is_ripe_soon) == [False, False]


def test_a_deal_that_reopens_counts_as_what_was_known_then() -> None:
    entries = [
        (0, START_MS, event(change(op="create", stage="Proposal"), 0, START_MS)),
        (1, START_MS + 10 * DAY, event(change(stage="Closed Lost"), 1, START_MS + 10 * DAY)),
        (2, START_MS + 30 * DAY, event(change(stage="Proposal"), 2, START_MS + 30 * DAY)),
        (3, START_MS + 60 * DAY, event(change(stage="Closed Won"), 3, START_MS + 60 * DAY)),
    ]
    found = history(entries)
    ends = [(found.known_at(START_MS + day * DAY)) for day in (11, 31, 61)]
    assert [(one.won_deals, one.lost_deals, one.open_deals) for one in ends] == [(0, 1, 0), (0, 0, 1), (1, 0, 0)]


def test_three_closed_deals_move_the_scorecard_a_little_and_are_called_unproven() -> None:
    found = learn(history(_few(("Closed Won", "Closed Lost", "Closed Lost"))), HAND)
    assert (found.card.kind, found.tables.is_proven, found.card.held_out.verdict) == (
        "recalibrated",
        False,
        "not matured",
    )
    assert abs(found.tables.lost_base / 256 - _centred_base()) < 1.0
    assert any("below 80" in limit for limit in found.card.limits)


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (("Closed Lost",) * 5, "all 5 closed deals were lost"),
        (("Closed Won",) * 4, "all 4 closed deals were won"),
        (("Proposal",) * 3, "no deal has closed"),
    ],
)
def test_a_log_without_both_outcomes_is_refused_with_what_is_missing(ends: tuple[str, ...], told: str) -> None:
    with pytest.raises(TrainingError, match=told):
        learn(history(_few(ends)), HAND)


def test_an_empty_log_is_refused() -> None:
    with pytest.raises(TrainingError, match="no deal has closed"):
        learn(history([]), HAND)


def test_stages_that_nobody_described_and_amounts_that_are_none_are_learned_from_all_the_same() -> None:
    entries = []
    for number, (offset, at_ms, one) in enumerate(ENTRIES[:600]):
        data = one.data
        if hasattr(data, "changes") and "amount" in data.changes:
            data = replace(
                data, changes=data.changes | {"stage": (None, "Where?"), "amount": (None, ("-1", "NaN")[number % 2])}
            )
        entries.append((offset, at_ms, replace(one, data=data)))
    found = learn(history(entries), HAND)
    assert found.card.kind in ("recalibrated", "anchored")


def test_a_boosted_model_is_exact_as_tables(monkeypatch: pytest.MonkeyPatch, whole: History) -> None:
    monkeypatch.setattr(fits, "kind_for", lambda closed: "additive")
    monkeypatch.setattr(train, "BOOSTING", train.BOOSTING._replace(rounds=40))
    known = whole.known_at(whole.until_ms)
    found = fit(known, HAND)
    tables = export(found, known, HAND, is_proven=False)
    assert found.kinds == {"lost": "boosted", "lost in 14 days": "boosted", "late": "boosted"}
    again = tables_of(tables, bins_of(tables), "lost").scores(known.frame)
    rounding = len(HAND.features) / 2 / 256 + 1 / 512
    assert np.abs(again - found.lost.scores(known.frame)).max() <= rounding


def test_full_boosting_stands_beside_a_model_on_the_same_rows(
    monkeypatch: pytest.MonkeyPatch, whole: History, file: ModelFile
) -> None:
    cut_ms = since_of(file)
    before, known = whole.known_at(cut_ms), whole.known_at(whole.until_ms)
    assert rivals.beside(file.tables, before, known, whole, cut_ms) == ([], []), "so few deals are too few for it"
    monkeypatch.setattr(rivals, "kind_for", lambda closed: "additive")
    monkeypatch.setattr(train, "BOOSTING", train.BOOSTING._replace(rounds=10))
    monkeypatch.setattr(train, "PASSES", 1)
    found = rivals.beside(file.tables, before, known, whole, cut_ms)
    ours = {one.target: one.model for one in compare(file.tables, HAND, known, cut_ms)}
    assert {"lost", "lost in 14 days"} <= {one.target for one in found.targets} <= set(ours)
    for one in found.targets:
        mine = ours[one.target]
        assert (one.figures.rows, one.figures.base_rate) == (mine.rows, mine.base_rate)
        assert one.gap == pytest.approx(mine.log_loss - one.figures.log_loss)
        assert one.auc_gap == pytest.approx(one.figures.auc - mine.auc)  # type: ignore[operator]
    held = replace(file.card.held_out, full=found.targets, full_groups=found.groups)
    card = replace(file.card, held_out=held)
    assert "## Beside full boosting" in markdown(card)
    assert "<h2>Beside full boosting</h2>" in page(card)
    assert rivals_in_words(found.targets).startswith("Full boosting beside the model learned anew, never used")


def test_full_boosting_learns_what_two_features_say_together() -> None:
    """Lost when exactly one of two things is so: no table of one feature can tell."""
    values = np.random.default_rng(5).integers(0, 2, (600, 2)).astype(float)
    labels = (values[:, 0] != values[:, 1]).astype(float)
    said = rival.chance(rival.fit(values, labels, np.ones(600)), values)
    assert said is not None
    assert np.abs(said - labels).max() < 0.1
    assert rival.fit(values[:30], np.ones(30), np.ones(30)) is None


def test_platt_without_rows_changes_nothing_and_with_rows_moves_towards_them(whole: History) -> None:
    prior = tables_of(HAND, bins_of(HAND), "lost")
    known = whole.known_at(whole.until_ms)
    nothing = np.zeros(0, dtype=np.int64)
    same = platt(prior, known.frame.take(nothing), np.zeros(0), np.zeros(0))
    assert (same.base, same.points[0].tolist()) == (prior.base, prior.points[0].tolist())
    ended = np.flatnonzero(known.is_ended)
    moved = platt(prior, known.frame.take(ended), known.is_lost[ended], np.ones(len(ended)))
    said = 1 / (1 + np.exp(-moved.scores(known.frame.take(ended))))
    assert abs(said.mean() - known.is_lost[ended].mean()) < 0.02


def test_the_usual_cell_of_each_feature_gives_nothing(whole: History, model: ModelTables) -> None:
    known = whole.known_at(whole.until_ms)
    for at, one in enumerate(model.features):
        usual = int(np.argmax(np.bincount(known.frame.values[:, at].astype(int), known.weight)))
        assert one.lost[usual] == one.soon[usual] == one.late[usual] == 0


def test_figures_by_hand() -> None:
    found = figures_of(np.array([0.8, 0.4, 0.4, 0.1]), np.array([True, True, False, False]), np.array([1, 1, 2, 3]))
    assert (found.rows, found.deals, found.base_rate, found.auc) == (4, 3, 0.5, 0.875)
    assert found.brier == pytest.approx((0.04 + 0.36 + 0.16 + 0.01) / 4)
    assert found.log_loss == pytest.approx(-(math.log(0.8) + math.log(0.4) + math.log(0.6) + math.log(0.9)) / 4)


def test_the_scorecard_beside_itself_gains_nothing(whole: History) -> None:
    known: Known = whole.known_at(whole.until_ms)
    assert {(one.gain, one.gain_se) for one in compare(HAND, HAND, known, 0)} == {(0.0, 0.0)}
    assert judge(HAND, HAND, whole, known, 0, 0).verdict == "worse"


def test_the_scorecards_probabilities_on_the_grid_are_the_live_scorecards(whole: History) -> None:
    card = Scorecard(Process(), 14)
    watched = Watcher(0, Deals(), ZoneInfo("UTC"), Collector(), 1 << 60)
    at_ms = int(np.unique(whole.at_ms)[8])
    watched.process([entry for entry in ENTRIES if entry[1] < at_ms])
    states = [copy(keyed.body.state) for keyed in watched.keys.values() if keyed.body.state.is_open]
    for state in states:
        state.has_new_facts = True
    scores = sorted((s.p_lost, s.p_lost_14d) for s in (card.judge(state, at_ms) for state in states))
    known = whole.known_at(at_ms + 1)
    said = chances(HAND, known)
    rows = sorted((said.lost[row], said.soon[row]) for row in np.flatnonzero(known.frame.at_ms == at_ms))
    assert np.allclose(rows, scores, rtol=0, atol=1e-12)


def test_stability_by_hand() -> None:
    assert stability([0.5, 0.5], [0.5, 0.5]) == 0.0
    assert stability([0.5, 0.5], [0.8, 0.2]) == pytest.approx(0.3 * math.log(1.6) - 0.3 * math.log(0.4))


def test_a_model_that_was_learned_can_score(model: ModelTables) -> None:
    assert learned(model).kind == "anchored"


def _few(ends: tuple[str, ...]) -> list[Entry]:
    made = []
    for number, end in enumerate(ends):
        deal = f"006{number}"
        made += [
            (START_MS + number, change(deal, "create", stage="Proposal")),
            (START_MS + (3 + number) * DAY, activity(deal_id=deal)),
            (START_MS + (20 + number) * DAY, change(deal, stage=end)),
        ]
    made.sort(key=lambda one: one[0])
    return [(offset, at_ms, event(data, offset, at_ms)) for offset, (at_ms, data) in enumerate(made)]


def _centred_base() -> float:
    """The scorecard's log-odds of a deal in the usual cell of each feature, in the log of ``_few``."""
    found = history(_few(("Closed Won", "Closed Lost", "Closed Lost")))
    known = found.known_at(found.until_ms)
    hand = tables_of(HAND, bins_of(HAND), "lost")
    usual = [
        int(np.argmax(np.bincount(known.frame.values[:, at].astype(int), known.weight)))
        for at in range(len(HAND.features))
    ]
    return float(hand.base + sum(table[0, cell] for table, cell in zip(hand.points, usual, strict=True)))


# --- health ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(whole: History) -> ModelFile:
    """A model of the first part of the log."""
    cut_ms = int(np.unique(whole.at_ms)[13])
    return learn(history([entry for entry in ENTRIES if entry[1] < cut_ms], cut_ms), HAND)


def since_of(file: ModelFile) -> int:
    return parse_ms(file.card.made_until)


def test_a_healthy_model_is_better_than_the_scorecard_on_labels_that_matured(whole: History, file: ModelFile) -> None:
    found = health(file, HAND, whole, since_of(file))
    assert (found.verdict, found.model) == ("better", file.hash)
    assert sum(week.model.rows for week in found.weeks) == found.targets[1].model.rows
    assert {one.feature for one in found.drift} == {one.name for one in HAND.features}
    assert found.drift == sorted(found.drift, key=lambda one: (-one.stability, one.feature))


def test_a_model_whose_world_has_turned_around_alerts(whole: History, file: ModelFile) -> None:
    turned = [
        [(at_ms, status if status == Status.OPEN else Status.WON + Status.LOST - status) for at_ms, status in one]
        for one in whole.changes
    ]
    found = health(file, HAND, whole._replace(changes=turned), since_of(file))
    assert found.verdict == "worse"
    assert any("worse than the scorecard" in alert for alert in found.alerts)


def test_a_model_that_says_too_much_gets_a_recalibration_that_helps_later_rows(whole: History, file: ModelFile) -> None:
    too_high = replace(file.tables, lost_base=file.tables.lost_base + 700, soon_base=file.tables.soon_base + 700)
    spoilt = replace(file, tables=too_high, hash=hash_of(too_high), card=replace(file.card, hash=hash_of(too_high)))
    found = recalibrated(spoilt, HAND, whole, since_of(file))
    assert found is not None
    known = whole.known_at(whole.until_ms)
    before, after = (
        {one.target: one.model for one in compare(one.tables, HAND, known, since_of(file))} for one in (spoilt, found)
    )
    for target in ("lost", "lost in 14 days"):
        assert after[target].calibration_error < before[target].calibration_error / 2
        assert after[target].auc == pytest.approx(before[target].auc, abs=0.01)
    assert found.hash == hash_of(found.tables) == found.card.hash


def test_the_weekly_look_changes_the_model_only_for_one_that_matured_labels_speak_for(
    monkeypatch: pytest.MonkeyPatch, whole: History, model: ModelTables
) -> None:
    full = [Rival(target="lost", figures=compared("lost", 0, 0).model, auc_gap=0.01, gap=0.002, gap_se=0.003)]

    def learn_beside_full(history: History, hand: ModelTables) -> ModelFile:
        made = learn(history, hand)
        return replace(made, card=replace(made.card, held_out=replace(made.card.held_out, full=full)))

    monkeypatch.setattr(weekly, "learn", learn_beside_full)
    first = look(None, HAND, whole)
    assert first.full == full
    assert first.promote == first.candidates[0].hash == hash_of(model)
    assert first.health is None
    assert duel(first.candidates[0], HAND, whole)[0] == "not matured"
    early = whole.until_ms - (DUEL_DAYS + 1) * DAY
    backwards = learned_before(whole, early, -1)
    again = look(backwards, HAND, whole)
    assert again.health is not None
    assert again.health.full == again.full == full
    assert (again.health.verdict, again.promote) == ("worse", again.candidates[0].hash), "a challenger beats it"
    cut = int(np.unique(whole.at_ms)[3])
    assert look(None, HAND, history([one for one in ENTRIES if one[1] < cut], cut)).why.startswith("nothing can be")
    lately = replace(backwards, card=replace(backwards.card, made_until=format_ms(early + 2 * DAY)))
    assert look(lately, HAND, whole).promote == "scorecard", "no challenger can be judged against it, and it is worse"


def learned_before(whole: History, cut_ms: int, sign: int) -> ModelFile:
    """A model of the log up to there, its tables times ``sign``."""
    made = learn(history([entry for entry in ENTRIES if entry[1] < cut_ms], cut_ms), HAND)
    features = [
        replace(one, lost=[sign * each for each in one.lost], soon=[sign * each for each in one.soon])
        for one in made.tables.features
    ]
    tables = replace(made.tables, features=features)
    return replace(made, tables=tables, hash=hash_of(tables), card=replace(made.card, hash=hash_of(tables)))


def test_without_labels_since_nothing_is_said_and_nothing_proposed(whole: History, file: ModelFile) -> None:
    found = health(file, HAND, whole, whole.until_ms)
    assert (found.verdict, found.targets, found.weeks) == ("not matured", [], [])
    assert recalibrated(file, HAND, whole, whole.until_ms) is None


def compared(target: str, gain: float, se: float) -> Compared:
    one = Figures(rows=9, deals=9, base_rate=0.5, auc=0.6, brier=0.2, calibration_error=0.1, log_loss=0.6)
    return Compared(target=target, model=one, scorecard=one, gain=gain, gain_se=se, reliability=[])


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        (((0.10, 0.02), (0.05, 0.01)), "better"),
        (((-0.01, 0.02), (0.05, 0.01)), "better"),
        (((0.01, 0.02), (0.02, 0.03)), "not matured"),
        (((0.01, 0.02), (-0.02, 0.03)), "worse"),
        (((0.10, 0.02), (-0.05, 0.01)), "worse"),
        (((0.10, 0.02),), "not matured"),
        ((), "not matured"),
    ],
)
def test_the_verdict_by_gains_and_their_errors(gains: Any, verdict: str) -> None:
    names = ("lost", "lost in 14 days")
    targets = [compared(name, *gain) for name, gain in zip(names, gains, strict=False)]
    assert verdict_of([*targets, compared("slips", -1.0, 0.1)], 40)[0] == verdict
    assert verdict_of(targets, 19)[0] == "not matured"


def test_a_log_that_is_too_short_knows_young_deals_alone_and_is_not_enough(
    whole: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "LEAST_SPAN_DAYS", 1_000)
    found = learn(whole, HAND)
    assert (found.card.held_out.verdict, found.tables.is_proven) == ("not matured", False)
    assert "it has only seen young deals" in found.card.held_out.why

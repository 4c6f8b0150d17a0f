"""A model of deals comes by a record of the log: it scores from there on, exactly, wherever the engine is restarted."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from events.codec import decode, encode
from events.types import ActivityEvent, ChangeEvent, ModelEvent, ModelTables
from governance.settings import Deals
from scoring.model import HAND, BadModel, check, hash_of, learned, model_of
from scoring.outcomes import Closed, Outcomes
from scoring.plan import pack_three, unpack_three
from scoring.scorecard import Scorecard
from scoring.stages import Process
from scoring.state import copy
from scoring.tables import TABLES
from scoring.training.grid import grid
from scoring.whatif import what_if
from streams.deal_models import load_common
from streams.deals import MODEL_FAULT, DealsStage
from streams.kafka.partition import partition_of, record_key
from streams.kafka.worker.lane import Lane
from streams.records import Entry, Output, Snapshot
from streams.ticks import tick_event
from tests.kafka.records import FakeRecord
from tests.unit.scoring.deals_log import CRM, DAY, PETRA, START_MS, Life, activity, change, event, human, risks
from tests.unit.scoring.models import invented, record

NAMES = ("006A", "006B", "006C", "006D")


def log(seed: int, model_at: tuple[int, ...] = (60, 110)) -> list[Entry]:
    """Some deals' lives with ticks, in which models come: the first learned one, then another, then the scorecard."""
    draw = random.Random(seed)
    made: list[Entry] = []
    at_ms = START_MS
    models = iter((record(1, invented(1)), record(2, invented(2)), record(3, None)))
    for number in range(160):
        at_ms += draw.randrange(0, DAY // 2)
        deal = draw.choice(NAMES)
        if number in model_at:
            said: Any = next(models)
        elif number % 9 == 8:
            at_ms = at_ms // 10_000 * 10_000 + 10_000
            said = tick_event("test", at_ms)
        elif number < 8 or draw.random() < 0.3:
            fields = {
                "stage": draw.choice(("Prospecting", "Proposal", "Negotiation", "Closed Lost", "Somewhere")),
                "close_date": draw.choice(("2026-03-10", "2026-05-30", "soon")),
                "amount": draw.choice(("100000.00", "80000.00", "120000.00")),
                "owner_id": draw.choice(("lea", "anton")),
                "manager_id": "jo",
                "is_closed": draw.random() < 0.15,
            }
            said = event(change(deal, "update" if number >= 8 else "create", **fields), number, at_ms)
        else:
            said = event(
                activity(draw.choice(("email", "call", "meeting")), draw.choice(("inbound", "outbound")), deal,
                         participants=[PETRA], logged_by=human()),
                number, at_ms,
            )  # fmt: skip
        made.append((number, at_ms, said))
    return made


def said(outputs: list[Output]) -> list[bytes]:
    return [msgspec.json.encode((one.kind, one.id, one.event)) for one in outputs]


def stage() -> DealsStage:
    return DealsStage(CRM, Deals())


def test_a_record_brings_the_model_and_every_open_deal_is_scored_anew_at_once() -> None:
    life = Life()
    life.open("006A1")
    life.open("006B1")
    life.add(START_MS, change("006B1", is_closed=True))
    before = risks(life.out)[-1]
    told = risks(life._give((3, START_MS + 1, record(1, invented()))))
    assert (before.model.kind, before.base) == ("scorecard", -1.0)
    assert [risk.deal_id for risk in told] == ["006A1"]
    assert (told[0].model.kind, told[0].model.version, told[0].model.proven) == ("boosted", 1, False)
    assert told[0].base == -77 / 256
    assert "model" in told[0].cause


def test_reasons_add_up_to_the_published_probability_to_the_last_bit() -> None:
    found = [risk for risk in risks(stage().process(log(3))) if risk.model.kind == "boosted"]
    assert len(found) > 20
    for risk in found:
        log_odds = risk.base + sum(reason.contribution for reason in reversed(risk.reasons))
        assert risk.p_lost == 1.0 / (1.0 + math.exp(-log_odds))
        assert 0.0 <= risk.p_lost_14d <= risk.p_lost <= risk.p_slip <= 1.0
        assert all(reason.sentence and "None" not in reason.sentence for reason in risk.reasons)


def test_probabilities_by_hand() -> None:
    """Lost −77/256 + one feature's, soon and late from their own tables; an independent sum over the tables."""
    life = Life()
    life.open("006A1", close_date="2026-03-20")
    tables = invented(5)
    risk = risks(life._give((1, START_MS, record(1, tables))))[-1]
    bins = life.state("006A1").bins
    sums = {
        field: sum(getattr(one, field)[found] for one, found in zip(tables.features, bins, strict=True))
        for field in ("lost", "soon", "late")
    }

    def p(points: int) -> float:
        return 1 / (1 + math.exp(-points / 256))

    lost = p(-77 + sums["lost"])
    assert risk.p_lost == lost
    assert risk.p_lost_14d == min(lost, p(-200 + sums["soon"]))
    assert risk.p_slip == lost + (1 - lost) * p(31 + sums["late"])


def test_a_version_below_the_last_changes_nothing_and_the_scorecard_can_be_had_back() -> None:
    life = Life()
    life.open("006A1")
    by_hand = risks(life.out)[-1].p_lost
    life._give((1, START_MS, record(2, invented())))
    assert life._give((2, START_MS, record(1, invented(9)))) == []
    assert life.stage.scoring.version == 2
    back = risks(life._give((3, START_MS, record(3, None))))[-1]
    assert (back.p_lost, back.model.kind, back.model.version) == (by_hand, "scorecard", HAND.version)


@pytest.mark.parametrize("seed", [1, 2])
def test_batches_and_restarts_anywhere_give_the_same_bytes(seed: int) -> None:
    entries = log(seed)
    whole = said(stage().process(entries))
    assert said([out for entry in entries for out in stage_of(entries, entry)]) == whole
    for cut in range(0, len(entries), 7):
        first = stage()
        head = said(first.process(entries[:cut]))
        second = stage()
        assert second.restore(first.snapshot()) == (entries[cut - 1][0] + 1 if cut else 0)
        assert head + said(second.process(entries[cut:])) == whole


def stage_of(entries: list[Entry], entry: Entry, _kept: dict[int, DealsStage] = {}) -> list[Output]:  # noqa: B006
    if entry is entries[0]:
        _kept[id(entries)] = stage()
    return _kept[id(entries)].process([entry])


def test_states_newer_than_the_barrier_by_a_model_are_left_alone_until_its_record_is_read_again() -> None:
    """As after a crash between a sweep's states and its barrier: what is said afresh is what was said before."""
    entries = log(4)
    whole = {one.id: msgspec.json.encode(one.event) for one in stage().process(entries)}
    for barrier, reached in ((40, 75), (55, 100), (58, 130)):
        first = stage()
        first.process(entries[:barrier])
        kept = first.snapshot()
        first.process(entries[barrier:reached])
        newer = [one for one in first.snapshot() if one.key]
        again = stage()
        assert again.restore([*kept, *newer]) == barrier
        for one in again.process(entries[barrier:]):
            if one.kind == "risk":
                assert msgspec.json.encode(one.event) == whole[one.id]
        assert again.scoring.version == 2
        final = stage()
        final.process(entries)
        assert {k: d.body.scores for k, d in again.keys.items()} == {k: d.body.scores for k, d in final.keys.items()}


def test_a_model_that_cannot_score_is_counted_and_the_one_before_goes_on() -> None:
    life = Life()
    life.open("006A1")
    assert life._give((1, START_MS, record(1, invented(), hash="0" * 32))) == []
    assert life.stage.faults[MODEL_FAULT] == 1
    assert life.stage.scoring.card.model is HAND


def test_time_moves_scores_at_the_models_own_cuts() -> None:
    life = Life()
    life.open("006A1", stage="Prospecting")
    life._give((1, START_MS, record(1, invented())))
    life.tick(START_MS + DAY - 10_000)
    told = risks(life.tick(START_MS + DAY))  # the grid cuts silence at one day; the scorecard does not
    assert len(told) == 1
    assert life.stage.card.model.tables[0].cuts[0] == 1


def test_what_ifs_are_look_ups_in_the_same_tables() -> None:
    life = Life()
    life.open("006A1", close_date="2026-05-20")
    life._give((1, START_MS, record(1, invented())))
    now_ms = START_MS + 20 * DAY
    rows = {row.key: row.p_lost for row in what_if(life.stage.card, life.state("006A1"), now_ms)}
    answered = copy(life.state("006A1"))
    assert rows["now"] == life.stage.card.judge(answered, now_ms).p_lost
    assert len(set(rows.values())) > 2


def test_the_record_is_read_back_from_the_log_as_it_was() -> None:
    one = record(7, invented())
    assert decode(encode(one)) == one


def test_states_of_a_version_without_models_are_still_read() -> None:
    old = Outcomes({"default": (3, 9)}, [Closed(20_000, "default", "lea", "", True)])
    outcomes, model = load_common(old.dump())
    assert (outcomes.counts, outcomes.pending, model) == (old.counts, old.pending, None)


def test_the_grid_is_the_scorecard_and_more() -> None:
    tables = grid(Process(), 14)
    by_grid, by_hand = Scorecard(Process(), 14, learned(tables)), Scorecard(Process(), 14)
    one = stage()
    one.process(log(6, ()))
    states = [keyed.body.state for keyed in one.keys.values() if keyed.body.state.is_open]
    assert states
    for state in states:
        for days in (0, 1, 15, 60):
            at_ms = one.stream_ms + days * DAY
            first, second = copy(state), copy(state)
            first.has_new_facts = second.has_new_facts = True
            assert by_grid.judge(first, at_ms).p_lost == by_hand.judge(second, at_ms).p_lost


@pytest.mark.parametrize(
    ("change_", "place"),
    [
        (lambda t: replace(t, points_per_log_odd=100), "points_per_log_odd"),
        (lambda t: replace(t, features=t.features[1:]), "features are"),
        (lambda t: with_feature(t, 0, cuts=t.features[0].cuts[::-1]), "silence.cuts"),
        (lambda t: with_feature(t, 0, lost=[0]), "silence.lost"),
        (lambda t: with_feature(t, 7, cuts=[0.0]), "close_date.cuts"),
        (lambda t: with_feature(t, 20, cuts=[0.5, 14.0, 30.0]), "longest_gap.cuts"),
    ],
)
def test_tables_that_cannot_score_are_refused_with_their_place(change_: Any, place: str) -> None:
    with pytest.raises(BadModel, match=place):
        check(change_(invented()))


def with_feature(tables: ModelTables, at: int, **fields: Any) -> ModelTables:
    features = list(tables.features)
    features[at] = replace(features[at], **fields)
    return replace(tables, features=features)


def test_a_kind_without_tables_is_refused() -> None:
    with pytest.raises(BadModel, match="needs tables"):
        model_of(replace(record(1, None).data, kind="boosted"))


def test_equal_tables_have_one_hash_and_others_another() -> None:
    assert hash_of(invented(1)) == hash_of(invented(1)) != hash_of(invented(2))


@pytest.mark.parametrize("points", [(0, 0, 0), (5, -3, 7), (-7000, 16, -9), (30_000, -30_000, 30_000)])
def test_three_packed_points_add_up_and_come_apart(points: tuple[int, int, int]) -> None:
    assert unpack_three(pack_three(*points)) == points
    summed = pack_three(*points) + pack_three(3, -2, -1)
    assert unpack_three(summed) == (points[0] + 3, points[1] - 2, points[2] - 1)


def test_every_bin_of_every_feature_has_a_sentence() -> None:
    """The scorecard is silent about bins that it gives nothing for; a learned model may give for any."""
    one = stage()
    one.process([*log(8, ()), (500, START_MS + 90 * DAY, record(1, invented()))])
    seen: dict[str, set[str]] = {}
    for risk in risks(one.process(log_after(one))):
        for reason in risk.reasons:
            seen.setdefault(reason.feature, set()).add(reason.sentence)
            assert reason.sentence.endswith(".")
            assert not re.search(r"-\d+ day|\d{5,} day", reason.sentence), reason.sentence
    assert len(seen) == len(TABLES)


def log_after(one: DealsStage) -> list[Entry]:
    start = START_MS + 91 * DAY
    return [(600 + day, start + day * DAY, tick_event("test", start + day * DAY)) for day in range(60)]


def test_snapshots_are_made_of_the_same_bytes_for_the_same_log() -> None:
    entries = log(5)
    one, other = stage(), stage()
    one.process(entries)
    for entry in entries:
        other.process([entry])

    def blobs(made: DealsStage) -> list[Snapshot]:
        return sorted(made.snapshot(), key=lambda each: each.key)

    assert blobs(one) == blobs(other)


@pytest.mark.parametrize("index", [0, 1])
def test_a_lane_of_kafka_takes_the_model_in_each_partition_and_says_what_the_stage_says(index: int) -> None:
    """Records of one partition of two; a save is under way when the model comes, and is ended before it."""
    partition = replace(CRM, engine_id="main", index=index)
    mine = [
        (at_ms, one) for _, at_ms, one in log(7)
        if (type(one) is not ChangeEvent and type(one) is not ActivityEvent)
        or partition_of(record_key("crm.events", one), 2) == index
    ]  # fmt: skip
    alone, lane = DealsStage(partition, Deals()), Lane(DealsStage(partition, Deals()), partition, 2)
    wanted = [
        encode(one.event)
        for one in alone.process([(offset, at_ms, one) for offset, (at_ms, one) in enumerate(mine)])  # type: ignore[misc]
        if one.kind == "risk"
    ]
    records = [FakeRecord(offset, at_ms, encode(one)) for offset, (at_ms, one) in enumerate(mine)]  # type: ignore[arg-type]
    where = next(offset for offset, (_, one) in enumerate(mine) if type(one) is ModelEvent)
    sent = lane.take(records[: where - 3])
    lane.begin_save()
    lane.step_save(0)
    sent += lane.take(records[where - 3 : where + 5])
    sent += lane.take(records[where + 5 :])
    assert [one.value for one in sent if one.topic == "deal.risk"] == wanted
    assert any(b'"boosted"' in value for value in wanted)

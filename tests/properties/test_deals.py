"""Laws of deal risk: cut, duplicate, re-batch, crash, add other deals — the outputs stay the same bytes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from events.times import format_ms
from events.types import CrmActivity, CrmChange, Participant, PortfolioScore, Reason
from governance.settings import Deals
from scoring.alerts import Book, Order, decide, take
from scoring.alerts import dump as dump_book
from scoring.alerts import load as load_book
from scoring.features import EVERYTHING, Terms, apply_activity, apply_change
from scoring.scorecard import Scorecard
from scoring.stages import Process
from scoring.state import MAX_STATE_BYTES, DealState, dump, load
from streams.deals import DealsStage
from streams.portfolio import PortfolioStage
from streams.records import Entry, Output
from streams.ticks import tick_event
from tests.unit.scoring.deals_log import CRM, DAY, PORTFOLIO, START_MS, event

DEALS = ("006A", "006B", "006C")
STAGES = ("Prospecting", "Proposal", "Negotiation", "Closed Won", "Closed Lost", "Somewhere", "")
AMOUNTS = ("100000.00", "1", "-5", "NaN", "9e99", None, 12, "80000")
DATES = ("2026-03-10", "2026-04-30", "1970-01-01", "soon", None, "2026-05-01T10:00:00Z")
HOURS = st.integers(0, 24 * 9)

fields = st.fixed_dictionaries(
    {},
    optional={
        "stage": st.sampled_from(STAGES),
        "amount": st.sampled_from(AMOUNTS),
        "currency": st.sampled_from(("EUR", "USD", "JPY", "SEK", "GBP")),
        "close_date": st.sampled_from(DATES),
        "owner_id": st.sampled_from(("lea", "anton", "")),
        "manager_id": st.sampled_from(("jo", "hanna", None)),
        "next_step": st.sampled_from(("Call", "", None)),
        "is_closed": st.booleans(),
        "name": st.text(max_size=12),
        "segment": st.sampled_from(("Enterprise", "SMB")),
    },
)
participants = st.lists(
    st.builds(
        Participant,
        contact_id=st.sampled_from(("c1", "c2", "c3", "c4")),
        role=st.sampled_from(("economic_buyer", "user")),
        executive=st.booleans(),
    ),
    max_size=3,
)
changes = st.builds(
    lambda deal, op, values: CrmChange(
        object="Opportunity",
        record_id=deal,
        deal_id=deal,
        op=op,
        changes={name: (None, value) for name, value in values.items()},
    ),
    st.sampled_from(DEALS),
    st.sampled_from(("create", "update", "update", "update", "delete", "undelete")),
    fields,
)
activities = st.builds(
    lambda deal, kind, direction, who, ahead, back, status, said: CrmActivity(
        kind=kind,
        direction=direction,
        deal_id=deal,
        participants=who,
        mentions=said,
        **({} if ahead is None else {"scheduled_for": format_ms(START_MS + ahead * DAY)}),
        **({} if back is None else {"occurred_at": format_ms(START_MS + back * DAY)}),
        **({} if status is None else {"status": status}),
    ),
    st.sampled_from(DEALS),
    st.sampled_from(("email", "call", "meeting", "task", "note")),
    st.sampled_from(("inbound", "outbound", "internal", None)),
    participants,
    st.none() | st.integers(-5, 80),
    st.none() | st.integers(-40, 40),
    st.none() | st.sampled_from(("done", "planned", "cancelled")),
    st.lists(st.sampled_from(("competitor: Fernbrook", "pricing", "")), max_size=2),
)
steps = st.lists(
    st.tuples(st.just("crm"), changes | activities, HOURS)
    | st.tuples(st.just("again"), st.integers(0, 99), HOURS)
    | st.tuples(st.just("tick"), HOURS, HOURS),
    min_size=1,
    max_size=50,
)


def log_of(plan: list[tuple[Any, ...]]) -> list[Entry]:
    """A log with times that stand still or jump, exact repetitions, and gaps between offsets."""
    log: list[Entry] = []
    events: list[Any] = []
    now = START_MS
    for step in plan:
        offset = len(log) * 3
        now += step[2] * 3_600_000 // 4
        if step[0] == "crm":
            events.append(event(step[1], len(events), now))
            log.append((offset, now, events[-1]))
        elif step[0] == "again" and events:
            log.append((offset, now, events[step[1] % len(events)]))
        elif step[0] == "tick":
            log.append((offset, now, tick_event("test", now)))
    return log


def stage() -> DealsStage:
    return DealsStage(CRM, Deals())


def fed(outputs: list[Output]) -> list[Entry]:
    """The portfolio's log that follows from the deals stage's outputs."""
    records = [output for output in outputs if output.kind in ("score", "marker")]
    return [(number, output.at_ms, output.event) for number, output in enumerate(records)]  # type: ignore[misc]


def lines(outputs: list[Output]) -> list[bytes]:
    return [output.kind.encode() + output.id.encode() + msgspec.json.encode(output.event) for output in outputs]


def both(log: list[Entry]) -> list[bytes]:
    """The bytes that both stages put out."""
    outputs = stage().process(log)
    return lines(outputs) + lines(PortfolioStage(PORTFOLIO, Deals()).process(fed(outputs)))


@given(steps)
def test_a_truncated_log_gives_the_first_part_of_the_outputs(plan: list[tuple[Any, ...]]) -> None:
    log = log_of(plan)
    whole = lines(stage().process(log))
    for end in range(len(log) + 1):
        part = lines(stage().process(log[:end]))
        assert part == whole[: len(part)]


@given(steps, st.lists(st.integers(0, 60), max_size=6))
def test_batch_boundaries_change_nothing(plan: list[tuple[Any, ...]], cuts: list[int]) -> None:
    log = log_of(plan)
    one, other = stage(), []
    bounds = sorted({0, len(log), *(cut for cut in cuts if cut < len(log))})
    for first, last in pairwise(bounds):
        other += one.process(log[first:last])
    assert lines(other) == lines(stage().process(log))


@given(steps, st.integers(0, 60))
def test_a_crash_after_any_snapshot_changes_nothing(plan: list[tuple[Any, ...]], cut: int) -> None:
    log = log_of(plan)
    cut = min(cut, len(log))
    first = stage()
    said = first.process(log[:cut])
    snapshots = first.snapshot()
    again = stage()
    resume = again.restore(snapshots)
    said += again.process([entry for entry in log if entry[0] >= resume])
    assert lines(said) == lines(stage().process(log))


@given(steps, st.integers(0, 60), st.integers(0, 60))
def test_keys_whose_snapshot_is_newer_than_the_barrier_skip_what_they_hold(
    plan: list[tuple[Any, ...]], cut: int, ahead: int
) -> None:
    """The partition's own state is older than some deals': the win rates must still come out the same."""
    log = log_of(plan)
    cut = min(cut, len(log))
    ahead = min(cut + ahead, len(log))
    one = stage()
    one.process(log[:cut])
    barrier = one.snapshot()
    one.process(log[cut:ahead])
    newer = [snapshot for snapshot in one.snapshot() if snapshot.key]
    again = stage()
    resume = again.restore([*barrier, *newer])
    again.process([entry for entry in log if entry[0] >= resume])
    straight = stage()
    straight.process(log)
    states = [{key: dump(keyed.body.state) for key, keyed in each.keys.items()} for each in (again, straight)]
    assert states[0] == states[1]
    day = 10**9
    again.outcomes.roll(day)
    straight.outcomes.roll(day)
    assert again.outcomes.counts == straight.outcomes.counts


@given(steps)
def test_a_portfolio_restored_anywhere_says_the_same(plan: list[tuple[Any, ...]]) -> None:
    log = fed(stage().process(log_of(plan)))
    whole = lines(PortfolioStage(PORTFOLIO, Deals()).process(log))
    for cut in range(0, len(log) + 1, 3):
        first = PortfolioStage(PORTFOLIO, Deals())
        said = first.process(log[:cut])
        again = PortfolioStage(PORTFOLIO, Deals())
        again.restore(first.snapshot())
        said += again.process(log[cut:])
        assert lines(said) == whole


@given(steps, st.data())
def test_duplicates_change_nothing(plan: list[tuple[Any, ...]], data: st.DataObject) -> None:
    log = log_of(plan)
    doubled: list[Entry] = []
    for offset, at_ms, one in log:
        doubled.append((offset, at_ms, one))
        if data.draw(st.booleans()):
            doubled.append((offset + 1, at_ms, one))
    assert both(doubled) == both(log)


@given(steps)
def test_deals_do_not_touch_each_other(plan: list[tuple[Any, ...]]) -> None:
    """Win rates apart, which need a closed deal: without them each deal's outputs are its own."""
    log = [entry for entry in log_of(plan) if not _may_close(entry[2])]
    whole = stage().process(log)
    for deal in DEALS:
        key = f"default/{deal}"
        alone = stage().process([entry for entry in log if _is_about(entry[2], deal)])
        mine = [output for output in whole if output.kind == "risk" and output.key == key]
        assert lines(mine) == lines([output for output in alone if output.kind == "risk"])


def _is_about(one: Any, deal: str) -> bool:
    return getattr(one.data, "deal_id", deal) == deal


def _may_close(one: Any) -> bool:
    values = getattr(one.data, "changes", None) or {}
    return any(name in ("is_closed", "stage", "is_won") for name in values)


@given(steps)
def test_every_published_number_is_exact_and_sound(plan: list[tuple[Any, ...]]) -> None:
    for output in stage().process(log_of(plan)):
        if output.kind != "risk":
            continue
        risk = output.event.data  # type: ignore[attr-defined]
        odds = risk.base + sum(reason.contribution for reason in risk.reasons)
        assert risk.p_lost == 1.0 / (1.0 + math.exp(-odds))
        assert 0 < risk.p_lost_14d <= risk.p_lost <= risk.p_slip <= 1
        assert 0 <= risk.p_won_by["7"] <= risk.p_won_by["14"] <= risk.p_won_by["28"] <= 1 - risk.p_lost
        assert all(reason.sentence.endswith(".") and reason.contribution for reason in risk.reasons)


@given(steps)
def test_states_stay_bounded_and_come_back_from_their_bytes(plan: list[tuple[Any, ...]]) -> None:
    one = stage()
    one.process(log_of(plan))
    for keyed in one.keys.values():
        blob = dump(keyed.body.state)
        assert len(blob) <= MAX_STATE_BYTES
        assert dump(load(blob)) == blob


@given(st.lists(st.tuples(changes | activities, st.integers(0, 200)), min_size=1, max_size=40))
@settings(max_examples=200)
def test_judging_only_what_is_fresh_gives_what_judging_everything_gives(plan: list[tuple[Any, int]]) -> None:
    process = Process()
    card, terms = Scorecard(process), Terms(process)
    state, now = DealState(), START_MS
    apply_change(state, CrmChange(object="Deal", record_id="1", op="create"), now, terms)
    card.judge(state, now)
    for data, hours in plan:
        now += hours * 3_600_000
        if isinstance(data, CrmChange):
            apply_change(state, data, now, terms)
            fresh = EVERYTHING
        else:
            fresh = apply_activity(state, data, now, now)
        card.refresh(state, now, fresh)
        check = load(dump(state))
        check.has_new_facts = True
        assert card.judge(check, now) == card.scores(state)
        assert (check.bins, check.points) == (state.bins, state.points)
        assert state.next_ms <= check.next_ms
        assert all(mine <= full for mine, full in zip(state.due_ms, check.due_ms, strict=True))


def _a_score(deal: int, p_lost: float, more_slip: float, euros: int | None, is_open: bool) -> PortfolioScore:
    return PortfolioScore(
        deal_id=f"d{deal}",
        manager_id="jo",
        owner_id="lea",
        p_lost=p_lost,
        p_slip=p_lost + (1 - p_lost) * more_slip,
        p_lost_14d=p_lost / 2,
        is_open=is_open,
        amount_minor=None if euros is None else euros * 100,
        currency="EUR",
        reasons=[Reason("silence", 1.0, "…")] if p_lost > 0.6 else [],
    )


a_score = st.builds(
    _a_score,
    st.integers(0, 15),
    st.sampled_from((0.1, 0.4, 0.5, 0.61, 0.7, 0.9, 0.96)),
    st.sampled_from((0.0, 0.5)),
    st.none() | st.sampled_from((1_000, 2_000, 50_000)),
    st.sampled_from((True, True, True, False)),
)


@given(st.lists(st.tuples(st.lists(a_score, max_size=6), st.integers(1, 9)), min_size=1, max_size=30))
def test_a_decision_that_looks_only_when_the_five_may_have_changed_is_that_of_one_that_always_looks(
    ticks: list[tuple[list[PortfolioScore], int]],
) -> None:
    lazy, eager = Book(), Book()
    lazy_order, eager_order = Order(lazy), Order(eager)
    now = START_MS
    for scores, days in ticks:
        now += days * DAY
        for score in scores:
            take(lazy, lazy_order, score, now)
            take(eager, eager_order, score, now)
        eager_order.is_shown_changed = True
        assert decide(lazy, lazy_order, now) == decide(eager, eager_order, now)
        assert dump_book(lazy) == dump_book(eager)
        again = Order(load_book(dump_book(lazy)))
        assert (again.watched, again.hopeless) == (lazy_order.watched, lazy_order.hopeless)

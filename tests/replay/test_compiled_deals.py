"""The compiled path of deals and the Python path: the same outputs and the same states, whatever the log holds."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from events import rows, structured
from events.codec import decode, encode
from events.times import DAY_MS, BadTime, format_ms
from events.types import ActivityEvent, Actor, ChangeEvent, CrmActivity, CrmChange, Participant
from governance.settings import Deals
from scoring import compiled, people, reasons
from scoring.model import HAND, learned
from scoring.scorecard import Scorecard
from scoring.stages import Process
from scoring.state import Age, DealState, Person, copy, dump, load
from streams import deals
from streams.deals import DealsStage
from streams.records import Entry
from streams.ticks import tick_event
from tests.unit.scoring.deals_log import CRM, START_MS
from tests.unit.scoring.models import invented, record

pytestmark = pytest.mark.skipif(deals.DealsJudge is None, reason="not compiled: make compile")
STAGES = ("Prospecting", "Demo", "Proposal", "Negotiation", "Closed Won", "Closed Lost", "Somewhere", "")
AMOUNTS = ("100000.00", "1", "-5", "9e99", None, 12, "80000", "9999999999999.99", 2**70)
CONTACTS = ("c1", "c2", "c3", *(f"p{at}" for at in range(12)), "", None, "x" * 70)


def in_python(patch: pytest.MonkeyPatch) -> None:
    """Deals by the Python path from here on."""
    patch.setattr(structured, "_times_of", structured.times_of)
    patch.setattr(deals, "DealsJudge", None)
    patch.setattr(deals, "Figures", None)
    patch.setattr(compiled, "Card", None)
    patch.setattr(reasons, "best_person", people.best_person)


def activity(draws: random.Random, at_ms: int) -> CrmActivity:
    """A mail, call, meeting, task or note: mostly a plain contact."""
    fields: dict[str, Any] = {}
    if draws.random() < 0.1:
        fields["scheduled_for"] = draws.choice([None, format_ms(at_ms + draws.randrange(-5, 20) * DAY_MS)])
    if draws.random() < 0.1:
        fields["status"] = draws.choice(["done", "planned", "cancelled"])
    if draws.random() < 0.1:
        fields["mentions"] = draws.choice([[], ["competitor:Acme"], ["Competitor"], ["price"]])
    if draws.random() < 0.9:
        said = draws.choice([at_ms] * 6 + [at_ms - 200_000, at_ms - 20 * DAY_MS, at_ms + DAY_MS])
        fields["occurred_at"] = draws.choice([format_ms(said)] * 5 + [format_ms(said)[:-1] + "+00:00", None])
    if draws.random() < 0.8:
        fields["participants"] = [
            Participant(
                contact_id=draws.choice(CONTACTS),
                role=draws.choice([UNSET, None, "champion", "economic_buyer", "r" * 50]),
                executive=draws.choice([False, False, False, True, None, UNSET]),
                name=draws.choice([UNSET, None, "Petra Vogel", "ü" * 90]),
            )
            for _ in range(draws.choice([0, 1, 1, 2]))
        ]
    if draws.random() < 0.5:
        fields["logged_by"] = Actor(draws.choice(["human", "agent"]), "x")
    return CrmActivity(
        kind=draws.choice(["email", "email", "call", "meeting", "task", "note"]),
        direction=draws.choice(["inbound", "outbound", "outbound", "internal", None, UNSET]),
        deal_id=draws.choice(["A", "A", "B", "C", None]),
        **fields,
    )


def change(draws: random.Random, at_ms: int) -> CrmChange:
    """A change of a deal's record, sound or not."""
    deal = draws.choice("ABC")
    fields: dict[str, Any] = {
        "stage": draws.choice(STAGES),
        "amount": draws.choice(AMOUNTS),
        "currency": draws.choice(["EUR", "JPY", None]),
        "close_date": draws.choice(["2026-03-10", "2026-04-30", "1970-01-01", "soon", None]),
        "owner_id": draws.choice(["lea", "anton", ""]),
        "manager_id": draws.choice(["jo", "hanna", None]),
        "next_step": draws.choice(["Call", "", None]),
        "is_closed": draws.random() < 0.5,
        "segment": draws.choice(["SMB", "Enterprise"]),
        "name": "N",
    }
    names = draws.sample(sorted(fields), draws.choice([1, 1, 2, 4]))
    return CrmChange(
        object=draws.choice(["Opportunity", "Opportunity", "Account"]),
        record_id=deal,
        deal_id=draws.choice([deal, UNSET]),
        op=draws.choice(["create", "update", "update", "update", "delete", "undelete"]),
        changes={name: (None, fields[name]) for name in names},
        actor=draws.choice([UNSET, Actor("human", "x"), Actor("agent", "x")]),
        committed_at=format_ms(at_ms - draws.choice([0, 0, 0, 3 * DAY_MS])),
    )


def log(seed: int, count: int, gaps_ms: list[int]) -> list[Entry]:
    """Entries of a partition: activities and changes, some again, some numbered, ticks, and now and then a model."""
    draws = random.Random(seed)
    at_ms, version = START_MS, 0
    entries: list[Entry] = []
    lines: list[bytes] = []
    for number in range(count):
        at_ms += draws.choice(gaps_ms)
        if draws.random() < 0.15:
            entries.append((len(entries), at_ms, tick_event("x", at_ms // 10_000 * 10_000)))
        if draws.random() < 0.005:
            version += 1
            tables = draws.choice([None, invented(seed % 7)])
            entries.append((len(entries), at_ms, record(version, tables, at_ms=at_ms)))
        if lines and draws.random() < 0.05:
            entries.append((len(entries), at_ms, decode(draws.choice(lines))))
            continue
        kind, make = draws.choice([(ActivityEvent, activity)] * 3 + [(ChangeEvent, change)])  # type: ignore[list-item]
        said = kind(
            specversion="1.0",
            id=f"e{number if draws.random() < 0.95 else draws.randrange(max(number, 1))}",
            source="/crm",
            time=format_ms(at_ms),
            data=make(draws, at_ms),  # type: ignore[arg-type]
            tenant=draws.choice([UNSET] * 9 + ["other"]),
            sequence=draws.choice([UNSET] * 19 + [str(number)]),
        )
        lines.append(encode(said))
        entries.append((len(entries), at_ms - draws.choice([0] * 9 + [400_000]), said))
    return entries


def as_rows(entries: list[Entry]) -> list[Entry]:
    """The same entries, with rows where the reader makes them."""
    read = rows.scanner(with_deals=True)
    assert read is not None
    found: list[Entry] = []
    for offset, at_ms, one in entries:
        (item,) = read.scan(encode(one))
        found.append((offset, at_ms, one if item is None else item[4]))
    return found


def run(stage: DealsStage, entries: list[Entry], cuts: list[int]) -> tuple[list[bytes], list[Any]]:
    """What a stage says and keeps, given the entries in batches cut at these places."""
    said, begin = [], 0
    for cut in [*sorted(cuts), len(entries)]:
        said += [
            f"{output.kind} {output.key}".encode() + encode(output.event)
            for output in stage.process(entries[begin:cut])
        ]
        begin = cut
    return said, [*stage.snapshot(), stage.duplicates, stage.next_due_ms()]


SETTINGS = Deals(link="https://crm/{deal_id}", silent_days=12)


@given(
    seed=st.integers(0, 10_000),
    gaps=st.sampled_from([[0, 1, 300], [1_000, 60_000], [60_000, 3_600_000], [3_600_000, DAY_MS, 9 * DAY_MS]]),
    cuts=st.lists(st.integers(0, 300), max_size=3),
)
@settings(max_examples=25, deadline=None)
def test_deals_are_judged_alike(seed: int, gaps: list[int], cuts: list[int]):
    entries = log(seed, 300, gaps)
    fast, of_rows = DealsStage(CRM, SETTINGS), DealsStage(CRM, SETTINGS)
    assert fast._judge is not None
    read = as_rows(entries)
    assert sum(type(entry[2]) is rows.DEAL_ROW for entry in read) > 100
    with pytest.MonkeyPatch.context() as patch:
        in_python(patch)
        plain = DealsStage(CRM, SETTINGS)
        expected = run(plain, entries, [])
        expected_of_rows = run(DealsStage(CRM, SETTINGS), read[:50], [])
    assert type(plain.card) is Scorecard
    assert run(fast, entries, cuts) == expected
    assert run(of_rows, read, cuts) == expected
    assert run(DealsStage(CRM, SETTINGS), entries[:50], []) == expected_of_rows


@given(seed=st.integers(0, 10_000), asked=st.lists(st.integers(0, 300), max_size=60))
@settings(max_examples=8, deadline=None)
def test_a_state_that_is_asked_for_or_kept_in_between_changes_nothing(seed: int, asked: list[int]):
    entries = log(seed, 300, [60_000, 3_600_000, DAY_MS])
    straight, watched = DealsStage(CRM, SETTINGS), DealsStage(CRM, SETTINGS)
    expected = straight.process(entries)
    said, begin = [], 0
    for cut in [*sorted(asked), len(entries)]:
        said += watched.process(entries[begin:cut])
        begin = cut
        for at, keyed in enumerate(watched.keys.values()):
            known = copy(keyed.body.state) if at % 2 else None
            kept = load(watched.dump_body(keyed.body))
            assert kept == keyed.body.state if known is None else kept == known
            assert watched.dump_body(keyed.body) == dump(keyed.body.state)
    assert said == expected
    states = [{key: keyed.body.state for key, keyed in stage.keys.items()} for stage in (straight, watched)]
    assert states[0] == states[1]


def test_outputs_are_named_alike_whatever_deals_are_called():
    entries: list[Entry] = []
    for number, deal in enumerate(("ä", "x" * 2_000, "a b/c", "\U0001f600")):
        data = CrmChange(
            object="deal", record_id=deal, op="create", changes={"stage": (None, "Demo"), "manager_id": (None, "Jö")}
        )
        event = ChangeEvent(specversion="1.0", id=f"{number}", source="/crm", time=format_ms(START_MS), data=data)
        entries.append((number, START_MS, event))
    entries.append((1 << 40, START_MS + 10_000, tick_event("x", START_MS + 10_000)))
    fast = run(DealsStage(CRM, SETTINGS), entries, [])
    with pytest.MonkeyPatch.context() as patch:
        in_python(patch)
        assert run(DealsStage(CRM, SETTINGS), entries, []) == fast
    assert len(fast[0]) == 9


def test_a_state_is_carried_from_one_path_to_the_other():
    entries = log(5, 400, [60_000, 3_600_000])
    fast = DealsStage(CRM, SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        in_python(patch)
        plain = DealsStage(CRM, SETTINGS)
        plain.process(entries[:200])
        kept = plain.snapshot()
        expected, _ = run(plain, entries[200:], [])
    assert fast.restore(kept) == entries[200][0]
    assert run(fast, entries[200:], [])[0] == expected
    assert len(expected) > 50


@pytest.mark.parametrize("model", [None, 3])
def test_a_card_judges_as_the_tables_say(model: int | None):
    draws = random.Random(1)
    made = Scorecard(Process(), 14, HAND if model is None else learned(invented(model)))
    fast = compiled.scorecard(Process(), 14, made.model)
    assert type(fast) is compiled.CompiledScorecard
    for _ in range(300):
        at_ms = START_MS + draws.randrange(100 * DAY_MS)
        state = DealState(
            status=1, opened_ms=at_ms - draws.randrange(90 * DAY_MS), stage=draws.choice(STAGES),
            origins=[draws.choice([at_ms - draws.randrange(-50, 99) * DAY_MS, 1 << 58, -(1 << 58)]) for _ in Age],
            touches=sorted(at_ms - draws.randrange(20 * DAY_MS) for _ in range(draws.randrange(17))),
            people_ms=[at_ms - draws.randrange(40 * DAY_MS) for _ in range(draws.randrange(9))],
            amount_minor=draws.choice([None, 0, 5, 10_000, 10**16]), peak_minor=draws.choice([None, 0, 10_000, 10**16]),
            first_minor=draws.choice([None, 0, 4, 9_999]), pushes=draws.randrange(5), pushed_days=draws.randrange(200),
            regressions=draws.randrange(3), longest_gap_ms=draws.randrange(40 * DAY_MS),
            owner_points=draws.randrange(-30, 30), segment_points=draws.randrange(-30, 30),
            meetings=sorted(at_ms + draws.randrange(-5, 20) * DAY_MS for _ in range(draws.randrange(4))),
        )  # fmt: skip
        other = copy(state)
        assert fast.judge(state, at_ms) == made.judge(other, at_ms)
        assert state == other
        for _ in range(4):
            at_ms += draws.choice([0, 3_600_000, 2 * DAY_MS, 30 * DAY_MS])
            assert fast.refresh(state, at_ms) == made.refresh(other, at_ms)
            assert state == other


def test_the_person_to_talk_to_is_the_same():
    draws = random.Random(2)
    for _ in range(300):
        known = [
            Person(
                f"c{draws.randrange(5)}",
                draws.choice(["", "champion", "user", "economic_buyer"]),
                "",
                draws.random() < 0.3,
            )
            for _ in range(draws.randrange(1, 8))
        ]
        times = [draws.randrange(4) for _ in known]
        assert compiled.best_person(known, times) == people.best_person(known, times)


def test_times_of_events_are_read_alike():
    read = rows.times_reader()
    assert read is not None
    events = [event for _, _, event in log(4, 200, [1, 60_000])]
    crm = [event for event in events if isinstance(event, (ActivityEvent, ChangeEvent))]
    assert read(events) == structured.times_of(events)
    assert read(crm) == structured.times_of(crm)
    for name in ("occurred_at", "scheduled_for"):
        data = CrmActivity(kind="call", deal_id="A", **{name: "soon"})  # type: ignore[arg-type]
        late = ActivityEvent(specversion="1.0", id="x", source="/crm", time="2026-03-02T09:14:03Z", data=data)
        for either in (read, structured.times_of):
            with pytest.raises(BadTime, match="soon"):
                either([late])

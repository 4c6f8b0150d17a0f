"""What the runtime said live, a replay of its log says again, byte for byte."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.times import DAY_MS, HOUR_MS, MINUTE_MS, format_ms
from events.types import (
    ActivityEvent,
    Actor,
    ChangeEvent,
    CrmActivity,
    CrmChange,
    Event,
    Participant,
)
from governance.gate import GateRequest
from governance.settings import parse_settings
from storage.store import Store
from streams.replay import replay
from streams.standalone.clock import ManualClock
from streams.standalone.runtime import Runtime
from tests.standalone.fakes import action_event

MONDAY_MS = 1_772_409_600_000
SETTINGS = parse_settings(
    """
    [agents.steady]
    actions = ["record.*"]
    [agents.rogue]
    actions = ["record.*"]
    [deals]
    managers = { "user:1" = "eva" }
    """,
    {},
)


def change(number: int, at_ms: int, deal: int, **changes: object) -> ChangeEvent:
    data = CrmChange(
        object="Opportunity",
        record_id=f"006A{deal}",
        op="update" if number > 20 else "create",
        changes={name: (None, value) for name, value in changes.items()},
        actor=Actor("human", "user:1"),
        deal_id=f"006A{deal}",
        owner_id="user:1",
    )
    return ChangeEvent(specversion="1.0", id=f"c{number}", source="/crm", time=format_ms(at_ms), data=data)


def mail(number: int, at_ms: int, deal: int) -> ActivityEvent:
    data = CrmActivity(
        kind="email",
        deal_id=f"006A{deal}",
        direction="inbound",
        participants=[Participant(contact_id=f"003C{deal}")],
        logged_by=Actor("human", "user:1"),
    )
    return ActivityEvent(specversion="1.0", id=f"m{number}", source="/crm", time=format_ms(at_ms), data=data)


def story(clock: ManualClock) -> Iterator[list[Event]]:
    """Some hours of a small sales organisation, batch by batch; one agent goes rogue at the end."""
    chance = random.Random(5)
    number = 0
    yield [
        change(
            deal, clock.now_ms(), deal, name=f"Deal {deal}", stage="Proposal", amount=f"{deal}000.00", currency="EUR",
            owner_id="user:1", close_date="2026-04-01", is_closed=False,
        )
        for deal in range(1, 9)
    ]  # fmt: skip
    for step in range(60):
        clock.move(5 * MINUTE_MS)
        events: list[Event] = []
        for _ in range(chance.randrange(1, 6)):
            number += 1
            outcome = "error" if chance.random() < 0.2 else "ok"
            at_ms = clock.now_ms() - chance.randrange(2_000)
            events.append(action_event(chance.choice(["steady", "rogue"]), number, at_ms, outcome=outcome))
        if step % 3 == 0:
            events.append(mail(step, clock.now_ms(), chance.randrange(1, 9)))
        if step % 7 == 0:
            events.append(change(100 + step, clock.now_ms(), chance.randrange(1, 9), close_date="2026-06-01"))
        yield events
    for _ in range(4):
        clock.move(MINUTE_MS)
        yield [action_event("rogue", number := number + 1, clock.now_ms()) for _ in range(80)]
    clock.move(20 * DAY_MS)
    yield [mail(999, clock.now_ms(), 3)]


def live(folder: Path, clock: ManualClock) -> tuple[list[bytes], list[bytes], int]:
    """Run the story, with the process ending and starting again now and then; returns findings, alerts, scores."""
    steps = story(clock)
    done = False
    while not done:
        with Runtime(SETTINGS, clock=clock, store=Store(folder), with_ticker=False) as runtime:
            for step, events in enumerate(steps):
                runtime.ingest([(b"", event) for event in events], may_wait=True).result(30)
                runtime.check(
                    GateRequest(agent_id="steady", action="record.update", object="Lead", record_ids=[f"{step}"])
                ).result(30)
                runtime.tick().result(30)
                if step == 25:
                    break
            else:
                done = True
            link = runtime.store.connect()
            findings = [row[0].encode() for row in link.execute("SELECT body FROM finding")]
            alerts = [row[0].encode() for row in link.execute("SELECT body FROM alert")]
            (scores,) = link.execute("SELECT count(*) FROM deal_score").fetchone()
            link.close()
    return sorted(findings), sorted(alerts), scores


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes], list[bytes], int]:
    folder = tmp_path_factory.mktemp("live")
    findings, alerts, scores = live(folder / "store", ManualClock(MONDAY_MS + 8 * HOUR_MS))
    with Runtime(SETTINGS, clock=ManualClock(MONDAY_MS + 40 * DAY_MS), store=Store(folder / "store")) as runtime:
        counts = runtime.dump(folder / "dump")
    assert all(count > 0 for count in counts.values())
    logs = sorted((folder / "dump").glob("*.jsonl"))
    result = replay(logs, SETTINGS, folder / "out")
    steps = list(story(clock := ManualClock(MONDAY_MS + 8 * HOUR_MS)))
    assert result.events == sum(map(len, steps)), "ticks, admissions and scores are no producers' events"
    assert result.first == format_ms(MONDAY_MS + 8 * HOUR_MS)
    assert result.last == format_ms(clock.now_ms())
    return folder / "out", findings, alerts, scores


def lines(path: Path) -> list[bytes]:
    return sorted(path.read_bytes().splitlines())


def test_the_findings_are_the_same_bytes(told: tuple[Path, list[bytes], list[bytes], int]) -> None:
    out, findings, _, _ = told
    assert findings
    assert lines(out / "findings.jsonl") == findings


def test_the_alerts_are_the_same_bytes(told: tuple[Path, list[bytes], list[bytes], int]) -> None:
    out, _, alerts, _ = told
    assert alerts
    assert lines(out / "alerts.jsonl") == alerts


def test_every_score_that_was_published_is_published_again(
    told: tuple[Path, list[bytes], list[bytes], int],
) -> None:
    out, _, _, scores = told
    assert len(lines(out / "deal_risk.jsonl")) == scores > 0


def test_a_value_beyond_64_bits_is_judged_by_the_real_engine_and_survives_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(MONDAY_MS)
    events: list[tuple[bytes, Event]] = [
        (b"", action_event("steady", n, MONDAY_MS, records=2**53, changes={"r": {"x": (0, 10**40 + n)}}))
        for n in range(3)
    ]
    for _ in range(2):
        with Runtime(SETTINGS, clock=clock, store=Store(tmp_path), with_ticker=False) as runtime:
            answers = runtime.ingest(events).result(30)
            runtime.tick().result(30)
    assert [answer.is_duplicate for answer in answers] == [True] * 3

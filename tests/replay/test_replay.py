"""Replay as a user runs it: files in, files out."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from events.codec import encode
from events.times import format_ms
from events.types import (
    ActionEvent,
    ActivityEvent,
    Actor,
    AgentAction,
    ChangeEvent,
    CrmActivity,
    CrmChange,
    Participant,
)
from governance.settings import parse_settings
from streams.engine import topology
from streams.replay import reader, replay
from streams.replay.drive import Drive
from streams.replay.run import FILES

DAY_MS = 86_400_000
START_MS = 1_772_442_000_000
SETTINGS = parse_settings()


def action(number: int, at_ms: int, agent: str = "bot", **data: Any) -> ActionEvent:
    fields: dict[str, Any] = {
        "agent_id": agent,
        "action": "record.update",
        "outcome": "ok",
        "object": "Account",
        **data,
    }
    return ActionEvent(
        specversion="1.0", id=f"a-{number}", source="/crm", time=format_ms(at_ms), data=AgentAction(**fields)
    )


def change(number: int, at_ms: int, deal: str, **changes: Any) -> ChangeEvent:
    data = CrmChange(
        object="Opportunity",
        record_id=deal,
        deal_id=deal,
        op="create" if "name" in changes else "update",
        changes={field: (None, value) for field, value in changes.items()},
        actor=Actor("human", "user:1"),
    )
    return ChangeEvent(specversion="1.0", id=f"c-{number}", source="/crm", time=format_ms(at_ms), data=data)


def mail(number: int, at_ms: int, deal: str, direction: str = "inbound") -> ActivityEvent:
    data = CrmActivity(kind="email", direction=direction, deal_id=deal, participants=[Participant(contact_id="003")])  # type: ignore[arg-type]
    return ActivityEvent(specversion="1.0", id=f"m-{number}", source="/mail", time=format_ms(at_ms), data=data)


def sales_log(days: int = 30) -> list[Any]:
    """Agents and deals: quiet work, one bulk operation, a streak of errors, deals that go silent."""
    rng = random.Random(5)
    events: list[Any] = []
    for number in range(days * 40):
        at = START_MS + rng.randrange(days * DAY_MS)
        events.append(action(number, at, f"bot-{number % 4}", record_ids=[f"001{number}"]))
    for deal in range(12):
        created = START_MS + deal * 3_600_000
        events.append(
            change(
                deal,
                created,
                f"006{deal}",
                name=f"Deal {deal}",
                account="Acme",
                stage="Proposal",
                amount=f"{1000 * (deal + 1)}.00",
                currency="EUR",
                close_date="2026-03-27",
                owner_id=f"user:{deal % 3}",
                manager_id="user:boss",
            )
        )
        events += [mail(deal * 100 + n, created + n * DAY_MS + 1, f"006{deal}") for n in range(1 + deal)]
    bulk = START_MS + 20 * DAY_MS
    events.append(action(900_001, bulk, "bot-1", record_ids=[f"r{n}" for n in range(200)], records=200))
    events += [
        action(900_100 + n, bulk + n * 1000, "bot-2", outcome="error", error={"code": "LOCKED", "message": "x"})
        for n in range(0)
    ]
    return events


def write(path: Path, events: list[Any]) -> Path:
    data = b"".join(encode(event) + b"\n" for event in events)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def outputs(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in (*FILES.values(), "summary.json")}


def lines(out: Path, kind: str) -> list[Any]:
    return [json.loads(line) for line in (out / FILES[kind]).read_bytes().splitlines()]


@pytest.fixture(scope="module")
def log() -> list[Any]:
    return sorted(sales_log(), key=lambda event: (event.time, event.source, event.id))


def test_the_same_log_gives_the_same_bytes(log: list[Any], tmp_path: Path):
    path = write(tmp_path / "log.jsonl", log)
    replay([path], SETTINGS, tmp_path / "one")
    replay([path], SETTINGS, tmp_path / "two")
    assert outputs(tmp_path / "one") == outputs(tmp_path / "two")


def test_order_packing_and_splitting_of_the_files_change_nothing(log: list[Any], tmp_path: Path):
    replay([write(tmp_path / "log.jsonl", log)], SETTINGS, tmp_path / "plain")
    shuffled = list(log)
    random.Random(1).shuffle(shuffled)
    replay([write(tmp_path / "shuffled.jsonl", shuffled)], SETTINGS, tmp_path / "shuffled")
    replay([write(tmp_path / "log.jsonl.gz", log)], SETTINGS, tmp_path / "packed")
    parts = [write(tmp_path / f"part{n}.jsonl", log[n::3]) for n in range(3)]
    replay(parts, SETTINGS, tmp_path / "parts")
    expected = outputs(tmp_path / "plain")
    for name in ("shuffled", "packed", "parts"):
        assert outputs(tmp_path / name) == expected, name


def test_a_log_far_out_of_order_is_sorted_outside_memory_with_the_same_result(
    log: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    replay([write(tmp_path / "log.jsonl", log)], SETTINGS, tmp_path / "plain")
    monkeypatch.setattr(reader, "BLOCK_EVENTS", 50)
    monkeypatch.setattr(reader, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(reader, "_RUN_EVENTS", 300)
    path = write(tmp_path / "back.jsonl", list(reversed(log)))
    with pytest.raises(reader.OutOfOrder):
        list(reader.read([path], []))
    replay([path], SETTINGS, tmp_path / "sorted")
    assert outputs(tmp_path / "sorted") == outputs(tmp_path / "plain")


def test_ticks_that_are_not_delivered_make_no_difference(log: list[Any], tmp_path: Path):
    path = write(tmp_path / "log.jsonl", log[:400])

    def run(*, every_tick: bool) -> list[tuple[str, str, bytes]]:
        said: list[tuple[str, str, bytes]] = []

        def take(found: Any) -> None:
            said.extend((o.kind, o.id, encode(o.event)) for o in found if o.kind not in ("marker", "score", "top"))

        drive = Drive(topology(SETTINGS, "replay"), "replay", 10_000, take, deliver_all_ticks=every_tick)
        for items in reader.read([path], []):
            drive.feed(items)
        drive.finish()
        return sorted(said)

    few, all_of_them = run(every_tick=False), run(every_tick=True)
    assert few
    assert few == all_of_them


def test_a_bulk_operation_is_stopped_and_the_authority_says_so(log: list[Any], tmp_path: Path):
    result = replay([write(tmp_path / "log.jsonl", log)], SETTINGS, tmp_path / "out")
    assert result.suspended == ["bot-1"]
    (control,) = lines(tmp_path / "out", "control")
    assert control["type"] == "tripline.control.v1"
    assert {**control["data"], "reason": ""} == {
        "agent_id": "bot-1",
        "state": "suspended",
        "epoch": 1,
        "at": "2026-03-22T09:00:00Z",
        "by": {"kind": "detector", "id": "blast_radius"},
        "reason": "",
        "finding_id": control["data"]["finding_id"],
        "expires_at": None,
    }


def test_a_line_that_cannot_be_read_is_a_dead_letter_with_its_place_and_the_rest_goes_on(
    log: list[Any], tmp_path: Path
):
    path = tmp_path / "log.jsonl"
    good = [encode(event) for event in log[:50]]
    path.write_bytes(b"\n".join([*good[:20], b"{not json", b"", *good[20:], b'{"specversion":"1.0"}']) + b"\n")
    result = replay([path], SETTINGS, tmp_path / "out")
    assert result.events == 50
    letters = lines(tmp_path / "out", "dead_letter")
    assert [letter["data"]["origin"] for letter in letters] == [
        {"file": "log.jsonl", "line": 21},
        {"file": "log.jsonl", "line": 53},
    ]
    assert letters[0]["data"]["reason"] == "not_json"


def test_an_event_dated_a_year_ahead_is_set_aside_and_raises_no_alarm_about_the_year_between(
    log: list[Any], tmp_path: Path
):
    ahead = mail(777, START_MS + 365 * DAY_MS, "0060")
    replay([write(tmp_path / "log.jsonl", log)], SETTINGS, tmp_path / "plain")
    result = replay([write(tmp_path / "ahead.jsonl", [*log[:300], ahead, *log[300:]])], SETTINGS, tmp_path / "ahead")
    assert result.dead_letters == {"bad_time": 1}
    (letter,) = lines(tmp_path / "ahead", "dead_letter")
    assert "days after all other events" in letter["data"]["message"]
    for kind in ("finding", "risk", "alert", "control"):
        assert (tmp_path / "ahead" / FILES[kind]).read_bytes() == (tmp_path / "plain" / FILES[kind]).read_bytes()


def test_an_empty_log_gives_empty_files_and_a_summary(tmp_path: Path):
    (tmp_path / "empty.jsonl").write_bytes(b"")
    result = replay([tmp_path / "empty.jsonl"], SETTINGS, tmp_path / "out")
    assert result.events == 0
    assert outputs(tmp_path / "out")["findings.jsonl"] == b""


def test_cutting_a_log_gives_a_prefix_of_the_findings(log: list[Any], tmp_path: Path):
    """What is said at a time does not depend on what comes after it."""
    replay([write(tmp_path / "log.jsonl", log)], SETTINGS, tmp_path / "whole")
    half = len(log) // 2
    replay([write(tmp_path / "half.jsonl", log[:half])], SETTINGS, tmp_path / "half")
    for kind in ("finding", "risk"):
        cut, whole = lines(tmp_path / "half", kind), lines(tmp_path / "whole", kind)
        last = log[half - 1].time
        said = [event for event in cut if event["time"] <= last]
        assert said == whole[: len(said)]
        assert kind != "risk" or said

"""Actions for the conformance suite: plain traffic, floods, and one labelled scenario per detector."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from detectors import policy_breach
from detectors.base import Action
from detectors.good_runs import run_of
from detectors.run_library import encode_library
from detectors.unlike_good_run import Config, call_of
from events.catalogue import kind_of
from events.types import ActionError, AgentAction, Revert

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
START_MS = 1_767_571_200_000  # Monday 2026-01-05, 00:00 UTC


def act(at_ms: int, number: int, **said: object) -> Action:
    """One action; ``said`` overrides fields of the record, ``effect_ms`` and ``is_backlog`` those of the envelope."""
    effect_ms = said.pop("effect_ms", at_ms)
    is_backlog = said.pop("is_backlog", False)
    phase, revert = said.pop("phase", "both"), said.pop("revert", None)
    fields = {"agent_id": "a", "action": "record.update", "outcome": "ok", "object": "Opportunity", **said}
    fields.setdefault("record_ids", [f"006A{number % 40}"])
    data = AgentAction(**fields)
    return Action(at_ms, effect_ms, "/crm", f"e-{number}", kind_of(data.action), data, is_backlog, phase, revert)


def error(code: str, text: str = "") -> dict[str, object]:
    """The fields of a failed operation."""
    return {"outcome": "error", "error": ActionError(code, text)}


def traffic(seed: int, days: float, per_hour: float = 20.0) -> Iterator[Action]:
    """Ordinary work: exponential gaps, reads and updates, an error now and then."""
    rng = random.Random(seed)
    at_ms, number = START_MS, 0
    while at_ms < START_MS + days * DAY_MS:
        at_ms += int(rng.expovariate(per_hour / HOUR_MS)) + 1
        number += 1
        name = rng.choice(["record.read", "record.update", "task.create"])
        failed = error("FIELD_CUSTOM_VALIDATION_EXCEPTION") if rng.random() < 0.01 else {}
        yield act(at_ms, number, action=name, object=rng.choice(["Opportunity", "Contact"]), **failed)


def hostile(seed: int, count: int) -> Iterator[Action]:
    """Everything at once: unique texts, ids and names, times in wild order, backlog from far past and future."""
    rng = random.Random(seed)
    at_ms = START_MS
    for number in range(count):
        at_ms += rng.choice([0, 0, 10, 500, -20_000, 60_000])
        effect_ms = at_ms + rng.choice([0, -DAY_MS * 400, DAY_MS * 400, -HOUR_MS * rng.randrange(100)])
        yield act(
            at_ms,
            number,
            effect_ms=effect_ms,
            is_backlog=effect_ms < at_ms - 300_000,
            action=rng.choice(["record.update", "email.send", f"strange.verb{number}", "record.read"]),
            object=f"Object{number}" + "€" * 200 if number % 3 else "Opportunity",
            record_ids=[f"id-{number}-{i}" for i in range(rng.choice([1, 1, 60]))],
            recipient_ids=[f"c-{number}"],
            **error(f"CODE{number}" + "ß" * 300, f"text {number} " + "x" * 500) if rng.random() < 0.8 else {},
        )


def metronome_then_burst() -> Iterator[Action]:
    """Exactly one action a minute for one day, then 100 a second, all on the same record."""
    for minute in range(1440):
        yield act(START_MS + minute * MINUTE_MS, minute, record_ids=["006A1"])
    for extra in range(1_000):
        yield act(START_MS + DAY_MS + extra * 10, 10_000 + extra, record_ids=["006A1"])


def failing_on_one_type() -> Iterator[Action]:
    """A day of ordinary work, then every operation on Lead fails while others succeed in between."""
    work = list(traffic(5, 1))
    number = len(work)
    yield from work
    at_ms = START_MS + DAY_MS + HOUR_MS
    for extra in range(20):
        yield act(at_ms + extra * 2_000, number + 2 * extra, object="Contact")
        yield act(at_ms + extra * 2_000 + 1_000, number + 2 * extra + 1, object="Lead", **error("INVALID_FIELD"))


def bulk_update() -> Iterator[Action]:
    """A day of ordinary work, then 51 records in one operation."""
    work = list(traffic(6, 1))
    number = len(work)
    yield from work
    yield act(START_MS + DAY_MS + HOUR_MS, number + 1, record_ids=[f"r{i}" for i in range(51)])


def flipping_one_record() -> Iterator[Action]:
    """A day of ordinary work, then one field of one record goes back and forth every five seconds."""
    work = list(traffic(8, 1))
    number = len(work)
    yield from work
    at_ms = START_MS + DAY_MS + HOUR_MS
    for extra in range(40):
        change = ("A", "B") if extra % 2 else ("B", "A")
        yield act(at_ms + extra * 5_000, number + extra, record_ids=["006L"], changes={"006L": {"Stage": change}})


def reads_then_updates(first: int, runs: int) -> Iterator[Action]:
    """Runs of one kind, each with an id: a record is read, then its stage is changed."""
    for number in range(first, first + runs):
        at_ms = START_MS + number * HOUR_MS
        record, said = f"006A{number}", {"run_id": f"run-{number}"}
        yield act(at_ms, 2 * number, action="record.read", record_ids=[record], **said)
        changes = {record: {"StageName": ("Proposal", "Negotiation")}}
        yield act(at_ms + 5_000, 2 * number + 1, record_ids=[record], changes=changes, **said)


def a_run_that_only_deletes() -> Iterator[Action]:
    """Runs as the confirmed ones, then one that deletes records by invented ids, without a look at any."""
    yield from reads_then_updates(100, 20)
    for extra in range(5):
        at_ms = START_MS + 200 * HOUR_MS + extra * 1_000
        yield act(at_ms, 10_000 + extra, action="record.delete", record_ids=[f"{extra}"], run_id="rogue")


def writing_blindly() -> Iterator[Action]:
    """Two hundred records are read and then written, then sixty are written that it never looked at."""
    for number in range(400):
        name = "record.update" if number % 2 else "record.read"
        yield act(START_MS + number * MINUTE_MS, number, action=name, record_ids=[f"006R{number // 2}"])
    for number in range(400, 460):
        yield act(START_MS + number * MINUTE_MS, number, record_ids=[f"006X{number}"])


def writing_to_a_new_object() -> Iterator[Action]:
    """Ten days of updates of one field of opportunities, then contracts are changed."""
    for number in range(480):
        at_ms, record = START_MS + number * HOUR_MS // 2, f"006A{number % 40}"
        changes = {record: {"StageName": ("Proposal", "Negotiation")}}
        yield act(at_ms, number, record_ids=[record], changes=changes, owner_id=f"user:{number % 3}")
    for number in range(480, 490):
        at_ms, record = START_MS + number * HOUR_MS // 2, f"800C{number}"
        yield act(at_ms, number, object="Contract", record_ids=[record], changes={record: {"Amount": (100, 1)}})


def deleting_among_updates() -> Iterator[Action]:
    """Twenty days of reads, updates and tasks, then every second action deletes a contact."""
    work = list(traffic(11, 20, per_hour=4))
    number = len(work)
    yield from work
    for extra in range(200):
        at_ms = START_MS + 20 * DAY_MS + extra * 10 * MINUTE_MS
        name = "record.delete" if extra % 2 else "record.update"
        yield act(at_ms, number + extra, action=name, object="Contact", record_ids=[f"003X{extra}"])


def another_thing_than_was_admitted() -> Iterator[Action]:
    """Admitted and done as admitted, then a contract is made under the decision about an update."""
    for number in range(60):
        at_ms, said = START_MS + number * HOUR_MS, {"decision_id": f"d-{number}"}
        yield act(at_ms, 2 * number, phase="attempt", **said)
        name = "contract.create" if number >= 50 else "record.update"
        yield act(at_ms + 1_000, 2 * number + 1, phase="outcome", action=name, **said)


def plausible_nonsense() -> Iterator[Action]:
    """Twenty days of amounts that move by a tenth, then four wrong ones an hour, among right ones."""
    rng = random.Random(12)
    for number in range(1_200):
        at_ms, record = START_MS + number * HOUR_MS // 2, f"006A{number}"
        before = rng.randrange(10_000, 60_000)
        after = before * (rng.choice([3, 5]) if number >= 960 and number % 2 else rng.uniform(0.96, 1.04))
        yield act(at_ms, number, record_ids=[record], changes={record: {"Amount": (f"{before}.00", f"{after:.2f}")}})


def undone_by_people() -> Iterator[Action]:
    """Of a thousand changes five are overwritten; then three people put nearly every one of sixty right."""
    for number in range(65):
        is_wrong = number >= 5
        at_ms, by = (
            (START_MS + 9 * DAY_MS + number * HOUR_MS, number % 3) if is_wrong else (START_MS + number * DAY_MS, 9)
        )
        said = Revert(
            agent_id="a", object="Opportunity", record_id=f"006A{number}", by=f"user:{by}", source="/crm",
            change_id=f"e-{number}", kind="undone" if is_wrong else "overwritten", fields=["StageName"], after_secs=600,
            written=1 if is_wrong else 200,
        )  # fmt: skip
        yield act(at_ms, number, phase="revert", revert=said)


@cache
def configs() -> dict[str, Any]:
    """What a detector must be given to have an opinion: a library of good runs, an agent's scope."""
    actions = list(reads_then_updates(0, 60))
    runs = [run_of(map(call_of, actions[at : at + 2]), label=f"run {at // 2}") for at in range(0, len(actions), 2)]
    scope = policy_breach.Scope(actions=["record.*", "task.create"])
    return {
        "unlike_good_run": Config(library=encode_library(runs)),
        "policy_breach": policy_breach.Config(agents={"a": scope}),
    }


CAUGHT: dict[str, Callable[[], Iterator[Action]]] = {
    "action_rate": metronome_then_burst,
    "repeated_errors": failing_on_one_type,
    "blast_radius": bulk_update,
    "unlike_good_run": a_run_that_only_deletes,
    "write_without_read": writing_blindly,
    "record_loop": flipping_one_record,
    "unexpected_change": writing_to_a_new_object,
    "value_shift": plausible_nonsense,
    "action_mix": deleting_among_updates,
    "policy_breach": another_thing_than_was_admitted,
    "human_revert": undone_by_people,
}
"""What each detector must stop; a detector without an entry fails the suite."""

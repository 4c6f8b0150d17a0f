"""Behaviour of the blast-radius detector and its counter of distinct ids."""

from __future__ import annotations

import random

import pytest
from msgspec import structs

from detectors.base import Action, Evidence
from detectors.blast_radius import BlastRadius, BlastState, Config, Limits
from detectors.distinct import DistinctCounter
from events.catalogue import kind_of
from events.types import AgentAction

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_767_571_200_000


def act(at_ms: int, name: str = "record.update", **said: object) -> Action:
    fields = {"agent_id": "a", "action": name, "outcome": "ok", "object": "Lead", **said}
    data = AgentAction(**fields)  # type: ignore[arg-type]
    return Action(at_ms, at_ms, "/crm", str(at_ms), kind_of(name), data)


def judge(*actions: Action, config: Config | None = None) -> list[Evidence]:
    detector = BlastRadius(config)
    state = detector.new_state("a")
    return [said for action in actions if (said := detector.observe(action, state)) is not None]


def ids(count: int, prefix: str = "r") -> list[str]:
    return [f"{prefix}{i}" for i in range(count)]


@pytest.mark.parametrize(("count", "wanted"), [(5, []), (6, ["notify"]), (50, ["notify"]), (51, ["suspend"])])
def test_records_in_one_operation(count: int, wanted: list[str]) -> None:
    assert [said.wanted for said in judge(act(START, record_ids=ids(count)))] == wanted


def test_a_count_that_is_said_weighs_as_much_as_one_that_is_listed() -> None:
    (said,) = judge(act(START, record_ids=["r1"], records=900))
    assert (said.wanted, said.observed, said.limit) == ("suspend", 900, 51)
    assert said.summary == "900 records in one record.update; at most 50 are allowed"


def test_more_than_fifty_recipients_are_stopped() -> None:
    (said,) = judge(act(START, "email.send", recipients=51), config=Config(irreversible=["email.send"]))
    assert (said.wanted, said.unit) == ("suspend", "recipients/operation")


def test_reads_are_free() -> None:
    assert judge(act(START, "record.read", records=5_000)) == []


@pytest.mark.parametrize(
    "name", ["owner.reassign", "contract.create", "discount.approve", "record.merge", "call.record", "wire.money"]
)
def test_what_cannot_be_undone_and_was_never_declared_is_stopped(name: str) -> None:
    (said,) = judge(act(START, name))
    assert said.wanted == "suspend"
    assert name in said.summary
    declared = Config(agents={"a": Limits(irreversible=[name])}, notify_external=False)
    assert judge(act(START, name), config=declared) == []


def test_a_first_message_to_somebody_needs_a_declaration() -> None:
    mail = act(START, "email.send", recipient_ids=["c1"], first_contact=True)
    assert [said.wanted for said in judge(mail)] == ["suspend"]
    assert [said.wanted for said in judge(mail, config=Config(irreversible=["first_contact"]))] == ["notify"]
    known = act(START, "email.send", recipient_ids=["c1"], first_contact=False)
    assert [said.wanted for said in judge(known)] == ["notify"]


def test_a_first_message_that_a_person_approved_at_the_gate_stops_nobody_and_an_agents_word_is_not_that() -> None:
    mail = act(START, "email.send", recipient_ids=["c1"], first_contact=True, reviewed_by="maya")
    admitted = structs.replace(mail, phase="attempt")
    assert [said.wanted for said in judge(admitted)] == ["notify"]
    assert [said.wanted for said in judge(mail)] == ["suspend"]


def test_every_kind_of_notice_comes_once_in_ten_minutes() -> None:
    mails = [act(START + i * MINUTE, "email.send", recipient_ids=["c1"], record_ids=["r"]) for i in range(25)]
    assert [said.topic for said in judge(*mails)] == ["external"] * 3


def test_six_different_records_in_ten_minutes_are_told_and_one_record_is_not() -> None:
    same = [act(START + i * 1_000, record_ids=["r1"]) for i in range(50)]
    assert judge(*same) == []
    different = [act(START + i * 1_000, record_ids=[f"r{i}"]) for i in range(6)]
    (said,) = judge(*different)
    assert (said.wanted, said.observed, said.topic) == ("notify", 6, "distinct")


def test_four_operations_of_five_records_are_told_as_one_of_twenty_would_be() -> None:
    operations = [act(START + i * 1_000, record_ids=ids(5, f"o{i}-")) for i in range(4)]
    assert [said.wanted for said in judge(*operations)] == ["notify"]


def test_an_agents_own_budget_holds_and_twice_of_it_stops() -> None:
    config = Config(agents={"a": Limits(records_per_10_min=20)})
    said = judge(*[act(START + i * 1_000, record_ids=[f"r{i}"]) for i in range(60)], config=config)
    strong = [(one.wanted, one.observed) for one in said if one.wanted != "notify"]
    assert strong == [("hold", 21), ("suspend", 41)]


def test_a_days_budget_counts_over_hours() -> None:
    config = Config(agents={"a": Limits(records_per_day=100)})
    said = judge(*[act(START + i * 10 * MINUTE, record_ids=[f"r{i}"]) for i in range(130)], config=config)
    assert [(one.wanted, one.observed) for one in said if one.wanted != "notify"] == [("hold", 101)]


def test_a_nightly_batch_of_four_thousand_records_is_only_told() -> None:
    batch = [act(START + i * 300, record_ids=[f"r{i}"]) for i in range(4_000)]
    assert {said.wanted for said in judge(*batch)} == {"notify"}


def test_what_was_held_is_not_said_again_at_each_action() -> None:
    config = Config(agents={"a": Limits(contacts_per_10_min=3)}, notify_external=False)
    mails = [act(START + i, "email.send", recipient_ids=[f"c{i}"], record_ids=["r"]) for i in range(6)]
    assert [said.wanted for said in judge(*mails, config=config)] == ["hold"]


def test_the_counter_equals_a_plain_count_below_its_cap() -> None:
    rng, counter = random.Random(3), DistinctCounter(768)
    history: list[tuple[int, str]] = []
    at_ms = START
    for _ in range(3_000):
        at_ms += rng.randrange(0, 4 * MINUTE)
        one = f"r{rng.randrange(400)}"
        history.append((at_ms // MINUTE, one))
        recent = counter.add(at_ms, "Lead", [one], 1)
        now = at_ms // MINUTE
        last = {}
        for minute, known in history[-3_000:]:
            last[known] = minute
        assert recent == sum(minute > now - 11 for minute in last.values())
        assert counter.day == sum(minute // 60 > now // 60 - 25 for minute in last.values())


def test_beyond_its_cap_the_counter_never_counts_too_few() -> None:
    counter, seen = DistinctCounter(16), set()
    rng = random.Random(4)
    for step in range(2_000):
        one = f"r{rng.randrange(100)}"
        seen.add(one)
        counter.add(START + step * 10, "Lead", [one], 1)
        assert counter.recent >= len(seen)


def test_the_same_id_of_two_types_is_two_records() -> None:
    counter = DistinctCounter(16)
    counter.add(START, "Lead", ["1"], 1)
    assert counter.add(START, "Contact", ["1"], 1) == 2


def test_limits_are_kept_by_agent() -> None:
    detector = BlastRadius(Config(agents={"b": Limits(max_records_per_operation=5)}))
    states: list[BlastState] = [detector.new_state("a"), detector.new_state("b")]
    said = [detector.observe(act(START, record_ids=ids(20)), state) for state in states]
    assert [one.wanted for one in said if one is not None] == ["notify", "suspend"]

from typing import Any

import msgspec
import pytest

from detectors.base import Shared
from detectors.policy_breach import PolicyBreach
from events.types import (
    Admission,
    AdmissionEvent,
    By,
    Control,
    ControlEvent,
    Granted,
    PolicyEvent,
    PolicyVersion,
    Release,
    ReleaseEvent,
)
from streams.agents import AgentsStage
from streams.envelopes import envelope
from streams.records import Partition
from tests.unit.streams.toys import PARTITION, START_MS, Brittle, EveryThird, action_event, actions, entry, stage, tick


def findings(outputs: list[Any]) -> list[Any]:
    return [output.event.data for output in outputs if output.kind == "finding"]


def system(kind: Any, data: Any, number: int = 0) -> Any:
    return envelope(kind, "test", f"s-{number}", START_MS, "default/bot", data)


def control(state: str, epoch: int, by: str = "human") -> Any:
    data = Control(agent_id="bot", state=state, epoch=epoch, at="2026-03-02T09:00:00Z", by=By(by, "x"), reason="r")
    return system(ControlEvent, data, epoch)


def test_a_finding_names_the_record_that_caused_it_and_asks_for_what_the_detector_wants():
    found = findings(stage().process(actions(3)))
    assert [(f.detector, f.action_taken, f.evidence.events) for f in found] == [
        ("every_third", "suspend", [("/crm", "a-2")])
    ]


def test_shadow_asks_for_nothing_and_warn_at_most_for_a_notice():
    for mode, expected in (("shadow", "none"), ("warn", "notify"), ("enforce", "suspend")):
        found = findings(stage(EveryThird(), modes={"every_third": mode}).process(actions(3)))
        assert [f.action_taken for f in found] == [expected]


def test_an_effect_more_than_five_minutes_old_may_warn_but_never_suspends():
    late = START_MS - 300_001
    records = [entry(n, action_event(n, at_ms=late)) for n in range(3)]
    assert [f.action_taken for f in findings(stage().process(records))] == ["notify"]
    in_time = [entry(n, action_event(n, at_ms=START_MS + 1000 * n - 300_000)) for n in range(3)]
    assert [f.action_taken for f in findings(stage().process(in_time))] == ["suspend"]


def test_a_duplicate_is_not_judged():
    judged = stage()
    judged.process([*actions(2), entry(2, action_event(1)), entry(3, action_event(1))])
    assert judged.judged == 2
    assert judged.duplicates == 2


def test_an_id_used_again_with_other_content_is_said_and_judged():
    judged = stage()
    out = judged.process([*actions(2), entry(2, action_event(1, action="record.delete"))])
    assert [f.detector for f in findings(out)] == ["event_identity", "every_third"]
    assert judged.judged == 3


def test_a_retry_beyond_the_window_is_caught_when_the_producer_numbers_its_events():
    def numbered(number: int) -> Any:
        event = action_event(number)

        return msgspec.structs.replace(event, sequence=str(number))

    judged = stage()
    judged.process([entry(n, numbered(n)) for n in range(2000)])
    judged.process([entry(2000, numbered(5))])
    assert judged.judged == 2000
    unnumbered = stage()
    unnumbered.process(actions(2000))
    unnumbered.process([entry(2000, action_event(5))])
    assert unnumbered.judged == 2001, "the stated limit: without numbers a retry beyond 1,024 ids is judged again"


def test_two_tenants_with_the_same_agent_id_never_meet():

    judged = stage()
    for offset in range(4):
        event = msgspec.structs.replace(action_event(offset), tenant="a" if offset % 2 else "b")
        assert findings(judged.process([entry(offset, event)])) == []
    assert set(judged.keys) == {"a/bot", "b/bot"}


def test_an_output_id_depends_on_the_record_not_on_the_batch():
    together = stage().process(actions(9))
    alone = stage()
    one_by_one = [output for each in actions(9) for output in alone.process([each])]
    assert [o.id for o in together] == [o.id for o in one_by_one]
    assert len({o.id for o in together}) == 3


def test_a_re_created_topic_gives_other_output_ids():
    other = stage(partition=Partition("test", "agent.actions", "topic-2")).process(actions(3))
    assert stage().process(actions(3))[0].id != other[0].id


def test_adding_a_detector_leaves_the_ids_of_the_others_as_they_were():
    before = {o.id for o in stage(EveryThird()).process(actions(6))}
    after = {o.id for o in stage(Brittle(), EveryThird()).process(actions(6))}
    assert before == after


def test_a_snapshot_from_before_a_detector_was_added_restores_and_the_new_one_starts_afresh():
    old = stage(EveryThird())
    old.process(actions(2))
    new = stage(EveryThird(), Brittle())
    assert new.restore(old.snapshot()) == 2
    assert [f.detector for f in findings(new.process([entry(2, action_event(2))]))] == ["every_third"]


class TestADetectorThatRaises:
    def records(self) -> list[Any]:
        return [*actions(1), entry(1, action_event(1, action="record.merge")), entry(2, action_event(2))]

    def test_is_disabled_for_that_agent_and_its_writes_are_held_when_it_enforces(self):
        found = findings(stage(Brittle()).process(self.records()))
        assert [(f.detector, f.action_taken) for f in found] == [("brittle", "hold")]

    def test_asks_for_nothing_in_shadow(self):
        found = findings(stage(Brittle(), modes={"brittle": "shadow"}).process(self.records()))
        assert [f.action_taken for f in found] == ["none"]

    def test_leaves_the_other_detectors_with_each_record_counted_once(self):
        found = findings(stage(Brittle(), EveryThird()).process(self.records()))
        assert [(f.detector, f.evidence.observed) for f in found] == [("brittle", 1), ("every_third", 3)]

    def test_leaves_other_agents_alone(self):
        judged = stage(Brittle())
        judged.process([*self.records(), entry(3, action_event(3, "other"))])
        assert judged.keys["default/other"].body.disabled == {}

    def test_starts_afresh_with_a_new_policy_version(self):
        judged = stage(Brittle())
        judged.process(self.records())
        assert judged.keys["default/bot"].body.disabled == {"brittle": "ZeroDivisionError"}
        policy = system(PolicyEvent, PolicyVersion(version=2, hash="h"))
        judged.process([entry(3, policy), entry(4, action_event(4))])
        assert judged.keys["default/bot"].body.disabled == {}
        assert judged.keys["default/bot"].body.states[0] == [1]


def test_what_a_policy_grants_is_handed_to_the_detectors_and_survives_a_restart():
    def made() -> Any:
        shared = Shared()
        return AgentsStage(PARTITION, [PolicyBreach(shared=shared)], {}, shared)

    judged, granted = made(), {"bot": Granted(actions=["record.read"], objects=["*"])}
    assert findings(judged.process([entry(0, action_event(0))])) == []
    policy = system(PolicyEvent, PolicyVersion(version=2, hash="h", granted=granted))
    older = system(PolicyEvent, PolicyVersion(version=1, hash="g"), 1)
    judged.process([entry(1, policy), entry(2, older)])
    restarted = made()
    restarted.restore(list(judged.snapshot()))
    for one in (judged, restarted):
        (found,) = findings(one.process([entry(3, action_event(3))]))
        assert (found.detector, found.action_taken, found.evidence.topic) == (
            "policy_breach", "notify", "policy|record.update",
        )  # fmt: skip


def test_an_admission_is_judged_and_its_report_is_not_counted_again():
    judged = stage()
    data = Admission(agent_id="bot", decision_id="d-1", seq=1, action="record.update", records=1)
    judged.process([entry(0, system(AdmissionEvent, data)), entry(1, action_event(1, decision_id="d-1"))])
    assert judged.keys["default/bot"].body.states[0] == [1]
    judged.process([entry(2, action_event(2, decision_id="d-unknown"))])
    assert judged.keys["default/bot"].body.states[0] == [2]


def test_a_release_makes_the_same_request_news_again_and_moves_the_basis_epoch():
    class Always(EveryThird):
        def observe(self, action: Any, state: list[int]) -> Any:
            state[0] = 2
            evidence = super().observe(action, state)

            return msgspec.structs.replace(evidence, topic="")

    judged = stage(Always())
    first = findings(judged.process(actions(5)))
    assert len(first) == 1, "the same request is not repeated within two hours"
    release = system(ReleaseEvent, Release(agent_id="bot", epoch=4, by="maya", reason="fixed"))
    again = findings(
        judged.process([entry(5, control("suspended", 3, "detector")), entry(6, release), *[entry(7, action_event(7))]])
    )
    assert [f.basis_epoch for f in again] == [4]


@pytest.mark.parametrize("ahead_ms", [300_000, 365 * 86_400_000])
def test_a_record_moves_stream_time_at_most_five_minutes_beyond_the_last_tick(ahead_ms: int):
    judged = stage()
    judged.process([tick(0, START_MS), (1, START_MS + ahead_ms, action_event(1)), (2, START_MS + 10, action_event(2))])
    assert judged.stream_ms == START_MS + 300_000

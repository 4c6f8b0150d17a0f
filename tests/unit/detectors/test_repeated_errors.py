"""Behaviour of the repeated-errors detector."""

from __future__ import annotations

from detectors.base import Action, Evidence
from detectors.repeated_errors import Config, ErrorState, RepeatedErrors
from events.catalogue import kind_of
from events.types import ActionError, AgentAction

START = 1_767_571_200_000


class Agent:
    """One agent at the detector; ``do`` returns what the detector said."""

    def __init__(self, config: Config | None = None) -> None:
        self.detector = RepeatedErrors(config)
        self.state: ErrorState = self.detector.new_state("a")
        self.number = 0

    def do(self, record_type: str | None, code: str = "", text: str = "", record: str | None = None) -> Evidence | None:
        self.number += 1
        data = AgentAction(
            agent_id="a",
            action="record.update",
            outcome="error" if code else "ok",
            object=record_type,
            record_ids=[record or f"r{self.number}"],
            error=ActionError(code, text) if code else None,
        )
        at_ms = START + self.number * 1000
        return self.detector.observe(
            Action(at_ms, at_ms, "/crm", str(self.number), kind_of("record.update"), data), self.state
        )

    def until_stopped(self, record_type: str, code: str, most: int = 100, record: str | None = None) -> int:
        for count in range(1, most + 1):
            said = self.do(record_type, code, record=record)
            if said is not None and said.wanted == "suspend":
                return count
        return most + 1


def test_five_errors_in_a_row_on_one_type_stop_an_unknown_agent() -> None:
    assert Agent().until_stopped("Lead", "INVALID_FIELD") == 5


def test_successes_on_other_types_do_not_end_the_run() -> None:
    agent, stopped = Agent(), 0
    for count in range(1, 10):
        agent.do("Contact")
        said = agent.do("Lead", "INVALID_FIELD")
        if said is not None:
            stopped = count
            break
    assert stopped == 5


def test_a_success_on_the_same_type_ends_the_run() -> None:
    agent = Agent()
    for _ in range(6):
        assert [agent.do("Lead", "INVALID_FIELD") for _ in range(2)] == [None, None]
        for _ in range(40):
            agent.do("Lead")


def test_different_error_classes_are_one_run() -> None:
    agent = Agent()
    said = [agent.do("Lead", f"CODE_{i}") for i in range(5)]
    assert said[4] is not None
    assert said[4].wanted == "suspend"


def test_an_agent_known_to_retry_may_retry() -> None:
    agent = Agent()
    for round_ in range(60):  # each 25th operation fails and is tried twice more, on the same record
        for _ in range(24):
            agent.do("Lead")
        for _ in range(3):
            said = agent.do("Lead", "INVALID_FIELD", record=f"bad{round_}")
            assert said is None or said.wanted != "suspend"
    assert agent.until_stopped("Lead", "INVALID_FIELD", record="bad") > 6
    agent.do("Lead")
    assert agent.until_stopped("Lead", "INVALID_FIELD") <= 8


def test_an_agent_that_fails_one_in_five_is_not_stopped_for_it() -> None:
    agent = Agent(Config(run_errors=5))
    pattern = [1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    said = [agent.do("Lead", "INVALID_FIELD" if failing else "") for _ in range(40) for failing in pattern]
    assert [one for one in said[-450:] if one is not None and one.wanted == "suspend"] == []


def test_a_share_of_errors_far_above_the_usual_is_stopped_without_a_run_of_five() -> None:
    agent = Agent()
    for _ in range(500):
        agent.do("Lead")
    said = []
    for _ in range(40):  # two of three fail
        said += [agent.do("Lead", "INVALID_FIELD"), agent.do("Lead", "INVALID_FIELD"), agent.do("Lead")]
    stopped = [one for one in said if one is not None and one.wanted == "suspend"]
    assert stopped
    assert "Far more INVALID_FIELD errors on Lead than before" in stopped[0].summary


def test_errors_that_say_the_crm_is_down_throttle_first() -> None:
    agent = Agent()
    said = [agent.do("Lead", "SERVER_UNAVAILABLE") for _ in range(60)]
    wanted = [one.wanted for one in said if one is not None]
    assert wanted[0] == "throttle"
    assert "suspend" not in wanted[:-1]
    assert wanted[-1] == "suspend"


def test_the_sentence_says_which_type_and_class_and_what_is_usual() -> None:
    agent = Agent()
    for number in range(60):
        agent.do("Lead", "OTHER_CODE" if number == 30 else "")
    said = next(one for _ in range(8) if (one := agent.do("Lead", "INVALID_FIELD")) is not None)
    assert said.summary.startswith(f"{said.observed}th error in a row on Lead (INVALID_FIELD); usually 1 in ")
    assert said.would_clear == f"a success on Lead before the {said.observed}th error"


def test_ten_thousand_texts_are_one_class() -> None:
    agent = Agent()
    for number in range(10_000):
        agent.do("Lead", "INVALID_FIELD", f"record {number} is bad" * 10)
        agent.do("Lead")
    assert agent.state.cells == 1


def test_classes_beyond_the_cap_share_one_cell_and_runs_still_count() -> None:
    agent = Agent()
    for number in range(500):
        agent.do(f"Type{number % 8}", f"CODE_{number}")
        agent.do(f"Type{number % 8}")
    assert agent.state.cells <= 64
    agent.do("Fresh")
    assert agent.until_stopped("Fresh", "NEVER_SEEN") <= 8


def test_a_release_starts_the_evidence_afresh() -> None:
    agent = Agent()
    assert agent.until_stopped("Lead", "INVALID_FIELD") == 5
    agent.detector.released(agent.state, START)
    assert agent.do("Lead", "INVALID_FIELD") is None
    assert agent.until_stopped("Lead", "INVALID_FIELD") <= 5


def test_an_operation_without_a_record_type_is_judged_by_its_name() -> None:
    agent = Agent()
    assert [agent.do(None, "INVALID_FIELD") for _ in range(5)][-1] is not None


def excused(agent: Agent, code: str, count: int) -> None:
    """So many errors of an incident that is nobody's fault; whatever the detector says of them is excused."""
    for _ in range(count):
        if agent.do("Call", code) is not None:
            failed = AgentAction(
                agent_id="a", action="record.update", outcome="error", object="Call", error=ActionError(code, "")
            )
            action = Action(START, START, "/crm", "", kind_of("record.update"), failed)
            agent.detector.excuse(action, agent.state, is_early=False)


def test_errors_that_are_nobodys_fault_do_not_count_against_the_next_class() -> None:
    agent = Agent()
    excused(agent, "UNKNOWN_EXCEPTION", 64)
    said = [agent.do("Call", "FIELD_CUSTOM_VALIDATION_EXCEPTION") for _ in range(5)]
    assert said[:4] == [None] * 4
    assert said[4] is not None
    assert said[4].wanted == "suspend"
    assert said[4].observed == 5
    assert said[4].cause is not None
    assert said[4].cause.tries == 5
    assert said[4].cause.since_ms == START + 65_000, "who failed before is not asked about"


def test_an_agents_own_errors_count_through_an_incident() -> None:
    agent = Agent()
    excused(agent, "UNKNOWN_EXCEPTION", 7)
    for _ in range(4):
        assert agent.do("Call", "INVALID_FIELD") is None
        excused(agent, "UNKNOWN_EXCEPTION", 3)
    said = agent.do("Call", "INVALID_FIELD")
    assert said is not None
    assert said.observed == 5


def test_when_the_incident_is_over_its_class_counts_as_before() -> None:
    agent = Agent()
    excused(agent, "UNKNOWN_EXCEPTION", 20)
    assert agent.do("Call", "") is None, "a success ends it"
    assert agent.until_stopped("Call", "UNKNOWN_EXCEPTION") <= 6


def test_what_is_excused_survives_a_restart() -> None:
    agent = Agent()
    excused(agent, "UNKNOWN_EXCEPTION", 33)
    blob = agent.detector.dump(agent.state)
    agent.state = agent.detector.load("a", blob, RepeatedErrors.state_version)
    assert agent.detector.dump(agent.state) == blob
    assert agent.until_stopped("Call", "INVALID_FIELD") == 5

"""The control authority's rules, one by one."""

from __future__ import annotations

import pytest

from events.types import By
from governance.control import (
    STALE_MS,
    ControlRequest,
    ControlRow,
    Decision,
    Trips,
    Why,
    confirm_release,
    control_of,
    decide,
    effective,
    expire,
    is_watched,
    newest,
    trips_in,
    wait_ms,
)

HOUR = 3_600_000
NOW = 1_772_443_200_000  # 2026-03-02T09:20:00Z
KEY = "default/dealbot"
RATE = By("detector", "action_rate")
MAYA, JO = By("human", "maya"), By("human", "jo")


def row(state: str = "active", epoch: int = 6, last_release: int = 0, expires: int | None = None) -> ControlRow:
    return ControlRow(
        key=KEY, agent_id="dealbot", state=state, epoch=epoch, last_release_epoch=last_release,  # type: ignore[arg-type]
        at_ms=NOW - HOUR, by=RATE, reason="61 updates", finding_id="f1", expires_ms=expires,
    )  # fmt: skip


def ask(
    wanted: str, basis: int = 6, by: By = RATE, reason: str = "61 updates in 5 min", at: int = NOW, key: str = KEY,
    second: By | None = None, expires: int | None = None,
) -> ControlRequest:  # fmt: skip
    return ControlRequest(
        key=key, agent_id="dealbot", wanted=wanted, basis_epoch=basis, by=by, reason=reason, at_ms=at,  # type: ignore[arg-type]
        finding_id="f2" if by.kind == "detector" else None, second=second, expires_ms=expires,
    )  # fmt: skip


def state_and_epoch(decision: Decision) -> tuple[str, int]:
    return decision.row.state, decision.row.epoch


def test_a_trip_suspends_and_the_epoch_grows_by_one() -> None:
    decision = decide(row(), ask("suspended"), NOW)
    assert state_and_epoch(decision) == ("suspended", 7)
    assert (decision.changed, decision.recorded_only, decision.why) == (True, False, Why.TIGHTENED)
    assert (decision.row.by, decision.row.reason, decision.row.finding_id) == (RATE, "61 updates in 5 min", "f2")


def test_the_first_trip_of_an_agent_without_a_row_gets_epoch_one() -> None:
    assert state_and_epoch(decide(None, ask("suspended", basis=0), NOW)) == ("suspended", 1)


@pytest.mark.parametrize(
    ("current", "wanted", "after"),
    [
        ("active", "throttled", "throttled"),
        ("active", "held", "held"),
        ("throttled", "held", "held"),
        ("throttled", "suspended", "suspended"),
        ("held", "suspended", "suspended"),
        ("held", "throttled", "held"),
        ("held", "held", "held"),
        ("suspended", "throttled", "suspended"),
        ("suspended", "held", "suspended"),
        ("suspended", "suspended", "suspended"),
    ],
)
@pytest.mark.parametrize("by", [RATE, MAYA], ids=["detector", "human"])
def test_tightening_takes_the_tighter_of_what_is_and_what_is_wanted(
    current: str, wanted: str, after: str, by: By
) -> None:
    decision = decide(row(current), ask(wanted, by=by), NOW)
    assert decision.row.state == after
    assert decision.changed == (current != after)
    assert decision.row.epoch == (7 if current != after else 6)


def test_a_second_suspension_keeps_the_first_ones_reason() -> None:
    decision = decide(row("suspended"), ask("suspended", reason="another"), NOW)
    assert (decision.row.reason, decision.why) == ("61 updates", Why.ALREADY_AS_TIGHT)


@pytest.mark.parametrize("wanted", ["throttled", "held", "suspended"])
def test_a_detector_whose_basis_lies_before_the_last_release_is_recorded_only(wanted: str) -> None:
    decision = decide(row("active", epoch=9, last_release=8), ask(wanted, basis=7), NOW)
    assert (decision.row.state, decision.recorded_only, decision.why) == ("active", True, Why.BEFORE_LAST_RELEASE)


@pytest.mark.parametrize("basis", [8, 9])
def test_a_detector_that_knows_of_the_release_is_applied(basis: int) -> None:
    decision = decide(row("active", epoch=9, last_release=8), ask("suspended", basis=basis), NOW)
    assert state_and_epoch(decision) == ("suspended", 10)


def test_a_person_may_stop_an_agent_whatever_epoch_the_page_showed() -> None:
    decision = decide(row("active", epoch=9, last_release=8), ask("suspended", basis=2, by=MAYA, reason=""), NOW)
    assert state_and_epoch(decision) == ("suspended", 10)
    assert decision.row.reason == "no reason given"


def test_a_request_of_exactly_24_hours_is_applied_an_older_one_is_recorded() -> None:
    assert decide(row(), ask("suspended", at=NOW - STALE_MS), NOW).changed
    older = decide(row(), ask("suspended", at=NOW - STALE_MS - 1), NOW)
    assert (older.row.state, older.recorded_only, older.why) == ("active", True, Why.TOO_OLD)


def test_a_persons_stop_is_never_too_old() -> None:
    assert decide(row(), ask("suspended", by=MAYA, at=NOW - 10 * STALE_MS), NOW).changed


def test_a_basis_above_the_rows_epoch_still_stops_and_gates_will_listen() -> None:
    """The store came back from an older copy: the new epoch must be above all that gates may have seen."""
    assert state_and_epoch(decide(row(epoch=3), ask("suspended", basis=12), NOW)) == ("suspended", 13)


def test_a_release_needs_a_person() -> None:
    for by in (RATE, By("drill", "d1"), By("human", " ")):
        decision = decide(row("suspended"), ask("active", by=by, reason="ok"), NOW)
        assert (decision.row.state, decision.why, decision.is_refused) == ("suspended", Why.ONLY_A_PERSON, True)


def test_a_release_needs_a_reason() -> None:
    decision = decide(row("suspended"), ask("active", by=MAYA, reason="  "), NOW)
    assert (decision.row.state, decision.why) == ("suspended", Why.REASON_MISSING)


@pytest.mark.parametrize("basis", [5, 7])
def test_a_release_that_saw_another_epoch_is_a_conflict(basis: int) -> None:
    decision = decide(row("suspended"), ask("active", basis=basis, by=MAYA, reason="ok"), NOW)
    assert (decision.row.state, decision.why, decision.is_refused) == ("suspended", Why.CONFLICT, True)


def test_schedule_7_a_trip_overtakes_a_release_from_an_older_page() -> None:
    held = row("held", epoch=6)
    tripped = decide(held, ask("suspended", basis=6), NOW)
    late = decide(tripped.row, ask("active", basis=6, by=MAYA, reason="looks fine"), NOW)
    assert state_and_epoch(tripped) == ("suspended", 7)
    assert (late.why, state_and_epoch(late)) == (Why.CONFLICT, ("suspended", 7))


def test_the_owner_cannot_release_the_own_agent() -> None:
    decision = decide(row("suspended"), ask("active", by=MAYA, reason="ok"), NOW, owner="maya")
    assert decision.why == Why.NOT_THE_OWNER
    assert decide(row("suspended"), ask("active", by=JO, reason="ok"), NOW, owner="maya").changed


@pytest.mark.parametrize("state", ["throttled", "held", "suspended"])
def test_a_release_becomes_releasing_then_active_once_all_before_it_is_judged(state: str) -> None:
    releasing = decide(row(state), ask("active", by=MAYA, reason="sandbox run clean"), NOW)
    assert (state_and_epoch(releasing), releasing.why) == (("releasing", 7), Why.RELEASING)
    assert (releasing.row.by, releasing.row.reason, releasing.row.last_release_epoch) == (MAYA, "sandbox run clean", 0)
    active = confirm_release(releasing.row, 7, NOW + 1)
    assert state_and_epoch(active) == ("active", 8)
    assert (active.row.last_release_epoch, active.row.by) == (7, MAYA)


@pytest.mark.parametrize("wanted", ["held", "suspended"])
def test_an_earlier_trip_wins_over_a_release_under_way(wanted: str) -> None:
    releasing = decide(row("suspended"), ask("active", by=MAYA, reason="ok"), NOW).row
    tripped = decide(releasing, ask(wanted, basis=6), NOW)
    assert state_and_epoch(tripped) == (wanted, 8)
    overtaken = confirm_release(tripped.row, 7, NOW)
    assert (overtaken.row, overtaken.why) == (tripped.row, Why.NOTHING_DUE)


def test_a_trip_from_before_an_earlier_release_does_not_disturb_a_release_under_way() -> None:
    releasing = row("releasing", epoch=12, last_release=8)
    assert decide(releasing, ask("suspended", basis=7), NOW).why == Why.BEFORE_LAST_RELEASE


def test_a_throttle_does_not_loosen_a_release_under_way() -> None:
    decision = decide(row("releasing", epoch=7), ask("throttled", basis=7), NOW)
    assert (state_and_epoch(decision), decision.why) == (("releasing", 7), Why.ALREADY_AS_TIGHT)


def test_releasing_twice_and_releasing_the_active_change_nothing() -> None:
    assert decide(row("releasing"), ask("active", by=MAYA, reason="ok"), NOW).why == Why.ALREADY_RELEASING
    active = decide(row("active"), ask("active", by=MAYA, reason="ok"), NOW)
    assert (active.why, active.changed, active.is_refused) == (Why.NOT_STOPPED, False, False)


def test_a_throttle_ends_by_itself_at_its_time_and_not_before() -> None:
    throttled = decide(row(), ask("throttled", expires=NOW + HOUR), NOW).row
    assert (throttled.state, throttled.expires_ms) == ("throttled", NOW + HOUR)
    assert expire(throttled, NOW + HOUR - 1).changed is False
    assert state_and_epoch(expire(throttled, NOW + HOUR)) == ("active", 8)
    assert expire(throttled, NOW + HOUR).row.expires_ms is None


def test_a_throttle_without_an_end_lasts_half_an_hour() -> None:
    assert decide(row(), ask("throttled"), NOW).row.expires_ms == NOW + HOUR // 2


def test_a_later_throttle_extends_an_earlier_one_is_swallowed() -> None:
    throttled = row("throttled", expires=NOW + HOUR)
    later = decide(throttled, ask("throttled", expires=NOW + 2 * HOUR), NOW)
    assert (later.row.expires_ms, later.row.epoch, later.why) == (NOW + 2 * HOUR, 7, Why.EXTENDED)
    earlier = decide(throttled, ask("throttled", expires=NOW + HOUR // 2), NOW)
    assert (earlier.row.expires_ms, earlier.row.epoch) == (NOW + HOUR, 6)


@pytest.mark.parametrize("state", ["active", "held", "suspended", "releasing"])
def test_nothing_but_a_throttle_ends_by_itself(state: str) -> None:
    assert expire(row(state, expires=NOW - HOUR), NOW).changed is False


def test_holding_a_throttled_agent_takes_its_end_away() -> None:
    held = decide(row("throttled", expires=NOW + HOUR), ask("held"), NOW).row
    assert (held.state, held.expires_ms) == ("held", None)


def test_schedule_8_a_gate_ignores_a_zombies_lower_epoch() -> None:
    """A zombie's "throttle expired: active (5)" arrives after "suspended (6)"."""
    suspended, zombie = row("suspended", epoch=6), row("active", epoch=5)
    assert newest(suspended, zombie) is suspended
    assert newest(newest(None, zombie), suspended) is suspended


def test_schedule_12_a_history_read_again_stops_nobody() -> None:
    month = [decide(None, ask("suspended", basis=0, at=NOW - day * 24 * HOUR), NOW) for day in range(2, 31)]
    assert {(decision.why, decision.row.state) for decision in month} == {(Why.TOO_OLD, "active")}


def test_one_person_stops_all() -> None:
    decision = decide(None, ask("suspended", basis=0, by=MAYA, key="default/*"), NOW)
    assert (decision.row.key, state_and_epoch(decision)) == ("default/*", ("suspended", 1))


def test_a_detector_cannot_stop_all() -> None:
    assert decide(None, ask("suspended", basis=0, key="default/*"), NOW).why == Why.ONLY_A_PERSON


@pytest.mark.parametrize("second", [None, MAYA, By("human", "Maya "), RATE, By("human", "")])
def test_ending_a_stop_of_all_takes_two_different_people(second: By | None) -> None:
    stopped = decide(None, ask("suspended", basis=0, by=MAYA, key="default/*"), NOW).row
    decision = decide(stopped, ask("active", basis=1, by=MAYA, reason="over", key="default/*", second=second), NOW)
    assert (decision.row.state, decision.why) == ("suspended", Why.NEEDS_TWO)


def test_two_people_end_a_stop_of_all_at_once() -> None:
    stopped = decide(None, ask("suspended", basis=0, by=MAYA, key="default/*"), NOW).row
    decision = decide(stopped, ask("active", basis=1, by=MAYA, reason="over", key="default/*", second=JO), NOW)
    assert (state_and_epoch(decision), decision.row.reason) == (("active", 2), "over (with jo)")


def test_stop_all_decides_where_it_is_tighter_and_ending_it_frees_no_suspended_agent() -> None:
    all_stopped = decide(None, ask("suspended", basis=0, by=MAYA, key="default/*"), NOW).row
    assert effective(None, all_stopped) is all_stopped
    assert effective(row("active"), all_stopped) is all_stopped
    own = row("suspended")
    assert effective(own, all_stopped) is own
    over = decide(all_stopped, ask("active", basis=1, by=MAYA, reason="over", key="default/*", second=JO), NOW).row
    assert effective(own, over) is own
    assert effective(None, over) is None


def test_the_row_becomes_the_event_of_the_wire_contract() -> None:
    control = control_of(row("suspended", epoch=7))
    assert (control.agent_id, control.state, control.epoch, control.at) == (
        "dealbot", "suspended", 7, "2026-03-02T08:20:00Z",
    )  # fmt: skip
    assert control.expires_at is None
    assert control_of(row("throttled", expires=NOW)).expires_at == "2026-03-02T09:20:00Z"


def test_every_reason_has_its_sentence() -> None:
    for why in Why:
        assert Decision(row=row(), changed=False, recorded_only=True, why=why).sentence.endswith(".")


# --- watched releases, and waiting after repeated trips ------------------------------------------------------------


@pytest.mark.parametrize(
    ("trips", "minutes"), [(0, 0), (1, 0), (2, 10), (3, 30), (4, 90), (5, 270), (7, 1440), (99, 1440)]
)
def test_who_trips_again_waits_longer_each_time(trips: int, minutes: int) -> None:
    assert wait_ms(trips) == minutes * 60_000


def test_a_release_is_refused_until_the_wait_is_over_and_says_from_when_on() -> None:
    row_, trips = row("suspended"), Trips(2, NOW)
    early = decide(row_, ask("active", by=MAYA, reason="ok"), NOW + 10 * 60_000 - 1, trips=trips)
    assert (early.why, early.is_refused, early.changed) == (Why.TOO_SOON, True, False)
    assert early.sentence.endswith("It can be released from 2026-03-02T09:30:00Z on.")
    assert decide(row_, ask("active", by=MAYA, reason="ok"), NOW + 10 * 60_000, trips=trips).changed
    assert decide(row("throttled"), ask("active", by=MAYA, reason="ok"), NOW, trips=trips).changed


def test_trips_are_stops_by_detectors_of_what_was_not_stopped() -> None:
    day = 86_400_000
    days = (
        (31, "suspended", RATE), (30, "releasing", MAYA), (29, "active", MAYA),
        (9, "throttled", RATE), (8, "held", RATE), (7, "suspended", RATE), (7, "suspended", MAYA),
        (6, "releasing", MAYA), (5, "suspended", RATE), (4, "releasing", MAYA), (4, "active", MAYA),
        (3, "suspended", MAYA), (2, "releasing", MAYA), (2, "active", MAYA),
        (1, "suspended", RATE), (0, "suspended", MAYA),
    )  # fmt: skip
    history = [(state, by.kind, NOW - ago * day) for ago, state, by in days]
    assert trips_in(history, NOW) == Trips(2, NOW - day)
    assert trips_in([], NOW) == Trips(0, 0)


def test_a_watched_release_is_a_throttle_that_ends_and_in_which_evidence_counts_double() -> None:
    released = confirm_release(row("releasing", epoch=7), 7, NOW, watch_ms=60_000)
    assert (released.why, released.row.state, released.row.expires_ms) == (Why.WATCHED, "throttled", NOW + 60_000)
    assert is_watched(released.row, NOW + 59_999)
    assert not is_watched(released.row, NOW + 60_000)
    asked = {
        wanted: decide(released.row, ask(wanted, basis=8), NOW).row.state
        for wanted in ("throttled", "held", "suspended")
    }
    assert asked == {"throttled": "held", "held": "suspended", "suspended": "suspended"}
    by_person = decide(released.row, ask("held", by=MAYA), NOW)
    assert by_person.row.state == "held"
    assert expire(released.row, NOW + 60_000).row.state == "active"
    assert decide(released.row, ask("throttled", basis=6), NOW).why is Why.BEFORE_LAST_RELEASE


def test_a_throttle_of_its_own_is_no_watch() -> None:
    active = confirm_release(row("releasing", epoch=7), 7, NOW).row
    throttled = decide(active, ask("throttled", basis=8), NOW).row
    assert not is_watched(throttled, NOW)
    assert decide(throttled, ask("held", basis=9), NOW).row.state == "held"


def test_the_first_throttle_of_an_agent_that_nobody_ever_released_is_no_watch() -> None:
    first = decide(None, ask("throttled", basis=0), NOW).row
    assert (first.epoch, first.last_release_epoch) == (1, 0)
    assert not is_watched(first, NOW)
    assert decide(first, ask("throttled", basis=1), NOW + 60_000).row.state == "throttled"


def test_the_third_throttle_of_a_day_is_a_hold_and_says_so() -> None:
    second = decide(row(), ask("throttled"), NOW, trips=Trips(throttles=1))
    assert second.row.state == "throttled"
    third = decide(second.row, ask("throttled", basis=7), NOW, trips=Trips(throttles=2))
    assert (third.row.state, third.row.expires_ms, third.why) == ("held", None, Why.TIGHTENED)
    assert third.row.reason == "61 updates in 5 min (throttled 2 times in 24 hours already)"
    by_hand = decide(row(), ask("throttled", by=MAYA), NOW, trips=Trips(throttles=5))
    assert by_hand.row.state == "throttled", "a person means what is said"


def test_throttles_are_those_of_detectors_in_a_day_since_the_last_release() -> None:
    def counted(*history: tuple[int, str, By]) -> int:
        return trips_in([(state, by.kind, NOW - ago * HOUR) for ago, state, by in history], NOW).throttles

    assert counted((25, "throttled", RATE), (24, "throttled", RATE)) == 0
    assert counted((23, "throttled", RATE), (22, "active", RATE), (3, "throttled", MAYA), (1, "throttled", RATE)) == 2
    assert counted((9, "throttled", RATE), (8, "releasing", MAYA), (8, "active", MAYA), (1, "throttled", RATE)) == 1

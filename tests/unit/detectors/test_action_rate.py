"""Behaviour of the action-rate detector, by scripted agents."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec
import pytest

from detectors.action_rate import ActionRate, Config, RateState
from detectors.base import Action, Evidence, PeerProfile, Shared
from detectors.rate_words import ordinal
from events.catalogue import kind_of
from events.types import AgentAction

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_767_571_200_000  # Monday 2026-01-05, 00:00 UTC


def act(at_ms: int, *, effect_ms: int | None = None, outcome: str = "ok", name: str = "record.update") -> Action:
    data = AgentAction(agent_id="a", action=name, outcome=outcome, record_ids=["r"])  # type: ignore[arg-type]
    effect = at_ms if effect_ms is None else effect_ms
    return Action(at_ms, effect, "/crm", str(at_ms), kind_of(name), data, effect < at_ms - 300_000)


def feed(detector: ActionRate, state: RateState, times: Iterable[int]) -> list[Evidence]:
    return [said for at_ms in times if (said := detector.observe(act(at_ms), state)) is not None]


def steady(days: float, per_hour: int, start: int = START) -> list[int]:
    """Evenly spaced actions, round the clock."""
    step = HOUR // per_hour
    return [start + i * step for i in range(int(days * 24 * per_hour))]


def grown(days: float = 10, per_hour: int = 30) -> tuple[ActionRate, RateState]:
    detector = ActionRate(Config(), Shared())
    state = detector.new_state("a")
    assert feed(detector, state, steady(days, per_hour)) == []
    return detector, state


def stops(said: list[Evidence]) -> list[Evidence]:
    return [one for one in said if one.wanted == "suspend"]


def test_a_spike_is_stopped_at_the_very_action_that_reaches_the_limit() -> None:
    detector, state = grown()
    at_ms = START + 10 * DAY + 5 * MINUTE
    usual, limit = detector.band(state, at_ms) or (0.0, 0)
    said = stops(feed(detector, state, [at_ms + i * 1_000 for i in range(250)]))
    assert said[0].observed == said[0].limit
    assert said[0].observed <= limit
    assert usual < limit


def test_the_sentence_names_the_ordinal_the_action_and_the_usual_most() -> None:
    detector, state = grown()
    at_ms = START + 10 * DAY + 5 * MINUTE
    said = stops(feed(detector, state, [at_ms + i * 1_000 for i in range(250)]))[0]
    minutes = said.unit.removeprefix("actions/").removesuffix(" min")
    assert said.summary.startswith(f"{ordinal(int(said.observed))} record.update in {minutes} min; usually at most ")
    assert said.would_clear == f"{int(said.limit) - 1} or fewer in {minutes} min"
    assert said.expected < said.limit
    assert said.events[0][0] == "/crm"


def test_mixed_actions_are_called_actions_with_the_most_common_named() -> None:
    detector, state = grown()
    at_ms = START + 10 * DAY + 5 * MINUTE
    said = None
    for i in range(250):
        name = "record.read" if i % 4 == 0 else "record.update"
        said = said or detector.observe(act(at_ms + i * 1_000, name=name), state)
    assert said is not None
    assert "action in" in said.summary
    assert ", mostly record.update;" in said.summary


def test_a_metronome_that_jumps_to_a_hundred_a_second_is_stopped_within_two_seconds() -> None:
    detector = ActionRate()
    state = detector.new_state("a")
    assert feed(detector, state, [START + i * MINUTE for i in range(1440)]) == []
    said = stops(feed(detector, state, [START + DAY + i * 10 for i in range(200)]))
    assert said
    assert int(said[0].events[0][1]) - (START + DAY) <= 2_000


def test_the_hard_limit_holds_for_an_agent_of_which_nothing_is_known() -> None:
    detector = ActionRate()
    # 20 a second are allowed and 100 more at once: at 100 a second the bucket gains 80 a second, full after 1.25 s.
    said = feed(detector, detector.new_state("a"), [START + i * 10 for i in range(150)])
    assert [one.wanted for one in said] == ["suspend"]
    assert int(said[0].events[0][1]) - START == pytest.approx(1_250, abs=20)


def test_an_agent_that_goes_on_for_long_after_its_stop_has_a_state_that_can_be_saved() -> None:
    """Each opinion doubles how much is too much; a state with such a number in it could not be written."""
    detector = ActionRate()
    state = detector.new_state("bot")
    said = feed(detector, state, range(START, START + 150_000, 10))
    assert len(said) > 100
    again = detector.load("bot", detector.dump(state), detector.state_version)
    assert detector.dump(again) == detector.dump(state)
    later = [START + 3 * HOUR + each * 10 for each in range(600)]
    assert [one.wanted for one in feed(detector, again, later)] == [one.wanted for one in feed(detector, state, later)]


def test_twenty_thousand_in_an_hour_stop_an_unknown_agent() -> None:
    detector = ActionRate()
    state = detector.new_state("a")
    said = feed(detector, state, [START + i * 100 for i in range(20_050)])
    assert [one.wanted for one in said] == ["suspend"]
    assert said[0].summary.startswith("20000th action in 60 min")


def test_a_clean_agents_first_nightly_batch_is_not_stopped() -> None:
    detector = ActionRate()
    state = detector.new_state("a")
    night = [START + 2 * DAY + 2 * HOUR + i * 400 for i in range(4_000)]  # 4,000 within 27 minutes
    day = [at for at in steady(3, 6) if not night[0] <= at <= night[-1]]
    assert stops(feed(detector, state, sorted(day + night))) == []


def test_a_nightly_job_is_remembered() -> None:
    detector = ActionRate()
    state = detector.new_state("a")
    times = steady(14, 6)
    for night in range(14):
        size = 400 if night < 13 else 900  # the last is more than twice as large
        times += [START + night * DAY + 2 * HOUR + night * 37_000 + i * 1_500 for i in range(size)]
    assert stops(feed(detector, state, sorted(times))) == []


def test_the_same_job_at_another_hour_is_stopped() -> None:
    detector = ActionRate()
    state = detector.new_state("a")
    times = steady(13, 6)
    for night in range(13):
        times += [START + night * DAY + 2 * HOUR + i * 1_500 for i in range(400)]
    feed(detector, state, sorted(times))
    assert stops(feed(detector, state, [START + 13 * DAY + 14 * HOUR + i * 1_500 for i in range(400)]))


def test_in_the_first_week_statistics_notify_then_throttle() -> None:
    detector, state = grown(days=4)
    said = feed(detector, state, [START + 4 * DAY + i * 1_000 for i in range(600)])
    assert [one.wanted for one in said][:2] == ["notify", "throttle"]
    assert stops(said) == []


def test_after_a_stop_it_is_silent_for_two_hours_unless_it_doubles() -> None:
    detector, state = grown()
    said = stops(feed(detector, state, [START + 10 * DAY + i * 1_000 for i in range(2_400)]))
    assert 1 < len(said) <= 8
    for before, after in pairwise(said):
        assert after.observed / after.limit >= 1
        assert after.observed > before.observed


def test_the_hours_of_a_stop_are_not_learnt() -> None:
    detector, state = grown()
    calm = state.season.means[0]
    assert stops(feed(detector, state, [START + 10 * DAY + i * 1_000 for i in range(600)]))
    feed(detector, state, steady(2, 30, START + 10 * DAY + 3 * HOUR))
    assert state.season.means[0] == pytest.approx(calm, rel=0.05)


def test_after_a_release_its_windows_start_empty_and_it_is_judged_again() -> None:
    detector, state = grown()
    spike = START + 10 * DAY
    assert stops(feed(detector, state, [spike + i * 1_000 for i in range(200)]))
    detector.stopped(state, spike + 200_000)
    detector.released(state, spike + 600_000)
    assert feed(detector, state, [spike + 660_000 + i * 120_000 for i in range(10)]) == []
    assert stops(feed(detector, state, [spike + 2_000_000 + i * 1_000 for i in range(200)]))


def test_backlog_never_enters_the_live_counts() -> None:
    detector, state = grown()
    at_ms = START + 10 * DAY + 30 * MINUTE
    before = state.total + state.n
    said = [
        one
        for i in range(10_000)  # yesterday's writes, all arriving now
        if (one := detector.observe(act(at_ms + i, effect_ms=at_ms - DAY + i * 8_000), state)) is not None
    ]
    assert state.total + state.n == before
    assert {one.wanted for one in said} == {"notify"}
    assert len(said) <= 26, "once an hour of effect"
    assert stops(feed(detector, state, [at_ms + 20_000])) == []


def test_an_hours_outage_of_a_connector_gives_no_opinion() -> None:
    detector, state = grown()
    at_ms = START + 10 * DAY + 2 * HOUR
    late = [at_ms - HOUR - 10 * MINUTE + i * 2 * MINUTE for i in range(30)]
    assert [detector.observe(act(at_ms, effect_ms=effect), state) for effect in late] == [None] * 30


def test_the_hours_before_the_first_action_are_not_learnt_as_empty() -> None:
    detector = ActionRate()
    state = detector.new_state("a")
    feed(detector, state, steady(12, 60, START + 14 * HOUR))
    weights = list(state.season.weights)
    # Slot 3 was seen on eleven whole days, slot 20 on the first day too, the oldest with decay .93 a day.
    assert weights[3] == pytest.approx(sum(0.93**age for age in range(11)), rel=1e-4)
    assert weights[20] == pytest.approx(sum(0.93**age for age in range(12)), rel=1e-4)


def test_denied_actions_are_not_counted() -> None:
    detector, state = grown()
    at_ms = START + 10 * DAY
    assert [detector.observe(act(at_ms + i, outcome="denied"), state) for i in range(500)] == [None] * 500


def test_zero_variance_does_not_make_a_hair_trigger() -> None:
    detector, state = grown(per_hour=60)
    at_ms = START + 10 * DAY
    extra = sorted(steady(1 / 24, 60, at_ms) + [at_ms + i * 7 * MINUTE + 1 for i in range(8)])
    assert feed(detector, state, extra) == []


def test_a_late_record_counts_where_the_log_has_it() -> None:
    detector, state = grown()
    at_ms = START + 10 * DAY
    detector.observe(act(at_ms), state)
    open_minute = state.minute
    detector.observe(act(at_ms - 3 * MINUTE), state)
    assert (state.minute, state.n) == (open_minute, 2)


def test_a_common_surge_raises_the_limits() -> None:
    detector, state = grown()
    at_ms = START + 10 * DAY
    _, calm = detector.band(state, at_ms) or (0, 0)
    detector.shared.factor = 2.0
    _, surge = detector.band(state, at_ms) or (0, 0)
    assert surge == pytest.approx(calm * 2**0.85, abs=1)


def test_the_report_is_observed_over_expected() -> None:
    detector, state = grown(per_hour=60)
    start = START + 10 * DAY
    feed(detector, state, [start + i * 30_000 for i in range(30)])  # 30 in a quarter hour, 15 expected
    assert detector.report(state, start + 15 * MINUTE) == pytest.approx(2.0, rel=0.05)


def test_an_agent_with_little_to_expect_does_not_report() -> None:
    detector, state = grown(per_hour=6)
    assert detector.report(state, START + 10 * DAY) is None


@pytest.mark.parametrize(
    ("reports", "factor"),
    [([2.0] * 11, 1.0), ([2.0] * 12, 2.0), ([1.2] * 30, 1.0), ([9.0] * 30, 3.0), ([1.0] * 6 + [2.0] * 6, 1.5)],
)
def test_the_common_factor_is_a_guarded_median(reports: list[float], factor: float) -> None:
    assert ActionRate().common_factor(reports) == factor


def test_a_band_is_unknown_before_anything_was_learnt() -> None:
    detector = ActionRate()
    state = detector.new_state("a")
    assert detector.band(state, START) is None
    feed(detector, state, steady(0.5, 30))
    assert detector.band(state, START) is None


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (61, "61st"), (112, "112th")]
)
def test_ordinals(number: int, text: str) -> None:
    assert ordinal(number) == text


def test_a_state_of_another_version_is_refused() -> None:
    detector, state = grown(days=1)
    with pytest.raises(ValueError, match="version 2, not 3"):
        detector.load("a", detector.dump(state), 3)


def test_a_state_of_before_peers_goes_on() -> None:
    detector, state = grown(days=3)
    parts, season, peers, past = msgspec.msgpack.decode(detector.dump(state))
    assert peers == past == []
    again = detector.load("a", msgspec.msgpack.encode((parts, season)), 1)
    assert detector.dump(again) == detector.dump(state)


# --- peers -----------------------------------------------------------------------------------------------------------

PROFILE = [20, 40, 60, 80, 120, 200, 5, 10, 15, 20, 30, 50]


def new_agent(profile: list[int] | None = PROFILE, group: str = "default/sdr") -> tuple[ActionRate, RateState]:
    peers = {} if profile is None else {"default/sdr": PeerProfile(START // DAY - 1, {"action_rate": tuple(profile)})}
    detector = ActionRate(Config(), Shared(peers=peers))
    state = detector.new_state("a")
    detector.join(state, group)
    return detector, state


def test_a_new_agent_is_slowed_down_in_its_first_minute_where_its_peers_never_are_so_fast() -> None:
    detector, state = new_agent()
    (said,) = feed(detector, state, [START + i * 1_000 for i in range(30)])
    assert (said.wanted, said.observed, said.limit, said.expected) == ("throttle", 20, 20, 5.0)
    assert said.summary == "20th record.update in 1 min; others of its role do at most 5, and it is new"
    assert said.details["judged_by"] == "peers"


@pytest.mark.parametrize(("profile", "group"), [(None, "default/sdr"), (PROFILE, "other/sdr"), (PROFILE, "")])
def test_without_peers_all_is_as_it_was(profile: list[int] | None, group: str) -> None:
    detector, state = new_agent(profile, group)
    plain = ActionRate(Config(), Shared())
    expected = plain.new_state("a")
    times = [*steady(2, 30), *(START + 2 * DAY + i * 1_000 for i in range(200))]
    assert feed(detector, state, times) == feed(plain, expected, times) != []
    assert detector.dump(state) == plain.dump(expected)


def test_after_its_first_week_peers_say_nothing_of_it() -> None:
    detector, state = new_agent([11, 11, 11, 11, 11, 11] * 2)
    said = feed(detector, state, steady(8, 60))
    assert said
    assert all(one.details["is_first_week"] for one in said)
    alone, expected = grown(days=8, per_hour=60)
    assert state.limits == expected.limits
    assert alone.band(expected, START + 8 * DAY) == detector.band(state, START + 8 * DAY)


def test_what_peers_did_more_than_a_month_ago_is_not_used() -> None:
    detector, state = new_agent()
    late = START + 31 * DAY
    assert feed(detector, state, [late + i * 1_000 for i in range(60)]) == []


def test_a_new_profile_holds_from_the_next_hour_on_and_survives_a_cut() -> None:
    detector, state = new_agent(None)
    assert feed(detector, state, [START + i * 1_000 for i in range(30)]) == []
    detector.shared.peers = {"default/sdr": PeerProfile(START // DAY, {"action_rate": tuple(PROFILE)})}
    assert feed(detector, state, [START + 30 * MINUTE + i * 1_000 for i in range(25)]) == []
    detector.observe(act(START + HOUR), state)
    again = detector.load("a", detector.dump(state), detector.state_version)
    detector.join(again, "default/sdr")
    detector.shared.peers = {}
    burst = [START + HOUR + 1 + i * 1_000 for i in range(25)]
    said = feed(detector, again, burst)
    assert [one.observed for one in said] == [20]
    assert feed(detector, state, burst) == said
    assert detector.dump(again) == detector.dump(state)


def test_an_agent_is_described_to_its_peers_only_when_it_is_settled() -> None:
    detector, state = grown(days=5)
    assert detector.describe(state, START + 5 * DAY) is None, "its first week"
    detector, state = grown(days=10)
    described = detector.describe(state, START + 10 * DAY)
    assert described is not None
    assert described[:6] == [max(row[w] for row in state.season.limits) for w in range(6)]
    detector.stopped(state, START + 10 * DAY)
    assert detector.describe(state, START + 10 * DAY) is None, "it was stopped"
    assert detector.describe(detector.new_state("b"), START) is None


def test_one_agent_moves_a_role_no_further_than_to_its_largest_other() -> None:
    honest = [[20 + i] * 12 for i in range(6)]
    detector = ActionRate()
    assert detector.common_profile(honest) == [24] * 12
    for poison in (0, 10**9):
        moved = detector.common_profile([*honest, [poison] * 12])
        assert moved is not None
        assert 20 <= moved[0] <= 25
    colluding = detector.common_profile([*honest, *([[10**9] * 12] * 5)])
    assert colluding is not None
    assert colluding[0] <= 3 * 25, "fewer than half of the role"
    assert detector.common_profile(honest[:4]) is None, "four say nothing"


# --- declared versions -----------------------------------------------------------------------------------------------


def renewed(profile: list[int] | None, days: int = 10) -> tuple[ActionRate, RateState, list[Evidence]]:
    """An agent of thirty actions an hour that is another version after ten days, and then does 300 in five minutes."""
    detector, state = new_agent(profile)
    detector.shared.peers = {}
    feed(detector, state, steady(days, 30))
    if profile is not None:
        detector.shared.peers = {"default/sdr": PeerProfile(START // DAY + days, {"action_rate": tuple(profile)})}
    detector.renew(state, START + days * DAY)
    return detector, state, feed(detector, state, [START + days * DAY + i * 1_000 for i in range(300)])


def test_a_new_version_is_slowed_down_by_what_its_peers_do_and_not_stopped() -> None:
    _, _, said = renewed(PROFILE)
    assert {one.wanted for one in said} == {"throttle"}
    assert (said[0].limit, said[0].details["judged_by"]) == (20, "peers")


def test_a_new_version_without_peers_is_slowed_down_by_what_it_did_before() -> None:
    detector, state, said = renewed(None)
    assert {one.wanted for one in said} == {"throttle"}
    assert said[0].details["judged_by"] == "past"
    assert "before its new version it did at most" in said[0].summary
    again = detector.load("a", detector.dump(state), detector.state_version)
    assert detector.dump(again) == detector.dump(state)


def test_a_new_version_has_a_season_of_its_own_after_a_week() -> None:
    detector, state, _ = renewed(None)
    later = START + 11 * DAY
    feed(detector, state, steady(9, 60, later))
    assert state.past == state.peers == ()
    assert state.season.days == 8, "of its own nine, the last is not over"
    said = feed(detector, state, [later + 9 * DAY + i * 1_000 for i in range(300)])
    assert [one.wanted for one in said][:1] == ["suspend"]


def test_hard_limits_hold_across_a_new_version() -> None:
    detector, state = grown()
    burst = [START + 10 * DAY + i * 10 for i in range(60)]
    assert {one.topic for one in feed(detector, state, burst)} == {"rate"}, "the bucket is half full"
    detector.renew(state, burst[-1])
    said = stops(feed(detector, state, [burst[-1] + i * 10 for i in range(1, 80)]))
    assert [one.topic for one in said] == ["hard"]


def test_renewing_an_agent_that_never_acted_is_nothing() -> None:
    detector = ActionRate()
    state = detector.new_state("a")
    detector.renew(state, START)
    assert detector.dump(state) == detector.dump(detector.new_state("a"))

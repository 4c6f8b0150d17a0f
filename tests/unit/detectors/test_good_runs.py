"""Distances to the nearest good run, and scores of episodes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from detectors.episodes import Episode, EpisodeScorer, Event
from detectors.good_runs import GoodRuns, Run, run_of
from detectors.order_surprise import OrderSurprise
from detectors.run_trace import Bag, Call, tool_call
from detectors.run_words import differences


def search(**said: Any) -> Call:
    return tool_call("crm", "search_leads", said or {"query": "acme"})


def update(lead: str = "4711", **said: Any) -> Call:
    return tool_call("crm", "update_lead", {"lead_id": lead, **said})


def good(count: int, request: str = "") -> list[Run]:
    """Runs that search before they update, each of its own request."""
    asked = request or "set lead number {} to lost"
    return [
        run_of([search(), update(status="lost") if n % 2 else update(note="n")], asked.format(n), f"run {n}")
        for n in range(count)
    ]


def by_hand(one: Bag, other: Bag) -> float:
    keys = one.keys() | other.keys()
    common = sum(min(one.get(key, 0), other.get(key, 0)) for key in keys)
    return 1.0 - common / sum(max(one.get(key, 0), other.get(key, 0)) for key in keys)


def test_the_distance_is_weighted_jaccard_to_the_nearest_whole_run() -> None:
    runs = good(6)
    asked = run_of([update("3", colour="blue"), update("4", colour="red"), search()])
    part = next(part for part in GoodRuns(runs).parts(asked) if part.name == "whole" and not part.with_request)
    assert part.nearest.distance == pytest.approx(min(by_hand(asked.plain[-1], run.plain[-1]) for run in runs))


def test_a_run_is_judged_by_its_worst_write() -> None:
    runs = good(6)
    asked = run_of([search(), update(status="lost"), update("3", colour="blue")])
    part = next(part for part in GoodRuns(runs).parts(asked) if part.name == "prefix" and not part.with_request)
    nearest = [min(by_hand(bag, each) for run in runs for each in run.plain[:-1]) for bag in asked.plain[:-1]]
    assert part.nearest.distance == pytest.approx(max(nearest))


def test_reads_after_the_last_write_are_in_the_whole_run_only() -> None:
    run = run_of([search(), update(), tool_call("mail", "search_mails", {})])
    assert ("action", "mail.search_mails") in run.plain[-1]
    assert ("action", "mail.search_mails") not in run.plain[-2]


def test_a_run_like_the_good_ones_has_the_least_score_and_one_without_a_read_a_high_one() -> None:
    library = GoodRuns(good(8))
    like = run_of([search(), update(status="lost")], "set lead number 3 to lost")
    blind = run_of([update("00000001", status="lost")], "set lead number 3 to lost")
    assert library.score(like) == pytest.approx(1.0)
    assert library.score(blind) > 5.0


def test_the_request_tells_runs_apart_that_are_good_for_another_request() -> None:
    delete = tool_call("crm", "delete_lead", {"lead_id": "4711"})
    runs = good(6) + [run_of([search(), delete], f"remove stale lead {n}", f"d{n}") for n in range(6)]
    library = GoodRuns(runs)
    assert library.score(run_of([search(), delete], "remove stale lead 9")) == pytest.approx(1.0, abs=0.5)
    assert library.score(run_of([search(), delete], "set lead number 9 to lost")) > 3.0


def test_each_action_is_compared_with_good_uses_of_it_in_any_run() -> None:
    mail = tool_call("mail", "send_email", {"to": "ann@acme.com"})
    runs = [*good(4), *(run_of([search(), mail], f"write to somebody, {n}", f"m{n}") for n in range(4))]
    whole, *_, uses = GoodRuns(runs).parts(run_of([search(), update(status="lost"), mail], "set lead number 9 to lost"))
    assert uses.name == "uses"
    assert whole.nearest.distance > 0.3, "no good run did both"
    assert uses.nearest.distance < 0.2, "each of its actions looks like good ones"
    strange = GoodRuns(runs).parts(run_of([search(), update(colour="blue"), mail], "set lead number 9 to lost"))[-1]
    assert strange.ratio > uses.ratio
    assert {feature[1] for feature in strange.nearest.bag} == {"crm.update_lead"}


def test_an_action_no_good_run_used_is_as_far_as_can_be() -> None:
    (use,) = [GoodRuns(good(4)).parts(run_of([tool_call("crm", "purge_leads", {})]))[-1]]
    assert use.nearest.distance == 1.0
    assert use.nearest.run is None


def test_what_is_usual_leaves_all_runs_of_the_same_request_out() -> None:
    same = [run_of([search(), update()], "one request", f"r{n}") for n in range(5)]
    other = run_of([search(), tool_call("crm", "delete_lead", {"lead_id": "9"})], "another", "o")
    library = GoodRuns([*same, other])
    part = library.parts(run_of([update("3")]))[0]
    assert part.ratio == pytest.approx(part.nearest.distance / by_hand(same[0].plain[-1], other.plain[-1]))


def test_an_unknown_request_or_none_is_judged_without_it() -> None:
    library = GoodRuns(good(6))
    asked = run_of([update("00000001")])
    whole, prefix, _, _, uses = library.parts(asked)
    assert library.score(asked) == pytest.approx(1.0 + 2 * whole.ratio + 2 * prefix.ratio + uses.ratio)
    nameless = GoodRuns([run_of([search(), update()], "", f"r{n}") for n in range(3)])
    assert nameless.score(run_of([search(), update()], "anything")) == pytest.approx(1.0)


def test_an_empty_library_finds_every_write_equally_far() -> None:
    library = GoodRuns([])
    assert library.score(run_of([update()])) == library.score(run_of([search(), update("3")], "x")) > 1.0


def test_runs_without_a_write_have_no_distance() -> None:
    library = GoodRuns([*good(3), run_of([search()], "look", "l")])
    assert len(library.runs) == 3
    assert library.parts(run_of([search()])) == []


def episode(*calls: tuple[str, bool], query: str | None = None) -> Episode:
    return Episode([Event("crm", action, {"lead_id": "4711"}, error) for action, error in calls], query)


def test_episodes_that_changed_nothing_score_below_all_that_did() -> None:
    right = episode(("search_leads", False), ("update_lead", False), query="q")
    scorer = EpisodeScorer([("a", right), ("b", right)])
    nothing = scorer.score(episode())
    odd_reads = scorer.score(episode(*[(f"never_seen_{n}", False) for n in range(20)]))
    refused = scorer.score(episode(("update_lead", True)))
    assert nothing == 0.0
    assert 0.0 < odd_reads < 1.0
    assert 0.0 < refused < 1.0
    assert scorer.score(right) == pytest.approx(1.0)


def test_a_verdict_names_the_nearest_good_run_and_what_differs() -> None:
    right = episode(("search_leads", False), ("update_lead", False), query="mend the lead")
    scorer = EpisodeScorer([("train:7", right)])
    blind = scorer.judge(episode(("update_lead", False), query="mend the lead"))
    text = " ".join(blind.reasons)
    assert blind.score == scorer.score(episode(("update_lead", False), query="mend the lead"))
    assert 'train:7 ("mend the lead")' in text
    assert "Here crm.update_lead changed a record by its id without a read, there not." in text
    assert "In the good run crm.search_leads was called, here not." in text
    assert scorer.judge(episode()).reasons == ["Nothing can have been damaged: nothing was called."]


def test_differences_leave_out_what_follows_from_others_and_end_somewhere() -> None:
    one = run_of([update(**{f"field{n}": "x" for n in range(20)})]).plain[-1]
    said = differences(one, {("action", "crm.search_leads"): 1})
    assert said == [
        "Here crm.update_lead changed a record by its id without a read, there not.",
        "Here crm.update_lead was called, there not.",
        "In the good run crm.search_leads was called, here not.",
    ]
    longer = differences(one, run_of([update()]).plain[-1])
    assert len(longer) == 8
    assert longer[-1].endswith("more differences.")
    assert differences(one, one) == ["It has the same features."]


def test_order_surprise_is_witten_bell_worked_out_by_hand() -> None:
    surprise = OrderSurprise([["a"]])
    lowest = lambda count: (count + 2 * (1 / 52)) / 4  # noqa: E731 - two names, each once
    after = lambda base, count: (count + base) / 2  # noqa: E731 - one name once
    p_a = after(after(lowest(1), 1), 1)
    p_end = after(after(lowest(1), 1), 1)
    assert surprise.mean(["a"]) == pytest.approx(-(math.log(p_a) + math.log(p_end)) / 2)
    p_new = after(after(lowest(0), 0), 0)
    assert surprise.mean(["b"]) == pytest.approx(-(math.log(p_new) + math.log(lowest(1))) / 2)
    assert surprise.mean([]) == 0.0
    assert OrderSurprise([]).mean(["x"]) == pytest.approx(math.log(50))

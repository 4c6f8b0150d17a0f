import pytest

from scoring.stages import Process

OWN = [
    ("Fit", 10.0, False, False),
    ("Offer", 20.0, False, False),
    ("Signed", 1.0, True, False),
    ("Dead", 1.0, False, True),
]


def test_stages_get_their_place_and_the_time_before_and_after_them() -> None:
    fit, offer = Process(OWN).find("Fit"), Process(OWN).find("Offer")
    assert (fit.place, fit.elapsed_days, fit.remaining_days, fit.answer_days) == (0.0, 0.0, 30.0, 7)
    assert (offer.place, offer.elapsed_days, offer.remaining_days, offer.answer_days) == (1.0, 10.0, 20.0, 4)


def test_the_configuration_says_which_stages_end_a_deal() -> None:
    assert Process(OWN).find("Signed").is_won
    assert Process(OWN).find("dead").is_lost


@pytest.mark.parametrize("name", ["Closed Won", "closed won", "Won", "closedwon"])
def test_usual_names_end_a_deal_without_configuration(name: str) -> None:
    assert Process().find(name).is_won


def test_a_stage_nobody_described_has_no_place_and_two_weeks() -> None:
    unknown = Process().find("Vorvertragliche Phase")
    assert (unknown.place, unknown.norm_days, unknown.is_won, unknown.is_lost) == (None, 14.0, False, False)


def test_the_usual_process_ends_in_negotiation() -> None:
    stage = Process().find("Negotiation")
    assert (stage.place, stage.norm_days, stage.elapsed_days, stage.remaining_days) == (1.0, 11.0, 56.0, 11.0)

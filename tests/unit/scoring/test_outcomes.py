from scoring.outcomes import MAX_GROUPS, Closed, Outcomes, owner_group, segment_group


def closed(day: int, is_won: bool, owner: str = "lea", segment: str = "") -> Closed:
    return Closed(day, "default", owner, segment, is_won)


def test_a_deal_counts_from_the_day_after_it_closed() -> None:
    outcomes = Outcomes()
    outcomes.close(closed(10, True))
    outcomes.roll(10)
    assert outcomes.closed_deals("default") == 0
    outcomes.roll(11)
    assert outcomes.closed_deals("default") == 1


def test_an_owners_rate_is_shrunk_to_everybodys_by_hand() -> None:
    # lea wins 8 of 8, anton 0 of 8. Everybody: (8 + 1) / (16 + 4) = .45.
    # lea: (8 + 8 × .45) / 16 = .725, 27.5 points above; anton: (0 + 3.6) / 16 = .225, 22.5 points below.
    outcomes = Outcomes()
    for _ in range(8):
        outcomes.close(closed(1, True, "lea"))
        outcomes.close(closed(1, False, "anton"))
    outcomes.roll(2)
    assert outcomes.points_above(owner_group("default", "lea"), "default") in (27, 28)
    assert outcomes.points_above(owner_group("default", "anton"), "default") in (-22, -23)
    assert outcomes.points_above(owner_group("default", "nora"), "default") == 0


def test_one_win_moves_an_owner_little() -> None:
    # Everybody: (1 + 1) / (1 + 4) = .4; the owner (1 + 3.2) / 9 = .467.
    outcomes = Outcomes()
    outcomes.close(closed(1, True))
    outcomes.roll(2)
    assert outcomes.points_above(owner_group("default", "lea"), "default") == 7


def test_tenants_never_meet() -> None:
    outcomes = Outcomes()
    outcomes.close(Closed(1, "acme", "lea", "Enterprise", True))
    outcomes.roll(2)
    assert outcomes.closed_deals("default") == 0
    assert outcomes.points_above(segment_group("default", "Enterprise"), "default") == 0


def test_the_groups_are_bounded() -> None:
    outcomes = Outcomes()
    for number in range(MAX_GROUPS + 50):
        outcomes.close(closed(1, True, f"owner-{number}"))
    outcomes.roll(2)
    assert len(outcomes.counts) <= MAX_GROUPS
    assert outcomes.closed_deals("default") == MAX_GROUPS + 50


def test_outcomes_come_back_from_their_bytes() -> None:
    outcomes = Outcomes()
    outcomes.close(closed(1, True, "lea", "Enterprise"))
    outcomes.roll(2)
    outcomes.close(closed(2, False))
    assert Outcomes.load(outcomes.dump()) == outcomes
    assert Outcomes.load(outcomes.dump()).dump() == outcomes.dump()

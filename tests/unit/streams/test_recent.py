from streams.recent import CAPACITY, Recent, Seen


def test_a_new_id_is_new_once_and_a_duplicate_afterwards():
    recent = Recent()
    assert recent.admit(17, 5) == Seen.NEW
    assert recent.admit(17, 5) == Seen.DUPLICATE


def test_the_same_id_with_other_content_is_a_conflict():
    recent = Recent()
    recent.admit(17, 5)
    assert recent.admit(17, 6) == Seen.CONFLICT


def test_an_id_is_known_for_1024_ids_and_forgotten_after_them():
    recent = Recent()
    recent.admit(1 << 40, 0)
    for number in range(CAPACITY - 1):
        assert recent.admit(number, 0) == Seen.NEW
    assert recent.admit(1 << 40, 0) == Seen.DUPLICATE
    recent.admit(999_999, 0)
    assert recent.admit(1 << 40, 0) == Seen.NEW


def test_ids_that_share_all_their_low_bits_are_told_apart_and_do_not_overflow_the_filter():
    recent = Recent()
    ids = [number << 20 for number in range(3000)]
    assert all(recent.admit(each, 0) == Seen.NEW for each in ids)
    assert all(recent.admit(each, 0) == Seen.DUPLICATE for each in ids[-CAPACITY:])


def test_an_id_whose_bytes_straddle_two_others_is_not_taken_for_known():
    recent = Recent()
    first, second = 0x1111111122222222, 0x3333333344444444
    recent.admit(first, 0)
    recent.admit(second, 0)
    straddling = 0x4444444411111111  # high half of the first, low half of the second, as they lie in memory
    assert recent.admit(straddling, 0) == Seen.NEW


def test_a_ring_restored_from_its_bytes_behaves_the_same():
    recent = Recent()
    for number in range(CAPACITY + 100):
        recent.admit(number * 7919, number)
    restored = Recent.load(recent.dump())
    assert restored.dump() == recent.dump()
    for number in range(CAPACITY + 200):
        assert restored.admit(number * 7919, number) == recent.admit(number * 7919, number)
    assert restored.dump() == recent.dump()

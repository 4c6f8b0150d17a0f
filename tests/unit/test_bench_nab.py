"""NAB's scorer of the benchmark, against values worked out by hand from its published description."""

from __future__ import annotations

from math import exp
from pathlib import Path

import pytest

from bench.nab import (
    DATA,
    PROFILES,
    File,
    Hit,
    Series,
    curve,
    held_out,
    judge,
    learning_rows,
    load,
    main,
    optimum,
    range_record,
    score_at,
    sigmoid,
    worths,
)

STANDARD = PROFILES["standard"]


def test_the_sigmoid_is_one_at_the_left_edge_and_minus_one_far_behind() -> None:
    assert sigmoid(-1.0) == pytest.approx(2 / (1 + exp(-5)) - 1)
    assert sigmoid(0.0) == 0.0
    assert sigmoid(3.1) == -1.0


def test_rows_in_a_window_earn_less_the_later_they_are_and_rows_behind_it_cost_less_the_nearer() -> None:
    worth, inside = worths(list(range(0, 100, 10)), [(20, 50)])
    assert inside == [-1, -1, 0, 0, 0, 0, -1, -1, -1, -1]
    # Four rows: places −1, −3/4, −2/4, −1/4; behind it 1/3, 2/3, 1, 4/3 of the window's width less one.
    assert worth[2:6] == pytest.approx([sigmoid(-p) / sigmoid(-1) for p in (1, 0.75, 0.5, 0.25)])
    assert worth[6:] == pytest.approx([sigmoid(p / 3) for p in (1, 2, 3, 4)])
    assert worth[:2] == [-1.0, -1.0]


def test_a_window_whose_times_are_not_among_the_rows_takes_those_inside() -> None:
    assert worths([0, 10, 20, 30], [(5, 25)])[1] == [-1, 0, 0, -1]
    assert worths([0, 10, 20, 30], [(11, 19)])[1] == [-1, -1, -1, -1]
    assert worths([0, 10, 20, 30], [(25, 99)])[1] == [-1, -1, -1, 0]


def test_the_first_rows_are_not_scored() -> None:
    assert (learning_rows(1_000), learning_rows(10_000)) == (150, 750)
    series = Series("g/a.csv", list(range(100)), [0.0] * 100, [(10, 14), (50, 59)])
    file = judge(series, [0.5] * 100)
    assert file.windows == 1
    assert len(file.hits) == 85


def test_the_earliest_row_of_a_window_counts_and_null_and_perfect_are_0_and_100() -> None:
    files = [File([Hit(0.9, 0.4, 0), Hit(0.8, 1.0, 0), Hit(0.7, 0.6, 0), Hit(0.6, -1.0, -1)], 1)]
    # Raw: −1 (missed), .4, 1, 1, then 1 − .11; normalised (raw + 1)/2.
    assert curve(files, STANDARD)[1] == pytest.approx([0.0, 70.0, 100.0, 100.0, 94.5])
    assert optimum(files, STANDARD) == (0.8, 100.0)
    assert score_at(files, STANDARD, 0.75) == 100.0
    assert score_at(files, STANDARD, 0.6) == pytest.approx(94.5)
    assert score_at(files, STANDARD, 0.95) == 0.0
    assert curve(files, PROFILES["low-FN"])[1] == pytest.approx([0.0, 80.0, 100.0, 100.0, (3 - 0.11) / 3 * 100])


def test_rows_of_one_score_are_detected_together() -> None:
    files = [File([Hit(0.5, -1.0, -1), Hit(0.5, 1.0, 0)], 1), File([Hit(0.5, -1.0, -1)], 0)]
    assert curve(files, STANDARD) == ([float("inf"), 0.5], pytest.approx([0.0, (2 - 0.22) / 2 * 100]))


def test_a_half_is_scored_with_the_threshold_of_the_other() -> None:
    # One file wants .9, the other .1; with the threshold of the other each half misses or pays for false rows.
    high = File([Hit(0.9, 1.0, 0), *[Hit(0.5, -1.0, -1)] * 20], 1)
    low = File([Hit(0.1, 1.0, 0)], 1)
    points, _ = held_out([high, low], STANDARD, splits=20)
    with_high, with_low = score_at([low], STANDARD, 0.9), score_at([high], STANDARD, 0.1)
    assert with_high == 0.0
    assert with_low == pytest.approx((2 - 20 * 0.11) / 2 * 100)
    assert with_low <= points <= with_high


def test_the_range_record_scores_what_leaves_the_range() -> None:
    # .5 of the range beyond it: .5/1.5; no range yet: e/1.
    assert range_record(Series("g/a.csv", [0, 1, 2], [0.0, 10.0, 15.0], [])) == pytest.approx([0.0, 10 / 11, 1 / 3])


def test_a_folder_whose_windows_do_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "a.csv").write_text("timestamp,value\n2014-04-01 00:00:00,1\n")
    (tmp_path / "windows.json").write_text("{}")
    with pytest.raises(ValueError, match=r"nothing about g/a\.csv"):
        load(tmp_path)
    (tmp_path / "windows.json").write_text('{"g/a.csv": [["2014-04-01 00:00:00.000000", "2014-04-01 01:00:00"]]}')
    assert load(tmp_path)[0].windows == [(1_396_310_400_000, 1_396_314_000_000)]


def test_it_tells_what_is_wrong_with_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["nab", "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1


@pytest.mark.skipif(not (DATA / "windows.json").exists(), reason="needs the public corpus, see docs/corpora.md")
def test_the_known_result_of_the_range_record_comes_out() -> None:
    # 54.5 / 51.2 / 57.2 with NAB's own code on these 30 files.
    files = [judge(series, range_record(series)) for series in load(DATA)]
    if len(files) != 30:
        pytest.skip("another selection of files")
    found = [round(optimum(files, profile)[1], 1) for profile in PROFILES.values()]
    assert found == [54.5, 51.2, 57.2]

"""The real log, where it is beside the checkout: BPIC2017's first twelve weeks, cut in the middle of them."""

from __future__ import annotations

import gzip
from datetime import datetime
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest

from events.adapters.mapping import parse_mapping, zone_of
from events.adapters.tables import Row, csv_rows
from scoring.backtest import boosting, run, train
from scoring.backtest.clock import instant_ms
from scoring.backtest.log import EventLog
from scoring.backtest.reading import read
from tests.components import CORPORA

MAPPING = parse_mapping((Path(__file__).resolve().parents[3] / "docs" / "examples" / "bpic2017.toml").read_text())
pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason=f"the public corpora are not in {CORPORA}")


def rows_until(moment: str) -> list[Row]:
    """The rows up to a moment; they are in the order of time."""
    with gzip.open(CORPORA / "bpic2017" / "events.csv.gz") as stream:
        rows = (row for row in csv_rows(stream) if isinstance(row, Row))
        return list(takewhile(lambda row: row.values["timestamp"] < moment, rows))


def read_until(rows: list[Row], moment: str) -> EventLog:
    """The log up to a moment."""
    return read(takewhile(lambda row: row.values["timestamp"] < moment, rows), MAPPING).log


@pytest.mark.slow
def test_seven_weeks_predict_the_next_and_a_log_cut_there_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train, "BOOSTING", boosting.Settings(rounds=60))
    monkeypatch.setattr(train, "PASSES", 1)
    zone = zone_of(MAPPING)
    cut_ms, snapshot_ms = (instant_ms(datetime(2016, *at), zone) for at in ((2, 20), (2, 29, 8)))
    asked = run.Question(cut_ms, snapshot_ms)
    rows = rows_until("2016-03-25")
    whole = run.run(read_until(rows, "2016-03-25"), MAPPING, zone, asked)
    cut = run.run(read_until(rows, "2016-02-29 08:00:00"), MAPPING, zone, asked)
    assert whole.model.kind == "additive"
    assert whole.report["lost"]["auc"] > 0.76
    assert whole.report["lost_within_horizon"]["auc"] > 0.82
    for name in ("p_lost", "p_soon"):
        assert getattr(cut.predictions, name).tobytes() == getattr(whole.predictions, name).tobytes()
    assert np.unique(cut.predictions.at_ms).size == 2

"""The page of the models: the reliability picture."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from console.web.models import BOTTOM, LEFT, reliability
from scoring.training.card import Compared, Figures

FIGURES = Figures(rows=40, deals=20, base_rate=0.5, auc=None, brier=0.2, calibration_error=0.1, log_loss=0.6)
BINS = [
    {"from": 0.0, "to": 0.1, "rows": 10, "said": 0.0, "came": 0.0},
    {"from": 0.5, "to": 0.6, "rows": 40, "said": 0.5, "came": 1.0},
]


def test_a_bin_is_drawn_where_it_was_said_and_came_with_its_area_by_its_rows() -> None:
    one = Compared(target="lost", model=FIGURES, scorecard=FIGURES, gain=0.0, gain_se=0.1, reliability=BINS)
    drawn = ElementTree.fromstring(reliability(one))  # noqa: S314 - our own
    first, second = (dict(each.items()) for each in drawn.iter("circle"))
    side = BOTTOM - 12
    assert (float(first["cx"]), float(first["cy"])) == (LEFT, BOTTOM)
    assert (float(second["cx"]), float(second["cy"])) == pytest.approx((LEFT + side / 2, 12))
    assert (float(second["r"]) - 2.5) / (float(first["r"]) - 2.5) == pytest.approx(2.0, abs=0.1)
    assert "calibration error 0.100" in drawn.attrib["aria-label"]

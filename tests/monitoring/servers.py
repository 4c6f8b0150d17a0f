"""Real Prometheus and Alertmanager servers for the tests, on loopback and free ports."""

from __future__ import annotations

import shutil

import pytest

from tests.components import MAY_SKIP

PACKAGES = {"prometheus": "prometheus", "promtool": "prometheus"}
"""Debian's package of each program; the others come with prometheus-alertmanager."""


def tool(*names: str) -> str:
    """The path of the first program that is here; without any the test is skipped, where that is allowed."""
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    missing = f"{names[0]} is missing: apt-get install {PACKAGES.get(names[0], 'prometheus-alertmanager')}"
    if not MAY_SKIP:
        raise FileNotFoundError(missing)
    pytest.skip(missing)

"""Runtimes with the tiny topology, closed at the end of each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from governance.settings import parse_settings
from storage.store import Store
from streams.standalone.clock import ManualClock
from streams.standalone.projection import MakeProjection
from streams.standalone.projector import Projector
from streams.standalone.runtime import Runtime
from tests.standalone.fakes import tiny_stages

NOW_MS = 1_772_442_843_120
SETTINGS = """
[agents.bot]
actions = ["record.*", "email.send"]
records_per_10_min = 1000
records_per_day = 5000
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def start(tmp_path: Path, clock: ManualClock) -> Iterator[Callable[..., Runtime]]:
    """Starts a runtime on the test's store; the one before must be closed."""
    started: list[Runtime] = []

    def make(
        *,
        toml: str = SETTINGS,
        limit: int = 61,
        max_page_count: int | None = None,
        stages: Any = None,
        projector: MakeProjection = Projector,
    ) -> Runtime:
        runtime = Runtime(
            parse_settings(toml, {}),
            clock=clock,
            store=Store(tmp_path / "store", max_page_count=max_page_count),
            make_stages=stages or partial(tiny_stages, limit=limit),
            make_projector=projector,
            with_ticker=False,
        )
        runtime.start()
        started.append(runtime)
        return runtime

    yield make
    for runtime in started:
        runtime.close()

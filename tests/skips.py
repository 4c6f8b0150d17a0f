"""Where nothing may be skipped (``TRIPLINE_TESTS_MAY_SKIP=no``, as in CI), a skipped test fails the run.

Tests of the public corpora are the exception: those can't be fetched there; ``tests.components`` says so loudly.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.components import MAY_SKIP

_CORPORA = ("public corpora", "public corpus")
_refused: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what was skipped and should not have been."""
    if MAY_SKIP or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if not any(word in reason for word in _CORPORA):
        _refused.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run."""
    if _refused:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which, and why."""
    for line in _refused:
        terminalreporter.write_line(f"*** SKIPPED, and nothing may be skipped here: {line}", red=True)

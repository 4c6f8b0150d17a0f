"""Where nothing may be skipped, a skipped test fails the run, and says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("may_skip", "reason", "code"),
    [("no", "no broker", 1), ("yes", "no broker", 0), ("no", "the public corpora are not in x", 0)],
)
def test_a_skipped_test_fails_the_run(tmp_path: Path, may_skip: str, reason: str, code: int) -> None:
    made = tmp_path / "test_made.py"
    made.write_text(f"import pytest\n\ndef test_a(): pytest.skip({reason!r})\n\ndef test_b(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.skips", "-p", "no:cacheprovider", "-c", os.devnull,
         "--rootdir", str(tmp_path), str(made)],
        cwd=ROOT, env={**os.environ, "TRIPLINE_TESTS_MAY_SKIP": may_skip}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    assert ("nothing may be skipped here: test_made.py::test_a" in done.stdout) is (code == 1)

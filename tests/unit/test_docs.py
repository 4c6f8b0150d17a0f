"""The guarantees name tests: each must exist. Links between documents must lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_test_that_the_guarantees_name_exists() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    files = set(re.findall(r"`(tests/[\w/.]+)`", text))
    assert len(named) > 15
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert {name for name in named if f"def {name}(" not in sources} == set()
    assert {path for path in files if not (ROOT / path).exists()} == set()


def test_every_item_of_the_security_standard_names_tests_that_exist() -> None:
    rows = [line for line in (ROOT / "docs" / "aisvs.md").read_text(encoding="utf-8").splitlines() if "::" in line]
    named = [re.findall(r"`(tests/[\w/.]+)::(test_\w+)`", row) for row in rows]
    items = {row.split(" | ")[0].strip("| ") for row in rows}
    assert items == {
        "9.1.3", "9.2.1", "9.2.2", "9.2.3", "9.2.4", "9.2.8", "9.2.10", "9.5.6", "9.6.2", "9.6.3", "12.4.3",
        "Appendix B",
    }  # fmt: skip
    assert all(named)
    missing = [
        f"{path}::{name}"
        for path, name in {pair for row in named for pair in row}
        if not (ROOT / path).exists() or not re.search(rf"def {name}\(", (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert missing == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    if not path.exists():
        pytest.fail(f"{path} is missing")
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_every_runbook_is_listed() -> None:
    folder = ROOT / "docs" / "runbooks"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in folder.glob("*.md") if path.name != "README.md" and path.name not in listed] == []

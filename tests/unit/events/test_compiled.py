"""Compiled modules are used only when they were built from the source beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from events import compiled


def test_a_module_that_is_not_there_or_not_compiled_is_none():
    assert compiled.load("events.no_such_module") is None
    assert compiled.load("no_such_package.module") is None
    assert compiled.load("events.codec") is None


def test_a_module_built_from_another_source_is_not_even_imported(monkeypatch: pytest.MonkeyPatch):
    built = compiled.load("events._rows")
    if built is None:
        pytest.skip("not compiled: make compile")
    imported: list[str] = []
    monkeypatch.setattr(compiled, "import_module", imported.append)
    monkeypatch.setattr(compiled, "source_digest", lambda source: "0123456789abcdef")
    assert compiled.load("events._rows") is None
    assert imported == []


def test_what_a_module_was_built_from_is_in_its_file():
    built = compiled.load("events._rows")
    if built is None:
        pytest.skip("not compiled: make compile")
    assert compiled.source_digest(Path(built.__file__ or "").with_name("_rows.pyx")) == built.SOURCE

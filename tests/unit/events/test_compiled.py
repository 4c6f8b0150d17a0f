"""Compiled modules are used only when they were built from the source beside them."""

from __future__ import annotations

from types import ModuleType

import pytest

from events import compiled


def test_a_module_that_is_not_there_or_not_compiled_is_none():
    assert compiled.load("events.no_such_module") is None
    assert compiled.load("no_such_package.module") is None
    assert compiled.load("events.codec") is None


def test_a_module_built_from_another_source_is_not_used(monkeypatch: pytest.MonkeyPatch):
    built = compiled.load("events._rows")
    if built is None:
        pytest.skip("not compiled: make compile")
    old = ModuleType("events._rows")
    old.SOURCE = "built from what was there before"  # type: ignore[attr-defined]
    monkeypatch.setattr(compiled, "import_module", lambda name: old)
    assert compiled.load("events._rows") is None

"""What is wrong with a settings file, in words that name the place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from msgspec import Struct


class Problem(Struct, frozen=True, kw_only=True):
    """One mistake: in which file or variable, at which setting, what it is, and what was perhaps meant."""

    where: str
    path: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: {self.path}" if self.path else self.where
        return f"{place}: {self.what}" + (f"; {self.hint}" if self.hint else "")


class SettingsError(ValueError):
    """Settings that cannot be used; ``problems`` has every mistake found, the message one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def suggest(word: str, known: Iterable[str]) -> str:
    """A "did you mean …?" when a known word is near, else nothing."""
    words = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.65)
    return f"did you mean {words[near[0]]}?" if near else ""

"""Text that agents and CRMs wrote, made safe to show: nothing in it may steer a terminal or turn a line around.

Control characters (ANSI escapes among them), bidirectional overrides and isolates, zero-width and invisible
"tag" characters are replaced by a visible mark, so that what is read is what is there.
"""

from __future__ import annotations

import unicodedata

MARK = "\N{REPLACEMENT CHARACTER}"
_INVISIBLE = frozenset("\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\u2212")
"""Also the wide forms: some spreadsheets take them for the narrow ones."""


def plain(text: object, limit: int = 256) -> str:
    """One line of plain text for a terminal, a log or a page.

    Parameters: ``limit`` is the longest result in characters; a longer text is cut and ends in "…".
    """
    raw = str(text)
    cut = raw if len(raw) <= limit else raw[: limit - 1] + "…"
    return cut if cut.isascii() and cut.isprintable() else "".join(map(_safe, cut))


def cell(text: object, limit: int = 256) -> str:
    """As ``plain``, for a spreadsheet or CSV cell: a leading formula sign is quoted."""
    safe = plain(text, limit)
    return "'" + safe if safe.lstrip().startswith(_FORMULA_STARTS) else safe


def _safe(char: str) -> str:
    if char.isprintable() and char not in _INVISIBLE:
        return char
    if unicodedata.category(char) == "Zs":
        return " "
    return {"\n": "⏎", "\t": " ", "\r": ""}.get(char, MARK)

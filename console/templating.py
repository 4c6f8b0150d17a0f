"""Jinja as our pages use it: autoescaped; an undefined name is an error, never an empty text."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from console.text import plain


def environment_of(*folders: Path, longest: int = 200) -> Environment:
    """The templates of these folders. ``safe_text``: the filter for what came from outside, cut at ``longest``."""
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["safe_text"] = lambda text: plain(str(text), longest)
    return environment

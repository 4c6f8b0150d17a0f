"""Files of episodes: JSON Lines, compressed or not, one episode a line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from console.cli.common import Failed
from console.text import plain
from detectors.episodes import Episode

_GZIP = b"\x1f\x8b"
_MOST_LINE_BYTES = 16 << 20
E = TypeVar("E", bound=Episode)


class Labelled(Episode, frozen=True, kw_only=True):
    """An episode of which a person, or a comparison of the sandbox with what was wanted, said whether it was right."""

    correct: bool


def read_episodes(path: Path, kind: type[E]) -> Iterator[tuple[int, E]]:
    """The episodes of a file with their line numbers, from 0; blank lines are counted and skipped.

    Ends the command (exit code 1) when the file can't be read, or a line is no episode; says which and what is wrong.
    """
    decoder = msgspec.json.Decoder(kind)
    number = -1
    try:
        with path.open("rb") as raw:
            is_compressed = raw.read(2) == _GZIP
        with gzip.open(path, "rb") if is_compressed else path.open("rb") as lines:
            while line := lines.readline(_MOST_LINE_BYTES):
                number += 1
                if len(line) == _MOST_LINE_BYTES:
                    raise Failed(f"{path}:{number + 1}: longer than {_MOST_LINE_BYTES >> 20} MB; one episode is a line")
                if line.strip():
                    yield number, decoder.decode(line)
    except (OSError, EOFError, zlib.error) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise Failed(f"{path} can't be read: {plain(reason)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Failed(f"{path}:{number + 1}: {_what(problem)}") from None


def _what(problem: Exception) -> str:
    """What is wrong with a line, with the field's place."""
    said = plain(str(problem), 300)
    if isinstance(problem, msgspec.ValidationError):
        return (
            f"{said}. An episode has events (a list of tool, action, arguments, error), in a training file correct, "
            "and best its query"
        )
    return f"no JSON ({said}); one episode is a line"

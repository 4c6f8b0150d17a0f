"""A library of confirmed good runs as one line of text, for a settings file: no path, and part of what decides."""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from detectors.good_runs import Run
from detectors.run_trace import Bag, Feature, digest

MOST_TEXT = 1 << 20
_MOST_BYTES = 16 << 20


class LibraryError(ValueError):
    """The text is no library; the message says what to do."""


class _Stored(Struct, array_like=True):
    """Labels, digests of requests, and each run's bags as (feature's index, count) pairs."""

    features: list[Feature]
    runs: list[tuple[str, int, list[list[tuple[int, int]]]]]


def encode_library(runs: Iterable[Run]) -> str:
    """The runs as text, without their requests; those without a write are left out.

    Raises LibraryError if it would be longer than a setting may be (1 MB, some thousand runs).
    """
    kept = [run for run in runs if run.plain]
    features = sorted({feature for run in kept for bag in run.plain for feature in bag})
    index = {feature: number for number, feature in enumerate(features)}
    stored = _Stored(features, [(run.label, _digest_of(run.request), _packed(run.plain, index)) for run in kept])
    text = b64encode(zlib.compress(msgspec.msgpack.encode(stored), 9)).decode()
    if len(text) > MOST_TEXT:
        raise LibraryError(f"{len(kept)} runs take {len(text)} characters, at most {MOST_TEXT} are allowed: take fewer")
    return text


def decode_library(text: str) -> list[Run]:
    """The runs of a library's text; each request is a digest, which only tells runs of the same request.

    Raises LibraryError when it was cut or changed.
    """
    try:
        inflate = zlib.decompressobj()
        packed = inflate.decompress(b64decode(text, validate=True), _MOST_BYTES)
        if not inflate.eof:
            raise LibraryError("the library is cut, or too large")
        stored = msgspec.msgpack.decode(packed, type=_Stored)
        return [_run(run, stored.features) for run in stored.runs]
    except (BadBase64, zlib.error, msgspec.MsgspecError, IndexError, ValueError) as problem:
        raise LibraryError(f"no library of good runs ({problem}); make it again and copy the whole line") from None


def _packed(bags: Iterable[Bag], index: dict[Feature, int]) -> list[list[tuple[int, int]]]:
    return [sorted((index[feature], count) for feature, count in bag.items()) for bag in bags]


def _run(stored: tuple[str, int, list[list[tuple[int, int]]]], features: list[Feature]) -> Run:
    label, request, bags = stored
    plain = tuple({features[number]: count for number, count in bag} for bag in bags)
    return Run(label, f"{request:x}" if request else "", plain, ())


def _digest_of(request: str) -> int:
    return digest(request) if request else 0

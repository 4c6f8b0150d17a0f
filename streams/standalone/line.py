"""What the server and the process of its projector say to each other, over a pair of sockets.

Each message is its length (four bytes, big end first) and so many bytes of MessagePack. Records don't go this way:
the process reads them from the log.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from streams.standalone.bands import Band
from streams.standalone.projection import Denial

RECV_BYTES = 1 << 16
_HEAD_BYTES = 4
_encoder = msgspec.msgpack.Encoder()
T = TypeVar("T")


class News(Struct, array_like=True, frozen=True):
    """From the server: the log reaches ``upto``, refusals of the gate, what is expected, whether it is to end now."""

    number: int
    upto: int
    denials: list[Denial]
    bands: list[Band]
    is_end: bool


class Report(Struct, array_like=True, frozen=True):
    """From the process: everything up to message ``number`` is written; ``position`` and trouble of the projection.

    ``agents``: ids of those that have new rows.
    """

    number: int
    position: int
    agents: list[str]
    trouble: str


def framed(message: News | Report) -> bytes:
    """A message as it goes over the line."""
    content = _encoder.encode(message)
    return len(content).to_bytes(_HEAD_BYTES, "big") + content


class Unframer(Generic[T]):
    """Puts messages of one sort together from the pieces in which they come."""

    def __init__(self, sort: type[T]) -> None:
        self._decoder = msgspec.msgpack.Decoder(sort)
        self._held = bytearray()

    def take(self, piece: bytes) -> list[T]:
        """The messages that are whole now."""
        held = self._held
        held += piece
        found: list[T] = []
        start = 0
        while len(held) - start >= _HEAD_BYTES:
            end = start + _HEAD_BYTES + int.from_bytes(held[start : start + _HEAD_BYTES], "big")
            if end > len(held):
                break
            found.append(self._decoder.decode(held[start + _HEAD_BYTES : end]))
            start = end
        del held[:start]
        return found

"""What the stage of agents keeps: of each agent, and of the partition; as objects and as they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct, field

from detectors.base import Action, Evidence
from events.types import Granted
from streams.common_cause import Heard as HeardCount
from streams.common_cause import Memory
from streams.lenience import Lenience
from streams.peers import Memory as PeersMemory
from streams.verdict import Heard


class AgentBody:
    """What the stage keeps of one agent: the detectors' states and where its control stands.

    ``version``: which of its declared versions it is, ``renewed_ms``: when it began afresh as one; ``expected``: those
    that may still come.
    """

    __slots__ = (
        "calls", "disabled", "epoch", "expected", "heard", "last_ms", "lenience", "pending", "renewed_ms", "states",
        "version",
    )  # fmt: skip

    def __init__(self, states: list[Any]) -> None:
        self.states = states
        self.disabled: dict[str, str] = {}
        self.epoch = 0
        self.heard = Heard()
        self.last_ms = 0
        self.pending: dict[str, None] = {}
        self.lenience: tuple[Lenience, ...] = ()
        self.version = self.renewed_ms = 0
        self.expected: tuple[str, ...] = ()
        self.calls: list[tuple[Callable[[Action, Any], Evidence | None], Any, int]] = []


class Blob(Struct, array_like=True):
    """An agent's body as it is written; ``common`` is the partition's, as of then."""

    detectors: dict[str, tuple[int, bytes]]
    disabled: dict[str, str]
    epoch: int
    said: dict[str, tuple[int, int]]
    last_ms: int
    pending: list[str]
    common: Memory = field(default_factory=Memory)
    lenience: tuple[Lenience, ...] = ()
    version: int = 0
    renewed_ms: int = 0


class Glance(Struct, array_like=True):
    """As much of a ``Blob`` as tells when it is needed."""

    detectors: msgspec.Raw
    disabled: dict[str, str]
    epoch: int
    said: msgspec.Raw
    last_ms: int
    pending: msgspec.Raw = msgspec.Raw()
    common: Memory = field(default_factory=Memory)


class SharedBlob(Struct, array_like=True):
    """What all agents share, as it is written."""

    factor: float
    version: int
    policy: int
    quarter: int
    heard: list[HeardCount] = []
    common: Memory = field(default_factory=Memory)
    peers: PeersMemory = field(default_factory=PeersMemory)
    granted: dict[str, Granted] | None = None

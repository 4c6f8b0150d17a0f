"""What is kept of one deal: the facts that its features are made from, bounded, and what it scored last."""

from __future__ import annotations

from enum import IntEnum

import msgspec
from msgspec import Struct, field

STATE_VERSION = 1
MAX_STATE_BYTES = 12_288
"""A deal's state as bytes never exceeds this, whatever the CRM sends; usually it is below 700."""

FAR_FUTURE = 1 << 58
"""The origin of what has not happened: its age is hugely negative, which is the first bin of every table."""
FAR_PAST = -(1 << 58)
"""The origin of what is known to be missing (no meeting, an empty next step): its age is beyond every cut."""

MAX_TOUCHES = 16
MAX_PEOPLE = 8
MAX_MEETINGS = 8
MAX_COUNT = 99
MAX_DAYS = 9_999


class Status(IntEnum):
    """Where a deal stands. A stub was only heard of in activities; no change has named it yet."""

    STUB = 0
    OPEN = 1
    WON = 2
    LOST = 3
    DELETED = 4


class Age(IntEnum):
    """The features that grow with time, by their place in ``DealState.origins`` (the time they count from)."""

    SILENCE = 0
    BUYER = 1
    STAGE = 2
    DEAL = 3
    EXECUTIVE = 4
    MEETING = 5
    NEXT_STEP = 6
    CLOSE = 7
    PACE = 8
    COMPETITOR = 9
    OWNER = 10


class Person(Struct, frozen=True, array_like=True, gc=False, order=True):
    """Somebody on the buyer's side."""

    contact_id: str
    role: str = ""
    name: str = ""
    executive: bool = False


def _never() -> list[int]:
    origins = [FAR_FUTURE] * len(Age)
    origins[Age.MEETING] = FAR_PAST
    return origins


class DealState(Struct, array_like=True, gc=False):
    """One deal as of the last record about it. All times are milliseconds; money is in minor units.

    ``touches`` are the times of the last 16 contacts, ascending; ``people``, their ids and ``people_ms`` the last 8
    contacts of the buyer and when each last took part; ``meetings`` up to 8 that lie ahead. ``points``, ``bins``,
    ``due_ms`` and ``next_ms`` are the scorecard's: the packed sum, the bin of each feature, and when time alone
    changes it, at the earliest; ``judged_ms`` is the last record or timer;
    ``has_new_facts`` tells it that a feature changed that only records change. ``counted_offset`` is the record
    whose closing counted for the win rates, ``counted_as`` what it counted as (day, owner, segment, whether won),
    whatever is said later, ``told_manager`` whose portfolio holds the deal. ``model`` is the version of the record of
    the model that judged it, 0 for the scorecard before any. ``has_bad_amount``, ``has_bad_date``: the last amount or
    close date that was said is no sound one, so it counts as unknown; the quality of the data tells it.
    """

    status: int = Status.STUB
    opened_ms: int = 0
    name: str = ""
    account: str = ""
    segment: str = ""
    owner_id: str = ""
    manager_id: str = ""
    stage: str = ""
    currency: str = ""
    close_date: str = ""
    amount_minor: int | None = None
    first_minor: int | None = None
    peak_minor: int | None = None
    origins: list[int] = field(default_factory=_never)
    has_buyer: bool = False
    touches: list[int] = []
    longest_gap_ms: int = 0
    people_ids: list[str] = []
    people_ms: list[int] = []
    people: list[Person] = []
    meetings: list[int] = []
    cancelled_ms: int = 0
    pushes: int = 0
    pushed_days: int = 0
    regressions: int = 0
    competitor: str = ""
    owner_points: int = 0
    segment_points: int = 0
    rates_day: int = -1
    is_proven: bool = False
    closed_ms: int = 0
    counted_offset: int = -1
    counted_as: tuple[int, str, str, bool] | None = None
    told_manager: str = ""
    points: int = 0
    fact_points: int = 0
    has_new_facts: bool = True
    bins: list[int] = []
    due_ms: list[int] = []
    next_ms: int = 0
    judged_ms: int = 0
    is_changed: bool = False
    model: int = 0
    has_bad_amount: bool = False
    has_bad_date: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it can still be won or lost."""
        return self.status == Status.OPEN


def dump(state: DealState) -> bytes:
    """The state as bytes; equal states give equal bytes."""
    return _encoder.encode(state)


def load(blob: bytes) -> DealState:
    """The state from the bytes of ``dump``."""
    return _decoder.decode(blob)


def copy(state: DealState) -> DealState:
    """An independent copy, for what-ifs."""
    return load(dump(state))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(DealState)

"""Counts for the metrics: agents by control state, who stopped them, deals by risk band."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import func, select

from storage import tables as t
from storage.read.reader import Reader
from storage.read.store import reading


class Counts(Struct, frozen=True, kw_only=True):
    """Of one tenant; agents without a control row are not among ``states``."""

    states: dict[str, int]
    suspended_by: dict[str, int]
    bands: dict[str, int]
    is_all_stopped: bool


def counts(reader: Reader) -> Counts:
    """Count, in one short read transaction."""
    c, d = t.control, t.deal
    mine = c.c.key.startswith(f"{reader.tenant}/", autoescape=True)
    by_state = select(c.c.state, c.c.by_kind, c.c.agent_id == "*", func.count()).where(mine)
    by_band = select(d.c.band, func.count()).where(d.c.tenant == reader.tenant, d.c.is_open, d.c.band.is_not(None))
    states: dict[str, int] = {}
    suspended: dict[str, int] = {}
    is_all_stopped = False
    with reading(reader.engine) as connection:
        for state, kind, is_all, number in connection.execute(by_state.group_by(c.c.state, c.c.by_kind, c.c.agent_id)):
            if is_all:
                is_all_stopped = state == "suspended"
                continue
            states[state] = states.get(state, 0) + number
            if state == "suspended":
                suspended[kind] = suspended.get(kind, 0) + number
        bands = {row[0]: row[1] for row in connection.execute(by_band.group_by(d.c.band))}
    return Counts(states=states, suspended_by=suspended, bands=bands, is_all_stopped=is_all_stopped)

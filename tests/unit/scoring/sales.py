"""A small invented sales organisation for tests of training: deals that fall silent are lost more often."""

from __future__ import annotations

import random
from collections.abc import Iterator

from events.times import format_ms
from streams.records import Entry
from tests.unit.scoring.deals_log import DAY, START_MS, activity, change, event, human

STAGES = ("Prospecting", "Proposal", "Negotiation")


def sales(deals: int, seed: int = 1, *, lost: float = 0.5, days: int = 150) -> list[Entry]:
    """Records about so many deals, opened over ``days``, in order of time; most lost ones fall silent."""
    made: list[tuple[int, int, object]] = []
    for number in range(deals):
        draw = random.Random(f"{seed} {number}")
        made += _life(f"006{number:04d}", number, draw, draw.random() < lost, days)
    made.sort(key=lambda one: one[:2])
    return [
        (offset, at_ms, event(data, offset, at_ms))  # type: ignore[arg-type]
        for offset, (at_ms, _, data) in enumerate(made)
    ]


def _life(
    deal_id: str, number: int, draw: random.Random, is_lost: bool, days: int
) -> Iterator[tuple[int, int, object]]:
    at_ms = START_MS + int(draw.random() * days * DAY)
    close = 40 + draw.randrange(20)
    closes = _date(at_ms + close * DAY)
    yield at_ms, number, change(
        deal_id, "create", stage="Prospecting", amount="50000.00", currency=draw.choice(("EUR", "USD")),
        close_date=closes, owner_id=f"rep{number % 3}", manager_id="jo", segment=("SMB", "Enterprise")[number % 2],
    )  # fmt: skip
    end_ms = at_ms + int((25 + 30 * draw.random()) * DAY)
    quiet_ms = at_ms + int((6 + 8 * draw.random()) * DAY) if is_lost and draw.random() < 0.8 else end_ms
    step = 0
    while True:
        at_ms += int((0.5 + 3.5 * draw.random()) * DAY)
        if at_ms >= end_ms:
            break
        if at_ms < quiet_ms:
            direction = "inbound" if draw.random() < (0.3 if is_lost else 0.5) else "outbound"
            yield at_ms, number, activity("email", direction, deal_id, logged_by=human())
            if draw.random() < 0.15 and step < 2:
                step += 1
                yield at_ms + 1, number, change(deal_id, stage=STAGES[step])
        if draw.random() < (0.1 if is_lost else 0.03):
            yield at_ms + 2, number, change(deal_id, close_date=(closes, _date(end_ms + 5 * DAY)))
    yield end_ms, number, change(deal_id, stage="Closed Lost" if is_lost else "Closed Won")


def _date(at_ms: int) -> str:
    return format_ms(at_ms)[:10]

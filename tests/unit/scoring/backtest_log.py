"""An invented event log for backtests: offers that buyers answer or let lie, with a fixed seed."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from events.adapters.mapping import Mapping, parse_mapping

START = datetime(2025, 1, 6, 9, 0)
MAPPING = """
source = "/import/test"
other = "ignore"

[columns]
case = "deal"
activity = "what"
timestamp = "at"

[time]
zone = "Europe/Amsterdam"

[outcome]
won = ["Signed"]
lost = ["Dropped"]

[risk]
first_state = "new"
buyer = ["Answered"]

[[risk.states]]
name = "second offer"
begins = ["Offered"]
after = ["with us", "second offer"]
move = "buyer"

[[risk.states]]
name = "with the buyer"
begins = ["Offered"]
move = "buyer"

[[risk.states]]
name = "with us"
begins = ["Answered"]
move = "us"

[risk.marks]
offered = { activities = ["Offered"], first = true, by_state = true }
answered = { activities = ["Answered"], first = true, answers = "offered" }
called = { activities = ["Called"] }

[risk.balances]
offers = { opens = ["Offered"], closes = ["Withdrawn"] }
"""


def mapping() -> Mapping:
    return parse_mapping(MAPPING)


def events(cases: int, seed: int = 1, days: int = 200) -> list[tuple[str, str, datetime]]:
    """(deal, what, at), case by case: those that answer are mostly signed, those that don't are mostly dropped."""
    draw = random.Random(seed)
    found = []
    for number in range(cases):
        deal = f"D{number:05d}"
        at = START + timedelta(days=draw.uniform(0, days))
        found.append((deal, "Created", at))
        at += timedelta(days=draw.expovariate(1 / 2))
        found.append((deal, "Offered", at))
        is_keen = draw.random() < 0.5
        for _ in range(draw.randrange(0, 3)):
            at += timedelta(days=draw.expovariate(1 / 4))
            found.append((deal, "Called", at))
        if draw.random() < (0.85 if is_keen else 0.15):
            at += timedelta(days=draw.expovariate(1 / 6))
            found.append((deal, "Answered", at))
            at += timedelta(days=draw.expovariate(1 / 8))
            found.append((deal, "Signed" if draw.random() < 0.85 else "Dropped", at))
        else:
            at += timedelta(days=draw.uniform(15, 40))
            found.append((deal, "Dropped" if draw.random() < 0.9 else "Signed", at))
        found.append((deal, "Archived", at + timedelta(days=1)))
    return found


def csv_text(rows: list[tuple[str, str, datetime]]) -> str:
    lines = [f"{deal},{what},{at.isoformat(sep=' ', timespec='milliseconds')}" for deal, what, at in rows]
    return "\n".join(["deal,what,at", *lines]) + "\n"

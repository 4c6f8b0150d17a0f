"""How many deal events a core judges per second: decode, de-duplicate, features, score, reasons, outputs.

    python -m bench.deal_events [--deals 20000] [--days 2] [--rate 5] [--events 200000] [--model model.json]

The log is invented with a fixed seed: ``--deals`` open deals, each with about ``--rate`` activities a working day in
bursts, now and then a change; ticks where the stages ask for one, as ``tripline replay`` lays them out. CPU time of
one process is reported, and what a full re-score of a deal takes (every feature, and the probabilities where they are
not remembered; the best of some rounds). ``--model`` scores by a model of ``tripline deals train``. Few deals over many
days (``--deals 500 --days 60 --rate 0.5``) is a sparse stream, where time alone moves most scores and a tick stands
between any two records.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from events.codec import decode_input, encode
from events.times import DAY_MS, format_ms
from events.types import (
    ActivityEvent,
    Actor,
    ChangeEvent,
    CrmActivity,
    CrmChange,
    Participant,
)
from governance.settings import Deals
from scoring.training.card import ModelFile
from storage.models import Use
from streams.deal_promotion import record_of
from streams.deals import DealsStage
from streams.portfolio import PortfolioStage
from streams.records import Output, Partition
from streams.ticks import tick_event

START_MS = 1_772_442_000_000
TICK_MS = 10_000
STAGES = ("Prospecting", "Qualification", "Demo", "Proposal", "Negotiation")


def change(number: int, deal: int, at_ms: int, op: str, **fields: str) -> ChangeEvent:
    data = CrmChange(
        object="Opportunity",
        record_id=f"006A{deal}",
        deal_id=f"006A{deal}",
        op=op,  # type: ignore[arg-type]
        changes={name: (None, value) for name, value in fields.items()},
        actor=Actor("human", "user:005B2"),
        committed_at=format_ms(at_ms),
        system="salesforce",
    )
    return ChangeEvent(specversion="1.0", id=f"c-{number}", source="/crm/sf", time=format_ms(at_ms), data=data)


def activity(number: int, deal: int, at_ms: int, draw: random.Random) -> ActivityEvent:
    inbound = draw.random() < 0.4
    data = CrmActivity(
        kind=draw.choice(("email", "email", "email", "call", "meeting")),
        direction="inbound" if inbound else "outbound",
        deal_id=f"006A{deal}",
        participants=[Participant(contact_id=f"003C{deal}-{draw.randrange(3)}", role="buyer", executive=False)],
        occurred_at=format_ms(at_ms),
        logged_by=Actor("human", "user:005B2"),
        system="outreach",
    )
    return ActivityEvent(specversion="1.0", id=f"a-{number}", source="/crm/sf", time=format_ms(at_ms), data=data)


def lines(deals: int, days: float, rate: float, events: int, seed: int = 7) -> list[tuple[int, bytes]]:
    """(time, line) in time order."""
    draw = random.Random(seed)
    made = []
    number = 0
    for deal in range(deals):
        opened = START_MS + int(draw.random() * days * DAY_MS / 4)
        number += 1
        close = format_ms(opened + draw.randrange(20, 90) * DAY_MS)[:10]
        made.append((opened, encode(change(
            number, deal, opened, "create", name=f"Deal {deal}", account=f"Account {deal % 300}", stage="Prospecting",
            amount=f"{draw.randrange(5, 200)}000.00", currency="EUR", close_date=close, owner_id=f"user:{deal % 800}",
            manager_id=f"user:m{deal % 100}",
        ))))  # fmt: skip
        at = float(opened)
        while len(made) < events:
            at += draw.expovariate(rate / 4) * DAY_MS
            if at > START_MS + days * DAY_MS:
                break
            for _ in range(draw.randrange(1, 8)):
                number += 1
                at += draw.randrange(60_000, 3_600_000)
                if draw.random() < 0.08:
                    made.append((int(at), encode(change(
                        number, deal, int(at), "update", stage=draw.choice(STAGES),
                        next_step=draw.choice(("Call", "Send", "")), amount=f"{draw.randrange(5, 200)}000.00",
                    ))))  # fmt: skip
                else:
                    made.append((int(at), encode(activity(number, deal, int(at), draw))))
    made.sort(key=lambda item: item[0])
    return made[:events]


class Driver:
    """Lays ticks where they matter, feeds the portfolio, counts outputs."""

    def __init__(self, model: Path | None) -> None:
        settings = Deals()
        self.deals = DealsStage(Partition("bench", "crm.events", "crm.events"), settings)
        self.portfolio = PortfolioStage(Partition("bench", "portfolio", "portfolio"), settings)
        self.offset = self.out_offset = 0
        self.counts: Counter[str] = Counter()
        self.ticks = 0
        self.published: list[Output] = []
        if model is not None:
            file = msgspec.json.decode(model.read_bytes(), type=ModelFile)
            use = Use(version=1, hash=file.hash, at_ms=START_MS, by="bench", reason="bench")
            self.give([(0, START_MS, record_of(use, file, "bench"))])
            self.offset = 1

    def give(self, entries: list) -> None:
        outputs = self.deals.process(entries)
        records = []
        for output in outputs:
            self.counts[output.kind] += 1
            if output.kind == "risk":
                self.published.append(output)
            else:
                records.append((self.out_offset, output.at_ms, output.event))
                self.out_offset += 1
        more = self.portfolio.process(records)
        self.published += more
        self.counts.update(output.kind for output in more)

    def run(self, items: Iterator[tuple[int, bytes]]) -> int:
        held: list = []
        tick = None
        count = 0
        for at_ms, line in items:
            count += 1
            if tick is None:
                tick = at_ms // TICK_MS
            while at_ms // TICK_MS > tick:
                if held:
                    self.give(held)
                    held = []
                due = self.deals.next_due_ms()
                last = at_ms // TICK_MS
                wanted = last if due is None else min(last, max(tick + 1, -(-due // TICK_MS)))
                self.offset += wanted - tick
                tick = wanted
                self.give([(self.offset, tick * TICK_MS, tick_event("bench", tick * TICK_MS))])
                self.offset += 1
                self.ticks += 1
            held.append((self.offset, at_ms, decode_input(line)))
            self.offset += 1
        self.give(held)
        return count


def rescore_secs(stage: DealsStage) -> float:
    """Seconds of CPU for one full judging of an open deal, an hour later each time, so that bins and sums change."""
    states = [keyed.body.state for keyed in stage.keys.values() if keyed.body.state.is_open][:5_000]
    rounds = max(1, 50_000 // max(len(states), 1))
    best = 1.0
    for hour in range(1, rounds + 1):
        for state in states:
            state.has_new_facts = True
        at_ms = stage.stream_ms + hour * 3_600_000
        begin = time.process_time()
        for state in states:
            stage.card.judge(state, at_ms)
        best = min(best, (time.process_time() - begin) / max(len(states), 1))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deals", type=int, default=20_000)
    parser.add_argument("--days", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=5.0, help="activities a day and deal")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--model", type=Path, help="a model of tripline deals train")
    args = parser.parse_args()
    items = lines(args.deals, args.days, args.rate, args.events)
    gc.collect()
    gc.freeze()
    gc.disable()
    driver = Driver(args.model)
    begin = time.process_time()
    count = driver.run(iter(items))
    judged = time.process_time() - begin
    rescored = rescore_secs(driver.deals)
    begin = time.process_time()
    for _, line in items:
        decode_input(line)
    decoded = time.process_time() - begin
    begin = time.process_time()
    for output in driver.published:
        msgspec.json.encode(output.event)
    encoded = time.process_time() - begin
    print(f"{count} events, {dict(driver.counts)}, {driver.ticks} ticks")
    print(f"{count / judged:,.0f} events/s of CPU, decode to outputs: {judged / count * 1e6:.2f} µs an event")
    print(f"a full re-score: {rescored * 1e6:.2f} µs")
    print(
        f"of which decoding {decoded / count * 1e6:.2f} µs; encoding what is published: +{encoded / count * 1e6:.2f} µs"
    )


if __name__ == "__main__":
    main()

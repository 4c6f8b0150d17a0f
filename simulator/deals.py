"""The life of deals: stages, mails, calls and meetings, pushed dates, cut amounts, silences, wins and losses.

Each deal is either healthy or doomed from its first day; nobody in the simulated world knows which, but buyers of
doomed deals answer less, fall silent one day, cancel meetings and name competitors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from msgspec import UNSET, Struct

from events.times import DAY_MS, HOUR_MS, MINUTE_MS
from events.types import Actor, CrmActivity, CrmChange, FieldChanges, Participant
from simulator import names
from simulator.draws import Draws
from simulator.envelope import Envelope
from simulator.spec import OrgSpec
from simulator.work import SYSTEM, Timed
from simulator.world import OpenDeal, Record, World

STAGES = ("Discovery", "Qualification", "Proposal", "Negotiation", "Contract")
STAGE_NORM_DAYS = (8, 9, 11, 11, 9)
"""Working days that a healthy deal usually spends in each stage."""
_DAILY = {
    # chance a working day: (healthy, doomed, doomed and silent)
    "buyer_mail": (0.34, 0.20, 0.0),
    "rep_touch": (0.42, 0.34, 0.16),
    "meeting": (0.09, 0.06, 0.01),
    "competitor": (0.006, 0.03, 0.0),
    "amount": (0.012, 0.03, 0.01),
    "next_step": (0.10, 0.06, 0.02),
}


class Life(Struct, kw_only=True):
    """What drives one deal, hidden from everybody in the simulated world."""

    deal: OpenDeal
    draws: Draws
    is_doomed: bool
    silent_from: int
    stage: int
    stage_day: int
    close_day: int
    amount: int
    meeting_day: int = 0
    is_closed: bool = False
    count: int = 0


class Deals:
    """All deals of an organisation, day by day; each day is asked for once, in turn."""

    def __init__(self, org: OrgSpec, world: World, seed: int, envelope: Envelope, sync_from_day: int | None) -> None:
        self._org = org
        self._world = world
        self._seed = seed
        self._envelope = envelope
        self._sync_from_day = sync_from_day
        self._lives: list[Life] = []
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self._told = 0
        self._made = 0
        self._reps = [
            (names.user(_rep_name(index)), names.user(org.managers[index // org.reps_per_manager]))
            for index in range(len(org.managers) * org.reps_per_manager)
        ]

    def day(self, day: int, first_day: int) -> list[Timed]:
        """Everything that people do about deals on this day (since 1970, local), in no order."""
        found: list[Timed] = []
        if day == first_day:
            for rep in range(len(self._reps)):
                for _ in range(self._org.open_deals_per_rep):
                    found.extend(self._begin(day, rep, is_first=True))
        if (day + 3) % 7 >= 5:
            return found
        for life in self._lives:
            self._live(life, day, found)
        for life in [life for life in self._lives if life.is_closed]:
            self._lives.remove(life)
            rep = next(i for i, (owner, _) in enumerate(self._reps) if owner == life.deal.owner_id)
            found.extend(self._begin(day, rep, is_first=False))
        return found

    def pass_on(self, until_ms: int) -> None:
        """Let agents know what people did before ``until_ms``: deals opened, stages to be moved, mails received."""
        self._later.sort(key=lambda item: item[:2])
        while self._later and self._later[0][0] < until_ms:
            self._later.pop(0)[2]()

    def _then(self, at_ms: int, learn: Callable[[], None]) -> None:
        self._told += 1
        self._later.append((at_ms, self._told, learn))

    def _ask_to_move(self, deal: OpenDeal, stage: str) -> None:
        if deal.wanted_stage == stage:
            self._world.stage_requests.append(deal)

    # --- beginning -------------------------------------------------------------------------------------------

    def _begin(self, day: int, rep: int, *, is_first: bool) -> list[Timed]:
        number = self._made
        self._made += 1
        draws = Draws(self._seed, "deal", number)
        accounts = self._world.accounts
        account = accounts[number] if number < len(names.ACCOUNTS) else draws.pick(accounts)
        stage = draws.below(4) if is_first else 0
        ahead = sum(STAGE_NORM_DAYS[stage:]) * 7 // 5
        is_doomed = draws.chance(0.42)
        life = Life(
            deal=self._new_deal(number, account, rep, draws),
            draws=draws,
            is_doomed=is_doomed,
            silent_from=day + draws.between(4, max(5, ahead)) if is_doomed else day + 10_000,
            stage=stage,
            stage_day=day,
            close_day=_working_day(day + int(ahead * draws.uniform(0.8, 1.5)) + 5),
            amount=draws.between(60, 2400) * 10_000 if draws.chance(0.85) else draws.between(2400, 6000) * 10_000,
        )
        self._lives.append(life)
        # The first deals are there before the day's work begins.
        at_ms = self._moment(day, draws) if not is_first else self._moment(day, draws) - 11 * HOUR_MS
        self._then(at_ms, partial(self._world.open_deal, life.deal))
        return [(at_ms, self._create_event(life, at_ms))]

    def _new_deal(self, number: int, account: Record, rep: int, draws: Draws) -> OpenDeal:
        owner, manager = self._reps[rep]
        product = names.PRODUCTS[number % len(names.PRODUCTS)]
        name = f"{product} {names.DEAL_KINDS[(number * 5 + number // len(names.PRODUCTS)) % len(names.DEAL_KINDS)]}"
        contacts = list(self._world.contacts_of[account.id])
        return OpenDeal(
            id=f"deal-{number + 1:04d}-{names.slug(account.name)}",
            name=name,
            account=account,
            contacts=contacts[: draws.between(2, max(2, len(contacts)))],
            owner_id=owner,
            manager_id=manager,
            fields={},
        )

    def _create_event(self, life: Life, at_ms: int) -> Any:
        deal = life.deal
        deal.fields.update(
            name=deal.name,
            account_id=deal.account.id,
            account=deal.account.name,
            stage=STAGES[life.stage],
            amount=_money(life.amount),
            currency=self._org.currency,
            close_date=self._envelope.date_text(life.close_day),
            owner_id=deal.owner_id,
            manager_id=deal.manager_id,
            next_step=life.draws.pick(names.NEXT_STEPS),
            forecast_category=names.FORECASTS[min(2, life.stage // 2)],
            is_won=False,
            is_closed=False,
        )
        return self._change_event(life, at_ms, "create", {name: (None, value) for name, value in deal.fields.items()})

    # --- an ordinary day -------------------------------------------------------------------------------------

    def _live(self, life: Life, day: int, found: list[Timed]) -> None:
        draws = life.draws
        mood = 0 if not life.is_doomed else (1 if day < life.silent_from else 2)
        chances = {name: row[mood] for name, row in _DAILY.items()}
        if draws.chance(chances["buyer_mail"]):
            self._activity(life, day, found, "email", "inbound", people=1)
        if draws.chance(chances["rep_touch"]):
            is_call = draws.chance(0.35)
            mentions = (
                [f"competitor: {draws.pick(names.COMPETITORS)}"]
                if is_call and draws.chance(chances["competitor"] * 6)
                else None
            )
            people = 1 + draws.below(2) if is_call else 1
            self._activity(
                life, day, found, "call" if is_call else "email", "outbound", people=people, mentions=mentions
            )
        self._meetings(life, day, chances["meeting"], found)
        if draws.chance(chances["amount"]):
            life.amount = life.amount * draws.between(85, 99) // 100 // 10_000 * 10_000 or life.amount
            self._set(life, day, found, amount=_money(life.amount))
        if draws.chance(chances["next_step"]):
            self._set(life, day, found, next_step=draws.pick(names.NEXT_STEPS))
        self._push_close_date(life, day, found)
        self._advance(life, day, found)
        self._end(life, day, found)

    def _meetings(self, life: Life, day: int, chance: float, found: list[Timed]) -> None:
        draws = life.draws
        if life.meeting_day and life.meeting_day <= day:
            held = not draws.chance(0.5 if day >= life.silent_from else 0.1)
            life.meeting_day = 0
            self._activity(
                life,
                day,
                found,
                "meeting",
                "outbound",
                people=1 + draws.below(3),
                status="done" if held else "cancelled",
            )
        elif not life.meeting_day and draws.chance(chance):
            life.meeting_day = day + draws.between(2, 9)
            self._activity(
                life, day, found, "meeting", "outbound", people=2, status="planned", scheduled=life.meeting_day
            )

    def _push_close_date(self, life: Life, day: int, found: list[Timed]) -> None:
        is_near = life.close_day - day < 6 and life.stage < 4
        if (is_near or life.close_day < day) and life.draws.chance(0.3 if is_near else 0.1):
            life.close_day = _working_day(max(day, life.close_day) + life.draws.pick((7, 14, 14, 21, 30)))
            self._set(life, day, found, close_date=self._envelope.date_text(life.close_day))

    def _advance(self, life: Life, day: int, found: list[Timed]) -> None:
        draws, deal = life.draws, life.deal
        if deal.wanted_stage:
            return
        if deal.fields["stage"] != STAGES[life.stage]:
            # The agent that was asked to move it never did: the rep does it by hand a day later.
            self._set(life, day, found, stage=STAGES[life.stage])
            return
        if life.is_doomed and life.stage and draws.chance(0.006):
            self._move(life, day, life.stage - 1, found)
        elif life.stage < len(STAGES) - 1 and day < life.silent_from:
            age = (day - life.stage_day) * 5 // 7
            pace = 0.6 if life.is_doomed else 1.0
            if age >= 2 and draws.chance(pace * 1.6 / STAGE_NORM_DAYS[life.stage] * min(1.0, age / 5)):
                self._move(life, day, life.stage + 1, found)

    def _move(self, life: Life, day: int, stage: int, found: list[Timed]) -> None:
        life.stage, life.stage_day = stage, day
        if self._sync_from_day is not None and day >= self._sync_from_day and life.draws.chance(0.5):
            life.deal.wanted_stage = STAGES[stage]
            self._then(self._moment(day, life.draws), partial(self._ask_to_move, life.deal, STAGES[stage]))
        else:
            self._set(life, day, found, stage=STAGES[stage])

    def _end(self, life: Life, day: int, found: list[Timed]) -> None:
        draws = life.draws
        if not life.is_doomed:
            is_over = life.stage == len(STAGES) - 1 and day - life.stage_day > 4 and draws.chance(0.13)
        else:
            silent = day - life.silent_from
            is_over = silent > 12 and draws.chance(0.05 if silent < 30 else 0.2)
        if not is_over:
            return
        life.is_closed = True
        outcome = "Closed lost" if life.is_doomed else "Closed won"
        self._set(life, day, found, late=True, stage=outcome, is_closed=True, is_won=not life.is_doomed)
        if life.deal.id in self._world.open_deals:
            self._world.close_deal(life.deal)

    # --- events ----------------------------------------------------------------------------------------------

    def _set(self, life: Life, day: int, found: list[Timed], *, late: bool = False, **values: Any) -> None:
        fields = life.deal.fields
        changes: FieldChanges = {n: (fields.get(n), v) for n, v in values.items() if fields.get(n) != v}
        if not changes:
            return
        fields.update(values)
        at_ms = self._moment(day, life.draws, late=late)
        found.append((at_ms, self._change_event(life, at_ms, "update", changes)))

    def _change_event(self, life: Life, at_ms: int, op: Literal["create", "update"], changes: FieldChanges) -> Any:
        deal = life.deal
        life.count += 1
        data = CrmChange(
            object="Opportunity",
            record_id=deal.id,
            op=op,
            changes=changes,
            actor=Actor("human", deal.owner_id),
            deal_id=deal.id,
            owner_id=deal.owner_id,
            system=SYSTEM,
        )
        return self._envelope.change(at_ms, f"{deal.id}-c{life.count:04d}", data)

    def _activity(
        self,
        life: Life,
        day: int,
        found: list[Timed],
        kind: Literal["email", "call", "meeting"],
        direction: Literal["inbound", "outbound"],
        *,
        people: int,
        status: Literal["done", "planned", "cancelled"] = "done",
        mentions: list[str] | None = None,
        scheduled: int = 0,
    ) -> None:
        deal, draws = life.deal, life.draws
        at_ms = self._moment(day, draws)
        first = draws.below(len(deal.contacts))
        chosen = [deal.contacts[(first + i) % len(deal.contacts)] for i in range(min(people, len(deal.contacts)))]
        if direction == "inbound":
            self._then(at_ms, partial(setattr, deal, "writer", chosen[0]))
        life.count += 1
        data = CrmActivity(
            kind=kind,
            deal_id=deal.id,
            direction=direction,
            participants=[
                Participant(contact_id=c.id, name=c.name, role=c.role, executive=c.is_executive) for c in chosen
            ],
            occurred_at=self._envelope.time_text(at_ms),
            scheduled_for=self._envelope.time_text(self._moment(scheduled, draws)) if scheduled else UNSET,
            logged_by=Actor("human", deal.owner_id),
            system=SYSTEM,
            mentions=mentions or UNSET,
            status=status,
        )
        found.append((at_ms, self._envelope.activity(at_ms, f"{deal.id}-a{life.count:04d}", data)))

    def _moment(self, day: int, draws: Draws, *, late: bool = False) -> int:
        """A time of the working day, 08:00–18:00 local; the end of a deal comes after all else."""
        local = day * DAY_MS + (18 * HOUR_MS if late else 8 * HOUR_MS) + draws.below(HOUR_MS if late else 10 * HOUR_MS)
        return local - self._org.utc_offset_minutes * MINUTE_MS


def _working_day(day: int) -> int:
    """The day itself, or the Monday after it."""
    return day + max(0, 7 - (day + 3) % 7) if (day + 3) % 7 >= 5 else day


def _rep_name(index: int) -> str:
    again = index // len(names.REPS)
    return names.REPS[index % len(names.REPS)] + (f" {again + 1}" if again else "")


def _money(minor: int) -> str:
    """Minor units as a decimal text: 14800000 is "148000.00"."""
    return f"{minor // 100}.{minor % 100:02d}"

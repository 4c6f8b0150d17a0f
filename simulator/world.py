"""The CRM's content: accounts, contacts, leads and open deals, with the values that agents read and change."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from events.types import Participant
from simulator import names
from simulator.draws import Draws
from simulator.spec import OrgSpec


class Record(Struct, kw_only=True, gc=False):
    """One record: its type, id, name and the present values of its fields."""

    object: str
    id: str
    name: str
    fields: dict[str, Any]
    account_id: str = ""
    industry: str = ""
    role: str = ""
    is_executive: bool = False

    def participant(self) -> Participant:
        """A contact, as somebody who takes part in an activity."""
        return Participant(contact_id=self.id, name=self.name, role=self.role, executive=self.is_executive)


class OpenDeal(Struct, kw_only=True, gc=False):
    """What agents may know of an open deal."""

    id: str
    name: str
    account: Record
    contacts: list[Record]
    owner_id: str
    manager_id: str
    fields: dict[str, Any]
    writer: Record | None = None
    wanted_stage: str = ""


class World:
    """All records of one organisation. Only the simulation changes it, in the order of time."""

    def __init__(self, org: OrgSpec, seed: int) -> None:
        draws = Draws(seed, "world")
        self.accounts = [_account(index, draws) for index in range(org.accounts)]
        self.contacts = [contact for account in self.accounts for contact in _contacts_of(account, draws)]
        self.contacts_of: dict[str, list[Record]] = {account.id: [] for account in self.accounts}
        for contact in self.contacts:
            self.contacts_of[contact.account_id].append(contact)
        self.leads: list[Record] = []
        self._lead_draws = Draws(seed, "leads")
        self.open_deals: dict[str, OpenDeal] = {}
        self.deal_list: list[OpenDeal] = []
        self.stage_requests: list[OpenDeal] = []

    def open_deal(self, deal: OpenDeal) -> None:
        """A deal begins."""
        self.open_deals[deal.id] = deal
        self.deal_list.append(deal)

    def close_deal(self, deal: OpenDeal) -> None:
        """A deal is won or lost."""
        del self.open_deals[deal.id]
        self.deal_list.remove(deal)

    def next_lead(self) -> Record:
        """A lead that has just come in."""
        draws = self._lead_draws
        name = f"{draws.pick(names.FIRST_NAMES)} {draws.pick(names.LAST_NAMES)}"
        lead = Record(
            object="Lead",
            id=f"lead-{len(self.leads) + 1:06d}",
            name=name,
            fields={"queue": None, "status": "New", "rating": None, "country": draws.pick(names.COUNTRIES)},
        )
        self.leads.append(lead)
        return lead


def phone_number(draws: Draws) -> str:
    """A number from the range kept for fiction."""
    return f"+49 40 5550 {draws.between(100, 999)}"


def _account(index: int, draws: Draws) -> Record:
    if index < len(names.ACCOUNTS):
        name, industry = names.ACCOUNTS[index]
    else:
        heads, tails = len(names.ACCOUNT_HEADS), len(names.ACCOUNT_TAILS)
        tail, industry = names.ACCOUNT_TAILS[(index * 5 + index // heads) % tails]
        again = index // (heads * tails)
        name = f"{names.ACCOUNT_HEADS[index % heads]} {tail}" + (f" {again + 1}" if again else "")
    account_id = f"acc-{names.slug(name)}" + (f"-{index}" if index >= len(names.ACCOUNT_HEADS) else "")
    place = draws.below(len(names.COUNTRIES))
    fields: dict[str, Any] = {
        "industry": industry,
        "employees": draws.between(2, 500) * 10,
        "phone": phone_number(draws) if draws.chance(0.6) else None,
        "website": f"{names.slug(name)}.example" if draws.chance(0.8) else None,
        "segment": draws.pick(names.SEGMENTS),
        "country": names.COUNTRIES[place],
        "city": names.CITIES[place],
    }
    return Record(object="Account", id=account_id, name=name, industry=industry, fields=fields)


def _contacts_of(account: Record, draws: Draws) -> list[Record]:
    found: dict[str, Record] = {}
    for place in range(draws.between(2, 5)):
        name = f"{draws.pick(names.FIRST_NAMES)} {draws.pick(names.LAST_NAMES)}"
        title = draws.pick(names.JOB_TITLES)
        contact_id = f"con-{names.slug(name)}-{account.id[4:]}"
        found[contact_id] = Record(
            object="Contact",
            id=contact_id,
            name=name,
            account_id=account.id,
            role=("economic_buyer", "user", "technical", "champion", "procurement")[place],
            is_executive=title.startswith("Chief"),
            fields={
                "job_title": title if draws.chance(0.8) else None,
                "phone": phone_number(draws) if draws.chance(0.5) else None,
            },
        )
    return list(found.values())

"""What events of the CRM say of records and contacts, as the gate looks it up: the newest word holds."""

from __future__ import annotations

from typing import Any

import pytest

from events.codec import decode
from governance.settings import parse_settings
from storage.link import Link
from storage.whereabouts import known_of, said_by
from streams.whereabouts import Learned
from tests.unit.events.samples import CHANGE, CONSENT, raw

WITH_POLICY = parse_settings("[policy]\nfile = 'policy.toml'")


def learn(link: Link, *raws: bytes, settings: Any = WITH_POLICY) -> None:
    learned = Learned(settings)
    for each in raws:
        learned.take(decode(each))
    learned.write(link)


def change(at: str, **data: Any) -> bytes:
    return raw({**CHANGE, "time": at, "data": {"object": "Account", "record_id": "r1", "op": "update", **data}})


def consent(at: str, status: str, purpose: str = "sales") -> bytes:
    data = {"contact_id": " Petra@X.example", "channel": "Email", "purpose": purpose, "status": status}
    return raw({**CONSENT, "time": at, "data": data})


def test_the_newest_word_holds_whichever_comes_last(link: Link) -> None:
    learn(
        link,
        change("2026-03-02T09:00:00Z", owner_id="user:jo", changes={"Segment__c": [None, "SMB"]}),
        change("2026-03-02T10:00:00Z", changes={"OwnerId": ["user:jo", "user:lea"]}),
    )
    learn(link, change("2026-03-02T09:30:00Z", owner_id="user:max", changes={"segment": {"after": "Key"}}))
    assert known_of(link, "default", ["r1", "r2"]) == {"r1": {"owner": "user:lea", "segment": "Key"}}
    assert known_of(link, "acme", ["r1"]) == {}


@pytest.mark.parametrize(
    "later",
    [{"op": "gap"}, {"changes": {"OwnerId": ["user:jo", None], "Segment": ["SMB", ""]}}],
    ids=["gap", "emptied"],
)
def test_what_the_source_lost_or_emptied_is_not_known_any_more(link: Link, later: dict[str, Any]) -> None:
    learn(link, change("2026-03-02T09:00:00Z", owner_id="user:jo", changes={"Segment": [None, "SMB"]}))
    learn(link, change("2026-03-02T10:00:00Z", **later))
    assert known_of(link, "default", ["r1"]) == {}


def test_a_deals_owner_is_not_the_owner_of_a_contact_that_changed_beside_it(link: Link) -> None:
    learn(link, change("2026-03-02T09:00:00Z", deal_id="006A1", owner_id="user:jo"))
    assert known_of(link, "default", ["r1"]) == {}


def test_records_are_kept_under_a_policy_alone_and_consent_always(link: Link) -> None:
    learn(
        link,
        change("2026-03-02T09:00:00Z", owner_id="user:jo"),
        consent("2026-03-02T09:00:00Z", "granted"),
        settings=parse_settings(""),
    )
    assert known_of(link, "default", ["r1"]) == {}
    assert [one.status for one in said_by(link, "default", ["petra@x.example"])] == ["granted"]


@pytest.mark.parametrize(("first", "second"), [("granted", "withdrawn"), ("withdrawn", "granted")])
def test_of_two_words_at_the_same_moment_the_refusal_holds(link: Link, first: str, second: str) -> None:
    learn(link, consent("2026-03-02T09:00:00Z", first), consent("2026-03-02T09:00:00Z", second))
    assert [one.status for one in said_by(link, "default", ["petra@x.example"])] == ["withdrawn"]


def test_a_later_consent_ends_a_refusal_of_the_same_purpose_only(link: Link) -> None:
    learn(link, consent("2026-03-02T09:00:00Z", "denied"), consent("2026-03-02T09:00:00Z", "denied", "surveys"))
    learn(link, consent("2026-03-02T10:00:00Z", "granted"))
    assert sorted(one.status for one in said_by(link, "default", ["petra@x.example"])) == ["denied", "granted"]
    learn(link, consent("2026-03-02T08:00:00Z", "withdrawn"))
    assert sorted(one.status for one in said_by(link, "default", ["petra@x.example"])) == ["denied", "granted"]

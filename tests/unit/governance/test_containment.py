"""What the CRM's feed tells of an agent, against stops and what the gate let pass."""

from __future__ import annotations

from typing import Any

import pytest

from events.times import format_ms
from events.types import ActivityEvent, Actor, ChangeEvent, CrmActivity, CrmChange, Participant
from governance.containment import Admitted, SeenWrite, Stop, identities, is_covered, seen_in, stop_at, stops_in
from governance.settings import parse_settings

KNOWN = {"user:005B9": "bot"}


def change(actor: Actor, **more: Any) -> ChangeEvent:
    data = CrmChange(object="Lead", record_id="r1", op="update", actor=actor)
    fields = {name: more.get(name, getattr(data, name)) for name in data.__struct_fields__}
    return ChangeEvent(specversion="1.0", id="c1", source="/crm", time=format_ms(5_000), data=CrmChange(**fields))


def seen(**more: Any) -> SeenWrite:
    fields: dict[str, Any] = {
        "key": "default/bot", "agent_id": "bot", "event_id": "/crm c1", "identity": "agent bot", "effect_ms": 100_000,
        "object": "Lead", "ids": ("r1",), "op": "update",
    }  # fmt: skip
    return SeenWrite(**{**fields, **more})


@pytest.mark.parametrize(
    ("actor", "agent_id"),
    [
        (Actor("agent", "enricher"), "enricher"),
        (Actor("human", "user:005B9"), "bot"),
        (Actor("automation", "user:005B9"), "bot"),
        (Actor("agent", "user:005B9"), "bot"),
        (Actor("human", "user:005A1"), None),
        (Actor("agent", ""), None),
    ],
)
def test_an_agent_is_known_by_the_feeds_word_and_by_its_user(actor: Actor, agent_id: str | None) -> None:
    found = seen_in(change(actor), KNOWN)
    assert (found.agent_id if found else None) == agent_id


def test_it_counts_when_the_crm_did_it_and_what_it_touched() -> None:
    found = seen_in(change(Actor("agent", "bot"), committed_at=format_ms(4_000), record_id="003A0000012abcDIAA"), KNOWN)
    assert found is not None
    assert (found.effect_ms, found.key, found.op) == (4_000, "default/bot", "update")
    assert seen_in(change(Actor("agent", "bot"), op="gap"), KNOWN) is None


def test_a_mail_that_its_user_sent_counts_and_one_that_came_in_does_not() -> None:
    def mail(direction: Any) -> ActivityEvent:
        data = CrmActivity(
            kind="email", direction=direction, logged_by=Actor("human", "user:005B9"),
            participants=[Participant(contact_id="Ann@Example.com")],
        )  # fmt: skip
        return ActivityEvent(specversion="1.0", id="m1", source="/mail", time=format_ms(5_000), data=data)

    found = seen_in(mail("outbound"), KNOWN)
    assert found is not None
    assert (found.agent_id, found.object, found.op, found.ids) == ("bot", "email", "send", ("ann@example.com",))
    assert seen_in(mail("inbound"), KNOWN) is None


def test_a_stop_lasts_until_it_is_active_again() -> None:
    history = [
        ("throttled", "detector", 10), ("suspended", "detector", 20), ("releasing", "human", 30),
        ("suspended", "detector", 35), ("releasing", "human", 40), ("active", "human", 50), ("suspended", "human", 90),
    ]  # fmt: skip
    assert stops_in(history) == [Stop(20, 50), Stop(90)]
    held = [at for at in (19, 20, 21, 45, 50, 51, 90, 91) if stop_at(stops_in(history), at) is not None]
    assert held == [21, 45, 50, 91]


@pytest.mark.parametrize(
    ("admitted", "write", "is_let"),
    [
        (Admitted(99_000, frozenset({"r1"}), "Lead"), {}, True),
        (Admitted(160_000, frozenset({"r1"}), "Lead"), {}, True),
        (Admitted(160_001, frozenset({"r1"}), "Lead"), {}, False),
        (Admitted(39_999, frozenset({"r1"}), "Lead"), {}, False),
        (Admitted(99_000, frozenset({"r2"}), "Lead"), {}, False),
        (Admitted(99_000, frozenset(), "Lead"), {}, True),
        (Admitted(99_000, frozenset(), "Account"), {}, False),
        (Admitted(99_000, frozenset({"lead:ext__c=5"}), "Lead"), {}, True),
        (Admitted(99_000, frozenset({"lead:ext__c=5"}), "Account"), {}, False),
        (Admitted(160_001, frozenset({"lead:ext__c=5"}), "Lead"), {}, False),
        (Admitted(99_000, frozenset({"lead:ext__c=5"}), ""), {}, False),
        (Admitted(99_000, frozenset({"new-1a2b-0", "a=b:c"}), "Lead"), {}, False),
        (Admitted(99_000, frozenset({"006A"}), "Lead"), {"op": "create", "ids": ("new",)}, True),
        (Admitted(99_000, frozenset({"006A"}), "Task"), {"op": "create", "ids": ("new",)}, False),
    ],
)
def test_a_decision_covers_a_change_of_its_records_near_in_time(
    admitted: Admitted, write: dict[str, Any], is_let: bool
) -> None:
    assert is_covered(seen(**write), [admitted], 60_000) is is_let


def test_two_agents_can_not_have_one_user() -> None:
    toml = '[agents.a]\ncrm_user = "user:1"\n[agents.b]\ncrm_user = "user:2"\n'
    assert identities(parse_settings(toml, {})) == {"user:1": "a", "user:2": "b"}
    with pytest.raises(Exception, match=r"agents\.b\.crm_user.*also a's"):
        parse_settings(toml.replace("user:2", "user:1"), {})

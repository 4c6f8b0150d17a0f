"""The gate's rules, one by one, and their order."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as st

from events.types import By
from governance.control import ControlRow
from governance.gate import (
    BadRequest,
    GateDecision,
    GateRequest,
    Remembered,
    Rule,
    check,
    content_hash,
    decode_request,
    operation_of,
)
from governance.limits import Budgets
from governance.operation import canonical_contact, canonical_id, checksum
from governance.ports import AgentView
from governance.settings import Settings, parse_settings

NOW = 1_772_443_200_000
MINUTE, DAY = 60_000, 86_400_000
CONFIG = """
[agents.bot]
owner = "tomas"
actions = ["record.read", "record.update", "record.create", "email.send", "note.create", "contract.create"]
objects = ["Account", "Contact", "Email", "Contract"]
max_records_per_operation = 20
max_recipients_per_operation = 5
records_per_10_min = 30
records_per_day = 60
contacts_per_10_min = 6
contacts_per_day = 8
reads_per_10_min = 300
reads_per_day = 1000
"""
SETTINGS = parse_settings(CONFIG)


def row(state: str, key: str = "default/bot", epoch: int = 7) -> ControlRow:
    return ControlRow(
        key=key, agent_id="bot", state=state, epoch=epoch, last_release_epoch=0, at_ms=NOW, reason="61st update",  # type: ignore[arg-type]
        by=By("detector", "action_rate"),
    )  # fmt: skip


def ask(action: str = "record.update", records: int = 1, **more: Any) -> GateRequest:
    given: dict[str, Any] = {
        "agent_id": "bot", "action": action, "object": "Account", "record_ids": [f"r{n}" for n in range(records)],
    }  # fmt: skip
    return GateRequest(**{**given, **more})


def answer(
    request: GateRequest, view: AgentView | None = None, settings: Settings = SETTINGS, now: int = NOW
) -> GateDecision:
    return check(request, view if view is not None else AgentView(), settings, now)


def admit(view: AgentView, request: GateRequest, now: int = NOW) -> GateDecision:
    """What a runtime does: check, and debit what was allowed."""
    decision = answer(request, view, now=now)
    if decision.decision == "allow":
        assert isinstance(view.counters, Budgets)
        view.counters.admit(operation_of(request), now)
    return decision


def test_what_is_listed_is_allowed() -> None:
    decision = answer(ask())
    assert (decision.decision, decision.rule, decision.reason, decision.epoch) == ("allow", Rule.ALLOWED, "allowed", 0)


# --- the agent's state -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [None, AgentView(is_control_known=False)], ids=["no view", "control unknown"])
def test_writes_are_denied_when_nobody_knows_whether_the_agent_is_stopped(view: AgentView | None) -> None:
    decision = check(ask(), view, SETTINGS, NOW)
    assert (decision.decision, decision.rule) == ("deny", Rule.CONTROL_UNKNOWN)


def test_reads_go_on_while_control_is_unknown_but_not_without_counters_to_rate_them() -> None:
    read = ask("record.read")
    assert check(read, AgentView(is_control_known=False), SETTINGS, NOW).decision == "allow"
    assert check(read, None, SETTINGS, NOW).rule == Rule.CONTROL_UNKNOWN


@pytest.mark.parametrize("action", ["record.update", "record.read"])
def test_a_suspended_agent_may_neither_write_nor_read(action: str) -> None:
    decision = answer(ask(action), AgentView(control=row("suspended")))
    assert decision.reason == "denied: suspended; only a person can release"
    assert (decision.rule, decision.epoch, decision.detail, decision.stanza) == (
        Rule.SUSPENDED, 7, "61st update", "",
    )  # fmt: skip


@pytest.mark.parametrize("action", ["record.update", "record.read"])
def test_stop_all_stops_an_active_agent_and_says_so(action: str) -> None:
    decision = answer(ask(action), AgentView(control=row("active"), stop_all=row("suspended", "default/*", 2)))
    assert (decision.rule, decision.epoch) == (Rule.STOP_ALL, 7)
    assert decision.reason == "denied: all agents are stopped; only two people together can end that"


@pytest.mark.parametrize("state", ["held", "releasing"])
def test_writes_of_a_held_or_releasing_agent_wait_and_its_reads_go_on(state: str) -> None:
    view = AgentView(control=row(state))
    assert (answer(ask(), view).decision, answer(ask(), view).rule) == ("hold", Rule.HELD)
    assert answer(ask("record.read"), view).decision == "allow"


def test_a_held_stop_all_holds_every_agents_writes() -> None:
    assert answer(ask(), AgentView(stop_all=row("held", "default/*"))).decision == "hold"


def test_what_would_be_denied_anyway_is_not_put_on_hold() -> None:
    assert answer(ask("record.delete"), AgentView(control=row("held"))).rule == Rule.ACTION


# --- who and what ------------------------------------------------------------------------------------------------


def test_an_agent_that_is_not_configured_is_denied_with_the_lines_that_would_allow_it() -> None:
    decision = answer(ask(agent_id="new.bot"))
    assert decision.reason == "denied: no agent called “new.bot” is configured"
    assert decision.stanza.splitlines() == [
        '[agents."new.bot"]',
        'owner = ""  # who answers for it',
        "level = 1",
        'actions = ["record.update"]',
        'objects = ["Account"]',
    ]


def test_a_setting_lets_unknown_agents_through_with_the_default_limits() -> None:
    settings = parse_settings('[gate]\nunknown_agents = "allow"')
    assert answer(ask(agent_id="x"), settings=settings).decision == "allow"
    assert answer(ask(agent_id="x", records=51), settings=settings).rule == Rule.RECORDS
    assert answer(ask("owner.reassign", agent_id="x"), settings=settings).rule == Rule.IRREVERSIBLE
    mail = ask("email.send", agent_id="x", recipient_ids=["c"])
    assert answer(mail, settings=settings).rule == Rule.FIRST_CONTACT


def test_an_unknown_action_is_denied_even_to_an_agent_that_may_do_everything() -> None:
    settings = parse_settings('[agents.bot]\nactions = ["*"]')
    decision = answer(ask("crm.frobnicate"), settings=settings)
    assert decision.rule == Rule.UNKNOWN_ACTION
    assert decision.reason == (
        "denied: “crm.frobnicate” is no known action, so it counts as a write of the highest risk"
    )


def test_an_action_of_ones_own_is_a_write_of_the_highest_risk_so_it_waits_when_it_names_no_recipient() -> None:
    settings = parse_settings(
        '[gate]\nother_actions = ["crm.sync"]\n[agents.bot]\nactions = ["crm.sync"]\nirreversible = ["crm.sync"]'
    )
    assert answer(ask("crm.sync"), settings=settings).rule == Rule.FIRST_CONTACT


def test_an_action_that_is_not_listed_is_denied_in_plain_words() -> None:
    decision = answer(ask("record.delete"))
    assert decision.reason == "denied: “bot” may not delete records"
    assert decision.stanza.startswith('[agents.bot]\nactions = ["record.read", "record.update", ')
    assert decision.stanza.endswith(', "record.delete"]')


def test_a_noun_with_a_star_allows_all_of_its_verbs() -> None:
    settings = parse_settings('[agents.bot]\nactions = ["record.*"]')
    assert answer(ask("record.delete"), settings=settings).decision == "allow"
    assert answer(ask("note.create"), settings=settings).rule == Rule.ACTION


def test_an_object_out_of_scope_is_denied_for_reads_too() -> None:
    for action in ("record.read", "record.update"):
        decision = answer(ask(action, object="Opportunity"))
        assert decision.reason == (
            "denied: “bot” may not touch “Opportunity”; it may touch Account, Contact, Email and Contract"
        )
        assert decision.stanza.endswith('"Opportunity"]')


def test_a_request_that_does_not_say_what_it_touches_is_denied_unless_everything_is_allowed() -> None:
    assert answer(ask(object=None)).rule == Rule.OBJECT
    settings = parse_settings('[agents.bot]\nactions = ["record.update"]')
    assert answer(ask(object=None), settings=settings).decision == "allow"


def test_a_change_of_owner_by_way_of_an_update_counts_as_a_reassignment() -> None:
    changes = {"r0": {"OwnerId": ("user:1", "user:2")}}
    assert answer(ask(changes=changes)).reason == "denied: “bot” may not change who owns a record"
    settings = parse_settings('[agents.bot]\nactions = ["record.update", "owner.reassign"]')
    assert answer(ask(changes=changes), settings=settings).rule == Rule.IRREVERSIBLE


def test_whoever_is_no_longer_active_authorizes_nothing() -> None:
    settings = parse_settings(CONFIG + '[people.ines]\ncrm_user = "user:ines"\nis_active = false')
    assert answer(ask(authorized_by="user:ines"), settings=settings).rule == Rule.AUTHORIZER
    assert answer(ask(authorized_by="user:else"), settings=settings).decision == "allow"


def test_authorizers_must_be_known_where_the_setting_says_so() -> None:
    settings = parse_settings(CONFIG + '[gate]\nunknown_authorizers = "deny"\n[people.ines]\ncrm_user = "user:ines"')
    assert answer(ask(authorized_by="user:ines"), settings=settings).decision == "allow"
    assert answer(ask(authorized_by="ines"), settings=settings).decision == "allow"
    assert answer(ask(authorized_by="user:x"), settings=settings).rule == Rule.AUTHORIZER
    assert answer(ask(), settings=settings).rule == Rule.AUTHORIZER


# --- how much ----------------------------------------------------------------------------------------------------


def test_no_request_carries_more_than_200_records_not_even_a_read() -> None:
    assert answer(ask("record.read", records=200)).decision == "allow"
    decision = answer(ask("record.read", records=201))
    assert (decision.rule, decision.stanza) == (Rule.REQUEST_SIZE, "")


def test_records_are_counted_from_ids_and_changes_together() -> None:
    changes = {f"c{n}": {"name": (1, 2)} for n in range(11)}
    assert answer(ask(records=9, changes=changes)).decision == "allow"
    decision = answer(ask(records=10, changes=changes))
    assert decision.reason == "denied: 21 records at once; “bot” may change at most 20"
    assert decision.stanza == "[agents.bot]\nmax_records_per_operation = 21"


def test_an_agents_claims_count_only_against_it() -> None:
    understated = msgspec.structs.replace(ask(records=21), records=1)
    assert answer(understated).rule == Rule.RECORDS
    overstated = msgspec.structs.replace(ask(records=1), records=21)
    assert answer(overstated).rule == Rule.RECORDS
    mail = ask("email.send", object="Email", recipient_ids=["c1"], first_contact=False, external=False, recipients=0)
    assert answer(mail).rule == Rule.FIRST_CONTACT


def test_an_update_that_names_no_record_is_denied_and_a_creation_counts_as_one() -> None:
    assert answer(ask(records=0)).rule == Rule.RECORDS_UNNAMED
    assert operation_of(ask("record.create", records=0)).records == 1
    assert answer(ask("record.create", records=0)).decision == "allow"


def test_recipients_of_one_operation_are_limited() -> None:
    view = AgentView(known={f"c{n}" for n in range(9)})
    mail = ask("email.send", records=0, object="Email", recipient_ids=[f"c{n}" for n in range(6)])
    assert answer(mail, view).reason == "denied: 6 people at once; “bot” may reach at most 5"


def test_what_cannot_be_undone_must_be_declared() -> None:
    contract = ask("contract.create", object="Contract")
    decision = answer(contract)
    assert decision.reason == "denied: “bot” may not create contracts: that cannot be undone, and nobody declared it"
    assert decision.stanza == '[agents.bot]\nirreversible = ["contract.create"]'
    declared = parse_settings(CONFIG + 'irreversible = ["contract.create"]')
    assert answer(contract, settings=declared).decision == "allow"


def test_the_ten_minute_budget_counts_distinct_records() -> None:
    view = AgentView()
    assert admit(view, ask(records=20)).decision == "allow"
    assert admit(view, ask(records=20), NOW + MINUTE).decision == "allow"
    ten_more = ask(record_ids=[f"x{n}" for n in range(10)])
    assert admit(view, ten_more, NOW + 2 * MINUTE).decision == "allow"
    refused = admit(view, ask(record_ids=["y"]), NOW + 3 * MINUTE)
    assert refused.reason == "denied: this would make 31; “bot” may have at most 30 records in 10 minutes"
    assert refused.stanza == "[agents.bot]\nrecords_per_10_min = 31"


def test_four_operations_of_five_count_like_one_of_twenty() -> None:
    view = AgentView()
    for start in range(0, 30, 5):
        ids = [f"r{n}" for n in range(start, start + 5)]
        assert admit(view, ask(record_ids=ids), NOW + start).decision == "allow"
    assert admit(view, ask(record_ids=["r30"]), NOW + 99).rule == Rule.BUDGET


def test_a_record_leaves_the_ten_minutes_exactly_ten_minutes_after_it_was_last_touched() -> None:
    view = AgentView()
    admit(view, ask(records=20))
    admit(view, ask(record_ids=[f"x{n}" for n in range(10)]))
    one = ask(record_ids=["z"])
    assert answer(one, view, now=NOW + 10 * MINUTE - 1).rule == Rule.BUDGET
    assert answer(one, view, now=NOW + 10 * MINUTE).decision == "allow"


def test_the_day_budget_holds_however_slowly_the_agent_goes() -> None:
    view = AgentView()
    for n in range(60):
        assert admit(view, ask(record_ids=[f"r{n}"]), NOW + n * 20 * MINUTE).decision == "allow"
    last = NOW + 60 * 20 * MINUTE
    assert admit(view, ask(record_ids=["r60"]), last).reason.endswith("at most 60 records in 24 hours")
    assert admit(view, ask(record_ids=["r60"]), NOW + DAY).decision == "allow"


def test_mails_one_by_one_run_into_the_budget_of_contacts() -> None:
    view = AgentView(known={f"c{n}" for n in range(9)})
    mails = [ask("email.send", records=0, object="Email", recipient_ids=[f"c{n}"]) for n in range(7)]
    assert [admit(view, mail).decision for mail in mails] == ["allow"] * 6 + ["deny"]


def test_reads_are_rated_by_volume_so_that_reading_the_same_again_counts() -> None:
    view = AgentView()
    reads = [admit(view, ask("record.read", records=100)).rule for _ in range(4)]
    assert reads == [Rule.ALLOWED, Rule.ALLOWED, Rule.ALLOWED, Rule.BUDGET]


def test_a_throttled_agent_has_a_tenth_of_its_budgets() -> None:
    view = AgentView(control=row("throttled"))
    assert admit(view, ask(records=3)).decision == "allow"
    refused = admit(view, ask(record_ids=["x"]))
    assert refused.reason == (
        "denied: this would make 4; “bot” may have at most 3 records in 10 minutes while it is slowed down"
    )
    assert refused.stanza == ""


def test_a_throttle_neither_takes_everything_nor_gives_where_there_was_nothing() -> None:
    settings = parse_settings(
        '[agents.bot]\nactions = ["record.update", "email.send"]\ncontacts_per_10_min = 0\nrecords_per_10_min = 5'
    )
    view = AgentView(control=row("throttled"), known={"c"})
    assert answer(ask(), view, settings).decision == "allow"
    assert answer(ask("email.send", recipient_ids=["c"]), view, settings).rule == Rule.BUDGET


# --- people outside ----------------------------------------------------------------------------------------------


def test_a_first_message_waits_for_a_person_and_a_known_contact_does_not() -> None:
    mail = ask("email.send", records=0, object="Email", recipient_ids=["c1", "c2", "c3"])
    held = answer(mail, AgentView(known={"c2"}))
    assert (held.decision, held.is_first_contact) == ("hold", True)
    assert held.reason == "on hold: first message to “c1” and 1 more; a person must look at it"
    assert answer(mail, AgentView(known={"c1", "c2", "c3"})).decision == "allow"


def test_a_setting_refuses_first_messages() -> None:
    settings = parse_settings(CONFIG + '[gate]\nfirst_contact = "deny"')
    mail = ask("email.send", records=0, object="Email", recipient_ids=["c1"])
    assert answer(mail, settings=settings).decision == "deny"


def test_an_agent_may_be_declared_to_write_first_messages() -> None:
    mail = ask("email.send", records=0, object="Email", recipient_ids=["c1"])
    decision = answer(mail, settings=parse_settings(CONFIG + 'irreversible = ["first_contact"]'))
    assert (decision.decision, decision.is_first_contact) == ("allow", True)
    assert answer(mail, AgentView(known={"c1"})).is_first_contact is False


def test_a_mail_that_does_not_say_whom_it_reaches_counts_as_a_first_message() -> None:
    view = AgentView(known={"c1"})
    assert answer(ask("email.send", records=0, object="Email"), view).rule == Rule.FIRST_CONTACT
    more_than_listed = ask("email.send", records=0, object="Email", recipient_ids=["c1"], recipients=2)
    assert answer(more_than_listed, view).rule == Rule.FIRST_CONTACT


def test_recipients_of_an_action_that_should_have_none_count_all_the_same() -> None:
    assert answer(ask(recipient_ids=["stranger"])).rule == Rule.FIRST_CONTACT


def test_the_capitals_of_an_address_do_not_make_a_new_contact() -> None:
    mail = ask("email.send", records=0, object="Email", recipient_ids=[" Petra.Vogel@Nordwind.example "])
    assert answer(mail, AgentView(known={"petra.vogel@nordwind.example"})).decision == "allow"


# --- request ids -------------------------------------------------------------------------------------------------


def remembered(request: GateRequest, decision: GateDecision, at: int = NOW) -> dict[str, Remembered]:
    kept = msgspec.structs.replace(decision, decision_id="d-1")
    return {request.request_id or "": Remembered(content_hash=content_hash(request), decision=kept, at_ms=at)}


def test_a_retry_gets_the_same_answer_and_is_not_to_be_admitted_again() -> None:
    request = ask(request_id="q1")
    view = AgentView(answers=remembered(request, answer(request)))
    again = answer(request, view)
    assert (again.decision, again.decision_id, again.is_repeated) == ("allow", "d-1", True)


def test_a_retry_is_answered_even_when_the_budget_is_spent() -> None:
    settings = parse_settings('[agents.bot]\nactions = ["record.update"]\nrecords_per_10_min = 1')
    request = ask(request_id="q1")
    view = AgentView(answers=remembered(request, answer(request)))
    assert isinstance(view.counters, Budgets)
    view.counters.admit(operation_of(ask(record_ids=["other"])), NOW)
    assert answer(request, view, settings).is_repeated


@pytest.mark.parametrize(
    "other",
    [{"record_ids": ["other"]}, {"action": "record.create"}, {"changes": {"r0": {"name": ("a", "b")}}},
     {"authorized_by": "user:x"}, {"recipient_ids": ["c"]}],
)  # fmt: skip
def test_the_same_request_id_with_other_content_is_denied_and_a_finding(other: dict[str, Any]) -> None:
    request = ask(request_id="q1")
    view = AgentView(answers=remembered(request, answer(request)))
    decision = answer(ask(**{"request_id": "q1", **other}), view)
    assert (decision.decision, decision.rule) == ("deny", Rule.REQUEST_ID)
    assert decision.finding == "bot: request id “q1” was used before for something else"


def test_a_retry_after_a_suspension_is_denied() -> None:
    request = ask(request_id="q1")
    view = AgentView(answers=remembered(request, answer(request)), control=row("suspended"))
    assert answer(request, view).rule == Rule.SUSPENDED


def test_a_retry_after_a_stop_and_a_release_is_judged_anew() -> None:
    request = ask(request_id="q1")
    view = AgentView(answers=remembered(request, answer(request)), control=row("active", epoch=9))
    assert (answer(request, view).is_repeated, answer(request, view).epoch) == (False, 9)


def test_what_was_denied_is_judged_as_things_are_now() -> None:
    request = ask(request_id="q1", agent_id="late")
    view = AgentView(answers=remembered(request, answer(request)))
    settings = parse_settings('[agents.late]\nactions = ["record.update"]')
    assert answer(request, view, settings).decision == "allow"


def test_a_request_id_is_forgotten_after_a_day() -> None:
    request = ask(request_id="q1")
    view = AgentView(answers=remembered(request, answer(request), at=NOW - DAY - 1))
    assert answer(ask("record.create", request_id="q1"), view).decision == "allow"


# --- ids and text ------------------------------------------------------------------------------------------------


def test_both_spellings_of_a_salesforce_id_are_one_record() -> None:
    """0015000000Gv7qJ is documented as 0015000000Gv7qJAAR: AAR tells which characters are capitals."""
    assert checksum("0015000000Gv7qJ") == "AAR"
    assert canonical_id("0015000000Gv7qJAAR") == canonical_id(" 0015000000Gv7qJ ") == "0015000000Gv7qJ"
    assert canonical_id("0015000000Gv7qJXXX") == "0015000000Gv7qJXXX"
    assert operation_of(ask(record_ids=["0015000000Gv7qJAAR", "0015000000Gv7qJ"])).records == 1
    assert canonical_contact("A@B.example") == "a@b.example"


@pytest.mark.parametrize("text", ["a\nb", "\u202egnp", "\x1b[31m", "  "])
def test_ids_that_do_not_print_are_denied(text: str) -> None:
    assert answer(ask(record_ids=[text])).rule == Rule.MALFORMED
    assert answer(ask(object=text)).rule == Rule.MALFORMED
    assert answer(ask(recipient_ids=[text])).rule == Rule.MALFORMED


@run(deadline=None, derandomize=True)
@given(
    agent_id=st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable() and text.strip()),
    kind=st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable() and text.strip()),
)
def test_the_printed_lines_always_do_allow_the_operation(agent_id: str, kind: str) -> None:
    request = ask(agent_id=agent_id, object=kind)
    refused = answer(request, settings=Settings())
    assert refused.rule == Rule.UNKNOWN_AGENT
    assert answer(request, settings=parse_settings(refused.stanza)).decision == "allow"


@pytest.mark.parametrize(
    "request_",
    [
        ask("record.delete"),
        ask(object="Opportunity"),
        ask("contract.create", object="Contract"),
        ask(records=35),
        ask("email.send", recipient_ids=["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"]),
        ask(changes={"r0": {"owner_id": ("a", "b")}}),
        ask("crm.sync", recipient_ids=["c1"]),
    ],
)
def test_following_the_printed_lines_until_none_is_left_leads_to_yes(request_: GateRequest) -> None:
    tables: dict[str, Any] = tomllib.loads(CONFIG)
    view = AgentView(known={f"c{n}" for n in range(10)})
    for _ in range(6):
        decision = check(request_, view, parse_settings(None, {}, tables), NOW)
        if decision.decision == "allow":
            return
        for section, table in tomllib.loads(decision.stanza).items():
            for key, value in table.items():
                if isinstance(value, dict):
                    tables[section][key] = {**tables[section][key], **value}
                else:
                    tables[section] = {**tables.get(section, {}), key: value}
    raise AssertionError(decision)


# --- reading requests --------------------------------------------------------------------------------------------


def test_a_request_is_read_from_json() -> None:
    request = decode_request(
        b'{"agent_id":"bot","action":"record.update","object":"Account","record_ids":["r0"],'
        b'"changes":{"r0":{"Industry":["Retail",null]}},"recipient_ids":[],"authorized_by":"user:1",'
        b'"trigger":{"kind":"rule","ref":"flow:x"},"request_id":"q1","first_contact":false}'
    )
    assert (request.key, request.request_id, request.changes) == (
        "default/bot", "q1", {"r0": {"Industry": ("Retail", None)}},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", ""),
        (b"[]", ""),
        (b'{"action":"x"}', "agent_id"),
        (b'{"agent_id":"","action":"x"}', "agent_id"),
        (b'{"agent_id":"b","action":7}', "action"),
        (b'{"agent_id":"b","action":"x","record_ids":"r"}', "record_ids"),
        (b'{"agent_id":"b","action":"x","record_ids":["a",""]}', "record_ids[1]"),
        (b'{"agent_id":"b","action":"x","records":-1}', "records"),
        (b'{"agent_id":"b","action":"x","records":NaN}', "records"),
        (b'{"agent_id":"b","action":"x","trigger":{"ref":"f"}}', "trigger.kind"),
        (b'{"agent_id":"b","action":"x","typo":1}', "typo"),
        (b'{"agent_id":"b","action":"x","agent_id":"c"}', "agent_id"),
        (b'{"agent_id":"b","action":"x","changes":{"r":{"f":[1,{"a":1,"a":2}]}}}', "changes.r.f[1].a"),
        (b'{"agent_id":"\xff","action":"x"}', "agent_id"),
        (b'{"agent_id":"b","action":"x","changes":' + b"[" * 100_000, "changes[0][0][0][0][0][0][0]…"),
        (b'{"agent_id":"b","action":"x","record_ids":[' + b'"r",' * 10_000 + b'"r"]}', "record_ids"),
        (b" " * 2_000_000, ""),
    ],
)
def test_a_bad_request_is_refused_and_the_field_named(raw: bytes, field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_request(raw)
    assert caught.value.field == field
    assert field in str(caught.value)
    assert str(caught.value)


@run(deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_in_no_other_way(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        decode_request(raw)


@run(deadline=None, derandomize=True)
@given(
    st.builds(
        GateRequest,
        agent_id=st.sampled_from(["bot", "x"]),
        action=st.sampled_from(["record.update", "record.read", "email.send", "owner.reassign", "nonsense"]),
        object=st.sampled_from([None, "Account", "Opportunity"]),
        record_ids=st.lists(st.text(min_size=1, max_size=8), max_size=30),
        recipient_ids=st.lists(st.text(min_size=1, max_size=8), max_size=8),
        records=st.integers(0, 300),
        recipients=st.integers(0, 300),
        request_id=st.sampled_from([None, "q1"]),
    ),
    st.sampled_from(["active", "throttled", "held", "suspended", "releasing"]),
    st.sampled_from([None, "suspended", "held"]),
    st.booleans(),
)  # fmt: skip
def test_whatever_is_asked_a_stopped_agent_is_never_let_through(
    request: GateRequest, state: str, all_state: str | None, known: bool
) -> None:
    view = AgentView(
        control=row(state), stop_all=row(all_state, "default/*") if all_state else None, is_control_known=known
    )
    decision = answer(request, view)
    writes = operation_of(request).is_write
    if "suspended" in (state, all_state):
        assert decision.decision == "deny"
    elif writes and (not known or state in ("held", "releasing") or all_state == "held"):
        assert decision.decision != "allow"
    if request.agent_id == "x" or request.action == "nonsense":
        assert decision.decision == "deny"
    assert decision.reason.startswith({"allow": "allowed", "hold": "on hold: ", "deny": "denied: "}[decision.decision])
    assert decision == answer(request, view)


# --- counters ----------------------------------------------------------------------------------------------------


@run(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 400), st.lists(st.integers(0, 20), max_size=6)), max_size=30))
def test_budgets_equal_a_plain_recount_and_survive_a_restart(steps: list[tuple[int, list[int]]]) -> None:
    budgets, history, now = Budgets(), list[tuple[int, str]](), NOW
    for minutes, ids in steps:
        now += minutes * MINUTE
        request = ask(record_ids=[f"r{n}" for n in ids]) if ids else ask("record.create", records=0)
        operation = operation_of(request)
        for window in (10 * MINUTE, DAY):
            seen = {name for at, name in history if at > now - window}
            unnamed = {f"new{len(history)}"} if not ids else set()
            assert budgets.would_be("records", window, operation, now) == len(
                seen | set(operation.record_ids) | unnamed
            )
        budgets.admit(operation, now)
        history += [(now, name) for name in (operation.record_ids or [f"new{len(history)}"])]
        budgets = Budgets.load(budgets.dump(), now)

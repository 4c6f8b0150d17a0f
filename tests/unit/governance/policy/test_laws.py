"""Laws of every policy, whatever a file says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from events.catalogue import kind_of
from governance.consent import CONSENTS
from governance.policy import Ask, Facts, Policy, rule_on
from governance.policy.question import Case
from governance.policy.rules import MOST_KEPT, is_free, question_of, steps_of
from governance.policy.shape import ActionEntry, BudgetTable, Delegation, PolicyFile, Radii, Scope, Volumes
from governance.policy.worst import MODES, RADII, VERDICTS
from tests.unit.governance.policy.policies import WINDOWS, Dice, policy_of

quick = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**48).map(Dice)
ASKS = 10
"""Questions to each policy."""


def severity(policy: Policy, ask: Ask, facts: Facts) -> int:
    return VERDICTS.index(rule_on(policy, ask, facts).verdict)


@quick
@given(seeds)
def test_an_empty_policy_allows_nothing(dice: Dice) -> None:
    assert rule_on(policy_of(PolicyFile(format=1)), *dice.question()).verdict == "human_only"


@quick
@given(seeds)
def test_what_is_not_named_is_denied(dice: Dice) -> None:
    file = dice.file()
    policy = policy_of(file)
    for ask, facts in (dice.question() for _ in range(ASKS)):
        is_named = ask.agent_id in file.agents and ask.action in file.actions and ask.action in file.roles["r"].actions
        assert is_named or rule_on(policy, ask, facts).verdict == "human_only"


@quick
@given(seeds)
def test_the_verdict_is_the_strictest_of_the_steps_and_the_first_of_those_decides(dice: Dice) -> None:
    policy = policy_of(dice.file())
    for ask, facts in (dice.question() for _ in range(ASKS)):
        ruling = rule_on(policy, ask, facts)
        assert VERDICTS.index(ruling.verdict) == max(VERDICTS.index(step.verdict) for step in ruling.steps)
        first = next(step for step in ruling.steps if step.verdict == ruling.verdict)
        if ruling.verdict != "autonomous":
            assert (ruling.rule, ruling.path, ruling.why) == (first.rule, first.path, first.why)
        assert all(step.why and step.path for step in ruling.steps)


GRANTED = ("record.update", "record.create", "email.send", "contract.create", "call.record", "discount.approve",
           "owner.reassign", "tool.call", "crm.sync")  # fmt: skip


def generous(file: PolicyFile) -> PolicyFile:
    """Everything that a file can open is open."""
    volumes = Volumes(one="autonomous", few="autonomous", many="autonomous")
    radii = Radii(record=volumes, downstream=volumes, external=volumes)
    most = BudgetTable(**dict.fromkeys(BudgetTable.__struct_fields__, 10_000_000))
    entry = ActionEntry(
        reversibility="reversible", blast_radius="record", few=50, at_most=200, at_most_recipients=200, own=True
    )
    return replace(
        file,
        mode="active",
        max_level=4,
        delegation=Delegation(reversible=radii, irreversible=radii),
        actions=dict.fromkeys(GRANTED, entry),
        scopes={"s": Scope(objects=["*"], fields=["*"]), "t": Scope(objects=["*"], fields=["*"])},
        budgets={"b": most, "small": most},
        rights={},
        ceiling=None,
        roles={"r": replace(file.roles["r"], actions=list(GRANTED), level=4)},
        agents={"bot": replace(file.agents["bot"], level=4, mode="active", actions=None, scope=None)},
    )


HARMLESS = Facts(
    first_contact=False, authorizer="active", acts_for=("p",), consent="granted",
    **{f"{name}_{window}": 1 for name in ("records", "contacts", "reads") for window in ("10_min", "day")},
)  # fmt: skip
EXCLUDED: dict[str, tuple[Ask, Facts]] = {
    "first_contact": (Ask(agent_id="bot", action="email.send", recipients=1), replace(HARMLESS, first_contact=True)),
    "first_contact, unknown": (
        Ask(agent_id="bot", action="email.send", recipients=1), replace(HARMLESS, first_contact=None),
    ),
    "contract_creation": (Ask(agent_id="bot", action="contract.create"), HARMLESS),
    "contract_creation, as a record": (
        Ask(agent_id="bot", action="record.create", object="Contract__c", fields=("Name",)), HARMLESS,
    ),
    "contract_creation, of nobody knows what": (
        Ask(agent_id="bot", action="record.create", object="", fields=("Name",)), HARMLESS,
    ),
    "call_recording": (Ask(agent_id="bot", action="call.record"), HARMLESS),
    "bulk_modification": (Ask(agent_id="bot", action="record.update", fields=("Industry",), records=51), HARMLESS),
    "bulk_modification, one by one": (
        Ask(agent_id="bot", action="record.update", fields=("Industry",)), replace(HARMLESS, records_10_min=201),
    ),
    "bulk_modification, unknown": (
        Ask(agent_id="bot", action="record.update", fields=("Industry",)), replace(HARMLESS, records_10_min=None),
    ),
    "bulk_deal_values": (Ask(agent_id="bot", action="record.update", fields=("Amount",), records=6), HARMLESS),
    "bulk_deal_values, one by one": (
        Ask(agent_id="bot", action="record.update", fields=("amount",)), replace(HARMLESS, records_10_min=6),
    ),
    "price_approval": (Ask(agent_id="bot", action="discount.approve"), HARMLESS),
    "price_approval, a field": (Ask(agent_id="bot", action="record.update", fields=("Discount__c",)), HARMLESS),
    "price_approval, fields unknown": (Ask(agent_id="bot", action="record.update"), HARMLESS),
    "owner_reassignment": (Ask(agent_id="bot", action="owner.reassign"), HARMLESS),
    "owner_reassignment, a field": (Ask(agent_id="bot", action="record.update", fields=("ownerid",)), HARMLESS),
    "owner_reassignment, implied": (
        Ask(agent_id="bot", action="record.update", fields=("X",), implied=("owner.reassign",)), HARMLESS,
    ),
    "no_consent": (Ask(agent_id="bot", action="email.send", recipients=1), replace(HARMLESS, consent="unknown")),
    "no_consent, refused": (
        Ask(agent_id="bot", action="email.send", recipients=1), replace(HARMLESS, consent="refused"),
    ),
    "many_recipients": (Ask(agent_id="bot", action="email.send", recipients=51), HARMLESS),
    "many_recipients, one by one": (
        Ask(agent_id="bot", action="email.send", recipients=1), replace(HARMLESS, contacts_10_min=51),
    ),
}  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(seeds)
def test_no_policy_makes_autonomous_what_is_excluded(dice: Dice) -> None:
    policy = policy_of(generous(dice.file()))
    for name, (ask, facts) in EXCLUDED.items():
        ruling = rule_on(
            policy,
            replace(ask, object=ask.object if ask.object is not None else "Opportunity", trigger="prompt"),
            facts,
        )
        assert ruling.verdict != "autonomous", name
        assert name.partition(",")[0] in {step.rule for step in ruling.steps}


@quick
@given(seeds)
def test_what_cannot_be_undone_is_never_autonomous(dice: Dice) -> None:
    policy = policy_of(generous(dice.file()))
    for ask, facts in (dice.question() for _ in range(ASKS)):
        kind = kind_of(ask.action)
        is_final = kind.is_write and not (kind.is_reversible and kind.is_known)
        assert not is_final or rule_on(policy, ask, facts).verdict != "autonomous"


@quick
@given(seeds)
def test_more_volume_never_allows_more(dice: Dice) -> None:
    policy = policy_of(dice.file(dice.sound_delegation()))
    for ask, facts in (dice.question() for _ in range(ASKS)):
        counts = {name: getattr(facts, name) for name in WINDOWS}
        more = {name: None if count is None else count + dice.much() for name, count in counts.items()}
        larger = replace(ask, records=ask.records + dice.much(), recipients=ask.recipients + dice.much())
        assert severity(policy, larger, replace(facts, **more)) >= severity(policy, ask, facts)


@quick
@given(seeds)
def test_reaching_further_or_being_final_never_allows_more(dice: Dice) -> None:
    file, radius = dice.file(dice.sound_delegation()), dice.choice(RADII)
    worse = {
        name: replace(
            entry, blast_radius=max(entry.blast_radius, radius, key=RADII.index), reversibility="irreversible"
        )
        for name, entry in file.actions.items()
    }
    before, after = policy_of(file), policy_of(replace(file, actions=worse))
    for ask, facts in (dice.question() for _ in range(ASKS)):
        assert severity(after, ask, facts) >= severity(before, ask, facts)


@quick
@given(seeds)
def test_knowing_less_never_allows_more(dice: Dice) -> None:
    policy = policy_of(dice.file(dice.sound_delegation()))
    for ask, facts in (dice.question() for _ in range(ASKS)):
        known = severity(policy, ask, facts)
        for name in (*WINDOWS, "first_contact"):
            assert severity(policy, ask, replace(facts, **{name: None})) >= known
        for name in ("fields", "object", "trigger", "system"):
            assert severity(policy, replace(ask, **{name: None}), facts) >= known
        assert severity(policy, ask, replace(facts, authorizer="unknown")) >= known
        assert severity(policy, ask, replace(facts, acts_for=())) >= known
        for worse in CONSENTS[CONSENTS.index(facts.consent) :]:
            assert severity(policy, ask, replace(facts, consent=worse)) >= known


@quick
@given(seeds)
def test_what_an_agents_table_adds_only_narrows_its_role(dice: Dice) -> None:
    file, narrower = dice.file(dice.sound_delegation()), dice.agent()
    whole = replace(narrower, level=4, actions=None, scope=None, budget="", triggers=None, mode="active")
    before = policy_of(replace(file, agents={"bot": whole}))
    after = policy_of(replace(file, agents={"bot": narrower}))
    for ask, facts in (dice.question() for _ in range(ASKS)):
        assert severity(after, ask, facts) >= severity(before, ask, facts)


@quick
@given(seeds)
def test_a_sub_agent_may_at_most_what_its_parent_may(dice: Dice) -> None:
    policy = policy_of(dice.file(dice.sound_delegation()))
    for ask, facts in (dice.question() for _ in range(ASKS)):
        sub, parent = replace(ask, agent_id="sub"), replace(ask, agent_id="bot")
        assert severity(policy, sub, facts) >= severity(policy, parent, facts)


@quick
@given(seeds)
def test_rights_of_people_only_narrow_and_more_of_them_never_allow_less(dice: Dice) -> None:
    file = dice.file(dice.sound_delegation())
    none, one = replace(file, rights={}), replace(file, rights={"one": dice.rights()})
    policies = [policy_of(each) for each in (none, one, replace(file, rights={**one.rights, "two": dice.rights()}))]
    for ask, facts in (dice.question() for _ in range(ASKS)):
        free, narrow, wider = (severity(policy, ask, facts) for policy in policies)
        assert narrow >= wider >= free


@quick
@given(seeds)
def test_a_stricter_mode_or_a_lower_level_for_all_only_narrows(dice: Dice) -> None:
    file = dice.file()
    stricter, level = max(file.mode, dice.choice(MODES), key=MODES.index), min(file.max_level, dice.randint(1, 4))
    before, after = policy_of(file), policy_of(replace(file, mode=stricter, max_level=level))
    for ask, facts in (dice.question() for _ in range(ASKS)):
        assert severity(after, ask, facts) >= severity(before, ask, facts)


@quick
@given(seeds)
def test_the_short_way_says_what_all_steps_say(dice: Dice) -> None:
    policy = policy_of(dice.choice((generous, lambda file: file))(dice.file(dice.sound_delegation())))
    for ask, facts in (dice.question() for _ in range(ASKS)):
        grant = policy.agents.get(ask.agent_id)
        if grant is None:
            continue
        for records in (ask.records, 1, 60):  # the question is kept, its numbers are not
            asked = replace(ask, records=records)
            case = Case(question_of(policy, grant, asked, facts), asked, facts)
            strictest = max(VERDICTS.index(step.verdict) for step in steps_of(case))
            assert is_free(case) == (strictest == 0)
            assert severity(policy, asked, facts) == strictest
            full, brief = rule_on(policy, asked, facts), rule_on(policy, asked, facts, is_brief=True)
            assert replace(full, steps=()) == replace(brief, steps=())


def test_what_is_kept_of_questions_is_bounded() -> None:
    policy = policy_of(generous(Dice(1).file()))
    for number in range(MOST_KEPT + 10):
        rule_on(policy, Ask(agent_id="bot", action="record.update", fields=(f"f{number}",)), HARMLESS)
    assert 0 < len(policy.memo) <= MOST_KEPT
    policy.memo.clear()
    rule_on(policy, Ask(agent_id="bot", action="record.update", fields=("x" * 10_000,)), HARMLESS)
    rule_on(policy, Ask(agent_id="nobody", action="record.update"), HARMLESS)
    assert policy.memo == {}

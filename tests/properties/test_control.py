"""Laws of the control authority over any interleaving of trips, releases, expiries, zombies and stop-all."""

from __future__ import annotations

from typing import Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from events.types import By
from governance.control import (
    STALE_MS,
    STATE_RANK,
    ControlRequest,
    ControlRow,
    Decision,
    Trips,
    confirm_release,
    decide,
    effective,
    expire,
    is_watched,
    newest,
)

Wanted = Literal["active", "throttled", "held", "suspended"]
KEYS = {"agent": "default/bot", "all": "default/*"}
PEOPLE = ("maya", "jo", "owner")
MINUTE = 60_000
tightening = st.sampled_from(["throttled", "held", "suspended"])
whose = st.sampled_from(["agent", "agent", "all"])


class Authority(RuleBasedStateMachine):
    """One agent's row and stop-all's row; the model keeps what the laws need, worked out on its own."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 10 * STALE_MS
        self.rows: dict[str, ControlRow | None] = {"agent": None, "all": None}
        self.gate: dict[str, ControlRow | None] = {"agent": None, "all": None}
        self.sent: list[tuple[str, ControlRow]] = []
        self.released_at = {"agent": 0, "all": 0}
        self.releases_begun: list[int] = []

    def epoch(self, name: str) -> int:
        row = self.rows[name]
        return row.epoch if row is not None else 0

    def state(self, name: str) -> str:
        row = self.rows[name]
        return row.state if row is not None else "active"

    def ask(self, name: str, by: By, wanted: Wanted, basis: int, **more: object) -> Decision:
        request = ControlRequest(
            key=KEYS[name], agent_id="bot", wanted=wanted, basis_epoch=basis, by=by,
            reason=str(more.get("reason", "because")), at_ms=int(more.get("at", self.now)),  # type: ignore[call-overload]
            second=more.get("second"),  # type: ignore[arg-type]
        )  # fmt: skip
        return self.accept(name, decide(self.rows[name], request, self.now, owner="owner"))

    def accept(self, name: str, decision: Decision) -> Decision:
        """The laws of one step, whatever it was."""
        before_epoch, before_state = self.epoch(name), self.state(name)
        assert decision.changed != decision.recorded_only
        if decision.changed:
            assert decision.row.epoch > before_epoch
            self.sent.append((name, decision.row))
        else:
            assert (decision.row.epoch, decision.row.state) == (before_epoch, before_state)
            assert self.rows[name] is None or decision.row == self.rows[name]
        self.rows[name] = decision.row
        return decision

    @initialize()
    def start(self) -> None:
        self.now += 1

    @rule(minutes=st.integers(1, 90))
    def time_passes(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @rule(wanted=tightening, behind=st.integers(0, 6))
    def detector_trips(self, wanted: Wanted, behind: int) -> None:
        basis = max(0, self.epoch("agent") - behind)
        before = self.state("agent")
        decision = self.ask("agent", By("detector", "rate"), wanted, basis)
        if basis < self.released_at["agent"]:
            assert not decision.changed
        elif wanted in ("held", "suspended"):
            assert decision.row.state != "releasing"
            assert STATE_RANK[decision.row.state] >= STATE_RANK[wanted]
        else:
            assert STATE_RANK[decision.row.state] >= max(1, STATE_RANK[before])

    @rule(wanted=tightening, hours_late=st.integers(25, 10_000))
    def history_is_read_again(self, wanted: Wanted, hours_late: int) -> None:
        at = self.now - hours_late * 60 * MINUTE
        assert not self.ask("agent", By("detector", "rate"), wanted, self.epoch("agent"), at=at).changed

    @rule(name=whose, wanted=tightening, person=st.sampled_from(PEOPLE), basis=st.integers(0, 9))
    def person_tightens(self, name: str, wanted: Wanted, person: str, basis: int) -> None:
        decision = self.ask(name, By("human", person), wanted, basis, reason="")
        assert STATE_RANK[decision.row.state] >= STATE_RANK[wanted]

    @rule(wanted=tightening)
    def detector_wants_to_stop_all(self, wanted: Wanted) -> None:
        assert not self.ask("all", By("detector", "rate"), wanted, self.epoch("all")).changed

    @precondition(lambda self: self.state("agent") == "releasing")
    @rule(wanted=st.sampled_from(["held", "suspended"]), behind=st.integers(0, 1))
    def an_earlier_trip_overtakes_a_release(self, wanted: Wanted, behind: int) -> None:
        basis = self.epoch("agent") - behind
        decision = self.ask("agent", By("detector", "rate"), wanted, basis)
        assert (decision.row.state, decision.changed) == (wanted, True)

    @rule(name=whose)
    def release(self, name: str) -> None:
        """As it should be: a person who is not the owner, a reason, the current epoch, for all with a second person."""
        before = self.state(name)
        decision = self.ask(name, By("human", "maya"), "active", self.epoch(name), second=By("human", "jo"))
        assert decision.changed == (before in ("throttled", "held", "suspended"))
        if decision.changed and name == "agent":
            assert decision.row.state == "releasing"
            self.releases_begun.append(decision.row.epoch)
        elif decision.changed:
            assert decision.row.state == "active"
            self.released_at["all"] = decision.row.epoch

    @rule(name=whose, mistake=st.sampled_from(["detector", "drill", "older", "newer", "no reason", "owner", "alone"]))
    def release_with_one_mistake(self, name: str, mistake: str) -> None:
        if mistake == "alone" and name == "agent":
            return
        kind = mistake if mistake in ("detector", "drill") else "human"
        decision = self.ask(
            name,
            By(kind, "owner" if mistake == "owner" else "maya"),  # type: ignore[arg-type]
            "active",
            self.epoch(name) + {"older": -1, "newer": 1}.get(mistake, 0),
            reason="" if mistake == "no reason" else "safe now",
            second=By("human", "maya" if mistake == "alone" else "jo"),
        )
        assert not decision.changed

    @precondition(lambda self: self.state("agent") == "releasing")
    @rule()
    def engine_confirms_the_release(self) -> None:
        row = self.rows["agent"]
        assert row is not None
        decision = self.accept("agent", confirm_release(row, row.epoch, self.now))
        assert decision.row.state == "active"
        self.released_at["agent"] = row.epoch

    @precondition(lambda self: self.state("agent") == "releasing")
    @rule(minutes=st.integers(1, 60))
    def engine_confirms_a_release_that_is_watched(self, minutes: int) -> None:
        row = self.rows["agent"]
        assert row is not None
        decision = self.accept("agent", confirm_release(row, row.epoch, self.now, watch_ms=minutes * MINUTE))
        assert (decision.row.state, decision.row.expires_ms) == ("throttled", self.now + minutes * MINUTE)
        assert is_watched(decision.row, self.now)
        self.released_at["agent"] = row.epoch

    @precondition(lambda self: self.rows["agent"] is not None and is_watched(self.rows["agent"], self.now))
    @rule(wanted=tightening)
    def what_is_seen_under_watch_counts_double(self, wanted: Wanted) -> None:
        decision = self.ask("agent", By("detector", "rate"), wanted, self.epoch("agent"))
        assert decision.row.state == {"throttled": "held", "held": "suspended", "suspended": "suspended"}[wanted]
        assert not is_watched(decision.row, self.now)

    @rule(count=st.integers(2, 40), minutes=st.integers(0, 2_000))
    def a_release_too_soon_after_trips_changes_nothing(self, count: int, minutes: int) -> None:
        before, last_ms = self.state("agent"), self.now - minutes * MINUTE
        request = ControlRequest(
            key=KEYS["agent"], agent_id="bot", wanted="active", basis_epoch=self.epoch("agent"),
            by=By("human", "maya"), reason="safe now", at_ms=self.now,
        )  # fmt: skip
        decision = decide(self.rows["agent"], request, self.now, owner="owner", trips=Trips(count, last_ms))
        longest = min(1440, 10 * 3 ** (count - 2))
        if before in ("held", "suspended"):
            assert decision.changed == (minutes >= longest)
        if not decision.changed:
            self.accept("agent", decision)

    @precondition(lambda self: self.releases_begun)
    @rule()
    def zombie_confirms_every_release_that_a_trip_has_overtaken(self) -> None:
        row = self.rows["agent"]
        for epoch in self.releases_begun:
            if row is not None and epoch != row.epoch:
                assert not self.accept("agent", confirm_release(row, epoch, self.now)).changed

    @rule(name=whose)
    def throttle_expires(self, name: str) -> None:
        if (row := self.rows[name]) is None:
            return
        due = row.state == "throttled" and row.expires_ms is not None and row.expires_ms <= self.now
        decision = self.accept(name, expire(row, self.now))
        assert decision.changed == due
        assert (decision.row.state == "active") == (due or row.state == "active")

    @rule(name=whose, row=st.data())
    def gate_hears_something_out_of_order(self, name: str, row: st.DataObject) -> None:
        mine = [sent for owner, sent in self.sent if owner == name]
        if mine:
            heard = row.draw(st.sampled_from(mine))
            known = self.gate[name]
            self.gate[name] = newest(known, heard)
            assert self.gate[name] == max((r for r in (known, heard) if r is not None), key=lambda r: r.epoch)

    @invariant()
    def a_gate_that_heard_the_last_message_knows_the_store(self) -> None:
        for name, row in self.rows.items():
            known = self.gate[name]
            if row is not None and known is not None:
                assert known.epoch <= row.epoch
                assert (known == row) == (known.epoch == row.epoch)

    @invariant()
    def the_tighter_row_decides(self) -> None:
        row = effective(self.rows["agent"], self.rows["all"])
        wanted = max(STATE_RANK[self.state("agent")], STATE_RANK[self.state("all")])
        assert (STATE_RANK[row.state] if row is not None else 0) == wanted

    @invariant()
    def only_a_throttle_has_an_end(self) -> None:
        for row in self.rows.values():
            if row is not None:
                assert (row.expires_ms is not None) == (row.state == "throttled")

    @invariant()
    def the_last_release_is_the_one_that_the_model_saw(self) -> None:
        for name, row in self.rows.items():
            if row is not None:
                assert row.last_release_epoch == self.released_at[name]


TestAuthority = Authority.TestCase
TestAuthority.settings = settings(
    max_examples=250,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

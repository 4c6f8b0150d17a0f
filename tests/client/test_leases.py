"""Leases in the client: what is admitted without asking, and what ends that; against clocks, and a real server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from argon2 import PasswordHasher

from console.app import PEOPLE_FILE, create_app, wall_ms
from console.auth import AuthStore
from console.drill.rogue import Rogue
from console.server import Server, listen
from governance.drills import DrillResult, exceeds, spread
from governance.settings import parse_settings
from storage.people import open_people
from storage.read import Reader
from streams.standalone.runtime import Runtime
from tripline_client import AsyncTripline, Denied, LeaseOver, Tripline
from tripline_client.leases import Held, Hold, Moment, Scope
from tripline_client.messages import Operation, operation

TOML = """
[leases]
report_ms = 20
[agents.dealbot]
actions = ["record.*"]
lease_actions = 5
lease_records = 5
[agents.drill-1]
actions = ["record.update"]
records_per_10_min = 10000
records_per_day = 10000
lease_actions = 5
lease_records = 5
"""
SCOPE = Scope(
    actions=frozenset({"record.update"}), object="Lead", fields=frozenset({"Industry"}), action_credits=5,
    record_credits=5, details={"authorized_by": "user:1"},
)  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.boot, self.wall = 100.0, 5_000.0

    def __call__(self) -> Moment:
        return Moment(self.boot, self.wall)


def granted(clock: Clock, **more: Any) -> tuple[Hold, Held]:
    """A hold that was just granted five seconds and five credits."""
    hold = Hold("dealbot", SCOPE, clock)
    asked = hold.next()
    assert asked is not None
    said = {"lease_id": "l1", "over": "", "epoch": 3, "action_limit": 5, "record_limit": 5, "ttl_ms": 5_000, **more}
    hold.answered(asked, 200, json.dumps(said).encode())
    assert hold.current is not None
    return hold, hold.current


def an_update(record: str = "r1", **more: Any) -> Operation:
    details = {"object": "Lead", "changes": {record: {"Industry": [None, "x"]}}, "authorized_by": "user:1", **more}
    return operation("dealbot", "record.update", {}, details)


@pytest.mark.parametrize(("boot", "wall"), [(4.96, 0.0), (0.0, 4.96), (60.0, 60.0)])
def test_its_time_ends_by_the_clock_that_goes_on_in_sleep_and_by_the_wall(boot: float, wall: float):
    clock = Clock()
    hold, held = granted(clock)
    assert hold.admit(an_update()) is not None
    clock.boot, clock.wall = clock.boot + boot, clock.wall + wall
    assert hold.admit(an_update()) is None
    clock.boot, clock.wall = 100.0, 5_000.0
    assert hold.admit(an_update()) is None, "what is over stays over"
    assert held.over == "its time is over"


def test_time_runs_from_when_the_gate_was_asked():
    clock = Clock()
    hold = Hold("dealbot", SCOPE, clock)
    asked = hold.next()
    assert asked is not None
    clock.boot, clock.wall = clock.boot + 4.96, clock.wall + 4.96
    said = b'{"lease_id": "l1", "over": "", "epoch": 3, "action_limit": 5, "record_limit": 5, "ttl_ms": 5000}'
    hold.answered(asked, 200, said)
    assert hold.admit(an_update()) is None


def test_no_more_than_its_credits_and_a_newer_epoch_ends_it():
    hold, _ = granted(Clock())
    admitted = [hold.admit(an_update(f"r{number}")) for number in range(7)]
    assert [each is not None for each in admitted] == [True] * 5 + [False] * 2
    assert [each[1].decision_id for each in admitted if each] == [f"l1.{number}" for number in range(1, 6)]
    fresh, _ = granted(Clock())
    fresh.heard(3)
    assert fresh.admit(an_update()) is not None
    fresh.heard(4)
    assert fresh.admit(an_update()) is None


@pytest.mark.parametrize(
    "asked",
    [
        an_update(object="Account"),
        an_update(authorized_by="user:2"),
        an_update(trigger={"kind": "rule"}),
        an_update(recipient_ids=["x"]),
        an_update(external=True),
        an_update(record_ids=["r2"]),
        an_update(changes={"r1": {"OwnerId": [None, "x"]}}),
        an_update(changes={"r1": {}}),
        an_update(changes={}, record_ids=["r1"]),
        an_update(records=2),
        operation("dealbot", "record.delete", {}, {"object": "Lead", "record_ids": ["r1"], "authorized_by": "user:1"}),
    ],
)
def test_what_is_not_in_its_scope_is_asked_for(asked: Operation):
    hold, held = granted(Clock())
    assert hold.admit(asked) is None
    assert held.used == 0


def test_what_was_done_is_told_again_until_the_gate_has_it_and_then_the_lease_goes_back():
    hold, held = granted(Clock())
    admitted = hold.admit(an_update())
    assert admitted is not None
    held.tell(an_update().report("ok", None, admitted[1], {}))
    first = hold.next()
    assert first is not None
    hold.failed(first)
    again = hold.next()
    assert again is not None
    assert (again.body, again.kind) == (first.body, "renew")
    assert (again.body["used"], len(again.body["debits"]), len(again.body["outcomes"])) == (1, 1, 1)
    hold.answered(again, 503, b"{}")
    hold.close()
    last = hold.next()
    assert last is not None
    assert (last.kind, last.body["used"], len(last.body["debits"])) == ("return", 1, 1)
    hold.answered(last, 200, b'{"lease_id": "l1", "over": "it was given back", "epoch": 3}')
    assert hold.next() is None
    assert hold.admit(an_update()) is None


def test_what_the_gate_says_is_over_is_over_and_the_next_lease_is_asked_for():
    hold, held = granted(Clock())
    beat = hold.next()
    assert beat is not None
    hold.answered(beat, 200, b'{"lease_id": "l1", "over": "it is suspended", "epoch": 4}')
    assert hold.admit(an_update()) is None
    back = hold.next()
    assert back is not None
    assert (back.kind, back.lease) == ("return", held)
    hold.answered(back, 200, b'{"lease_id": "l1", "over": "it was given back", "epoch": 4}')
    assert hold.problem == "it is suspended"
    fresh = hold.next()
    assert fresh is not None
    assert (fresh.kind, fresh.path) == ("grant", "/v1/leases")
    hold.answered(fresh, 200, b'{"lease_id": "", "over": "", "epoch": 4, "refused": "suspended", "reason": "no"}')
    assert (hold.next(), hold.problem) == (None, "no")


def test_a_newer_epoch_heard_with_an_older_lease_ends_the_present_one():
    hold, held = granted(Clock())
    admitted = hold.admit(an_update())
    assert admitted is not None
    held.end_now("it is over")
    back = hold.next()
    assert back is not None
    hold.answered(back, 200, b'{"lease_id": "l1", "over": "it was given back", "epoch": 3}')
    fresh = hold.next()
    assert fresh is not None
    hold.answered(
        fresh,
        200,
        b'{"lease_id": "l2", "over": "", "epoch": 3, "action_limit": 5, "record_limit": 5, "ttl_ms": 5000}',
    )
    assert hold.admit(an_update("r2")) is not None
    held.tell(an_update().report("ok", None, admitted[1], {}))
    late = hold.next()
    assert late is not None
    assert (late.kind, late.lease) == ("report", held)
    hold.answered(late, 200, b'{"lease_id": "l1", "over": "it was given back", "epoch": 4}')
    assert hold.admit(an_update("r3")) is None


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Runtime]]:
    folder = tmp_path_factory.mktemp("leased")
    settings = parse_settings(TOML, {}, {"server.data_dir": str(folder), "server.port": 0})
    auth = AuthStore(open_people(Path(folder) / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
    auth.add_user("drill", "operator", "a long password")
    with Runtime(settings) as runtime:
        reader = Reader.open(runtime.store.path)
        server = Server(create_app(runtime, settings, reader, auth), listen("127.0.0.1", 0))
        try:
            yield server.start(), runtime
        finally:
            server.stop()
            reader.close()


def until(is_so: Any) -> Any:
    end = time.monotonic() + 20
    while not (found := is_so()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def update(gate: Tripline, number: int) -> str:
    with gate.act("record.update", object="Lead", changes={f"r{number}": {"Industry": [None, "x"]}}) as act:
        act.confirm()
    return act.decision.rule


def test_a_lease_is_renewed_as_it_is_reported_and_every_operation_is_an_admission(served: tuple[str, Runtime]):
    url, runtime = served
    with Tripline(url, agent_id="dealbot") as gate:
        with gate.lease("record.update", object="Lead", fields=["Industry"], action_credits=5) as lease:
            assert lease.is_held
            rules = [update(gate, number) for number in range(8)]
            assert rules[:5] == ["lease"] * 5, "then the gate is asked until credits are back"
            until(lambda: update(gate, 9) == "lease")
        answer = httpx.get(f"{url}/v1/leases").json()
        assert (answer["leases"][0]["state"], answer["bound_actions"]) == ("returned", 0)
        assert update(gate, 10) == "allowed"
    link = runtime.store.connect()
    until(lambda: link.execute("SELECT count(*) FROM gate_unfiled").fetchone()[0] == 0)
    seqs = [row[0] for row in link.execute("SELECT seq FROM gate_decision WHERE decision = 'allow' ORDER BY seq")]
    assert seqs == list(range(1, len(seqs) + 1))
    assert link.execute("SELECT count(*) FROM lease_debit").fetchone()[0] == 0
    assert answer["leases"][0]["actions"] == answer["leases"][0]["settled_actions"] > 5
    link.close()


def test_a_stop_ends_the_lease_and_what_sleeps_across_it_does_not_write(served: tuple[str, Runtime]):
    url, runtime = served

    async def story() -> None:
        async with AsyncTripline(url, agent_id="dealbot") as gate:
            more = {"object": "Lead", "record_ids": ["r1"]}
            async with gate.lease("record.update", object="Lead") as lease:
                async with gate.act("record.update", **more) as act:
                    assert act.decision.rule == "lease"
                    stopped = runtime.suspend("dealbot", "maya", "a test").result(10)
                    while lease.is_held:
                        await asyncio.sleep(0.01)
                    with pytest.raises(LeaseOver, match="state has changed"):
                        act.confirm()
                with pytest.raises(Denied, match="suspended"):
                    async with gate.act("record.update", **more):
                        pytest.fail("it was done")
                assert "suspended" in lease.problem
        runtime.release("dealbot", stopped.row.epoch, "jo", "over").result(10)

    asyncio.run(story())


def test_the_gate_says_what_is_wrong_with_a_report(served: tuple[str, Runtime]):
    url, _ = served
    asked = {"agent_id": "dealbot", "actions": ["record.update"], "request_id": "r1", "object": "Lead"}
    lease = httpx.post(f"{url}/v1/leases", json=asked).json()
    assert httpx.post(f"{url}/v1/leases", json=asked).json()["lease_id"] == lease["lease_id"]
    path = f"{url}/v1/leases/{lease['lease_id']}/report"
    gap = httpx.post(path, json={"agent_id": "dealbot", "used": 2})
    assert (gap.status_code, gap.json()["error"], gap.json()["actions"]) == (409, "gap", 0)
    assert httpx.post(path, json={"agent_id": "other", "used": 0}).status_code == 404
    bad = httpx.post(path, json={"agent_id": "dealbot", "used": 0, "outcomes": [{"specversion": "1.0"}]})
    assert (bad.status_code, bad.json()["field"].partition(".")[0]) == (400, "outcomes[0]")
    wrong = {"agent_id": "dealbot", "action": "record.delete", "object": "Lead", "record_ids": ["r1"]}
    told = httpx.post(path, json={"agent_id": "dealbot", "used": 1, "debits": [{"n": 1, "operation": wrong}]}).json()
    assert "not in it" in told["over"]
    findings = httpx.get(f"{url}/v1/findings", params={"agent": "dealbot"}).json()["rows"]
    assert "a lease: an operation was admitted under it that is not in it" in json.dumps(findings[0])


def test_a_drill_stops_its_agent_and_keeps_the_bound(served: tuple[str, Runtime]):
    url, runtime = served
    with httpx.Client(base_url=url, auth=("drill", "a long password"), timeout=10) as person:
        rogue = Rogue(url, person, "drill-1", gates=2, credits_=5, rate=60, has_partition=True, seed=3, cut_secs=0.5)
        trip = rogue.run("kill_switch")
        cut = rogue._cut
        assert cut is not None
        assert cut.refused_ms, "the gate that was cut off was refused when the network was back"
        assert not cut.proxy.is_cut
        assert runtime.status().control_counts["suspended"] == 1
        assert 0 <= trip.admitted_after <= trip.bound <= 10 + trip.in_flight
        assert not exceeds(trip)
        none = spread([])
        result = DrillResult(
            id="d1", at="2026-11-23T10:00:00Z", by="somebody", scenario="kill_switch", trips=1, gates=2,
            has_partition=True, rate_per_sec=60, credits=5, ttl_ms=5_000, report_ms=20, exceeded=0, failed=0,
            admitted_after=spread([trip.admitted_after]), bound=spread([trip.bound]), detect_ms=none, contain_ms=none,
            verify_ms=none,
        )  # fmt: skip
        assert httpx.post(f"{url}/v1/drills", json=msgspec.to_builtins(result)).status_code == 401
        assert person.post("/v1/drills", json=msgspec.to_builtins(result)).json() == {"id": "d1", "by": "drill"}
        (kept,) = person.get("/v1/drills").json()["drills"]
        assert (kept["by"], kept["bound"]["max"]) == ("drill", trip.bound)
        assert "Last drill" in person.get("/").text
        told = person.get("/metrics").text
        assert f'tripline_drill_admitted_after_trip{{figure="max"}} {float(trip.admitted_after)}' in told
        assert "tripline_lease_actions_outstanding" in told


def test_a_token_speaks_for_its_agent_alone_and_only_people_let_a_blind_agent_go_on(served: tuple[str, Runtime]):
    url, runtime = served
    auth = AuthStore(open_people(runtime.store.folder / PEOPLE_FILE), wall_ms, PasswordHasher(1, 8, 1))
    mine = {"authorization": f"Bearer {auth.create_token('t', ['gate'], agent_id='dealbot')[0]}"}
    read_only = {"authorization": f"Bearer {auth.create_token('r', ['read'])[0]}"}
    asked = {"agent_id": "drill-1", "actions": ["record.update"], "request_id": "t1"}
    refused = httpx.post(f"{url}/v1/leases", json=asked, headers=mine)
    assert (refused.status_code, refused.json()["error"]) == (403, "not_yours")
    told = httpx.post(f"{url}/v1/leases/x/report", json={"agent_id": "drill-1", "used": 0}, headers=mine)
    assert told.status_code == 403
    refused = httpx.post(f"{url}/v1/leases", json=asked, headers=read_only)
    assert refused.json()["error"] == "missing_scope"
    path, body = f"{url}/v1/agents/dealbot/lease-override", {"reason": "looked in the CRM", "minutes": 5}
    assert httpx.post(path, json=body, headers=mine).json()["error"] == "only_a_person"
    assert httpx.post(path, json=body).status_code == 401
    person = ("drill", "a long password")
    assert httpx.post(path, json={**body, "minutes": 0}, auth=person).status_code == 400
    assert httpx.post(path, json={**body, "reason": "  "}, auth=person).status_code == 400
    assert httpx.post(path.replace("dealbot", "nobody"), json=body, auth=person).status_code == 404
    assert httpx.post(path, json=body, auth=person).json()["by"] == "drill"

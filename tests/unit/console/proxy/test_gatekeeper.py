"""What the gate's answers mean for who stands before it; and ids for records that are not there yet."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from console.errors import Refused
from console.proxy.asked import Asked, Done
from console.proxy.gatekeeper import Gatekeeper
from console.proxy.question import Drafts
from tripline_client import AsyncTripline

READ = Asked(action="record.read", object="Lead", record_ids=("1",))
WRITE = Asked(action="record.update", object="Lead", record_ids=("1",))


@pytest.mark.parametrize(
    ("answers", "passes"),
    [
        ([], False),
        (["allowed"], True),
        (["allowed", "suspended"], False),
        (["allowed", "suspended", "not_available"], False),
        (["suspended", "budget"], False),
        (["suspended", "allowed"], True),
        (["allowed", "stop_all"], False),
    ],
)
def test_reads_go_on_without_the_gate_only_when_its_last_word_was_not_a_stop(answers: list[str], passes: bool):
    left = list(answers)

    def gate(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/events":
            return httpx.Response(200, json={})
        if not left:
            raise httpx.ConnectError("away")
        rule = left.pop(0)
        said = {"decision": "allow" if rule == "allowed" else "deny", "rule": rule, "reason": rule}
        return httpx.Response(503 if rule == "not_available" else 200, json={**said, "decision_id": "d", "epoch": 1})

    async def story() -> list[bool]:
        client = AsyncTripline("http://gate", agent_id="bot")
        client._http = httpx.AsyncClient(base_url="http://gate", transport=httpx.MockTransport(gate))
        keeper, passed = Gatekeeper(client, reads_without_gate=True), []

        async def do(_: str) -> Done:
            return Done(answer="done")

        for asked in (*[READ] * len(answers), READ, WRITE):
            try:
                passed.append((await keeper.let(asked, {}, do)).answer == "done")
            except Refused:
                passed.append(False)
        return passed[-2:]

    assert asyncio.run(story()) == [passes, False]


def test_each_new_record_has_an_id_of_its_own_until_it_is_asked_for_again():
    drafts, alike = Drafts(), ({"a": 1}, {"a": 1})
    first = drafts.take(alike)
    at_once = drafts.take(alike)
    assert len({*first, *at_once}) == 4
    drafts.give_back(alike, first)
    assert drafts.take(({"a": 2}, {"a": 1})) != first
    assert drafts.take(alike) == first
    assert drafts.take(alike) not in (first, at_once)
    assert drafts.take(()) == []


def test_no_more_drafts_wait_than_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.proxy.question._MOST_DRAFTS", 2)
    drafts = Drafts()
    contents: list[tuple[Any, ...]] = [({"a": number},) for number in range(3)]
    given = [drafts.take(each) for each in contents]
    for each, ids in zip(contents, given, strict=True):
        drafts.give_back(each, ids)
    assert [drafts.take(each) == ids for each, ids in zip(contents, given, strict=True)] == [False, True, True]

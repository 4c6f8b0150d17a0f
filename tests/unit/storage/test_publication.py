"""Records for Kafka wait in the store in the order in which they were decided."""

from __future__ import annotations

from typing import Any

from storage import publication
from storage.link import Link
from storage.publication import Publication


def a_record(number: int, kind: Any = "decision", key: str = "default/a") -> Publication:
    return Publication(
        kind=kind, topic="agent.actions", key=key, partition=1, event_id=f"id-{number}", body=b"{%d}" % number,
        created_ms=1000 + number,
    )  # fmt: skip


def ids(found: list[Publication]) -> list[str]:
    return [one.event_id for one in found]


def test_what_is_put_waits_in_order_until_it_is_done(link: Link) -> None:
    seqs = publication.numbers(publication.put(link, [a_record(number) for number in range(250)]))
    found = publication.decided(link, 1000)
    assert [one.seq for one in found] == seqs == sorted(seqs)
    assert (found[1].topic, found[1].key, found[1].body) == ("agent.actions", "default/a", b"{1}")
    assert ids(found) == [f"id-{number}" for number in range(250)]
    publication.done(link, seqs[:249])
    assert ids(publication.decided(link, 10)) == ["id-249"]


def test_admissions_are_left_to_their_gate_until_they_are_old(link: Link) -> None:
    publication.put(link, [a_record(1, "admission"), a_record(2), a_record(3, "letter"), a_record(4, "admission")])
    assert ids(publication.decided(link, 10)) == ["id-2", "id-3"]
    assert ids(publication.decided(link, 1)) == ["id-2"]
    assert ids(publication.admitted_before(link, 1004, 10)) == ["id-1"]
    assert ids(publication.admitted_before(link, 1005, 10)) == ["id-1", "id-4"]


def test_what_waits_of_an_agent_can_be_asked_for(link: Link) -> None:
    publication.put(link, [a_record(1, "admission"), a_record(2), a_record(3, "admission", "default/b")])
    assert ids(publication.admitted_to(link, ["default/a"])) == ["id-1"]
    assert ids(publication.admitted_to(link, ["default/a", "default/b"])) == ["id-1", "id-3"]

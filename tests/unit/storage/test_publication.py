"""Records for Kafka wait in the store in the order in which they were decided."""

from __future__ import annotations

from storage import publication
from storage.link import Link
from storage.publication import Publication


def a_record(number: int, topic: str = "agent.actions") -> Publication:
    return Publication(topic, "default/a", 1, f"id-{number}", b"{%d}" % number, 1000 + number)


def test_what_is_put_waits_in_order_until_it_is_done(link: Link) -> None:
    seqs = publication.put(link, [a_record(number) for number in range(250)])
    found = publication.waiting(link, most=1000)
    assert [one.seq for one in found] == seqs == sorted(seqs)
    assert [(one.event_id, one.body, one.partition) for one in found][:2] == [("id-0", b"{0}", 1), ("id-1", b"{1}", 1)]
    assert [one.event_id for one in found] == [f"id-{number}" for number in range(250)]
    publication.done(link, seqs[:249])
    assert [one.event_id for one in publication.waiting(link)] == ["id-249"]


def test_it_can_be_asked_for_some_topics_and_for_what_is_old(link: Link) -> None:
    publication.put(link, [a_record(1), a_record(2, "agent.control"), a_record(3)])
    assert [one.event_id for one in publication.waiting(link, topics=("agent.control",))] == ["id-2"]
    assert [one.event_id for one in publication.waiting(link, before_ms=1003)] == ["id-1", "id-2"]
    assert [one.event_id for one in publication.waiting(link, topics=("agent.actions",), most=1)] == ["id-1"]

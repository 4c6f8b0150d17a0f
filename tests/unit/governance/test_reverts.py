"""What a person's change means for what an agent wrote before, by the CRM's feed alone."""

from __future__ import annotations

from typing import Any

from events.times import format_ms
from events.types import Actor, After, ChangeEvent, CrmChange
from governance.reverts import MOST_VALUES, WATCHED_MS, Book, Counted, Found, is_by_a_person

NOW_MS = 1_772_442_843_120
BOT, JO = Actor("agent", "bot"), Actor("human", "jo")


def change(
    changes: dict[str, Any] | None = None, who: Actor = BOT, op: str = "update", record: str = "r1"
) -> ChangeEvent:
    more = {} if changes is None else {"changes": changes}
    data = CrmChange(object="Lead", record_id=record, op=op, actor=who, **more)  # type: ignore[arg-type]
    return ChangeEvent(specversion="1.0", id="c", source="/crm", time=format_ms(NOW_MS), data=data)


def after(*events: ChangeEvent, pause_ms: int = 60_000, book: Book | None = None) -> list[Found]:
    """What is found when these come one after the other."""
    book, found = book or Book([], {}), []
    for number, event in enumerate(events):
        if event.data.actor == BOT:
            book.by_agent(event, "bot", NOW_MS + number * pause_ms)
        else:
            found += book.by_person(event, NOW_MS + number * pause_ms)
    return found


def test_back_to_what_it_was_is_undone_another_value_overwritten_the_same_nothing() -> None:
    wrote = change({"Amount": ("5", "7"), "Stage": ("A", "B"), "Name": ("x", "y")})
    (undone,) = after(wrote, change({"Amount": ("7", "5"), "Other": ("1", "2")}, JO))
    assert (undone.key, undone.kind, undone.fields, undone.after_ms, undone.written) == (
        "default/bot", "undone", ("Amount",), 60_000, 1,
    )  # fmt: skip
    (other,) = after(wrote, change({"Amount": ("7", "9"), "Stage": ("B", "C")}, JO))
    assert (other.kind, other.fields) == ("overwritten", ("Amount", "Stage"))
    (mixed,) = after(wrote, change({"Amount": ("7", "9"), "Stage": ("B", "A")}, JO))
    assert mixed.kind == "undone"
    assert after(wrote, change({"Amount": ("5", "7")}, JO), change({"Other": ("1", "2")}, JO)) == []


def test_each_value_is_answered_once_and_changes_since_are_counted() -> None:
    wrote, back = change({"Amount": ("5", "7")}), change({"Amount": ("7", "5")}, JO)
    found = after(wrote, change(op="create", record="r2"), wrote, back, back, wrote, back)
    assert [one.written for one in found] == [3, 1]


def test_an_agents_second_thought_is_held_against_what_people_had_written() -> None:
    wrote, again = change({"Amount": ("5", "7")}), change({"Amount": ("7", "8")})
    assert after(wrote, again, change({"Amount": ("8", "5")}, JO))[0].kind == "undone"
    assert after(wrote, again, change({"Amount": ("8", "7")}, JO))[0].kind == "overwritten"


def test_a_record_that_it_made_is_deleted_or_one_that_it_deleted_brought_back() -> None:
    gone = change(op="delete", who=JO)
    assert [one.kind for one in after(change(op="create"), gone)] == ["deleted"]
    assert after(change({"Amount": ("5", "7")}), gone, change({"Amount": ("7", "5")}, JO)) == []
    assert [one.kind for one in after(change(op="delete"), change(op="undelete", who=JO))] == ["undone"]
    filled = change({"Amount": (None, "5")}, JO)
    assert after(change({"Amount": (None, "7")}, op="create"), filled) == [], "completing a new record is no quarrel"


def test_what_stood_for_three_days_or_has_no_value_before_is_not_undone() -> None:
    wrote = change({"Amount": ("5", "7")})
    assert after(wrote, change({"Amount": ("7", "5")}, JO), pause_ms=WATCHED_MS) == []
    assert after(change({"Amount": After("7")}), change({"Amount": After("5")}, JO))[0].kind == "overwritten"


def test_two_agents_each_answer_for_their_own() -> None:
    book = Book([], {})
    book.by_agent(change({"Amount": ("5", "7")}), "bot", NOW_MS)
    book.by_agent(change({"Stage": ("A", "B")}), "other", NOW_MS)
    book.by_agent(change({"Amount": ("7", "8")}), "other", NOW_MS + 1)
    found = book.by_person(change({"Amount": ("8", "7"), "Stage": ("B", "A")}, JO), NOW_MS + 2)
    assert [(one.key, one.kind, one.fields) for one in found] == [("default/other", "undone", ("Amount", "Stage"))]


def test_an_agents_own_user_is_no_person_and_nobody_is_nobody() -> None:
    known = {"user:9": "bot"}
    assert is_by_a_person(change(who=JO), known)
    assert not is_by_a_person(change(who=Actor("human", "user:9")), known)
    assert not is_by_a_person(change(who=Actor("human", "")), known)
    assert not is_by_a_person(change(who=Actor("automation", "flow")), known)


def test_an_agent_has_so_many_places_and_a_new_value_takes_the_oldest() -> None:
    counted = {"default/bot": Counted(changes=10, told=4, values=MOST_VALUES + 2)}
    book = Book([], counted)
    book.by_agent(change({"Amount": ("5", "7"), "Stage": ("A", "B")}), "bot", NOW_MS)
    assert sorted(one.slot for one in book.kept) == [2, 3]
    assert after(change({"Amount": ("7", "5")}, JO), book=book)[0].written == 7

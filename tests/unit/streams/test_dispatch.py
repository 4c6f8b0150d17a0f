"""The dispatcher: order, repeats, retries and fallbacks, with a hand-held clock."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from events.times import parse_ms
from governance.ports import Notice
from governance.quiet import QuietHours
from governance.settings import AgentSettings, parse_settings
from storage.outbox import Attempt, End, Hold
from streams.sinks.dispatch import Dispatcher, Routes, Send

MINUTE = 60_000
CHAT = '[[notifications.targets]]\nname = "chat"\nurl = "json://a.example"\n'
MAIL = '[[notifications.targets]]\nname = "mail"\nurl = "json://b.example"\n'


def dispatcher(targets: str = CHAT, more: str = "log = false", agents: dict[str, Any] | None = None) -> Dispatcher:
    settings = parse_settings(f"[notifications]\n{more}\n{targets}")
    return Dispatcher(settings.notifications, Routes(settings.notifications, agents or {}))


def notice(subject: str = "bot", kind: str = "bulk", title: str = "20 records", urgent: bool = False) -> Notice:
    return Notice(
        id=title, kind=kind, subject=f"default/{subject}", title=title, body="", at_ms=0, is_urgent=urgent,  # type: ignore[arg-type]
    )  # fmt: skip


def told(sends: list[Send]) -> list[tuple[str, str]]:
    return [(send.target, send.notice.title) for send in sends]


def ends(box: Dispatcher) -> list[tuple[tuple[int, ...], str]]:
    return [(item.seqs, item.state) for item in box.take_news() if isinstance(item, End)]


def test_a_notice_goes_at_once_to_every_target_that_wants_its_kind_and_to_the_log() -> None:
    box = dispatcher(CHAT + MAIL + 'kinds = ["alert"]', more="log = true")
    box.add(1, notice(), 0)
    assert told(box.due(0)) == [("log", "20 records"), ("chat", "20 records")]


def test_an_agents_own_list_of_targets_decides() -> None:
    box = dispatcher(CHAT + MAIL, agents={"bot": AgentSettings(notify=["mail"])})
    box.add(1, notice(), 0)
    box.add(2, notice("other"), 0)
    assert [(send.target, send.notice.subject) for send in box.due(0)] == [
        ("mail", "default/bot"), ("chat", "default/other"), ("mail", "default/other"),
    ]  # fmt: skip


def test_what_nobody_wants_is_dropped_and_said_so() -> None:
    box = dispatcher(CHAT + 'kinds = ["alert"]')
    box.add(1, notice(), 5)
    box.add(2, None, 5)
    assert ends(box) == [((1,), "dropped"), ((2,), "dropped")]


def test_an_accepted_notice_is_done_and_its_attempt_written_down() -> None:
    box = dispatcher()
    box.add(1, notice(), 0)
    (send,) = box.due(0)
    box.result(send, True, 120)
    assert box.take_news() == [
        Attempt(seqs=(1,), target="chat", at_ms=120, state="sent", attempts=1, accepted_ms=120),
        End(seqs=(1,), state="sent", at_ms=120),
    ]
    assert (box.due(10_000), box.next_ms(10_000), box.messages, box.lanes) == ([], None, {}, {})


def test_what_follows_within_ten_minutes_is_told_together_afterwards() -> None:
    box = dispatcher()
    box.add(1, notice(title="first"), 0)
    (send,) = box.due(0)
    box.result(send, True, 1)
    box.add(2, notice(title="second"), MINUTE)
    box.add(3, notice(title="third"), 2 * MINUTE)
    assert box.due(10 * MINUTE - 1) == []
    assert box.next_ms(10 * MINUTE - 1) == 10 * MINUTE
    (later,) = box.due(10 * MINUTE)
    assert later.notice.title == "second, and 1 more"
    assert later.notice.body == "second.\nthird."
    box.take_news()
    box.result(later, True, 10 * MINUTE)
    assert ends(box) == [((2, 3), "sent")]


def test_a_flood_becomes_one_message_with_a_count_and_bounded_text() -> None:
    box = dispatcher()
    for seq in range(1, 1001):
        box.add(seq, notice(title=f"n{seq}"), 0)
    (send,) = box.due(0)
    assert send.notice.title == "n1, and 999 more"
    assert send.notice.body.splitlines()[-2:] == ["n10.", "… and 990 more like these."]
    box.result(send, True, 1)
    assert len(ends(box)[0][0]) == 1000


def test_other_agents_and_other_kinds_are_not_held_back() -> None:
    box = dispatcher()
    box.add(1, notice(), 0)
    box.add(2, notice("other"), 0)
    box.add(3, notice(kind="external"), 0)
    sends = box.due(0)
    assert [(send.notice.subject, send.notice.kind) for send in sends] == [
        ("default/bot", "bulk"), ("default/other", "bulk"),
    ]  # fmt: skip
    box.result(sends[0], True, 1)
    assert [send.notice.kind for send in box.due(1)] == ["external"]


def test_stops_are_never_held_back_and_pass_what_waits() -> None:
    box = dispatcher()
    box.remember_told(notice(kind="bulk"), 0)
    box.add(1, notice(title="waits"), MINUTE)
    box.add(2, notice(kind="control", title="stopped", urgent=True), MINUTE)
    box.add(3, notice(kind="control", title="released", urgent=True), MINUTE)
    (first,) = box.due(MINUTE)
    box.result(first, True, MINUTE)
    (second,) = box.due(MINUTE)
    assert [first.notice.title, second.notice.title] == ["stopped", "released"]


def test_one_message_an_agent_is_on_its_way_at_most_once_and_order_is_kept_through_retries() -> None:
    box = dispatcher()
    box.add(1, notice(kind="control", title="stopped", urgent=True), 0)
    box.add(2, notice(kind="control", title="released", urgent=True), 0)
    (first,) = box.due(0)
    assert box.due(0) == []
    box.result(first, False, 100, "refused")
    assert box.due(2_099) == []
    assert told(box.due(2_100)) == [("chat", "stopped")]


def test_retries_wait_twice_as_long_each_time_and_end_after_the_last() -> None:
    box = dispatcher(more="log = false\nmax_attempts = 4\nretry_secs = 2")
    box.add(1, notice(), 0)
    at = 0
    for wait in (2_000, 4_000, 8_000):
        (send,) = box.due(at)
        box.result(send, False, at, "refused")
        assert box.next_ms(at) == at + wait
        assert box.due(at + wait - 1) == []
        at += wait
    (send,) = box.due(at)
    box.result(send, False, at, "refused")
    states = [item.state for item in box.take_news()]
    assert states == ["trying", "trying", "trying", "failed", "failed"]
    assert box.next_ms(at) is None


def test_a_wait_is_never_longer_than_an_hour() -> None:
    box = dispatcher(more="log = false\nmax_attempts = 1000\nretry_secs = 3600")
    box.add(1, notice(), 0)
    at = 0
    for _ in range(30):
        (send,) = box.due(at)
        box.result(send, False, at)
        next_ms = box.next_ms(at)
        assert next_ms == at + 3_600_000
        at = next_ms


FALLBACK = CHAT + MAIL + 'fallback_of = "chat"'


def test_the_fallback_is_tried_when_the_first_target_has_not_accepted_in_five_seconds() -> None:
    box = dispatcher(FALLBACK)
    box.add(1, notice(), 0)
    (stalled,) = box.due(0)
    assert (stalled.target, box.next_ms(0)) == ("chat", 5_000)
    assert box.due(4_999) == []
    (fallback,) = box.due(5_000)
    assert fallback.target == "mail"
    box.result(fallback, True, 5_200)
    assert ends(box) == [((1,), "sent")]
    box.result(stalled, True, 9_000)
    assert box.take_news() == []


def test_the_fallback_is_not_tried_when_a_retry_of_the_first_succeeds_in_time() -> None:
    box = dispatcher(FALLBACK)
    box.add(1, notice(), 0)
    (send,) = box.due(0)
    box.result(send, False, 10, "refused")
    (again,) = box.due(2_010)
    box.result(again, True, 2_100)
    assert ends(box) == [((1,), "sent")]
    assert box.due(6_000) == []


def test_after_a_failure_the_fallback_is_asked_at_once_until_the_first_works_again() -> None:
    box = dispatcher(FALLBACK)
    box.add(1, notice(), 0)
    (send,) = box.due(0)
    box.result(send, False, 10)
    box.add(2, notice("other"), 20)
    assert [(send.target, send.notice.subject) for send in box.due(20)] == [
        ("chat", "default/other"), ("mail", "default/other"),
    ]  # fmt: skip


def test_waiting_never_spins_while_a_message_is_on_its_way() -> None:
    box = dispatcher()
    box.remember_told(notice(kind="bulk"), 0)
    box.add(1, notice(title="waits for its time"), MINUTE)
    box.add(2, notice(kind="control", title="on its way", urgent=True), MINUTE)
    box.add(3, notice(kind="control", title="queued", urgent=True), MINUTE)
    assert told(box.due(MINUTE)) == [("chat", "on its way")]
    assert box.next_ms(MINUTE + 1) == 10 * MINUTE


def test_both_targets_down_both_are_retried_and_the_first_that_accepts_ends_it() -> None:
    box = dispatcher(FALLBACK)
    box.add(1, notice(), 0)
    (chat,) = box.due(0)
    box.result(chat, False, 0)
    at, sends = 0, list[Send]()
    while at < 20_000:
        at += 100
        for send in box.due(at):
            sends.append(send)
            box.result(send, at > 15_000, at)
    assert {send.target for send in sends} == {"chat", "mail"}
    news = box.take_news()
    assert [item.state for item in news if isinstance(item, End)] == ["sent"]
    assert [item.state for item in news if isinstance(item, Attempt)][-2:] == ["sent", "skipped"]


def test_when_every_attempt_failed_the_fallback_is_asked_even_before_its_time() -> None:
    box = dispatcher(FALLBACK, more="log = false\nmax_attempts = 1\naccept_secs = 300")
    box.add(1, notice(), 0)
    (chat,) = box.due(0)
    box.result(chat, False, 10)
    (mail,) = box.due(10)
    assert mail.target == "mail"
    box.result(mail, True, 20)
    assert ends(box) == [((1,), "sent")]


def test_a_target_that_failed_last_gets_one_attempt_at_a_time() -> None:
    box = dispatcher(more="log = false")
    for seq, agent in enumerate("abc"):
        box.add(seq, notice(agent), 0)
    first = box.due(0)
    assert len(first) == 3
    for send in first:
        box.result(send, False, 0)
    (probe,) = box.due(2_000)
    assert box.due(2_001) == []
    box.result(probe, True, 2_002)
    assert len(box.due(2_002)) == 2


def test_a_flood_about_one_agent_delays_no_other_agent() -> None:
    box = dispatcher()
    for seq in range(500):
        box.add(seq, notice(kind="control", title=f"c{seq}", urgent=True), 0)
    box.add(500, notice("quiet", kind="control", title="stopped", urgent=True), 0)
    assert told(box.due(0)) == [("chat", "c0"), ("chat", "stopped")]


def test_after_a_restart_nothing_accepted_is_sent_again_and_attempts_go_on_counting() -> None:
    box = dispatcher(CHAT + MAIL, more="log = false\nmax_attempts = 3")
    box.add(7, notice(), 0, {"chat": ("sent", 1), "mail": ("trying", 2)})
    (send,) = box.due(0)
    assert send.target == "mail"
    box.result(send, False, 0)
    assert ends(box) == [((7,), "sent")]


def test_after_a_restart_a_row_told_by_its_fallback_is_not_told_again() -> None:
    box = dispatcher(FALLBACK)
    box.add(7, notice(), 0, {"chat": ("skipped", 3), "mail": ("sent", 1)})
    assert (box.due(60_000), ends(box)) == ([], [((7,), "sent")])


def test_after_a_restart_repeats_are_still_held_back() -> None:
    box = dispatcher()
    box.remember_told(notice(), 0)
    box.add(1, notice(), MINUTE)
    assert (box.due(MINUTE), box.next_ms(MINUTE)) == ([], 10 * MINUTE)


def test_an_answer_after_it_was_given_up_still_counts_as_accepted() -> None:
    box = dispatcher()
    box.add(1, notice(), 0)
    (send,) = box.due(0)
    box.result(send, False, 30_000, "no answer in 30 s")
    box.result(send, True, 31_000, is_late=True)
    assert ends(box) == [((1,), "sent")]
    assert box.sending["chat"] == 0


NIGHT = '[quiet]\nsince = "19:00"\nuntil = "07:30"\ndigests = ["08:00"]'
EVENING, MORNING = parse_ms("2026-03-02T20:00:00Z"), parse_ms("2026-03-03T08:00:00Z")


def at_night() -> Dispatcher:
    settings = parse_settings(f"[notifications]\nlog = false\n{CHAT}{NIGHT}")
    return Dispatcher(settings.notifications, Routes(settings.notifications, {}), QuietHours(settings))


def alert(title: str, at_ms: int = EVENING) -> Notice:
    return structs.replace(notice("eva", "alert", title), at_ms=at_ms)


def test_alerts_in_quiet_hours_become_one_message_at_the_digest_and_nothing_else_waits() -> None:
    box = at_night()
    box.add(1, alert("first"), EVENING)
    box.add(2, notice("eva", "bulk", "20 records"), EVENING)
    box.add(3, alert("second"), EVENING + MINUTE)
    box.add(4, notice("eva", "control", "stopped", urgent=True), EVENING)
    sent = []
    for _ in range(2):
        (send,) = box.due(EVENING + MINUTE)
        sent.append(send.notice.title)
        box.result(send, True, EVENING + MINUTE)
    assert sent == ["20 records", "stopped"]
    assert box.next_ms(EVENING + MINUTE) == MORNING
    holds = [item for item in box.take_news() if isinstance(item, Hold)]
    assert holds == [Hold(seqs=(1,), until_ms=MORNING), Hold(seqs=(3,), until_ms=MORNING)]
    assert box.due(MORNING - 1) == []
    (digest,) = box.due(MORNING)
    assert digest.notice.body == "first.\nsecond."
    box.result(digest, True, MORNING)
    assert ends(box) == [((1, 3), "sent")]


def test_what_waited_for_a_digest_is_told_after_a_restart_and_an_attempt_is_not_made_again_at_night() -> None:
    again = at_night()
    again.add(1, alert("first"), MORNING + MINUTE)
    (send,) = again.due(MORNING + MINUTE)
    again.result(send, False, EVENING + 24 * 60 * MINUTE, "down")
    assert again.next_ms(EVENING + 24 * 60 * MINUTE) == MORNING + 24 * 60 * MINUTE
    still = at_night()
    still.add(1, alert("first"), EVENING + 60 * MINUTE)
    assert (still.due(EVENING + 60 * MINUTE), still.next_ms(EVENING + 60 * MINUTE)) == ([], MORNING)


def test_a_digest_tells_more_deals_than_other_messages_tell_things() -> None:
    box = at_night()
    for seq in range(1, 61):
        box.add(seq, alert(f"d{seq}"), EVENING)
    (digest,) = box.due(MORNING)
    assert digest.notice.body.splitlines()[-2:] == ["d50.", "… and 10 more like these."]

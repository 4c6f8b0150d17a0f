"""The notifier against a real store and a real HTTP server that fails, stalls and recovers."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from events.types import Alert, AlertEvent, By, Control, ControlEvent, EvidenceData, Finding, FindingEvent, Reason
from governance.settings import Settings, parse_settings
from storage import control as control_store
from storage import outbox
from storage.outbox import OutboxRow
from storage.store import Store
from streams.sinks.boxes import SqliteBox
from streams.sinks.notices import notice_of
from streams.sinks.notifications import Notifier, notify_from
from streams.sinks.senders import AppriseSender, unusable_targets
from streams.standalone.runtime import Runtime

AT = "2026-03-02T09:20:00Z"
PATIENCE_SECS = 20.0
SECRET = "s3cr3tToken"


class Target(BaseHTTPRequestHandler):
    """Answers as its server is told to."""

    def do_POST(self) -> None:
        server: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if server.mode == "stalls":
            server.go_on.wait(PATIENCE_SECS)
        self.send_response(503 if server.mode == "fails" else 200)
        self.end_headers()
        if server.mode != "fails":
            server.accepted.append((body["title"], body["message"]))
        server.asked += 1

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    """A target with a mode: works, fails, stalls."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Target)
        self.mode = "works"
        self.go_on = threading.Event()
        self.accepted: list[tuple[str, str]] = []
        self.asked = 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server_address[1]}/{SECRET}"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.go_on.set()
    made.shutdown()
    made.server_close()


@pytest.fixture
def second(server: Server) -> Iterator[Server]:
    made = Server()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(scope="module", autouse=True)
def apprise_is_loaded() -> None:
    """Loading its plugins takes seconds; the notifier does it in the background when it starts."""
    unusable_targets(settings_for('name = "any"\nurl = "json://h"').notifications)


class Desk:
    """A store, what puts rows into its outbox, and a notifier on it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.store.migrate()
        self.link = self.store.connect()
        self.lock = threading.Lock()
        self.is_down = False
        self.notifiers: list[Notifier] = []

    def run(self, function: Callable[[sqlite3.Connection], None]) -> None:
        if self.is_down:
            raise sqlite3.OperationalError("disk I/O error")
        with self.lock:
            self.link.execute("BEGIN IMMEDIATE")
            function(self.link)
            self.link.execute("COMMIT")

    def start(self, settings: Settings, **more: Any) -> Notifier:
        notifier = Notifier(settings, SqliteBox(self.store.path, self.run), **more)
        self.notifiers.append(notifier)
        notifier.start()
        return notifier

    def put(self, event: Any, kind: str, key: str, id_: str) -> None:
        self.run(lambda link: control_store.put(link, id_, kind, key, 0, 0, event))
        for notifier in self.notifiers:
            notifier.wake()

    def rows(self) -> list[tuple[str, str]]:
        with self.lock:
            return self.link.execute("SELECT id, state FROM outbox ORDER BY seq").fetchall()

    def wait_until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_SECS
        while not holds():
            assert time.monotonic() < end, (self.rows(), self.link.execute("SELECT * FROM notification").fetchall())
            time.sleep(0.01)

    def close(self) -> None:
        for notifier in self.notifiers:
            notifier.close()
        self.link.close()
        self.store.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def control_event(
    agent: str = "bot", state: str = "suspended", epoch: int = 7, reason: str = "61st update in 5 min; usually 38",
    by: By = By("detector", "action_rate"),  # noqa: B008 - frozen
) -> ControlEvent:  # fmt: skip
    data = Control(agent_id=agent, state=state, epoch=epoch, at=AT, by=by, reason=reason)  # type: ignore[arg-type]
    return ControlEvent(specversion="1.0", id=f"c{agent}{epoch}", source="t", time=AT, data=data)


def finding_event(
    action: str = "notify", mode: str = "enforce", unit: str = "records/operation", detector: str = "blast_radius",
    severity: str = "info", summary: str = "20 records in one record.update",
) -> FindingEvent:  # fmt: skip
    evidence = EvidenceData(
        summary=summary, observed=20, expected=5, limit=5, unit=unit, events=[], would_clear="5 or fewer"
    )
    data = Finding(
        finding_id="f", detector=detector, mode=mode, agent_id="bot", agent_version=None, at=AT, severity=severity,  # type: ignore[arg-type]
        action_taken=action, basis_epoch=0, evidence=evidence,  # type: ignore[arg-type]
    )  # fmt: skip
    return FindingEvent(specversion="1.0", id="f", source="t", time=AT, data=data)


def settings_for(*targets: str, more: str = "") -> Settings:
    tables = "".join(f"[[notifications.targets]]\n{target}\n" for target in targets)
    return parse_settings(f"[notifications]\nlog = false\nretry_secs = 0.05\n{more}\n{tables}")


def chat(server: Server) -> str:
    return f'name = "chat"\nurl = "{server.url}"'


# --- words -------------------------------------------------------------------------------------------------------


def words(event: Any, key: str = "default/bot") -> tuple[str, str, str]:
    body = msgspec.json.encode(event).decode()
    notice = notice_of(OutboxRow(seq=1, id="x", kind="k", key=key, at_ms=0, body=body))
    assert notice is not None
    return notice.kind, notice.title, notice.body


def test_a_stop_is_told_in_a_sentence_with_its_reason() -> None:
    assert words(control_event()) == (
        "control",
        "bot stopped by detector action_rate",
        "61st update in 5 min; usually 38. Only a person can release it. 09:20:00 UTC, epoch 7.",
    )


@pytest.mark.parametrize(
    ("state", "title"),
    [
        ("held", "Writes of bot on hold, by maya"),
        ("throttled", "bot slowed down by maya"),
        ("releasing", "bot: release by maya under way"),
        ("active", "bot working again"),
    ],
)
def test_every_change_of_control_is_told(state: str, title: str) -> None:
    assert words(control_event(state=state, by=By("human", "maya")))[1] == title


def test_stop_all_is_told_as_such() -> None:
    event = control_event("*", by=By("human", "maya"), reason="fire drill")
    assert words(event, "default/*")[1:] == (
        "All agents stopped by maya",
        "fire drill. Ending this takes two people. 09:20:00 UTC, epoch 7.",
    )


def test_many_records_and_messages_outside_are_told_under_their_kinds() -> None:
    assert words(finding_event()) == (
        "bulk", "bot: 20 records in one record.update", "Observed 20 records/operation, at 09:20:00 UTC.",
    )  # fmt: skip
    assert words(finding_event(unit="people/operation"))[0] == "external"
    assert words(finding_event(detector="action_rate", severity="warning"))[0] == "finding"


def test_a_detector_that_failed_is_told_as_a_fault_of_ours() -> None:
    summary = "The detector action_rate failed on this agent (KeyError) and is off for it."
    event = finding_event("hold", unit="failures", detector="action_rate", severity="critical", summary=summary)
    assert words(event) == ("fault", f"bot: {summary}", "")


@pytest.mark.parametrize(
    "event", [finding_event("suspend"), finding_event("none"), finding_event("notify", mode="shadow")]
)
def test_what_its_control_decision_tells_and_what_shadow_sees_is_not_told_twice(event: FindingEvent) -> None:
    body = msgspec.json.encode(event).decode()
    assert notice_of(OutboxRow(seq=1, id="x", kind="notification", key="default/bot", at_ms=0, body=body)) is None


def test_an_alert_names_deal_account_money_reason_and_next_step() -> None:
    data = Alert(
        alert_id="a", kind="deal_risk", manager_id="maya", deal_id="d1", deal="Fleet renewal", account="Nordwind",
        amount="148000.00", currency="EUR", close_date="2026-03-27", link="https://crm.example/d1", at=AT, rank=1,
        p_lost=0.64, p_slip=0.81, reasons=[Reason("silence", 1.0, "Buyer silent for 12 days.")],
        recommended_action="Call Petra Vogel", open_deals=84,
    )  # fmt: skip
    assert words(AlertEvent(specversion="1.0", id="a", source="t", time=AT, data=data), "default/maya") == (
        "alert",
        "Fleet renewal (Nordwind) EUR 148,000: 64 % likely to be lost",
        "Buyer silent for 12 days. Closes 2026-03-27. Next: Call Petra Vogel. No. 1 of 84 open deals. "
        "https://crm.example/d1",
    )


def test_text_that_an_agent_wrote_cannot_call_a_channel_or_hide_itself() -> None:
    title = words(control_event(agent="<!channel> @here \u202egnp \x1b[31m`x`"))[1]
    assert not any(char in title for char in "<>@`\u202e\x1b")


# --- sending -----------------------------------------------------------------------------------------------------


def test_a_stop_reaches_the_target_and_the_row_is_done(desk: Desk, server: Server) -> None:
    seen: list[tuple[str, bool, float]] = []
    desk.start(settings_for(chat(server)), observe=lambda *each: seen.append(each))
    desk.put(control_event(), "control", "default/bot", "c1")
    desk.wait_until(lambda: desk.rows() == [("c1", "sent")])
    assert [title for title, _ in server.accepted] == ["bot stopped by detector action_rate"]
    ((target, is_accepted, secs),) = seen
    assert (target, is_accepted) == ("chat", True)
    assert 0 <= secs < 5
    state, attempts, accepted_ms = desk.link.execute("SELECT state, attempts, accepted_ms FROM notification").fetchone()
    assert (state, attempts) == ("sent", 1)
    assert abs(accepted_ms - time.time() * 1000) < 60_000


def test_a_target_that_fails_is_tried_again_until_it_recovers(desk: Desk, server: Server) -> None:
    server.mode = "fails"
    notifier = desk.start(settings_for(chat(server)))
    desk.put(control_event(), "control", "default/bot", "c1")
    desk.wait_until(lambda: server.asked >= 2)
    assert notifier.status().failing_targets == ("chat",)
    server.mode = "works"
    desk.wait_until(lambda: desk.rows() == [("c1", "sent")])
    assert len(server.accepted) == 1
    attempts = desk.link.execute("SELECT attempts FROM outbox").fetchone()[0]
    assert attempts == server.asked


def test_a_target_that_stalls_gets_its_fallback_and_holds_up_no_other_agent(
    desk: Desk, server: Server, second: Server
) -> None:
    server.mode = "stalls"
    desk.start(
        settings_for(
            chat(server) + '\nkinds = ["control"]',
            f'name = "mail"\nurl = "{second.url}"\nfallback_of = "chat"',
            more="accept_secs = 0.3",
        )
    )
    desk.put(control_event(), "control", "default/bot", "c1")
    desk.put(control_event("other", epoch=1), "control", "default/other", "c2")
    desk.wait_until(lambda: desk.rows() == [("c1", "sent"), ("c2", "sent")])
    assert server.accepted == []
    assert sorted(title for title, _ in second.accepted) == [
        "bot stopped by detector action_rate", "other stopped by detector action_rate",
    ]  # fmt: skip


def test_messages_about_one_agent_arrive_in_order(desk: Desk, server: Server) -> None:
    server.mode = "fails"
    desk.start(settings_for(chat(server), more="max_attempts = 1000"))
    desk.put(control_event(epoch=1), "control", "default/bot", "c1")
    desk.put(control_event(state="releasing", epoch=2, by=By("human", "jo")), "control", "default/bot", "c2")
    desk.put(control_event(state="active", epoch=3), "control", "default/bot", "c3")
    desk.wait_until(lambda: server.asked >= 2)
    server.mode = "works"
    desk.wait_until(lambda: {state for _, state in desk.rows()} == {"sent"})
    assert [title for title, _ in server.accepted] == [
        "bot stopped by detector action_rate", "bot: release by jo under way", "bot working again",
    ]  # fmt: skip


def test_a_flood_about_one_agent_is_two_messages_and_all_rows_are_done(desk: Desk, server: Server) -> None:
    """The first row goes out alone or with those that came in the same moment; the rest waits its ten minutes."""
    for number in range(200):
        desk.put(finding_event(summary=f"{number} records"), "notification", "default/bot", f"f{number}")
    desk.start(settings_for(chat(server)))
    desk.wait_until(lambda: {state for _, state in desk.rows()} == {"sent"})
    assert [title for title, _ in server.accepted] == ["bot: 0 records, and 199 more"]


def test_what_was_not_accepted_before_a_restart_is_told_after_it_and_the_rest_is_not_told_again(
    desk: Desk, server: Server
) -> None:
    first = desk.start(settings_for(chat(server)))
    desk.put(control_event(epoch=1), "control", "default/bot", "c1")
    desk.wait_until(lambda: desk.rows() == [("c1", "sent")])
    server.mode = "fails"
    desk.put(control_event(epoch=2), "control", "default/bot", "c2")
    desk.wait_until(lambda: server.asked >= 2)
    first.close()
    server.mode = "works"
    desk.start(settings_for(chat(server)))
    desk.wait_until(lambda: desk.rows() == [("c1", "sent"), ("c2", "sent")])
    assert [message[-8:] for _, message in server.accepted] == ["epoch 1.", "epoch 2."]


def test_attempts_of_before_the_restart_count_towards_the_last(desk: Desk, server: Server) -> None:
    server.mode = "fails"
    desk.put(control_event(), "control", "default/bot", "c1")
    tried = outbox.Attempt(seqs=(1,), target="chat", at_ms=0, state="trying", attempts=11, error="not accepted")
    desk.run(lambda link: outbox.record(link, [tried]))
    notifier = desk.start(settings_for(chat(server)))
    desk.wait_until(lambda: desk.rows() == [("c1", "failed")])
    assert server.asked == 1
    desk.wait_until(lambda: notifier.status().given_up == 1)


def test_while_the_store_is_down_people_are_told_and_it_is_written_down_later(desk: Desk, server: Server) -> None:
    desk.put(control_event(), "control", "default/bot", "c1")
    desk.is_down = True
    notifier = desk.start(settings_for(chat(server)))
    desk.wait_until(lambda: len(server.accepted) == 1 and not notifier.status().is_store_reachable)
    assert desk.rows() == [("c1", "new")]
    desk.is_down = False
    desk.wait_until(lambda: desk.rows() == [("c1", "sent")])
    assert len(server.accepted) == 1


def test_a_row_that_cannot_be_read_is_dropped_and_the_others_go_on(desk: Desk, server: Server) -> None:
    desk.put({"type": "nonsense"}, "notification", "default/bot", "bad")
    desk.put(control_event(), "control", "default/bot", "good")
    desk.start(settings_for(chat(server)))
    desk.wait_until(lambda: desk.rows() == [("bad", "dropped"), ("good", "sent")])


def test_without_targets_notices_go_to_the_log(desk: Desk) -> None:
    with structlog.testing.capture_logs() as lines:
        desk.start(Settings())
        desk.put(control_event(), "control", "default/bot", "c1")
        desk.wait_until(lambda: desk.rows() == [("c1", "sent")])
    (line,) = [line for line in lines if line["event"] == "notification"]
    assert (line["kind"], line["subject"], line["title"]) == (
        "control", "default/bot", "bot stopped by detector action_rate",
    )  # fmt: skip


def test_closing_does_not_wait_for_a_target_that_stalls(desk: Desk, server: Server) -> None:
    server.mode = "stalls"
    notifier = desk.start(settings_for(chat(server)))
    desk.put(control_event(), "control", "default/bot", "c1")
    desk.wait_until(lambda: notifier.status().waiting == 1)
    started = time.monotonic()
    notifier.close()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("mode", ["works", "fails"])
def test_an_address_never_reaches_a_log_or_the_store(
    desk: Desk, server: Server, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.mode = mode
    with structlog.testing.capture_logs() as lines, caplog.at_level(logging.DEBUG):
        desk.start(
            settings_for(chat(server), f'name = "bad"\nurl = "nosuchscheme://{SECRET}@host"', more="max_attempts = 2")
        )
        desk.put(control_event(), "control", "default/bot", "c1")
        desk.wait_until(lambda: desk.rows()[0][1] in ("sent", "failed"))
    everything = repr(lines) + caplog.text + "".join(desk.link.iterdump()) + repr(AppriseSender(server.url))
    assert SECRET not in everything
    assert "not accepted" in everything or mode == "works"


def test_the_embedded_runtime_tells_what_its_authority_decided(tmp_path: Path, server: Server) -> None:
    settings = settings_for(chat(server))
    counts: dict[tuple[str, ...], int] = {}
    with Runtime(settings, store=Store(tmp_path)) as runtime:
        runtime.subscribe(lambda changes: counts.update(changes.counts))
        notifier = notify_from(runtime, settings)
        try:
            runtime.suspend("bot", "maya", "looks wrong").result(PATIENCE_SECS)
            end = time.monotonic() + PATIENCE_SECS
            while ("notification", "json", "sent") not in counts:
                assert time.monotonic() < end, notifier.status()
                time.sleep(0.01)
        finally:
            notifier.close()
    assert [title for title, _ in server.accepted] == ["bot stopped by maya"]
    assert counts["notification", "json", "sent"] == 1


def test_a_target_that_apprise_does_not_know_is_named() -> None:
    assert unusable_targets(
        settings_for('name = "good"\nurl = "json://h"', 'name = "bad"\nurl = "nosuchscheme://h"').notifications
    ) == ["bad"]

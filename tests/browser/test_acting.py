"""What a person does: log in, release, stop, stop all; and what pages do by themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.codec import decode
from events.times import HOUR_MS
from events.types import By
from governance.control import ControlRequest
from governance.effects import Effect
from governance.settings_containment import CrmSettings
from storage import tables as t
from tests.browser.conftest import Site, log_in
from tests.browser.seed import NOW_MS, SETTINGS, Seed

Open = Callable[..., Any]
ACCESS = (Path(__file__).parent / "access.js").read_text()
SiteOf = Callable[..., Site]


def _suspend(site: Site, agent_id: str) -> None:
    request = ControlRequest(
        key=f"default/{agent_id}", agent_id=agent_id, wanted="suspended", basis_epoch=0, by=By("human", "jo"),
        reason="It writes nonsense", at_ms=NOW_MS,
    )  # fmt: skip
    site.runtime.control(request).result(10)


def test_a_release_takes_a_look_and_a_reason_and_names_the_epoch_that_was_seen(
    site_of: SiteOf, open_page: Open
) -> None:
    site = site_of()
    page = open_page(site.url + "/login")
    log_in(page, site, to="/agents/enrich-bot")
    button = page.get_by_role("button", name="Release enrich-bot")
    assert button.is_disabled()
    page.get_by_label("Why is it safe").fill("Source list fixed; job limited to 50 records")
    assert button.is_disabled()
    page.get_by_label("I have looked at what it did").check()
    button.click()
    page.wait_for_url("**/agents/enrich-bot?done=released")
    page.get_by_text("Release accepted").wait_for()
    page.get_by_role("heading", name="enrich-bot is working").wait_for()
    released = site.reader.control_history("enrich-bot")[0]
    assert (released.state, released.by_id) == ("active", "maya")
    assert "Source list fixed; job limited to 50 records" in page.locator("#agent-side").inner_text()


class _Crm:
    """Cancels meetings; remembers whose it was to find them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def cancel(self, effect: Effect, now_ms: int) -> str:
        self.asked.append((effect.record_id, effect.made_by))
        return "meeting deleted: it can be restored for 90 days"


def test_what_a_stopped_agent_had_set_up_is_cancelled_with_a_reason_and_the_page_says_what_came_of_it(
    site_of: SiteOf, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = _Crm()
    monkeypatch.setattr("streams.crm.open.cancellers", lambda settings: {"hub": crm})
    monkeypatch.setattr("streams.cancelling._LOOK_SECS", 0.05)
    bot = msgspec.structs.replace(SETTINGS.agents["enrich-bot"], crm_user="user:55")
    hub = CrmSettings(kind="hubspot", url="https://api.example", token="ours")
    settings = msgspec.structs.replace(SETTINGS, agents={**SETTINGS.agents, "enrich-bot": bot}, crm={"hub": hub})

    def seed(more: Seed) -> None:
        for number, what in enumerate(("meetings", "workflow")):
            action = "meeting.schedule" if what == "meetings" else "record.create"
            more.action(
                "enrich-bot", NOW_MS - HOUR_MS, f"7{number}", "subject", None, "Demo", action=action, object=what,
                event_id=f"later-{number}", offset=900_000 + number, trigger=None,
            )  # fmt: skip

    site = site_of(settings=settings, seed=seed)
    page = open_page(site.url + "/login")
    log_in(page, site, "vera", to="/agents/enrich-bot")
    assert page.get_by_role("button", name="Cancel what is pending").count() == 0, "a viewer may not"
    page.context.clear_cookies()
    log_in(page, site, to="/agents/enrich-bot")
    pending = page.locator("section[aria-labelledby=h-pending] li")
    assert pending.count() == 2
    button = page.get_by_role("button", name="Cancel what is pending")
    assert button.is_disabled()
    page.locator("#cancel-reason").fill("It invited the wrong people")
    assert (button.is_disabled(), crm.asked) == (False, [])
    button.click()
    page.wait_for_url("**/agents/enrich-bot?done=cancelling")
    page.get_by_text("Asked for. What comes of each is shown here.").wait_for()
    page.get_by_text("cancelled: meeting deleted: it can be restored for 90 days").wait_for(timeout=15_000)
    page.get_by_text("turn it off there").wait_for(timeout=15_000)
    assert crm.asked == [("70", "55")]
    page.reload()
    assert page.evaluate(ACCESS) == []
    assert site.reader.agent("enrich-bot", NOW_MS).state == "suspended"


def test_a_release_of_what_changed_meanwhile_is_refused_with_a_way_back(site_of: SiteOf, open_page: Open) -> None:
    site = site_of()
    page = open_page(site.url + "/login", may_fail="409")
    log_in(page, site, to="/agents/enrich-bot")
    page.get_by_label("Why is it safe").fill("Looks fine to me")
    page.get_by_label("I have looked at what it did").check()
    page.evaluate("document.querySelector('[name=epoch]').value = '6'")
    page.get_by_role("button", name="Release enrich-bot").click()
    page.get_by_role("heading", name="It has changed since you looked").wait_for()
    page.get_by_role("link", name="Look again").click()
    page.wait_for_url("**/agents/enrich-bot")
    assert site.reader.agent("enrich-bot", NOW_MS).state == "suspended"


def test_the_owner_is_told_that_somebody_else_has_to_release(site_of: SiteOf, open_page: Open) -> None:
    site = site_of()
    page = open_page(site.url + "/login")
    log_in(page, site, "tomas", to="/agents/enrich-bot")
    assert page.get_by_text("You own this agent. Somebody else has to release it.").is_visible()
    assert page.locator("textarea").count() == 0


def test_a_viewer_sees_no_form(site_of: SiteOf, open_page: Open) -> None:
    site = site_of()
    page = open_page(site.url + "/login")
    log_in(page, site, "vera", to="/agents/enrich-bot")
    assert page.get_by_text("Releasing takes the role operator; you are viewer.").is_visible()


def test_opening_a_login_link_does_nothing_pressing_its_button_logs_in_once(site_of: SiteOf, open_page: Open) -> None:
    site = site_of("calm")
    link = f"{site.url}/login/link/{site.auth.make_login_link('maya', 15)}"
    page = open_page(link, may_fail="401")
    assert page.context.cookies() == []
    page.goto(link)  # a mail scanner was here before
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(site.url + "/")
    assert page.locator(".who .full").inner_text() == "maya"
    page.context.clear_cookies()
    page.goto(link)
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("This link was used already").wait_for()


def test_a_wrong_password_says_so_and_keeps_the_way_to_go(site_of: SiteOf, open_page: Open) -> None:
    site = site_of("calm")
    page = open_page(site.url + "/login?next=/deals", may_fail="401")
    page.get_by_label("Name").fill("maya")
    page.get_by_label("Password").fill("not it at all")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("do not belong together").wait_for()
    assert page.locator("input[name=next]").input_value() == "/deals"


def test_stopping_all_asks_why_in_a_dialog_and_says_so_everywhere(site_of: SiteOf, open_page: Open) -> None:
    site = site_of("calm")
    page = open_page(site.url + "/login")
    log_in(page, site)
    page.get_by_role("link", name="Stop all agents").first.click()
    dialog = page.get_by_role("dialog")
    stop = dialog.get_by_role("button", name="Stop all agents")
    stop.wait_for()
    assert stop.is_disabled()
    dialog.get_by_label("Why?").fill("Unclear what is going on")
    stop.click()
    page.wait_for_url("**/?done=stopped-all")
    assert page.get_by_role("heading", level=1).inner_text().strip() == "All agents stopped"
    assert page.get_by_role("link", name="Stop all agents").count() == 0
    page.goto(site.url + "/agents/lead-router")
    assert "is stopped with all others" in page.get_by_role("heading", level=1).inner_text()


def test_ending_the_stop_of_all_takes_two_people(site_of: SiteOf, open_page: Open) -> None:
    site = site_of("calm")
    request = ControlRequest(
        key="default/*", agent_id="*", wanted="suspended", basis_epoch=0, by=By("human", "jo"),
        reason="Unclear what is going on", at_ms=NOW_MS,
    )  # fmt: skip
    site.runtime.control(request).result(10)
    first, second = open_page(site.url + "/login"), open_page(site.url + "/login")
    log_in(first, site, "maya", to="/release-all")
    first.get_by_label("Why is it safe?").fill("All clear")
    first.get_by_role("button", name="Ask to end it").click()
    first.get_by_text("Waits for another person").wait_for()
    log_in(second, site, "jo", to="/release-all")
    second.get_by_role("button", name="Confirm: end the stop").click()
    second.wait_for_url("**/?done=released-all")
    assert site.reader.stop_all().state == "active"


def test_an_open_overview_shows_a_stop_by_itself(site_of: SiteOf, open_page: Open) -> None:
    site = site_of("calm")
    page = open_page(site.url + "/")
    assert page.get_by_role("heading", level=1).inner_text() == "Nothing needs you."
    _suspend(site, "lead-router")
    page.get_by_role("heading", name="1 agent stopped · 0 changes since").wait_for(timeout=8_000)
    assert "lead-router" in page.locator("table.agents tbody tr").first.inner_text()


def test_an_open_agents_page_keeps_what_was_typed_until_the_state_changes(site_of: SiteOf, open_page: Open) -> None:
    site = site_of("calm")
    page = open_page(site.url + "/login")
    log_in(page, site, to="/agents/lead-router")
    page.get_by_label("Why?").fill("It writes to acc")
    with page.expect_response(lambda answer: "/parts/agents/lead-router" in answer.url):
        pass  # it asks again every four seconds
    assert page.get_by_label("Why?").input_value() == "It writes to acc"
    _suspend(site, "lead-router")
    page.get_by_role("button", name="Release lead-router").wait_for(timeout=8_000)


def test_a_page_that_lost_its_server_says_since_when_nothing_is_known(site_of: SiteOf, open_page: Open) -> None:
    site = site_of("calm")
    page = open_page(site.url + "/", may_fail="ERR_CONNECTION_REFUSED")
    site.stop_serving()
    page.get_by_text("Not known since 09:20:10").wait_for(timeout=30_000)


def test_an_empty_store_is_calm_and_says_what_to_do(site_of: SiteOf, open_page: Open) -> None:
    site = site_of("empty", msgspec.structs.replace(SETTINGS, agents={}))
    page = open_page(site.url + "/")
    assert page.get_by_role("heading", level=1).inner_text() == "Nothing needs you."
    said = page.locator("main").inner_text()
    assert "No agent has been seen. Send its actions to POST /v1/events" in said
    assert "No deal needs attention." in said


def test_text_that_agents_wrote_can_neither_reorder_nor_script_a_page(site_of: SiteOf, open_page: Open) -> None:
    evil = '<img src=x onerror="document.title=1">\u202egpj.exe\u001b[31m'

    def seed(more: Seed) -> None:
        more.action("quote-helper", NOW_MS - HOUR_MS, evil, "Name", "before", evil, authorized_by=evil)

    site = site_of("calm", seed=seed)
    page = open_page(site.url + "/agents/quote-helper")
    shown = page.locator("table.did tbody").inner_text()
    assert '<img src=x onerror="document.title=1">\ufffdgpj.exe' in shown
    assert "\u202e" not in shown
    assert "quote-helper" in page.title()


def test_a_deals_page_asks_the_engine_what_would_change_its_score(site_of: SiteOf, open_page: Open) -> None:
    site = site_of("calm")
    told = {
        "specversion": "1.0", "id": "c-1", "source": "/crm", "type": "tripline.crm.change.v1",
        "time": "2026-02-20T09:00:00Z", "data": {
            "object": "Opportunity", "record_id": "006Z9", "op": "create", "deal_id": "006Z9", "changes": {
                "name": [None, "Harbour cranes"], "account": [None, "Quay & Sons"], "stage": [None, "Proposal"],
                "amount": [None, "90000.00"], "currency": [None, "EUR"], "close_date": [None, "2026-03-20"],
                "owner_id": [None, "user:005LH"], "manager_id": [None, "m-berger"], "is_closed": [None, False],
            },
        },
    }  # fmt: skip
    raw = msgspec.json.encode(told)
    assert site.runtime.ingest([(raw, decode(raw))]).result(10)[0].status == "accepted"
    site.runtime.tick().result(10)
    page = open_page(site.url + "/deals/006Z9")
    assert "Quay & Sons" in page.get_by_role("heading", level=1).inner_text()
    rows = page.locator("table.whatif tbody tr")
    assert rows.locator("td:first-child").all_inner_texts() == [
        "Now",
        "A buyer answers today",
        "A meeting is booked",
        "Both",
        "Nothing happens for 7 days",
        "The close date moves by 30 days",
    ]
    assert rows.first.locator(".risk").inner_text() == page.locator(".hero .risk").inner_text()


def test_a_manager_says_what_an_alert_was_worth_and_sees_what_to_close_out(site_of: SiteOf, open_page: Open) -> None:
    def seed(more: Seed) -> None:
        more.add(
            t.close_out, key="default/m-berger", rank=1, manager_id="m-berger", deal_id="006A7", at_ms=NOW_MS, body="{}"
        )

    site = site_of("calm", seed=seed)
    page = open_page(site.url + "/login")
    log_in(page, site, to="/deals/006A1")
    useful = page.get_by_role("button", name="Useful")
    assert useful.get_attribute("aria-pressed") == "false"
    useful.click()
    page.locator("button[aria-pressed=true]").wait_for()
    assert "maya: useful" in page.locator("section[aria-labelledby=h-alerts]").inner_text()
    page.goto(site.url + "/deals")
    assert "1 alert in 90 days. People judged 1: 1 useful, 0 known, 0 wrong; 100 % useful." in page.content()
    assert "Marlow Textiles" in page.locator("section[aria-labelledby=h-out]").inner_text()
    assert page.evaluate(ACCESS) == []


def test_thirty_agents_keep_the_overview_short_and_long_names_whole_on_hover(site_of: SiteOf, open_page: Open) -> None:
    names = [f"an-agent-with-a-rather-long-name-indeed-number-{n:02d}" for n in range(24)]

    def seed(more: Seed) -> None:
        for name in names:
            more.agent(name, 4.0, 5, 20)
        more.add(
            t.control, key=f"default/{names[3]}", agent_id=names[3], state="held", epoch=2, at_ms=NOW_MS - HOUR_MS,
            by_kind="detector", by_id="repeated_errors", reason="5 errors in a row", last_release_epoch=0,
        )  # fmt: skip

    site = site_of("stop", seed=seed)
    page = open_page(site.url + "/")
    rows = page.locator("table.agents tbody tr")
    assert rows.count() == 8
    assert "Writes held" in rows.nth(1).inner_text()
    assert rows.nth(1).get_by_role("link").get_attribute("title") == names[3]
    page.get_by_role("link", name="Show all 30").click()
    page.wait_for_url("**/agents")
    assert page.locator("table.agents tbody tr").count() == 30
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440

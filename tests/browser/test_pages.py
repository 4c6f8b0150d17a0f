"""What a person sees on a morning on which an agent was stopped, in Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Site
from tests.browser.seed import CHANGED_BEFORE, REFUSED_AFTER

Open = Callable[..., Any]
ACCESS = (Path(__file__).parent / "access.js").read_text()
PAGES = (
    "/", "/agents", "/agents/enrich-bot", "/agents/lead-router", "/agents/enrich-bot/actions", "/deals", "/deals/006A1",
    "/deals/model", "/deals/quality", "/findings", "/mutes", "/delegation", "/login", "/stop-all", "/agents/nobody",
)  # fmt: skip


def test_the_overview_says_first_what_is_wrong(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/")
    assert page.get_by_role("heading", level=1).inner_text() == "1 agent stopped · 0 changes since"
    lead = page.locator(".hero .lead").inner_text()
    assert lead == f"enrich-bot, 09:20:00: {CHANGED_BEFORE} records changed before, 0 admitted after."


def test_agents_are_listed_worst_first_with_their_state_in_words(morning: Site, open_page: Open) -> None:
    rows = open_page(morning.url + "/").locator("table.agents tbody tr")
    assert rows.count() == 6
    first = rows.first.inner_text()
    assert "enrich-bot" in first
    assert "Stopped" in first
    assert "Tomas Reuter" in first
    assert "1,376" in first  # 1,318 before and 58 in the burst
    assert all("Working" in rows.nth(n).inner_text() for n in range(1, 6))


def test_what_waits_for_a_person_leads_to_the_agent(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/")
    todo = page.locator(".todo > li")
    assert todo.count() == 1
    assert "61st record.update in 5 min; usually at most 38" in todo.first.inner_text()
    page.get_by_role("link", name="See what it did").click()
    page.wait_for_url("**/agents/enrich-bot")


def test_five_deals_with_risk_money_date_reason_and_next_step(morning: Site, open_page: Open) -> None:
    rows = open_page(morning.url + "/").locator("table.deals tbody tr")
    assert rows.count() == 5
    shown = " ".join(rows.first.inner_text().split())
    assert shown.startswith("1 64 % +17 81 % Fleet telemetry renewal Nordwind Logistik €148,000 Fri 27 Mar The buyer")
    assert shown.endswith("Call Petra Vogel, economic buyer")


def test_the_agents_page_says_what_happened_and_why(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/agents/enrich-bot")
    assert page.get_by_role("heading", level=1).inner_text() == "enrich-bot stopped at 09:20:00"
    lead = page.locator(".hero .lead").inner_text()
    assert f"{CHANGED_BEFORE} records changed before, 0 admitted after, {REFUSED_AFTER} refused." in lead
    why = page.locator("section", has=page.get_by_role("heading", name="Why it was stopped"))
    assert "With 60 or fewer in 5 min it would not have been stopped." in why.inner_text()
    why.locator("summary").click()
    assert "Basis epoch" in why.inner_text()


def test_the_timeline_says_in_words_what_it_draws(morning: Site, open_page: Open) -> None:
    chart = open_page(morning.url + "/agents/enrich-bot").locator("figure svg")
    assert chart.get_attribute("aria-label") == "Actions of enrich-bot in 5 minutes, 05:20 to 09:20 CET"
    words = chart.locator("desc").text_content()
    assert f"Stopped at 09:20:00; since then {REFUSED_AFTER} refused and 0 admitted." in words
    assert chart.locator(".trip").count() == 1


def test_what_it_did_shows_before_and_after_and_on_whose_authority(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/agents/enrich-bot")
    groups = page.locator("table.did tr.group").all_inner_texts()
    assert groups == [
        f"After the stop · {REFUSED_AFTER} attempts, 0 admitted",
        f"Before the stop, 09:15:00 to 09:20:00 · {CHANGED_BEFORE} records changed",
        "Earlier, as usual",
    ]
    refused = page.locator("table.did tr:not(.group)").nth(1)
    assert " ".join(refused.inner_text().split()) == (
        "09:20:09 001B36 Account · Industry Retail Unknown Ines Faber schedule: enrich-accounts 09:15 "
        "Refused suspended; only a person can release"
    )


def test_everything_it_did_can_be_searched(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/agents/enrich-bot/actions")
    page.get_by_label("Record id").fill("001A7")
    page.get_by_role("button", name="Search").click()
    rows = page.locator("table.did tbody tr")
    assert rows.count() == 1
    assert "001A7" in rows.first.inner_text()


def test_a_deal_says_what_moved_it_and_why(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/deals/006A1")
    assert page.get_by_role("heading", level=1).inner_text() == "Nordwind Logistik may be lost"
    assert "Up from 47 % on Monday; 81 % likely to slip" in page.locator(".hero .lead").inner_text()
    moved = page.locator("table.moved tbody tr")
    assert (
        " ".join(moved.nth(3).inner_text().split())
        == "4 Tue 24 Feb Close date pushed from 13 Mar to 27 Mar 20 35 % +15"
    )
    why = page.locator("ol.why > li").all_inner_texts()
    assert why[0].startswith("The buyer has been silent for 12 days")
    assert "lowers" in why[-1]
    assert "set StageName to “Negotiation”" in page.locator(".log").inner_text()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_can_be_read_and_used_by_everybody(morning: Site, open_page: Open, path: str, scheme: str) -> None:
    page = open_page(morning.url + path, scheme=scheme, may_fail="404")
    assert page.evaluate(ACCESS) == []


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_wider_than_a_phone(morning: Site, open_page: Open, path: str) -> None:
    page = open_page(morning.url + path, width=390, height=844, may_fail="404")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(ACCESS) == []


def test_what_waits_comes_before_the_agents_on_a_phone(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/", width=390, height=844)
    you, agents = (
        page.get_by_role("heading", name=name, exact=True).bounding_box() for name in ("Needs you", "Agents")
    )
    assert you["y"] < agents["y"]
    assert page.locator(".dock").get_by_role("link", name="Stop all agents").bounding_box()["height"] >= 44


def test_the_overview_fits_a_laptop(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/")
    assert page.evaluate("document.documentElement.scrollHeight") <= 900


def test_dark_follows_the_system_and_a_key_overrides_it(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/", scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(14, 15, 17)"
    page.keyboard.press("t")
    assert page.evaluate(ground) == "rgb(246, 246, 247)"
    page.reload()
    assert page.evaluate(ground) == "rgb(246, 246, 247)"


def test_all_of_it_works_by_keyboard(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("?")
    assert page.get_by_role("dialog").get_by_role("heading", name="Keys").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent") == "call-notes"
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/agents/enrich-bot")
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/deals")


def test_a_page_that_is_not_there_says_so(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/agents/nobody", may_fail="404")
    assert page.get_by_role("heading", name="There is no such page").is_visible()
    assert "nobody" in page.locator("main").inner_text()


def test_looking_needs_no_login_but_releasing_does(morning: Site, open_page: Open) -> None:
    page = open_page(morning.url + "/agents/enrich-bot")
    assert page.locator("textarea").count() == 0
    page.get_by_role("link", name="Log in to release").click()
    page.wait_for_url("**/login?next=/agents/enrich-bot")

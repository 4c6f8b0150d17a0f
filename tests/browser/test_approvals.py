"""A person answers an approval by hand: sees all of it, approves, changes or refuses, by mouse or by keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from governance.gate import GateDecision, GateRequest
from tests.browser.conftest import Site, log_in
from tests.browser.seed import SETTINGS

Open = Callable[..., Any]
SiteOf = Callable[..., Site]
ACCESS = (Path(__file__).parent / "access.js").read_text()
HOSTILE = "Re: our \u202epots \x1b[31m<b>now</b>"
AGENTS = {name: replace(agent, actions=["*"]) for name, agent in SETTINGS.agents.items()}


def ask(site: Site, number: int = 1, **more: Any) -> GateDecision:
    name = f"mail-{number}"
    fields = {
        "object": "Email", "record_ids": [name], "recipient_ids": ["new@example.com", f"c{number}@example.com"],
        "changes": {name: {"Subject": ("Hello", HOSTILE), "Body": (None, "x" * 900 + " the end"), "Copies": (1, 2)}},
        "authorized_by": "user:005LH", "request_id": f"q{number}",
    } | more  # fmt: skip
    return site.runtime.check(GateRequest(agent_id="outreach-drafter", action="email.send", **fields)).result(10)


def test_a_person_sees_all_of_it_and_approves_changes_or_refuses(site_of: SiteOf, open_page: Open) -> None:
    site = site_of("calm", settings=replace(SETTINGS, agents=AGENTS))
    one, two, three = (ask(site, number).approval_id for number in (1, 2, 3))
    page = open_page(site.url + "/login", may_fail="403")
    log_in(page, site)
    page.get_by_text("Approve: outreach-drafter wants to send mails, 3 requests").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("p")
    page.wait_for_url("**/approvals")
    assert page.locator("table.asked tbody tr").count() == 3
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/approvals/*")
    page.goto(f"{site.url}/approvals/{one}")
    text = page.locator("main").inner_text()
    assert "Re: our \ufffdpots \ufffd[31m<b>now</b>" in text
    assert "the end" in text
    assert "Lea Hoffmann" in text
    assert page.evaluate(ACCESS) == []
    approve = page.get_by_role("button", name="Approve", exact=True)
    assert approve.is_disabled()
    page.get_by_label("Why?").fill("Agreed on the phone")
    approve.click()
    page.get_by_text("Approved, for one use.").wait_for()
    site.clock.move(1)
    assert ask(site, 1).decision == "allow"

    page.goto(f"{site.url}/approvals/{two}")
    page.get_by_text("Approve something else instead").click()
    assert page.evaluate(ACCESS) == []
    page.get_by_label("mail-2, Copies").fill("3")
    page.get_by_label("new@example.com").uncheck()
    page.get_by_label("Why is this right?").fill("Only to him")
    page.get_by_role("button", name="Approve as changed").click()
    page.get_by_text("Approved as you changed it").wait_for()
    bound = site.reader.approval(two)[0].request
    assert bound.recipient_ids == ["c2@example.com"]
    assert bound.changes["mail-2"]["Copies"] == (1, 3)
    assert bound.changes["mail-2"]["Subject"] == ("Hello", HOSTILE)

    page.goto(f"{site.url}/approvals/{three}")
    page.get_by_label("Why?").fill("She asked us not to")
    page.get_by_role("button", name="Refuse").click()
    page.get_by_text("Refused. The agent is told why.").wait_for()
    assert ask(site, 3).reason.endswith("She asked us not to")


def test_pages_are_readable_on_a_phone_and_in_the_dark_and_owners_get_no_form(site_of: SiteOf, open_page: Open) -> None:
    agents = AGENTS | {"outreach-drafter": replace(AGENTS["outreach-drafter"], owner="jo")}
    site = site_of("calm", settings=replace(SETTINGS, agents=agents))
    id_ = ask(site).approval_id
    for path in ("/approvals", f"/approvals/{id_}"):
        page = open_page(site.url + path, width=390, height=844, scheme="dark")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate(ACCESS) == []
    assert page.get_by_role("link", name="Log in to answer").is_visible()
    log_in(page, site, "jo", to=f"/approvals/{id_}")
    assert page.get_by_text("You own this agent. Somebody else has to answer.").is_visible()
    assert page.locator("textarea").count() == 0

"""How one attempt to cancel something ends."""

from __future__ import annotations

from typing import Any

import pytest

from governance.settings import parse_settings
from storage.cancellations import Cancellation
from streams.cancelling import ATTEMPTS, Cancelling
from streams.crm.ports import CrmFailed, Gone

TOML = """
[agents.bot]
crm_user = "user:55"
[crm.hub]
kind = "hubspot"
url = "https://api.example"
token = "ours"
cancel_on_stop = true
"""
PASSING = CrmFailed("to delete it at hub: 503", is_passing=True, wait_secs=0.5)


class Answers:
    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer

    def cancel(self, effect: object, now_ms: int) -> str:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def tried(answer: str | Exception, *, holds: bool = True, **more: Any) -> tuple[str, str, float]:
    """What comes of an attempt. ``holds``: whether the stop lasts."""
    fields: dict[str, Any] = {
        "id": "one", "key": "default/bot", "since_ms": 5, "action": "meeting.schedule", "object": "meetings",
        "record_id": "7", "effect_ms": 1, "reviewed_by": "", "state": "asked", "attempts": 0, "asked_ms": 6,
        "due_ms": 6, "done_ms": None, "by_kind": "detector", "by_id": "gate", "reason": "stopped", "result": "",
    }  # fmt: skip
    nothing: Any = None
    settings, ports = parse_settings(TOML, {}), {"hub": Answers(answer)}
    thread = Cancelling(settings, lambda _: holds, nothing, nothing, ports, lambda: True, lambda: 9)
    return thread._try(Cancellation(**{**fields, **more}))


@pytest.mark.parametrize(
    ("answer", "more", "state", "text", "wait_secs"),
    [
        ("meeting deleted", {}, "cancelled", "meeting deleted", 0),
        (PASSING, {}, "later", "503", 2),
        (PASSING, {"attempts": 2}, "later", "503", 32),
        (PASSING, {"attempts": ATTEMPTS - 1}, "gave_up", "503, 5 times; ask again later", 0),
        (CrmFailed("429", is_passing=True, wait_secs=30), {}, "later", "429", 30),
        (CrmFailed("403", status=403), {}, "refused", "403", 0),
        (Gone("there is no such meeting"), {}, "impossible", "nothing to cancel", 0),
        (Gone("there is no such meeting"), {"attempts": 1}, "cancelled", "after an earlier attempt", 0),
        ("no", {"reviewed_by": "maya"}, "impossible", "maya approved it", 0),
        ("yes", {"reviewed_by": "maya", "by_kind": "human"}, "cancelled", "yes", 0),
        ("no", {"holds": False}, "impossible", "released before", 0),
        ("yes", {"holds": False, "by_kind": "human"}, "cancelled", "yes", 0),
        ("no", {"record_id": ""}, "impossible", "not named", 0),
    ],
)
def test_how_an_attempt_ends(
    answer: str | Exception, more: dict[str, Any], state: str, text: str, wait_secs: float
) -> None:
    found = tried(answer, **more)
    assert (found[0], found[2]) == (state, wait_secs)
    assert text in found[1]

"""HubSpot: take back what an agent set up.

References: HubSpot, "CRM objects: Meetings" (GET and DELETE /crm/v3/objects/meetings/{id}, the latter 204) and its
default properties hs_created_by_user_id, hs_updated_by_user_id; "Marketing emails v3" (GET /marketing/v3/emails/{id}
with createdById, updatedById and state; POST …/unpublish, 204, "unpublish or cancel a marketing email"). No documented
call takes a contact out of a sequence, or tells who made a workflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from governance.effects import Effect, NotPossible, check_own
from governance.settings_containment import CrmSettings
from streams.crm.calls import Calls, bearer_of, content_of
from streams.crm.ports import CrmFailed, Gone
from streams.crm.salesforce_effects import has_ended

_NOT_FOUND = 404
_WHO, _CHANGED, _END = "hs_created_by_user_id", "hs_updated_by_user_id", "hs_meeting_end_time"
_TO_BE_SENT = frozenset({"SCHEDULED", "AUTOMATED"})


class HubSpotEffects:
    """One account. Parameters: its table in the settings; the table's name; how it is called."""

    def __init__(self, settings: CrmSettings, name: str, calls: Calls) -> None:
        self._settings = settings
        self._name = name
        self._calls = calls

    def cancel(self, effect: Effect, now_ms: int) -> str:
        """Cancel one thing. Raises CrmFailed, Gone, NotPossible."""
        if effect.kind == "meeting":
            return self._drop_meeting(effect, now_ms)
        if effect.kind == "mail":
            return self._cancel_mail(effect)
        raise NotPossible("HubSpot documents no call for it: cancel it there")

    def _drop_meeting(self, effect: Effect, now_ms: int) -> str:
        path = f"/crm/v3/objects/meetings/{quote(effect.record_id, safe='')}"
        wanted = {"properties": f"{_WHO},{_CHANGED},{_END}"}
        properties = self._found(path, "meeting", params=wanted).get("properties")
        found = properties if isinstance(properties, dict) else {}
        check_own(effect, found.get(_WHO), found.get(_CHANGED))
        if has_ended(found.get(_END), now_ms):
            raise Gone("the meeting is over")
        self._send("DELETE", path, "to delete the meeting")
        return "meeting deleted: it can be restored for 90 days"

    def _cancel_mail(self, effect: Effect) -> str:
        path = f"/marketing/v3/emails/{quote(effect.record_id, safe='')}"
        found = self._found(path, "mail")
        check_own(effect, found.get("createdById"), found.get("updatedById"))
        if found.get("state") not in _TO_BE_SENT:
            raise Gone(f"the mail is not going to be sent: it is {str(found.get('state'))[:40]}")
        self._send("POST", f"{path}/unpublish", "to cancel the mail")
        return "mail cancelled"

    def _found(self, path: str, what: str, **more: Any) -> Mapping[str, Any]:
        try:
            return content_of(self._send("GET", path, f"to find the {what}", **more))
        except CrmFailed as failed:
            if failed.status == _NOT_FOUND:
                raise Gone(f"there is no such {what}") from None
            raise

    def _send(self, method: str, path: str, what: str, **more: Any) -> Any:
        return self._calls.send(method, path, what, headers=bearer_of(self._settings, self._name), **more)

"""Salesforce: take back what an agent set up.

References: Salesforce, REST API Developer Guide, "Query" and "sObject Rows" (DELETE answers 204); Actions Developer
Guide, "Sales Engagement Actions" (POST /actions/standard/removeTargetFromSalesCadence); Object Reference,
"ActionCadenceTracker", "CronTrigger", "Event"; Tooling API, "Flow", "FlowDefinition" (Metadata.activeVersionNumber 0
turns a flow off) and "executeAnonymous"; Apex Reference, "System.abortJob".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from events.times import BadTime, parse_ms
from governance.effects import Effect, NotPossible, check_own
from governance.settings_containment import CrmSettings
from streams.crm.calls import Calls, bearer_of, content_of
from streams.crm.ports import CrmFailed, Gone

_ENDED = frozenset({"Complete", "Completed", "Error"})
_JOB_ENDED = frozenset({"COMPLETE", "DELETED", "ERROR"})
Row = Mapping[str, Any]


class SalesforceEffects:
    """One organisation. Parameters: its table in the settings; the table's name; how it is called."""

    def __init__(self, settings: CrmSettings, name: str, calls: Calls) -> None:
        self._settings = settings
        self._name = name
        self._calls = calls
        self._data = f"/services/data/{settings.api_version}"

    def cancel(self, effect: Effect, now_ms: int) -> str:
        """Cancel one thing. Raises CrmFailed, Gone, NotPossible."""
        if effect.kind == "enrolment":
            return self._leave_cadence(effect)
        if effect.kind == "meeting":
            return self._drop_meeting(effect, now_ms)
        if effect.kind == "flow":
            return self._turn_flow_off(effect)
        if effect.kind == "job":
            return self._abort_job(effect)
        raise NotPossible("Salesforce documents no call for it: cancel it there")

    def _leave_cadence(self, effect: Effect) -> str:
        fields = "State, CreatedById FROM ActionCadenceTracker WHERE TargetId"
        rows = self._query("to find the cadence", f"SELECT {fields} = '{effect.record_id}'")
        running = [row for row in rows if row.get("State") not in _ENDED]
        if not running:
            raise Gone("it is in no cadence")
        check_own(effect, *(row.get("CreatedById") for row in running))
        asked = {"inputs": [{"targetId": effect.record_id, "completionReasonCode": "ManuallyRemoved"}]}
        path = f"{self._data}/actions/standard/removeTargetFromSalesCadence"
        answer = self._send("POST", path, "to take it out of the cadence", json=asked)
        said = _list_of(answer)
        if not said or not all(_is_success(each) for each in said):
            raise CrmFailed(f"to take it out of the cadence at {self._name}: the action was not a success")
        return "taken out of its cadence"

    def _drop_meeting(self, effect: Effect, now_ms: int) -> str:
        fields = "CreatedById, LastModifiedById, EndDateTime FROM Event WHERE Id"
        rows = self._query("to find the meeting", f"SELECT {fields} = '{effect.record_id}'")
        if not rows:
            raise Gone("there is no such meeting")
        check_own(effect, rows[0].get("CreatedById"), rows[0].get("LastModifiedById"))
        if has_ended(rows[0].get("EndDateTime"), now_ms):
            raise Gone("the meeting is over")
        self._send("DELETE", f"{self._data}/sobjects/Event/{effect.record_id}", "to delete the meeting")
        return "meeting deleted: it is in the recycle bin"

    def _turn_flow_off(self, effect: Effect) -> str:
        """A flow of which a person made one version may be that person's: turning it off would end both."""
        which = effect.record_id
        if which.startswith("301"):
            versions = self._flows("Id", which)
            which = str(versions[0].get("DefinitionId") or "") if versions else ""
        versions = self._flows("DefinitionId", which) if which.isalnum() else []
        if not versions:
            raise Gone("there is no such flow")
        check_own(effect, *(row.get(name) for row in versions for name in ("CreatedById", "LastModifiedById")))
        if not any(row.get("Status") == "Active" for row in versions):
            raise Gone("the flow is not active")
        path = f"{self._data}/tooling/sobjects/FlowDefinition/{which}"
        self._send("PATCH", path, "to turn the flow off", json={"Metadata": {"activeVersionNumber": 0}})
        return "flow turned off"

    def _flows(self, column: str, id_: str) -> Sequence[Row]:
        fields = "DefinitionId, Status, CreatedById, LastModifiedById FROM Flow WHERE"
        soql = f"SELECT {fields} {column} = '{id_}'"
        return self._query("to find the flow", soql, "tooling/query")

    def _abort_job(self, effect: Effect) -> str:
        soql = f"SELECT State, OwnerId FROM CronTrigger WHERE Id = '{effect.record_id}'"  # noqa: S608 - an id
        rows = self._query("to find the job", soql)
        if not rows or rows[0].get("State") in _JOB_ENDED:
            raise Gone("there is no such job that runs")
        check_own(effect, rows[0].get("OwnerId"))
        path, code = f"{self._data}/tooling/executeAnonymous/", f"System.abortJob('{effect.record_id}');"
        said = content_of(self._send("GET", path, "to abort the job", params={"anonymousBody": code}))
        if said.get("compiled") is not True or said.get("success") is not True:
            raise CrmFailed(f"to abort the job at {self._name}: it did not run; Tripline's user needs Author Apex")
        return "job aborted"

    def _query(self, what: str, soql: str, path: str = "query") -> list[Row]:
        found = content_of(self._send("GET", f"{self._data}/{path}", what, params={"q": soql})).get("records")
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    def _send(self, method: str, path: str, what: str, **more: Any) -> Any:
        return self._calls.send(method, path, what, headers=bearer_of(self._settings, self._name), **more)


def has_ended(said: object, now_ms: int) -> bool:
    """Whether a time that a CRM names is over; one that can't be read is not."""
    text = str(said or "").replace("+0000", "Z")
    try:
        return parse_ms(text) < now_ms
    except BadTime:
        return False


def _list_of(answer: Any) -> list[Any]:
    """The list that was answered; empty when it is none."""
    try:
        said = answer.json()
    except ValueError:
        return []
    return said if isinstance(said, list) else []


def _is_success(said: object) -> bool:
    return isinstance(said, dict) and said.get("isSuccess") is True

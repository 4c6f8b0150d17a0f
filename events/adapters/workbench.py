"""WorkBench episodes (olly-styles/WorkBench, MIT) to agent actions: what real LLM agents did with workplace tools.

Each line is one episode: a model, a task's domain and index, and the tool calls with an error flag. One agent per
model name; ``run_id`` names the episode.

The corpus has no times. Episodes are laid out on a stated clock, the same for the same file: each agent does its
episodes in file order, ``PER_DAY`` on each weekday from ``START``, one every ``SLOT_MS`` from the day's start, and
within an episode one action every ``STEP_MS``. Rates seen in this import are therefore ours, not the corpus's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from events import times
from events.adapters.base import Item, bad_row, in_time_order
from events.errors import BadReason
from events.types import ActionError, ActionEvent, After, AgentAction, FieldChanges, Trigger

START = "2023-12-01T08:00:00Z"
PER_DAY = 12
SLOT_MS = 40 * times.MINUTE_MS
STEP_MS = 5 * times.SECOND_MS
SOURCE = "/import/workbench"

_FRIDAY = 4
_DAYS_PER_WEEK = 7
_WORKDAYS = 5
_START_MS = times.parse_ms(START)  # a Friday; WorkBench's own "today" is the day before


class Call(Struct):
    """One tool call of an episode."""

    tool: str
    action: str
    error: bool
    arguments: dict[str, Any] = {}


class Episode(Struct):
    """One line of the corpus; its labels (correct, side_effect) stay with the corpus."""

    domain: str
    model: str
    idx: int
    events: list[Call]


class Mapped(Struct, frozen=True):
    """What a tool call is to us: action name, object, and which arguments hold the record and the recipient."""

    action: str
    object: str
    record: str = ""
    recipient: str = ""


CALLS: dict[str, Mapped] = {
    "calendar.search_events": Mapped("record.read", "Event"),
    "calendar.get_event_information_by_id": Mapped("record.read", "Event", "event_id"),
    "calendar.create_event": Mapped("meeting.schedule", "Event", "", "participant_email"),
    "calendar.update_event": Mapped("record.update", "Event", "event_id"),
    "calendar.delete_event": Mapped("record.delete", "Event", "event_id"),
    "project_management.search_tasks": Mapped("record.read", "Task"),
    "project_management.get_task_information_by_id": Mapped("record.read", "Task", "task_id"),
    "project_management.create_task": Mapped("task.create", "Task"),
    "project_management.update_task": Mapped("record.update", "Task", "task_id"),
    "project_management.delete_task": Mapped("record.delete", "Task", "task_id"),
    "customer_relationship_manager.search_customers": Mapped("record.read", "Contact"),
    "customer_relationship_manager.get_customer_information_by_id": Mapped("record.read", "Contact", "customer_id"),
    "customer_relationship_manager.add_customer": Mapped("record.create", "Contact"),
    "customer_relationship_manager.update_customer": Mapped("record.update", "Contact", "customer_id"),
    "customer_relationship_manager.delete_customer": Mapped("record.delete", "Contact", "customer_id"),
    "email.search_emails": Mapped("record.read", "Email"),
    "email.get_email_information_by_id": Mapped("record.read", "Email", "email_id"),
    "email.send_email": Mapped("email.send", "Email", "", "recipient"),
    "email.forward_email": Mapped("email.send", "Email", "email_id", "recipient"),
    "email.reply_email": Mapped("email.send", "Email", "email_id"),
    "email.delete_email": Mapped("record.delete", "Email", "email_id"),
    "company_directory.find_email_address": Mapped("record.read", "User"),
    "analytics.engaged_users_count": Mapped("report.run", "Analytics"),
    "analytics.total_visits_count": Mapped("report.run", "Analytics"),
    "analytics.traffic_source_count": Mapped("report.run", "Analytics"),
    "analytics.get_average_session_duration": Mapped("report.run", "Analytics"),
    "analytics.create_plot": Mapped("report.run", "Analytics"),
}
"""The sandbox's tools. A call that is not among them (agents invent some) is a ``tool.call``."""

_OTHER = Mapped("tool.call", "Tool")
_decoder = msgspec.json.Decoder(Episode)


def read(lines: Iterable[bytes]) -> Iterator[Item]:
    """The actions of all episodes in time order, after a refusal for each line that isn't an episode."""
    timed: list[tuple[int, ActionEvent]] = []
    done: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            episode = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            message = f"not an episode: {problem}; needed are domain, model, idx, events"
            yield bad_row(number, line, "", message, BadReason.NOT_JSON)
            continue
        nth = done.get(episode.model, 0)
        done[episode.model] = nth + 1
        timed.extend(_actions(episode, _begin_ms(nth)))
    yield from in_time_order(timed)


def _begin_ms(nth: int) -> int:
    """When an agent's nth episode begins: weekdays only, PER_DAY a day."""
    weekday_index, slot = divmod(nth, PER_DAY)
    weeks, day = divmod(_FRIDAY + weekday_index, _WORKDAYS)
    days = weeks * _DAYS_PER_WEEK + day - _FRIDAY
    return _START_MS + days * times.DAY_MS + slot * SLOT_MS


def _actions(episode: Episode, begin_ms: int) -> Iterator[tuple[int, ActionEvent]]:
    run = f"{episode.model}/{episode.domain}/{episode.idx}"
    for nth, call in enumerate(episode.events):
        at_ms = begin_ms + nth * STEP_MS
        yield (
            at_ms,
            ActionEvent(
                specversion="1.0",
                id=f"{run}/{nth}",
                source=SOURCE,
                time=times.format_ms(at_ms),
                subject=f"agent/{episode.model}",
                partitionkey=episode.model,
                datacontenttype="application/json",
                data=_action(episode.model, run, call),
            ),
        )


def _action(agent_id: str, run: str, call: Call) -> AgentAction:
    tool = f"{call.tool}.{call.action}"
    mapped = CALLS.get(tool, _OTHER)
    record = _argument(call, mapped.record)
    recipient = _argument(call, mapped.recipient)
    is_mail = mapped.action == "email.send"
    return AgentAction(
        agent_id=agent_id,
        action=mapped.action,
        outcome="error" if call.error else "ok",
        object=mapped.object,
        record_ids=[record] if record else UNSET,
        changes=_changes(record, call) if record and mapped.action == "record.update" else UNSET,
        recipient_ids=[recipient] if recipient else UNSET,
        recipients=1 if is_mail and not recipient else UNSET,
        trigger=Trigger("prompt", run),
        error=ActionError("tool_error", f"{tool} failed") if call.error else UNSET,
        run_id=run,
        system="workbench",
        tool=tool,
    )


def _changes(record: str, call: Call) -> dict[str, FieldChanges]:
    """An update's field and value; the corpus has no value before."""
    field = _argument(call, "field")
    if field:
        return {record: {field: After(call.arguments.get("new_value"))}}
    given: FieldChanges = {name: After(value) for name, value in call.arguments.items() if not name.endswith("_id")}
    return {record: given}


def _argument(call: Call, name: str) -> str:
    value = call.arguments.get(name, "") if name else ""
    return value if isinstance(value, str) else str(value)

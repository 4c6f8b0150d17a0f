"""An agent's page in words: what happened, why it was stopped, what it did, its stops and releases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from msgspec import Struct

from console.text import plain
from console.web import words as w
from console.web.charts import Stop, timeline
from console.web.containment import HoldingView, OutsideView, holding_view, outside_view
from console.web.look import Frame, Turn, owner_of, person_name
from console.web.overview import Headline, state_of
from events.types import Finding
from governance.grades import Graded
from storage.read.types import ActionRow, AgentPage, AgentRow, ControlEntry, FindingRow

_DETECTORS = {
    "action_rate": "action rate",
    "repeated_errors": "repeated errors",
    "blast_radius": "blast radius",
}
_MODES = {"enforce": "enforcing", "warn": "warning only", "shadow": "shadow: watched, not enforced"}
_MAX_FIELDS = 3
_MAX_EVENTS = 20


class Because(Struct, frozen=True):
    """One sentence of "why", with what would have changed it, and the figures behind it."""

    title: str
    text: str
    details: list[tuple[str, str]]
    at: str
    at_iso: str
    detector: str
    mode: str
    icon: str
    css: str


class Moved(Struct, frozen=True):
    """One field of one record: before and after; None = known to be empty, "" = not known."""

    field: str
    before: str | None
    after: str | None
    is_before_known: bool


class Deed(Struct, frozen=True):
    """One row of "what it did"."""

    at: str
    at_iso: str
    record: str
    what: str
    moved: list[Moved]
    more_fields: int
    extra: str
    authority: str
    trigger: str
    icon: str
    css: str
    outcome: str
    note: str


class DeedGroup(Struct, frozen=True):
    """Rows under one heading."""

    title: str
    text: str
    rows: list[Deed]


class AgentView(Struct, frozen=True):
    """Everything on an agent's page."""

    agent_id: str
    name: str
    headline: Headline
    state: w.State
    epoch: int
    is_stopped: bool
    is_releasing: bool
    chart: Markup
    chart_note: str
    because: list[Because]
    earlier: list[Because]
    groups: list[DeedGroup]
    shown: int
    records_48h: str
    next_cursor: str | None
    history: list[Turn]
    about: list[tuple[str, str]]
    budgets: list[tuple[str, str, str]]
    owner: str
    is_owner: bool
    is_all_stopped: bool
    outside: OutsideView | None = None
    holding: HoldingView | None = None


def agent_view(page: AgentPage, deeds: Sequence[ActionRow], next_cursor: str | None, frame: Frame) -> AgentView:
    """An agent's page from what the store says."""
    row, clock = page.row, frame.clock
    declared, owner = owner_of(frame.settings, row.agent_id)
    cause_id = row.control.finding_id if row.control is not None and row.state != "active" else None
    cause = [row.finding] if row.finding is not None else [f for f in page.findings if f.finding.finding_id == cause_id]
    near = _near(cause[0], page.findings) if cause else []
    causes = [because(f, frame) for f in [*cause, *near]]
    rest = [f for f in page.findings if f not in cause and f not in near]
    all_stopped = page.stop_all is not None and page.stop_all.state == "suspended"
    return AgentView(
        agent_id=row.agent_id,
        name=plain(row.agent_id, 120),
        headline=headline(row, page.stop_all if all_stopped else None, frame),
        state=state_of(row, frame.engine),
        epoch=row.control.epoch if row.control else 0,
        is_stopped=row.state in ("suspended", "held", "throttled"),
        is_releasing=row.state == "releasing",
        chart=timeline(page.bins, clock, plain(row.agent_id, 80), _stops(row, page, frame)),
        chart_note=_chart_note(page),
        because=causes,
        earlier=[because(f, frame) for f in rest[:12]],
        groups=_groups(deeds, row, frame),
        shown=len(deeds),
        records_48h=w.number(row.records_48h),
        next_cursor=next_cursor,
        history=[_turn(entry, frame) for entry in page.history[:12]],
        about=_about(row, declared, owner, frame),
        budgets=_budgets(declared, row.grade),
        owner=owner,
        is_owner=frame.who is not None and declared is not None and frame.who.name in (declared.owner, owner),
        is_all_stopped=all_stopped,
        outside=outside_view(page.containment, frame),
        holding=holding_view(page.containment, row.agent_id, _stopped_by(row, page, frame), frame),
    )


def _stopped_by(row: AgentRow, page: AgentPage, frame: Frame) -> str:
    """Who asked for the stop that lasts."""
    entry = row.control if row.stop is not None else page.stop_all
    if entry is None:
        return w.UNKNOWN
    if entry.by_kind == "human":
        return person_name(frame.settings, entry.by_id)
    return _DETECTORS.get(entry.by_id, plain(entry.by_id.replace("_", " "), 80))


def _near(cause: FindingRow, findings: Sequence[FindingRow]) -> list[FindingRow]:
    """Other detectors' findings of the ten minutes around a stop: they belong to its explanation."""
    said = {cause.finding.detector}
    near = []
    for one in findings:
        if one is not cause and abs(one.at_ms - cause.at_ms) <= 600_000 and one.finding.detector not in said:
            said.add(one.finding.detector)
            near.append(one)
    return near


def headline(row: AgentRow, stop_all: ControlEntry | None, frame: Frame) -> Headline:
    """The sentence at the top of an agent's page."""
    clock, control = frame.clock, row.control
    name = plain(row.agent_id, 80)
    if control is not None and row.state in ("suspended", "releasing") and row.stop is not None:
        at = clock.time(row.stop.stopped_ms)
        lead = _stop_lead(row)
        if row.state == "releasing":
            return Headline("wait", "amber", f"{name} is being released", f"stopped at {at}", lead)
        return Headline("stop", "red", f"{name} stopped", f"at {at}", lead)
    if stop_all is not None:
        lead = [(f"Everything is stopped since {clock.time(stop_all.at_ms)}: {plain(stop_all.reason, 200)}", False)]
        return Headline("stop", "red", f"{name} is stopped", "with all others", lead)
    if control is not None and row.state in ("held", "throttled"):
        word = "Writes held" if row.state == "held" else "Throttled"
        lead = [(_stop_reason(row), False)]
        return Headline("wait", "amber", f"{name}: {word.lower()}", f"since {clock.time(control.at_ms)}", lead)
    return _working(row, name, frame)


def _working(row: AgentRow, name: str, frame: Frame) -> Headline:
    clock, engine = frame.clock, frame.engine
    if row.last_seen_ms is None:
        return Headline(
            "quiet", "st-quiet", "", f"{name}: nothing seen yet", [("It is declared; it has not acted.", False)]
        )
    did = f"{w.many(row.records_48h, 'record')} in 48 h. Last write {clock.time(row.last_write_ms)}."
    if engine.blind_from_ms is not None:
        at = clock.clock(engine.blind_from_ms)
        return Headline("blind", "st-blind", "", f"{name}: not known since {at}", [(did, False)])
    return Headline("ok", "ok", "", f"{name} is working", [(did, False)])


def _stop_lead(row: AgentRow) -> list[tuple[str, bool]]:
    stop = row.stop
    if stop is None:
        return []
    noun = "record" if stop.records_before == 1 else "records"
    pieces = [
        (w.number(stop.records_before), True),
        (f" {noun} changed before, ", False),
        (w.number(stop.admitted_after), True),
        (" admitted after, ", False),
        (w.number(stop.refused_after), True),
        (" refused. ", False),
    ]
    if stop.bypassed_after:
        pieces += [(w.number(stop.bypassed_after), True), (" reported after it without the gate. ", False)]
    return [*pieces, (_stop_reason(row), False)]


def _stop_reason(row: AgentRow) -> str:
    text = row.finding.finding.evidence.summary if row.finding else (row.control.reason if row.control else "")
    said = plain(text, 300)
    return said if not said or said[-1] in ".!?…" else said + "."


def _stops(row: AgentRow, page: AgentPage, frame: Frame) -> list[Stop]:
    """The stop that lasts (with what was refused since), then earlier ones in the drawing's span."""
    stops = _past_stops(page.history)
    if row.stop is not None:
        said = row.finding.finding.evidence if row.finding else None
        peak = f"{w.number(said.observed)} {plain(said.unit, 40).replace('/', ' in ')}" if said else ""
        detail = w.many(row.stop.records_before, "record")
        stops.append(Stop(row.stop.stopped_ms, peak, detail, row.stop.refused_after, row.stop.admitted_after))
    first_ms = page.bins[0].start_ms if page.bins else frame.clock.now_ms
    return [stop for stop in stops if stop.at_ms >= first_ms]


def _past_stops(history: Sequence[ControlEntry]) -> list[Stop]:
    """Stops that are over, oldest first."""
    found: list[Stop] = []
    stopped_ms: int | None = None
    for entry in reversed(history):
        if entry.state == "suspended":
            stopped_ms = entry.at_ms if stopped_ms is None else stopped_ms
        elif entry.state == "active" and stopped_ms is not None:
            found.append(Stop(stopped_ms, "", "", 0, 0, entry.at_ms))
            stopped_ms = None
    return found


def _chart_note(page: AgentPage) -> str:
    known = any(b.expected is not None or b.limit is not None for b in page.bins)
    return "last 4 h · grey band: expected" if known else "last 4 h · nothing expected yet: still learning"


def because(row: FindingRow, frame: Frame) -> Because:
    """A finding as a sentence with what would have changed it, and the figures behind it."""
    f: Finding = row.finding
    said = f.evidence
    title = plain(said.summary, 400)
    clear = plain(said.would_clear, 200)
    cleared = f"It would not have been noticed with {clear}." if clear else ""
    if f.action_taken in ("suspend", "hold", "throttle") and clear:
        verb = {"suspend": "stopped", "hold": "held", "throttle": "throttled"}[f.action_taken]
        cleared = f"With {clear} it would not have been {verb}."
    look = {"critical": ("stop-o", ""), "warning": ("warn", "")}.get(f.severity, ("open", ""))
    if f.mode == "shadow":
        look = ("shadow", "st-shadow")
    return Because(
        title=title if title.endswith((".", "!", "?")) else title + ".",
        text=cleared,
        details=_details(row, frame),
        at=frame.clock.time(row.at_ms),
        at_iso=frame.clock.iso(row.at_ms),
        detector=_DETECTORS.get(f.detector, plain(f.detector.replace("_", " "), 60)),
        mode=_MODES.get(f.mode, f.mode),
        icon=look[0],
        css=look[1],
    )


def _details(row: FindingRow, frame: Frame) -> list[tuple[str, str]]:
    f, said = row.finding, row.finding.evidence
    unit = plain(said.unit, 40).replace("/", " in ")
    shown = [
        ("Observed", f"{w.number(said.observed)} {unit}"),
        ("Usual", f"{w.number(said.expected)} {unit}"),
        ("Limit", f"{w.number(said.limit)} {unit}"),
        ("Asked for", {"none": "nothing", "notify": "a notice"}.get(f.action_taken, f.action_taken)),
        ("When", f"{frame.clock.full(row.at_ms)} {frame.clock.clock(row.at_ms)}"),
        ("Finding", plain(f.finding_id, 64)),
        ("Basis epoch", str(f.basis_epoch)),
    ]
    if f.agent_version:
        shown.append(("Version", plain(f.agent_version, 60)))
    shown += [(plain(str(key).replace("_", " "), 40), _detail(value)) for key, value in sorted(said.details.items())]
    events = [plain(event_id, 80) for _, event_id in said.events[:_MAX_EVENTS]]
    more = f" … and {len(said.events) - _MAX_EVENTS} more" if len(said.events) > _MAX_EVENTS else ""
    return [*shown, (w.many(len(said.events), "event").capitalize(), ", ".join(events) + more)]


def _detail(value: Any) -> str:
    if isinstance(value, float) and not float(value).is_integer():
        return f"{value:,.2f}".replace("-", "−")
    return w.value(value) or w.UNKNOWN


def _groups(deeds: Sequence[ActionRow], row: AgentRow, frame: Frame) -> list[DeedGroup]:
    """The rows after the stop, those of the burst before it, and the rest; one plain group when nothing stopped it."""
    if row.stop is None:
        return [DeedGroup("", "", [deed(d, frame, seen) for d, seen in folded(deeds)])] if deeds else []
    stop, clock = row.stop, frame.clock
    after = [d for d in deeds if _is_after(d, stop.stopped_ms)]
    burst = [d for d in deeds if d.at_ms >= stop.burst_from_ms and not _is_after(d, stop.stopped_ms)]
    before = [d for d in deeds if d.at_ms < stop.burst_from_ms]
    attempts = stop.refused_after + stop.admitted_after + stop.bypassed_after
    span = f"{clock.time(stop.burst_from_ms)} to {clock.time(stop.stopped_ms)}"
    groups = [
        DeedGroup(
            "After the stop",
            f"{w.many(attempts, 'attempt')}, {stop.admitted_after} admitted",
            [deed(d, frame, seen) for d, seen in folded(after)],
        ),
        DeedGroup(
            f"Before the stop, {span}",
            f"{w.many(stop.records_before, 'record')} changed",
            [deed(d, frame, seen) for d, seen in folded(burst)],
        ),
        DeedGroup("Earlier, as usual", "", [deed(d, frame, seen) for d, seen in folded(before)]),
    ]
    return [group for group in groups if group.rows or (group.title == "After the stop")]


def _is_after(row: ActionRow, stopped_ms: int) -> bool:
    """After the stop; what was refused in its very millisecond was refused because of it."""
    return row.at_ms > stopped_ms or (row.at_ms == stopped_ms and row.kind == "refusal")


def folded(rows: Sequence[ActionRow]) -> list[tuple[ActionRow, bool]]:
    """Rows without the CRM's own record of a change that the agent reported; True = the CRM's feed saw it too."""
    reports = {_matter(row): row.event_id for row in rows if row.kind in ("report", "admission") and row.changes}
    seen: set[str] = set()
    kept = []
    for row in rows:
        if row.kind == "change" and _matter(row) in reports:
            seen.add(reports[_matter(row)])
        else:
            kept.append(row)
    return [(row, row.kind != "change" and row.event_id in seen) for row in kept]


def _matter(row: ActionRow) -> tuple[str, str]:
    return row.record_ids[0] if row.record_ids else "", repr(sorted(row.changes.items()))


def deed(row: ActionRow, frame: Frame, is_seen: bool = False) -> Deed:
    """One attempt as a row of the table."""
    icon, css, outcome, note = _outcome(row, is_seen)
    moved, more = _moved(row)
    first = plain(row.record_ids[0], 80) if row.record_ids else ""
    others = max(row.records, len(row.record_ids)) - 1
    noun = plain(row.object or "", 60)
    record = first or (w.many(row.records, "record") if row.records else noun or w.UNKNOWN)
    did = moved[0].field if len(moved) == 1 and row.action == "record.update" else plain(row.action, 80)
    what = " · ".join(part for part in (noun if record != noun else "", did) if part)
    trigger = ""
    if row.trigger is not None:
        ref = row.trigger.ref if isinstance(row.trigger.ref, str) else ""
        trigger = plain(row.trigger.kind, 40) + (f": {plain(ref, 120)}" if ref else "")
    return Deed(
        at=frame.clock.time(row.at_ms),
        at_iso=frame.clock.iso(row.at_ms),
        record=record + (f" and {w.number(others)} more" if first and others > 0 else ""),
        what=what,
        moved=moved,
        more_fields=more,
        extra=_extra(row),
        authority=person_name(frame.settings, row.authorized_by) or w.UNKNOWN,
        trigger=trigger,
        icon=icon,
        css=css,
        outcome=outcome,
        note=note,
    )


def _moved(row: ActionRow) -> tuple[list[Moved], int]:
    """The first fields that the operation changed, and how many more it changed in its other records."""
    first = row.changes.get(row.record_ids[0]) if row.record_ids else None
    if first is None:
        first = next(iter(row.changes.values()), {})
    moved = [_one(name, change) for name, change in list(first.items())[:_MAX_FIELDS]]
    total = sum(len(fields) for fields in row.changes.values())
    return moved, total - len(moved)


def _one(name: str, change: Any) -> Moved:
    label = plain(name, 60)
    if isinstance(change, dict):
        return Moved(label, "", w.value(change.get("after")), False)
    if isinstance(change, list | tuple) and len(change) == 2:
        return Moved(label, w.value(change[0]), w.value(change[1]), True)
    return Moved(label, "", w.value(change), False)


def _extra(row: ActionRow) -> str:
    """What the operation did beside changing fields: whom it reached, and whether that was outside."""
    if row.recipients:
        where = " outside" if row.is_external else ""
        return f"to {w.many(row.recipients, 'person', 'people')}{where}"
    return "outside" if row.is_external else ""


def _outcome(row: ActionRow, is_seen: bool) -> tuple[str, str, str, str]:
    """Icon, class, word and note of how it ended."""
    if row.outcome == "denied":
        note = plain(row.reason or "", 160).removeprefix("denied: ") or "never reached the CRM"
        return "stop-o", "muted", "Refused", note
    if row.outcome == "held":
        return "wait", "st-wait", "Held", plain(row.reason or "", 160).removeprefix("held: ")
    if row.outcome == "error":
        said = plain((row.error.message or row.error.code) if row.error else "", 160)
        return "no", "muted", "Failed", said
    if row.kind == "admission":
        return "open", "muted", "In flight", "admitted; not reported yet"
    if row.kind == "change":
        return "observed", "muted", "Seen in the CRM", ""
    seen = "seen in the CRM" if is_seen else ""
    return "check", "muted", "Done", seen if row.decision_id else ", ".join(filter(None, ["no gate decision", seen]))


def _turn(entry: ControlEntry, frame: Frame) -> Turn:
    by = _DETECTORS.get(entry.by_id, plain(entry.by_id.replace("_", " "), 80))
    if entry.by_kind == "human":
        by = person_name(frame.settings, entry.by_id)
    icon, css, title = {
        "suspended": ("stop", "red", f"Stopped by {by}"),
        "held": ("wait", "amber", f"Writes held by {by}"),
        "throttled": ("slow", "amber", f"Throttled by {by}"),
        "releasing": ("wait", "amber", f"Release asked for by {by}"),
        "active": ("check", "", f"Released by {by}" if entry.by_kind == "human" else "Active again"),
    }.get(entry.state, ("open", "", f"{plain(entry.state, 40)} by {by}"))
    reason = plain(entry.reason, 240)
    said = f"“{reason}”" if entry.by_kind == "human" and reason else reason
    clock = frame.clock
    at = clock.clock(entry.at_ms) if clock.is_today(entry.at_ms) else clock.time(entry.at_ms)
    return Turn(
        at,
        clock.iso(entry.at_ms),
        icon,
        css,
        title,
        f"{said} · epoch {entry.epoch}" if said else f"epoch {entry.epoch}",
    )


def _about(row: AgentRow, declared: Any, owner: str, frame: Frame) -> list[tuple[str, str]]:
    clock = frame.clock
    shown = []
    if declared is None:
        shown.append(("Configuration", "not named in it: watched with the default limits, refused at the gate"))
    else:
        word = ("reactive", "triggered", "proactive", "autonomous")[declared.level - 1]
        if declared.role:
            shown.append(("Does", plain(declared.role, 200)))
        shown.append(("Level", f"{declared.level} {word}, declared"))
        shown.append(("Owner", owner or w.UNKNOWN))
        shown.append(("May", ", ".join(plain(a, 60) for a in declared.actions) or "nothing"))
        if declared.objects != ["*"]:
            shown.append(("On", ", ".join(plain(o, 60) for o in declared.objects)))
    if row.grade is not None:
        shown.append(("Grade", f"{row.grade.grade.capitalize()}: {row.grade.why}"))
    if row.agent_version:
        shown.append(("Version", plain(row.agent_version, 60)))
    if row.first_seen_ms is not None:
        shown.append(("First seen", clock.time(row.first_seen_ms)))
    return shown


def _budgets(declared: Any, grade: Graded | None) -> list[tuple[str, str, str]]:
    """The hard limits that hold whatever was learnt: what bounds the worst case."""
    if grade is not None and grade.records_24h is None:
        return [("In 24 h", "no bound", "it asks nobody, and is seen only")]
    if declared is None:
        return []
    return [
        ("In one operation", w.number(declared.max_records_per_operation), "records"),
        (
            "In 10 min",
            w.number(declared.records_per_10_min),
            f"records, {w.number(declared.contacts_per_10_min)} contacts",
        ),
        _in_24_h(declared, grade),
    ]


def _in_24_h(declared: Any, grade: Graded | None) -> tuple[str, str, str]:
    """The worst case, as the strictest of settings and policy has it."""
    records, contacts = declared.records_per_day, declared.contacts_per_day
    if grade is not None:
        records, contacts = grade.records_24h, grade.contacts_24h
    return "In 24 h", w.number(records), f"records, {w.number(contacts)} contacts"

"""How far a stop has got, and what the CRM's feed tells of an agent outside the gate, in words."""

from __future__ import annotations

from msgspec import Struct

from console.text import plain
from console.web import words as w
from console.web.look import Frame
from governance.holding import Holding, Pending, hold
from storage.read.containment import Containment
from storage.revocations import Revocation

_KINDS = {
    "leaked": ("no", "red", "Leaked", "after the stop"),
    "in_flight": ("open", "muted", "In flight", "let pass before the stop"),
    "shadow": ("observed", "amber", "Shadow write", "no decision of the gate"),
}


_PULLED = {
    "asked": ("wait", "amber", "to be taken away"),
    "done": ("check", "", "taken away"),
    "failed": ("no", "red", "could not be taken away"),
}
_CANCELS = {
    "asked": ("wait", "amber", "to be cancelled"),
    "cancelled": ("check", "", "cancelled"),
    "refused": ("no", "red", "the CRM refused to cancel it"),
    "impossible": ("open", "amber", "not cancelled"),
    "gave_up": ("no", "red", "could not be cancelled"),
}
_LATER = {"sequence.enroll": "Put into a sequence", "meeting.schedule": "Scheduled a meeting"}


class Step(Struct, frozen=True):
    """One step of a stop: done or not, and what is known of it."""

    icon: str
    css: str
    title: str
    text: str


class HoldingView(Struct, frozen=True):
    """The four steps, and what may still happen."""

    steps: list[Step]
    pending: list[OutsideWrite]
    may_cancel: bool
    has_levers: bool
    pulled: list[OutsideWrite]


class OutsideWrite(Struct, frozen=True):
    """One change, as a line."""

    at: str
    at_iso: str
    icon: str
    css: str
    word: str
    text: str


class OutsideView(Struct, frozen=True):
    """The panel: a sentence, and the newest changes."""

    lead: str
    writes: list[OutsideWrite]


def outside_view(found: Containment, frame: Frame) -> OutsideView | None:
    """The panel of what was seen outside the gate; None when nothing was."""
    if not (found.leaked or found.in_flight or found.shadow_48h or found.writes):
        return None
    said = []
    if found.leaked:
        said.append(f"{w.many(found.leaked, 'change')} after the stop")
    if found.in_flight:
        said.append(f"{w.many(found.in_flight, 'change')} in flight when it came")
    if found.shadow_48h:
        said.append(f"{w.many(found.shadow_48h, 'change')} without a decision of the gate in 48 h")
    clock = frame.clock
    writes = []
    for one in found.writes:
        icon, css, word, note = _KINDS.get(one.kind, ("open", "", one.kind, ""))
        what = " ".join(plain(each, 80) for each in (one.op, one.object, one.record_id) if each)
        text = f"{what} · as {plain(one.identity, 120)} · {note}"
        writes.append(OutsideWrite(clock.time(one.effect_ms), clock.iso(one.effect_ms), icon, css, word, text))
    return OutsideView("; ".join(said), writes)


def holding_view(found: Containment, agent_id: str, by: str, frame: Frame) -> HoldingView | None:
    """The steps of a stop that lasts. ``by``: who asked for it."""
    if found.stop is None:
        return None
    held = hold(found.stop, int(1000 * frame.settings.containment.gate_answer_secs))
    clock = frame.clock
    steps = [
        Step("check", "", "Requested", f"{clock.time(held.stop_ms)} by {by}"),
        _enforced(held, bool(found.stop.gates), frame),
        _seen(held, frame),
        _contained(held),
    ]
    pending = [_pending(one, frame) for one in held.pending]
    may_cancel = bool(frame.settings.crm) and any(one.state not in ("asked", "cancelled") for one in held.pending)
    has_levers = any(one.agent == agent_id for one in frame.settings.credentials.values())
    return HoldingView(steps, pending, may_cancel, has_levers, [_pulled(one, frame) for one in found.revocations])


def _pending(one: Pending, frame: Frame) -> OutsideWrite:
    """One thing that may still happen, or that was cancelled."""
    icon, css, outcome = _CANCELS.get(one.state, ("wait", "amber", ""))
    what = " ".join(plain(each, 80) for each in (one.object, one.record_id) if each)
    said = f"{outcome}: {plain(one.result, 300)}" if one.result else outcome
    word = _LATER.get(one.action, f"Made a {plain(one.object, 60)}")
    text = " · ".join(each for each in (what, said) if each)
    return OutsideWrite(frame.clock.time(one.at_ms), frame.clock.iso(one.at_ms), icon, css, word, text)


def _pulled(one: Revocation, frame: Frame) -> OutsideWrite:
    icon, css, word = _PULLED.get(one.state, ("open", "", one.state))
    at_ms = one.done_ms or one.asked_ms
    text = plain(one.result, 400) or f"asked for by {plain(one.by_id, 80)}: {plain(one.reason, 200)}"
    return OutsideWrite(
        frame.clock.time(at_ms), frame.clock.iso(at_ms), icon, css, f"{plain(one.credential, 80)}: {word}", text
    )


def _enforced(held: Holding, has_gates: bool, frame: Frame) -> Step:
    gates = w.many(held.gates, "gate")
    title = f"Enforced by {held.enforced_by} of {gates}"
    late = f"; {len(held.not_answering)} not answering: without the store, they let nothing pass"
    more = late if held.not_answering else ""
    if held.enforced_ms is None:
        return Step("wait", "amber", title, f"the others do not obey it yet{more}")
    said = "all that answer refuse it" if has_gates and held.not_answering else "refused from then on"
    return Step("check", "", title, f"{frame.clock.time(held.enforced_ms)}, {said}{more}")


def _seen(held: Holding, frame: Frame) -> Step:
    clock = frame.clock
    if held.leaked:
        last = f", the last at {clock.time(held.last_leaked_ms)}" if held.last_leaked_ms else ""
        return Step("no", "red", "Does not hold in the CRM", f"{w.many(held.leaked, 'change')} leaked{last}")
    if held.seen_to_ms is None:
        return Step("open", "amber", "Not yet seen to hold", held.waits_for[-1] if held.waits_for else "")
    return Step("check", "", "Seen to hold in the CRM", f"none seen up to {clock.time(held.seen_to_ms)}, feed alive")


def _contained(held: Holding) -> Step:
    more = [f"{w.many(held.in_flight, 'change')} in flight"] if held.in_flight else []
    cancelled = held.cancellations.get("cancelled", 0)
    if cancelled:
        more.append(f"{w.many(cancelled, 'thing')} cancelled")
    left = sum(one.state != "cancelled" for one in held.pending)
    if left:
        more.append(f"{w.many(left, 'thing')} still pending: check")
    if held.state == "contained":
        return Step("check", "", "Contained", "; ".join(more) or "nothing pending that we know of")
    waits = (
        held.waits_for
        if held.seen_to_ms is not None or held.leaked
        else [*held.waits_for[:-1], "once it is seen to hold"]
    )
    return Step("open", "amber", "Not yet contained", "; ".join([*waits, *more]))

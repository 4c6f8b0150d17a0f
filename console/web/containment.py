"""What the CRM's feed tells of an agent outside the gate, in words."""

from __future__ import annotations

from msgspec import Struct

from console.text import plain
from console.web import words as w
from console.web.look import Frame
from storage.read.containment import Containment

_KINDS = {
    "leaked": ("no", "red", "Leaked", "after the stop"),
    "in_flight": ("open", "muted", "In flight", "let pass before the stop"),
    "shadow": ("observed", "amber", "Shadow write", "no decision of the gate"),
}


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

"""What an agent says beside its request: for whom it acts, why, and by which approval. Nothing of it is sent on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.proxy.asked import NotParsed
from console.proxy.reading import Headers

TRIGGERS = ("prompt", "rule", "schedule", "event", "agent")
_PREFIX = b"x-tripline-"
_FIELDS = {b"authorized-by": "authorized_by", b"trigger": "trigger", b"approval": "approval_id"}


def read_context(headers: Headers, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the gate's question from ``X-Tripline-Authorized-By``, ``-Trigger`` (kind:ref) and ``-Approval``.

    ``fixed``: what whoever runs the proxy has said; an agent can't say something else. Raises NotParsed.
    """
    found: dict[str, Any] = {}
    for raw, value in headers:
        name = raw.lower()
        if not name.startswith(_PREFIX):
            continue
        field = _FIELDS.get(name.removeprefix(_PREFIX), "")
        text = value.decode("latin-1").strip()
        shown = name.decode("latin-1")
        if not field or field in found or not text.isprintable() or not 0 < len(text) <= 256:
            raise NotParsed(f"the header {shown!r} is not known, is there twice, or is no plain text")
        found[field] = read_trigger(text) if field == "trigger" else text
        if field in fixed and found[field] != fixed[field]:
            raise NotParsed(f"the header {shown!r} says something else than whoever runs the proxy")
    return found


def read_trigger(text: str) -> dict[str, str]:
    """``kind:ref`` as a trigger. Raises NotParsed."""
    kind, colon, ref = text.partition(":")
    if kind not in TRIGGERS or (colon and not ref):
        raise NotParsed(f"the trigger {text[:60]!r} is not KIND or KIND:NAME; KIND is one of {TRIGGERS}")
    return {"kind": kind, "ref": ref} if ref else {"kind": kind}

"""What people say of alerts, inside an open transaction, shared by the runtimes.

It is kept and measured, and changes no decision: which deals are told of next depends on the log alone.
"""

from __future__ import annotations

from msgspec import Struct

from storage import alert_verdicts as store
from storage.alert_verdicts import Said, Verdict
from streams.authority import Authority


class Opinion(Struct, frozen=True, kw_only=True):
    """A person's word on the alert of a deal: on the one of this id, else on its last one."""

    tenant: str
    deal_id: str
    verdict: Verdict
    by: str
    reason: str = ""
    alert_id: str = ""


def say(authority: Authority, opinion: Opinion) -> Said | None:
    """Keep it; the same person's earlier word on that alert is replaced. None: there is no such alert of the deal."""
    if opinion.alert_id:
        about = store.find(authority.link, opinion.alert_id)
    else:
        about = store.newest(authority.link, opinion.tenant, opinion.deal_id)
    is_of_it = about is not None and about.deal_id == opinion.deal_id and about.key.startswith(f"{opinion.tenant}/")
    if about is None or not is_of_it:
        return None
    said = Said(
        alert_id=about.alert_id,
        verdict=opinion.verdict,
        by=opinion.by,
        reason=opinion.reason.strip(),
        at_ms=authority.now_ms,
    )
    store.say(authority.link, about, said)
    authority.changed.add(("alert", about.key))
    return said

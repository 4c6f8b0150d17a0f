"""Ask Tripline's gate before an AI agent acts in a CRM, and report what came of it. Needs httpx alone.

    from tripline_client import Tripline

    gate = Tripline("http://127.0.0.1:8787", agent_id="enrich-bot", authorized_by="user:005B2")
    changes = {"00Q1": {"Industry": [None, "Retail"]}}
    with gate.act("record.update", object="Lead", record_ids=["00Q1"], changes=changes):
        crm.update("Lead", "00Q1", Industry="Retail")

What the gate does not allow raises before the block runs: ``Denied``, ``Held`` (a person has to approve it first), or
``Unavailable`` when the gate can't be asked. Nothing is ever allowed by default.
"""

from tripline_client.client import Act, AsyncAct, AsyncTripline, Tripline
from tripline_client.errors import BadRequest, Denied, Held, LeaseOver, NotAllowed, TriplineError, Unavailable
from tripline_client.keeping import AsyncLease, Lease
from tripline_client.messages import Decision

__all__ = [
    "Act",
    "AsyncAct",
    "AsyncLease",
    "AsyncTripline",
    "BadRequest",
    "Decision",
    "Denied",
    "Held",
    "Lease",
    "LeaseOver",
    "NotAllowed",
    "Tripline",
    "TriplineError",
    "Unavailable",
]
__version__ = "0.1.0"

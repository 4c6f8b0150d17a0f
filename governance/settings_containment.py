"""Settings of what is watched after a stop: the CRM's feed, and writes that no gate let pass."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class ContainmentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the CRM's change feed is held against what the gate let pass, see containment.md."""

    grace_secs: Annotated[
        float,
        Meta(
            ge=1,
            le=3_600,
            description="A change in the CRM and the gate's decision on it may lie so far apart, in seconds; so long "
            "is also waited for the decision.",
        ),
    ] = 60.0
    shadow_writes: Annotated[
        Literal["configured", "all", "off"],
        Meta(
            description="Whose changes without a decision of the gate are a finding: those of agents that have a "
            "table here, of every agent that the CRM's feed names, or nobody's."
        ),
    ] = "configured"
    gate_answer_secs: Annotated[
        float,
        Meta(
            ge=3,
            le=3_600,
            description="A gate of which nothing was heard for so long is shown as not answering, in seconds.",
        ),
    ] = 10.0
